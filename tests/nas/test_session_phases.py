"""What a session does beside the controller's proposals: a random arm, leaders trained again, the front's volume."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.conduct import _print_outcome
from nas.controllers import CONTROLLERS
from nas.forecast import Work
from nas.forecasting import Forecasts
from nas.front import Front
from nas.leaders import CONFIRMATIONS
from nas.problem import OBJECTIVES, REFERENCE_COST, Problem
from nas.search import run_serial
from nas.session import MAX_KNOWN_IN_A_ROW, SearchSession, trial_seed
from nas.show import Format
from results.analysis import confirmed
from results.pareto import hypervolume
from results.store import TrialStore
from results.trial import Measurement, Trial
from search_spaces import Architecture, Genotype, SearchSpace

pytestmark = pytest.mark.usefixtures("_unsynced")

Make = Callable[..., SearchSession]


@pytest.fixture
def make(problem: Problem) -> Make:
    def session(
        folder: Path,
        *,
        name: str = "evolution",
        budget: int = 20,
        random_arm: float = 0.0,
        confirm: int = 0,
        problem: Problem = problem,
    ) -> SearchSession:
        exists = (folder / "run.json").exists()
        store = (
            TrialStore.open(folder, writing=True)
            if exists
            else TrialStore.create(folder, {"space": problem.space.to_json()})
        )
        controller = CONTROLLERS[name](problem.space, problem.features, 0)
        return SearchSession(problem, controller, store, budget=budget, seed=0, random_arm=random_arm, confirm=confirm)

    return session


def noisy(architecture: Architecture, seed: int) -> Measurement:
    """Larger is better, and a seed is worth more than most choices."""
    layers = sum(stage.layers * stage.expand_ratio for stage in architecture.stages)
    if seed % 11 == 0:
        raise ArithmeticError("some fail")
    return Measurement(accuracy=0.5 + layers / 100 + seed % 97 / 400, step_time=0.5 + layers / 20)


# The random arm -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "expected"), [(0.0, []), (0.1, [9, 19]), (0.5, list(range(1, 20, 2)))])
def test_the_random_arm_has_its_share(make: Make, tmp_path: Path, share: float, expected: list[int]) -> None:
    session = make(tmp_path / "run", random_arm=share, budget=10_000)
    while session.store.trials.keys() < set(range(20)):
        trial = session.ask()
        assert trial is not None
        session.measured(trial.number, Measurement(accuracy=0.5, step_time=1.0))
        session.tell(trial.number)
    assert [n for n in range(20) if session.store.trials[n].arm == "random"] == expected
    assert session.store.frame()["arm"][:20].tolist() == [
        "random" if n in expected else "controller" for n in range(20)
    ]


def test_the_random_arm_is_random_search_whatever_the_controller_does(
    make: Make, problem: Problem, tmp_path: Path
) -> None:
    proposals = {}
    for name in ("evolution", "local_search"):
        session = make(tmp_path / name, name=name, random_arm=0.5, budget=15)
        run_serial(session, noisy)
        trials = session.store.trials.values()
        proposals[name] = [t.genotype for t in trials if t.arm == "random"][:5]
    alone = CONTROLLERS["random"](problem.space, problem.features, trial_seed(0, "random arm", 0))
    assert proposals["evolution"] == proposals["local_search"] == [alone.ask() for _ in range(5)]


def test_what_the_random_arm_finds_is_told_to_the_controller(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path / "run", name="predictor", random_arm=0.5, budget=30)
    run_serial(session, noisy)
    ours = [t.architecture for t in session.store.trials.values() if t.arm == "controller"]
    assert len(ours) == len(set(ours))
    assert all(t.state != "repeat" for t in session.store.trials.values() if t.arm == "controller")


@pytest.mark.parametrize("bad", [-0.1, 1.0, float("nan")])
def test_a_random_arm_is_a_share(make: Make, tmp_path: Path, bad: float) -> None:
    with pytest.raises(ValueError, match=f"random_arm must be a share of the proposals, .*; got {bad}"):
        make(tmp_path / "run", random_arm=bad)


# Leaders trained again ------------------------------------------------------------------------------------------


def test_leaders_are_trained_again_beyond_the_budget(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path / "run", budget=12, confirm=3)
    run_serial(session, noisy)
    assert session.finished
    assert session.evaluated == 12
    assert session.stopped_because is None
    trials = list(session.store.trials.values())
    first = [t for t in trials if not t.replicate]
    again = [t for t in trials if t.replicate]
    leaders = sorted((t for t in first if t.reward is not None), key=lambda t: -(t.reward or 0))[:3]
    assert trials[-len(again) :] == again, "after the search"
    assert [(t.architecture, t.replicate) for t in again] == [
        (leader.architecture, replicate) for replicate in (1, 2) for leader in leaders
    ]
    assert session.confirmed == 3 * CONFIRMATIONS == len(again)
    assert session.planned == 12 + len(again)
    assert all(t.arm == "confirm" and t.seed == trial_seed(0, t.architecture, t.replicate) for t in again)
    assert len({t.seed for t in trials}) == len(trials)
    assert session.best is not None
    assert session.best.replicate == 0


def test_the_mean_decides_and_the_first_training_flatters(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path / "run", budget=20, confirm=5)
    run_serial(session, lambda architecture, seed: replace(noisy(architecture, 1), accuracy=0.5 + seed % 97 / 400))
    table = confirmed(session.store.frame())
    rewards: dict[str, list[float]] = {}
    for trial in session.store.trials.values():
        if trial.architecture in set(table["architecture"]):
            assert trial.reward is not None
            rewards.setdefault(trial.architecture, []).append(trial.reward)
    assert len(table) == 5
    assert table["trainings"].tolist() == [3] * 5
    for _, row in table.iterrows():
        assert row["reward"] == pytest.approx(np.mean(rewards[row["architecture"]]))
        assert row["fresh"] == pytest.approx(np.mean(rewards[row["architecture"]][1:]))
        assert row["spread"] == pytest.approx(np.std(rewards[row["architecture"]], ddof=1))
    assert table["reward"].is_monotonic_decreasing
    assert table["fresh"].mean() < table["reward"].mean(), "chosen for their luck in the first"


def test_confirming_waits_for_all_that_decides_who_leads(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path / "run", budget=4, confirm=1)
    running = [session.ask() for _ in range(4)]
    assert session.ask() is None
    assert not session.over
    for number, trial in enumerate(reversed(running)):  # the last to be told is trial 0
        assert trial is not None
        assert session.ask() is None
        session.measured(trial.number, Measurement(accuracy=0.5 + number / 10, step_time=1.0))
        session.tell(trial.number)
    again = [session.ask(), session.ask()]
    assert [t and t.replicate for t in again] == [1, 2]
    assert session.ask() is None
    assert not session.finished
    for trial in again:
        assert trial is not None
        session.measured(trial.number, Measurement(accuracy=0.5, step_time=1.0))
        session.tell(trial.number)
    assert session.finished


def test_leaders_of_an_exhausted_space_are_confirmed_too(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path / "run", budget=1000, confirm=2)
    run_serial(session, noisy)
    assert session.evaluated == 30
    assert session.confirmed == 2 * CONFIRMATIONS
    assert session.finished
    assert session.stopped_because is not None
    assert "the space is exhausted" in session.stopped_because


def test_confirming_may_be_asked_for_afterwards_and_the_search_go_on(make: Make, tmp_path: Path) -> None:
    def searched(**options: int) -> SearchSession:
        session = make(tmp_path / "run", **options)
        run_serial(session, noisy)
        session.store.close()
        return session

    assert searched(budget=8).confirmed == 0
    first = searched(budget=8, confirm=2)
    assert first.confirmed == 4
    assert searched(budget=8, confirm=2).confirmed == 4, "once"
    longer = searched(budget=16, confirm=2)
    assert longer.evaluated == 16
    leaders = {t.architecture for t in longer.store.trials.values() if t.replicate and t.number >= 20}
    assert longer.planned == longer.evaluated + longer.confirmed, "those of before and those of now"
    confirmed_before = {t.architecture for t in first.store.trials.values() if t.replicate}
    assert not leaders & confirmed_before


@pytest.mark.parametrize("name", ["predictor", "ppo", "optuna:tpe"])
def test_a_run_of_all_phases_cut_off_anywhere_ends_as_it_would_have(
    name: str, make: Make, tmp_path: Path, cut_off: Callable[[Path], Iterator[Path]]
) -> None:
    whole = make(tmp_path / "whole", name=name, budget=7, confirm=2, random_arm=0.3)
    run_serial(whole, noisy)
    whole.store.close()
    for folder in cut_off(tmp_path / "whole"):
        session = make(folder, name=name, budget=7, confirm=2, random_arm=0.3)
        run_serial(session, noisy)
        session.store.close()
        assert outcomes(session) == outcomes(whole)


def outcomes(session: SearchSession) -> list[object]:
    trials = session.store.trials.values()
    return [(t.genotype, t.arm, t.replicate, t.seed, t.state, t.reward, t.hypervolume) for t in trials]


def test_confirm_is_a_number_of_leaders(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="confirm must be at least 0 leaders; got -1"):
        make(tmp_path / "run", confirm=-1)


# The front's volume ---------------------------------------------------------------------------------------------


def test_the_hypervolume_grows_and_is_the_fronts(make: Make, problem: Problem, tmp_path: Path) -> None:
    session = make(tmp_path / "run", budget=20, confirm=1)
    run_serial(session, noisy)
    session.store.close()
    gains, last = [], 0.0
    for trial in session.store.trials.values():
        if trial.state != "complete" or trial.replicate:
            assert trial.hypervolume is None
            continue
        assert trial.measurement is not None
        gains.append(problem.gains(trial.measurement))
        assert trial.hypervolume == pytest.approx(hypervolume(np.array(gains)))
        assert trial.hypervolume >= last
        last = trial.hypervolume
    frame = session.store.frame()
    assert frame["hypervolume"].dropna().iloc[-1] == last > 0
    told = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_text().splitlines()]
    assert [e.get("hypervolume") for e in told if e["event"] == "told"] == [
        t.hypervolume for t in sorted(session.store.trials.values(), key=lambda t: t.told_at or 0)
    ]


def test_gains_are_shares_of_what_lies_before_the_reference(problem: Problem) -> None:
    both = replace(problem, objectives=OBJECTIVES)
    anchor = problem.anchor
    as_the_anchor = Measurement(accuracy=0.7, step_time=1.0, latency=1.0, peak_memory=1.0, **anchor._asdict())
    assert both.gains(as_the_anchor) == (0.7, *[0.5] * (len(OBJECTIVES) - 1))
    assert both.gains(Measurement(accuracy=0.7, step_time=1.0)) is None
    costly = Measurement(accuracy=1.0, step_time=REFERENCE_COST, params=3 * anchor.params)
    assert problem.gains(costly) == (1.0, 0.0, -0.5)
    assert hypervolume(np.array([problem.gains(costly)])) == 0.0


def test_no_volume_where_an_objective_is_not_measured(make: Make, tmp_path: Path, problem: Problem) -> None:
    from nas.reward import accuracy, bind

    session = make(tmp_path / "run", budget=3, problem=replace(problem, reward=bind(accuracy, {})))
    run_serial(session, lambda architecture, seed: Measurement(accuracy=0.5))
    assert [t.hypervolume for t in session.store.trials.values()] == [None] * 3
    assert session.store.frame()["hypervolume"].isna().all()


def test_objectives_are_checked(problem: Problem) -> None:
    with pytest.raises(ValueError, match=r"objectives must be among accuracy, step_time, .*; got accuracy, speed"):
        replace(problem, objectives=("accuracy", "speed"))
    with pytest.raises(ValueError, match=r"each objective must be named once; got params, params"):
        replace(problem, objectives=("params", "params"))
    with pytest.raises(ValueError, match="objectives must be among"):
        replace(problem, objectives=())


def test_a_front_keeps_what_nothing_dominates() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((60, 3)).round(1)
    front = Front()
    for count, point in enumerate(points, 1):
        expected = hypervolume(points[:count])
        assert front.volume_with(tuple(point)) == pytest.approx(expected)
        front.add(tuple(point))
        assert front.volume_with(tuple(point)) == pytest.approx(expected)


# A limit of step time -------------------------------------------------------------------------------------------


def test_a_step_time_that_is_expected_to_be_too_long_is_never_trained(
    make: Make, problem: Problem, space: SearchSpace, tmp_path: Path
) -> None:
    def expected(architecture: Architecture) -> float:
        return sum(stage.layers for stage in architecture.stages) / 2

    limited = replace(problem, limits={"step_time": 1.0}, step_time=expected)
    session = make(tmp_path / "run", name="predictor", budget=100, problem=limited)
    run_serial(session, noisy)
    allowed = {str(space.decode(space.genotype_at(i))) for i in range(space.size)}
    allowed = {text for text in allowed if expected(Architecture.parse(text)) <= 1.0}
    assert {t.architecture for t in session.store.trials.values()} == allowed
    large = next(a for a in map(space.decode, map(space.genotype_at, range(30))) if expected(a) > 1)
    assert limited.broken_limit(large) == "step_time 1.500, as expected before training, is over the limit of 1"


def test_a_limit_of_step_time_needs_something_that_tells_it(problem: Problem) -> None:
    with pytest.raises(ValueError, match="a limit of step_time needs an evaluator that tells it before training"):
        replace(problem, limits={"step_time": 1.0})


def test_a_controller_that_repeats_itself_is_not_asked_on_while_leaders_are_confirmed(
    problem: Problem, tmp_path: Path
) -> None:
    class Repeating:
        asked = 0

        def ask(self) -> Genotype:
            self.asked += 1
            return problem.space.genotype_at(self.asked % 5)

        def tell(self, trial: Trial) -> None:
            pass

    controller = Repeating()
    store = TrialStore.create(tmp_path / "run", {"space": problem.space.to_json()})
    session = SearchSession(problem, controller, store, budget=20, seed=0, confirm=2)
    run_serial(session, noisy)
    assert session.finished
    assert session.confirmed == 2 * CONFIRMATIONS
    assert controller.asked < 5 + 1.1 * MAX_KNOWN_IN_A_ROW


# What is told at the end ------------------------------------------------------------------------------------------


def told_at_the_end(session: SearchSession) -> dict[str, Any]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        _print_outcome(
            session, Forecasts(session, Work(candidates=1), at_start=None, say=lambda _: None), Format.json, 0.0, None
        )
    return dict(json.loads(out.getvalue()))


def test_the_hypervolume_told_is_the_fronts_whatever_the_order_of_tells(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path / "run", budget=8)
    running = [session.ask() for _ in range(8)]
    for number, trial in enumerate(reversed(running)):
        assert trial is not None
        session.measured(trial.number, Measurement(accuracy=0.5 + number / 20, step_time=1.0))
        session.tell(trial.number)
    volumes = [t.hypervolume for t in session.store.trials.values() if t.hypervolume is not None]
    assert volumes[-1] < max(volumes) == told_at_the_end(session)["hypervolume"]


def test_the_best_told_is_a_newer_leader_where_that_one_was_not_trained_again(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path / "run", budget=8, confirm=2)
    run_serial(session, lambda architecture, seed: replace(noisy(architecture, 1), accuracy=0.5 + seed % 97 / 400))
    leader = confirmed(session.store.frame()).iloc[0]
    best = told_at_the_end(session)["best"]
    assert (best["number"], best["trainings"]) == (leader["number"], 1 + CONFIRMATIONS)
    assert best["reward"] == pytest.approx(leader["reward"])
    session.store.close()
    longer = make(tmp_path / "run", budget=9)
    run_serial(longer, lambda architecture, seed: Measurement(accuracy=0.99, step_time=0.5))
    newest = [t for t in longer.store.trials.values() if not t.replicate][-1]
    best = told_at_the_end(longer)["best"]
    assert (best["number"], best["trainings"], best["accuracy"]) == (newest.number, 1, 0.99)
