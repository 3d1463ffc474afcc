"""Where a network comes from: the search that found it, as plain data for a training's record and a model card."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from results.store import TrialStore
from results.trial import Trial

_OPTIONS = (
    *("space", "controller", "reward", "reward_weights", "evaluator", "data", "image_size", "epochs", "batch_size"),
    *("augment", "limits", "objectives", "seed", "test_data", "minival", "split_seed"),
)
_MEASURED = (
    *("accuracy", "step_time", "step_time_low", "step_time_high", "latency", "params", "macs", "activations"),
    *("peak_memory_bytes", "epoch", "device"),
)


def search_provenance(folder: Path, trial: int) -> dict[str, Any]:
    """What a run's folder tells of one of its trials: how it was searched for, and what was measured of it.

    Args:
        folder: of the run.
        trial: number of a trial in it.

    Returns:
        `run` (the folder's name), `search` (its options), `began` (a date), `versions`, `candidates` (how many were
        evaluated), `trial` (number, seed, reward and the like) and `measured`; what is not known is left out.

    Raises:
        ValueError: the run has no such trial.
        FileNotFoundError: the folder holds no run.
    """
    store = TrialStore.open(folder)
    if trial not in store.trials:
        raise ValueError(f"the trial must be one of the {len(store.trials)} of {folder}; got {trial}")
    found, options = store.trials[trial], store.configuration.get("options", {})
    started = next((event for event in store.events() if event["event"] == "started"), {})
    told: dict[str, Any] = {
        "run": folder.resolve().name,
        "search": _known({name: options.get(name) for name in _OPTIONS}),
        "began": _date(started["time"]) if "time" in started else None,
        "versions": started.get("versions", {}),
        "candidates": sum(t.state in ("complete", "stopped", "failed") for t in store.trials.values()),
        "trial": _told_of(found),
        "measured": _known({name: getattr(found.measurement, name, None) for name in _MEASURED}),
    }
    return _known(told)


def _told_of(trial: Trial) -> dict[str, Any]:
    names = ("number", "seed", "arm", "replicate", "state", "reward", "repeat_of", "reused_from")
    return _known({name: getattr(trial, name) for name in names})


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != {}}


def _date(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date().isoformat()
