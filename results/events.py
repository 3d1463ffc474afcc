"""What a journal's events say of trials: making them, and bringing trials up to date with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from results.journal import Event
from results.trial import Measurement, Trial

_TOLD_LATER = ("measurement", "curve", "curve_epochs", "reward", "hypervolume", "told_at", "attempt", "failure")


def asked(trial: Trial) -> Event:
    """That a trial was asked for, with what was measured of it in an earlier run where it is reused."""
    kept = {k: v for k, v in _fields(trial).items() if k not in _TOLD_LATER and v not in (None, ())}
    if trial.reused_from is not None and trial.measurement is not None:
        kept |= {"measurement": _kept(trial.measurement), "curve": trial.curve, "curve_epochs": trial.curve_epochs}
    return {"event": "asked", **kept}


def measured(number: int, measurement: Measurement) -> Event:
    """That a trial was measured."""
    return {"event": "measured", "number": number, "measurement": _kept(measurement)}


def told(trial: Trial) -> Event:
    """That a trial is over."""
    kept = {k: getattr(trial, k) for k in ("state", "failure", "reason", "reward", "hypervolume", "told_at")}
    return {"event": "told", "number": trial.number, **{k: v for k, v in kept.items() if v is not None}}


def apply(event: Event, trials: dict[int, Trial]) -> None:
    """Bring `trials` up to date with one event; events of other kinds leave it as it is."""
    kind = event["event"]
    if kind == "asked":
        values = {k: v for k, v in event.items() if k != "event"}
        for name in ("genotype", "features", "curve", "curve_epochs"):
            values[name] = tuple(values.get(name, ()))
        if "measurement" in values:
            values["measurement"] = _measurement(values["measurement"])
        trials[values["number"]] = Trial(**values)
    elif kind == "attempted":
        trial = trials[event["number"]]
        again = replace(trial, attempt=trial.attempt + 1, measurement=None, curve=(), curve_epochs=())
        trials[trial.number] = again
    elif kind == "measured":
        trial, measurement = trials[event["number"]], _measurement(event["measurement"])
        epoch = trial.epochs + 1 if measurement.epoch is None else measurement.epoch
        trials[trial.number] = replace(
            trial,
            measurement=measurement,
            curve=(*trial.curve, measurement.accuracy),
            curve_epochs=(*trial.curve_epochs, epoch),
        )
    elif kind == "told":
        trial = trials[event["number"]]
        outcome: dict[str, Any] = {k: event.get(k) for k in ("state", "failure", "reward", "hypervolume", "told_at")}
        if trial.repeat_of is not None:  # a repeat is answered with what the original measured
            original = trials[trial.repeat_of]
            outcome |= {k: getattr(original, k) for k in ("measurement", "curve", "curve_epochs")}
        trials[trial.number] = replace(trial, reason=event.get("reason", trial.reason), **outcome)


def _fields(record: Trial | Measurement) -> dict[str, Any]:
    """As `dataclasses.asdict`, which copies every value and takes ten times as long."""
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _kept(measurement: Measurement) -> dict[str, Any]:
    """What was measured, without what was not."""
    return {k: v for k, v in _fields(measurement).items() if v not in (None, ())}


def _measurement(kept: Mapping[str, Any]) -> Measurement:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items()}
    return Measurement(**values)
