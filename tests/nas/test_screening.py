"""The screened first draw: how it chooses, that it comes first, and that a search with one is resumed exactly."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.config import SearchConfig
from nas.controllers import CONTROLLERS
from nas.problem import Problem
from nas.reward import _QUANTITIES, REWARDS, bind
from nas.runs import RunSettings, make_session, reopen, start
from nas.screening import FIRST, SCORED, best_of_each_part, first_draw, rank_sum, screen
from nas.search import run_serial
from nas.session import SearchSession
from results.store import TrialStore
from results.trial import Measurement, Trial
from search_spaces import SPACES, Architecture, Cost, Genotype, SearchSpace

pytestmark = pytest.mark.usefixtures("_unsynced")

EVALUATOR = '''
import os
from pathlib import Path

from results.trial import Measurement


class Task:
    """Larger is better, and promises more."""

    def __call__(self, architecture, seed):
        layers = sum(stage.layers * stage.expand_ratio for stage in architecture.stages)
        return Measurement(accuracy=layers / 400 + seed % 100 / 1e4, step_time=1.0 + layers / 10)

    def zero_cost(self, architecture):
        with Path(__file__).with_name("scored").open("a") as file:
            file.write(f"{architecture}\\n")
        return {"snip": sum(stage.layers * stage.expand_ratio for stage in architecture.stages)}


task = Task()


def without(architecture, seed):
    return task(architecture, seed)
'''


@pytest.fixture
def large() -> Problem:
    return Problem(SPACES["small"], bind(REWARDS["training-aware"], {}), 32, num_classes=10)


def depth(architecture: Architecture) -> dict[str, float]:
    return {"depth": float(sum(stage.layers for stage in architecture.stages))}


# How it chooses ---------------------------------------------------------------------------------------------------


def test_ranks_are_summed_and_what_is_no_number_ranks_last() -> None:
    rows = [{"a": 1.0, "b": 9.0}, {"a": 3.0, "b": math.nan}, {"a": 2.0, "b": 9.0}, {"a": -math.inf, "b": 1e300}]
    assert rank_sum(rows).tolist() == [2 + 2.5, 4 + 1, 3 + 2.5, 1 + 4]
    assert rank_sum([]).tolist() == []


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), max_size=40), st.integers(1, 10))
def test_the_best_is_taken_of_parts_of_equal_number(rows: list[tuple[float, float]], count: int) -> None:
    prices, merits = [price for price, _ in rows], [merit for _, merit in rows]
    chosen = best_of_each_part(prices, merits, count)
    assert len(chosen) == len(set(chosen)) == min(count, len(rows))
    assert sorted(prices[place] for place in chosen) == [prices[place] for place in chosen]
    for rank, place in enumerate(chosen):  # no better one lies between the parts' borders
        part = np.array_split(np.argsort(prices, kind="stable"), count)[rank]
        assert place in part
        assert merits[place] == max(merits[other] for other in part)


def test_the_draw_is_of_many_sizes_and_better_than_chance(large: Problem) -> None:
    found = screen(large, depth, 0)
    assert (len(found.genotypes), found.scored) == (FIRST, SCORED)
    assert len(set(found.genotypes)) == FIRST
    rng = np.random.default_rng(0)
    sampled = [large.space.decode(large.space.sample(rng)) for _ in range(200)]
    chosen = [large.space.decode(genotype) for genotype in found.genotypes]
    at_chance = np.mean([depth(architecture)["depth"] for architecture in sampled])
    assert np.mean([depth(architecture)["depth"] for architecture in chosen]) > at_chance + 1
    macs = sorted(large.cost(architecture).macs for architecture in chosen)
    low, high = np.quantile([large.cost(architecture).macs for architecture in sampled], [0.3, 0.7])
    assert macs[0] < low < high < macs[-1]  # a reward pays for size, so not the largest alone
    assert screen(large, depth, 0).genotypes == found.genotypes
    assert screen(large, depth, 1).genotypes != found.genotypes


def test_a_reward_that_costs_do_not_enter_gets_the_highest_scores_of_random_groups(large: Problem) -> None:
    accuracy = replace(large, reward=bind(REWARDS["accuracy"], {}))
    mean, paid = (
        np.mean([large.cost(large.space.decode(g)).params for g in screen(problem, depth, 0).genotypes])
        for problem in (accuracy, large)
    )
    assert mean > paid


def test_the_draw_is_within_the_limits(large: Problem) -> None:
    limited = replace(large, limits={"params": 200_000})
    found = screen(limited, depth, 0, scored=64)
    assert found.scored == 64
    assert all(limited.features.feasible(genotype) for genotype in found.genotypes)


def test_a_space_smaller_than_the_draw_is_drawn_whole(problem: Problem) -> None:
    found = screen(problem, depth, 0, first=40)
    assert found.scored == problem.space.size == 30
    assert sorted(found.genotypes) == sorted(problem.space.genotype_at(number) for number in range(30))
    nothing = replace(problem, limits={"params": 1})
    assert screen(nothing, depth, 0).genotypes == []


@pytest.mark.parametrize("name", REWARDS)
def test_every_reward_says_what_costs_weigh(problem: Problem, name: str) -> None:
    assert len(screen(replace(problem, reward=bind(REWARDS[name], {})), depth, 0).genotypes) == FIRST


REWARDED: dict[str, Callable[..., float]] = {
    "step_time": lambda accuracy, step_time: accuracy / step_time,
    "step_time_s": lambda accuracy, step_time_s: accuracy / step_time_s,
    "latency": lambda accuracy, latency: accuracy / latency,
    "latency_s": lambda accuracy, latency_s: accuracy / latency_s,
    "peak_memory": lambda accuracy, peak_memory: accuracy / peak_memory,
    "peak_memory_bytes": lambda accuracy, peak_memory_bytes: accuracy / peak_memory_bytes,
    "params": lambda accuracy, params: accuracy / params,
    "macs": lambda accuracy, macs: accuracy / macs,
    "activations": lambda accuracy, activations: accuracy / activations,
}


def test_every_quantity_of_rewards_is_stood_in_for() -> None:
    assert {"accuracy", *REWARDED} == set(_QUANTITIES)


@pytest.mark.parametrize("quantity", REWARDED)
def test_a_reward_of_what_a_device_tells_is_that_of_its_stand_in(problem: Problem, quantity: str) -> None:
    stand_in = quantity if quantity in Cost._fields else "activations" if "memory" in quantity else "macs"
    found, expected = (
        screen(replace(problem, reward=bind(REWARDED[name], {})), depth, 0).genotypes for name in (quantity, stand_in)
    )
    assert len(found) == FIRST
    assert found == expected


@pytest.mark.parametrize("evaluate", [lambda architecture, seed: None, type("Task", (), {"zero_cost": 1})()])
def test_an_evaluator_that_does_not_score(problem: Problem, evaluate: Any) -> None:
    with pytest.raises(ValueError, match="--zero-cost needs an evaluator that scores untrained networks"):
        first_draw(problem, evaluate, 0)


# In a session -----------------------------------------------------------------------------------------------------


Make = Callable[..., SearchSession]


@pytest.fixture
def make(problem: Problem) -> Make:
    def session(folder: Path, first: list[Genotype], *, name: str = "random", random_arm: float = 0.0) -> SearchSession:
        store = (
            TrialStore.open(folder, writing=True)
            if (folder / "run.json").exists()
            else TrialStore.create(folder, {"space": problem.space.to_json()})
        )
        controller = CONTROLLERS[name](problem.space, problem.features, 0)
        return SearchSession(
            problem, controller, store, budget=12, seed=0, random_arm=random_arm, confirm=2, first_draw=first
        )

    return session


def noisy(architecture: Architecture, seed: int) -> Measurement:
    layers = sum(stage.layers * stage.expand_ratio for stage in architecture.stages)
    return Measurement(accuracy=layers / 40 + seed % 100 / 500, step_time=1.0 + layers / 10)


def told(session: SearchSession) -> list[Trial]:
    return [trial for _, trial in sorted(session.store.trials.items())]


def test_the_first_draw_comes_first_and_then_the_controller(space: SearchSpace, make: Make, tmp_path: Path) -> None:
    first = [space.genotype_at(number) for number in (20, 3, 11)]
    session = make(tmp_path / "run", first)
    run_serial(session, noisy)
    proposed = [trial for trial in told(session) if not trial.replicate]
    assert [trial.genotype for trial in proposed[:3]] == first
    assert [trial.arm for trial in proposed] == ["screened"] * 3 + ["controller"] * (len(proposed) - 3)
    assert session.evaluated == 12
    session.store.close()


def test_the_random_arm_keeps_its_turns(space: SearchSpace, make: Make, tmp_path: Path) -> None:
    session = make(tmp_path / "run", [space.genotype_at(n) for n in (20, 3, 11)], random_arm=0.5)
    for _ in range(8):
        assert session.ask() is not None
    arms = [trial.arm for trial in told(session)]  # repeats are among them
    assert arms[:8] == ["screened", "random"] * 3 + ["controller", "random"]
    session.store.close()


@pytest.mark.parametrize("name", ["random", "evolution", "local_search", "predictor", "ppo", "optuna:tpe"])
def test_a_search_with_a_first_draw_is_resumed_exactly_wherever_it_was_cut(
    space: SearchSpace, make: Make, tmp_path: Path, cut_off: Callable[[Path], Iterator[Path]], name: str
) -> None:
    first = [space.genotype_at(number) for number in (20, 3, 11, 27)]
    whole = make(tmp_path / "whole", first, name=name, random_arm=0.25)
    run_serial(whole, noisy)
    whole.store.close()
    expected = [(t.genotype, t.arm, t.replicate, t.reward) for t in told(whole)]
    for folder in list(cut_off(tmp_path / "whole"))[:: 1 if name == "random" else 9]:
        session = make(folder, first, name=name, random_arm=0.25)
        run_serial(session, noisy)
        session.store.close()
        assert [(t.genotype, t.arm, t.replicate, t.reward) for t in told(session)] == expected


def test_another_first_draw_is_not_what_the_journal_has(space: SearchSpace, make: Make, tmp_path: Path) -> None:
    session = make(tmp_path / "run", [space.genotype_at(20)])
    session.ask()
    session.store.close()
    with pytest.raises(ValueError, match="trial 0"):
        make(tmp_path / "run", [space.genotype_at(21)])


# Controllers that begin at random ---------------------------------------------------------------------------------


def trial(space: SearchSpace, number: int, reward: float) -> Trial:
    genotype = space.genotype_at(number)
    return Trial(
        number=number,
        genotype=genotype,
        architecture=str(space.decode(genotype)),
        seed=0,
        arm="screened",
        state="complete",
        measurement=Measurement(accuracy=reward),
        reward=reward,
    )


def test_local_search_climbs_from_the_best_of_the_first_draw(large: Problem) -> None:
    controller = CONTROLLERS["local_search"](large.space, large.features, 0)
    for number, reward in ((10**6, 0.4), (10**9, 0.7), (10**10, 0.5)):
        controller.tell(trial(large.space, number, reward))
    best = large.space.genotype_at(10**9)
    around = set(large.space.neighbours(best))
    assert all(controller.ask() in around for _ in range(5))


def test_evolution_breeds_once_its_population_is_full(large: Problem) -> None:
    controller = CONTROLLERS["evolution"](large.space, large.features, 0)
    parent = large.space.genotype_at(10**9)
    for number in range(20):
        controller.tell(replace(trial(large.space, 10**9, 0.5), number=number))
    around = set(large.space.neighbours(parent))
    assert all(controller.ask() in around for _ in range(3))


# In a run ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> SearchConfig:
    (tmp_path / "mine.py").write_text(EVALUATOR)
    return SearchConfig(evaluator=f"{tmp_path / 'mine.py'}:task", zero_cost=True, image_size=32, controller="random")


def test_the_first_draw_is_kept_and_not_made_again_on_resume(config: SearchConfig, tmp_path: Path) -> None:
    search, store = start(config, tmp_path / "run")
    assert any("256 networks were scored untrained" in note for note in search.notes)
    kept = json.loads((tmp_path / "run" / "run.json").read_text())["configuration"]["first_draw"]
    assert [tuple(genotype) for genotype in kept] == search.first_draw
    session = make_session(search, store, RunSettings(budget=5))
    run_serial(session, search.evaluate)
    store.close()
    again, store, _ = reopen(tmp_path / "run", {})
    assert again.first_draw == search.first_draw
    session = make_session(again, store, RunSettings(budget=12))
    run_serial(session, again.evaluate)
    store.close()
    assert [t.arm for t in told(session)] == ["screened"] * FIRST + ["controller"] * 4
    assert [t.genotype for t in told(session)[:FIRST]] == search.first_draw
    assert len((tmp_path / "scored").read_text().splitlines()) == SCORED  # once


def test_a_search_without_one_scores_nothing(config: SearchConfig, tmp_path: Path) -> None:
    search, store = start(replace(config, zero_cost=False), tmp_path / "run")
    store.close()
    assert search.first_draw is None
    assert not (tmp_path / "scored").exists()


def test_an_evaluator_that_does_not_score_is_an_error_before_anything_is_made(
    config: SearchConfig, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="--zero-cost needs"):
        start(replace(config, evaluator=config.evaluator.replace(":task", ":without")), tmp_path / "run")
    assert not (tmp_path / "run").exists()
