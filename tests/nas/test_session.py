"""The session: what counts, what is told and when, when it ends, and that it is resumed exactly."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from nas.controllers import CONTROLLERS, Controller
from nas.problem import Problem
from nas.reward import bind, training_aware
from nas.search import run_serial
from nas.session import MAX_KNOWN_IN_A_ROW, SearchSession, trial_seed
from results.journal import Event, Journal
from results.store import TrialStore
from results.trial import Failure, Measurement, Trial
from search_spaces import Architecture, Genotype, SearchSpace

pytestmark = pytest.mark.usefixtures("_unsynced")

MakeSession = Callable[..., SearchSession]
GOOD = Measurement(accuracy=0.5, step_time=1.0)


class Scripted:
    """Proposes what it is given, in order, then nothing; keeps what it is told."""

    def __init__(self, proposals: Sequence[Any]) -> None:
        self.proposals = list(proposals)
        self.told: list[Trial] = []

    def ask(self) -> Genotype | None:
        return self.proposals.pop(0) if self.proposals else None

    def tell(self, trial: Trial) -> None:
        self.told.append(trial)


class Climber:
    """Learns: each proposal depends on every tell before it, and many are repeats."""

    def __init__(self, space: SearchSpace, features: object, seed: int) -> None:
        self._space, self._rng = space, np.random.default_rng(seed)
        self._best: tuple[float, Genotype] | None = None

    def ask(self) -> Genotype | None:
        if self._best is None or self._rng.random() < 0.3:
            return self._space.sample(self._rng)
        return self._space.mutate(self._best[1], self._rng)

    def tell(self, trial: Trial) -> None:
        self._rng = np.random.default_rng([int(self._rng.integers(2**32)), trial.number, trial.state == "failed"])
        if trial.reward is not None and (self._best is None or trial.reward > self._best[0]):
            self._best = (trial.reward, trial.genotype)


def digest(architecture: Architecture) -> int:
    return int.from_bytes(hashlib.blake2b(str(architecture).encode(), digest_size=6).digest())


def table(architecture: Architecture, seed: int) -> Iterator[Measurement]:
    """As a table of trained networks that failed in several ways would have it."""
    number = digest(architecture)
    if number % 7 == 0:
        raise ValueError(f"the table does not hold {architecture}")
    yield Measurement(accuracy=(number % 97 + 1) / 100, step_time=1 + seed % 13 / 7)
    if number % 7 == 1:
        raise MemoryError("no more")
    accuracy = float("nan") if number % 7 == 2 else (number % 89 + 1) / 90
    yield Measurement(accuracy=accuracy, epoch=2, step_time=1 + seed % 11 / 7, params=None if number % 2 else 12345)


def genotypes(space: SearchSpace, count: int) -> list[Genotype]:
    return [space.genotype_at(number) for number in range(count)]


def kinds(session: SearchSession) -> list[str]:
    return [event["event"] for event in session.store.events()]


def states(session: SearchSession) -> list[str]:
    return [t.state for _, t in sorted(session.store.trials.items())]


# What counts, and what is told ----------------------------------------------------------------------------------


def test_budget_counts_what_is_evaluated_failed_or_not(
    space: SearchSpace, problem: Problem, session_in: MakeSession, tmp_path: Path
) -> None:
    a, b, c, d = genotypes(space, 4)
    large = max(genotypes(space, space.size), key=lambda g: problem.cost(space.decode(g)).params)
    limited = replace(problem, limits={"params": problem.cost(space.decode(large)).params - 1})
    controller = Scripted([a, a, large, b, b, a, large, c, d])
    session = session_in(tmp_path / "run", controller=controller, budget=3, problem=limited)
    evaluated: list[str] = []

    def evaluate(architecture: Architecture, seed: int) -> Measurement:
        evaluated.append(str(architecture))
        if architecture == space.decode(b):
            raise RuntimeError("no")
        return GOOD

    run_serial(session, evaluate)
    assert evaluated == [str(space.decode(g)) for g in (a, b, c)]
    assert session.evaluated == 3
    assert session.finished
    assert session.stopped_because is None
    expected = ["complete", "repeat", "infeasible", "failed", "repeat", "repeat", "infeasible", "complete"]
    assert states(session) == [t.state for t in controller.told] == expected
    assert controller.proposals == [d], "nothing is asked for past the budget"


def test_a_proposal_over_a_limit_is_told_with_the_limit_and_never_evaluated(
    space: SearchSpace, problem: Problem, session_in: MakeSession, tmp_path: Path
) -> None:
    controller = Scripted(genotypes(space, 2))
    limited = replace(problem, limits={"macs": 1, "params": 1})
    session = session_in(tmp_path / "run", controller=controller, problem=limited)
    assert session.ask() is None
    macs = problem.cost(space.decode(space.genotype_at(0))).macs
    assert controller.told[0] == session.store.trials[0]
    assert controller.told[0].state == "infeasible"
    assert controller.told[0].reason == f"macs {macs} is over the limit of 1"
    assert controller.told[0].reward is controller.told[0].measurement is None
    assert kinds(session) == ["asked", "told"] * 2


@pytest.mark.parametrize("outcome", ["complete", "failed", "stopped"])
def test_a_repeat_is_answered_from_the_store_at_once(
    space: SearchSpace, session_in: MakeSession, tmp_path: Path, outcome: str
) -> None:
    a, b = genotypes(space, 2)
    controller = Scripted([a, a, b])
    session = session_in(tmp_path / "run", controller=controller)
    first = session.ask()
    assert first is not None
    session.measured(first.number, GOOD)
    failure = Failure("timeout", "not done after 3 s") if outcome == "failed" else None
    original = session.tell(first.number, failure, stopped=outcome == "stopped")
    assert original.state == outcome
    assert (original.reward is None) == (outcome != "complete")
    third = session.ask()
    assert third is not None
    assert third.number == 2
    repeat = controller.told[1]
    assert repeat == session.store.trials[1]
    assert (repeat.state, repeat.repeat_of, repeat.number) == ("repeat", 0, 1)
    for name in ("reward", "failure", "reason", "measurement", "curve", "architecture", "seed"):
        assert getattr(repeat, name) == getattr(original, name), name


def test_a_repeat_of_a_running_trial_is_answered_when_that_ends(
    space: SearchSpace, session_in: MakeSession, tmp_path: Path
) -> None:
    a, b, c = genotypes(space, 3)
    controller = Scripted([a, a, b, a, c])
    session = session_in(tmp_path / "run", controller=controller, budget=3)
    running = [session.ask(), session.ask(), session.ask()]
    assert [t.number for t in running if t] == [0, 2, 4]
    assert controller.told == []
    session.tell(2, Failure("error", "no"))
    assert [t.number for t in controller.told] == [2]
    session.measured(0, GOOD)
    session.tell(0)
    assert [t.number for t in controller.told] == [2, 0, 1, 3]
    assert [t.reward for t in controller.told[1:]] == [controller.told[1].reward] * 3
    assert not session.finished, "the last is still running"
    session.tell(4, Failure("error", "no"))
    assert session.finished


def test_store_comes_first_and_tell_second(space: SearchSpace, session_in: MakeSession, tmp_path: Path) -> None:
    class Looking(Scripted):
        def tell(self, trial: Trial) -> None:
            lines = (tmp_path / "run" / "journal.jsonl").read_text().splitlines()
            seen.append([json.loads(line)["event"] for line in lines])

    seen: list[list[str]] = []
    session = session_in(tmp_path / "run", controller=Looking(genotypes(space, 1)), budget=1)
    trial = session.ask()
    assert trial is not None
    assert kinds(session) == ["asked"], "before any work starts"
    session.measured(trial.number, GOOD)
    session.tell(trial.number)
    assert seen == [["asked", "measured", "told"]]


def test_a_journal_line_holds_what_was_known_at_the_ask(
    space: SearchSpace, problem: Problem, session_in: MakeSession, tmp_path: Path
) -> None:
    session = session_in(tmp_path / "run", controller=Scripted(genotypes(space, 1)), seed=7)
    session.ask()
    (event,) = session.store.events()
    architecture = str(space.decode(space.genotype_at(0)))
    assert event["architecture"] == architecture
    assert event["genotype"] == list(space.genotype_at(0))
    assert event["features"] == problem.features(space.genotype_at(0)).tolist()
    assert event["seed"] == trial_seed(7, architecture, 0)
    assert event["state"] == "running"


def test_best_is_the_first_of_the_highest_reward(space: SearchSpace, session_in: MakeSession, tmp_path: Path) -> None:
    session = session_in(tmp_path / "run", controller=Scripted(genotypes(space, 5)), budget=4)
    for accuracy in (0.2, 0.9, None, 0.9):
        trial = session.ask()
        assert trial is not None
        if accuracy is not None:  # of equal cost, so that accuracy alone decides
            session.measured(trial.number, Measurement(accuracy=accuracy, step_time=1.0, params=100))
        session.tell(trial.number, None if accuracy else Failure("error", "no"))
    assert session.best is not None
    assert session.best.number == 1
    session.store.close()
    again = session_in(tmp_path / "run", controller=Scripted(genotypes(space, 5)), budget=4)
    assert again.best == session.best
    assert again.finished


def test_costs_are_filled_in_where_the_evaluator_gives_none(
    space: SearchSpace, problem: Problem, session_in: MakeSession, tmp_path: Path
) -> None:
    session = session_in(tmp_path / "run", controller=Scripted(genotypes(space, 1)))
    session.ask()
    session.measured(0, Measurement(accuracy=0.5, step_time=2.0, macs=77))
    told = session.tell(0)
    assert told.measurement is not None
    known = problem.cost(space.decode(space.genotype_at(0)))
    assert (told.measurement.params, told.measurement.macs) == (known.params, 77)
    assert told.reward == training_aware(0.5, 2.0, known.params / problem.anchor.params)


def test_a_stopped_trial_has_its_curve_and_no_reward(
    space: SearchSpace, session_in: MakeSession, tmp_path: Path
) -> None:
    session = session_in(tmp_path / "run", controller=Scripted(genotypes(space, 1)), budget=1)
    session.ask()
    for epoch in (1, 2):
        session.measured(0, Measurement(accuracy=epoch / 4, epoch=epoch, step_time=1.0))
    told = session.tell(0, stopped=True)
    assert (told.state, told.reward, told.curve, told.failure) == ("stopped", None, (0.25, 0.5), None)
    assert session.best is None
    assert session.finished


# What goes wrong with a candidate -------------------------------------------------------------------------------


def test_a_measurement_that_is_no_number_is_a_divergence(session_in: MakeSession, tmp_path: Path) -> None:
    session = session_in(tmp_path / "run", budget=1)
    run_serial(session, lambda architecture, seed: Measurement(accuracy=float("nan")))
    trial = session.store.trials[0]
    assert (trial.state, trial.failure, trial.reason) == ("failed", "diverged", "accuracy is nan")
    assert session.best is None


def test_an_evaluator_that_measures_nothing_has_failed(session_in: MakeSession, tmp_path: Path) -> None:
    session = session_in(tmp_path / "run", budget=1)
    run_serial(session, lambda architecture, seed: iter(()))
    trial = session.store.trials[0]
    assert (trial.state, trial.failure, trial.reason) == ("failed", "error", "the evaluator gave no measurement")


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        (lambda accuracy: accuracy / 0, "reward: ZeroDivisionError: float division by zero"),
        (lambda accuracy: float("nan"), "reward: it must be finite; got nan"),
        (lambda accuracy: float("inf"), "reward: it must be finite; got inf"),
        (lambda step_time_s: 1.0, "reward: the reward needs step_time_s, and the evaluator did not measure it"),
        (training_aware, "reward: accuracy must be positive and finite; got 0.0"),
    ],
)
def test_a_reward_that_cannot_be_had_is_a_failed_trial_and_the_search_goes_on(
    problem: Problem, session_in: MakeSession, tmp_path: Path, formula: Callable[..., float], reason: str
) -> None:
    session = session_in(tmp_path / "run", budget=2, problem=replace(problem, reward=bind(formula, {})))
    run_serial(session, lambda architecture, seed: Measurement(accuracy=0.0, step_time=1.0))
    assert states(session) == ["failed", "failed"]
    assert session.store.trials[0].failure == "error"
    assert str(session.store.trials[0].reason).startswith(reason)
    assert session.store.trials[0].measurement is not None, "what was measured is kept"


# When it ends ---------------------------------------------------------------------------------------------------


def test_an_exhausted_space_ends_the_search_when_nothing_runs(
    space: SearchSpace, session_in: MakeSession, tmp_path: Path
) -> None:
    session = session_in(tmp_path / "run", budget=1000)
    asked = [session.ask() for _ in range(space.size)]
    assert len({t.architecture for t in asked if t}) == space.size
    assert session.ask() is None
    assert session.stopped_because is None, "a tell might bring the controller to propose again"
    for number in range(space.size):
        assert not session.finished
        session.tell(number, Failure("error", f"{number}"))
    assert session.ask() is None
    assert session.stopped_because == "the controller has nothing more to propose: the space is exhausted"
    assert session.finished


class Stubborn(Scripted):
    """Proposes one network again and again."""

    def ask(self) -> Genotype | None:
        return self.proposals[0]


def test_a_controller_that_proposes_known_networks_alone_ends_the_search(
    space: SearchSpace, session_in: MakeSession, tmp_path: Path
) -> None:
    session = session_in(tmp_path / "run", controller=Stubborn(genotypes(space, 1)))
    run_serial(session, table)
    assert session.stopped_because == "the controller proposed nothing new 1000 times in a row"
    assert len(session.store.trials) == 1 + MAX_KNOWN_IN_A_ROW == 1001
    assert session.evaluated == 1


def test_known_networks_are_counted_in_a_row(
    space: SearchSpace, session_in: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.session.MAX_KNOWN_IN_A_ROW", 10)
    a, b, c, d = genotypes(space, 4)
    proposals = [a] * 8 + [b] * 9 + [c] * 10 + [d] * 20
    session = session_in(tmp_path / "run", controller=Scripted(proposals), budget=30)
    run_serial(session, table)
    assert session.stopped_because == "the controller proposed nothing new 10 times in a row"
    assert session.evaluated == 4
    assert len(session.store.trials) == 27 + 11
    session.store.close()
    again = session_in(tmp_path / "run", controller=Scripted(proposals), budget=30)
    assert again.ask() is None, "it is where it was"
    assert again.finished


def test_known_networks_do_not_end_the_search_while_something_runs(
    space: SearchSpace, session_in: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.session.MAX_KNOWN_IN_A_ROW", 10)
    session = session_in(tmp_path / "run", controller=Stubborn(genotypes(space, 1)))
    session.ask()
    assert session.ask() is None
    assert session.stopped_because is None
    session.tell(0, Failure("error", "no"))
    assert set(states(session)[1:]) == {"repeat"}
    assert [t.failure for t in session.store.trials.values()] == ["error"] * 11
    assert session.ask() is None
    assert session.finished


def test_ten_in_a_row_that_fail_the_same_way_stop_the_search(session_in: MakeSession, tmp_path: Path) -> None:
    def evaluate(architecture: Architecture, seed: int) -> Measurement:
        raise KeyError(f"{architecture}")

    session = session_in(tmp_path / "run", budget=25)
    run_serial(session, evaluate)
    assert states(session) == ["failed"] * 10
    assert re.fullmatch(
        r"10 candidates in a row failed the same way \(error: KeyError: .*\)", str(session.stopped_because)
    )
    session.store.close()
    again = session_in(tmp_path / "run", budget=25)
    assert again.stopped_because is None
    run_serial(again, evaluate)
    assert len(again.store.trials) == 20, "a search that is resumed tries ten more"


@pytest.mark.parametrize(
    "failures",
    [
        [Failure("error", "ValueError: a")] * 9 + [None, Failure("error", "ValueError: a")] * 3,
        [Failure("error", "ValueError: a"), Failure("error", "TypeError: a")] * 8,
        [Failure("error", "a"), Failure("timeout", "a")] * 8,
    ],
    ids=["a success between", "other exceptions", "other kinds"],
)
def test_failures_of_several_ways_do_not_stop_the_search(
    session_in: MakeSession, tmp_path: Path, failures: list[Failure | None]
) -> None:
    session = session_in(tmp_path / "run", budget=len(failures))
    for failure in failures:
        trial = session.ask()
        assert trial is not None
        session.measured(trial.number, GOOD)
        session.tell(trial.number, failure)
    assert session.stopped_because is None


def test_a_row_of_failures_goes_on_after_a_kill(session_in: MakeSession, tmp_path: Path) -> None:
    for after in (4, 9, 10):
        session = session_in(tmp_path / "run", budget=25)
        while len(session.store.trials) < after:
            trial = session.ask()
            assert trial is not None
            session.tell(trial.number, Failure("error", "ValueError: no"))
        assert (session.stopped_because is not None) == (after == 10)
        session.store.close()


def test_repeats_of_a_failed_trial_are_no_failures_in_a_row(
    space: SearchSpace, session_in: MakeSession, tmp_path: Path
) -> None:
    a, b = genotypes(space, 2)
    session = session_in(tmp_path / "run", controller=Scripted([a] * 30 + [b]), budget=2)
    run_serial(session, lambda architecture, seed: iter(()))
    assert session.stopped_because is None
    assert session.evaluated == 2


def test_stop_gives_out_no_more(session_in: MakeSession, tmp_path: Path) -> None:
    session = session_in(tmp_path / "run", budget=5)
    session.ask()
    session.stop("interrupted")
    session.stop("again")
    assert session.ask() is None
    assert not session.finished
    session.tell(0, Failure("error", "no"))
    assert session.finished
    assert session.stopped_because == "interrupted"


def test_budget_must_be_positive(session_in: MakeSession, tmp_path: Path) -> None:
    for budget in (0, -1):
        with pytest.raises(ValueError, match=f"budget must be at least 1 candidate; got {budget}"):
            session_in(tmp_path / f"run{budget}", budget=budget)


# Resuming -------------------------------------------------------------------------------------------------------

MAKERS: dict[str, Callable[[SearchSpace, Any, int], Controller]] = {**CONTROLLERS, "climber": Climber}
WALL_CLOCK = ["asked_at", "told_at", "attempt"]


def finished_table(session: SearchSession) -> tuple[pd.DataFrame, bytes]:
    """The table of a run that has ended, and its bytes, but for what the clock and the kills decide."""
    run_serial(session, table)
    assert session.finished
    session.store.close()
    kept = pq.read_table(session.store.folder / "trials.parquet").drop_columns(WALL_CLOCK).replace_schema_metadata(None)
    pq.write_table(kept, buffer := io.BytesIO())
    frame = TrialStore.open(session.store.folder).frame().drop(columns=WALL_CLOCK)
    lists = ["genotype", "features", "curve"]
    frame[lists] = frame[lists].map(lambda values: tuple(values.tolist()))
    return frame, buffer.getvalue()


@pytest.fixture
def limited(space: SearchSpace, problem: Problem) -> Problem:
    """A problem in which a fifth of the networks is infeasible."""
    params = sorted(problem.cost(space.decode(g)).params for g in genotypes(space, space.size))
    return replace(problem, limits={"params": params[-space.size // 5]})


@pytest.mark.parametrize("name", MAKERS)
def test_a_run_cut_off_anywhere_ends_as_the_run_that_was_not(
    limited: Problem, session_in: MakeSession, tmp_path: Path, name: str
) -> None:
    def session(folder: Path) -> SearchSession:
        controller = MAKERS[name](limited.space, limited.features, 3)
        return session_in(folder, controller=controller, problem=limited, budget=9, seed=3)

    whole = tmp_path / "whole"
    expected, expected_bytes = finished_table(session(whole))
    if name == "climber":
        assert set(expected["state"]) == {"complete", "failed", "infeasible", "repeat"}
        assert "repeat" in set(expected["state"][expected["failure"].notna()])
        assert len(set(expected["failure"].dropna())) > 1
    journal = (whole / "journal.jsonl").read_bytes()
    ends = [0, *(m.end() for m in re.finditer(rb"\n", journal))]
    cuts = sorted({*ends, *((a + b) // 2 for a, b in itertools.pairwise(ends))})
    assert len(cuts) > 50
    for number, cut in enumerate(cuts):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        shutil.copy(whole / "run.json", folder)
        if number % 2:  # a view of lines that are lost
            shutil.copy(whole / "trials.parquet", folder)
        (folder / "journal.jsonl").write_bytes(journal[:cut])
        found, found_bytes = finished_table(session(folder))
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        assert found_bytes == expected_bytes
        shutil.rmtree(folder)


class Killed(BaseException):
    """As if by SIGKILL."""


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("every", [5, 7])
def test_a_run_killed_again_and_again_ends_as_the_run_that_was_not(
    limited: Problem, session_in: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, every: int
) -> None:
    def session(folder: Path) -> SearchSession:
        controller = MAKERS[name](limited.space, limited.features, 5)
        return session_in(folder, controller=controller, problem=limited, budget=9, seed=5)

    expected, expected_bytes = finished_table(session(tmp_path / "whole"))
    append, written = Journal.append, 0

    def killing(self: Journal, event: Event, *, durable: bool = True) -> None:
        nonlocal written
        append(self, event, durable=durable)
        written += 1
        if written % every == 0:
            self.close()
            raise Killed

    monkeypatch.setattr(Journal, "append", killing)
    kills = 0
    while True:
        try:
            found, found_bytes = finished_table(session(tmp_path / "killed"))
            break
        except Killed:
            kills += 1
    assert kills > 3
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert found_bytes == expected_bytes


def test_a_candidate_begun_three_times_and_never_told_has_failed(session_in: MakeSession, tmp_path: Path) -> None:
    attempts = []
    for _ in range(3):
        session = session_in(tmp_path / "run", budget=2)
        trial = session.ask()
        assert trial is not None
        session.measured(trial.number, GOOD)
        attempts.append((trial.number, trial.attempt, trial.curve))
        session.store.close()
    assert attempts == [(0, 1, ()), (0, 2, ()), (0, 3, ())]
    session = session_in(tmp_path / "run", budget=2)
    following = session.ask()
    lost = session.store.trials[0]
    assert (lost.state, lost.failure, lost.reason) == ("failed", "worker_lost", "begun 3 times and never ended")
    assert following is not None
    assert following.number == 1
    assert session.evaluated == 2, "it counts"


def test_all_that_ran_when_a_search_was_killed_are_given_out_again(session_in: MakeSession, tmp_path: Path) -> None:
    session = session_in(tmp_path / "run", budget=5)
    before = [session.ask() for _ in range(3)]
    session.tell(1, Failure("error", "no"))
    session.store.close()
    again = session_in(tmp_path / "run", budget=5)
    assert again.running == {0, 2}
    given = [again.ask() for _ in range(3)]
    assert [t.number for t in given if t] == [0, 2, 3]
    assert [t.architecture for t in given[:2] if t] == [before[0].architecture, before[2].architecture]  # type: ignore[union-attr]
    assert [t.seed for t in given[:2] if t] == [before[0].seed, before[2].seed]  # type: ignore[union-attr]
    again.tell(2, Failure("error", "no"))
    again.tell(0, Failure("error", "no"))
    assert again.ask() is not None
    assert again.ask() is None
    assert again.evaluated == 5


def test_a_lost_worker_is_an_attempt(session_in: MakeSession, tmp_path: Path) -> None:
    session = session_in(tmp_path / "run")
    session.ask()
    session.measured(0, GOOD)
    session.attempt_lost(0, "the worker was lost")
    assert (session.store.trials[0].attempt, session.store.trials[0].curve) == (2, ())
    session.measured(0, Measurement(accuracy=0.25, step_time=1.0))
    assert session.tell(0).curve == (0.25,)


def test_repeats_and_infeasible_trials_left_untold_are_told_on_opening(
    space: SearchSpace, problem: Problem, session_in: MakeSession, tmp_path: Path
) -> None:
    a, b = genotypes(space, 2)
    session = session_in(tmp_path / "run", controller=Scripted([a, b, a, b]))
    for _ in range(2):
        session.ask()
    session.tell(0, Failure("error", "no"))
    assert session.ask() is None
    session.store.close()
    journal = tmp_path / "run" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    assert [json.loads(line)["number"] for line in lines] == [0, 1, 0, 2, 2, 3]
    journal.write_text("".join([*lines[:4], lines[5]]))
    controller = Scripted([a, b, a, b])
    again = session_in(tmp_path / "run", controller=controller)
    assert [(t.number, t.state, t.failure) for t in controller.told] == [(0, "failed", "error"), (2, "repeat", "error")]
    assert again.running == {1}
    again.tell(1, Failure("timeout", "no"))
    assert [(t.number, t.failure) for t in controller.told[2:]] == [(1, "timeout"), (3, "timeout")]


def test_budget_may_be_raised_on_resume(session_in: MakeSession, tmp_path: Path) -> None:
    session = session_in(tmp_path / "run", budget=3)
    run_serial(session, table)
    session.store.close()
    again = session_in(tmp_path / "run", budget=5)
    assert not again.finished
    run_serial(again, table)
    again.store.close()
    straight = session_in(tmp_path / "straight", budget=5)
    run_serial(straight, table)
    assert [t.architecture for t in again.store.trials.values()] == [
        t.architecture for t in straight.store.trials.values()
    ]


def test_whatever_integers_a_controller_uses_are_kept_and_replayed(
    space: SearchSpace, session_in: MakeSession, tmp_path: Path
) -> None:
    proposals = [np.array(space.genotype_at(0)), list(space.genotype_at(1)), space.genotype_at(2)]
    for _ in range(2):
        session = session_in(tmp_path / "run", controller=Scripted(proposals), budget=3)
        run_serial(session, table)
        session.store.close()
        assert [t.genotype for t in session.store.trials.values()] == genotypes(space, 3)


# A controller that does not repeat itself -----------------------------------------------------------------------


def half_a_run(space: SearchSpace, session_in: MakeSession, folder: Path) -> list[Genotype]:
    proposals = genotypes(space, 8)
    session = session_in(folder, controller=Scripted(proposals), budget=4)
    run_serial(session, table)
    session.store.close()
    return proposals


def test_another_proposal_on_replay_is_an_error_that_names_the_trial(
    space: SearchSpace, session_in: MakeSession, tmp_path: Path
) -> None:
    a, b, c, d, e, *_ = half_a_run(space, session_in, tmp_path / "run")
    before = (tmp_path / "run" / "journal.jsonl").read_bytes()
    for proposals, got in (([a, b, e, d], e), ([a, b], None)):
        expected = re.escape(
            f"trial 2: the controller must propose {c} again, as the journal has it; it proposed {got}"
        )
        with pytest.raises(ValueError, match=rf"{expected}\. .*`--fork`"):
            session_in(tmp_path / "run", controller=Scripted(proposals))
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == before


def test_a_fork_goes_on_and_is_recorded_and_a_later_resume_needs_no_fork(
    space: SearchSpace, session_in: MakeSession, tmp_path: Path
) -> None:
    a, b, _, d, e, f, g, h = half_a_run(space, session_in, tmp_path / "run")
    other = [a, b, e, d, f, g, h]
    controller = Scripted(other)
    forked = session_in(tmp_path / "run", controller=controller, budget=6, fork=True)
    assert list(forked.store.events())[-1] == {"event": "forked", "at_trial": 2}
    assert [t.genotype for t in controller.told] == genotypes(space, 4), (
        "it is told what was done, not what it proposed"
    )
    run_serial(forked, table)
    assert forked.evaluated == 6
    forked.store.close()

    later = session_in(tmp_path / "run", controller=Scripted(other), budget=7)
    run_serial(later, table)
    later.store.close()
    assert [t.genotype for t in later.store.trials.values()] == [*genotypes(space, 4), f, g, h]
    assert kinds(later).count("forked") == 1

    with pytest.raises(ValueError, match="trial 4: the controller must propose"):  # what came after is checked
        session_in(tmp_path / "run", controller=Scripted([a, b, e, d, g]), budget=7)


def test_fork_without_a_difference_records_nothing(space: SearchSpace, session_in: MakeSession, tmp_path: Path) -> None:
    proposals = half_a_run(space, session_in, tmp_path / "run")
    session = session_in(tmp_path / "run", controller=Scripted(proposals), budget=5, fork=True)
    assert "forked" not in kinds(session)


# Seeds ----------------------------------------------------------------------------------------------------------


def test_trial_seed_is_the_one_it_always_was() -> None:
    """Runs of earlier releases must resume: these numbers may never change."""
    text = "stem_c8-mbconv_k3_s2_e4_c16_n2_se0.25-head_c64"
    assert trial_seed(0, text, 0) == 999071837231841726
    assert trial_seed(1, text, 0) == 4519498713886952802
    assert trial_seed(0, text, 1) == 80168520583090053


def test_trial_seeds_differ_and_fit_a_column() -> None:
    seeds = {trial_seed(run, text, replicate) for run in range(10) for text in "abc" for replicate in range(10)}
    assert len(seeds) == 300
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62


def test_a_trials_seed_does_not_depend_on_when_it_is_asked_for(
    space: SearchSpace, session_in: MakeSession, tmp_path: Path
) -> None:
    found = []
    for name, order in (("a", genotypes(space, 5)), ("b", genotypes(space, 5)[::-1])):
        session = session_in(tmp_path / name, controller=Scripted(order), budget=5, seed=11)
        run_serial(session, table)
        found.append({t.architecture: t.seed for t in session.store.trials.values()})
    assert found[0] == found[1]
    assert found[0] == {text: trial_seed(11, text, 0) for text in found[0]}
