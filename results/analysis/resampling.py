"""Whether the candidates of two runs could be of one kind, and how far the difference of their measures may be off.

The first is a permutation test (Fisher 1935; the p-value with one added, Phipson and Smyth 2010, Statistical
Applications in Genetics and Molecular Biology 9): all candidates are pooled and split at random, which holds for any
measure and any number of them. The second is of the bootstrap with half as many draws as there are candidates (Bickel,
Götze and van Zwet 1997, Statistica Sinica 7), since the plain one is wrong of a maximum, which it hits in 63 % of its
draws.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.analysis.candidates import standing
from results.analysis.hypervolumes import Volumes

DRAWS = 1000
TOP = 0.05
"""The share of the candidates whose mean reward is compared beside the best."""

MEASURES = {"best": "best reward", "top": "mean reward of the top 5 %", "hypervolume": "hypervolume"}
ALPHA = 0.05
FEWEST = 4
"""Candidates of each of two runs below which no split is rarer than `ALPHA`: of three and three it is one in ten."""

Floats = NDArray[np.float64]


class Candidates:
    """The candidates of a run, or of several pooled, and the measures of any part of them.

    Args:
        rewards: shape (n,); -inf where there is none.
        gains: shape (n, objectives), as `gains_of` gives them; None where no hypervolume is told.
    """

    def __init__(self, rewards: Floats, gains: Floats | None) -> None:
        self.rewards, self.gains = rewards, gains
        self._volumes = None if gains is None else Volumes(gains)

    def measured(self, of: NDArray[np.int64], top: int) -> Floats:
        """The measures of those at some places, in the order of `MEASURES`; -inf where none has a reward.

        Args:
            of: their places; one may be named more than once.
            top: of how many the mean reward of the best is.
        """
        volume = np.nan if self._volumes is None else self._volumes.of(of)
        if not len(of):
            return np.array([-np.inf, -np.inf, volume])
        best = np.partition(self.rewards[of], len(of) - top)[len(of) - top :]
        return np.array([best.max(), best.mean(), volume])

    def all_measured(self) -> Floats:
        """The measures of all of them."""
        count = len(self.rewards)
        return self.measured(np.arange(count), math.ceil(TOP * count))

    def drawn(self, rng: np.random.Generator) -> Floats:
        """The measures of each draw of half of them, with replacement; shape (draws, measures)."""
        count = len(self.rewards)
        half = math.ceil(count / 2)
        top = math.ceil(TOP * half)
        decisive = self.decisive(top)
        drawn = []
        for _ in range(DRAWS):
            among = rng.binomial(half, len(decisive) / max(1, count))  # so many of the draws are of these
            drawn.append(self.measured(decisive[rng.integers(max(1, len(decisive)), size=among)], top))
        return np.array(drawn)

    def decisive(self, top: int) -> NDArray[np.int64]:
        """The places of those that can decide a measure of half of them, whether split off or drawn.

        Its `top` best are among the first `2 top` by reward and some more, but for a chance of some 1e-9.
        """
        leading = 2 * top + 12 * math.isqrt(top) + 60
        first = np.argsort(-self.rewards, kind="stable")[:leading]
        return first if self._volumes is None else np.union1d(first, self._volumes.places)


def candidates_of(rows: pd.DataFrame, gains: Floats | None) -> Candidates:
    """A run's candidates; of what has failed and what was stopped early the reward is -inf.

    Args:
        rows: as `results.analysis.candidates` gives them.
        gains: theirs, as `gains_of` gives them.
    """
    rewards = standing(rows)
    rewards[rewards == np.finfo(np.float64).min] = -np.inf  # a mean with it would be no number
    return Candidates(rewards, gains)


def less(one: Floats, other: Floats) -> Floats:
    """The difference of measures; of two that have no reward, none."""
    both = np.isneginf(one) & np.isneginf(other)
    return np.where(both, 0.0, np.where(both, 0.0, one) - np.where(both, 0.0, other))


def interval(difference: Floats, draws: Floats) -> tuple[Floats, Floats]:
    """The ends of 95 % intervals of differences: how far the luck of the draws moves them.

    A measure of half the candidates is less than that of all, of one run perhaps more than of the other. So the draws'
    spread is taken from about their own median and laid about the difference. It is that of half as many candidates,
    which is wider: it errs on the safe side.

    Args:
        difference: shape (measures,).
        draws: theirs, shape (draws, measures).

    Returns:
        the lower and the upper ends, which hold the difference; infinite where an end cannot be told, NaN where none
        can.
    """
    ordered = np.sort(draws, axis=0)
    low, high = ordered[len(draws) // 40], ordered[-1 - len(draws) // 40]
    with np.errstate(invalid="ignore"):  # of one infinite end and the other
        middle = ordered[(len(draws) - 1) // 2] / 2 + ordered[len(draws) // 2] / 2
    known = np.isfinite(difference) & np.isfinite(middle)
    difference, middle = (np.where(known, values, np.nan) for values in (difference, middle))
    return difference + (low - middle), difference + (high - middle)


def p_values(one: Candidates, other: Candidates, rng: np.random.Generator) -> Floats:
    """How often runs of one kind would differ in each measure as much as these, or more, either way.

    Args:
        one: candidates of a run.
        other: as many of another.
        rng: splits them.

    Returns:
        shape (measures,): NaN where a measure is not known, and in all where the runs have fewer than `FEWEST`
        candidates.
    """
    count = len(one.rewards)
    found = np.abs(less(one.all_measured(), other.all_measured()))
    if count < FEWEST:
        return np.full(len(found), np.nan)
    pool = _pooled(one, other)
    top = math.ceil(TOP * count)
    decisive, hits = pool.decisive(top), np.zeros(len(found))
    for _ in range(DRAWS):
        ours = rng.permutation(len(decisive)) < rng.hypergeometric(count, count, len(decisive))
        apart = less(*(pool.measured(decisive[half], top) for half in (ours, ~ours)))
        hits += np.abs(apart) >= found * (1 - 1e-9)  # sums of the same numbers in another order are not quite equal
    return np.where(np.isnan(found), np.nan, (1 + hits) / (1 + DRAWS))


def _pooled(one: Candidates, other: Candidates) -> Candidates:
    """All candidates in an order that does not say whose they are, so that runs that change places change nothing."""
    rewards = np.concatenate([one.rewards, other.rewards])
    gains = None if one.gains is None or other.gains is None else np.concatenate([one.gains, other.gains])
    order = np.lexsort([rewards] if gains is None else [*gains.T, rewards])
    return Candidates(rewards[order], None if gains is None else gains[order])
