"""Any Optuna sampler as a controller, by ask and tell."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna

from nas.controllers.features import Features
from nas.controllers.novelty import TRIES, Novelty
from results.trial import Trial
from search_spaces import Genotype, SearchSpace

SAMPLERS: dict[str, Callable[[int], Any]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(
        n_startup_trials=10, n_ei_candidates=24, multivariate=True, group=False, constant_liar=True, seed=seed
    ),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(
        population_size=20, mutation_prob=None, crossover_prob=0.9, swapping_prob=0.5, seed=seed
    ),
    "gp": lambda seed: optuna.samplers.GPSampler(n_startup_trials=10, deterministic_objective=False, seed=seed),
}
"""The samplers by name; each is made from a seed, every option that matters set."""


class OptunaSampler:
    """Optuna proposes, over one categorical parameter a choice.

    Args:
        space: where to search.
        features: say what is feasible.
        seed: of the sampler.
        sampler: a name in `SAMPLERS`.
    """

    def __init__(self, space: SearchSpace, features: Features, seed: int, *, sampler: str) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study = optuna.create_study(sampler=SAMPLERS[sampler](seed), direction="maximize")
        self._names = [choice.name for choice in space.choices]
        self._distributions: dict[str, Any] = {
            choice.name: optuna.distributions.CategoricalDistribution(tuple(range(len(choice.options))))
            for choice in space.choices
        }
        self._novelty = Novelty(space, features, np.random.default_rng(seed))
        self._out: dict[Genotype, Any] = {}
        self._rewards: dict[Genotype, float | None] = {}

    def ask(self) -> Genotype | None:
        """What the sampler suggests and has not been proposed; a random network where it only repeats itself."""
        if self._novelty.exhausted:
            return None
        for _ in range(TRIES):
            asked = self._study.ask(self._distributions)
            genotype = self._novelty.canonical(tuple(asked.params[name] for name in self._names))
            if self._novelty.admit(genotype):
                self._out[genotype] = asked
                return genotype
            self._finish(asked, self._rewards.get(genotype))  # the sampler is told what is known of its repeat
        genotype_or_none = self._novelty.fresh()
        if genotype_or_none is not None:
            self._study.enqueue_trial(dict(zip(self._names, genotype_or_none, strict=True)))
            self._out[genotype_or_none] = self._study.ask(self._distributions)
        return genotype_or_none

    def tell(self, trial: Trial) -> None:
        """Pass the reward on; without one the trial has failed."""
        genotype = self._novelty.canonical(trial.genotype)
        self._novelty.note(genotype)
        reward = trial.reward if trial.state == "complete" else None
        if genotype in self._rewards:
            return
        self._rewards[genotype] = reward
        if genotype not in self._out:
            self._study.enqueue_trial(dict(zip(self._names, genotype, strict=True)))
            self._out[genotype] = self._study.ask(self._distributions)
        self._finish(self._out.pop(genotype), reward)

    def _finish(self, asked: Any, reward: float | None) -> None:
        if reward is None:
            self._study.tell(asked, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(asked, reward)
