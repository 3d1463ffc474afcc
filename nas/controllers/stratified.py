"""Networks spread evenly over the multiply-adds of a space, for comparing ways of evaluating them."""

from __future__ import annotations

import numpy as np

from nas.controllers.features import Features
from nas.controllers.novelty import Novelty
from results.trial import Trial
from search_spaces import Genotype, SearchSpace

POOL = 1024
"""Networks drawn uniformly, of which those proposed are quantiles by multiply-adds."""

MACS = 1
"""The place of log macs among the features."""


class Stratified:
    """Proposes the median network by multiply-adds, then the quartiles, the eighths, and so on.

    However many are asked for, they span the space (van der Corput's sequence, 1935).

    Args:
        space: where to search.
        features: closed-form features of a genotype.
        seed: of the networks drawn.
    """

    def __init__(self, space: SearchSpace, features: Features, seed: int) -> None:
        self._novelty = Novelty(space, features, np.random.default_rng(seed))
        drawn = [found for _ in range(min(POOL, space.size)) if (found := self._novelty.fresh()) is not None]
        self._left = sorted(drawn, key=lambda genotype: (features(genotype)[MACS], genotype))
        self._pool = len(self._left)
        self._asked = 0

    def ask(self) -> Genotype | None:
        """The network of the next quantile; when the pool is used up, one drawn uniformly."""
        if not self._left:
            return self._novelty.fresh()
        self._asked += 1
        place = min(int(_van_der_corput(self._asked) * len(self._left)), len(self._left) - 1)
        return self._left.pop(place)

    def tell(self, trial: Trial) -> None:
        """Nothing is learnt."""


def _van_der_corput(number: int) -> float:
    """The binary digits of a number, mirrored at the point: 1/2, 1/4, 3/4, 1/8, 5/8, ..."""
    mirrored, weight = 0.0, 0.5
    while number:
        mirrored += weight * (number & 1)
        number, weight = number >> 1, weight / 2
    return mirrored
