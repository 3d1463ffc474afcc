"""A study's trainings: that one which was cut off ends as one that was not, and that a folder has but one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from coloured_pictures import pictures

from nas import trainings
from nas.studies.trained import trained
from search_spaces import Architecture
from trainers.progressive import Progression
from trainers.recipe import Recipe
from trainers.task import TrainingTask

SMALL = Architecture.parse("stem_c8-fused_mbconv_k3_s2_e1_c8_n1-mbconv_k3_s2_e4_c16_n1_se0.25-head_c32")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def task(folder: Path, **changes: Any) -> TrainingTask:
    source, test = folder / "pictures.parquet", folder / "test.parquet"
    if not source.exists():
        pictures(source, 300)
        pictures(test, 100, seed=1)
    recipe = Recipe(
        epochs=4,
        batch_size=32,
        learning_rate=0.8,
        image_size=16,
        eval_size=24,
        ema=0.8,
        progression=Progression(kind="paper", stages=2, smallest=8),
    )
    made = TrainingTask(recipe=recipe, source=str(source), test_source=str(test), architecture=SMALL, minival=60)
    return replace(made, **changes)


def cut_off(folder: Path, made: TrainingTask, epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a training, which is interrupted after so many epochs."""
    write = trainings.write_results

    def interrupted(training: Any, folder: Path) -> None:
        if len(training.told) == epochs:
            raise KeyboardInterrupt
        write(training, folder)

    monkeypatch.setattr(trainings, "write_results", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(folder, made, "cpu")
    monkeypatch.undo()


def test_a_training_that_was_cut_off_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(tmp_path / "whole", task(tmp_path), "cpu")
    cut_off(tmp_path / "cut", task(tmp_path), 2, monkeypatch)
    rest = trained(tmp_path / "cut", task(tmp_path), "cpu")
    same = ("minival", "test", "best_epoch", "pixels")
    assert [rest[name] for name in same] == [whole[name] for name in same]
    assert whole["test"] > 0.4  # of four classes, so it is no matter of chance
    assert rest["outside_share"] is None
    assert 0 < whole["outside_share"] < 1
    assert list(whole["pictures_per_s"]) == ["8", "16"]
    assert [len(rates) for rates in whole["pictures_per_s"].values()] == [2, 2]
    assert whole["pixels"] == 7 * 32 * (2 * 8**2 + 2 * 16**2)  # 240 pictures are 7 batches
    with pytest.raises(ValueError, match="its seed is 0, and 1 was asked for"):
        trained(tmp_path / "cut", task(tmp_path, seed=1), "cpu")


def test_a_training_goes_on_where_its_pictures_are_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    cut_off(tmp_path / "here" / "cut", task(tmp_path / "here"), 1, monkeypatch)
    there = (tmp_path / "here").rename(tmp_path / "there")
    rest = trained(there / "cut", task(there), "cpu")
    assert rest["outside_share"] is None, "it went on"
    (there / "test.parquet").unlink()
    pictures(there / "test.parquet", 100, seed=7)
    with pytest.raises(ValueError, match="pictures"):
        trained(there / "cut", task(there), "cpu")


def test_workers_end_when_who_asked_for_them_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import time\n"
        "from functools import partial\n"
        "from nas.studies.trained import side_by_side\n"
        "if __name__ == '__main__':\n"
        "    calls = {name: partial(time.sleep, 60) for name in 'ab'}\n"
        "    list(side_by_side(calls, device='cpu', workers=2))\n"
    )
    parent = subprocess.Popen([sys.executable, script])
    try:
        assert _comes_to_hold(lambda: len(_spawned(parent.pid)) == 2)
        workers = _spawned(parent.pid)
        time.sleep(3)  # until they are at it
    finally:
        parent.kill()
        parent.wait()
    assert _comes_to_hold(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers)), "they train on"


def _spawned(pid: int) -> list[int]:
    """The processes that a process spawned to work, on Linux."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def _comes_to_hold(condition: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
