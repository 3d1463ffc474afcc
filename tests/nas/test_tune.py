"""Driving a session with Ray Tune: the same outcomes as alone, and whatever can happen to a worker."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from nas.controllers.random_search import RandomSearch
from nas.evaluation import Evaluate
from nas.leaders import CONFIRMATIONS
from nas.plugins import resolve
from nas.problem import Problem
from nas.ray_cluster import ray_started
from nas.reuse import by_network
from nas.reward import accuracy, bind
from nas.search import Workers, run_serial
from nas.session import SearchSession
from nas.tune import Searcher, _scratch_folder, _SessionSearcher, run_tune
from results.store import TrialStore
from results.trial import Failure, Measurement
from search_spaces import Architecture, SearchSpace

MakeSession = Callable[..., SearchSession]
Behaviour = Callable[[Architecture], Iterator[Measurement]]
TWO = Workers(2)


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """One Ray of two cores for all tests here, since to start one takes seconds; `run_tune` joins it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with ray_started(TWO):
            yield


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where Tune's scratch folders are made; none may be left after a test."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


def measured(architecture: Architecture, *, epoch: int = 1, epochs: int = 1) -> Measurement:
    """Made up from the architecture's text, and the same in every process."""
    share = int.from_bytes(hashlib.blake2b(str(architecture).encode(), digest_size=4).digest()) / 2**32
    return Measurement(accuracy=(0.5 + share / 2) * epoch / epochs, step_time=0.5 + share, epoch=epoch)


def evaluator(log: Path | None = None, behaviours: dict[str, Behaviour] | None = None) -> Evaluate:
    """An evaluator that does something else for some architectures, and notes in a file what it is called for.

    A closure, and all it calls handed in, so that it travels to workers, which cannot import this file.
    """
    measure, special = measured_by_value(), behaviours or {}

    def evaluate(architecture: Architecture, seed: int) -> Iterator[Measurement]:
        if log is not None:
            with log.open("a") as file:
                file.write(f"{os.getpid()} {architecture}\n")
        if str(architecture) in special:
            yield from special[str(architecture)](architecture)
        else:
            yield measure(architecture)

    return evaluate


def measured_by_value() -> Callable[..., Measurement]:
    """`measured` for a worker: pickled with its code, not by the name of this module."""
    code, names = measured.__code__, {"hashlib": hashlib, "Measurement": Measurement}
    function = type(measured)(code, names, "measured")
    function.__kwdefaults__ = measured.__kwdefaults__
    return function


def calls(log: Path) -> list[tuple[int, str]]:
    """The process and the architecture of each call of an evaluator."""
    return [(int(pid), text) for pid, _, text in (line.partition(" ") for line in log.read_text().splitlines())]


def first_architectures(space: SearchSpace, count: int, seed: int = 0) -> list[str]:
    """What the random controller proposes first."""
    controller = RandomSearch(space, Problem(space, bind(accuracy, {}), 32).features, seed)
    genotypes = [controller.ask() for _ in range(count)]
    return [str(space.decode(genotype)) for genotype in genotypes if genotype is not None]


def finished_frame(session: SearchSession) -> pd.DataFrame:
    """The table of a session that is over, by architecture."""
    assert not session.running
    frame = session.store.frame()
    session.store.close()
    assert not (frame["state"] == "running").any()
    return frame.set_index("architecture")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def events(session: SearchSession, kind: str, number: int) -> list[dict[str, Any]]:
    return [e for e in session.store.events() if e["event"] == kind and e.get("number") == number]


# What comes out ---------------------------------------------------------------------------------------------------


def test_outcomes_are_those_of_the_serial_driver(tmp_path: Path, session_in: MakeSession) -> None:
    alone, together = session_in(tmp_path / "alone", budget=12), session_in(tmp_path / "together", budget=12)
    log = tmp_path / "log"
    run_serial(alone, evaluator())
    run_tune(together, evaluator(log), TWO)
    expected, got = finished_frame(alone), finished_frame(together)
    assert len(got) == 12
    columns = ["reward", "accuracy", "step_time", "params", "macs", "activations", "seed", "attempt", "state"]
    pd.testing.assert_frame_equal(got.loc[expected.index, columns], expected[columns])
    assert sorted(text for _, text in calls(log)) == sorted(expected.index)  # each evaluated once
    assert len({pid for pid, _ in calls(log)}) <= 2  # the workers were used again
    view = pd.read_parquet(tmp_path / "together" / "trials.parquet")  # and the view is up to date
    assert list(view["number"]) == list(range(12))
    assert set(view["state"]) == {"complete"}


def test_what_earlier_runs_trained_reaches_no_worker(tmp_path: Path, problem: Problem, session_in: MakeSession) -> None:
    earlier = session_in(tmp_path / "earlier", budget=6)
    run_serial(earlier, evaluator())
    found = [replace(trial, reused_from=f"there#{number}") for number, trial in earlier.store.trials.items()]
    store = TrialStore.create(tmp_path / "run", {"space": problem.space.to_json()})
    controller, log = RandomSearch(problem.space, problem.features, 0), tmp_path / "log"
    session = SearchSession(problem, controller, store, budget=4, seed=0, confirm=2, earlier=by_network(found))
    run_tune(session, evaluator(log), TWO)
    first = session.store.frame()[:10]
    assert first["reused_from"].notna().tolist() == [True] * 6 + [False] * 4
    assert first["state"].eq("complete").all()
    assert session.evaluated == 4
    assert len(calls(log)) == 4 + 2 * CONFIRMATIONS
    assert not {text for _, text in calls(log)[:4]} & set(first["architecture"][:6])


def test_an_evaluator_from_a_file_travels_to_workers_that_cannot_import_it(
    tmp_path: Path, session_in: MakeSession
) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "from results.trial import Measurement\n"
        "ACCURACIES = (0.25, 0.5, 0.75)\n"
        "def accuracies():\n    return ACCURACIES\n"
        "class Evaluator:\n"
        "    def __call__(self, architecture, seed):\n"
        "        for epoch, accuracy in enumerate(accuracies(), 1):\n"
        "            yield Measurement(accuracy=accuracy, step_time=1.0, epoch=epoch)\n"
        "evaluator = Evaluator()\n"
    )
    evaluate = resolve("evaluator", f"{plugin}:evaluator", {})
    plugin.unlink()
    session = session_in(tmp_path / "run", budget=4)
    run_tune(session, evaluate, TWO)
    measurements = [[e["measurement"]["epoch"] for e in events(session, "measured", n)] for n in range(4)]
    assert measurements == [[1, 2, 3]] * 4  # every one of them is stored, in its order
    frame = finished_frame(session)
    assert list(frame["state"]) == ["complete"] * 4
    assert [list(curve) for curve in frame["curve"]] == [[0.25, 0.5, 0.75]] * 4
    assert set(frame["accuracy"]) == {0.75}


def test_an_evaluator_that_workers_cannot_import_is_said_so(
    tmp_path: Path, session_in: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("only_here")
    exec("def evaluate(architecture, seed): return None", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    session = session_in(tmp_path / "run", budget=3)
    run_tune(session, module.evaluate, TWO)
    frame = finished_frame(session)
    assert list(frame["failure"]) == ["error"] * 3
    assert frame["reason"].str.contains("cannot be loaded in a worker: .*No module named 'only_here'").all()
    assert set(frame["attempt"]) == {1}


def test_as_many_workers_run_as_are_asked_for_on_fewer_cores(tmp_path: Path, session_in: MakeSession) -> None:
    log, measure = tmp_path / "log", measured_by_value()

    def waits_for_two_others(architecture: Architecture, seed: int) -> Measurement:
        with log.open("a") as file:
            file.write(f"{architecture}\n")
        end = time.monotonic() + 60
        while len(log.read_text().splitlines()) < 3:
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(0.02)
        return measure(architecture)

    session = session_in(tmp_path / "run", budget=3)
    run_tune(session, waits_for_two_others, Workers(3, cpus=2 / 3))
    assert list(finished_frame(session)["state"]) == ["complete"] * 3


# Candidates that fail ---------------------------------------------------------------------------------------------


def test_a_failed_candidate_is_a_row_and_is_not_tried_again(tmp_path: Path, session_in: MakeSession) -> None:
    measure = measured_by_value()

    def raises(architecture: Architecture) -> Iterator[Measurement]:
        raise KeyError("stem")
        yield

    def diverges(architecture: Architecture) -> Iterator[Measurement]:
        yield measure(architecture)
        yield Measurement(accuracy=float("nan"))

    def fills_the_memory(architecture: Architecture) -> Iterator[Measurement]:
        raise MemoryError
        yield

    session, log = session_in(tmp_path / "run", budget=7), tmp_path / "log"
    bad = first_architectures(session.problem.space, 3)
    run_tune(session, evaluator(log, dict(zip(bad, (raises, diverges, fills_the_memory), strict=True))), TWO)
    frame = finished_frame(session)
    assert list(frame.loc[bad, "failure"]) == ["error", "diverged", "out_of_memory"]
    assert list(frame.loc[bad, "state"]) == ["failed"] * 3
    assert frame.loc[bad[0], "reason"] == "KeyError: 'stem'"
    assert "accuracy is nan" in frame.loc[bad[1], "reason"]
    assert list(frame.loc[bad[1], "curve"]) == [measured(Architecture.parse(bad[1])).accuracy]
    assert list(frame.drop(bad)["state"]) == ["complete"] * 4
    assert set(frame["attempt"]) == {1}
    assert sorted(text for _, text in calls(log)) == sorted(frame.index)


def test_candidates_that_hang_fail_and_their_workers_are_replaced(tmp_path: Path, session_in: MakeSession) -> None:
    measure = measured_by_value()

    def naps(architecture: Architecture) -> Iterator[Measurement]:
        while True:
            time.sleep(0.01)
        yield measure(architecture)

    def sleeps(architecture: Architecture) -> Iterator[Measurement]:
        time.sleep(600)
        yield measure(architecture)

    def goes_on_and_on(architecture: Architecture) -> Iterator[Measurement]:
        for epoch in range(1, 100):  # each of them in time, all of them together not
            time.sleep(0.3)
            yield measure(architecture, epoch=epoch, epochs=100)

    session, log = session_in(tmp_path / "run", budget=8), tmp_path / "log"
    slow = first_architectures(session.problem.space, 3)
    begun = time.monotonic()
    run_tune(
        session,
        evaluator(log, dict(zip(slow, (naps, sleeps, goes_on_and_on), strict=True))),
        TWO,
        trial_timeout_s=1.0,
    )
    assert time.monotonic() - begun < 60
    frame = finished_frame(session)
    assert list(frame.loc[slow, "state"]) == ["failed"] * 3
    assert list(frame.loc[slow, "failure"]) == ["timeout"] * 3
    assert set(frame.loc[slow, "reason"]) == {"not done after 1 s"}
    assert 1 <= len(frame.loc[slow[2], "curve"]) <= 4
    assert list(frame.drop(slow)["state"]) == ["complete"] * 5
    assert set(frame["attempt"]) == {1}
    begun_in = calls(log)
    assert sorted(text for _, text in begun_in) == sorted(frame.index)  # none was tried again
    for pid in {pid for pid, text in begun_in if text in slow}:
        assert [text for p, text in begun_in if p == pid][-1] in slow  # nothing came after it in its worker
        end = time.monotonic() + 20
        while is_alive(pid):
            assert time.monotonic() < end
            time.sleep(0.05)


def test_a_lost_worker_is_replaced_and_its_candidate_tried_again_up_to_three_times(
    tmp_path: Path, session_in: MakeSession
) -> None:
    measure, marks = measured_by_value(), tmp_path / "marks"
    marks.mkdir()

    def dies_at_first(architecture: Architecture) -> Iterator[Measurement]:
        if not (marks / "at_first").exists():
            (marks / "at_first").touch()
            os._exit(1)
        yield measure(architecture)

    def dies_halfway(architecture: Architecture) -> Iterator[Measurement]:
        yield measure(architecture, epoch=1, epochs=2)
        if not (marks / "halfway").exists():
            (marks / "halfway").touch()
            os._exit(1)
        yield measure(architecture, epoch=2, epochs=2)

    def always_dies(architecture: Architecture) -> Iterator[Measurement]:
        os._exit(1)
        yield measure(architecture)

    session, log = session_in(tmp_path / "run", budget=7), tmp_path / "log"
    bad = first_architectures(session.problem.space, 3)
    run_tune(session, evaluator(log, dict(zip(bad, (dies_at_first, dies_halfway, always_dies), strict=True))), TWO)
    attempts = [events(session, "attempted", number) for number in range(7)]
    assert [len(some) for some in attempts] == [1, 1, 2, 0, 0, 0, 0]
    assert {event["reason"] for some in attempts for event in some} == {"the worker was lost"}
    frame = finished_frame(session)
    assert list(frame.loc[bad, "state"]) == ["complete", "complete", "failed"]
    assert list(frame.loc[bad, "attempt"]) == [2, 2, 3]
    assert list(frame.loc[bad[1], "curve"]) == [
        measured(Architecture.parse(bad[1]), epoch=e, epochs=2).accuracy for e in (1, 2)
    ]
    assert frame.loc[bad[2], "failure"] == "worker_lost"
    assert "3 times" in frame.loc[bad[2], "reason"]
    good = frame.drop(bad)
    assert list(good["state"]) == ["complete"] * 4
    assert set(good["attempt"]) == {1}
    began = [text for _, text in calls(log)]
    assert [began.count(text) for text in bad] == [2, 2, 3]
    assert all(began.count(text) == 1 for text in good.index)


def test_a_worker_that_lost_its_gpu_is_replaced(tmp_path: Path, session_in: MakeSession) -> None:
    measure, mark = measured_by_value(), tmp_path / "mark"

    def loses_it_once(architecture: Architecture) -> Iterator[Measurement]:
        yield measure(architecture, epoch=1, epochs=2)
        if not mark.exists():
            mark.touch()
            raise RuntimeError("CUDA error: device-side assert triggered")
        yield measure(architecture, epoch=2, epochs=2)

    def always_loses_it(architecture: Architecture) -> Iterator[Measurement]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
        yield measure(architecture)

    session, log = session_in(tmp_path / "run", budget=7), tmp_path / "log"
    bad = first_architectures(session.problem.space, 2)
    run_tune(session, evaluator(log, dict(zip(bad, (loses_it_once, always_loses_it), strict=True))), TWO)
    attempts = [[event["reason"] for event in events(session, "attempted", number)] for number in range(7)]
    said = "RuntimeError: CUDA error: {}".format
    assert attempts[0] == [said("device-side assert triggered")]
    assert attempts[1] == [said("an illegal memory access was encountered")] * 2
    assert attempts[2:] == [[]] * 5
    frame = finished_frame(session)
    assert list(frame.loc[bad, "state"]) == ["complete", "failed"]
    assert len(frame.loc[bad[0], "curve"]) == 2
    assert frame.loc[bad[1], "failure"] == "worker_lost"
    assert frame.loc[bad[1], "reason"].endswith("lost each time; the last time: " + attempts[1][0])
    assert list(frame.drop(bad)["state"]) == ["complete"] * 5
    begun_in = calls(log)
    lost = [pid for pid, text in begun_in if text == bad[1]]
    assert len(set(lost)) == 3, "another worker each time"
    for pid in lost:
        assert [text for p, text in begun_in if p == pid][-1] == bad[1], "nothing came after it in its worker"


# The end ----------------------------------------------------------------------------------------------------------


def no_room(store: TrialStore, call: str, at: int, patch: pytest.MonkeyPatch) -> tuple[OSError, list[object]]:
    """Have a method of the store raise at one of its calls; the error, and a list that grows with each call."""
    kept, made, full = getattr(store, call), list[object](), OSError(errno.ENOSPC, "no space left")

    def fails_once(*arguments: object, **options: object) -> None:
        made.append(arguments)
        if len(made) == at:
            raise full
        kept(*arguments, **options)

    patch.setattr(store, call, fails_once)
    return full, made


def test_a_full_disk_ends_tune_and_is_raised(
    tmp_path: Path, session_in: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_in(tmp_path / "run", budget=12)
    full, told = no_room(session.store, "told", 4, monkeypatch)
    with pytest.raises(OSError, match="no space left") as caught:
        run_tune(session, evaluator(), TWO)
    assert caught.value is full
    assert len(told) == 4  # nothing was told after it
    session.store.close()
    again = session_in(tmp_path / "run", budget=12)
    run_serial(again, evaluator())
    assert set(finished_frame(again).index) == set(first_architectures(again.problem.space, 12))


def test_more_than_the_cluster_has_is_said_at_once(tmp_path: Path, session_in: MakeSession) -> None:
    session = session_in(tmp_path / "run")
    begun = time.monotonic()
    with pytest.raises(ValueError, match=r"2 workers of 0\.5 GPU each need 1; the cluster has 0: ask for fewer"):
        run_tune(session, evaluator(), Workers(2, gpus=0.5))
    with pytest.raises(ValueError, match="3 workers of 1 CPU each need 3; the cluster has 2: ask for fewer"):
        run_tune(session, evaluator(), Workers(3))
    assert time.monotonic() - begun < 5
    assert not session.running
    assert session.evaluated == 0
    session.store.close()


def test_a_stop_lets_running_candidates_end(tmp_path: Path, session_in: MakeSession) -> None:
    measure = measured_by_value()

    def evaluate(architecture: Architecture, seed: int) -> Measurement:
        time.sleep(0.4)
        return measure(architecture)

    session = session_in(tmp_path / "run", budget=30)
    running: set[int] = set()

    def stop_after_the_second() -> None:
        while session.evaluated - len(session.running) < 2:
            time.sleep(0.005)
        session.stop("interrupted")
        running.update(session.running)

    stopper = threading.Thread(target=stop_after_the_second)
    stopper.start()
    run_tune(session, evaluate, TWO)
    stopper.join()
    assert session.stopped_because == "interrupted"
    frame = finished_frame(session).set_index("number")
    assert running
    assert list(frame.loc[sorted(running), "state"]) == ["complete"] * len(running)
    assert 2 <= len(frame) <= 5


# The searcher alone -----------------------------------------------------------------------------------------------


def suggested(searcher: _SessionSearcher, name: str) -> int | str | None:
    found = searcher.suggest(name)
    return found["number"] if isinstance(found, dict) else found


def test_the_searcher_ends_when_the_space_is_exhausted(tmp_path: Path, session_in: MakeSession) -> None:
    session = session_in(tmp_path / "run", budget=40)
    searcher = _SessionSearcher(session)
    assert [suggested(searcher, str(number)) for number in range(30)] == list(range(30))
    assert searcher.suggest("more") is None  # not over: one of those that run may be lost, and begun again
    for number in range(30):
        searcher.on_trial_result(str(number), {"outcome": Measurement(accuracy=0.5, step_time=1.0)})
        searcher.on_trial_complete(str(number), {"outcome": None, "done": True})
    assert searcher.suggest("more") == Searcher.FINISHED
    assert searcher.error is None
    assert "exhausted" in str(session.stopped_because)
    assert list(finished_frame(session)["state"]) == ["complete"] * 30


def test_the_searcher_begins_a_lost_candidate_again_even_when_the_budget_is_spent(
    tmp_path: Path, session_in: MakeSession
) -> None:
    session = session_in(tmp_path / "run", budget=2)
    searcher = _SessionSearcher(session)
    assert [suggested(searcher, name) for name in "ab"] == [0, 1]
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("a", error=True)
    assert session.store.trials[0].attempt == 1  # another attempt counts from when it is begun
    assert suggested(searcher, "c") == 0
    assert session.store.trials[0].attempt == 2
    searcher.on_trial_complete("c", error=True)
    assert suggested(searcher, "d") == 0
    searcher.on_trial_complete("d", error=True)
    assert session.store.trials[0].failure == "worker_lost"
    assert searcher.suggest("e") is None
    searcher.on_trial_complete("b", {"outcome": Failure("error", "no good"), "done": True})
    assert searcher.suggest("e") == Searcher.FINISHED
    assert list(finished_frame(session)["attempt"]) == [3, 1]


def test_the_searcher_begins_nothing_again_once_a_stop_is_asked_for(tmp_path: Path, session_in: MakeSession) -> None:
    session = session_in(tmp_path / "run", budget=4)
    searcher = _SessionSearcher(session)
    assert suggested(searcher, "a") == 0
    session.stop("interrupted")
    searcher.on_trial_complete("a", error=True)
    assert searcher.suggest("b") == Searcher.FINISHED
    assert session.running == {0}  # a resumed search begins it again
    session.store.close()
    assert session_in(tmp_path / "run", budget=4).ask().number == 0


@pytest.mark.parametrize("call", ["asked", "attempted", "measured", "told"])
def test_the_searcher_keeps_the_first_error_of_the_store_and_ends(
    call: str, tmp_path: Path, session_in: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_in(tmp_path / "run", budget=4)
    full, made = no_room(session.store, call, 1, monkeypatch)
    searcher = _SessionSearcher(session)
    searcher.suggest("a")
    if call != "asked":
        searcher.on_trial_result("a", {"outcome": Measurement(accuracy=0.5, step_time=1.0)})
        searcher.on_trial_complete("a", {"outcome": None, "done": True}, error=call == "attempted")
    assert searcher.suggest("b") == Searcher.FINISHED
    assert searcher.error is full
    assert len(made) == 1
    session.store.close()


def test_scratch_folders_are_removed_once_nobody_uses_them(scratch: Path) -> None:
    dead, alive, unmade = (scratch / f"nas-tune-{name}" for name in ("dead", "alive", "unmade"))
    for folder in (dead, alive):
        folder.mkdir()
        (folder / "lock").touch()
        (folder / "search").mkdir()
    unmade.mkdir()
    with (alive / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _scratch_folder() as made:
            assert made.parent == scratch
            (made / "search").mkdir()
            assert sorted(scratch.iterdir()) == sorted([alive, made, unmade])
            with _scratch_folder() as other:
                assert made.exists()
                assert other != made
        assert sorted(scratch.iterdir()) == sorted([alive, unmade])
    with pytest.raises(KeyError), _scratch_folder():
        raise KeyError
    assert list(scratch.iterdir()) == [unmade]
    unmade.rmdir()


def test_a_ray_that_does_not_start_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("Failed to start GCS.\nsee the logs")

    from nas import ray_cluster as driver

    monkeypatch.setattr(driver.ray, "init", broken)
    monkeypatch.setattr(driver.ray, "shutdown", lambda: None)
    with pytest.raises(ConnectionError, match=r"Ray could not be started: Failed to start GCS.*--workers 1"):
        driver._start_ray(driver.Workers(2), None)
