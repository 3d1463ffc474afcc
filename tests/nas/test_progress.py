"""What a running search shows: the time left, one line a trial, a bar on a terminal and plain lines elsewhere."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from nas import progress
from nas.controllers import CONTROLLERS
from nas.problem import Problem
from nas.progress import SearchProgress, duration, time_left, trial_line
from nas.reuse import by_network
from nas.session import SearchSession
from results.store import TrialStore
from results.trial import Failure, Measurement, Trial

MakeSession = Callable[..., SearchSession]
GOOD = Measurement(accuracy=0.5, step_time=1.25)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (42.4, "42 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (7800, "2 h 10 min"),
        (200_000, "55 h 33 min"),
    ],
)
def test_duration_reads_as_people_say_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("remaining", "running_s", "took_s", "workers", "text"),
    [
        (10, [], [], 1, "time left is known after the first candidate"),
        (10, [], [6.0], 1, "about 1 min 0 s left"),
        (10, [], [4.0, 8.0], 1, "about 1 min 0 s left"),  # the mean
        (10, [], [6.0], 2, "about 30 s left"),
        (10, [3.0], [6.0], 1, "about 57 s left"),  # what it has run is done
        (10, [3.0, 1.0], [6.0], 2, "about 28 s left"),
        (10, [100.0], [6.0], 1, "about 54 s left"),  # one that runs long counts for no more than one
        (1, [100.0], [6.0], 1, "about 0 s left"),
        (2, [], [6.0], 8, "about 6 s left"),  # two cannot be shared among eight
        (0, [], [6.0], 2, "about 0 s left"),
        (10, [], [1000.0] * 100 + [6.0] * 50, 1, "about 1 min 0 s left"),  # the newest fifty
    ],
)
def test_time_left(remaining: int, running_s: list[float], took_s: list[float], workers: int, text: str) -> None:
    assert time_left(remaining, running_s, took_s, workers) == text


def trial(**values: object) -> Trial:
    return Trial(number=7, genotype=(0,), architecture="stem", seed=1, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (
            trial(
                state="complete", reward=0.61234, measurement=Measurement(accuracy=0.5, step_time=1.25, params=12345)
            ),
            "trial 7: accuracy 0.5000, step time 1.250, params 12,345, reward 0.6123",
        ),
        (trial(state="complete", reward=0.5, measurement=Measurement(accuracy=0.5)), "accuracy 0.5000, reward 0.5000"),
        (
            trial(state="stopped", measurement=Measurement(accuracy=0.5, epoch=1.5, step_time=1.0)),
            "trial 7: stopped after 1.5 epochs, accuracy 0.5000, step time 1.000",
        ),
        (trial(state="failed", failure="timeout", reason="not done"), "trial 7: failed (timeout): not done"),
        (
            trial(state="failed", failure="diverged", reason="loss is nan", measurement=Measurement(accuracy=0.5)),
            "trial 7: failed (diverged): loss is nan",
        ),
        (trial(), "trial 7: running"),
        (
            trial(state="complete", reward=0.5, measurement=Measurement(accuracy=0.5), reused_from="there#3"),
            "trial 7 (reused): accuracy 0.5000, reward 0.5000",
        ),
    ],
)
def test_trial_line(shown: Trial, line: str) -> None:
    assert trial_line(shown).endswith(line)
    assert trial_line(shown).startswith("trial 7")


def test_the_line_of_a_stopped_trial_says_of_how_many_epochs() -> None:
    stopped = trial(state="stopped", measurement=Measurement(accuracy=0.5, epoch=1.0))
    assert trial_line(stopped, 4) == "trial 7: stopped after 1 of 4 epochs, accuracy 0.5000"
    assert trial_line(stopped) == "trial 7: stopped after 1 epoch, accuracy 0.5000"


def watched(session: SearchSession, console: Console, *, quiet: bool = False, pause_s: float = 0.0) -> None:
    """Take a session to its end before the eyes of a display; every third candidate fails."""
    with SearchProgress(session, 1, console=console, quiet=quiet):
        while (asked := session.ask()) is not None:
            time.sleep(pause_s)
            session.measured(asked.number, GOOD)
            session.tell(asked.number, Failure("error", "no [/good]") if asked.number % 3 == 2 else None)
    session.store.close()


def plain() -> Console:
    return Console(file=io.StringIO(), width=60)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_plain_lines_where_there_is_no_terminal(tmp_path: Path, session_in: MakeSession) -> None:
    console, session = plain(), session_in(tmp_path / "run", budget=3)
    watched(session, console)
    lines = written(console).splitlines()
    assert "\x1b" not in written(console)
    assert lines[:2] == [trial_line(session.store.trials[number]) for number in (0, 1)]
    assert lines[2] == "trial 2: failed (error): no [/good]"  # which is no markup
    assert session.best is not None
    assert lines[3] == f"3/3 1 failed, best reward {session.best.reward:.4f}, about 0 s left"
    assert len(lines) == 4


def test_reused_trials_are_shown_and_do_not_count_in_the_time_left(
    tmp_path: Path, problem: Problem, session_in: MakeSession
) -> None:
    session = session_in(tmp_path / "earlier", budget=2)
    watched(session, plain())
    found = [replace(trial, reused_from=f"there#{n}") for n, trial in session.store.trials.items()]
    controller = CONTROLLERS["random"](problem.space, problem.features, 0)
    store = TrialStore.create(tmp_path / "run", {"space": problem.space.to_json()})
    session, console = SearchSession(problem, controller, store, budget=3, seed=0, earlier=by_network(found)), plain()
    with SearchProgress(session, 1, console=console):
        assert session.ask() is not None
    lines = written(console).splitlines()
    assert [line.partition(",")[0] for line in lines[:2]] == [f"trial {n} (reused): accuracy 0.5000" for n in range(2)]
    assert lines[2].startswith("0/3 0 failed")
    assert lines[2].endswith("time left is known after the first candidate")


def test_how_many_were_stopped_early_is_said(tmp_path: Path, session_in: MakeSession) -> None:
    console, session = plain(), session_in(tmp_path / "run", budget=3)
    with SearchProgress(session, 1, console=console, epochs=4):
        while (asked := session.ask()) is not None:
            session.measured(asked.number, replace(GOOD, epoch=1.0))
            session.tell(asked.number, stopped=asked.number > 0)
    session.store.close()
    lines = written(console).splitlines()
    assert lines[1].startswith("trial 1: stopped after 1 of 4 epochs, accuracy ")
    assert lines[3].startswith("3/3 0 failed, 2 stopped early, best reward")


def test_a_quick_search_does_not_flood_plain_lines(tmp_path: Path, session_in: MakeSession) -> None:
    console, session = plain(), session_in(tmp_path / "run", budget=25)
    watched(session, console)
    lines = written(console).splitlines()
    assert len(lines) <= 10
    assert lines[-1].startswith("25/25 8 failed")
    assert lines[-2].startswith("trial 24:")


def test_plain_lines_come_while_the_search_runs(
    tmp_path: Path, session_in: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LOOK_S", 0.01)
    monkeypatch.setattr(progress, "_PLAIN_LINE_S", 0.0)
    console, session = plain(), session_in(tmp_path / "run", budget=5)
    watched(session, console, pause_s=0.1)
    summaries = [line for line in written(console).splitlines() if not line.startswith("trial")]
    assert [int(line.partition("/")[0]) for line in summaries] == [1, 2, 3, 4, 5]
    assert all(re.search(r"about \d s left$", line) for line in summaries)
    trials = [line for line in written(console).splitlines() if line.startswith("trial")]
    assert trials == [trial_line(session.store.trials[number]) for number in range(5)]


def test_a_resumed_search_counts_what_is_done_and_shows_what_is_new(tmp_path: Path, session_in: MakeSession) -> None:
    watched(session_in(tmp_path / "run", budget=4), plain())
    console = plain()
    watched(session_in(tmp_path / "run", budget=6), console)
    lines = written(console).splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == ["trial 4", "trial 5"]
    assert lines[-1].startswith("6/6 2 failed")


def test_one_that_runs_is_not_counted_as_done(tmp_path: Path, session_in: MakeSession) -> None:
    session = session_in(tmp_path / "run", budget=4)
    display = SearchProgress(session, 2, console=plain())
    first, second = session.ask(), session.ask()
    assert first is not None
    assert second is not None
    assert display._done() == 0
    session.tell(second.number, Failure("error", "no good"))
    assert display._done() == 1
    assert display._remaining() == 3
    session.store.close()


def test_a_bar_on_a_terminal(tmp_path: Path, session_in: MakeSession) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    session = session_in(tmp_path / "run", budget=3)
    watched(session, console)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written(console))
    assert "━" in text
    assert "3/3" in text
    assert "1 failed, best reward" in text
    assert trial_line(session.store.trials[0]) in text
    assert "failed (error): no [/good]" in text


def test_quiet_is_silent(tmp_path: Path, session_in: MakeSession) -> None:
    for terminal in (False, True):
        console = Console(file=io.StringIO(), force_terminal=terminal)
        watched(session_in(tmp_path / f"run{terminal}", budget=3), console, quiet=True)
        assert written(console) == ""
