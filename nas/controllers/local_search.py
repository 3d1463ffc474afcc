"""Local search: the first better neighbour is moved to; from a local optimum, start again (White et al. 2021).

"Exploring the Loss Landscape in Neural Architecture Search" (arXiv 2005.02960) finds it as good as the best
controllers where the noise is small.
"""

from __future__ import annotations

import numpy as np

from nas.controllers.features import Features
from nas.controllers.novelty import Novelty
from results.trial import Trial
from search_spaces import Genotype, SearchSpace


class LocalSearch:
    """Climbs from a random network by single choices.

    Args:
        space: where to search.
        features: say what is feasible.
        seed: of all draws.
    """

    def __init__(self, space: SearchSpace, features: Features, seed: int) -> None:
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._novelty = Novelty(space, features, self._rng)
        self._here: tuple[float, Genotype] | None = None
        self._neighbours: list[Genotype] = []  # of `here`, in random order, not proposed yet
        self._climb: set[Genotype] = set()  # proposals whose reward may move this climb

    def ask(self) -> Genotype | None:
        """A neighbour of the best of this climb, or the start of another; None when all have been proposed."""
        while self._neighbours:
            neighbour = self._neighbours.pop()
            if self._novelty.admit(neighbour):
                self._climb.add(neighbour)
                return neighbour
        if self._here is not None and not self._climb:  # a local optimum: all its neighbours are known
            self._here = None
        start = self._novelty.fresh()
        if start is not None:
            self._climb.add(start)
        return start

    def tell(self, trial: Trial) -> None:
        """Move where the reward is higher."""
        genotype = self._novelty.canonical(trial.genotype)
        self._novelty.note(genotype)
        mine = genotype in self._climb or trial.arm == "screened"  # which is a start as good as one drawn here
        self._climb.discard(genotype)
        if not mine or trial.state != "complete" or trial.reward is None:
            return
        if self._here is None or trial.reward > self._here[0]:
            self._here = (trial.reward, genotype)
            around = self._space.neighbours(genotype)
            self._neighbours = [around[i] for i in self._rng.permutation(len(around))]
