"""`Novelty`: which networks have been proposed, so that none is twice."""

from __future__ import annotations

import numpy as np

from search_spaces import Genotype, SearchSpace
from search_spaces.space import random_below

TRIES = 100


class Novelty:
    """What a controller has proposed or seen, as canonical genotypes.

    Args:
        space: where to search.
        rng: of `fresh`.
    """

    def __init__(self, space: SearchSpace, rng: np.random.Generator) -> None:
        self._space, self._rng = space, rng
        self._seen: set[Genotype] = set()

    def canonical(self, genotype: Genotype) -> Genotype:
        """The one genotype that stands for its network."""
        return self._space.encode(self._space.decode(genotype))

    def admit(self, genotype: Genotype) -> bool:
        """Note a canonical genotype; says whether it is new."""
        if genotype in self._seen:
            return False
        self._seen.add(genotype)
        return True

    def fresh(self) -> Genotype | None:
        """A new network drawn uniformly, and noted; None when all have been seen."""
        if len(self._seen) == self._space.size:
            return None
        for _ in range(TRIES):
            drawn = self._space.sample(self._rng)
            if self.admit(drawn):
                return drawn
        # nearly all have been seen: from a random place on, the first that has not
        start = random_below(self._space.size, self._rng)
        for step in range(self._space.size):
            genotype = self._space.genotype_at((start + step) % self._space.size)
            if self.admit(genotype):
                return genotype
        return None
