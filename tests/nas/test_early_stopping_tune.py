"""Searches on Ray Tune that stop candidates early: who is stopped, what is told, and how they are taken up again."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas import tune as driver
from nas.controllers.random_search import RandomSearch
from nas.early_stopping import SessionScheduler
from nas.evaluation import Evaluate
from nas.leaders import CONFIRMATIONS
from nas.problem import Problem
from nas.ray_cluster import ray_started
from nas.reward import accuracy, bind
from nas.search import EarlyStopping, Workers, run, run_serial
from nas.session import SearchSession
from nas.tune import Searcher, _SessionSearcher, run_tune
from results.analysis import best_network, saving
from results.store import TrialStore
from results.trial import Measurement, Trial
from search_spaces import Architecture, Genotype

EPOCHS = 9
NINE = EarlyStopping(epochs=EPOCHS, stop_by="accuracy")
TWO = Workers(2)

Curve = Callable[[Architecture, int], Measurement]
Behaviour = Callable[[Architecture], Iterator[Measurement]]


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """One Ray of two cores for all tests here, since to start one takes seconds; `run_tune` joins it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with ray_started(TWO):
            yield


@pytest.fixture
def schedulers(monkeypatch: pytest.MonkeyPatch) -> list[SessionScheduler]:
    """The schedulers that searches make, and in `first` the rungs that each began with."""
    made: list[SessionScheduler] = []

    class Kept(SessionScheduler):
        def __init__(self, session: SearchSession, stopping: EarlyStopping) -> None:
            super().__init__(session, stopping)
            self.first = {m: dict(rung) for m, rung in self.rungs.items()}
            made.append(self)

    monkeypatch.setattr(driver, "SessionScheduler", Kept)
    return made


class Recorded(RandomSearch):
    """Random search that keeps what it is told."""

    told: list[Trial]

    def tell(self, trial: Trial) -> None:
        self.__dict__.setdefault("told", []).append(trial)
        super().tell(trial)


Make = Callable[..., SearchSession]


@pytest.fixture
def make(problem: Problem) -> Make:
    """A session whose reward is the accuracy, new or opened again."""
    rewarded = replace(problem, reward=bind(accuracy, {}))

    def session(folder: Path, *, budget: int = 27, confirm: int = 0) -> SearchSession:
        if folder.exists():
            store = TrialStore.open(folder, writing=True)
        else:
            store = TrialStore.create(folder, {"space": problem.space.to_json()})
        controller = Recorded(problem.space, problem.features, 0)
        return SearchSession(rewarded, controller, store, budget=budget, seed=0, confirm=confirm)

    return session


def curves() -> Curve:
    """Curves that do not cross; travels to workers, which cannot import this file."""

    def measured(architecture: Architecture, epoch: int) -> Measurement:
        import hashlib

        share = int.from_bytes(hashlib.blake2b(str(architecture).encode(), digest_size=4).digest()) / 2**32
        return Measurement(
            accuracy=(0.2 + 0.7 * share) * (1 - 0.5**epoch), epoch=epoch, step_time=1.0, train_time_s=2.0 * epoch
        )

    return measured


def evaluator(log: Path | None = None, behaviours: dict[str, Behaviour] | None = None) -> Evaluate:
    """Nine epochs of every network, or something else for some; notes its beginning, epochs and end in a file."""
    measured, special, epochs = curves(), behaviours or {}, EPOCHS

    def note(what: str, architecture: Architecture) -> None:
        if log is not None:
            with log.open("a") as file:
                file.write(f"{os.getpid()} {threading.get_ident()} {what} {architecture}\n")

    def evaluate(architecture: Architecture, seed: int) -> Iterator[Measurement]:
        note("begin", architecture)
        try:
            if str(architecture) in special:
                yield from special[str(architecture)](architecture)
                return
            for epoch in range(1, epochs + 1):
                note("epoch", architecture)
                yield measured(architecture, epoch)
        finally:
            note("end", architecture)

    return evaluate


def noted(log: Path) -> list[list[str]]:
    """Process, thread, what and architecture of every note."""
    return [line.split(" ") for line in log.read_text().splitlines()]


def first_architectures(session: SearchSession, count: int) -> list[str]:
    controller = RandomSearch(session.problem.space, session.problem.features, 0)
    genotypes = [controller.ask() for _ in range(count)]
    return [str(session.problem.space.decode(genotype)) for genotype in genotypes if genotype is not None]


def trials_of(session: SearchSession) -> list[Trial]:
    return list(session.store.trials.values())


def should_be_stopped(store: TrialStore, *, factor: float = 3.0, epochs: int = EPOCHS) -> set[int]:
    """Whom ASHA stops, by the journal's measurements in their order: those of a store without lost attempts."""
    rungs: dict[int, list[float]] = {1: [], 3: []}
    seen: dict[int, int] = {}
    stopped = set()
    for event in store.events():
        if event["event"] != "measured" or store.trials[event["number"]].replicate:
            continue
        number, top1 = event["number"], event["measurement"]["accuracy"]
        seen[number] = epoch = seen.get(number, 0) + 1
        if epoch in rungs:
            if rungs[epoch] and top1 < np.percentile(rungs[epoch], 100 * (1 - 1 / factor)):
                stopped.add(number)
            rungs[epoch].append(top1)
    return stopped


# Who is stopped ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [Workers(1), TWO])
def test_poor_candidates_are_stopped_and_the_best_is_found_all_the_same(
    tmp_path: Path, make: Make, workers: Workers, schedulers: list[SessionScheduler]
) -> None:
    log = tmp_path / "log"
    whole, session = make(tmp_path / "whole"), make(tmp_path / "run")
    run_serial(whole, evaluator())
    run(session, evaluator(log), workers, stopping=NINE)
    assert session.finished
    assert session.evaluated == 27
    trials = trials_of(session)
    stopped = {t.number for t in trials if t.state == "stopped"}
    assert stopped == should_be_stopped(session.store)
    assert len(stopped) > 9
    for trial in trials:
        if trial.state == "stopped":
            assert len(trial.curve) in (1, 3)
            assert (trial.reward, trial.failure, trial.hypervolume) == (None, None, None)
            assert trial.measurement is not None
            assert (trial.measurement.epoch, trial.measurement.accuracy) == (len(trial.curve), trial.curve[-1])
        else:
            assert (trial.state, len(trial.curve)) == ("complete", EPOCHS)
    told = {trial.number: trial for trial in session._controller.told}  # type: ignore[attr-defined]
    assert told == session.store.trials, "the controller is told each as it stands in the store, and once"
    assert len(session._controller.told) == 27  # type: ignore[attr-defined]
    epochs = [note for note in noted(log) if note[2] == "epoch"]
    frame = session.store.frame()
    saved = saving(frame, EPOCHS)
    assert len(epochs) == sum(len(t.curve) for t in trials) == saved.epochs
    assert saved.epochs < 0.75 * saved.epochs_without == 0.75 * 27 * EPOCHS
    assert saved.saved_s == pytest.approx(2.0 * (saved.epochs_without - saved.epochs))
    ours, theirs = best_network(frame), best_network(whole.store.frame())
    assert ours is not None
    assert theirs is not None
    assert (ours.reward, ours.number) == (theirs.reward, theirs.number)
    assert schedulers[0].rungs == SessionScheduler(session, NINE).rungs
    whole.store.close()
    session.store.close()


def test_a_stopped_candidate_is_closed_in_its_thread_before_its_worker_goes_on(tmp_path: Path, make: Make) -> None:
    log, session = tmp_path / "log", make(tmp_path / "run", budget=16)
    run_tune(session, evaluator(log), TWO, stopping=NINE)
    assert sum(t.state == "stopped" for t in trials_of(session)) >= 4
    session.store.close()
    notes = noted(log)
    assert len({pid for pid, *_ in notes}) <= 2, "the workers were used again"
    for pid in {pid for pid, *_ in notes}:
        assert len({thread for p, thread, *_ in notes if p == pid}) == 1
        turns = [(what, text) for p, _, what, text in notes if p == pid and what != "epoch"]
        assert [what for what, _ in turns] == ["begin", "end"] * (len(turns) // 2)
        assert all(begun[1] == ended[1] for begun, ended in zip(turns[::2], turns[1::2], strict=True))
    assert sum(what == "begin" for _, _, what, _ in notes) == 16


def test_a_network_that_was_stopped_answers_its_repeats(tmp_path: Path, make: Make, problem: Problem) -> None:
    session = make(tmp_path / "run", budget=4)
    networks = [problem.space.genotype_at(i) for i in range(problem.space.size)]
    order = sorted(networks, key=lambda g: -curves()(problem.space.decode(g), 1).accuracy)[:4]
    proposals: list[Genotype] = [*order[:2], order[1], *order[2:]]
    session._controller.ask = lambda: proposals.pop(0) if proposals else None  # type: ignore[method-assign]
    run(session, evaluator(), Workers(1), stopping=NINE)
    trials = trials_of(session)
    assert [t.state for t in trials] == ["complete", "stopped", "repeat", "stopped", "stopped"]
    assert (trials[2].repeat_of, trials[2].reward, trials[2].curve) == (1, None, trials[1].curve)
    session.store.close()


def test_leaders_are_trained_again_to_their_ends(
    tmp_path: Path, make: Make, schedulers: list[SessionScheduler]
) -> None:
    session = make(tmp_path / "run", budget=12, confirm=4)
    measured, firsts = curves(), dict[str, int]()  # of the one worker

    def worse_the_second_time(architecture: Architecture, seed: int) -> Iterator[Measurement]:
        known = firsts.setdefault(str(architecture), seed)
        for epoch in range(1, 10):
            found = measured(architecture, epoch)
            yield found if seed == known else replace(found, accuracy=found.accuracy / 100)

    run(session, worse_the_second_time, Workers(1), stopping=NINE)
    again = [t for t in trials_of(session) if t.replicate]
    complete = sum(t.state == "complete" and not t.replicate for t in trials_of(session))
    assert len(again) == CONFIRMATIONS * min(4, complete)
    assert {(t.state, len(t.curve)) for t in again} == {("complete", EPOCHS)}
    assert max(t.measurement.accuracy for t in again if t.measurement) < 0.01
    numbers = {number for rung in schedulers[0].rungs.values() for number in rung}
    assert numbers == {t.number for t in trials_of(session) if not t.replicate}
    session.store.close()


def test_by_reward_the_best_is_found_where_accuracy_alone_would_stop_it(
    tmp_path: Path, make: Make, problem: Problem
) -> None:
    """The more accurate a network, the slower it is: the best reward has the lowest accuracy."""
    measured = curves()

    def evaluate(architecture: Architecture, seed: int) -> Iterator[Measurement]:
        for epoch in range(1, 10):
            found = measured(architecture, epoch)
            slow = 10 ** (4 * measured(architecture, 9).accuracy)
            yield replace(found, step_time=slow**10)

    best = {}
    for stopping in (None, NINE, replace(NINE, stop_by="reward")):
        session = make(tmp_path / f"run{len(best)}", budget=20)
        session.problem = problem  # whose reward is A·S^w·P^v
        run(session, evaluate, Workers(1), stopping=stopping)
        assert session.best is not None
        best[stopping and stopping.stop_by] = session.best.number
        session.store.close()
    assert best["reward"] == best[None] != best["accuracy"]


def test_one_measurement_leaves_nothing_to_stop(tmp_path: Path, make: Make) -> None:
    measured = curves()
    session = make(tmp_path / "run", budget=12)
    run(session, lambda architecture, seed: measured(architecture, 9), TWO, stopping=EarlyStopping(grace_epochs=2))
    assert {t.state for t in trials_of(session)} == {"complete"}
    assert saving(session.store.frame()).stopped == 0
    session.store.close()


# Candidates that fail ---------------------------------------------------------------------------------------------


def test_failures_are_what_they_are_without_a_scheduler(
    tmp_path: Path, make: Make, schedulers: list[SessionScheduler]
) -> None:
    measured, lost = curves(), tmp_path / "lost"

    def raises_halfway(architecture: Architecture) -> Iterator[Measurement]:
        yield replace(measured(architecture, 1), accuracy=0.9)
        raise KeyError("stem")

    def diverges(architecture: Architecture) -> Iterator[Measurement]:
        yield replace(measured(architecture, 1), accuracy=0.9)
        yield Measurement(accuracy=float("nan"))

    def sleeps(architecture: Architecture) -> Iterator[Measurement]:
        yield replace(measured(architecture, 1), accuracy=0.9)
        time.sleep(600)

    def dies_once(architecture: Architecture) -> Iterator[Measurement]:
        yield replace(measured(architecture, 1), accuracy=0.9)
        if not lost.exists():
            lost.touch()
            os._exit(1)
        for epoch in range(2, 10):
            yield measured(architecture, epoch)

    session, log = make(tmp_path / "run", budget=12), tmp_path / "log"
    bad = first_architectures(session, 4)
    behaviours = dict(zip(bad, (raises_halfway, diverges, sleeps, dies_once), strict=True))
    run_tune(session, evaluator(log, behaviours), TWO, trial_timeout_s=4.0, stopping=NINE)
    trials = trials_of(session)
    assert session.finished
    assert [(t.state, t.failure, len(t.curve)) for t in trials[:3]] == [
        ("failed", "error", 1),
        ("failed", "diverged", 1),
        ("failed", "timeout", 1),
    ]
    assert trials[3].attempt == 2
    assert {t.state for t in trials[4:]} <= {"complete", "stopped"}
    assert {t.attempt for t in trials[4:]} == {1}
    assert schedulers[0].rungs == SessionScheduler(session, NINE).rungs
    assert [schedulers[0].rungs[1][number] for number in range(4)] == [0.9] * 4
    session.store.close()


def test_a_stopped_candidate_that_does_not_close_costs_its_worker_alone(tmp_path: Path, make: Make) -> None:
    measured = curves()

    def hangs_on_closing(architecture: Architecture) -> Iterator[Measurement]:
        try:
            yield replace(measured(architecture, 1), accuracy=0.0)
        finally:
            time.sleep(600)

    session, log = make(tmp_path / "run", budget=5), tmp_path / "log"
    second = first_architectures(session, 2)[1]
    run(session, evaluator(log, {second: hangs_on_closing}), Workers(1), trial_timeout_s=1.0, stopping=NINE)
    trials = trials_of(session)
    assert trials[1].state == "stopped"
    assert {t.state for t in trials} == {"complete", "stopped"}
    assert [t.attempt for t in trials] == [1, 1, 2, 1, 1], "the one after it was begun again in a new worker"
    session.store.close()


def test_a_stop_that_is_asked_for_lets_running_candidates_end_or_be_stopped(tmp_path: Path, make: Make) -> None:
    measured = curves()

    def evaluate(architecture: Architecture, seed: int) -> Iterator[Measurement]:
        for epoch in range(1, 10):
            time.sleep(0.02)
            yield measured(architecture, epoch)

    session = make(tmp_path / "run", budget=30)

    def stop_after_the_second() -> None:
        while session.evaluated - len(session.running) < 2:
            time.sleep(0.005)
        session.stop("interrupted")

    stopper = threading.Thread(target=stop_after_the_second)
    stopper.start()
    run_tune(session, evaluate, TWO, stopping=NINE)
    stopper.join()
    assert session.stopped_because == "interrupted"
    assert not session.running
    assert {t.state for t in trials_of(session)} <= {"complete", "stopped"}
    assert 2 <= len(trials_of(session)) <= 6
    session.store.close()


# The searcher alone -----------------------------------------------------------------------------------------------


def test_the_searcher_tells_a_stopped_candidate_from_one_that_ended(tmp_path: Path, make: Make) -> None:
    session = make(tmp_path / "run", budget=2)
    searcher = _SessionSearcher(session)
    first, second = (Measurement(accuracy=a, step_time=1.0) for a in (0.25, 0.5))
    for name in "ab":
        searcher.suggest(name)
        searcher.on_trial_result(name, {"outcome": first, "done": False})
    searcher.on_trial_complete("a", {"outcome": second, "done": True})  # not given to on_trial_result before
    searcher.on_trial_complete("b", {"outcome": None, "done": True})
    assert [(t.state, t.curve, t.reward) for t in trials_of(session)] == [
        ("stopped", (0.25, 0.5), None),
        ("complete", (0.25,), 0.25),
    ]
    session.store.close()


@pytest.mark.parametrize("call", ["measured", "told"])
def test_a_full_disk_when_a_candidate_is_stopped_ends_the_search(
    call: str, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, full = make(tmp_path / "run", budget=4), OSError(errno.ENOSPC, "no space left")

    def fails(*arguments: object, **options: object) -> None:
        raise full

    searcher = _SessionSearcher(session)
    searcher.suggest("a")
    monkeypatch.setattr(session.store, call, fails)
    searcher.on_trial_complete("a", {"outcome": Measurement(accuracy=0.5, step_time=1.0), "done": True})
    assert searcher.suggest("b") == Searcher.FINISHED
    assert searcher.error is full
    session.store.close()
    again = make(tmp_path / "run", budget=4)
    assert trials_of(again)[0].state == "running", "nothing is told by halves"
    again.store.close()


# Taken up again ---------------------------------------------------------------------------------------------------


def test_a_resumed_search_has_the_rungs_of_the_one_before(
    tmp_path: Path, make: Make, schedulers: list[SessionScheduler]
) -> None:
    for budget in (10, 20):
        session = make(tmp_path / "run", budget=budget)
        run_tune(session, evaluator(), TWO, stopping=NINE)
        session.store.close()
    before, after = schedulers
    assert after.first == before.rungs  # type: ignore[attr-defined]
    assert len(after.first[1]) == 10  # type: ignore[attr-defined]
    assert len(after.rungs[1]) == 20
    stopped = {t.number for t in trials_of(session) if t.state == "stopped"}
    assert stopped == should_be_stopped(session.store), "as if it had never ended"


def test_a_search_may_be_resumed_with_a_scheduler_or_without(
    tmp_path: Path, make: Make, schedulers: list[SessionScheduler]
) -> None:
    for budget, stopping in ((6, None), (14, NINE), (20, None)):
        session = make(tmp_path / "run", budget=budget)
        run(session, evaluator(), Workers(1), stopping=stopping)
        session.store.close()
    trials = trials_of(session)
    assert {t.state for t in trials[:6]} == {t.state for t in trials[14:]} == {"complete"}
    assert "stopped" in {t.state for t in trials[6:14]}
    assert sorted(schedulers[0].first[1]) == [*range(6)]  # type: ignore[attr-defined]
    assert len(schedulers) == 1


SCRIPT = """
import json, sys, time
from pathlib import Path

from nas import tune as driver
from nas.controllers.random_search import RandomSearch
from nas.early_stopping import SessionScheduler
from nas.problem import Problem
from nas.reward import accuracy, bind
from nas.search import EarlyStopping, Workers
from nas.session import SearchSession
from results.store import TrialStore
from results.trial import Measurement
from search_spaces import SearchSpace

folder, rungs = Path(sys.argv[1]), Path(sys.argv[2])


class Dumped(SessionScheduler):
    def on_trial_result(self, tune_controller, trial, result):
        decision = super().on_trial_result(tune_controller, trial, result)
        with rungs.open("a") as file:
            file.write(json.dumps([[m, sorted(rung.items())] for m, rung in self.rungs.items()]) + "\\n")
        return decision


def evaluate(architecture, seed):
    import hashlib, os
    share = int.from_bytes(hashlib.blake2b(str(architecture).encode(), digest_size=4).digest()) / 2**32
    for epoch in range(1, 10):
        time.sleep(0.02)
        noise = int.from_bytes(os.urandom(2)) / 2**16 / 100  # so that an attempt does not repeat another
        yield Measurement(accuracy=(0.2 + 0.7 * share) * (1 - 0.5**epoch) + noise, epoch=epoch, step_time=1.0)


driver.SessionScheduler = Dumped
store = TrialStore.open(folder, writing=True)
space = SearchSpace.from_json(store.configuration["space"])
problem = Problem(space, bind(accuracy, {}), 16, num_classes=10)
controller = RandomSearch(space, problem.features, 0)
session = SearchSession(problem, controller, store, budget=16, seed=0)
driver.run_tune(session, evaluate, Workers(2), stopping=EarlyStopping(epochs=9))
store.close()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds left-over processes in /proc")
def test_rungs_survive_kill_9(tmp_path: Path, make: Make) -> None:
    folder, dumped, script = tmp_path / "run", tmp_path / "rungs", tmp_path / "script.py"
    make(folder).store.close()
    script.write_text(SCRIPT)
    for kill_after in (5, None):
        with tempfile.TemporaryDirectory(prefix="nas-", ignore_cleanup_errors=True) as scratch:
            ended = go(script, folder, dumped, scratch, kill_after)
        assert ended == (kill_after is None)
        lines = dumped.read_text().splitlines()
        last: dict[float, dict[int, float]] = {m: dict(rung) for m, rung in json.loads(lines[-1])}
        session = make(folder)
        session.store.close()
        rebuilt = SessionScheduler(session, NINE).rungs
        ahead = [(m, n) for m, rung in last.items() for n in rung.keys() - rebuilt[m].keys()]
        assert len(ahead) <= (kill_after is not None), "the measurement of the moment may not be in the journal yet"
        for milestone, rung in rebuilt.items():
            assert rung == {n: a for n, a in last[milestone].items() if (milestone, n) not in ahead}
    trials = TrialStore.open(folder).trials.values()
    assert {t.state for t in trials} == {"complete", "stopped"}
    assert len(trials) == 16
    assert max(t.attempt for t in trials) > 1, "the kills did hit some"


def go(script: Path, folder: Path, dumped: Path, scratch: str, kill_after: int | None) -> bool:
    """Run the script until so many more trials are told, then kill it and all its processes; whether it ended."""
    environment = {**os.environ, "TMPDIR": scratch}
    environment.pop("RAY_ADDRESS", None)
    journal = folder / "journal.jsonl"
    wanted = journal.read_bytes().count(b'"event":"told"') + (kill_after or 1000)
    with (folder.parent / "errors").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, script, folder, dumped], env=environment, start_new_session=True, stderr=errors
        )
        end = time.monotonic() + 120
        while process.poll() is None and journal.read_bytes().count(b'"event":"told"') < wanted:
            assert time.monotonic() < end, "the search does not get on"
            time.sleep(0.01)
        ended = process.poll() == 0
        process.kill()
        process.wait()
        for pid in session_members(process.pid):  # what Ray leaves of this search
            os.kill(pid, signal.SIGKILL)
    assert ended or process.returncode == -signal.SIGKILL, (folder.parent / "errors").read_text()
    return ended


def session_members(leader: int) -> Iterator[int]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == leader and state != "Z":
            yield int(stat.parent.name)
