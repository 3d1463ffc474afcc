"""`Front`: what nothing dominates so far, and its hypervolume, as a search goes on."""

from __future__ import annotations

import numpy as np

from results.pareto import hypervolume


class Front:
    """Points of which the more is better in each objective, and no other is at least as good in all."""

    def __init__(self) -> None:
        self._points: list[tuple[float, ...]] = []
        self._volume = 0.0

    def volume_with(self, point: tuple[float, ...]) -> float:
        """The hypervolume if this point were added."""
        if self._is_dominated(point):
            return self._volume
        return hypervolume(np.array([*self._points, point]))

    def add(self, point: tuple[float, ...]) -> None:
        """Take a point in, and drop those that it dominates."""
        if self._is_dominated(point):
            return
        self._points = [p for p in self._points if any(a > b for a, b in zip(p, point, strict=True))] + [point]
        self._volume = hypervolume(np.array(self._points))

    def _is_dominated(self, point: tuple[float, ...]) -> bool:
        return any(all(a >= b for a, b in zip(p, point, strict=True)) for p in self._points)
