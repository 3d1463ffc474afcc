"""The lane, with real processes: while one times no other takes a step, and whoever is killed holds nobody up."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainers.lane import Lane

TRAINS = """
import sys, time
from pathlib import Path
from trainers.lane import Lane

lane, log = Lane(Path(sys.argv[1])), open(sys.argv[2], "a", buffering=1)
while True:
    lane.step()
    begun = time.monotonic()
    time.sleep(0.003)
    log.write(f"step {begun} {time.monotonic()}\\n")
"""
TIMES = """
import sys, time
from pathlib import Path
from trainers.lane import Lane

lane, log = Lane(Path(sys.argv[1])), open(sys.argv[2], "a", buffering=1)
for _ in range(int(sys.argv[3])):
    for _ in range(5):
        lane.step()
        begun = time.monotonic()
        time.sleep(0.003)
        log.write(f"step {begun} {time.monotonic()}\\n")
    alone = lane.take()
    begun = time.monotonic()
    log.write("began\\n")
    time.sleep(float(sys.argv[4]))
    log.write(f"timed {begun} {time.monotonic()} {alone}\\n")
    lane.give_back()
"""

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a process with a lane in `lane`, which notes what it does in a file of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(code: str, name: str, *arguments: object) -> subprocess.Popen[bytes]:
        told = [str(tmp_path / "lane"), str(tmp_path / name), *map(str, arguments)]
        started.append(subprocess.Popen([sys.executable, "-c", code, *told]))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


Span = tuple[float, float]


def spans(path: Path, kind: str) -> list[Span]:
    lines = path.read_text().splitlines()[:-1] if path.exists() else []  # the last may be half written
    return [(float(a), float(b)) for a, b in (x.split()[1:3] for x in lines if x.startswith(f"{kind} "))]


def wait_for(what: Callable[[], object], within_s: float = 60.0) -> None:
    until = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < until, "it did not come to it"
        time.sleep(0.01)


def overlapping(some: list[Span], others: list[Span]) -> list[tuple[Span, Span]]:
    return [(a, b) for a in some for b in others if a[0] < b[1] and b[0] < a[1]]


def test_while_one_times_the_others_take_no_step(start: Start, tmp_path: Path) -> None:
    training, other = tmp_path / "training", tmp_path / "other"
    start(TRAINS, "training")
    start(TRAINS, "other")
    wait_for(lambda: len(spans(training, "step")) > 5 and len(spans(other, "step")) > 5)
    assert overlapping(spans(training, "step"), spans(other, "step")), "else they train together"
    timer = start(TIMES, "timing", 4, 0.15)
    assert timer.wait(60) == 0
    lines = (tmp_path / "timing").read_text()
    assert lines.count(" True\n") == 4, "it was alone each time"
    timed = [(float(a), float(b)) for a, b in (x.split()[1:3] for x in lines.splitlines() if x.startswith("timed"))]
    for path in (training, other):
        before = len(spans(path, "step"))
        wait_for(lambda path=path, before=before: len(spans(path, "step")) > before + 5)  # type: ignore[misc]
        steps = spans(path, "step")
        assert overlapping(steps, timed) == []
        for (_, over), (begun, _) in itertools.pairwise(timed):  # and they train between two timings
            assert [step for step in steps if over <= step[0] and step[1] <= begun]


def test_three_that_time_by_turns_all_come_to_it_and_never_two_at_once(start: Start, tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    for process in [start(TIMES, name, 5, 0.05) for name in names]:
        assert process.wait(60) == 0
    logs = {name: (tmp_path / name).read_text() for name in names}
    assert [log.count(" True\n") for log in logs.values()] == [5, 5, 5]
    timed = {name: spans(tmp_path / name, "timed") for name in names}
    steps = {name: spans(tmp_path / name, "step") for name in names}
    for name in names:
        for other in set(names) - {name}:
            assert overlapping(timed[name], timed[other]) == []
            assert overlapping(timed[name], steps[other]) == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_who_is_killed_while_timing_holds_nobody_up(start: Start, tmp_path: Path, how: signal.Signals) -> None:
    start(TRAINS, "training")
    wait_for(lambda: spans(tmp_path / "training", "step"))
    timer = start(TIMES, "timing", 1, 600)
    wait_for(lambda: (tmp_path / "timing").exists() and "began\n" in (tmp_path / "timing").read_text())
    taken = len(spans(tmp_path / "training", "step"))
    time.sleep(0.2)
    assert len(spans(tmp_path / "training", "step")) <= taken + 1, "it pauses"
    timer.send_signal(how)
    wait_for(lambda: len(spans(tmp_path / "training", "step")) > taken + 5)
    lane = Lane(tmp_path / "lane")
    assert lane.take(), "and the lane is free"
    lane.close()


def test_who_trains_and_is_killed_is_waited_for_no_longer(start: Start, tmp_path: Path) -> None:
    training = start(TRAINS, "training")
    wait_for(lambda: spans(tmp_path / "training", "step"))
    training.kill()
    training.wait()
    lane = Lane(tmp_path / "lane")
    assert lane.take()
    lane.close()


def test_one_that_does_not_pause_is_not_waited_for_for_ever(start: Start, tmp_path: Path) -> None:
    training = start(TRAINS, "training")
    wait_for(lambda: spans(tmp_path / "training", "step"))
    lane = Lane(tmp_path / "lane", patience_s=0.3)
    training.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, training.pid, os.WSTOPPED | os.WNOWAIT)
    begun = time.monotonic()
    assert not lane.take()
    assert 0.3 <= time.monotonic() - begun < 10
    training.send_signal(signal.SIGCONT)
    taken = len(spans(tmp_path / "training", "step"))
    time.sleep(0.2)
    assert len(spans(tmp_path / "training", "step")) <= taken + 1, "it pauses all the same, at its next step"
    lane.give_back()
    wait_for(lambda: len(spans(tmp_path / "training", "step")) > taken + 5)
    lane.close()


def test_an_interrupt_while_it_waits_leaves_nothing_locked(tmp_path: Path) -> None:
    """A limit of time raises in the middle of whatever runs, by a signal."""

    class OutOfTime(BaseException):
        pass

    def out_of_time(*_: object) -> None:
        raise OutOfTime

    timing, waiting = Lane(tmp_path / "lane"), Lane(tmp_path / "lane", patience_s=60)
    previous = signal.signal(signal.SIGALRM, out_of_time)
    try:
        assert timing.take()
        for wait in (waiting.step, waiting.take):
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(OutOfTime):
                wait()
            waiting.leave()
        timing.give_back()
        assert timing.take()
        timing.give_back()
        waiting.step()
        waiting.leave()
        assert waiting.take()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        timing.close()
        waiting.close()


def test_the_device_is_done_before_others_may_time(tmp_path: Path) -> None:
    seen: list[str] = []
    lane = Lane(tmp_path / "lane", wait=lambda: seen.append("done"))
    other = Lane(tmp_path / "lane", patience_s=0)
    lane.step()
    lane.step()
    assert not other.take(), "steps may still be computed"
    other.give_back()
    assert seen == []
    lane.leave()
    lane.leave()
    assert seen == ["done"], "once, where there was something to wait for"
    assert other.take()
    for each in (lane, other):
        each.close()


def test_members_are_those_that_live(start: Start, tmp_path: Path) -> None:
    lane = Lane(tmp_path / "lane")
    assert lane.members() == {os.getpid()}
    process = start(TRAINS, "training")
    wait_for(lambda: len(lane.members()) == 2)
    assert lane.members() == {os.getpid(), process.pid}
    process.kill()
    process.wait()
    assert lane.members() == {os.getpid()}
    assert (tmp_path / "lane" / f"{process.pid}.member").exists()
    assert lane.take()
    assert lane.members() == {os.getpid()}
    assert not (tmp_path / "lane" / f"{process.pid}.member").exists(), "who has the lane clears them away"
    lane.close()


def test_a_step_costs_next_to_nothing(tmp_path: Path) -> None:
    lane = Lane(tmp_path / "lane")
    lane.step()
    begun = time.process_time()
    for _ in range(10_000):
        lane.step()
    assert time.process_time() - begun < 2.0, "some microseconds each"
    lane.close()
