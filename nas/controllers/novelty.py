"""`Novelty`: which networks have been proposed or are out of bounds, so that none is proposed in vain."""

from __future__ import annotations

import numpy as np

from nas.controllers.features import Features
from search_spaces import Genotype, SearchSpace
from search_spaces.space import random_below

TRIES = 100
"""Proposals in a row that may be known before a controller gives up and takes a random one."""

MOST_DRAWS = 20_000
"""Networks in a row that may be out of bounds before the space counts as exhausted."""


class Novelty:
    """What a controller has proposed or seen, as canonical genotypes, and what is within limits.

    Args:
        space: where to search.
        features: say what is feasible.
        rng: of `fresh`.
    """

    def __init__(self, space: SearchSpace, features: Features, rng: np.random.Generator) -> None:
        self._space, self._features, self._rng = space, features, rng
        self._seen: set[Genotype] = set()

    @property
    def exhausted(self) -> bool:
        """Whether every network of the space is known."""
        return len(self._seen) == self._space.size

    def canonical(self, genotype: Genotype) -> Genotype:
        """The one genotype that stands for its network."""
        return self._space.canonical(genotype)

    def note(self, genotype: Genotype) -> None:
        """Take a canonical genotype for known."""
        self._seen.add(genotype)

    def new(self, genotype: Genotype) -> bool:
        """Whether a canonical genotype is not known and is feasible."""
        return genotype not in self._seen and self._features.feasible(genotype)

    def admit(self, genotype: Genotype) -> bool:
        """Take a canonical genotype for known if it is new and feasible; says whether it is."""
        if not self.new(genotype):
            return False
        self._seen.add(genotype)
        return True

    def any_left(self) -> bool:
        """Whether `fresh` would find a network; leaves all as it was."""
        before = self._rng.bit_generator.state
        found = self.fresh()
        self._rng.bit_generator.state = before
        if found is not None:
            self._seen.discard(found)
        return found is not None

    def fresh(self) -> Genotype | None:
        """A new feasible network drawn uniformly, and noted; None when there is none (or none was found).

        None leaves all as it was, the random numbers too: such an ask is in no journal, and not repeated on resume.
        """
        before = self._rng.bit_generator.state
        found = self._drawn()
        if found is None:
            self._rng.bit_generator.state = before
        return found

    def _drawn(self) -> Genotype | None:
        small = self._space.size <= MOST_DRAWS
        for _ in range(TRIES if small else MOST_DRAWS):
            drawn = self._space.sample(self._rng)
            if self.admit(drawn):
                return drawn
        return self._remaining() if small else None

    def _remaining(self) -> Genotype | None:
        """From a random place on, the first that is new and feasible."""
        start = random_below(self._space.size, self._rng)
        for step in range(self._space.size):
            genotype = self._space.genotype_at((start + step) % self._space.size)
            if self.admit(genotype):
                return genotype
        return None
