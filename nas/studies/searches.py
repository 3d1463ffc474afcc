"""Searches, and evaluations of single networks as a search makes them, as steps of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nas.conduct import run_through
from nas.config import SearchConfig, build
from nas.evaluation import evaluations
from nas.runs import RunSettings, reopen, start
from nas.search import choose_workers
from nas.session import trial_seed
from nas.studies.folder import RUNS
from nas.studies.pace import Pace
from nas.studies.study import Place
from results.store import TrialStore
from results.trial import Failure
from search_spaces import Architecture

if TYPE_CHECKING:
    import pandas as pd

    from trainers.recipe import Recipe

TIMING_S = 4.0
"""Of a candidate, besides its training: to build it, to time its step beside the anchor's, to evaluate it."""


@dataclass(frozen=True, slots=True)
class Search:
    """A whole search; its run is in the study's folder, and every command reads it.

    Args:
        name: of the step, and of the run's folder.
        config: of the search.
        budget: candidates.
        recipe: that they are trained by, as far as it tells their time.
        training_pictures: that each is trained on.
        workers: candidates at a time.
    """

    alone: ClassVar[bool] = True

    name: str
    config: SearchConfig
    budget: int
    recipe: Recipe
    training_pictures: int
    workers: int

    def expected_s(self, pace: Pace) -> float:
        """Seconds that it takes, by a few networks of the space."""
        return self.budget * candidate_s(pace, self.config, self.recipe, self.training_pictures) / self.workers

    def run(self, place: Place) -> Mapping[str, Any]:
        """Search, or go on; gives how many candidates there are in each state, and the best one's text.

        Raises:
            KeyboardInterrupt: it was interrupted; the candidates that ran have ended.
            ValueError: networks fail one after the other in the same way.
        """
        folder = place.folder / RUNS / self.name
        share = 1 / self.workers if place.device == "cuda" else None
        workers = choose_workers(self.workers, gpus_per_trial=share, gpus=0 if share is None else 1)
        settings = RunSettings(budget=self.budget, workers=self.workers)
        if (folder / "run.json").exists():
            sources = {"data": place.source, "test_data": place.test_source}  # the folder may have been moved
            search, store, _ = reopen(folder, sources)
        else:
            search, store = start(self.config, folder)
        if run_through(search, store, settings, workers, title=self.name, say=place.say, quiet=place.quiet) is None:
            raise KeyboardInterrupt
        frame = run_of(place.folder, self.name)
        states = {str(state): int(count) for state, count in frame["state"].value_counts().items()}
        return {"states": states, "best": best_of(frame)}


def best_of(frame: pd.DataFrame) -> str:
    """The text of the network of the highest reward.

    Raises:
        ValueError: none has one.
    """
    from results.analysis.leaders import best_network

    best = best_network(frame)
    if best is None:
        raise ValueError("a search must have a network with a reward, to go on with; all of them failed")
    return str(frame.loc[frame["number"] == best.number, "architecture"].iloc[0])


@dataclass(frozen=True, slots=True)
class Evaluate:
    """One network evaluated as a search's candidate is, perhaps for longer.

    Args:
        name: of the step.
        config: of a search.
        network: which; None is the best of the run `best_of`.
        best_of: name of a run of the study.
        replicate: of its seed.
        recipe: as of `Search`.
        training_pictures: as of `Search`.
        held_out: whether its accuracy is of the test pictures, on which nothing was chosen; else of the minival.
    """

    alone: ClassVar[bool] = False

    name: str
    config: SearchConfig
    network: Architecture | None
    best_of: str
    replicate: int
    recipe: Recipe
    training_pictures: int
    held_out: bool = False

    def expected_s(self, pace: Pace) -> float:
        """Seconds that it takes on one worker."""
        return candidate_s(pace, self.config, self.recipe, self.training_pictures)

    def run(self, place: Place) -> Mapping[str, Any]:
        """Evaluate it; gives `architecture`, `accuracy`, `step_time`, `params` and `reward`.

        Raises:
            ValueError: the evaluation failed (says how).
        """
        from trainers.proxy import ProxyTask

        search = build(self.config)
        task = search.evaluate
        assert isinstance(task, ProxyTask)
        if self.held_out:
            task.data = replace(task.data, minival=task.data.test)
        text = str(self.network or best_of(run_of(place.folder, self.best_of)))
        *_, last = evaluations(task, text, trial_seed(self.config.seed, text, self.replicate))
        if isinstance(last, Failure):
            raise ValueError(f"{self.name}: the network {text} could not be evaluated: {last.kind}: {last.reason}")
        measured = search.problem.completed(last, Architecture.parse(text))
        return {
            "architecture": text,
            **{name: getattr(measured, name) for name in ("accuracy", "step_time", "params", "macs")},
            "reward": search.problem.reward(measured, search.problem.anchor),
        }


def run_of(folder: Path, name: str) -> pd.DataFrame:
    """The trial table of a study's run."""
    return TrialStore.open(folder / RUNS / name).frame()


def candidate_s(pace: Pace, config: SearchConfig, recipe: Recipe, training_pictures: int) -> float:
    """Seconds of a candidate's evaluation on one worker, by the backbone and some networks drawn from the space."""
    from nas.plugins import resolve
    from search_spaces import SPACES

    space = resolve("space", config.space, SPACES)
    rng = np.random.default_rng(0)
    drawn = [space.backbone, *(space.decode(space.sample(rng)) for _ in range(3))]
    assert recipe.image_size is not None
    step_s = sum(pace.step_s(network, recipe, recipe.image_size) for network in drawn) / len(drawn)
    return recipe.epochs * (training_pictures / recipe.batch_size) * step_s * 1.3 + TIMING_S
