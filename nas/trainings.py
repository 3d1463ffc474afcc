"""A training's folder: what was asked, its checkpoints, its metrics, and the weights that came of it.

`training.json` says what is trained; `checkpoints/` is the truth of how far it is, and all else follows from both:
`metrics.parquet` (a row an epoch) and `model.safetensors` (the weights of the best epoch on the minival).
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nas
from nas.interrupts import first_interrupt
from nas.locks import exclusive
from results.store import check_free
from results.whole_file import write_whole

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
RAY = ".ray"
"""Where Ray Train writes, while it runs."""


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

    _check_new(folder)  # before pictures are read
    training = task.training(device, checkpoints=Checkpoints(folder / CHECKPOINTS))
    pictures = training.pictures
    content = {
        "schema_version": SCHEMA_VERSION,
        **task.begun_with(training.network).to_json(),
        "recipe": training.recipe.to_json(),
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
    _create(folder, content)
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
        raise ValueError(
            f"{path} cannot be read ({error!r}): restore it from a copy, or remove {folder} and begin again"
        ) from error
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
    """A training to go on with, at its last checkpoint. What a kill left half written is removed.

    Args:
        group: of the processes that train it together, of which this is one; the first of them holds the folder's lock.

    Raises:
        BlockingIOError: another process trains in the folder.
        ValueError: the pictures have changed since, or a file of it cannot be read.
        OSError: pictures or files cannot be had.
    """
    content = read(folder)
    if group is not None:
        return _opened(folder, content, device, group)
    from trainers.group import ALONE

    with locked(folder):  # so that no checkpoint is removed while it is read
        shutil.rmtree(folder / RAY, ignore_errors=True)
        return _opened(folder, content, device, ALONE)


def note_places(folder: Path, source: str, test_source: str | None) -> None:
    """Note where the pictures of a training are now, since its folder was moved with them.

    Raises:
        FileNotFoundError, ValueError: as `read`.
        OSError: the disk would not take it.
    """
    content = read(folder)
    places = {"source": source, "test_source": test_source}
    if any(content[name] != place for name, place in places.items()):
        write_whole(folder / FILE, (json.dumps(content | places, indent=1) + "\n").encode())


def _opened(folder: Path, content: Mapping[str, Any], device: str, group: Group) -> Training:
    from trainers.checkpoint import Checkpoints
    from trainers.task import check_pictures

    task, normalisation = task_of(content)
    checkpoints = Checkpoints(folder / CHECKPOINTS)
    training = task.training(device, checkpoints=checkpoints, normalisation=normalisation, group=group)
    check_pictures(training.pictures, content, task.source)
    if not group.rank:
        checkpoints.tidy(keep=None if training.best is None else training.best[1])
    return training


def locked(folder: Path) -> AbstractContextManager[None]:
    """While the block runs, no other process trains in the folder.

    Raises:
        BlockingIOError: one does.
    """
    return exclusive(folder / FILE, f"another process trains in {folder}: wait for it, or name another folder")


@contextmanager
def _held(training: Training, folder: Path) -> Iterator[None]:
    """`locked`, for a training that is at the folder's last checkpoint.

    Raises:
        BlockingIOError: another process trains in the folder, or did since the training was opened.
    """
    with locked(folder):
        steps = training.checkpoints.steps() if training.checkpoints else []
        if max(steps, default=0) != training.step:
            raise BlockingIOError(f"another process has trained in {folder} meanwhile: go on with: nas train {folder}")
        yield


def catch_up(training: Training, folder: Path) -> None:
    """Bring a folder's results up to its checkpoint: a kill may have come between the two.

    Raises:
        BlockingIOError: another process trains in the folder.
        OSError: the disk would not take them.
    """
    if training.told:
        with _held(training, folder):
            write_results(training, folder)


def epochs_here(training: Training, folder: Path, watch: Watch, *, save_every_s: float) -> Generator[Epoch, None, None]:
    """Train to the end in this process; gives each epoch as it is over, when the folder has its results.

    The first Ctrl-C (or SIGTERM) ends the step, or the evaluation, and saves.

    Args:
        watch: is told of each step before it is taken.

    Raises:
        KeyboardInterrupt: it was asked for.
        BlockingIOError: another process trains in the folder.
        FloatingPointError, OSError: as of `Training.run`.
    """
    stopping = False

    def stop() -> None:
        nonlocal stopping
        stopping = True
        print("saving after this step; once more stops at once", file=sys.stderr)

    def before_step(now: Settings, seen: int) -> None:
        if stopping:
            training.save()
            raise KeyboardInterrupt
        watch(now, seen, training.loss)

    with _held(training, folder), first_interrupt(stop):
        for epoch in training.run(save_every_s=save_every_s, watch=before_step):
            write_results(training, folder)
            yield epoch


def write_results(training: Training, folder: Path) -> None:
    """Bring metrics and weights up to the last epoch.

    Raises:
        ValueError: the weights of the best epoch are nowhere.
        OSError: the disk would not take them; those that were there are as they were.
    """
    from results.metrics import write_metrics
    from trainers.best_weights import save_best

    write_metrics([asdict(epoch) for epoch in training.told], folder / METRICS)
    save_best(training, folder / WEIGHTS)


def evaluate(
    folder: Path, device: str, *, split: str | None = None, source: str | None = None, image_size: int | None = None
) -> dict[str, Any]:
    """The accuracy of a training's best weights on a split of its pictures, or on others of the same classes.

    Args:
        split: `minival` or `test`; None is the test split.
        source: of other pictures: their test split is evaluated, or all where they have none.
        image_size: side of the pictures, in pixels; None is the recipe's.

    Raises:
        ValueError: there is no such split, the pictures have changed since, or the others have other classes or were
            trained on.
        OSError: pictures or weights cannot be had.
    """
    from trainers.devices import torch_device
    from trainers.evaluate import evaluation

    if split is not None and source is not None:
        raise ValueError(
            f"a split (--split) must be of the pictures that were trained on; got {split} of {source} (--data), of "
            f"which the test split is evaluated, or all: leave one out"
        )
    content = read(folder)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise FileNotFoundError(f"{folder} has no weights (there is no {WEIGHTS}): `nas train {folder}` writes them")
    task, normalisation = task_of(content)
    if image_size is not None:
        task = replace(task, recipe=replace(task.recipe, eval_size=image_size))
        form = content.pop("form").split()[0]  # packed at another size, the pictures are the same
        task = task if source is not None else replace(task, memory=form)
    found = evaluation(
        task, weights, normalisation, torch_device(device), split=split or "test", source=source, known=content
    )
    return {"folder": str(folder), "split": source or split or "test", **found}


def _check_new(folder: Path) -> None:
    if is_training(folder):
        raise FileExistsError(
            f"{folder} must not exist yet, and it holds a training: go on with `nas train {folder}`, or name another"
        )
    check_free(folder)


def _create(folder: Path, content: Mapping[str, Any]) -> None:
    """Make a training's folder with its file, or nothing.

    Raises:
        FileExistsError: it holds something by now.
        OSError: the disk would not take it.
    """
    from trainers.durable import sync

    _check_new(folder)
    path, new = folder / FILE, not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x") as file:  # of two processes that begin here at once, one gets through
            file.write(json.dumps(content, indent=1) + "\n")
        sync(path)
        sync(folder)
    except FileExistsError:
        _check_new(folder)
        raise
    except OSError:
        path.unlink(missing_ok=True)
        if new:
            folder.rmdir()
        raise
