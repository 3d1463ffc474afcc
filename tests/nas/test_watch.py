"""`nas watch`: what a folder tells of a search that runs, hangs, was killed or is over, and how it is shown."""

from __future__ import annotations

import io
import json
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nas_command import error, nas
from rich.console import Console

from nas.cli_watch import sparkline, view
from nas.watching import Watched
from results.compact import compact
from results.journal import Journal, is_written
from results.pareto import non_dominated
from results.store import TrialStore
from results.trial import Measurement, State, Trial
from search_spaces import SPACES

SPACE = SPACES["small"]


class Run:
    """A run that the test writes as a search would."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        configuration = {
            "space": SPACE.to_json(),
            "columns": {"controller": "random"},
            "identity": {"objectives": ["accuracy", "step_time"]},
        }
        self.store = TrialStore.create(folder, configuration)
        self.begin(**settings)

    def begin(self, host: str | None = None, **settings: Any) -> None:
        event = {"event": "started", "settings": {"budget": 6, "confirm": 0, **settings}, "time": time.time()}
        self.store.record({**event, "host": host or platform.node()})

    def ask(self, network: int, *, state: State = "running", ago_s: float = 10.0, **values: Any) -> Trial:
        genotype = SPACE.genotype_at(network)
        trial = Trial(
            number=len(self.store.trials),
            genotype=genotype,
            architecture=str(SPACE.decode(genotype)),
            seed=1,
            state=state,
            asked_at=time.time() - ago_s,
            **values,
        )
        self.store.asked(trial)
        return trial

    def tell(self, trial: Trial, reward: float | None, step_time: float | None = 1.0, **values: Any) -> None:
        if reward is not None:
            self.store.measured(trial.number, Measurement(accuracy=reward, epoch=1, step_time=step_time, params=1000))
        told = replace(trial, told_at=time.time(), reward=reward, **{"state": "complete", **values})
        self.store.told(told)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


def seen(folder: Path) -> Any:
    watched = Watched(folder)
    watched.look()
    return watched.status()


def shown(folder: Path, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False)
    console.print(view(seen(folder), console))
    return str(console.file.getvalue())


def test_before_the_first_candidate(run: Run) -> None:
    status = seen(run.store.folder)
    assert (status.standing, status.note, status.budget, status.planned, status.done) == ("running", "", 6, 6, 0)
    assert (status.best, status.per_hour, status.hypervolume, status.front) == (None, None, None, 0)
    assert status.left == "time left is known after the first candidate"
    assert "none is over yet" in shown(run.store.folder)


def test_while_it_runs(run: Run) -> None:
    run.tell(run.ask(0), 0.5, 1.0, hypervolume=0.1)
    run.tell(run.ask(1), None, state="failed", failure="diverged", reason="loss is [/nan]")
    run.tell(run.ask(2), 0.7, 2.0, hypervolume=0.3)
    run.tell(run.ask(3), 0.6, 3.0, hypervolume=0.3)
    run.store.told(replace(run.ask(2, state="repeat", repeat_of=2), reward=0.7, told_at=time.time()))
    running = run.ask(4, ago_s=30)
    run.store.measured(running.number, Measurement(accuracy=0.4, epoch=2))
    status = seen(run.store.folder)
    assert (status.planned, status.done) == (6, 4)
    assert status.states == {"complete": 3, "failed": 1, "repeat": 1, "running": 1}
    assert (status.failures, status.last_failure) == ({"diverged": 1}, "loss is [/nan]")
    assert list(status.rewards) == [0.5, 0.7, 0.7]
    assert (status.front, status.hypervolume) == (2, 0.3)
    assert (status.best.number, status.best.reward, status.best.trainings) == (2, 0.7, 1)
    assert status.best.architecture == run.store.trials[2].architecture
    (one,) = status.running
    assert (one.number, one.epochs, one.accuracy) == (running.number, 2, 0.4)
    assert one.since_s == pytest.approx(30, abs=5)
    assert status.left == "about 10 s left"  # two are left, one of which has run for longer than the others took
    text = shown(run.store.folder)
    assert "running on" in text
    assert "1 diverged; the last: loss is [/nan]" in text
    assert "reward 0.7000, accuracy 0.7000, step time 2.000, params 1,000" in text
    assert f"trial {running.number} for 30 s, 2 epochs, accuracy 0.4000" in text


def test_the_journal_is_read_on_from_where_it_ended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    watched, starts = Watched(run.store.folder), []
    from nas import watching

    def noted(path: Path, start: int = 0) -> Any:
        starts.append(start)
        return read_events(path, start)

    read_events = watching.read_events
    monkeypatch.setattr(watching, "read_events", noted)
    sizes = [0]
    for network in range(4):
        run.tell(run.ask(network), network / 10)
        watched.look()
        assert watched.status().done == network + 1
        sizes.append((run.store.folder / "journal.jsonl").stat().st_size)
    watched.look()
    assert starts == sizes


def test_a_torn_line_is_waited_for(run: Run) -> None:
    watched = Watched(run.store.folder)
    trial = run.ask(0)
    line = json.dumps({"event": "measured", "number": 0, "measurement": {"accuracy": 0.5}}).encode() + b"\n"
    with (run.store.folder / "journal.jsonl").open("ab") as file:
        file.write(line[:20])
        file.flush()
        watched.look()
        assert watched.status().running[0].accuracy is None
        file.write(line[20:])
    watched.look()
    assert watched.status().running[0].accuracy == 0.5
    assert watched.status().running[0].number == trial.number


def test_a_journal_that_was_restored_is_read_anew(run: Run) -> None:
    watched = Watched(run.store.folder)
    run.ask(0)
    kept = (run.store.folder / "journal.jsonl").read_bytes()
    run.ask(1)
    watched.look()
    assert len(watched.status().running) == 2
    (run.store.folder / "journal.jsonl").write_bytes(kept)
    watched.look()
    assert len(watched.status().running) == 1


def test_a_broken_line_is_named(run: Run) -> None:
    run.ask(0)
    with (run.store.folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"event":"told","number":9,"state":"failed"}\n')
    assert "does not fit those before it" in error("watch", run.store.folder)


def test_when_the_budget_is_used_up_it_is_over(run: Run) -> None:
    for network in range(6):
        run.tell(run.ask(network), None, state="failed", failure="error", reason="no")
    status = seen(run.store.folder)
    assert (status.standing, status.left, status.done, status.best) == ("finished", "", 6, None)
    assert "6 error" in shown(run.store.folder)
    assert is_written(run.store.folder / "journal.jsonl")  # the search may still print


def test_leaders_that_are_trained_again_count(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", budget=3, confirm=1)
    assert (seen(run.store.folder).planned, seen(run.store.folder).budget) == (5, 3)
    for network, reward in enumerate((0.5, 0.9, 0.8)):
        run.tell(run.ask(network), reward)
    status = seen(run.store.folder)
    assert (status.standing, status.planned, status.done) == ("running", 5, 3)
    run.tell(run.ask(1, replicate=1, arm="confirm"), 0.3)
    status = seen(run.store.folder)
    assert (status.standing, status.planned, status.done) == ("running", 5, 4)
    assert (status.best.number, status.best.trainings, status.best.reward) == (1, 2, pytest.approx(0.6))
    assert (status.best.accuracy, status.best.step_time) == (pytest.approx(0.6), 1.0), "of the same trainings"
    assert "mean of 2 trainings" in shown(run.store.folder, 200)
    assert "2 of them to confirm leaders" in shown(run.store.folder, 200)
    run.tell(run.ask(1, replicate=2, arm="confirm"), 0.3)
    assert seen(run.store.folder).standing == "finished"


def test_reused_trainings_count_in_no_budget(run: Run) -> None:
    known = {"measurement": Measurement(accuracy=0.8, step_time=1.0), "curve": (0.8,), "curve_epochs": (1.0,)}
    trial = run.ask(0, reused_from="there#1", **known)
    run.store.told(replace(trial, state="complete", reward=0.8, told_at=time.time()))
    status = seen(run.store.folder)
    assert (status.done, status.planned, status.best.reward, status.front) == (0, 6, 0.8, 1)


def test_a_search_that_was_killed_is_not_running(run: Run) -> None:
    run.tell(run.ask(0), 0.5)
    run.ask(1)
    run.store.close()
    status = seen(run.store.folder)
    assert (status.standing, status.left) == ("stopped", "")
    assert "no process writes this run: it was interrupted or killed, or stopped early; `nas resume" in status.note
    assert "left open" in shown(run.store.folder)


def test_a_search_on_another_machine_is_judged_by_its_silence(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", host="elsewhere")
    run.tell(run.ask(0), 0.5)
    run.store.close()
    assert seen(run.store.folder).standing == "running"  # its lock may not be seen here
    old = time.time() - 3600
    os.utime(run.store.folder / "journal.jsonl", (old, old))
    status = seen(run.store.folder)
    assert status.standing == "silent"
    assert "the search on elsewhere seems dead: nothing was written for long" in status.note
    assert status.quiet_s == pytest.approx(3600, abs=60)


def test_a_search_that_hangs_is_said_to(run: Run) -> None:
    run.tell(run.ask(0), 0.5)
    old = time.time() - 3600
    os.utime(run.store.folder / "journal.jsonl", (old, old))
    status = seen(run.store.folder)
    assert status.standing == "running"
    assert "has written nothing for long: a candidate may hang" in status.note


def test_a_resumed_search_has_its_new_budget_and_begins_candidates_again(run: Run) -> None:
    run.ask(0, ago_s=5000)
    run.begin(budget=9)
    run.store.attempted(0, "the search was interrupted")
    status = seen(run.store.folder)
    assert (status.planned, len(status.running)) == (9, 1)
    assert status.running[0].since_s < 60


def test_a_compact_copy_is_shown_as_it_ended(run: Run, tmp_path: Path) -> None:
    for network in range(6):
        run.tell(run.ask(network), network / 10, 1 + network, hypervolume=0.1)
    compact(run.store, tmp_path / "copy")
    whole, copy = seen(run.store.folder), seen(tmp_path / "copy")
    for name in ("standing", "planned", "done", "states", "front", "best", "hypervolume", "rewards"):
        assert getattr(copy, name) == getattr(whole, name), name


def test_a_run_without_a_beginning(tmp_path: Path) -> None:
    store = TrialStore.create(tmp_path / "run", {"space": SPACE.to_json()})
    assert seen(tmp_path / "run").budget is None
    assert "a budget that the run does not say" in shown(tmp_path / "run")
    store.close()
    assert seen(tmp_path / "run").standing == "stopped"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 3)), max_size=30), st.integers(1, 7))
def test_the_front_of_pieces_is_the_front_of_the_whole(points: list[tuple[float, float]], piece: int) -> None:
    watched = Watched.__new__(Watched)
    watched._objectives, watched._points = ("accuracy", "step_time"), []
    size = 0
    for begin in range(0, len(points), piece):
        watched._points += [list(point) for point in points[begin : begin + piece]]
        size = watched._front_size()
    found = np.array(points).reshape(-1, 2)
    assert size == non_dominated(found, [True, False]).sum()


# What is printed ------------------------------------------------------------------------------------------------


def test_in_a_pipe_it_is_printed_once(run: Run) -> None:
    run.tell(run.ask(0), 0.5)
    outcome = nas("watch", run.store.folder)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[0] == f"{run.store.folder}: space small, random"
    assert nas("watch", run.store.folder, "--once").out.count("\n") == outcome.out.count("\n")
    data = json.loads(nas("watch", run.store.folder, "--format", "json").out)
    assert (data["standing"], data["done"], data["best"]["reward"]) == ("running", 1, 0.5)
    assert (data["states"], data["failures"]) == ({"complete": 1}, {})
    run.store.told(replace(run.ask(1), state="failed", failure="timeout", reason="slow", told_at=time.time()))
    data = json.loads(nas("watch", run.store.folder, "--format", "json").out)
    assert (data["states"], data["failures"]) == ({"complete": 1, "failed": 1}, {"timeout": 1})
    assert "holds no run" in error("watch", run.store.folder.parent)


@pytest.mark.parametrize("width", [30, 80, 200])
def test_many_running_candidates_fit_a_terminal(run: Run, width: int) -> None:
    for network in range(30):
        run.ask(network)
    lines = shown(run.store.folder, width).splitlines()
    assert len(lines) < 24
    assert all(len(line) <= width for line in lines)
    assert any("and 22 more" in line for line in lines)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(1, 60))
def test_a_sparkline_is_as_wide_as_it_may_be_and_ends_at_the_last(values: list[float], width: int) -> None:
    drawn = sparkline(values, width, "01234567")
    assert len(drawn) == min(width, len(values))
    best = np.maximum.accumulate(values).tolist()
    rising = sparkline(best, width, "01234567")
    assert list(rising) == sorted(rising)
    assert rising[-1] == ("7" if best[-1] > best[len(best) // len(rising) - 1] else "0")


A_TERMINAL = """
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execv(sys.executable, [sys.executable, "-m", "nas.cli", "watch", sys.argv[1]])
while True:
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    os.write(1, data)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def in_a_terminal(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", A_TERMINAL, str(folder)], stdout=subprocess.PIPE)


def read_until(process: subprocess.Popen[bytes], text: str, limit_s: float = 60.0) -> str:
    assert process.stdout is not None
    said, end = b"", time.monotonic() + limit_s
    while text.encode() not in said and time.monotonic() < end:
        said += os.read(process.stdout.fileno(), 65536)
    return said.decode(errors="replace")


def test_in_a_terminal_it_is_shown_anew_until_the_search_ends(run: Run) -> None:
    run.tell(run.ask(0), 0.5)
    with in_a_terminal(run.store.folder) as process:
        assert "1 of 6 candidates" in read_until(process, "1 of 6 candidates")
        for network in range(1, 6):
            run.tell(run.ask(network), 0.5)
        assert "finished" in read_until(process, "finished")
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_ctrl_c_leaves_at_once_and_the_search_goes_on(run: Run) -> None:
    run.tell(run.ask(0), 0.5)
    with in_a_terminal(run.store.folder) as process:
        read_until(process, "1 of 6 candidates")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"Traceback" not in out
    run.tell(run.ask(1), 0.5)


def test_neither_torch_nor_ray_is_loaded(run: Run) -> None:
    code = (
        "import sys; from nas.cli import app; app(standalone_mode=False)\n"
        "print([m for m in ('torch', 'ray', 'optuna') if m in sys.modules], file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "watch", str(run.store.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


# The lock -------------------------------------------------------------------------------------------------------


def test_who_looks_at_the_lock_does_not_keep_a_writer_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    path = tmp_path / "journal.jsonl"
    Journal(path).close()
    assert is_written(path) is False
    look = path.open("rb")
    fcntl.flock(look, fcntl.LOCK_SH)
    slept: list[float] = []

    def let_go(seconds: float) -> None:
        slept.append(seconds)
        look.close()

    monkeypatch.setattr(time, "sleep", let_go)
    journal = Journal(path)
    assert slept
    assert is_written(path) is True
    journal.close()


def test_a_file_system_without_locks_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(37, "No locks available")

    Journal(tmp_path / "journal.jsonl").close()
    monkeypatch.setattr("fcntl.flock", refused)
    assert is_written(tmp_path / "journal.jsonl") is None
