"""Which of many points nothing dominates (Kung, Luccio and Preparata 1975, for two and more objectives)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MAXIMISED = frozenset({"accuracy", "accuracy_corrected", "reward"})
"""The columns of the trial table of which more is better; of all others less is."""


def non_dominated(points: NDArray[np.float64], maximise: Sequence[bool] | None = None) -> NDArray[np.bool_]:
    """Which points no other dominates: none is at least as good in all objectives and better in one.

    Equal points do not dominate each other, and a point with a NaN is never on the front.

    Args:
        points: shape (n, objectives).
        maximise: per objective, whether more is better; by default less is, everywhere.

    Returns:
        shape (n,), True on the front.

    Raises:
        ValueError: points has not two dimensions, or maximise not one entry an objective.
    """
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"points must have the shape (n, objectives); got {values.shape}")
    signs = np.where(np.zeros(values.shape[1], bool) if maximise is None else np.asarray(maximise, bool), -1.0, 1.0)
    if signs.shape != (values.shape[1],):
        raise ValueError(f"maximise must have {values.shape[1]} entries, one an objective; got {len(signs)}")
    front = np.zeros(len(values), dtype=bool)
    finite = np.flatnonzero(~np.isnan(values).any(axis=1))
    if not finite.size or not values.shape[1]:
        return front
    unique, where = np.unique(values[finite] * signs, axis=0, return_inverse=True)  # in lexicographic order
    front[finite] = _front_of_sorted(unique)[where.reshape(-1)]
    return front


def _front_of_sorted(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The front of distinct points in lexicographic order, where only an earlier point can dominate a later."""
    if points.shape[1] == 1:
        return np.asarray(points[:, 0] == points[0, 0])
    if points.shape[1] == 2:
        best = np.minimum.accumulate(points[:, 1])
        return np.concatenate([[True], points[1:, 1] < best[:-1]])
    front = np.zeros(len(points), dtype=bool)
    left = np.arange(len(points))
    while left.size:  # the first point left is on the front; drop all that it dominates
        first, rest = left[0], left[1:]
        front[first] = True
        left = rest[(points[rest, 1:] < points[first, 1:]).any(axis=1)]
    return front


def hypervolume(gains: NDArray[np.float64]) -> float:
    """The volume that some points dominate together: of the union of the boxes from the origin to each.

    Exact, by slicing along the last axis (Zitzler 1999); meant for fronts of some hundred points.

    Args:
        gains: shape (n, objectives), the more the better; what is not above 0 in all contributes nothing.
    """
    points = gains[(gains > 0).all(axis=1)]
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(points.max())
    points = points[np.argsort(-points[:, -1], kind="stable")]
    if points.shape[1] == 2:  # a staircase
        reached = np.maximum.accumulate(points[:, 0])
        return float(np.sum(reached * (points[:, 1] - np.append(points[1:, 1], 0.0))))
    heights = points[:, -1] - np.append(points[1:, -1], 0.0)
    return float(sum(height * hypervolume(points[: n + 1, :-1]) for n, height in enumerate(heights) if height > 0))


def front_of(frame: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """The complete trials that no other dominates, the best by the first objective first.

    Args:
        frame: a trial table.
        objectives: columns of it that hold numbers; more is better in those of `MAXIMISED`, less elsewhere.

    Raises:
        ValueError: an objective is no column of numbers (lists those there are), or was measured in no trial.
    """
    numeric = [c for c in frame.columns if pd.api.types.is_numeric_dtype(frame[c])]
    if not objectives or any(name not in numeric for name in objectives):
        raise ValueError(f"objectives must be among {', '.join(numeric)}; got {', '.join(objectives) or 'none'}")
    complete = frame[frame["state"] == "complete"]
    if "replicate" in complete:  # a leader trained again is no network of its own
        complete = complete[complete["replicate"] == 0]
    for name in objectives:
        if len(complete) and complete[name].isna().all():
            raise ValueError(f"objectives must have been measured; {name} was in no trial: name others (--objectives)")
    points = np.column_stack([complete[name].to_numpy(np.float64, na_value=np.nan) for name in objectives])
    front = complete[non_dominated(points, [name in MAXIMISED for name in objectives])]
    return front.sort_values(objectives[0], ascending=objectives[0] not in MAXIMISED, kind="stable")
