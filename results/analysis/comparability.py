"""In what the configurations of runs differ, and whether their rewards may be compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import fdtrc

from results.analysis.candidates import candidates, random_draws

_TOLD_ELSEWHERE = ("columns", "options", "space", "first_draw", "calibration")
"""Of a configuration, what its identity says too, and what is too long to be read."""

_MEASURED_BY = ("identity.evaluator", "identity.sources.evaluator", "identity.task", "identity.image_size")
_REWARDED_BY = ("identity.reward", "identity.sources.reward", "identity.reward_weights")
_ANCHORED_BY = ("identity.space.backbone",)


class Doubt(NamedTuple):
    """Why a comparison of runs may be wrong.

    Attributes:
        said: in words.
        runs: those that it is about, in groups that are alike in it.
        spoils: the measures that it makes incomparable, of `best`, `top` and `hypervolume`; of others it is a warning.
    """

    said: str
    runs: tuple[tuple[str, ...], ...]
    spoils: tuple[str, ...] = ()

    def between(self, one: str, other: str) -> bool:
        """Whether it tells these two apart."""
        homes = [group for group in self.runs if one in group or other in group]
        return len(homes) == 2


def differing(configurations: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The fields in which the configurations of runs differ.

    Args:
        configurations: of each run, by its name, as `run.json` has it.

    Returns:
        a row a field: field, then a column a run with its value; None where a run has no such field.
    """
    flat = {name: dict(_fields(_told(configuration))) for name, configuration in configurations.items()}
    fields = sorted({field for values in flat.values() for field in values})
    rows = []
    for field in fields:
        values = [known.get(field) for known in flat.values()]
        if any(value != values[0] for value in values):
            rows.append((field.removeprefix("identity."), *values))
    return pd.DataFrame(rows, columns=["field", *flat], dtype=object)


def doubts(frames: Mapping[str, pd.DataFrame], configurations: Mapping[str, Mapping[str, Any]]) -> list[Doubt]:
    """Why the rewards of runs may not be comparable.

    Another proxy task, another reward or other weights, and costs relative to another backbone make other numbers of
    the same networks. Step times on another device are comparable as far as they are relative to the anchor's alone,
    and of two unlike noises the larger flatters the best more: both are warnings.

    Args:
        frames: the trial table of each run, by its name.
        configurations: of each run, by the same names.
    """
    flat = {name: dict(_fields(configuration)) for name, configuration in configurations.items()}
    found = [
        _of_fields("another proxy task", _MEASURED_BY, flat, ("best", "top", "hypervolume")),
        _of_fields("another reward or other weights", _REWARDED_BY, flat, ("best", "top")),
        _of_fields("costs relative to another backbone", _ANCHORED_BY, flat, ("best", "top", "hypervolume")),
        _of_devices(frames),
        _of_noise(frames),
    ]
    return [doubt for doubt in found if doubt is not None]


def reward_noise(frame: pd.DataFrame) -> tuple[float, int] | None:
    """How much the rewards of one network differ from training to training; None where none was trained again.

    Args:
        frame: a trial table of one run.

    Returns:
        the standard deviation within networks, pooled over all that were trained more than once, and its degrees of
        freedom.
    """
    complete = frame[(frame["state"] == "complete") & frame["reward"].notna()]
    groups = complete.groupby("architecture")["reward"]
    spread = complete["reward"].astype(float) - groups.transform("mean").astype(float)
    free = len(complete) - groups.ngroups
    return (float(np.sqrt(np.sum(spread.to_numpy() ** 2) / free)), free) if free else None


def random_run(
    name: str, frames: Mapping[str, pd.DataFrame], configurations: Mapping[str, Mapping[str, Any]]
) -> str | None:
    """Another run whose random draws are what chance would have found in a run's place; None where there is none.

    It drew from the same space within the same limits, and its rewards are comparable. Of several it is the one that
    drew most. What `convergence` takes as `chance`.

    Args:
        name: of the run.
        frames: the trial table of each run, by its name.
        configurations: of each run, by the same names.
    """

    def of_one_kind(other: str) -> bool:
        pair = {one: dict(_fields(_told(configurations[one]))) for one in (name, other)}
        asked = _of_fields("", ("identity.space", "identity.limits", "space"), pair, ())
        these = {one: frames[one] for one in (name, other)}
        such = {one: configurations[one] for one in (name, other)}
        return asked is None and not any(doubt.spoils for doubt in doubts(these, such))

    drawn = {other: random_draws(frame)["reward"].notna().sum() for other, frame in frames.items() if other != name}
    ranked = sorted((other for other, count in drawn.items() if count), key=lambda other: -drawn[other])
    return next((other for other in ranked if of_one_kind(other)), None)


def _told(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is compared of a configuration: all of it where it has no identity."""
    if "identity" not in configuration:
        return configuration
    return {name: value for name, value in configuration.items() if name not in _TOLD_ELSEWHERE}


def _fields(value: object, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each single value with its path; a list of named things, such as choices, by their names."""
    if isinstance(value, list | tuple) and value and all(isinstance(v, Mapping) and "name" in v for v in value):
        value = {f"{v['name']}": {k: w for k, w in v.items() if k != "name"} for v in value}
    if isinstance(value, Mapping) and value:
        for key in value:
            yield from _fields(value[key], f"{name}.{key}" if name else str(key))
    elif value is not None and value != {}:
        yield name, list(value) if isinstance(value, tuple) else value


def _of_fields(
    what: str, prefixes: tuple[str, ...], flat: Mapping[str, Mapping[str, Any]], spoils: tuple[str, ...]
) -> Doubt | None:
    """A doubt where runs differ in a field of these."""
    kept = {name: {k: v for k, v in of.items() if _under(k, prefixes)} for name, of in flat.items()}
    fields = sorted({field for values in kept.values() for field in values})
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, values in kept.items():
        groups.setdefault(tuple(_key(values.get(field)) for field in fields), []).append(name)
    if len(groups) < 2:
        return None
    others = [field for n, field in enumerate(fields) if len({key[n] for key in groups}) > 1]
    named = ", ".join(field.removeprefix("identity.") for field in others)
    return Doubt(f"{what} ({named}): {_told_apart(groups.values())}", _frozen(groups.values()), spoils)


def _key(value: Any) -> str:
    """A text that is equal where values are; 1 and 1.0 are one number."""
    return json.dumps(float(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def _under(field: str, prefixes: tuple[str, ...]) -> bool:
    return any(field == prefix or field.startswith(f"{prefix}.") for prefix in prefixes)


def _of_devices(frames: Mapping[str, pd.DataFrame]) -> Doubt | None:
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, frame in frames.items():
        timed = candidates(frame)
        names = timed.loc[timed["step_time"].notna(), "device"].dropna().astype("str")
        if len(names):
            groups.setdefault(tuple(sorted(names.unique())), []).append(name)
    if len(groups) < 2:
        return None
    devices = "; ".join(f"{', '.join(runs)} on {' and '.join(on)}" for on, runs in groups.items())
    return Doubt(f"step times are of another device: {devices}", _frozen(groups.values()))


def _of_noise(frames: Mapping[str, pd.DataFrame]) -> Doubt | None:
    """A doubt where the noisiest run is told apart from the least noisy by an F test at 5 %."""
    known = {name: noise for name, frame in frames.items() if (noise := reward_noise(frame)) is not None}
    if len(known) < 2:
        return None
    most, least = max(known, key=lambda name: known[name][0]), min(known, key=lambda name: known[name][0])
    (high, free_high), (low, free_low) = known[most], known[least]
    chance = 0.0 if not low else 2 * float(fdtrc(free_high, free_low, (high / low) ** 2))
    if high == low or chance >= 0.05:
        return None
    said = f"noise: trainings of one network differ in reward by {high:.4f} in {most} and by {low:.4f} in {least}"
    return Doubt(f"{said} (standard deviations); the best of the noisier is flattered more", ((most,), (least,)))


def _told_apart(groups: Any) -> str:
    return " against ".join(", ".join(group) for group in groups)


def _frozen(groups: Any) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(group) for group in groups)
