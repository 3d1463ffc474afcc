"""Training on several devices by Ray Train: the numbers of one device, and whatever can happen to the workers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from nas_command import nas

from nas.distributed import _check_folder, _plain
from nas.ray_cluster import ray_started
from nas.search import Workers
from nas.training_devices import check_batch, choose_devices
from nas.trainings import FILE, begin, epochs_here, locked
from results.metrics import read_metrics
from search_spaces import Architecture
from trainers.augmentation import Augmentation
from trainers.progressive import Progression
from trainers.recipe import Recipe
from trainers.task import TrainingTask
from trainers.weights import read_tensors

ARCHITECTURE = "stem_c8-fused_mbconv_k3_s2_e1_c8_n1-mbconv_k3_s2_e4_c16_n2_se0.25-head_c32"
RECIPE = Recipe(
    epochs=2,
    batch_size=32,
    learning_rate=0.05,
    image_size=16,
    dropout=0.2,
    survival=0.8,
    ema=0.9,
    accumulate=2,
    augmentation=Augmentation(flip=False, randaugment=4, mixup=0.2),
    progression=Progression(kind="paper", stages=2, smallest=8, randaugment=(1, 4), dropout=(0.1, 0.2)),
)
MODEL = """
import errno, os, signal, time
from pathlib import Path

import torch
from torch import distributed, nn

import trainers.checkpoint


class Net(nn.Sequential):
    steps = 0

    def forward(self, x):
        self.steps += self.training
        rank = distributed.get_rank() if distributed.is_initialized() else 0
        if self.steps == 12 and Path("die").exists() and rank == 1:
            Path("die").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.steps == 12 and Path("full").exists() and rank == 0:
            trainers.checkpoint.write_tensors = full
        if Path("slow").exists():
            time.sleep(1)
        return super().forward(x) * (float("nan") if self.steps == 12 and Path("nan").exists() else 1)


def full(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


def net(num_classes):
    return Net(nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
               nn.Dropout(0.1), nn.Linear(128, num_classes))
"""


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """One Ray of two cores for all tests here, since to start one takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        with ray_started(Workers(2)):
            yield
        torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MODEL)
    rng = np.random.default_rng(0)
    labels = np.arange(420) % 4
    images = rng.normal(100, 25, (420, 16, 16))
    for image, label in zip(images, labels, strict=True):
        row, column = (8 * part for part in divmod(label, 2))
        image[row : row + 8, column : column + 8] += 70
    data = images.clip(0, 255).astype(np.uint8)[..., None]
    np.savez("data.npz", x_train=data[60:], y_train=labels[60:], x_test=data[:60], y_test=labels[:60])


def task(recipe: Recipe = RECIPE, *, model: str | None = None, shards: int = 2) -> TrainingTask:
    architecture = Architecture.parse(ARCHITECTURE) if model is None else None
    return TrainingTask(
        recipe=recipe, source="data.npz", architecture=architecture, model=model, minival=60, seed=1, shards=shards
    )


def begun(folder: str, **options: object) -> Path:
    """A training's folder, in which nothing was trained."""
    begin(task(**options), Path(folder), "cpu", provenance={})  # type: ignore[arg-type]
    return Path(folder)


def alone(folder: str, **options: object) -> Path:
    """A training in this process, to its end."""
    training = begin(task(**options), Path(folder), "cpu", provenance={})  # type: ignore[arg-type]
    list(epochs_here(training, Path(folder), lambda *step: None, save_every_s=300))
    return Path(folder)


def assert_same_within_rounding(one: Path, other: Path) -> None:
    metrics = [read_metrics(folder / "metrics.parquet") for folder in (one, other)]
    same = ["epoch", "step", "stage", "image_size", "batch_size", "learning_rate", "randaugment", "dropout", "survival"]
    pd.testing.assert_frame_equal(metrics[0][same], metrics[1][same])
    np.testing.assert_allclose(metrics[0]["loss"], metrics[1]["loss"], rtol=1e-3)
    np.testing.assert_allclose(metrics[0]["accuracy"], metrics[1]["accuracy"], atol=1 / 60 + 1e-6)
    found = []
    for folder in (one, other):
        last = sorted((folder / "checkpoints").glob("step-*"))[-1]
        found.append([read_tensors(last / f"{name}.safetensors")[0] for name in ("network", "ema", "optimizer")])
    for mine, theirs in zip(*found, strict=True):
        for name in mine:
            torch.testing.assert_close(
                mine[name], theirs[name], rtol=2e-3, atol=2e-4, msg=lambda m, n=name: f"{n}: {m}"
            )


# The numbers ------------------------------------------------------------------------------------------------------


def test_two_workers_give_the_numbers_of_one_process() -> None:
    whole, together = alone("whole"), begun("together")
    code, out, err = nas("train", together, "--devices", 2)
    assert code == 0, err
    assert len(re.findall(r"^epoch \d/2: stage \d, \d+ px, .*loss \d\.\d{4}, accuracy .* left$", err, re.M)) == 2
    assert re.search(r"^accuracy \d\.\d{4} on the minival", out)
    assert_same_within_rounding(whole, together)
    assert sorted(path.name for path in together.iterdir()) == sorted(path.name for path in whole.iterdir())
    one, other = (read_tensors(folder / "model.safetensors")[0] for folder in (whole, together))
    assert one.keys() == other.keys()
    assert nas("evaluate", together)[0] == 0
    code, out, err = nas("train", together)  # as many devices as it began with; there is nothing to do
    assert code == 0, err
    assert "2 of 2 epochs are done" in err


def test_other_chance_gives_other_weights() -> None:
    """What the test above compares is no less than what shards decide."""
    one, two = alone("one", shards=1), alone("two")
    with pytest.raises(AssertionError):
        assert_same_within_rounding(one, two)


def test_workers_on_several_machines() -> None:
    """Two nodes of a cluster, of a core each, that see the same folder."""
    from ray.cluster_utils import Cluster  # not before `nas.ray_settings`

    whole, together = alone("whole"), begun("together")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        command = [sys.executable, "-m", "nas.cli", "train", together, "--address", cluster.address]
        found = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=250, check=False)
    finally:
        cluster.shutdown()
    assert found.returncode == 0, found.stderr
    assert_same_within_rounding(whole, together)


# What happens to workers ------------------------------------------------------------------------------------------


def own(epochs: int) -> Recipe:
    return replace(RECIPE, epochs=epochs, batch_size=60, accumulate=1)  # 5 steps an epoch


def test_a_lost_worker_is_replaced_and_goes_on_from_the_checkpoint() -> None:
    whole, cut = alone("whole", recipe=own(4), model="mine.py:net"), begun("cut", recipe=own(4), model="mine.py:net")
    Path("die").touch()
    code, out, err = nas("train", cut)
    assert code == 0, err
    assert not Path("die").exists()
    assert "raylet" not in out + err
    assert "a worker was lost; going on at step 10, for the 1. of 3 times" in err
    assert re.findall(r"^epoch (\d)/4", err, re.M) == ["1", "2", "3", "4"], "each is told once"
    assert_same_within_rounding(whole, cut)


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("nan", r"error: the training loss became nan before step 1\d: try a lower learning rate .*"),
        ("full", r"error: .*of step 15 could not be written \(No space left on device\); the one of step 10 is good"),
    ],
)  # fmt: skip
def test_an_error_reaches_the_user_as_it_is(what: str, error: str) -> None:
    folder = begun("t", recipe=own(4), model="mine.py:net")
    Path(what).touch()
    code, out, err = nas("train", folder)
    assert (code, out) == (1, "")
    assert re.fullmatch(error, err.splitlines()[-1]), err
    assert "Traceback" not in err
    assert "was lost" not in err, "there is nothing to try again"
    Path(what).unlink()
    code, out, err = nas("train", folder, "--devices", 1)
    assert code == 0, err
    assert "2 of 4 epochs are done" in err


def until_unlocked(folder: Path, timeout_s: float) -> None:
    """Wait until no process trains in a folder."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            with locked(folder):
                return
        except BlockingIOError:
            assert time.monotonic() < end
            time.sleep(0.2)


@pytest.mark.timeout(900)
def test_stopped_and_killed_it_goes_on_to_the_same_numbers() -> None:
    whole, cut = alone("whole", recipe=own(12), model="mine.py:net"), begun("cut", recipe=own(12), model="mine.py:net")
    Path("slow").touch()
    for how, least in ((signal.SIGINT, 1), (signal.SIGKILL, 2)):
        process = subprocess.Popen(
            [sys.executable, "-m", "nas.cli", "train", str(cut)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        said = []
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if re.match(r"epoch \d+/12: ", line):  # one that is over, not a line within a slow one
                os.killpg(process.pid, how)  # Ctrl-C reaches all, too
                break
        out, rest = process.communicate(timeout=300)
        assert not out, said
        assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL), (said, rest)
        assert len(read_metrics(cut / "metrics.parquet")) >= least
        if how == signal.SIGINT:
            assert rest.splitlines()[-1] == "stopped; go on with: nas train cut"
            assert not (cut / ".ray").exists()
            with locked(cut):
                pass
    until_unlocked(cut, 120)  # workers end when they find out
    Path("slow").unlink()
    code, _, err = nas("train", cut, "--devices", 1)
    assert code == 0, err
    assert re.search(r" ([2-9]|1[01]) of 12 epochs are done", err)
    assert_same_within_rounding(whole, cut)


# What is refused --------------------------------------------------------------------------------------------------


def test_devices_that_are_not_there_or_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    assert choose_devices(None, shards=None, device="cpu", address=None) is None
    assert choose_devices(2, shards=None, device="cpu", address=None) == Workers(2, 1.0, 0.0)
    assert choose_devices(None, shards=4, device="cpu", address=None) == Workers(4, 1.0, 0.0)
    assert choose_devices(1, shards=4, device="cpu", address=None) is None
    with pytest.raises(ValueError, match=r"a divisor of the 4 devices it began with: --devices 1, 2, 4; got 3"):
        choose_devices(3, shards=4, device="cpu", address=None)
    with pytest.raises(ValueError, match=r"at most the 4 cores of this machine; got 8; the training began with 8"):
        choose_devices(None, shards=8, device="cpu", address=None)
    with pytest.raises(ValueError, match="devices must be given with the address of a cluster"):
        choose_devices(None, shards=None, device="cpu", address="127.0.0.1:1")
    with pytest.raises(ValueError, match=r"nothing answers at 127\.0\.0\.1:1"):
        choose_devices(2, shards=None, device="cpu", address="127.0.0.1:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_devices(2, shards=None, device="auto", address=None) == Workers(2, 2.0, 1.0)
    with pytest.raises(ValueError, match=r"at most the 2 GPUs of this machine; got 3: ask for fewer, or --device cpu"):
        choose_devices(3, shards=None, device="auto", address=None)


def test_batches_that_cannot_be_shared_out() -> None:
    check_batch(replace(RECIPE, batch_size=64), 4)
    with pytest.raises(ValueError, match=r"x 2 accumulated, .*; got 64 on 3: --batch-size 60 or 66"):
        check_batch(replace(RECIPE, batch_size=64), 3)
    code, _, err = nas("train", ARCHITECTURE, "--data", "data.npz", "--batch-size", 63, "--devices", 2, "-o", "t")
    assert (code, err) == (1, err)
    assert "the batch must be a multiple of the devices, which each take an equal part of it; got 63 on 2" in err
    assert not Path("t").exists()


def test_a_folder_that_a_machine_does_not_see(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be seen by all machines that train; .* is not there on"):
        _check_folder(tmp_path / "none", "{}")
    (tmp_path / FILE).write_text("other")
    with pytest.raises(ValueError, match="holds another training there on"):
        _check_folder(tmp_path, "{}")
    _check_folder(tmp_path, "other")


def test_errors_keep_what_they_say_on_their_way() -> None:
    assert isinstance(_plain(FileNotFoundError(2, "No such file", "there")), FileNotFoundError)
    assert str(_plain(ValueError("so"))) == "so"
    assert isinstance(_plain(BlockingIOError("taken")), BlockingIOError)
    assert str(_plain(KeyError("x"))) == "a worker failed: KeyError: 'x'"
