"""Random search without repeats, the control of every other controller (Bergstra and Bengio 2012, JMLR 13)."""

from __future__ import annotations

import numpy as np

from results.trial import Trial
from search_spaces import Genotype, SearchSpace
from search_spaces.space import random_below


class RandomSearch:
    """Visits the distinct networks of a space in a uniformly random order, each once.

    Args:
        space: where to search.
        features: not used.
        seed: of the order.
    """

    def __init__(self, space: SearchSpace, features: object, seed: int) -> None:
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._asked = 0
        self._moved: dict[int, int] = {}  # where the Fisher-Yates shuffle of all numbers differs from the identity

    def ask(self) -> Genotype | None:
        """The next network of the order; None when all have been visited."""
        if self._asked == self._space.size:
            return None
        drawn = self._asked + random_below(self._space.size - self._asked, self._rng)
        number = self._moved.get(drawn, drawn)
        self._moved[drawn] = self._moved.pop(self._asked, self._asked)
        self._asked += 1
        return self._space.genotype_at(number)

    def tell(self, trial: Trial) -> None:
        """Nothing is learnt."""
