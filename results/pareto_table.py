"""Networks with what their front says of them: rank, crowding, knee, and how sure it is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.noise import Noise, membership
from results.pareto import Floats, crowding_distance, directions, knee, points_of, ranks

Limits = Mapping[str, tuple[float | None, float | None]]
"""For some columns, the least and the most that they may be."""


def within(frame: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    """The rows of which each limited column was measured, and is within its limits.

    The best of them in one objective is the ε-constraint method's pick (Haimes, Lasdon and Wismer 1971).

    Raises:
        ValueError: a limit is of no column of the table.
    """
    inside = pd.Series(True, index=frame.index)
    for name, (least, most) in limits.items():
        if name not in frame:
            raise ValueError(f"a limit must be of a column of the table; it has no {name}")
        values = frame[name].astype(float)
        inside &= values.between(-np.inf if least is None else least, np.inf if most is None else most)
    return frame.loc[inside]


def chance_within(noise: Noise, trial: Hashable, limits: Limits) -> float:
    """How likely the true values of a trial are within limits, where they are normal about the measured ones.

    Args:
        noise: by `results.noise.noise_of`, of the limited columns at least.
        trial: its label in the index of the noise.
        limits: as for `within`.
    """
    chance = 1.0
    for name, (least, most) in limits.items():
        mean, deviation = (float(part[name].to_numpy()[part.index.get_loc(trial)]) for part in noise[:2])
        true = NormalDist(mean, max(deviation, 1e-12 * abs(mean), 1e-300))  # next to exact where nothing is known
        chance *= (1.0 if most is None else true.cdf(most)) - (0.0 if least is None else true.cdf(least))
    return chance


def front_table(
    networks: pd.DataFrame,
    objectives: Sequence[str],
    *,
    most: int | None = None,
    noise: Noise | None = None,
    rng: np.random.Generator | None = None,
) -> pd.DataFrame:
    """The networks of which all objectives were measured, with their places among each other.

    Args:
        networks: a row each (`results.networks.network_means`), or a part of them (`within`).
        objectives: as `results.pareto.front_of`.
        most: the last rank to tell, and whose trials are given; by default all.
        noise: of the trials that the networks come from, by `results.noise.noise_of`.
        rng: for the draws of the noise; needed with it.

    Returns:
        the networks in the order of their ranks, of one rank the best by the first objective first, with their index
        and more columns: `rank`; `crowding` (distance among those of its rank, infinite for the extremes); `knee` (True
        for one of the first front, where that has three points or more); and with the noise `membership`, the
        probability that nothing dominates the network.

    Raises:
        ValueError: an objective is no column of numbers, or this is a table of trials.
    """
    if "trainings" not in networks:
        raise ValueError("a front is of networks: give what results.networks.network_means makes of a trial table")
    names, maximise = directions(objectives)
    points = points_of(networks, names)
    known = np.flatnonzero(~np.isnan(points).any(axis=1))
    found, points = networks.iloc[known], points[known]
    rank = ranks(points, maximise, most=most)
    found = found.assign(rank=rank, crowding=_crowding(points, rank), knee=False)
    front = np.flatnonzero(rank == 1)
    if len(front) >= 3:
        found["knee"] = np.arange(len(found)) == front[knee(points[front], maximise)]
    if noise is not None:
        if rng is None:
            raise ValueError("the noise is drawn from: give a generator as rng with it")
        deviations = noise.deviation.loc[found.index, names].to_numpy()
        found["membership"] = membership(points, deviations, maximise, rng=rng)
    found = found[found["rank"] > 0]
    return found.sort_values(["rank", names[0]], ascending=[True, not maximise[0]], kind="stable")


def _crowding(points: Floats, rank: NDArray[np.int64]) -> Floats:
    found = np.zeros(len(points))
    order = np.argsort(rank, kind="stable")
    for front in np.split(order, np.flatnonzero(np.diff(rank[order])) + 1):
        found[front] = crowding_distance(points[front])
    return found
