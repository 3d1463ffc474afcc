"""Points with several objectives: which nothing dominates, ranks, crowding, knee and hypervolume. Pure functions.

An objective of a trial table is the name of a column, with `max:` or `min:` before it where the other direction than
the column's usual one is wanted.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.hypervolume import hypervolume as hypervolume

MAXIMISED = frozenset({"accuracy", "accuracy_corrected", "reward"})
"""The columns of the trial table of which more is better; of all others less is."""

Floats = NDArray[np.float64]
_LEAF = 128  # so few points are compared each with each
_EARLIER = np.triu(np.ones((_LEAF, _LEAF), dtype=bool), 1)


def non_dominated(points: Floats, maximise: Sequence[bool] | None = None) -> NDArray[np.bool_]:
    """Which points no other dominates: none is at least as good in all objectives and better in one.

    Equal points do not dominate each other, and a point with a NaN is never on the front. Up to three objectives take
    O(n log² n) steps (Kung, Luccio and Preparata 1975), more O(n times the size of the front).

    Args:
        points: shape (n, objectives).
        maximise: per objective, whether more is better; by default less is, everywhere.

    Returns:
        shape (n,), True on the front.

    Raises:
        ValueError: points has not two dimensions, or maximise not one entry an objective.
    """
    values = _less_is_better(points, maximise)
    front = np.zeros(len(values), dtype=bool)
    known = np.flatnonzero(~np.isnan(values).any(axis=1))
    if known.size and values.shape[1]:
        distinct, where = _distinct(values[known])
        front[known] = _front(distinct)[where]
    return front


def _less_is_better(points: Floats, maximise: Sequence[bool] | None) -> Floats:
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"points must have the shape (n, objectives); got {values.shape}")
    signs = np.where(np.zeros(values.shape[1], bool) if maximise is None else np.asarray(maximise, bool), -1.0, 1.0)
    if signs.shape != (values.shape[1],):
        raise ValueError(f"maximise must have {values.shape[1]} entries, one an objective; got {len(signs)}")
    return values * signs


def _distinct(values: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """The distinct points in lexicographic order, and which of them each point is."""
    order = np.argsort(values[:, 0])
    first = values[order, 0]
    if (first[1:] == first[:-1]).any():
        order = np.lexsort(values.T[::-1])
    ordered = values[order]
    new = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    where = np.empty(len(values), dtype=np.intp)
    where[order] = np.cumsum(new) - 1
    return ordered[new], where


def _front(points: Floats) -> NDArray[np.bool_]:
    """The front of distinct points in lexicographic order, where only an earlier point can dominate a later."""
    if points.shape[1] == 1:
        return np.asarray(points[:, 0] == points[0, 0])
    if points.shape[1] == 2:
        least = np.minimum.accumulate(points[:, 1])
        return np.concatenate([[True], points[1:, 1] < least[:-1]])
    if points.shape[1] == 3:
        return _front_of_three(points[:, 1].copy(), points[:, 2].copy())[0]
    front = np.zeros(len(points), dtype=bool)
    left = np.arange(len(points))
    while left.size:  # the first point left is on the front; drop all that it dominates
        first, rest = left[0], left[1:]
        front[first] = True
        left = rest[(points[rest, 1:] < points[first, 1:]).any(axis=1)]
    return front


def _front_of_three(y: Floats, z: Floats) -> tuple[NDArray[np.bool_], Floats, Floats]:
    """The front of distinct points in order of the first objective, by the other two; and the stairs of these.

    The stairs of the first half's front say of which points of the second half one of the first is as good in both.
    """
    if len(y) <= _LEAF:
        beats = y[:, None] <= y
        beats &= z[:, None] <= z
        beats &= _EARLIER[: len(y), : len(y)]
        front = ~np.asarray(beats.any(axis=0))
        return front, *_stairs(y[front], z[front])
    half = len(y) // 2
    front = np.zeros(len(y), dtype=bool)
    front[:half], ys, zs = _front_of_three(y[:half], z[:half])
    place = np.searchsorted(ys, y[half:], side="right")
    left = half + np.flatnonzero((place == 0) | (zs[place - 1] > z[half:]))
    if not left.size:
        return front, ys, zs
    front[left], more_ys, more_zs = _front_of_three(y[left], z[left])
    return front, *_stairs(np.concatenate([ys, more_ys]), np.concatenate([zs, more_zs]))


def _stairs(y: Floats, z: Floats) -> tuple[Floats, Floats]:
    """Where the least z of all points with so much y or less goes down, as y grows."""
    order = np.argsort(y, kind="stable")  # which is quick for the two ascending halves that come
    y, least = y[order], np.minimum.accumulate(z[order])
    down = np.append(True, least[1:] < least[:-1])
    return y[down], least[down]


def ranks(points: Floats, maximise: Sequence[bool] | None = None, *, most: int | None = None) -> NDArray[np.int64]:
    """The rank of each point: 1 on the front, 2 on the front of what is left without it, and so on (Deb et al. 2002).

    Args:
        points: shape (n, objectives).
        maximise: as `non_dominated`.
        most: the last rank that is worth telling, which saves time; by default all are. With more than three
            objectives, each takes as long as a front.

    Returns:
        shape (n,); 0 for points that are not ranked: of a rank after `most`, or with a NaN.

    Raises:
        ValueError: as `non_dominated`.
    """
    values = _less_is_better(points, maximise)
    found = np.zeros(len(values), dtype=np.int64)
    known = np.flatnonzero(~np.isnan(values).any(axis=1))
    if not known.size or not values.shape[1]:
        return found
    distinct, where = _distinct(values[known])
    of_distinct = np.zeros(len(distinct), dtype=np.int64)
    if most is None and distinct.shape[1] <= 3:
        of_distinct[:] = _all_ranks(distinct)
    else:
        left, rank = np.arange(len(distinct)), 1
        while left.size and (most is None or rank <= most):
            front = _front(distinct[left])
            of_distinct[left[front]] = rank
            left, rank = left[~front], rank + 1
    found[known] = of_distinct[where]
    return found


def _all_ranks(points: Floats) -> list[int]:
    """The ranks of distinct points in lexicographic order with up to three objectives.

    What one front does not dominate, no later one does, so a point's front is found by bisection (Jensen 2003, Zhang et
    al. 2015); each front keeps the stairs of its second and third objective.
    """
    columns = [points[:, k].tolist() if k < points.shape[1] else [0.0] * len(points) for k in (1, 2)]
    ys: list[list[float]] = []
    zs: list[list[float]] = []
    found = []
    for y, z in zip(*columns, strict=True):
        low, high = 0, len(ys)
        while low < high:
            middle = (low + high) // 2
            place = bisect_right(ys[middle], y)
            if place and zs[middle][place - 1] <= z:
                low = middle + 1
            else:
                high = middle
        found.append(low + 1)
        if low == len(ys):
            ys.append([y])
            zs.append([z])
            continue
        begin = end = bisect_left(ys[low], y)
        while end < len(zs[low]) and zs[low][end] >= z:  # steps that the point takes the place of
            end += 1
        ys[low][begin:end], zs[low][begin:end] = [y], [z]
    return found


def crowding_distance(points: Floats) -> Floats:
    """How far apart the neighbours of each point of a front are, as a share of the front's extent (Deb et al. 2002).

    Of points with an equal objective the neighbours are the next other values, so that their order does not matter.

    Args:
        points: shape (n, objectives), of one front.

    Returns:
        shape (n,), summed over the objectives; infinite for the extremes of any, such as a point that is alone.
    """
    total = np.full(len(points), 0.0 if np.ptp(points, axis=0).any() else math.inf) if len(points) else np.zeros(0)
    for column in np.asarray(points, dtype=np.float64).T:
        values, where = np.unique(column, return_inverse=True)
        if len(values) > 1:
            gaps = np.full(len(values), math.inf)
            gaps[1:-1] = (values[2:] - values[:-2]) / (values[-1] - values[0])
            total += gaps[where]
    return total


def knee(points: Floats, maximise: Sequence[bool] | None = None) -> int:
    """The point of a front with the least sum of its objectives, each from 0 at the front's best to 1 at its worst.

    It is the one farthest below the plane through the front's extremes (Das 1999).

    Args:
        points: shape (n, objectives), finite, of one front; at least one.
        maximise: as `non_dominated`.

    Returns:
        its index; of several, the first's.

    Raises:
        ValueError: there is no point, or as `non_dominated`.
    """
    values = _less_is_better(points, maximise)
    if not len(values):
        raise ValueError("a knee is a point of a front, which must have one at least; got none")
    best, extent = values.min(axis=0), np.ptp(values, axis=0)
    return int(((values - best) / np.where(extent > 0, extent, 1.0)).sum(axis=1).argmin())


def hypervolume_of(points: Floats, reference: Sequence[float], maximise: Sequence[bool] | None = None) -> float:
    """The volume between a reference point and all points that are better than it in each objective.

    Args:
        points: shape (n, objectives); one with a NaN contributes nothing.
        reference: a value an objective.
        maximise: as `non_dominated`.

    Raises:
        ValueError: the reference has not one finite value an objective, or as `non_dominated`.
    """
    values = _less_is_better(points, maximise)
    corner = np.asarray(reference, dtype=np.float64)
    if corner.shape != values.shape[1:] or not np.isfinite(corner).all():
        got = ", ".join(map(str, reference))
        raise ValueError(f"reference must have {values.shape[1]} finite values, one an objective; got {got}")
    return hypervolume(_less_is_better(corner[None], maximise) - values)


def directions(objectives: Sequence[str]) -> tuple[list[str], list[bool]]:
    """The columns that objectives name, and of which of them more is better.

    Raises:
        ValueError: one is named twice, or has another word before the colon.
    """
    names, maximise = [], []
    for text in objectives:
        way, _, name = text.strip().rpartition(":")
        names.append(name)
        maximise.append(name in MAXIMISED if way not in ("max", "min") else way == "max")
        if way not in ("", "max", "min"):
            raise ValueError(f"an objective must be a column, or max: or min: before one; got {text!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"each objective must be named once; got {', '.join(names)}")
    return names, maximise


def points_of(frame: pd.DataFrame, names: Sequence[str]) -> Floats:
    """Columns of numbers of a trial table as points, shape (rows, names), NaN where a value is missing.

    Raises:
        ValueError: a name is no column of numbers (lists those there are).
    """
    if not names or any(n not in frame or not pd.api.types.is_numeric_dtype(frame[n]) for n in names):
        numeric = [c for c in frame.columns if pd.api.types.is_numeric_dtype(frame[c])]
        raise ValueError(f"objectives must be among {', '.join(numeric)}; got {', '.join(names) or 'none'}")
    return np.column_stack([frame[name].to_numpy(np.float64, na_value=np.nan) for name in names])


def front_of(frame: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """The complete trials that no other dominates, the best by the first objective first.

    Args:
        frame: a trial table.
        objectives: columns of it that hold numbers; more is better in those of `MAXIMISED`, less elsewhere, unless
            `max:` or `min:` stands before.

    Raises:
        ValueError: an objective is no column of numbers (lists those there are), or was measured in no trial.
    """
    names, maximise = directions(objectives)
    complete = first_trainings(frame, names)
    front = complete[non_dominated(points_of(complete, names), maximise)]
    return front.sort_values(names[0], ascending=not maximise[0], kind="stable")


def first_trainings(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The complete trials that are networks of their own: a leader trained again is none.

    Raises:
        ValueError: a name is no column of numbers, or was measured in no complete trial.
    """
    points_of(frame.iloc[:0], names)
    complete = frame[frame["state"] == "complete"]
    if "replicate" in complete:
        complete = complete[complete["replicate"] == 0]
    for name in names:
        if len(complete) and complete[name].isna().all():
            raise ValueError(f"objectives must have been measured; {name} was in no trial: name others (--objectives)")
    return complete
