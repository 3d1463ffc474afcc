"""The volume that points dominate together, exactly."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def hypervolume(gains: NDArray[np.float64]) -> float:
    """The volume that some points dominate together: of the union of the boxes from the origin to each.

    Exact. Up to three objectives take O(n log n) steps (Fonseca, Paquete and López-Ibáñez 2006); more are sliced along
    the last (Zitzler 1999), which is meant for fronts of some hundred points.

    Args:
        gains: shape (n, objectives), the more the better; what is not above 0 in all contributes nothing.
    """
    points = gains[(gains > 0).all(axis=1)]
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(points.max())
    points = points[np.argsort(-points[:, -1], kind="stable")]
    heights = points[:, -1] - np.append(points[1:, -1], 0.0)
    if points.shape[1] == 2:  # a staircase
        return float(np.sum(np.maximum.accumulate(points[:, 0]) * heights))
    if points.shape[1] == 3:
        return float(np.sum(_areas(points[:, 0].tolist(), points[:, 1].tolist()) * heights))
    return float(sum(height * hypervolume(points[: n + 1, :-1]) for n, height in enumerate(heights) if height > 0))


def _areas(xs: Sequence[float], ys: Sequence[float]) -> NDArray[np.float64]:
    """After each point, the area of the union of the rectangles from the origin to it and those before it."""
    widths, heights = [0.0, math.inf], [math.inf, 0.0]  # of the stairs: the ones grow, the others fall
    area, areas = 0.0, []
    for x, y in zip(xs, ys, strict=True):
        place = bisect_left(widths, x)
        if heights[place] < y:
            right, height, left = x, heights[place], place - 1
            while heights[left] <= y:  # a step below the new one
                area += (right - widths[left]) * (y - height)
                right, height, left = widths[left], heights[left], left - 1
            area += (right - widths[left]) * (y - height)
            widths[left + 1 : place], heights[left + 1 : place] = [x], [y]
        areas.append(area)
    return np.array(areas)
