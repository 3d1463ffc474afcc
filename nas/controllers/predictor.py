"""A predictor of the reward, learnt from the trials so far, that knows what is free: ours.

Bayesian optimisation (Jones, Schonlau and Welch 1998) on what only this problem offers. A reward is an accuracy,
which is dear, times the rest, which parameters and step time decide and which is nearly free. So log accuracy is
modelled by a Gaussian process on normal scores, whose prior mean grows with size and cost (closed-form features rank
such networks before any training), so that not one trial is drawn blindly; and the rest by a second process, which
soon is all but exact. Proposed is the network of the highest expected improvement over the best posterior mean, among
all networks of a small space, or among mutations, children and fresh samples in a large one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from nas.controllers.features import Features
from nas.controllers.gaussian_process import Constants, GaussianProcess, Inputs, fitted
from nas.controllers.novelty import Novelty
from results.trial import Trial
from search_spaces import Genotype, SearchSpace

Array = NDArray[np.float64]

ENUMERATED = 10_000
"""Spaces up to this size are looked at whole, at every proposal."""

REFERENCE = 512
"""Networks drawn once: the features are standardised by them, and they are the pool's random part."""

CHILDREN = 64
"""Crossovers of leaders, with up to two mutations, that join the pool of a large space at every proposal."""

PRIOR_TREND = np.array([0.5, 0.2, 0.0, 0.1])
"""Prior mean of the accuracy's normal score, for a standard deviation of log params, log macs, log activations and
layers: about half of the rank correlations known of ImageNet-trained networks of such spaces (.69, .51, -, .27),
since these features go together."""

QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 24) for i in range(24)])
"""Where a normal distribution is looked at to take an expectation over it."""

QUIET = Constants(noise=math.log(0.01))
"""The constants of the second process to begin with: what parameters and step time decide has little noise."""


class Predictor:
    """Proposes the network whose expected improvement is highest.

    Args:
        space: where to search.
        features: closed-form features of a genotype.
        seed: of the pool of a large space.
    """

    def __init__(self, space: SearchSpace, features: Features, seed: int) -> None:
        self._space, self._features = space, features
        self._rng = np.random.default_rng(seed)
        self._inputs: dict[Genotype, tuple[Array, Array]] = {}
        self._out: dict[Genotype, int] = {}  # proposals that are not told yet
        self._novelty = Novelty(space, features, self._rng)
        self._told: dict[Genotype, list[tuple[float, float]]] = {}  # (log accuracy, log of the rest), a replicate each
        self._failed: set[Genotype] = set()
        self._fitted_at = 0
        self._constants = (Constants(), QUIET)
        self._offsets = np.cumsum([0, *(len(choice.options) for choice in space.choices)])
        self._reference = [space.sample(self._rng) for _ in range(min(REFERENCE, 4 * space.size))]
        drawn = np.array([features(genotype) for genotype in self._reference])
        self._centre, self._spread = drawn.mean(0), np.where(drawn.std(0) > 0, drawn.std(0), 1.0)
        self._whole = [space.genotype_at(i) for i in range(space.size)] if space.size <= ENUMERATED else None

    def ask(self) -> Genotype | None:
        """The pool's most promising network; None when all have been proposed."""
        pool = [g for g in self._pool() if self._novelty.new(g)]
        proposed = pool[int(np.argmax(self._worth(pool)))] if pool else self._novelty.fresh()
        if proposed is None:
            return None
        self._novelty.note(proposed)
        self._out[proposed] = self._out.get(proposed, 0) + 1
        return proposed

    def tell(self, trial: Trial) -> None:
        """Learn a reward, or that there is none."""
        genotype = self._novelty.canonical(trial.genotype)
        self._novelty.note(genotype)
        if self._out.get(genotype):
            self._out[genotype] -= 1
        if trial.state == "failed":
            self._failed.add(genotype)
        if trial.state != "complete" or trial.reward is None or trial.measurement is None:
            return
        accuracy = trial.measurement.accuracy
        if accuracy > 0 and trial.reward > 0:
            self._told.setdefault(genotype, []).append((math.log(accuracy), math.log(trial.reward / accuracy)))

    def _worth(self, pool: list[Genotype]) -> Array:
        """Expected improvement of every network of the pool."""
        inputs = self._of(pool)
        if not self._told:
            return self._trend(inputs)  # + nothing known
        seen = list(self._told)
        accuracies = np.array([np.mean([a for a, _ in self._told[g]]) for g in seen])
        rests = np.array([np.mean([r for _, r in self._told[g]]) for g in seen])
        scores = normal_scores(accuracies)
        at_seen = self._of(seen)
        refit = len(seen) >= max(4, 1.2 * self._fitted_at)
        first = self._process(0, at_seen, scores, self._trend(at_seen), refit)
        means, deviations = self._with_pending(first, at_seen, scores, inputs)
        constant = float(np.ptp(rests)) < 1e-12
        if constant:
            rest, rest_seen = np.zeros(len(pool)), np.zeros(len(seen))
        else:
            centre, spread = float(rests.mean()), float(rests.std())
            second = self._process(1, at_seen, (rests - centre) / spread, np.zeros(len(seen)), refit)
            rest = centre + spread * second.predict(inputs, np.zeros(len(pool)))[0]
            rest_seen = rests
        if refit:
            self._fitted_at = len(seen)
        back = _from_scores(scores, accuracies)
        best = np.max(back(first.predict(at_seen, self._trend(at_seen))[0]) + rest_seen)
        drawn = back(means[:, None] + deviations[:, None] * QUANTILES) + rest[:, None]
        worth: Array = np.maximum(drawn - best, 0.0).mean(1) + 1e-9 * (back(means) + rest)
        return worth

    def _process(self, which: int, inputs: Inputs, targets: Array, mean: Array, refit: bool) -> GaussianProcess:
        constants = self._constants[which]
        if not refit:
            return GaussianProcess(inputs, targets, mean, constants)
        made = fitted(inputs, targets, mean, constants)
        self._constants = (made.constants, self._constants[1]) if which == 0 else (self._constants[0], made.constants)
        return made

    def _with_pending(self, process: GaussianProcess, seen: Inputs, scores: Array, pool: Inputs) -> tuple[Array, Array]:
        """The posterior as if what is out had come back as expected (Ginsbourger et al. 2010, kriging believer)."""
        waiting = [g for g, count in self._out.items() if count and g not in self._told]
        waiting += [g for g in self._failed if g not in self._told]
        if not waiting:
            return process.predict(pool, self._trend(pool))
        there = self._of(waiting)
        believed = process.predict(there, self._trend(there))[0]
        joined = Inputs.joined([seen, there])
        together = GaussianProcess(joined, np.concatenate([scores, believed]), self._trend(joined), process.constants)
        return together.predict(pool, self._trend(pool))

    def _pool(self) -> Iterable[Genotype]:
        if self._whole is not None:
            return self._whole
        ranked = sorted(self._told, key=lambda g: -np.mean([a + r for a, r in self._told[g]]))
        pool: dict[Genotype, None] = {}
        for parent in ranked[:8]:
            pool.update(dict.fromkeys(self._neighbours(parent)))
        leaders = ranked[:32]
        for _ in range(CHILDREN if leaders else 0):
            a, b = (leaders[int(len(leaders) * self._rng.random() ** 2)] for _ in range(2))
            child = self._space.crossover(a, b, self._rng)
            for _ in range(int(self._rng.integers(3))):
                child = self._space.mutate(child, self._rng)
            pool[self._novelty.canonical(child)] = None
        pool.update(dict.fromkeys(self._reference))
        return pool

    def _neighbours(self, genotype: Genotype) -> Iterable[Genotype]:
        for place, choice in enumerate(self._space.choices):
            for option in range(len(choice.options)):
                if option != genotype[place]:
                    yield self._novelty.canonical((*genotype[:place], option, *genotype[place + 1 :]))

    def _trend(self, inputs: Inputs) -> Array:
        trend: Array = inputs.features[:, : len(PRIOR_TREND)] @ PRIOR_TREND[: inputs.features.shape[1]]
        return trend

    def _of(self, genotypes: list[Genotype]) -> Inputs:
        rows = []
        for genotype in genotypes:
            if genotype not in self._inputs:
                self._inputs[genotype] = self._described(genotype)
            rows.append(self._inputs[genotype])
        return Inputs(np.array([r[0] for r in rows]), np.array([r[1] for r in rows]))

    def _described(self, genotype: Genotype) -> tuple[Array, Array]:
        """One-hot choices, those of absent stages left out, and standardised features."""
        onehot = np.zeros(self._offsets[-1])
        labels = self._space.labels(genotype)
        for offset, index, choice in zip(self._offsets, genotype, self._space.choices, strict=False):
            if labels[choice.name] is not None:
                onehot[offset + index] = 1.0
        return onehot, (self._features(genotype) - self._centre) / self._spread


def normal_scores(values: Array) -> Array:
    """Ranks as quantiles of the standard normal distribution, equal values alike (Blom 1958)."""
    order = np.sort(values)
    rank = (np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right") + 1) / 2
    quantile = (rank - 0.375) / (len(values) + 0.25)
    return np.array([NormalDist().inv_cdf(float(q)) for q in quantile])


def _from_scores(scores: Array, values: Array) -> Callable[[Array], Array]:
    """Normal scores back to values: straight lines between the observed, and beyond them as steep as near the ends."""
    at, first = np.unique(scores, return_index=True)
    known = values[first]
    if len(at) == 1:
        return lambda z: known[0] + 0.1 * (z - at[0])
    tail = max(1, len(at) // 5)
    low = (known[tail] - known[0]) / (at[tail] - at[0])
    high = (known[-1] - known[-1 - tail]) / (at[-1] - at[-1 - tail])

    def back(z: Array) -> Array:
        inside = np.interp(z, at, known)
        return np.where(
            z < at[0], known[0] + low * (z - at[0]), np.where(z > at[-1], known[-1] + high * (z - at[-1]), inside)
        )

    return back
