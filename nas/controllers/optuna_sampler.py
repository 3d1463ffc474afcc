"""Any Optuna sampler as a controller, by ask and tell (Akiba et al. 2019, arXiv 1907.10902)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna

from nas.controllers.features import Features
from nas.controllers.novelty import Novelty
from results.pareto import MAXIMISED
from results.trial import Trial
from search_spaces import Genotype, SearchSpace

POPULATION = 20
"""Of the evolutionary samplers. Optuna's 50 would make a tenth of 500 trials, and half of 100, random."""

GP_TRIALS = 100
"""Optuna's Gaussian process takes seconds a proposal by then, and minutes by 200: from here on its TPE goes on."""

REPEATS = 10
"""Suggestions in a row that may be known before a random network is taken: each makes Optuna's study longer, and one
that only repeats itself would go on to."""

MakeSampler = Callable[[int], Any]
"""seed -> an Optuna sampler."""


def _tpe(seed: int) -> Any:
    return optuna.samplers.TPESampler(  # Bergstra et al. 2011; what is left out Optuna itself is to drop in 6.0
        n_startup_trials=10,
        n_ei_candidates=24,
        multivariate=True,
        group=False,
        constant_liar=True,  # for several at a time
        constraints_func=None,
        seed=seed,
    )


_EVOLUTIONARY: dict[str, Any] = {
    "population_size": POPULATION,
    "mutation": None,
    "mutation_prob": None,  # one over the number of choices
    "crossover": None,  # of categorical choices there is one kind: by swapping
    "crossover_prob": 0.9,
    "swapping_prob": 0.5,
    "constraints_func": None,
    "elite_population_selection_strategy": None,
    "child_generation_strategy": None,
    "after_trial_strategy": None,
}


def _nsga2(seed: int) -> Any:
    return optuna.samplers.NSGAIISampler(**_EVOLUTIONARY, seed=seed)  # Deb et al. 2002


def _nsga3(seed: int) -> Any:
    return optuna.samplers.NSGAIIISampler(  # Deb and Jain 2014
        **_EVOLUTIONARY, reference_points=None, dividing_parameter=3, seed=seed
    )


def _gp(seed: int) -> Any:
    return optuna.samplers.GPSampler(
        independent_sampler=None,
        n_startup_trials=10,
        deterministic_objective=False,
        constraints_func=None,
        warn_independent_sampling=False,
        seed=seed,
    )


SAMPLERS: dict[str, MakeSampler] = {"tpe": _tpe, "nsga2": _nsga2, "nsga3": _nsga3, "gp": _gp}
"""The samplers by name; each is made from a seed, every option set."""

MULTI_OBJECTIVE = ("nsga2", "nsga3")
"""The samplers that optimise the objectives themselves; the others maximise the reward."""


class OptunaSampler:
    """Optuna proposes, over one categorical parameter a choice.

    Args:
        space: where to search.
        features: say what is feasible, and which objectives there are.
        seed: of the sampler.
        sampler: a name in `SAMPLERS`, or a function that makes a sampler of a seed.
        multi_objective: whether the sampler optimises the objectives, not the reward; by default those of
            `MULTI_OBJECTIVE` do.

    Attributes:
        multi_objective: whether it does.
    """

    def __init__(
        self,
        space: SearchSpace,
        features: Features,
        seed: int,
        *,
        sampler: str | MakeSampler,
        multi_objective: bool | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.multi_objective = sampler in MULTI_OBJECTIVE if multi_objective is None else multi_objective
        self._objectives = features.objectives if self.multi_objective else None
        self._bound = GP_TRIALS if sampler == "gp" else math.inf
        self._seed, self._finished = seed, 0
        self._names = [choice.name for choice in space.choices]
        self._distributions: dict[str, Any] = {
            choice.name: optuna.distributions.CategoricalDistribution(tuple(range(len(choice.options))))
            for choice in space.choices
        }
        directions = ["maximize"]
        if self._objectives is not None:
            directions = ["maximize" if name in MAXIMISED else "minimize" for name in self._objectives]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            made = (SAMPLERS[sampler] if isinstance(sampler, str) else sampler)(seed)
            self._study = optuna.create_study(sampler=made, directions=directions)
        self._novelty = Novelty(space, features, np.random.default_rng(seed))
        self._out: dict[Genotype, Any] = {}
        self._values: dict[Genotype, list[float] | None] = {}

    def ask(self) -> Genotype | None:
        """What the sampler suggests and has not been proposed; a random network where it only repeats itself."""
        if not self._novelty.any_left():  # before the sampler is asked, which would remember it
            return None
        for _ in range(REPEATS):
            asked = self._study.ask(self._distributions)
            genotype = self._novelty.canonical(tuple(asked.params[name] for name in self._names))
            if self._novelty.admit(genotype):
                self._out[genotype] = asked
                return genotype
            self._finish(asked, self._values.get(genotype))  # the sampler is told what is known of its repeat
        fresh = self._novelty.fresh()
        if fresh is not None:
            self._out[fresh] = self._enqueued(fresh)
        return fresh

    def tell(self, trial: Trial) -> None:
        """Pass on what the sampler optimises; a network of which that was not measured has failed."""
        genotype = self._novelty.canonical(trial.genotype)
        self._novelty.note(genotype)
        if genotype in self._values:
            return
        self._values[genotype] = values = self._optimised(trial)
        asked = self._out.pop(genotype, None)
        asked = self._enqueued(genotype) if asked is None else asked
        if trial.state == "stopped" and self._objectives is None:  # Optuna has no such thing with several
            self._prune(asked, trial.curve)
        else:
            self._finish(asked, values)
        if self._finished >= self._bound:
            self._study.sampler, self._bound = SAMPLERS["tpe"](self._seed), math.inf

    def _optimised(self, trial: Trial) -> list[float] | None:
        if trial.state != "complete" or trial.reward is None:
            return None
        if self._objectives is None:
            return [trial.reward]
        values = [getattr(trial.measurement, name) for name in self._objectives]
        return None if None in values else [float(value) for value in values]

    def _enqueued(self, genotype: Genotype) -> Any:
        self._study.enqueue_trial(dict(zip(self._names, genotype, strict=True)))
        return self._study.ask(self._distributions)

    def _prune(self, asked: Any, curve: tuple[float, ...]) -> None:
        """Samplers such as TPE put it behind all that were trained to their ends, the later stopped the better."""
        for number, accuracy in enumerate(curve, 1):  # all are measured after the same epochs
            asked.report(accuracy, number)
        self._study.tell(asked, state=optuna.trial.TrialState.PRUNED)

    def _finish(self, asked: Any, values: list[float] | None) -> None:
        if values is None:
            self._study.tell(asked, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(asked, values)
            self._finished += 1
