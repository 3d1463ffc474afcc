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
from nas.trainings import read, task_of
from results.metrics import read_metrics
from trainers.devices import processor_name
from trainers.recipe import Recipe
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
ONE_SIZE = ("--progression", "constant")
TUNED = (*QUICK, *ONE_SIZE, "--epochs", 1, "--learning-rate", 0.001, "--format", "json")


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
    assert re.fullmatch(
        r"test: accuracy [01]\.\d{4} \(0\.\d{4} to [01]\.\d{4}\) on 100 pictures at 16 px\n", tested.out
    )
    other = pictures(tmp_path / "other.npz", seed=1)
    assert json.loads(nas("evaluate", "t", "--data", other, "--format", "json").out)["pictures"] == 100
    assert "must have the classes that were trained" in error(
        "evaluate", "t", "--data", pictures(tmp_path / "five.npz", classes=5)
    )
    assert set(content["recipe"]) == set(Recipe.__dataclass_fields__), "those at their defaults too"
    assert not {"dropout", "survival"} & set(content["settings"]), "which the recipe has"
    assert nas("evaluate", "t", "--image-size", 24).code == 0
    assert nas("export", "t", "--to", "card", "-o", "card.md").code == 0
    card = Path("card.md").read_text()
    best = int(frame["epoch"][frame["accuracy"].idxmax()])
    for line in (
        f"| accuracy on the minival | {told['accuracy']} |",
        f"| epoch of the weights, the best on the minival | {best} |",
        "| epochs trained | 6 |",
        f"| trained on | {processor_name()} |",
        "| recipe.optimizer | sgd |",
        "| recipe.schedule | cosine |",
        "| recipe.dropout | 0.2 |",
    ):
        assert line in card.splitlines(), line
    accuracy = re.findall(r"accuracy (\S+) ", tested.out)[0]
    assert re.search(rf"accuracy on test at 16 px \| {accuracy} \(95 % interval .*, 100 pictures\)", card)
    for kind in ("minival at 16", "test at 24", f"{re.escape(str(other))} at 16"):
        assert re.search(rf"\| accuracy on {kind} px \| ", card)
    assert not re.search("settings.(dropout|survival)", card)
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
    assert "must be a function of" in error("train", "--model", "mine.py:other", "--data", data, *QUICK)


def test_weights_to_begin_with(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data.npz")
    assert nas("train", ARCHITECTURE, "--data", data, *QUICK, *ONE_SIZE, "--epochs", 6, "-o", "first").code == 0
    more = ("--weights", "first/model.safetensors", *TUNED)
    tuned = json.loads(nas("train", ARCHITECTURE, "--data", data, *more, "-o", "tuned").out)
    assert tuned["accuracy"] > 0.7
    five = nas("train", ARCHITECTURE, "--data", pictures(tmp_path / "five.npz", classes=5), *more, "-o", "five")
    assert five.code == 0, "with a new classifier"
    assert re.search(
        r"begins with \d+ tensors of \S+/first/model.safetensors \(this software's names\); new, for other classes: "
        r"classifier.weight, classifier.bias\n",
        five.err,
    )
    other = ARCHITECTURE.replace("c16", "c24")
    assert re.search(r"(depthwise|project|expand)\S*.*16", error("train", other, "--data", data, *more, "-o", "other"))
    assert not Path("other").exists()


def test_a_file_of_weights_named_as_the_network_is_begun_with(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data.npz")
    assert nas("train", ARCHITECTURE, "--data", data, *QUICK, *ONE_SIZE, "--epochs", 6, "-o", "first").code == 0
    tuned = nas("train", "first/model.safetensors", "--data", data, *TUNED, "-o", "tuned")
    assert json.loads(tuned.out)["accuracy"] > 0.7, "not of fresh weights"
    assert "first/model.safetensors (this software's names); the classifier's too" in tuned.err
    named = nas("train", ARCHITECTURE, "--data", data, *TUNED, "--weights", "first/model.safetensors", "-o", "named")
    assert json.loads(named.out)["accuracy"] == json.loads(tuned.out)["accuracy"]


def test_as_many_classes_of_other_names_have_a_new_classifier(tmp_path: Path) -> None:
    for name, base in (("one", 0), ("other", 10)):
        data = dict(np.load(pictures(tmp_path / f"{name}.npz")))
        np.savez(tmp_path / f"{name}.npz", **{k: v + base if k.startswith("y") else v for k, v in data.items()})
    assert nas("train", ARCHITECTURE, "--data", "one.npz", *QUICK, "-o", "first").code == 0
    more = (*QUICK, "--epochs", 1, "--weights", "first/model.safetensors")
    other = nas("train", ARCHITECTURE, "--data", "other.npz", *more, "-o", "second")
    assert "new, for other classes: classifier.weight, classifier.bias" in other.err
    same = nas("train", ARCHITECTURE, "--data", "one.npz", *more, "-o", "third")
    assert "the classifier's too" in same.err


def test_what_is_refused(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data.npz")
    assert "recipe must be one of imagenet-paper-s," in error("train", ARCHITECTURE, "--recipe", "x")
    assert "name what to train" in error("train", "--data", data)
    assert "a training has one network" in error("train", ARCHITECTURE, "--model", "a:b")
    assert "--trial must go with the run" in error("train", "--model", "a:b", "--trial", "3")
    assert "pictures must have at least the network's total stride" in error(
        "train", ARCHITECTURE, "--data", data, *QUICK, "--progression", "paper,smallest:4", "-o", "t"
    )
    assert "take a smaller one (--batch-size)" in error(
        "train", ARCHITECTURE, "--data", data, *QUICK, "--batch-size", 1024
    )
    assert "seed must be at least 0; got -1" in error("train", ARCHITECTURE, "--data", data, *QUICK, "--seed", -1)
    assert "split_seed must be at least 0; got -2" in error("train", ARCHITECTURE, "--split-seed", -2)
    assert "such as resize,smallest:16" in error("train", ARCHITECTURE, "--progression", "resize")
    assert not Path("t").exists()
    assert "holds no training" in error("evaluate", ".")
    assert nas("train", ARCHITECTURE, "--data", data, *QUICK, "-o", "t").code == 0
    assert "t must not exist yet, and it holds a training" in error("train", ARCHITECTURE, "--data", data, "-o", "t")
    pictures(data, seed=9)
    assert "must be those that the training began with: fingerprint was" in error("train", "t")
    assert "split must be minival or test" in error("evaluate", "t", "--split", "train")


def test_accumulated_and_growing_batches_warm_up_and_another_size_of_evaluation(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data.npz")
    grown = ("--accumulate", 2, "--larger-batches", "--warmup-epochs", 1.5)
    found = nas("train", ARCHITECTURE, "--data", data, *QUICK, *PROGRESSIVE, *grown, "--epochs", 4, "-o", "t")
    assert found.code == 0, found.err
    recipe = json.loads(Path("t/training.json").read_text())["recipe"]
    assert (recipe["accumulate"], recipe["smaller_sizes_larger_batches"], recipe["warmup_epochs"]) == (2, True, 1.5)
    frame = read_metrics(Path("t/metrics.parquet"))
    assert frame["batch_size"].tolist() == [256, 256, 64, 64]
    assert "accumulate must divide batch_size" in error(
        "train", ARCHITECTURE, "--data", data, *QUICK, "--accumulate", 3
    )
    usual, larger = (
        json.loads(nas("evaluate", "t", *more, "--format", "json").out) for more in ((), ("--image-size", 24))
    )
    assert (usual["image_size"], larger["image_size"]) == (16, 24)
    assert larger["accuracy"] > 0.3
    assert (
        "eval_size, the side of the pictures in evaluation, must be at least the network's total stride, 8 px"
        in error("evaluate", "t", "--image-size", 7)
    )


def test_an_earlier_releases_file_is_gone_on_with(tmp_path: Path) -> None:
    """Those left settings at their defaults out, and had settings that are no more."""
    data = pictures(tmp_path / "data.npz")
    common = ("train", ARCHITECTURE, "--data", data, *QUICK, *ONE_SIZE)
    for name in ("whole", "old"):
        assert nas(*common, "-o", name).code == 0
    whole, old = (Path(name) / "training.json" for name in ("whole", "old"))
    content = json.loads(old.read_text())
    default = Recipe().to_json()
    kept = {k: v for k, v in content["recipe"].items() if v != default[k] or k in ("momentum", "augmentation")}
    content["recipe"] = {**kept, "multi_label": True}
    content["settings"] |= {"dropout": 0.0, "survival": 1.0}
    old.write_text(json.dumps(content))
    assert task_of(read(whole.parent)) == task_of(read(old.parent))
    told = [json.loads(nas("evaluate", path.parent, "--format", "json").out)["accuracy"] for path in (whole, old)]
    assert told[0] == told[1]
    card = nas("export", "old", "--to", "card").out
    assert "| recipe.schedule | cosine |" in card
    assert "settings.dropout" not in card


def test_evaluations_of_weights_that_are_no_more_are_not_told(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data.npz")
    assert nas("train", ARCHITECTURE, "--data", data, *QUICK, *ONE_SIZE, "-o", "t").code == 0
    for _ in range(2):
        assert nas("evaluate", "t").code == 0
    (noted,) = json.loads(Path("t/evaluations.json").read_text())
    assert "accuracy on test at 16 px" in nas("export", "t", "--to", "card").out
    Path("t/evaluations.json").write_text(json.dumps([{**noted, "step": "3"}]))
    assert "accuracy on test" not in nas("export", "t", "--to", "card").out
    Path("t/evaluations.json").write_text("[{}]")
    assert "t/evaluations.json cannot be read" in error("export", "t", "--to", "card")


def test_fewer_sizes_than_stages_are_told(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data.npz")
    common = ("train", ARCHITECTURE, "--data", data, *QUICK, "--epochs", 1)
    few = nas(*common, "--batch-size", 300, "--progression", "paper,smallest:8")
    assert "its 2 steps have 2 of the 4 stages, of 8, 13 px: for the others take more --epochs" in few.err
    same = nas(*common, "--progression", "paper,smallest:14", "-o", "same")
    assert "some of its 4 stages have the same size: paper as it is meant takes a larger --image-size" in same.err
    usual = nas(*common, "--progression", "paper,smallest:8", "-o", "usual")
    assert not re.search("stages have|of the 4 stages", usual.err)


def test_what_a_training_cannot_change_is_refused_when_it_is_gone_on_with(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data.npz")
    assert nas("train", ARCHITECTURE, "--data", data, *QUICK, "--epochs", 1, "-o", "t").code == 0
    text = error("train", "t", "--epochs", 5, "--learning-rate", 3, "--seed", 0)
    assert "--epochs, --learning-rate, --seed cannot change while a training is gone on with: leave them out" in text
    assert "--trial cannot change" in error("train", "t", "--trial", 3)
    assert "--out cannot change" in error("train", "t", "-o", "u")
    assert nas("train", "t", "--save-every", 5, "--device", "cpu", "--quiet", "--format", "json").code == 0


def test_the_recipes_are_listed() -> None:
    found = nas("recipes").out.splitlines()
    assert any(line.startswith("small-cpu ") for line in found)
    assert len(found) == 13
