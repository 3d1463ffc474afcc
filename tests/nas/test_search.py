"""Driving a session: how many workers, by which driver, and the serial driver with its time limit."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from nas.search import EarlyStopping, Workers, choose_workers, run, run_serial
from nas.session import SearchSession
from results.trial import Measurement
from search_spaces import Architecture

MakeSession = Callable[..., SearchSession]
GOOD = Measurement(accuracy=0.5, step_time=1.0)


# How many workers -------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3})


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        # without GPUs: one a core, which many share
        ({}, Workers(4, 1.0)),
        ({"count": 1}, Workers(1, 1.0)),
        ({"count": 8}, Workers(8, 0.5)),
        ({"gpus_per_trial": 0.0}, Workers(4, 1.0)),
        # with GPUs: one a GPU, or a share
        ({"gpus": 2}, Workers(2, 1.0, 1.0)),
        ({"gpus": 8}, Workers(8, 0.5, 1.0)),
        ({"gpus": 1, "gpus_per_trial": 0.25}, Workers(4, 1.0, 0.25)),
        ({"gpus": 2, "gpus_per_trial": 0.25}, Workers(8, 0.5, 0.25)),
        ({"gpus": 1, "gpus_per_trial": 0.25, "count": 2}, Workers(2, 1.0, 0.25)),
        ({"gpus": 1, "gpus_per_trial": 0.1}, Workers(10, 0.4, 0.1)),
        ({"gpus": 4, "gpus_per_trial": 2}, Workers(2, 1.0, 2)),
        ({"gpus": 5, "gpus_per_trial": 2.0}, Workers(2, 1.0, 2.0)),
        ({"gpus": 1, "gpus_per_trial": 0.0}, Workers(4, 1.0)),
        # a share cannot lie on two GPUs
        ({"gpus": 2, "gpus_per_trial": 0.4}, Workers(4, 1.0, 0.4)),
        ({"gpus": 3, "gpus_per_trial": 0.7}, Workers(3, 1.0, 0.7)),
        # the share that so many workers need
        ({"gpus": 1, "count": 4}, Workers(4, 1.0, 0.25)),
        ({"gpus": 2, "count": 3}, Workers(3, 1.0, 0.5)),
        ({"gpus": 4, "count": 2}, Workers(2, 1.0, 1.0)),
        ({"gpus": 1, "count": 3}, Workers(3, 1.0, 1 / 3)),
        ({"gpus": 1, "count": 49}, Workers(49, 4 / 49, 1 / 49)),  # 1 / (1 / 49) is under 49
        # a cluster's resources are not known yet
        ({"address": "auto", "count": 8}, Workers(8, 1.0, 0.0, "auto")),
        (
            {"address": "auto", "count": 8, "gpus_per_trial": 0.5},
            Workers(8, 1.0, 0.5, "auto"),
        ),
    ],
)
def test_workers_that_fit(asked: dict[str, Any], expected: Workers) -> None:
    assert choose_workers(**asked) == expected


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"count": 0}, "workers must be at least 1; got 0"),
        (
            {"gpus_per_trial": -0.5, "gpus": 1},
            "gpus_per_trial must be from 0 to 1, or a whole number of GPUs; got -0.5",
        ),
        ({"gpus_per_trial": -1, "gpus": 1}, "gpus_per_trial must be from 0 to 1, or a whole number of GPUs; got -1"),
        ({"gpus_per_trial": 1.5, "gpus": 4}, "gpus_per_trial must be from 0 to 1, or a whole number of GPUs; got 1.5"),
        ({"gpus_per_trial": float("nan"), "gpus": 1}, "gpus_per_trial must be from 0 to 1, .*; got nan"),
        ({"gpus_per_trial": float("inf"), "gpus": 1}, "gpus_per_trial must be from 0 to 1, .*; got inf"),
        (
            {"count": 5, "gpus_per_trial": 0.25, "gpus": 1},
            "5 workers with 0.25 GPUs each need 1.25 GPUs; this machine has 1: ask for at most 4 workers",
        ),
        ({"count": 2, "gpus_per_trial": 1, "gpus": 1}, "2 workers with 1 GPUs each need 2 GPUs; .* at most 1 workers"),
        ({"count": 5, "gpus_per_trial": 0.4, "gpus": 2}, "5 workers with 0.4 GPUs each .* at most 4 workers"),
        ({"gpus_per_trial": 2, "gpus": 1}, "need 2 GPUs; this machine has 1"),
        ({"gpus_per_trial": 1}, "this machine has none that torch can use, and 1 a trial was asked for: leave --gpus"),
        ({"address": "auto"}, "workers must be given with the address of a cluster, such as --workers 8"),
    ],
)
def test_workers_that_do_not_fit_are_refused_at_once(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_workers(**asked)


def test_a_cluster_must_answer_at_its_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert choose_workers(8, address=address) == Workers(8, 1.0, 0.0, address)
        assert choose_workers(8, address=f"ray://{address}").address == f"ray://{address}"
    for wrong in (address, "127.0.0.1:port"):
        with pytest.raises(ValueError, match=f"nothing answers at {wrong} .*: start one with `ray start --head`"):
            choose_workers(8, address=wrong)


@pytest.mark.parametrize(
    ("workers", "stopping", "driver"),
    [
        (Workers(1), None, "serial"),
        (Workers(2), None, "tune"),
        (Workers(1, address="auto"), None, "tune"),
        (Workers(1), EarlyStopping(), "tune"),
    ],
)
def test_one_worker_runs_here_and_more_or_a_scheduler_on_ray_tune(
    monkeypatch: pytest.MonkeyPatch,
    session_in: MakeSession,
    tmp_path: Path,
    workers: Workers,
    stopping: EarlyStopping | None,
    driver: str,
) -> None:
    calls: list[tuple[str, Any]] = []
    stub = ModuleType("nas.tune")
    stub.run_tune = lambda *a, **k: calls.append(("tune", (a[2], k)))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nas.tune", stub)
    session = session_in(tmp_path / "run", budget=1)
    run(session, lambda architecture, seed: GOOD, workers, trial_timeout_s=5.0, stopping=stopping)
    if driver == "tune":
        assert calls == [("tune", (workers, {"trial_timeout_s": 5.0, "stopping": stopping}))]
        assert session.evaluated == 0
    else:
        assert calls == []
        assert session.finished


# The serial driver ------------------------------------------------------------------------------------------------


def test_serial_evaluates_until_the_session_is_finished(session_in: MakeSession, tmp_path: Path) -> None:
    def evaluate(architecture: Architecture, seed: int) -> Iterator[Measurement]:
        assert threading.current_thread() is threading.main_thread()
        called.append((str(architecture), seed))
        yield replace(GOOD, epoch=1)
        yield replace(GOOD, epoch=2, accuracy=0.75)

    called: list[tuple[str, int]] = []
    session = session_in(tmp_path / "run", budget=4)
    run_serial(session, evaluate)
    trials = list(session.store.trials.values())
    assert called == [(t.architecture, t.seed) for t in trials]
    assert [(t.state, t.curve) for t in trials] == [("complete", (0.5, 0.75))] * 4
    assert [e["event"] for e in session.store.events()] == ["asked", "measured", "measured", "told"] * 4
    view = pd.read_parquet(tmp_path / "run" / "trials.parquet")
    assert view["state"].tolist() == ["complete"] * 4, "the view is complete at the end"


def loops(architecture: Architecture, seed: int) -> Measurement:
    while True:
        pass


def sleeps(architecture: Architecture, seed: int) -> Measurement:
    time.sleep(60)
    return GOOD


def catches_exceptions(architecture: Architecture, seed: int) -> Measurement:
    while True:
        try:
            time.sleep(60)
        except Exception:  # noqa: BLE001 - that is what is tested
            continue


def hangs_in_the_second_epoch(architecture: Architecture, seed: int) -> Iterator[Measurement]:
    yield GOOD
    time.sleep(60)


def is_slow_throughout(architecture: Architecture, seed: int) -> Iterator[Measurement]:
    """No epoch takes too long; all together do."""
    for epoch in range(1000):
        time.sleep(0.03)
        yield replace(GOOD, epoch=epoch + 1)


@pytest.mark.parametrize("evaluate", [loops, sleeps, catches_exceptions, hangs_in_the_second_epoch, is_slow_throughout])
def test_a_candidate_out_of_time_has_failed_and_the_search_goes_on(
    session_in: MakeSession, tmp_path: Path, evaluate: Any
) -> None:
    first: list[str] = []

    def first_hangs(architecture: Architecture, seed: int) -> Any:
        if not first:
            first.append(str(architecture))
            return evaluate(architecture, seed)
        return GOOD

    session = session_in(tmp_path / "run", budget=3)
    begun = time.monotonic()
    run_serial(session, first_hangs, trial_timeout_s=0.15)
    assert time.monotonic() - begun < 10
    trials = list(session.store.trials.values())
    assert [t.state for t in trials] == ["failed", "complete", "complete"]
    assert (trials[0].failure, trials[0].reason) == ("timeout", "not done after 0.15 s")
    assert len(trials[0].curve) >= (evaluate in (hangs_in_the_second_epoch, is_slow_throughout))


def test_the_clock_of_a_candidate_stops_with_it(session_in: MakeSession, tmp_path: Path) -> None:
    session = session_in(tmp_path / "run", budget=3)
    run_serial(session, lambda architecture, seed: GOOD, trial_timeout_s=0.1)
    time.sleep(0.15)  # an alarm left set would end the tests here
    assert [t.state for t in session.store.trials.values()] == ["complete"] * 3


def test_the_store_is_not_interrupted(session_in: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_in(tmp_path / "run", budget=1)
    measured = session.measured

    def slowly(number: int, measurement: Measurement) -> None:
        time.sleep(0.2)
        measured(number, measurement)

    monkeypatch.setattr(session, "measured", slowly)
    run_serial(session, hangs_in_the_second_epoch, trial_timeout_s=0.1)
    trial = session.store.trials[0]
    assert (trial.failure, trial.curve) == ("timeout", (0.5,))


def test_a_time_limit_needs_the_main_thread(session_in: MakeSession, tmp_path: Path) -> None:
    errors: list[Exception] = []

    def elsewhere() -> None:
        try:
            run_serial(session, lambda architecture, seed: GOOD, trial_timeout_s=1.0)
        except ValueError as error:
            errors.append(error)

    session = session_in(tmp_path / "run", budget=1)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert re.match("a trial timeout needs run_serial to be called in the main thread", str(errors[0]))


def test_a_lost_gpu_ends_the_driver_and_writes_no_candidate_off(session_in: MakeSession, tmp_path: Path) -> None:
    def gpu_is_lost(architecture: Architecture, seed: int) -> Iterator[Measurement]:
        yield GOOD
        if len(session.store.trials) >= 2:
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered")

    session = session_in(tmp_path / "run", budget=4)
    with pytest.raises(OSError, match=r"the GPU must answer, .* trial 1 .*: RuntimeError: CUDA error: uncorrectable"):
        run_serial(session, gpu_is_lost)
    assert [t.state for t in session.store.trials.values()] == ["complete", "running"]
    session.store.close()
    again = session_in(tmp_path / "run", budget=4)
    run_serial(again, lambda architecture, seed: GOOD)
    trials = again.store.trials.values()
    assert [(t.state, t.attempt) for t in trials] == [("complete", 1), ("complete", 2), *[("complete", 1)] * 2]
    assert [t.curve for t in trials] == [(0.5,)] * 4, "what came before it was lost is in no curve"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_ends_the_driver_and_the_candidate_is_evaluated_on_resume(
    session_in: MakeSession, tmp_path: Path, error: type[BaseException]
) -> None:
    def interrupted(architecture: Architecture, seed: int) -> Measurement:
        if len(session.store.trials) == 2:
            raise error
        return GOOD

    session = session_in(tmp_path / "run", budget=3)
    with pytest.raises(error):
        run_serial(session, interrupted)
    session.store.close()
    again = session_in(tmp_path / "run", budget=3)
    run_serial(again, lambda architecture, seed: GOOD)
    assert [(t.state, t.attempt) for t in again.store.trials.values()] == [
        ("complete", 1),
        ("complete", 2),
        ("complete", 1),
    ]
