"""A predictor of the reward, learnt from the trials so far, that knows what is free: ours.

Bayesian optimisation by upper confidence bounds (Srinivas et al. 2010, arXiv 0912.3995) on what only this problem
offers: `RewardModel` learns the accuracy apart from the costs, which closed-form features all but tell, and expects
larger networks to be better before the first training, so that not one trial is drawn blindly. Proposed is the
network of the highest bound at the end of a climb from the best so far, their neighbours and children and a sample.
At first every second proposal explores: the most promising of a few networks drawn at random. Without it the trials
gather where the first good ones were, and a model of those alone does not know what it does not know.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from nas.controllers.features import Features
from nas.controllers.gaussian_process import Inputs
from nas.controllers.novelty import Novelty
from nas.controllers.reward_model import Believed, Observed, RewardModel
from results.trial import FailureKind, Trial
from search_spaces import Genotype, SearchSpace

REFERENCE = 512
"""Networks drawn once: the features are standardised by them, and they are the pool's random part."""

LEADERS = 8
"""The best so far, whose neighbours join the pool; and where its climb goes on from."""

CHILDREN = 64
"""Crossovers of the 32 best, with up to two mutations, that join it."""

CLIMB = 6
"""Steps of the climb at the most."""

DRAWN = 8
"""Random networks that an exploring proposal is the best of: few, so that it is diverse."""

EXPLORING = 3.0
"""Standard deviations above the mean by which the best of these is told: as many as are plausible at all."""

KAPPA = (2.0, 1.0)
"""The same for the other proposals, usually one or two: boldly and, once exploring is over, safely by turns."""

REMEMBERED = 400
"""Trials that the model is fitted to at the most, which bounds the time of a proposal: the best half, and of the
others as many, evenly from first to last."""

CACHED = 2**15
"""Networks whose features are kept, some 30 MB."""

TELLING: frozenset[FailureKind | None] = frozenset({"out_of_memory", "diverged", "timeout"})
"""Failures that are a network's own. Its like are expected to be among the worst."""


class Predictor:
    """Proposes the network whose reward may be highest.

    Args:
        space: where to search.
        features: closed-form features of a genotype.
        seed: of all draws.
    """

    def __init__(self, space: SearchSpace, features: Features, seed: int) -> None:
        self._space, self._features = space, features
        self._rng = np.random.default_rng(seed)
        self._novelty = Novelty(space, features, self._rng)
        self._model = RewardModel()
        self._told: dict[Genotype, list[tuple[float, float]]] = {}  # accuracy and reward of each training
        self._factors = True  # whether rewards are an accuracy times something positive, as far as is known
        self._believed: dict[Genotype, float] = {}  # without a reward -> quantile of the scores it is at most
        self._asked = 0
        self._effects = sum(len(choice.options) - 1 for choice in space.choices)  # explored once each
        self._offsets = np.cumsum([0, *(len(choice.options) for choice in space.choices)])
        self._threads = ThreadpoolController()
        self._row = lru_cache(maxsize=CACHED)(self._described)
        self._neighbours = lru_cache(maxsize=LEADERS * CLIMB)(space.neighbours)
        self._reference = [space.sample(self._rng) for _ in range(min(REFERENCE, 4 * space.size))]
        drawn = np.array([features(genotype) for genotype in self._reference])
        self._centre, self._spread = drawn.mean(0), np.where(drawn.std(0) > 0, drawn.std(0), 1.0)

    def ask(self) -> Genotype | None:
        """The network of the highest upper bound; None when all have been proposed."""
        if self._novelty.exhausted:
            return None
        with self._threads.limit(limits=1, user_api="blas"):  # matrices as small as these are slower on several
            return self._proposed()

    def _proposed(self) -> Genotype | None:
        before = self._rng.bit_generator.state
        if self._told:
            self._model.learn(self._observed(), self._beliefs())
        early = self._asked < 2 * self._effects
        exploring = not self._told or (self._asked % 2 == 1 and early)
        kappa = KAPPA[0 if early else self._asked % 2]
        proposed = self._explored() if exploring else self._climbed(kappa)
        if proposed is None:
            proposed = self._novelty.fresh()
        if proposed is None:
            self._rng.bit_generator.state = before
            return None
        self._novelty.note(proposed)
        self._believed.setdefault(proposed, 1.0)
        self._asked += 1
        return proposed

    def tell(self, trial: Trial) -> None:
        """Learn a reward, or that there is none."""
        genotype = self._novelty.canonical(trial.genotype)
        self._novelty.note(genotype)
        if trial.state == "complete" and trial.reward is not None and trial.measurement is not None:
            self._learn(genotype, trial.measurement.accuracy, trial.reward)
        elif trial.state == "infeasible" or (trial.state == "failed" and trial.failure in TELLING):
            self._believed[genotype] = 0.0
        elif trial.state == "stopped":  # early, since it was in the worse part
            self._believed[genotype] = 0.5

    def _learn(self, genotype: Genotype, accuracy: float, reward: float) -> None:
        if self._factors and reward == 0:  # it learnt nothing at all, and has no logarithm
            self._believed[genotype] = 0.0
            return
        self._factors = self._factors and accuracy > 0 and reward > 0
        self._told.setdefault(genotype, []).append((accuracy, reward))
        if self._model.is_due(len(self._told)):  # now: an ask that finds nothing must leave all as it was
            with self._threads.limit(limits=1, user_api="blas"):
                self._model.choose_constants(self._observed(), len(self._told))

    def _observed(self) -> Observed:
        seen = list(self._told)
        if len(seen) > REMEMBERED:
            best = set(self._ranked()[: REMEMBERED // 2])
            others = [genotype for genotype in seen if genotype not in best]
            places = np.linspace(0, len(others) - 1, REMEMBERED - len(best)).astype(int)
            seen = [*best.intersection(seen), *(others[place] for place in places)]
            seen.sort()
        trainings = np.array([len(self._told[genotype]) for genotype in seen], dtype=np.float64)
        if not self._factors:
            return Observed(
                self._of(seen), np.array([self._mean_reward(genotype) for genotype in seen]), None, trainings
            )
        logs = [
            [(math.log(accuracy), math.log(reward / accuracy)) for accuracy, reward in self._told[genotype]]
            for genotype in seen
        ]
        accuracies, rests = np.array([[sum(part) / len(part) for part in zip(*each, strict=True)] for each in logs]).T
        return Observed(self._of(seen), accuracies, rests, trainings)

    def _beliefs(self) -> Believed:
        waiting = {g: ceiling for g, ceiling in self._believed.items() if g not in self._told}
        newest = list(waiting)[-REMEMBERED:]
        return Believed(self._of(newest), np.array([waiting[g] for g in newest]))

    def _explored(self) -> Genotype | None:
        """The most promising of a few networks drawn at random."""
        drawn = self._new(self._space.sample(self._rng) for _ in range(DRAWN))
        return drawn[int(np.argmax(self._model.upper(self._of(drawn), EXPLORING)))] if drawn else None

    def _climbed(self, kappa: float) -> Genotype | None:
        """The pool's best, or where single choices lead from the best of the pool."""
        pool = self._new(self._pool())
        if not pool:
            return None
        bounds = self._model.upper(self._of(pool), kappa)
        proposed, highest = pool[int(np.argmax(bounds))], bounds.max()
        front = [pool[place] for place in np.argsort(-bounds, kind="stable")[:LEADERS]]
        known = set(pool)
        for _ in range(CLIMB):
            around = [g for g in self._new(n for g in front for n in self._neighbours(g)) if g not in known]
            if not around:
                break
            known.update(around)
            bounds = self._model.upper(self._of(around), kappa)
            if bounds.max() <= highest:
                break
            proposed, highest = around[int(np.argmax(bounds))], bounds.max()
            front = [around[place] for place in np.argsort(-bounds, kind="stable")[: LEADERS // 2]]
        return proposed

    def _pool(self) -> Iterator[Genotype]:
        ranked = self._ranked()
        for leader in ranked[:LEADERS]:
            yield from self._neighbours(leader)
        parents = ranked[:32]
        for _ in range(CHILDREN):
            a, b = (parents[int(len(parents) * self._rng.random() ** 2)] for _ in range(2))
            child = self._space.crossover(a, b, self._rng)
            for _ in range(int(self._rng.integers(3))):
                child = self._space.mutate(child, self._rng)
            yield self._novelty.canonical(child)
        yield from self._reference

    def _ranked(self) -> list[Genotype]:
        return sorted(self._told, key=lambda genotype: -self._mean_reward(genotype))

    def _mean_reward(self, genotype: Genotype) -> float:
        readings = self._told[genotype]
        return sum(reward for _, reward in readings) / len(readings)

    def _new(self, genotypes: Iterable[Genotype]) -> list[Genotype]:
        return [genotype for genotype in dict.fromkeys(genotypes) if self._novelty.new(genotype)]

    def _of(self, genotypes: list[Genotype]) -> Inputs:
        """Choices one-hot, those of absent stages left out, and standardised features."""
        known = [self._row(genotype) for genotype in genotypes]
        shape = len(known), len(self._space.choices)
        present = np.array([flags for flags, _ in known], dtype=np.float64).reshape(shape)
        places = np.array(genotypes, dtype=np.intp).reshape(shape) + self._offsets[:-1]
        onehot = np.zeros((len(known), self._offsets[-1]))
        np.put_along_axis(onehot, places, present, axis=1)
        features = np.array([features for _, features in known]).reshape(len(known), len(self._centre))
        return Inputs(onehot, (features - self._centre) / self._spread)

    def _described(self, genotype: Genotype) -> tuple[tuple[bool, ...], NDArray[np.float64]]:
        """Which choices matter, and the features."""
        return self._space.present(genotype), self._features(genotype)
