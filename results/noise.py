"""How far what was measured may be from what is true, and how sure one can be of a front for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.networks import Alike, homes, network_of, own_trainings
from results.pareto import Floats, directions, non_dominated, points_of

WIDTH_OF_95 = 2 * 1.959964
"""A 95 % interval of a normal variable is so many standard deviations wide."""

_SURE = 3.6  # standard deviations of a difference: in three objectives it has the other sign once in 2,000 times
_JUDGES = 256  # points that others are held against before any is drawn
_WORK = 2_000_000  # points drawn in all, unless the caller says how many draws
_PAIRS = 2**18  # so many are compared at once; beyond half of it, a draw is a front of its own


class Noise(NamedTuple):
    """What is known of the true objectives of each trial of a table.

    Attributes:
        mean: a column an objective, with the table's index: the mean over all trainings of the trial's network.
        deviation: likewise, the standard deviation of that mean; 0 where a value is taken as exact.
        said: where each deviation comes from, a line for each objective that has one.
    """

    mean: pd.DataFrame
    deviation: pd.DataFrame
    said: list[str]


def noise_of(
    frame: pd.DataFrame,
    objectives: Sequence[str],
    minival: int | Mapping[str, int | None] | None = None,
    *,
    alike: Alike | None = None,
) -> Noise:
    """How noisy the objectives of each trial are, by what was measured.

    A column that has an interval (`step_time_low`, `step_time_high`) has its deviation from there. That of the others
    is the spread of the trainings of one network, pooled over the networks that were trained more than once, in one run
    or in several that measured alike; of an accuracy it is at least the binomial sampling error on the minival, which
    more trainings do not lessen.

    Args:
        frame: a trial table, with the replicates.
        objectives: as `results.pareto.front_of`.
        minival: pictures that accuracies are shares of; for several runs by the run's name; None where that is not
            known.
        alike: as `results.networks.network_means`.

    Raises:
        ValueError: an objective is no column of numbers.
    """
    names, _ = directions(objectives)
    values = pd.DataFrame(points_of(frame, names), index=frame.index, columns=names)
    values = values.where(own_trainings(frame, alike))
    runs = frame["run"] if "run" in frame else pd.Series("", index=frame.index)
    kinds, network = homes(frame, alike), network_of(frame, alike)
    groups = values.groupby(network)
    mean, trainings = groups.transform("mean"), groups.transform("count").clip(lower=1)
    deviation, said = {}, []
    for name in names:
        if {f"{name}_low", f"{name}_high"} <= set(frame.columns):
            width = (frame[f"{name}_high"] - frame[f"{name}_low"]).astype(float).where(values[name].notna())
            one, source = _of_intervals(width, values[name]), "by its 95 % interval"
            one = ((one**2).groupby(network).transform("mean") ** 0.5).fillna(0.0)  # where there is none at all
        else:
            one, again = _pooled(values[name] - mean[name], trainings[name], kinds)
            source = f"by {again:,} trainings of networks trained before" if again else ""
        deviation[name] = one / trainings[name] ** 0.5
        pictures = _pictures(runs, minival)
        if name in ("accuracy", "accuracy_corrected") and pictures.notna().any():
            deviation[name] = deviation[name].clip(lower=_sampling_error(mean[name], pictures))
            source += f"{', ' if source else ''}at least the sampling error of {_range(pictures)} minival pictures"
        if (deviation[name] > 0).any():
            said.append(f"{name} ±{deviation[name][values[name].notna()].median():.2g} (median; {source})")
    return Noise(mean, pd.DataFrame(deviation, index=frame.index), said)


def _of_intervals(width: pd.Series[float], values: pd.Series[float]) -> pd.Series[float]:
    """The standard deviations of measurements by their 95 % intervals; one without has the usual relative one."""
    one = width.clip(lower=0) / WIDTH_OF_95
    usual = (one / values).median()
    return one.fillna((values * usual).abs())


def _pooled(
    residuals: pd.Series[float], trainings: pd.Series[int], kinds: pd.Series[str]
) -> tuple[pd.Series[float], int]:
    """The standard deviation of one training, pooled over the networks of each kind of runs, and by how many trainings.

    Where none was trained again it is 0.
    """
    freedom = (1 - 1 / trainings).where(residuals.notna(), 0.0)  # a network of n trainings counts n - 1 times
    squares, by_kind = (column.groupby(kinds).transform("sum") for column in (residuals**2, freedom))
    variance = (squares / by_kind.where(by_kind > 0.5)).fillna(0.0)
    return variance**0.5, round(float(freedom.sum()))


def _pictures(runs: pd.Series[str], minival: int | Mapping[str, int | None] | None) -> pd.Series[float]:
    counts = minival if isinstance(minival, Mapping) else dict.fromkeys(runs.unique(), minival)
    return runs.map({name: math.nan if count is None else count for name, count in counts.items()}).astype(float)


def _sampling_error(accuracy: pd.Series[float], pictures: pd.Series[float]) -> pd.Series[float]:
    """Of a share of so many pictures; the rule of succession keeps it above 0 where all or none are right."""
    share = (accuracy.clip(0, 1) * pictures + 1) / (pictures + 2)
    return ((share * (1 - share) / pictures) ** 0.5).fillna(0.0)


def _range(pictures: pd.Series[float]) -> str:
    low, high = int(pictures.min()), int(pictures.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def membership(
    points: Floats,
    noise: Floats,
    maximise: Sequence[bool] | None = None,
    *,
    draws: int | None = None,
    rng: np.random.Generator,
) -> Floats:
    """How likely each point is to be on the front, where its true place is normal about the measured one.

    The points' errors are drawn independently. Accuracies on one minival err together, so that their differences are
    surer than is told here: the chances are on the cautious side, a little too near a half.

    Args:
        points: shape (n, objectives).
        noise: their standard deviations, of the same shape; 0 is exact.
        maximise: as `results.pareto.non_dominated`.
        draws: of all true places together; the standard error of a probability p is sqrt(p (1 - p) / draws). By
            default 1,000, and fewer where thousands of points contend, down to 100.

    Returns:
        shape (n,): the share of the draws in which nothing dominates the point; NaN for a point with a NaN. Points that
        another dominates beyond doubt (by 3.6 standard deviations in each objective) are given 0 undrawn.

    Raises:
        ValueError: noise has another shape or a negative value, there is no draw, or as `non_dominated`.
    """
    values = np.where(np.zeros(points.shape[1], bool) if maximise is None else maximise, -1.0, 1.0) * points
    if noise.shape != values.shape or not (noise >= 0).all() or (draws is not None and draws < 1):
        raise ValueError(
            f"noise must be {values.shape} standard deviations of 0 or more, and draws 1 or more; got {noise.shape}, "
            f"the least {noise.min(initial=math.inf)}, and {draws} draws"
        )
    known = ~np.isnan(values).any(axis=1)
    chances = np.where(known, 0.0, np.nan)
    contenders = np.flatnonzero(known)
    contenders = contenders[_may_be_on_the_front(values[contenders], noise[contenders])]
    if draws is None:
        draws = min(1000, max(100, _WORK // max(1, len(contenders))))
    centre, spread, hits = values[contenders], noise[contenders], np.zeros(len(contenders))
    together = max(1, _PAIRS // max(1, len(contenders) ** 2))
    for done in range(0, draws, together):
        drawn = rng.normal(centre, spread, (min(together, draws - done), *centre.shape))
        hits += non_dominated(drawn[0]) if len(drawn) == 1 else _times_on_the_front(drawn)
    chances[contenders] = hits / draws
    return chances


def _times_on_the_front(drawn: Floats) -> NDArray[np.int64]:
    """How often each point of some draws, shape (draws, n, objectives), is on its front; for few points, by pairs."""
    no_worse = np.ones((*drawn.shape[:2], drawn.shape[1]), dtype=bool)  # the first of a pair, than the second
    for column in np.moveaxis(drawn, 2, 0):
        no_worse &= column[:, :, None] <= column[:, None, :]
    dominated = (no_worse & ~no_worse.transpose(0, 2, 1)).any(axis=1)
    return np.asarray((~dominated).sum(axis=0))


def _may_be_on_the_front(values: Floats, noise: Floats) -> NDArray[np.bool_]:
    """Which points no judge dominates beyond doubt: a judge is on the front even at its worst."""
    front = np.flatnonzero(non_dominated(values + _SURE * noise))
    front = front[np.argsort(values[front, 0])]
    left = np.arange(len(values))
    for judge in front[np.unique(np.linspace(0, len(front) - 1, _JUDGES).astype(int))] if len(front) else ():
        ahead = values[left] - values[judge]
        beaten = (ahead >= _SURE * np.hypot(noise[left], noise[judge])).all(axis=1) & (ahead > 0).any(axis=1)
        left = left[~beaten]
    may = np.zeros(len(values), dtype=bool)
    may[left] = True
    return may
