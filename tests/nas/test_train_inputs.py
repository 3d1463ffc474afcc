"""`nas train` on other inputs: networks of one's own, several labels a picture, faults; and the files beside."""

from __future__ import annotations

import io
import json
import re
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from nas_command import error, nas
from PIL import Image
from safetensors import SafetensorError
from tensorboardX.proto.event_pb2 import Event

from results.metrics import read_metrics
from trainers.training import Training
from trainers.weights import read_header, read_tensors

ARCHITECTURE = "stem_c8-fused_mbconv_k3_s2_e1_c8_n1-mbconv_k3_s2_e4_c16_n1_se0.25-head_c32"
QUICK = ("--epochs", 2, "--image-size", 16, "--batch-size", 32, "--augment", "none", "--minival", 40)
PROGRESSIVE = ("--progression", "paper,smallest:8,stages:2")
MODEL = """
from torch import nn

def net(num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.1), nn.Linear(32, num_classes))

def fixed(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, num_classes))

def headless(num_classes):
    return nn.Conv2d(3, 8, 3)
"""


pytestmark = pytest.mark.usefixtures("_one_thread")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def picture(quadrants: list[int], rng: np.random.Generator) -> bytes:
    """A JPEG of 24 px, of noise, in which these quadrants are bright."""
    pixels = rng.normal(90, 20, (24, 24, 3))
    for quadrant in quadrants:
        row, column = (12 * part for part in divmod(quadrant, 2))
        pixels[row : row + 12, column : column + 12] += 90
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG")
    return file.getvalue()


def folder(path: Path, *, count: int = 200, classes: int = 4) -> Path:
    """A folder in ImageNet layout, whose class is the bright quadrant."""
    rng = np.random.default_rng(0)
    for number in range(count):
        place = path / f"class{number % classes}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:03d}.jpg").write_bytes(picture([number % classes], rng))
    return path


def several(path: Path, *, count: int = 400) -> Path:
    """A parquet file of pictures with one or two of four labels, each a bright quadrant."""
    rng = np.random.default_rng(0)
    labels = [rng.choice(4, rng.integers(1, 3), replace=False).tolist() for _ in range(count)]
    table = pa.table({"image": [picture(these, rng) for these in labels], "label": labels})
    pq.write_table(table.replace_schema_metadata({"class_names": "ant|bee|cat|dog"}), path, row_group_size=100)
    return path


# Several labels a picture -------------------------------------------------------------------------------------------


def test_pictures_with_several_labels_and_then_others(tmp_path: Path) -> None:
    data = several(tmp_path / "many.parquet")
    small = ("--epochs", 8, "--image-size", 16, "--eval-size", 16, "--batch-size", 32, "--minival", 80)
    options = (*small, "--recipe", "imagenet21k", "--augment", "none", "--learning-rate", 0.02)
    first = nas("train", ARCHITECTURE, "--data", data, *options, "-o", "first", "--format", "json")
    assert first.code == 0, first.err
    told = json.loads(first.out)
    assert told["accuracy"] > 0.8, "right is what is among a picture's labels"
    content = json.loads(Path("first/training.json").read_text())
    assert (content["class_names"], content["form"]) == (["ant", "bee", "cat", "dog"], "streamed")
    again = json.loads(nas("evaluate", "first", "--split", "minival", "--format", "json").out)
    assert again["accuracy"] == pytest.approx(told["accuracy"], abs=0.02)

    other = folder(tmp_path / "other", classes=3)
    tuned = nas("train", ARCHITECTURE, "--data", other, *QUICK, "--learning-rate", 0.02,
                "--weights", "first/model.safetensors", "-o", "tuned")  # fmt: skip
    assert tuned.code == 0, tuned.err
    assert read_header(Path("tuned/model.safetensors")).num_classes == 3
    assert float(re.findall(r"accuracy (\S+) on", tuned.out)[0]) > 0.6


def test_lists_of_labels_whose_firsts_are_all_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = [[0], [0, 1]] * 60
    table = pa.table({"image": [picture(these, rng) for these in labels], "label": labels})
    pq.write_table(table, tmp_path / "data.parquet")
    found = nas("train", ARCHITECTURE, "--data", "data.parquet", *QUICK, "-o", "t")
    assert found.code == 0, found.err


# Networks of one's own ----------------------------------------------------------------------------------------------


class Cut(Exception):
    """A training that is cut off."""


def test_a_network_of_ones_own_by_stages_and_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(MODEL)
    data = folder(tmp_path / "data")
    options = ("--model", "mine.py:net", "--data", data, *QUICK, *PROGRESSIVE, "--epochs", 4, "--save-every", 0)
    whole = nas("train", *options, "-o", "whole")
    assert whole.code == 0, whole.err
    assert read_metrics(Path("whole/metrics.parquet"))["image_size"].tolist() == [8, 8, 16, 16]

    original = Training._stepped

    def stepped(self: Training, *arguments: Any) -> torch.Tensor:
        if self.step == 12:
            raise Cut
        return original(self, *arguments)

    monkeypatch.setattr(Training, "_stepped", stepped)
    with pytest.raises(Cut):
        nas("train", *options, "-o", "cut")
    monkeypatch.setattr(Training, "_stepped", original)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # its file is found from there too
    done = nas("train", "../cut")
    assert done.code == 0, done.err
    one, other = (read_tensors(tmp_path / name / "model.safetensors")[0] for name in ("whole", "cut"))
    assert [key for key in one if not torch.equal(one[key], other[key])] == []
    found = json.loads(nas("evaluate", "../cut", "--split", "minival", "--format", "json").out)
    assert found["accuracy"] == pytest.approx(float(re.findall(r"accuracy (\S+) on", done.out)[0]), abs=1e-4)


def test_a_network_of_ones_own_is_tried_first(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODEL)
    data = folder(tmp_path / "data", count=120)
    options = ("--data", data, *QUICK, "-o", "t")
    assert re.search(
        r"at least the total stride of the model .*mine\.py:net as their side; at 2 px its layer 3 has a stride of 2 "
        r"and a map of 1 px: take a larger size",
        error("train", "--model", "mine.py:net", *options, "--progression", "paper,smallest:2"),
    )
    assert "fixed must take pictures of shape (1, 3, 8, 8), of which this training has some" in error(
        "train", "--model", "mine.py:fixed", *options, *PROGRESSIVE
    )
    fixed = ("--model", "mine.py:fixed", "--data", data, *QUICK, "--progression", "constant", "-o", "fixed")
    assert nas("train", *fixed).code == 0
    assert "fixed must take pictures of shape (1, 3, 20, 20)" in error(
        "evaluate", "fixed", "--image-size", 20, "--split", "minival"
    )
    assert (
        "headless must give a logit for each of the 4 classes, (1, 4) for a picture of 16 px; got (1, 8, 14"
        in error("train", "--model", "mine.py:headless", *options, "--progression", "constant")
    )
    assert not Path("t").exists()


def test_a_model_in_a_module_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_here.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        f"{MODEL}\n\n@dataclass\nclass Width:\n    of: int = 8\n"
    )
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    data = folder(tmp_path / "data", count=120)
    common = ("--data", data, *QUICK, "--epochs", 1, "--progression", "constant")
    for model in ("mine_here:net", "mine_here.py:net"):
        found = nas("train", "--model", model, *common, "-o", model.replace(":", "-"))
        assert found.code == 0, found.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def net(num_classes):\n    return {}[0]", r"called with num_classes=4 alone; it raised KeyError: 0$"),
        ("def net():\n    pass", r"called with num_classes=4 alone; it raised TypeError: net\(\) got an unexpected"),
        ("def net(num_classes:\n", r"\S*/bad.py cannot be imported: SyntaxError: .*\(bad.py, line 1\)$"),
        ("1 / 0", r"\S*/bad.py cannot be imported: ZeroDivisionError: division by zero$"),
        ("def other(num_classes):\n    pass", r"must be a function of \S*/bad.py; its functions are other$"),
        (MODEL.replace("Conv2d(3,", "Conv2d(1,"), r"must take pictures of 3 channels, which these have; it takes 1: "),
    ],
)
def test_what_is_wrong_with_a_model_is_said(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    data = folder(tmp_path / "data", count=120)
    told = error("train", "--model", "bad.py:net", "--data", data, *QUICK, "--progression", "constant")
    assert re.search(said, told), told
    assert "No module named 'nowhere'" in error("train", "--model", "nowhere:net", "--data", data, *QUICK)


def test_weights_of_another_network_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODEL)
    data = folder(tmp_path / "data", count=120)
    assert nas("train", "--model", "mine.py:net", "--data", data, *QUICK, "-o", "first").code == 0
    (tmp_path / "mine.py").write_text(MODEL.replace("nn.Conv2d(8, 8,", "nn.Conv2d(8, 12,").replace("32, ", "48, "))
    text = error("train", "--model", "mine.py:net", "--data", data, *QUICK, "--weights", "first/model.safetensors")
    assert "this network has 3.weight of shape 12x8x3x3, and in the file it has 8x8x3x3 there" in text
    architecture = error("train", ARCHITECTURE, "--data", data, *QUICK, "--weights", "first/model.safetensors")
    assert "stem.conv.weight of shape 8x3x3x3, and in the file it has no such tensor" in architecture


# Faults -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixing", ["mixup:0.2", "cutmix:0.2"])
def test_mixing_with_one_class(tmp_path: Path, mixing: str) -> None:
    data = folder(tmp_path / "data", count=60, classes=1)
    text = error("train", ARCHITECTURE, "--data", data, *QUICK, "--augment", mixing, "-o", "t")
    assert "training pictures must be of at least two classes; those of" in text
    assert not Path("t").exists()


def test_a_picture_that_cannot_be_read_in_the_middle(tmp_path: Path) -> None:
    data = folder(tmp_path / "data")
    whole = (data / "class1" / "101.jpg").read_bytes()
    (data / "class1" / "101.jpg").write_bytes(whole[:200])
    (data / "class2" / "102.jpg").write_bytes(b"no picture")
    for memory, folder_ in (("streamed", "s"), ("packed", "p")):
        found = nas(
            "train", ARCHITECTURE, "--data", data, *QUICK, "--memory", memory, "-o", folder_, "--format", "json"
        )
        assert found.code == 0, found.err
        assert json.loads(found.out)["unreadable"] == 2
        last = next(line for line in found.err.splitlines() if "pictures could not be read" in line)
        assert last.startswith("2 pictures could not be read, and were left out or replaced by others: ")
        assert "101.jpg" in last
        assert "102.jpg" in last


def test_a_full_disk_says_to_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: object, file: Path, metadata: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    data = folder(tmp_path / "data", count=120)
    monkeypatch.setattr("trainers.weights.save_file", full)
    found = nas("train", ARCHITECTURE, "--data", data, *QUICK, "-o", "t")
    assert found.code == 1
    assert "what was saved is kept; make room on the disk, and go on with: nas train t\n" in found.err
    assert "No space left on device" in found.err.splitlines()[-1]


def test_a_training_that_diverges(tmp_path: Path) -> None:
    data = folder(tmp_path / "data")
    options = ("--data", data, *QUICK, *PROGRESSIVE)
    text = error("train", ARCHITECTURE, *options, "--learning-rate", 1e30, "-o", "at-once")
    assert re.search(r"(loss|weights) became \S+ .*: try a lower learning rate \(--learning-rate\), a longer", text)
    assert "No checkpoint came before: begin another training, and remove at-once" in text


def test_a_training_that_diverges_later_keeps_what_was_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = folder(tmp_path / "data")
    original = Training._stepped

    def stepped(self: Training, *arguments: Any) -> torch.Tensor:
        loss = original(self, *arguments)
        if self.step == 8:  # of the steps from 0, the last but one of the second epoch
            for parameter in self.network.parameters():
                parameter.data.fill_(float("nan"))
        return loss

    monkeypatch.setattr(Training, "_stepped", stepped)
    text = error("train", ARCHITECTURE, "--data", data, *QUICK, "-o", "t")
    assert "The last good checkpoint, of step 5, is kept in t/checkpoints: begin another training, if you like" in text
    assert "--weights t/model.safetensors" in text
    monkeypatch.setattr(Training, "_stepped", original)
    assert all(tensor.isfinite().all() for tensor in read_tensors(Path("t/model.safetensors"))[0].values())
    assert all(
        tensor.isfinite().all()
        for tensor in read_tensors(Path("t/checkpoints/step-000000005/network.safetensors"))[0].values()
    )


# What is written ----------------------------------------------------------------------------------------------------


def scalars(path: Path) -> list[tuple[str, int, float]]:
    """The points of TensorBoard's files in a folder: records of length, checksum, event, checksum."""
    found = []
    for file in path.glob("events.out.tfevents.*"):
        content, at = file.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack("<Q", content[at : at + 8])
            event = Event.FromString(content[at + 12 : at + 12 + length])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            at += length + 16
    return found


def test_event_files_and_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = folder(tmp_path / "data")
    original = Training._stepped

    def stepped(self: Training, *arguments: Any) -> torch.Tensor:
        if self.step == 12:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Training, "_stepped", stepped)
    options = ("--data", data, *QUICK, *PROGRESSIVE, "--epochs", 4, "-o", "t")
    cut = nas("train", ARCHITECTURE, *options, "--tensorboard", "--plot")
    assert cut.code == 130
    assert "stopped; go on with: nas train t" in cut.err
    assert {step for _, step, _ in scalars(Path("t/tensorboard"))} == {1, 2}
    drawn = Path("t/curves.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")

    monkeypatch.setattr(Training, "_stepped", original)
    assert nas("train", "t").code == 0, "goes on with what it was begun with"
    points = scalars(Path("t/tensorboard"))
    assert len({(tag, step) for tag, step, _ in points}) == len(points), "no point is there twice"
    frame = read_metrics(Path("t/metrics.parquet"))
    for tag, name in (
        ("accuracy/minival", "accuracy"),
        ("loss/training", "loss"),
        ("schedule/image_size", "image_size"),
        ("schedule/learning_rate", "learning_rate"),
        ("strength/dropout", "dropout"),
        ("speed/images_per_s", "images_per_s"),
    ):
        assert [value for each, _, value in sorted(points) if each == tag] == pytest.approx(frame[name].tolist())
    assert Path("t/curves.png").read_bytes() != drawn

    Path("t/curves.png").unlink()
    (tmp_path / "data").rename(tmp_path / "gone")
    again = nas("train", "t", "--plot")
    assert again.code == 0, again.err
    assert Path("t/curves.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_missing_for_them_is_said_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = folder(tmp_path / "data", count=60)
    for flag, library in (("--plot", "matplotlib"), ("--tensorboard", "tensorboardX")):
        with monkeypatch.context() as changed:
            changed.setitem(sys.modules, library, None)
            text = error("train", ARCHITECTURE, "--data", data, *QUICK, flag, "-o", "t")
        assert f"{flag} needs {library}, which cannot be imported here: install it" in text
    assert not Path("t").exists()
