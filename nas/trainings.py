"""A training's folder: what was asked, its checkpoints, its metrics, and the weights that came of it.

`training.json` says what is trained; `checkpoints/` is the truth of how far it is, and all else follows from both:
`metrics.parquet` (a row an epoch) and `model.safetensors` (the weights of the best epoch on the minival).
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nas
from results.store import check_free

if TYPE_CHECKING:
    from trainers.epoch import Epoch
    from trainers.group import Group
    from trainers.normalisation import Normalisation
    from trainers.progressive import Settings
    from trainers.task import TrainingTask
    from trainers.training import Training

# Modules that load torch or pyarrow are imported inside the functions, so that --help is quick.

Watch = Callable[["Settings", int, float | None], None]
"""Is told of a step: what it has, how many pictures were seen before it, the loss of the epoch so far."""

SCHEMA_VERSION = 1
FILE, CHECKPOINTS, METRICS, WEIGHTS = "training.json", "checkpoints", "metrics.parquet", "model.safetensors"


def is_training(folder: Path) -> bool:
    """Whether a folder is a training's."""
    return (folder / FILE).is_file()


def begin(task: TrainingTask, folder: Path, device: str, *, provenance: Mapping[str, Any]) -> Training:
    """A new training. Everything is built before the folder is made, so that an error leaves nothing behind.

    Args:
        provenance: of the network, where it was searched for.

    Raises:
        FileExistsError: the folder holds something.
        ValueError, OSError: as `TrainingTask.training`.
    """
    from trainers.checkpoint import Checkpoints

    check_free(folder)  # before pictures are read
    training = task.training(device, checkpoints=Checkpoints(folder / CHECKPOINTS))
    pictures = training.pictures
    content = {
        "schema_version": SCHEMA_VERSION,
        **task.to_json(),
        "recipe": training.recipe.describe(),
        "num_classes": len(pictures.class_names),
        "class_names": pictures.class_names,
        "in_channels": pictures.in_channels,
        "pictures": pictures.sizes,
        "fingerprint": pictures.fingerprint,
        "form": pictures.form,
        "normalisation": training.normalisation._asdict(),
        "versions": {
            "nas": nas.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy")},
        },
        **({"provenance": dict(provenance)} if provenance else {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / FILE, content)
    return training


def read(folder: Path) -> dict[str, Any]:
    """What a training's folder says of it.

    Raises:
        FileNotFoundError: the folder holds no training.
        ValueError: it was written by another release, or is broken.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no training (there is no {FILE} in it); `nas train` makes one")
    try:
        content = json.loads(path.read_text())
        found = content["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error!r}); restore it from a copy") from error
    if found != SCHEMA_VERSION:
        raise ValueError(f"{folder} has schema version {found}, and this release reads {SCHEMA_VERSION}")
    return dict(content)


def task_of(content: Mapping[str, Any]) -> tuple[TrainingTask, Normalisation]:
    """The task of a training's folder, and what its pixels are brought to."""
    from trainers.normalisation import Normalisation
    from trainers.task import TrainingTask

    names = TrainingTask.__dataclass_fields__
    task = TrainingTask.from_json({name: content[name] for name in names})
    kept = content["normalisation"]
    return task, Normalisation(tuple(kept["mean"]), tuple(kept["std"]))


def reopen(folder: Path, device: str, *, group: Group | None = None) -> Training:
    """A training to go on with, at its last checkpoint.

    Args:
        group: of the processes that train it together, of which this is one.

    Raises:
        ValueError: the pictures have changed since, or a file of it cannot be read.
        OSError: pictures or files cannot be had.
    """
    from trainers.checkpoint import Checkpoints
    from trainers.group import ALONE

    content = read(folder)
    task, normalisation = task_of(content)
    checkpoints = Checkpoints(folder / CHECKPOINTS)
    training = task.training(device, checkpoints=checkpoints, normalisation=normalisation, group=group or ALONE)
    pictures = training.pictures
    for name, here in (("fingerprint", pictures.fingerprint), ("form", pictures.form), ("pictures", pictures.sizes)):
        if content[name] != here:
            raise ValueError(
                f"the pictures of {task.source} must be those that the training began with: {name} was "
                f"{content[name]}, and is {here}: bring them back, or begin another training"
            )
    return training


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """While the block runs, no other process trains in the folder.

    Raises:
        BlockingIOError: one does.
    """
    descriptor = os.open(folder / FILE, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise BlockingIOError(f"another process trains in {folder}: wait for it, or name another folder") from error
    try:
        yield
    finally:
        os.close(descriptor)


def catch_up(training: Training, folder: Path) -> None:
    """Bring a folder's results up to its checkpoint: a kill may have come between the two.

    Raises:
        BlockingIOError: another process trains in the folder.
        OSError: the disk would not take them.
    """
    if training.told:
        with locked(folder):
            write_results(training, folder)


def epochs_here(training: Training, folder: Path, watch: Watch, *, save_every_s: float) -> Generator[Epoch, None, None]:
    """Train to the end in this process; gives each epoch as it is over, when the folder has its results.

    Args:
        watch: is told of each step before it is taken.

    Raises:
        BlockingIOError: another process trains in the folder.
        FloatingPointError, OSError: as of `Training.run`.
    """
    with locked(folder):
        for epoch in training.run(save_every_s=save_every_s, watch=lambda now, seen: watch(now, seen, training.loss)):
            write_results(training, folder)
            yield epoch


def write_results(training: Training, folder: Path) -> None:
    """Bring metrics and weights up to the last epoch.

    Raises:
        OSError: the disk would not take them; those that were there are as they were.
    """
    from results.metrics import write_metrics
    from trainers.weights import save_weights

    write_metrics([asdict(epoch) for epoch in training.told], folder / METRICS)
    if training.best is not None and training.best[1] == training.step:
        mean, std = ([value / 255 for value in values] for values in training.normalisation)
        about = {
            "accuracy": str(training.best[0]),
            "mean": json.dumps(mean),
            "std": json.dumps(std),
            "class_names": json.dumps(training.pictures.class_names),
        }
        save_weights(training.evaluated, folder / WEIGHTS, about)


def evaluate(folder: Path, device: str, *, split: str, source: str | None = None) -> dict[str, Any]:
    """The accuracy of a training's best weights on a split of its pictures, or on others of the same classes.

    Args:
        split: `minival` or `test`.
        source: of other pictures, all of which are evaluated.

    Raises:
        ValueError: there is no such split, or the others have other classes.
        OSError: pictures or weights cannot be had.
    """
    from trainers.devices import torch_device
    from trainers.evaluate import evaluation

    content = read(folder)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise FileNotFoundError(f"{folder} has no weights yet (there is no {WEIGHTS}): let `nas train` end an epoch")
    task, normalisation = task_of(content)
    found = evaluation(
        task, weights, normalisation, torch_device(device), split=split, source=source,
        class_names=tuple(content["class_names"]),
    )  # fmt: skip
    return {"folder": str(folder), "split": split if source is None else source, **found}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)
