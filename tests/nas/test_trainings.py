"""A training's folder: that one process at a time has it, and that nothing of it is lost or left behind."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nas_command import error, nas
from torch import Tensor

from nas import trainings
from nas.trainings import begin, epochs_here, locked, read, reopen
from search_spaces import Architecture
from trainers.augmentation import Augmentation
from trainers.blocks import NetworkSettings
from trainers.network import build_network
from trainers.progressive import Progression
from trainers.recipe import Recipe
from trainers.task import TrainingTask
from trainers.training import Training
from trainers.weights import read_tensors, save_weights

ARCHITECTURE = "stem_c8-fused_mbconv_k3_s2_e1_c8_n1-mbconv_k3_s2_e4_c16_n1_se0.25-head_c32"
QUICK = ("--epochs", 2, "--image-size", 16, "--batch-size", 64, "--augment", "none", "--minival", 60)
RECIPE = Recipe(
    epochs=3,
    batch_size=64,
    learning_rate=0.2,
    image_size=16,
    augmentation=Augmentation(),
    progression=Progression(kind="paper", stages=3, smallest=8),
)

pytestmark = pytest.mark.usefixtures("_one_thread")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_pictures("data.npz")


def save_pictures(path: str, *, count: int = 420, test: int = 60, classes: int = 4, seed: int = 0) -> None:
    """An npz file of noise with one bright quadrant, whose number is the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = rng.normal(100, 25, (count, 16, 16, 1))
    for image, label in zip(images, labels, strict=True):
        row, column = (8 * part for part in divmod(label % 4, 2))
        image[row : row + 8, column : column + 8] += 70
    data = images.clip(0, 255).astype(np.uint8)
    held_out = {"x_test": data[:test], "y_test": labels[:test]} if test else {}
    np.savez(path, x_train=data[test:], y_train=labels[test:], **held_out)


def task(**changes: Any) -> TrainingTask:
    given = {"recipe": RECIPE, "source": "data.npz", "architecture": Architecture.parse(ARCHITECTURE), "minival": 60}
    return TrainingTask(**{**given, **changes})


def begun(folder: str = "t", **changes: Any) -> Training:
    return begin(task(**changes), Path(folder), "cpu", provenance={})


def trained(training: Training, folder: str = "t", *, epochs: int = 3) -> Training:
    """A training that has gone on for some epochs, and was then cut off."""
    running = epochs_here(training, Path(folder), lambda *step: None, save_every_s=300)
    for _ in range(epochs):
        next(running)
    running.close()
    return training


# One process at a time ----------------------------------------------------------------------------------------------


def test_of_two_that_begin_in_one_folder_the_later_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    original = TrainingTask.training

    def overtaken(self: TrainingTask, *arguments: Any, **options: Any) -> Training:
        monkeypatch.setattr(TrainingTask, "training", original)
        assert nas("train", ARCHITECTURE, "--data", "data.npz", *QUICK, "--seed", 1, "-o", "race").code == 0
        return original(self, *arguments, **options)

    monkeypatch.setattr(TrainingTask, "training", overtaken)
    said = error("train", ARCHITECTURE, "--data", "data.npz", *QUICK, "--seed", 2, "-o", "race")
    assert "race must not exist yet, and it holds a training: go on with `nas train race`, or name another" in said
    assert read(Path("race"))["seed"] == 1


def test_a_checkpoint_is_read_while_no_other_process_may_remove_it(monkeypatch: pytest.MonkeyPatch) -> None:
    trained(begun(), epochs=1)
    original = TrainingTask.training

    def looking(self: TrainingTask, *arguments: Any, **options: Any) -> Training:
        with pytest.raises(BlockingIOError, match="another process trains in t"), locked(Path("t")):
            pass
        return original(self, *arguments, **options)

    monkeypatch.setattr(TrainingTask, "training", looking)
    assert reopen(Path("t"), "cpu").told
    with locked(Path("t")):
        assert error("train", "t").endswith("another process trains in t: wait for it, or name another folder")


def test_a_training_that_another_process_took_further_is_not_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    trained(begun(), epochs=1)
    stale = reopen(Path("t"), "cpu")
    trained(reopen(Path("t"), "cpu"), epochs=1)
    for going_on in (lambda: trained(stale), lambda: trainings.catch_up(stale, Path("t"))):
        with pytest.raises(BlockingIOError, match="another process has trained in t meanwhile: go on with: nas train"):
            going_on()
    assert len(reopen(Path("t"), "cpu").told) == 2


# The weights of the best epoch --------------------------------------------------------------------------------------


def assert_equal(file: Path, expected: tuple[dict[str, Tensor], dict[str, str]]) -> None:
    tensors, about = read_tensors(file)
    assert about == expected[1]
    assert tensors.keys() == expected[0].keys()
    assert [name for name in tensors if not torch.equal(tensors[name], expected[0][name])] == []


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_weights_that_are_gone_are_written_again(ema: float) -> None:
    training = begun(recipe=replace(RECIPE, ema=ema))
    running = epochs_here(training, Path("t"), lambda *step: None, save_every_s=300)
    next(running)
    training.best = (2.0, training.step)  # the first epoch's stay the best
    trainings.write_results(training, Path("t"))
    file = Path("t/model.safetensors")
    before = read_tensors(file)
    file.unlink()
    next(running)
    assert_equal(file, before)
    list(running)
    for spoil in (file.unlink, lambda: file.write_bytes(b"torn"), lambda: save_weights(training.evaluated, file)):
        spoil()
        assert nas("train", "t").code == 0
        assert_equal(file, before)
    assert nas("evaluate", "t").code == 0

    file.unlink()
    shutil.rmtree(Path("t/checkpoints/step-000000004"))
    assert "those of step 4, must be in t/model.safetensors or in a checkpoint; they are in neither" in error(
        "train", "t"
    )


def test_what_is_kept_is_on_the_disk_before_it_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut would leave of a file that was renamed before its content was written is an empty file."""
    synced: set[int] = set()
    renamed: list[str] = []
    fsync, replaced = os.fsync, os.replace

    def remember(descriptor: int) -> None:
        fsync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    def rename(source: Any, target: Any, **options: Any) -> None:
        if str(target).endswith(".safetensors"):
            assert os.stat(source).st_ino in synced, f"{target} would be empty"  # noqa: PTH116 - as os has it
            renamed.append(Path(target).name)
        replaced(source, target, **options)

    monkeypatch.setattr(os, "fsync", remember)
    monkeypatch.setattr(os, "replace", rename)
    training = begun()
    assert Path("t/training.json").stat().st_ino in synced
    trained(training, epochs=1)
    assert "model.safetensors" in renamed


def test_the_weights_that_it_began_with_are_read_once() -> None:
    """Also where they ask for a padding and an epsilon that are not the architecture's own."""
    settings = NetworkSettings(padding="same", bn_eps=1e-2)
    network = build_network(Architecture.parse(ARCHITECTURE), 4, 1, settings=settings)
    save_weights(network, Path("own.safetensors"))
    trained(begun("whole", weights="own.safetensors"), "whole")
    trained(begun("cut", weights="own.safetensors"), "cut", epochs=1)
    Path("own.safetensors").unlink()
    for _ in range(2):  # to the end, and when it is over
        assert nas("train", "cut").code == 0
    assert_equal(Path("cut/model.safetensors"), read_tensors(Path("whole/model.safetensors")))
    assert nas("evaluate", "cut").code == 0


# What is refused ----------------------------------------------------------------------------------------------------


def test_a_recipe_without_a_picture_size_is_given_one() -> None:
    options = ("--data", "data.npz", "--recipe", "proxy", "--minival", 60, "-o", "t")
    assert "must have an image_size, the side of its largest pictures; this one has none: give --image-size" in error(
        "train", ARCHITECTURE, *options
    )
    assert not Path("t").exists()
    done = nas("train", ARCHITECTURE, *options, "--image-size", 16)
    assert done.code == 0, done.err


def test_faults_that_show_without_pictures_are_told_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network(Architecture.parse(ARCHITECTURE.replace("c16", "c24")), 7, 3)
    save_weights(network, Path("other.safetensors"))
    Path("torn.safetensors").write_bytes(b"torn")
    Path("mine.py").write_text("import nothing_of_that_name\n")
    monkeypatch.setattr("trainers.task.open_pictures", lambda *arguments, **options: pytest.fail("they were read"))
    Path("good.py").write_text("def net(num_classes):\n    raise AssertionError\n")
    for options, fault in (
        ((ARCHITECTURE, "--progression", "paper,smallest:3"), "take a larger smallest size, .* paper,smallest:8"),
        ((ARCHITECTURE, "--image-size", 3), r"side, 8 px; .*: take a larger image_size \(--image-size\), 3 px"),
        ((ARCHITECTURE, "--eval-size", 3), "eval_size, .*, must be at least the network's total stride, 8 px; got 3"),
        ((ARCHITECTURE, "--weights", "none.safetensors"), "there is no such file of weights"),
        ((ARCHITECTURE, "--weights", "torn.safetensors"), "torn.safetensors cannot be read as safetensors"),
        ((ARCHITECTURE, "--weights", "other.safetensors"), "other.safetensors is of another network. The first"),
        (("--model", "mine.py:net"), "mine.py cannot be imported: ModuleNotFoundError: No module named"),
        (("--model", "good.py:net", "--weights", "torn.safetensors"), "cannot be read as safetensors"),
    ):
        assert re.search(fault, error("train", *QUICK, *options, "--data", "data.npz", "-o", "t"))
    assert not Path("t").exists()


# What is evaluated --------------------------------------------------------------------------------------------------


def evaluated(*options: object) -> dict[str, Any]:
    found = nas("evaluate", "t", *options, "--format", "json")
    assert found.code == 0, found.err
    return dict(json.loads(found.out))


def test_a_minival_that_would_hold_training_pictures_is_not_evaluated() -> None:
    trained(begun())
    before = evaluated("--split", "minival")
    Path("data.npz").rename("old.npz")
    save_pictures("data.npz", count=480)
    for split in ("minival", "test"):
        text = error("evaluate", "t", "--split", split)
        assert "data.npz must be those that the training began with: fingerprint was" in text
    Path("old.npz").rename("data.npz")
    assert evaluated("--split", "minival") == before


@pytest.mark.parametrize("memory", ["packed", "streamed"])
def test_other_pictures_are_evaluated_all_of_them_or_their_test_split(memory: str) -> None:
    trained(begun(memory=memory))
    save_pictures("four.npz", count=4, test=0)
    assert evaluated("--data", "four.npz")["pictures"] == 4, "one a class"
    save_pictures("others.npz", test=0, seed=1)
    assert evaluated("--data", "others.npz")["pictures"] == 420
    save_pictures("split.npz", test=50, seed=1)
    assert evaluated("--data", "split.npz")["pictures"] == 50
    own = [evaluated(*options)["accuracy"] for options in ((), ("--split", "test"), ("--data", "data.npz"))]
    assert own[0] == own[1] == own[2]
    assert "leave one out" in error("evaluate", "t", "--data", "others.npz", "--split", "minival")


def test_pictures_that_were_trained_on_are_not_scored() -> None:
    save_pictures("data.npz", test=0)
    trained(begun())
    shutil.copy("data.npz", "copy.npz")
    for data in ("copy.npz", "data.npz"):
        assert f"must not have been trained on; those of {data} were" in error("evaluate", "t", "--data", data)
    save_pictures("data.npz", test=0, seed=1)
    assert "those of data.npz were" in error("evaluate", "t", "--data", "data.npz"), "though they are others now"


# What is left behind ------------------------------------------------------------------------------------------------


def test_what_a_kill_left_is_removed_when_it_is_gone_on_with() -> None:
    trained(begun(), epochs=3)
    folder = Path("t")
    before = sorted(path for path in folder.rglob("*") if path.is_file())
    for left in (folder / "checkpoints" / ".partial", folder / "checkpoints" / "step-000000001", folder / ".ray" / "x"):
        left.mkdir(parents=True)
        (left / "network.safetensors").write_bytes(b"half")
    reopen(folder, "cpu")
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == before
    assert not (folder / ".ray").exists()


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_at_the_beginning_leaves_the_folder_as_it_was(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if there:
        Path("t").mkdir()
    original: Callable[[int], None] = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in error("train", ARCHITECTURE, "--data", "data.npz", *QUICK, "-o", "t")
    assert Path("t").exists() == there
    monkeypatch.setattr(os, "fsync", original)
    assert nas("train", ARCHITECTURE, "--data", "data.npz", *QUICK, "-o", "t").code == 0
