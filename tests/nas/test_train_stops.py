"""`nas train` that is stopped before its end, by the user or by too little memory: what it says, and how it goes on."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nas_command import error, nas
from torch import Tensor

from results.metrics import read_metrics
from trainers.checkpoint import Checkpoints
from trainers.recipes import RECIPES
from trainers.train import TrainingStep
from trainers.weights import read_tensors

ARCHITECTURE = "stem_c8-fused_mbconv_k3_s2_e1_c8_n1-mbconv_k3_s2_e4_c16_n1_se0.25-head_c32"
QUICK: tuple[object, ...] = (
    "--epochs", 3, "--image-size", 16, "--batch-size", 32, "--augment", "flip", "--minival", 60,
    "--progression", "paper,smallest:8,stages:2",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("_one_thread")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An npz file of noise."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (320, 16, 16, 1), np.uint8), np.arange(320) % 4
    np.savez(tmp_path / "data.npz", x_train=images, y_train=labels, x_test=images[:20], y_test=labels[:20])
    return tmp_path / "data.npz"


class Steps:
    """Stands in the place of `TrainingStep.__call__`, and does something else in one of the steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int, happens: object) -> None:
        self.taken, original = 0, TrainingStep.__call__

        def stepped(own: TrainingStep, images: Tensor, labels: Tensor, rate: float) -> Tensor:
            self.taken += 1
            if self.taken == step and isinstance(happens, BaseException):
                raise happens
            if self.taken == step and callable(happens):
                happens()
            return original(own, images, labels, rate)

        monkeypatch.setattr(TrainingStep, "__call__", stepped)


def test_too_little_memory_is_a_line_and_the_training_is_kept(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        Steps(patched, 12, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore on it"))
        said = error("train", ARCHITECTURE, "--data", data, *QUICK, "-o", "t")
    assert said.startswith(
        "error: memory must suffice for a step of 32 pictures at 8 px, and does not (CUDA out of mem"
    )
    assert "(--batch-size)" in said
    assert Path("t/metrics.parquet").is_file()
    assert nas("train", "t").code == 0


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_ends_its_step_saves_and_goes_on_to_the_same_weights(
    data: Path, monkeypatch: pytest.MonkeyPatch, sign: signal.Signals
) -> None:
    assert nas("train", ARCHITECTURE, "--data", data, *QUICK, "-o", "whole").code == 0
    before = signal.getsignal(sign)
    with monkeypatch.context() as patched:
        steps = Steps(patched, 13, lambda: os.kill(os.getpid(), sign))
        stopped = nas("train", ARCHITECTURE, "--data", data, *QUICK, "-o", "cut")
    assert signal.getsignal(sign) is before
    assert stopped.code == 130
    assert "saving after this step; once more stops at once" in stopped.err
    assert "stopped; go on with: nas train cut" in stopped.err
    assert (steps.taken, Checkpoints(Path("cut/checkpoints")).steps()[-1]) == (13, 13), "no step is lost"
    assert nas("train", "cut").code == 0
    whole, cut = (read_metrics(Path(name) / "metrics.parquet") for name in ("whole", "cut"))
    same = ["epoch", "step", "loss", "accuracy", "learning_rate", "image_size"]
    assert whole[same].equals(cut[same])
    one, other = (read_tensors(Path(name) / "model.safetensors")[0] for name in ("whole", "cut"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_second_interrupt_stops_at_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        Steps(patched, 13, twice)
        assert nas("train", ARCHITECTURE, "--data", data, *QUICK, "-o", "cut").code == 130
    assert Checkpoints(Path("cut/checkpoints")).steps()[-1] == 8, "that of the epoch before"


def test_a_long_training_on_few_pictures_is_evaluated_some_hundred_times(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(RECIPES["transfer"](), min_steps=1200, batch_size=64, image_size=16, eval_size=16)
    monkeypatch.setitem(RECIPES, "transfer", lambda: small)
    options = (*QUICK[2:4], *QUICK[6:10], "--recipe", "transfer")
    told = nas("train", ARCHITECTURE, "--data", data, *options, "-o", "t", "--format", "json")
    assert told.code == 0, told.err
    assert json.loads(told.out)["epochs"] == 300, "of 4 steps each"
    epochs = read_metrics(Path("t/metrics.parquet"))["epoch"].tolist()
    assert epochs == list(range(3, 301, 3)), "each after 12 steps"
    assert "300 of 300 epochs are done" in nas("train", "t").err
    assert nas("train", "t", "--plot").code == 0, "it is over"
    assert "is over" in nas("train", "t", "--plot").err
