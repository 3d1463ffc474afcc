"""Random search without repeats, the control of every other controller (Bergstra and Bengio 2012, JMLR 13)."""

from __future__ import annotations

import numpy as np

from nas.controllers.features import Features
from nas.controllers.novelty import MOST_DRAWS
from results.trial import Trial
from search_spaces import Genotype, SearchSpace
from search_spaces.space import random_below


class RandomSearch:
    """Visits the distinct networks of a space in a uniformly random order, each once.

    Args:
        space: where to search.
        features: say what is feasible.
        seed: of the order.
    """

    def __init__(self, space: SearchSpace, features: Features, seed: int) -> None:
        self._space, self._features = space, features
        self._rng = np.random.default_rng(seed)
        self._asked = 0
        self._given_up = False
        self._moved: dict[int, int] = {}  # where the Fisher-Yates shuffle of all numbers differs from the identity

    def ask(self) -> Genotype | None:
        """The next feasible network of the order; None (once and for all) when none is left or found."""
        for _ in range(MOST_DRAWS):
            if self._asked == self._space.size or self._given_up:
                return None
            genotype = self._next()
            if self._features.feasible(genotype):
                return genotype
        self._given_up = True
        return None

    def _next(self) -> Genotype:
        drawn = self._asked + random_below(self._space.size - self._asked, self._rng)
        number = self._moved.get(drawn, drawn)
        self._moved[drawn] = self._moved.pop(self._asked, self._asked)
        self._asked += 1
        return self._space.genotype_at(number)

    def tell(self, trial: Trial) -> None:
        """Nothing is learnt."""
