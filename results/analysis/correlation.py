"""Pearson's r of a quantity with several others on the same networks, and what one r is above another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from results.analysis.claims import Interval

DRAWS = 2000


class Correlations:
    """Pearson's r of a quantity with each of several; intervals are of 95 %, by resampling the networks (Efron 1979).

    All intervals are of the same resamples, so that the interval of a difference of two r is one of pairs.

    Args:
        values: of the quantity, by network.
        others: by name, the values of what it is compared with, in the same order.

    Raises:
        ValueError: there are fewer than three networks, or values that are all the same.
    """

    def __init__(self, values: Sequence[float], others: Mapping[str, Sequence[float]]) -> None:
        given = np.array([list(values), *map(list, others.values())], dtype=np.float64)
        self.n = given.shape[1]
        if self.n < 3 or not np.isfinite(given).all() or (given.min(axis=1) == given.max(axis=1)).any():
            raise ValueError(
                "a correlation must be of at least three networks, with finite values that are not all the same; "
                f"got {self.n} networks"
            )
        chosen = np.random.default_rng(0).integers(self.n, size=(DRAWS, self.n))
        self._names = tuple(others)
        self._found = _pearson(given[:, None])[:, 0]
        drawn = _pearson(given[:, chosen])
        self._drawn = drawn[:, np.isfinite(drawn).all(axis=0)]  # one and the same network in each place has no r

    def r(self, name: str) -> Interval:
        """Pearson's r with one of the others."""
        row = self._names.index(name)
        return self._interval(self._found[row], self._drawn[row])

    def above(self, name: str, other: str) -> Interval:
        """The r with one of them less the r with another."""
        first, second = self._names.index(name), self._names.index(other)
        return self._interval(self._found[first] - self._found[second], self._drawn[first] - self._drawn[second])

    def _interval(self, found: float, drawn: NDArray[np.float64]) -> Interval:
        low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (math.nan, math.nan)
        return Interval(float(found), float(low), float(high), self.n)


def _pearson(given: NDArray[np.float64]) -> NDArray[np.float64]:
    """r of the first of (quantities, draws, networks) with each of the rest; NaN where one does not vary."""
    apart = given - given.mean(axis=-1, keepdims=True)
    sums = (apart[0] * apart[1:]).sum(axis=-1)
    squares = (apart**2).sum(axis=-1)
    same = given.min(axis=-1) == given.max(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: NDArray[np.float64] = sums / np.sqrt(squares[0] * squares[1:])
    found[same[0] | same[1:]] = np.nan
    return found
