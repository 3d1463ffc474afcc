"""`nas train` and `nas evaluate`: what they leave and say, how they go on after a kill, and what they refuse."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from nas_command import error, nas

from nas.config import SearchConfig
from nas.runs import RunSettings, make_session, note_start, start
from nas.search import run_serial
from results.metrics import read_metrics
from trainers.weights import read_tensors, saved_network

ARCHITECTURE = "stem_c8-fused_mbconv_k3_s2_e1_c8_n1-mbconv_k3_s2_e4_c16_n1_se0.25-head_c32"
QUICK: tuple[object, ...] = (
    "--epochs",
    2,
    "--image-size",
    16,
    "--batch-size",
    64,
    "--augment",
    "none",
    "--minival",
    60,
)
PROGRESSIVE = ("--progression", "paper,smallest:8,stages:2")


pytestmark = pytest.mark.usefixtures("_one_thread")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pictures(path: Path, *, seed: int = 0, count: int = 900, classes: int = 4) -> Path:
    """An npz file of noise with one bright quadrant, whose number is the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = rng.normal(100, 25, (count, 16, 16))
    for image, label in zip(images, labels, strict=True):
        row, column = (8 * part for part in divmod(label % 4, 2))
        image[row : row + 8, column : column + 8] += 70
    data = images.clip(0, 255).astype(np.uint8)[..., None]
    np.savez(path, x_train=data[100:], y_train=labels[100:], x_test=data[:100], y_test=labels[:100])
    return path


def test_a_training_leaves_weights_metrics_and_what_was_asked(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data.npz")
    found = nas(
        "train", ARCHITECTURE, "--data", data, *QUICK, *PROGRESSIVE, "--epochs", 6, "-o", "t", "--format", "json"
    )
    assert found.code == 0, found.err
    told = json.loads(found.out)
    assert told["accuracy"] > 0.8
    assert "paper,stages:2,smallest:8: pictures at 8, 16 px, evaluated at 16" in found.err
    lines = re.findall(
        r"^epoch \d/6: stage \d, \d+ px, .*loss \d\.\d{4}, accuracy [01]\.\d{4}, .* left$", found.err, re.M
    )
    assert len(lines) == 6
    frame = read_metrics(Path("t/metrics.parquet"))
    assert frame["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert frame["image_size"].tolist() == [8, 8, 8, 16, 16, 16]
    assert frame["accuracy"].max() == told["accuracy"]
    content = json.loads(Path("t/training.json").read_text())
    assert (content["architecture"], content["num_classes"]) == (ARCHITECTURE, 4)
    assert content["pictures"]["test"] == 100
    network = saved_network(Path("t/model.safetensors"))
    assert str(network.architecture) == ARCHITECTURE

    again = json.loads(nas("evaluate", "t", "--split", "minival", "--format", "json").out)
    assert again["accuracy"] == pytest.approx(told["accuracy"])
    tested = nas("evaluate", "t")
    assert re.fullmatch(r"test: accuracy 0\.\d{4} \(0\.\d{4} to [01]\.\d{4}\) on 100 pictures at 16 px\n", tested.out)
    other = pictures(tmp_path / "other.npz", seed=1)
    assert json.loads(nas("evaluate", "t", "--data", other, "--format", "json").out)["pictures"] == 100
    assert "must have the classes that were trained" in error(
        "evaluate", "t", "--data", pictures(tmp_path / "five.npz", classes=5)
    )
    assert nas("export", "t", "--to", "card", "-o", "card.md").code == 0
    assert f"{told['accuracy']:g}"[:5] in Path("card.md").read_text()
    done = nas("train", "t")
    assert "6 of 6 epochs are done" in done.err
    assert f"accuracy {told['accuracy']:.4f} on the minival" in done.out


def test_a_training_that_was_killed_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data.npz")
    options = ("--data", data, *QUICK, *PROGRESSIVE, "--epochs", 30)
    assert nas("train", ARCHITECTURE, *options, "-o", "whole").code == 0
    command = [sys.executable, "-m", "nas.cli", "train", ARCHITECTURE, *map(str, options), "-o", "cut"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True)
    metrics, end = Path("cut/metrics.parquet"), time.monotonic() + 120
    while not metrics.exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (tmp_path / "elsewhere").mkdir()
    with contextlib.chdir(tmp_path / "elsewhere"):
        done = nas("train", "../cut")
    assert done.code == 0, done.err
    assert not re.search(r"30 of 30 epochs are done", done.err), "it was killed before its end"
    whole, cut = (read_metrics(Path(name) / "metrics.parquet") for name in ("whole", "cut"))
    same = ["epoch", "step", "loss", "accuracy", "learning_rate", "image_size"]
    assert whole[same].equals(cut[same])
    one, other = (read_tensors(Path(name) / "model.safetensors")[0] for name in ("whole", "cut"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_trial_is_trained_on_what_it_was_searched_on(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data.npz")
    config = SearchConfig(
        data=str(data), image_size=16, epochs=1, batch_size=64, augment="flip", minival=60, split_seed=3
    )
    search, store = start(config, Path("run"))
    settings = RunSettings(budget=1)
    note_start(store, settings)
    run_serial(make_session(search, store, settings), search.evaluate)
    store.close()
    found = nas("train", "run", "--epochs", 1, "--batch-size", 64, "-o", "t")
    assert found.code == 0, found.err
    content = json.loads(Path("t/training.json").read_text())
    assert (content["recipe"]["image_size"], content["recipe"]["augmentation"]) == (16, "flip"), "as it was searched"
    assert (content["source"], content["minival"], content["split_seed"]) == (str(data), 60, 3)
    assert content["fingerprint"] == store.configuration["identity"]["task"]["data"]
    assert content["provenance"]["trial"]["number"] == 0


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n\n"
        "def net(num_classes):\n"
        "    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), "
        "nn.Flatten(), nn.Dropout(0.1), nn.Linear(128, num_classes))\n\n\n"
        "def none(num_classes):\n    return None\n"
    )
    data = pictures(tmp_path / "data.npz")
    found = nas("train", "--model", "mine.py:net", "--data", data, *QUICK, *PROGRESSIVE, "--epochs", 6, "-o", "t")
    assert found.code == 0, found.err
    assert float(re.findall(r"accuracy (\S+) on the minival", found.out)[0]) > 0.8
    (tmp_path / "elsewhere").mkdir()
    with contextlib.chdir(tmp_path / "elsewhere"):
        assert nas("evaluate", "../t").code == 0
    assert "must make a torch.nn.Module; got NoneType" in error(
        "train", "--model", "mine.py:none", "--data", data, *QUICK
    )
    assert "must be a function that can be imported" in error(
        "train", "--model", "mine.py:other", "--data", data, *QUICK
    )


def test_weights_to_begin_with(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data.npz")
    assert nas("train", ARCHITECTURE, "--data", data, *QUICK, "--epochs", 6, "-o", "first").code == 0
    more = ("--weights", "first/model.safetensors", *QUICK, "--epochs", 1, "--learning-rate", 0.001, "--format", "json")
    tuned = json.loads(nas("train", ARCHITECTURE, "--data", data, *more, "-o", "tuned").out)
    assert tuned["accuracy"] > 0.7
    five = pictures(tmp_path / "five.npz", classes=5)
    assert nas("train", ARCHITECTURE, "--data", five, *more, "-o", "five").code == 0, "with a new classifier"
    other = ARCHITECTURE.replace("c16", "c24")
    assert re.search(r"(depthwise|project|expand)\S*.*16", error("train", other, "--data", data, *more, "-o", "other"))
    assert not Path("other").exists()


def test_what_is_refused(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data.npz")
    assert "recipe must be one of imagenet-paper-s," in error("train", ARCHITECTURE, "--recipe", "x")
    assert "name what to train" in error("train", "--data", data)
    assert "a training has one network" in error("train", ARCHITECTURE, "--model", "a:b")
    assert "pictures must have at least the network's total stride" in error(
        "train", ARCHITECTURE, "--data", data, *QUICK, "--progression", "paper,smallest:4", "-o", "t"
    )
    assert "batch_size must be at most the" in error(
        "train", ARCHITECTURE, "--data", data, *QUICK, "--batch-size", 1024
    )
    assert not Path("t").exists()
    assert "holds no training" in error("evaluate", ".")
    assert nas("train", ARCHITECTURE, "--data", data, *QUICK, "-o", "t").code == 0
    assert "t must not exist yet, and it holds something" in error("train", ARCHITECTURE, "--data", data, "-o", "t")
    pictures(data, seed=9)
    assert "must be those that the training began with: fingerprint was" in error("train", "t")
    assert "split must be minival or test" in error("evaluate", "t", "--split", "train")


def test_the_recipes_are_listed() -> None:
    found = nas("recipes").out.splitlines()
    assert any(line.startswith("small-cpu ") for line in found)
    assert len(found) == 12
