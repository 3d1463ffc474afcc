"""`nas plan`, and the forecasts of `nas search`: what they are made of, what they leave alone, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas import forecasting, plan
from nas.config import Search, SearchConfig, build
from nas.controllers import CONTROLLERS
from nas.forecast import Forecast, Work, forecast
from nas.forecasting import Forecasts
from nas.plan import at_start, draw, make_plan, spread
from nas.problem import Problem
from nas.runs import RunSettings
from nas.search import Workers
from nas.session import SearchSession
from nas.work import CONTROLLER_S, RAY_EACH_S, RAY_START_S, evaluation_seconds, left_of
from results.store import TrialStore
from results.trial import Failure, Measurement, Trial
from search_spaces import Architecture
from trainers.training_time import TrainingTime, TrainingTimer

MakeSession = Callable[..., SearchSession]
ALONE = Workers(1)
STEPS, EPOCHS = 54, 2


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no calibration of this machine is found."""
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def proxy() -> Search:
    """A small search of the embedded pictures, 27 steps an epoch."""
    return build(SearchConfig(image_size=8, minival=500, device="cpu"))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Architecture]:
    """Steps that take 10 ms and a nanosecond a multiply-add, and no clock; gives the networks that were timed."""
    timed: list[Architecture] = []

    def instead(timer: TrainingTimer, architecture: Architecture, *, threads: int | None = None) -> TrainingTime:
        timed.append(architecture)
        return TrainingTime(1.0, step_s(architecture), 0.5, None)

    monkeypatch.setattr(TrainingTimer, "__call__", instead)
    return timed


def step_s(architecture: Architecture) -> float:
    from search_spaces import cost

    return 0.01 + 1e-9 * cost(architecture, 8, num_classes=10, in_channels=1).macs


def test_a_plan_is_made_of_candidates_all_over_the_space(proxy: Search, told: list[Architecture]) -> None:
    made = make_plan(proxy, RunSettings(budget=100, confirm=3), ALONE)
    assert told[0] == proxy.problem.space.backbone
    assert [one.architecture for one in made.timed] == [str(a) for a in told[1:]]
    macs = [one.macs for one in made.timed]
    assert len(macs) == 5
    assert macs == sorted(macs)
    pool = [proxy.problem.cost(a).macs for a in draw(proxy.problem, np.random.default_rng(0))]
    assert np.searchsorted(pool, macs).tolist() == [20, 60, 100, 140, 180]
    anchor_s = step_s(told[0])
    for one, architecture in zip(made.timed, told[1:], strict=True):
        expected = 1.0 + STEPS * step_s(architecture) + EPOCHS * 0.5 + 4 * anchor_s + 15 * max(0.04, anchor_s)
        assert one.seconds == pytest.approx(expected)
    assert made.forecast is not None
    assert made.forecast.candidate_s.expected == pytest.approx(np.mean([one.seconds for one in made.timed]))
    assert (made.forecast.work.candidates, made.forecast.work.confirming) == (100, 6)
    assert made.forecast.wall_s.expected == pytest.approx(
        106 * made.forecast.candidate_s.expected + 106 * CONTROLLER_S["predictor"], rel=0.05
    )
    assert 5000 * 8 * 8 < made.forecast.work.pack_bytes < 5000 * 8 * 8 + 100_000
    assert any("come to propose those that train faster" in note or "comes to propose" in note for note in made.notes)


def test_a_candidate_out_of_memory_is_a_part_of_the_plan(
    proxy: Search, told: list[Architecture], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = TrainingTimer.__call__
    largest = spread(draw(proxy.problem, np.random.default_rng(0)), 5)[-1]

    def instead(timer: TrainingTimer, architecture: Architecture, *, threads: int | None = None) -> TrainingTime:
        if architecture == largest:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return times(timer, architecture, threads=threads)

    monkeypatch.setattr(TrainingTimer, "__call__", instead)
    made = make_plan(proxy, RunSettings(budget=10), ALONE)
    assert [one.failure is None for one in made.timed] == [True] * 4 + [False]
    assert made.forecast is not None
    assert made.forecast.basis == "from 4 candidates timed by a few steps"
    assert [note for note in made.notes if "out_of_memory" in note and str(largest) in note]


def test_a_plan_of_which_all_candidates_fail_has_no_forecast(
    proxy: Search, told: list[Architecture], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = TrainingTimer.__call__

    def instead(timer: TrainingTimer, architecture: Architecture, *, threads: int | None = None) -> TrainingTime:
        if architecture != proxy.problem.space.backbone:
            raise MemoryError
        return times(timer, architecture, threads=threads)

    monkeypatch.setattr(TrainingTimer, "__call__", instead)
    made = make_plan(proxy, RunSettings(budget=10), ALONE)
    assert made.forecast is None
    assert made.to_json()["forecast"] is None
    assert made.notes[-1] == "no forecast: all candidates that were timed failed"
    monkeypatch.setattr(TrainingTimer, "__call__", lambda *_, **__: 1 / 0)
    with pytest.raises(ValueError, match="the anchor, which each step is timed against, could not be trained"):
        make_plan(proxy, RunSettings(budget=10), ALONE)


class Expecting:
    """A calibration that is right of every network, in an anchor's steps of another time."""

    def __init__(self, anchor_s: float) -> None:
        self.anchor_s = anchor_s

    def __call__(self, architecture: Architecture, **shape: int) -> float:
        return step_s(architecture) / 0.02

    def to_json(self) -> dict[str, Any]:
        return {"anchor_s": self.anchor_s}


def calibrated(search: Search, anchor_s: float = 0.02) -> Search:
    task: Any = search.evaluate
    task.calibration = Expecting(anchor_s)
    return replace(search, calibration=task.calibration.to_json())


def test_a_calibration_stands_for_the_whole_space_and_is_checked(proxy: Search, told: list[Architecture]) -> None:
    plain = make_plan(proxy, RunSettings(budget=100), ALONE).forecast
    made = make_plan(calibrated(proxy, anchor_s=77.0), RunSettings(budget=100), ALONE)
    assert "steps of those timed are 0% off what the calibration expects, in the mean" in made.notes
    assert made.forecast is not None
    assert plain is not None
    assert made.forecast.basis.endswith("and 200 by the calibration")
    assert made.forecast.wall_s.expected == pytest.approx(plain.wall_s.expected, rel=0.1), "its seconds are not used"
    assert made.forecast.wall_s.high - made.forecast.wall_s.low < plain.wall_s.high - plain.wall_s.low


def test_a_search_starts_with_what_a_calibration_expects(proxy: Search, told: list[Architecture]) -> None:
    settings = RunSettings(budget=100)
    assert at_start(proxy, settings, Workers(2), []) is None
    assert not told
    proxy = calibrated(proxy)
    made = at_start(proxy, settings, Workers(2), [])
    assert made is not None
    assert told == [proxy.problem.space.backbone], "one network is timed, so that the search is not kept waiting"
    anchor_s = step_s(told[0])
    ratios = [step_s(a) / 0.02 for a in draw(proxy.problem, np.random.default_rng(0))]
    expected = 1.0 + np.mean(ratios) * (STEPS * anchor_s + EPOCHS * 0.5) + 4 * anchor_s + 15 * 0.04
    assert made.candidate_s.expected == pytest.approx(expected)
    assert at_start(proxy, settings, ALONE, []) is not None
    assert at_start(proxy, settings, Workers(1, gpus=1.0), []) is not None
    assert at_start(proxy, settings, Workers(2, gpus=0.5), []) is None, "this process is to hold no GPU"
    assert at_start(proxy, settings, Workers(2, address="somewhere:1"), []) is None


@pytest.mark.parametrize(
    ("settings", "workers", "threads"),
    [
        (RunSettings(budget=9), ALONE, None),
        (RunSettings(budget=9, scheduler="asha"), ALONE, 1),
        (
            RunSettings(budget=9, scheduler="asha", grace_epochs=2),
            ALONE,
            None,
        ),  # can stop nothing, so Ray is not needed
        (RunSettings(budget=9), Workers(2), 1),
    ],
)
def test_what_ray_evaluates_is_timed_on_one_thread_and_waits_for_it(
    proxy: Search, monkeypatch: pytest.MonkeyPatch, settings: RunSettings, workers: Workers, threads: int | None
) -> None:
    seen: list[int | None] = []

    def instead(timer: TrainingTimer, architecture: Architecture, *, threads: int | None = None) -> TrainingTime:
        seen.append(threads)
        return TrainingTime(1.0, step_s(architecture), 0.5, None)

    monkeypatch.setattr(TrainingTimer, "__call__", instead)
    proxy = calibrated(proxy)
    made = [at_start(proxy, settings, workers, [])]
    if workers.count == 1:  # several are timed in processes of their own
        made.append(make_plan(proxy, settings, workers).forecast)
    assert set(seen) == {threads}
    for one in made:
        assert one is not None
        assert one.work.start_s == ((0.0, 0.0) if threads is None else RAY_START_S)
        assert one.work.each_s == pytest.approx(CONTROLLER_S["predictor"] + (RAY_EACH_S if threads else 0))


def test_one_worker_of_ray_s_with_a_gpu_has_it_to_itself(proxy: Search, told: list[Architecture]) -> None:
    asha = RunSettings(budget=9, scheduler="asha")
    assert at_start(calibrated(proxy), asha, Workers(1, gpus=1.0), []) is None
    assert not told


def test_candidates_are_within_the_limits(proxy: Search) -> None:
    limited = replace(proxy.problem, limits={"macs": 300_000})
    found = draw(limited, np.random.default_rng(0))
    assert found
    assert all(limited.cost(a).macs <= 300_000 for a in found)
    none = replace(proxy, problem=replace(proxy.problem, limits={"macs": 1}))
    with pytest.raises(ValueError, match=r"none of many that were drawn is: raise the limits"):
        make_plan(none, RunSettings(budget=10), ALONE)


def test_a_spread_takes_the_middles_of_equal_parts() -> None:
    pool: Any = list(range(100))
    assert spread(pool, 5) == [10, 30, 50, 70, 90]
    assert spread(pool[:3], 5) == [0, 1, 2]
    assert spread([], 5) == []


def test_no_more_is_expected_than_the_space_holds_or_a_time_limit_allows(
    proxy: Search, told: list[Architecture]
) -> None:
    made = make_plan(proxy, RunSettings(budget=10**12, trial_timeout_s=0.5), ALONE).forecast
    assert made is not None
    assert made.work.candidates == proxy.problem.space.size
    assert made.candidate_s == (0.5, 0.5, 0.5)


def test_side_by_side_as_workers_share_a_device() -> None:
    shared = plan._side_by_side
    assert shared(Workers(1)) == 1
    assert shared(Workers(4)) == 4
    assert shared(Workers(4, gpus=1.0)) == 1
    assert shared(Workers(8, gpus=0.25)) == 4
    assert shared(Workers(2, gpus=0.25)) == 2
    assert shared(Workers(2, gpus=2.0)) == 1
    assert shared(Workers(100)) == 16
    assert shared(Workers(8, address="somewhere:1")) == 1


def trial(number: int, asked_at: float | None = None, told_at: float | None = None, **values: Any) -> Trial:
    state = values.pop("state", "running" if told_at is None else "complete")
    return Trial(
        number=number, genotype=(0,), architecture="", seed=1, state=state, asked_at=asked_at, told_at=told_at, **values
    )


def test_evaluations_that_began_while_workers_came_up_are_left_out() -> None:
    trials = [
        trial(0, 0.0, 20.0),
        trial(1, 0.1, 21.0),
        trial(2, 20.0, 26.0),
        trial(3, 21.0, 30.0, attempt=2),
        trial(4, 26.0, 26.0, state="infeasible"),
        trial(5, 26.0, 26.0, reused_from="there#1"),
        trial(6, 26.0, 33.0, state="failed"),
        trial(7, 30.0),
    ]
    assert evaluation_seconds(trials) == [6.0, 7.0]
    assert evaluation_seconds([]) == []


def test_what_is_left_is_neither_evaluated_nor_confirmed() -> None:
    trials = [trial(0, 0, 1), trial(1, 0, 1, replicate=1), trial(2, 0, 1, reused_from="there#1"), trial(3, 0)]
    left = left_of(Work(candidates=10, confirming=4), trials)
    assert (left.candidates, left.confirming) == (9, 3)
    assert left_of(Work(candidates=1), [trial(n, 0, 1) for n in range(3)]).candidates == 0


# While a search runs ------------------------------------------------------------------------------------------------

WORK = Work(candidates=8, workers=1, run_bytes=1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Time that passes when it is told to."""
    now = [1000.0]
    for module in ("nas.session", "nas.forecasting", "results.store"):
        monkeypatch.setattr(f"{module}.time.time", lambda: now[0])
    return iter([now]).__next__()  # type: ignore[return-value]


def evaluate(session: SearchSession, clock: list[float], count: int, took_s: float = 6.0) -> None:
    for _ in range(count):
        asked = session.ask()
        assert asked is not None
        clock[0] += took_s
        session.measured(asked.number, Measurement(accuracy=0.5, step_time=1.0))
        session.tell(asked.number)


def lines_of(made: list[str], session: SearchSession, at: Forecast | None = None) -> Forecasts:
    return Forecasts(session, WORK, at_start=at, say=made.append)


def test_a_forecast_comes_after_the_first_candidates(
    tmp_path: Path, session_in: MakeSession, clock: list[float]
) -> None:
    session = session_in(tmp_path / "run", budget=8)
    watched = lines_of([], session)
    evaluate(session, clock, 3)
    assert watched.after_some() is None, "of the first it cannot be told what workers took to come up"
    evaluate(session, clock, 1)
    made = watched.after_some()
    assert made is not None
    assert made.basis == "after 4 candidates"
    assert made.wall_s.expected == pytest.approx(8 * 6)
    assert session.ask() is not None
    clock[0] += 2.0
    running = watched.after_some()
    assert running is not None
    assert running.wall_s.expected == pytest.approx(8 * 6), "what it has run is done"
    session.store.close()


def test_forecasts_are_said_kept_and_compared(
    tmp_path: Path, session_in: MakeSession, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecasting, "_LOOK_S", 0.01)
    session, said = session_in(tmp_path / "run", budget=8), list[str]()
    first = forecast([6.0], WORK, basis="by hand", rng=np.random.default_rng(0))
    with lines_of(said, session, first) as watched:
        evaluate(session, clock, 4)
        while len(watched.made) < 2:
            watched._over.wait(0.01)
        evaluate(session, clock, 4)
    assert session.finished
    assert said == [made.line for made in watched.made]
    assert said[0].startswith("forecast by hand: 48 s (48 s to 48 s)")
    assert watched.took_s is not None
    assert watched.compared() == [made.compared(watched.took_s) for made in watched.made]
    assert [round(row["error"], 6) for row in watched.to_json()] == [
        round(m.error(watched.took_s), 6) for m in watched.made
    ]
    frame = session.store.frame()
    session.store.close()
    kept = [event for event in TrialStore.open(tmp_path / "run").events() if event["event"] == "forecast"]
    assert [event["basis"] for event in kept] == ["by hand", "after 4 candidates"]
    assert kept[0]["wall_s"]["expected"] == 48
    again = session_in(tmp_path / "run", budget=9)
    assert again.store.frame().equals(frame), "readers do not mind the lines"
    assert again.ask() is not None, "nor does a search that goes on"
    again.store.close()


def test_a_search_that_ended_early_is_not_compared(tmp_path: Path, session_in: MakeSession, clock: list[float]) -> None:
    session = session_in(tmp_path / "run", budget=8)
    made = forecast([6.0], WORK, basis="by hand", rng=np.random.default_rng(0))
    with lines_of([], session, made) as watched:
        evaluate(session, clock, 2)
        session.stop("interrupted")
    assert watched.compared() == []
    assert [row["error"] for row in watched.to_json()] == [None]
    session.store.close()


def test_a_resumed_search_is_expected_to_take_what_is_left(
    tmp_path: Path, session_in: MakeSession, clock: list[float], problem: Problem
) -> None:
    session = session_in(tmp_path / "run", budget=5)
    evaluate(session, clock, 5)
    identity: dict[str, Any] = {"controller": "random", "evaluator": "own.py:evaluate", "task": {}}
    controller = CONTROLLERS["random"](problem.space, problem.features, 0)
    search = Search(problem, lambda a, s: Measurement(accuracy=0.5), controller, identity)
    trials = list(session.store.trials.values())
    made = at_start(search, RunSettings(budget=25), ALONE, trials)
    assert made is not None
    assert made.basis == "from 4 candidates that ended before"
    assert made.wall_s.expected == pytest.approx(20 * 6 + 20 * CONTROLLER_S["random"])
    assert at_start(search, RunSettings(budget=25), ALONE, trials[:3]) is None, "nothing is known of this evaluator"
    failed = session_in(tmp_path / "other", budget=5)
    asked = failed.ask()
    assert asked is not None
    failed.tell(asked.number, Failure("error", "no good"))
    assert lines_of([], failed).after_some() is None
    session.store.close()
    failed.store.close()
