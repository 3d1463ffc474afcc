"""Controllers propose architectures: one protocol of two verbs, and every implementation by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from nas.controllers.evolution import RegularizedEvolution
from nas.controllers.features import Features
from nas.controllers.local_search import LocalSearch
from nas.controllers.predictor import Predictor
from nas.controllers.random_search import RandomSearch
from nas.controllers.stratified import Stratified
from results.trial import Trial
from search_spaces import Genotype, SearchSpace


class Controller(Protocol):
    """An algorithm that proposes genotypes and is told what became of them.

    Its state is a function of (space, seed, the asks and tells in their order), so that a run resumes by
    asking and telling a fresh controller again. Several asks may be out at once, and their tells may come in
    any order; every proposal is told, whatever became of it: `complete` (with a reward), `repeat` (with the
    reward that is known), `stopped` (a curve and no reward), `failed` or `infeasible`.
    """

    def ask(self) -> Genotype | None:
        """Propose a genotype; None (leaving the state as it was) when there is nothing to propose now."""

    def tell(self, trial: Trial) -> None:
        """Learn what became of a proposal; a trial that was never asked for is allowed."""


def _ppo(space: SearchSpace, features: Features, seed: int) -> Controller:
    from nas.controllers.ppo import PPO  # loads torch

    return PPO(space, features, seed)


def _optuna(sampler: str) -> Callable[[SearchSpace, Features, int], Controller]:
    def make(space: SearchSpace, features: Features, seed: int) -> Controller:
        from nas.controllers.optuna_sampler import OptunaSampler  # loads Optuna

        return OptunaSampler(space, features, seed, sampler=sampler)

    return make


CONTROLLERS: dict[str, Callable[[SearchSpace, Features, int], Controller]] = {
    "random": RandomSearch,
    "stratified": Stratified,
    "evolution": RegularizedEvolution,
    "local_search": LocalSearch,
    "predictor": Predictor,
    "ppo": _ppo,
    "optuna:tpe": _optuna("tpe"),
    "optuna:nsga2": _optuna("nsga2"),
    "optuna:nsga3": _optuna("nsga3"),
    "optuna:gp": _optuna("gp"),
}
"""The controllers by name; each is made from (space, features, seed)."""
