"""Regularised (aging) evolution (Real, Aggarwal, Huang and Le 2019, arXiv 1802.01548, Algorithm 1)."""

from __future__ import annotations

from collections import deque

import numpy as np

from nas.controllers.features import Features
from nas.controllers.novelty import TRIES, Novelty
from results.trial import Trial
from search_spaces import Genotype, SearchSpace

POPULATION = 20
"""P. The paper's 100 is for 20,000 networks; a fifth of it leaves most of a few hundred to evolution."""

SAMPLE = 5
"""S. A quarter of the population, as the paper's 25 of 100."""


class RegularizedEvolution:
    """The best of a random sample of the population has a child with one mutation; the oldest dies.

    Args:
        space: where to search.
        features: say what is feasible.
        seed: of all draws.
    """

    def __init__(self, space: SearchSpace, features: Features, seed: int) -> None:
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._novelty = Novelty(space, features, self._rng)
        self._population: deque[tuple[float, Genotype]] = deque(maxlen=POPULATION)
        self._asked = 0

    def ask(self) -> Genotype | None:
        """A random network at first, then a child; None when all networks have been proposed."""
        before = self._rng.bit_generator.state
        begun = self._asked >= POPULATION or len(self._population) == POPULATION
        proposed = self._child() if begun and self._population else None
        proposed = proposed if proposed is not None else self._novelty.fresh()
        if proposed is None:
            self._rng.bit_generator.state = before
            return None
        self._asked += 1
        return proposed

    def tell(self, trial: Trial) -> None:
        """A network with a reward joins the population, and its oldest member leaves it."""
        self._novelty.note(self._novelty.canonical(trial.genotype))
        if trial.state == "complete" and trial.reward is not None and not trial.replicate:
            self._population.append((trial.reward, trial.genotype))

    def _child(self) -> Genotype | None:
        count = min(SAMPLE, len(self._population))
        chosen = self._rng.choice(len(self._population), size=count, replace=False)
        _, child = max(self._population[i] for i in chosen)
        for _ in range(TRIES):  # a child that is known already has children of its own
            child = self._novelty.canonical(self._space.mutate(child, self._rng))
            if self._novelty.admit(child):
                return child
        return None
