"""Timings under watch: alone where there is a lane, made again once where disturbed, and told in the record."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from search_spaces import Architecture
from trainers.data import Data, Split
from trainers.gpu_state import GpuState, gpu_state
from trainers.lane import Lane, lane_of
from trainers.proxy import ProxyTask
from trainers.recipe import Recipe
from trainers.step_timer import StepTimer
from trainers.timing import StepTime
from trainers.watch import Watch, watch_of

SMALL = Architecture.parse("stem_c8-fused_mbconv_k3_s2_e1_c8_n1-mbconv_k3_s2_e2_c16_n1_se0.25-head_c32")
QUIET = GpuState("570.86.15", 1980, 2619, 45, frozenset(), frozenset({os.getpid()}))
CAPPED = QUIET._replace(slowed_by=frozenset({"power cap"}), sm_clock_mhz=1400)
CROWDED = QUIET._replace(processes=frozenset({os.getpid(), 7}))

CHANGED = "what slows the GPU changed (power cap)"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    made = Lane(tmp_path / "lane", patience_s=0.1)
    yield made
    made.close()


def is_held(tmp_path: Path, name: str, kind: int = fcntl.LOCK_EX) -> bool:
    with (tmp_path / "lane" / name).open("w") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


States = Callable[[], GpuState | None]


def states(*given: GpuState | None) -> States:
    left = list(given)
    return lambda: left.pop(0)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[Lane | None, States], None]:
    """Gives CPUs a lane and states, as GPUs have them."""

    def give(lane: Lane | None, state: States) -> None:
        monkeypatch.setattr("trainers.step_timer.watch_of", lambda device: Watch(lane, state))

    return give


def task(**options: int) -> ProxyTask:
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 255, (256, 12, 12, 1)).astype(np.uint8), np.arange(256, dtype=np.int64) % 4)
    data = Data(split, split, split, tuple("abcd"), 1, 12, "made up", ())
    return ProxyTask(data, Recipe(epochs=3, batch_size=16), SMALL, device="cpu", **options)


@pytest.mark.parametrize(
    ("seen", "note"),
    [
        ((QUIET, QUIET), None),
        ((None, None), None),
        ((QUIET, CAPPED, CAPPED), f"measured again, since {CHANGED}"),
        ((QUIET, CAPPED, QUIET), f"measured again, since {CHANGED}; the second time too, {CHANGED}"),
        (
            (QUIET, CROWDED, QUIET),
            "measured again, since 1 other process on the GPU; the second time too, 1 other process on the GPU",
        ),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_a_disturbed_timing_is_made_again_once_and_says_so(
    watched: Callable[..., None], seen: tuple[GpuState | None, ...], note: str | None, training: bool
) -> None:
    asked = iter(seen)
    watched(None, lambda: next(asked))
    if training:
        *_, record = task()(SMALL, 0)
        expected = None if note is None else f"step_time: {note}"
        assert record.timing_note == expected
        assert record.sm_clock_mhz == (None if seen[-1] is None else seen[-1].sm_clock_mhz)
    else:
        found = StepTimer(SMALL, 12, Recipe(batch_size=16), device="cpu", blocks=3)(SMALL, 12)
        assert (found.note, found.gpu) == (note, seen[-1])
    assert list(asked) == []  # as often as there was a timing, and once before


def test_the_record_tells_of_the_gpu_at_every_epoch_and_of_samples_at_the_first(
    watched: Callable[..., None], lane: Lane
) -> None:
    watched(lane, states(CAPPED, CAPPED))
    records = list(task()(SMALL, 0))
    for r in records:
        told = (r.driver, r.sm_clock_mhz, r.memory_clock_mhz, r.temperature_c, r.slowed_by, r.timing_note)
        assert told == ("570.86.15", 1400, 2619, 45, "power cap", None)
    first, *others = (r.step_time_samples for r in records)
    assert len(first) >= 5
    assert all(round(ratio, 4) == ratio for ratio in first)
    assert others == [(), ()]


def test_the_lane_is_held_while_steps_are_timed_and_free_while_nothing_is_computed(
    watched: Callable[..., None], lane: Lane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched(lane, lambda: None)
    held: list[str] = []
    anchor, passed = StepTimer._alone, []

    def noted(timer: StepTimer, step: Callable[[], object], against: Callable[[], object]) -> object:
        def looked() -> object:
            passed.append(is_held(tmp_path, "steps", fcntl.LOCK_SH) and is_held(tmp_path, "turn", fcntl.LOCK_SH))
            return step()

        return anchor(timer, looked, against)

    monkeypatch.setattr(StepTimer, "_alone", noted)
    before = torch.nn.CrossEntropyLoss.forward

    def look(loss: torch.nn.CrossEntropyLoss, *values: torch.Tensor) -> torch.Tensor:
        alone = is_held(tmp_path, "turn", fcntl.LOCK_SH)
        held.append("alone" if alone else "together" if is_held(tmp_path, "steps") else "free")
        return before(loss, *values)

    monkeypatch.setattr(torch.nn.CrossEntropyLoss, "forward", look)
    records = task(latency_batch=2)(SMALL, 0)
    for _ in range(3):
        next(records)
        assert not is_held(tmp_path, "steps")
        assert not is_held(tmp_path, "turn")
    assert held[:2] == ["together"] * 2
    timed = held.index("together", 2) if "together" in held[2:] else len(held)
    assert set(held[2:timed]) == {"alone"}
    assert len(held[2:timed]) > 10
    assert held[-1] == "together", "the training goes on beside others"
    assert passed
    assert all(passed), "and latency is timed alone"


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_training_that_ends_in_the_middle_of_its_timing_gives_the_lane_back(
    watched: Callable[..., None], lane: Lane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    watched(lane, lambda: None)
    before, taken = torch.nn.CrossEntropyLoss.forward, []

    def fail(loss: torch.nn.CrossEntropyLoss, *values: torch.Tensor) -> torch.Tensor:
        taken.append(1)
        if len(taken) == steps:
            raise MemoryError
        return before(loss, *values)

    monkeypatch.setattr(torch.nn.CrossEntropyLoss, "forward", fail)
    with pytest.raises(MemoryError):
        list(task()(SMALL, 0))
    assert not is_held(tmp_path, "steps")
    assert not is_held(tmp_path, "turn")


def test_on_a_cpu_there_is_nothing_to_watch() -> None:
    with watch_of(torch.device("cpu")) as watch:
        assert watch.accepts()
    watch.pause()
    watch.leave()
    found = watch.noted(StepTime(1.0, 1.0, 1.0, 0.1, 0.1))
    assert (found.note, found.gpu) == (None, None)


def test_where_no_file_can_be_locked_timing_goes_on_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "file"))
    lane_of.cache_clear()
    assert [lane_of("gpu", nothing), lane_of("gpu", nothing)] == [None, None]
    assert len(caplog.records) == 1
    lane_of.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_has_a_lane_and_where_nvml_is_there_a_state() -> None:
    record = next(iter(ProxyTask(task().data, Recipe(epochs=3, batch_size=16), SMALL, device="cuda")(SMALL, 0)))
    watch = watch_of(torch.device("cuda"))
    assert watch._lane is not None
    assert os.getpid() in watch._lane.members()
    state = gpu_state(str(torch.cuda.get_device_properties(0).uuid).removeprefix("GPU-"))
    assert (record.driver is None) == (state is None)


def nothing() -> None:
    """As a device that is done at once."""


def test_one_that_others_do_not_make_room_for_says_so(watched: Callable[..., None], lane: Lane, tmp_path: Path) -> None:
    watched(lane, lambda: None)
    stubborn = Lane(tmp_path / "lane")
    stubborn.step()
    (note,) = {record.timing_note for record in task()(SMALL, 0)}
    assert note == "step_time: others trained on the GPU meanwhile: they did not pause in time"
    stubborn.close()


TRAINS = """
import sys, time
from pathlib import Path

import torch

torch.set_num_threads(1)
import trainers.step_timer
from tests_watch import SMALL, Lane, Watch, task
from trainers.train import TrainingStep

lane, log = Lane(Path(sys.argv[1]), patience_s=60.0), open(sys.argv[2], "w", buffering=1)
trainers.step_timer.watch_of = lambda device: Watch(lane)
take = TrainingStep.__call__


def noted(*given):
    begun = time.monotonic()
    loss = take(*given)
    log.write(f"{'timed' if lane._alone else 'trained'} {begun} {time.monotonic()}\\n")
    return loss


TrainingStep.__call__ = noted
candidate = task(latency_batch=1)
for seed in range(4):
    (note,) = {m.timing_note for m in candidate(SMALL, seed)}
    assert note is None, note
"""


def test_trainings_of_two_processes_are_each_timed_alone(tmp_path: Path) -> None:
    (tmp_path / "tests_watch.py").write_text(Path(__file__).read_text())
    names = ["a", "b"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    started = [
        subprocess.Popen([sys.executable, "-c", TRAINS, str(tmp_path / "lane"), str(tmp_path / name)], env=environment)
        for name in names
    ]
    assert [process.wait(120) for process in started] == [0, 0]
    spans: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for name in names:
        for line in (tmp_path / name).read_text().splitlines():
            kind, begun, over = line.split()
            spans.setdefault((name, kind), []).append((float(begun), float(over)))
    for name, other in (names, names[::-1]):
        assert len(spans[name, "timed"]) > 40
        assert len(spans[name, "trained"]) > 40
        for kind in ("timed", "trained"):
            together = [(a, b) for a in spans[name, "timed"] for b in spans[other, kind] if a[0] < b[1] and b[0] < a[1]]
            assert together == []
