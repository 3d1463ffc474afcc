"""`Front`: what nothing dominates so far, and its hypervolume, as a search goes on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from results.pareto import hypervolume, non_dominated

Point = tuple[float, ...]


class Front:
    """Points of which the more is better in each objective, and no other is at least as good in all."""

    def __init__(self) -> None:
        self._points: NDArray[np.float64] = np.empty((0, 0))
        self._volume = 0.0
        self._looked_at: tuple[Point, float] | None = None

    def volume_with(self, point: Point) -> float:
        """The hypervolume if this point were added."""
        if self._looked_at is None or self._looked_at[0] != point:
            self._looked_at = (point, self._volume + self._own(point))
        return self._looked_at[1]

    def add(self, point: Point) -> None:
        """Take a point in, and drop those that it dominates."""
        volume = self.volume_with(point)
        if not self._is_dominated(point):
            others = self._points.reshape(-1, len(point))
            self._points = np.vstack([others[(others > point).any(axis=1)], point])
        self._volume, self._looked_at = volume, None

    def _own(self, point: Point) -> float:
        """What a point dominates and the others do not (While, Bradstreet and Barone 2012, exclusive hypervolume)."""
        if min(point) <= 0 or self._is_dominated(point):
            return 0.0
        shared = np.minimum(self._points.reshape(-1, len(point)), point)
        shared = shared[(shared > 0).all(axis=1)]
        return float(np.prod(point)) - hypervolume(shared[non_dominated(-shared)] if len(shared) else shared)

    def _is_dominated(self, point: Point) -> bool:
        return bool((self._points.reshape(-1, len(point)) >= point).all(axis=1).any())
