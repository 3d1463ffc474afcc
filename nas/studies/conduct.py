"""From a study's name to what it says: how large it may be, its steps, and what is written of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.progress import duration
from nas.studies import folder as folders
from nas.studies import load
from nas.studies.asking import workers_of
from nas.studies.pace import Pace
from nas.studies.study import Conditions, Material, Place, Results, Size, Step, Study, Told, in_words
from nas.studies.trained import side_by_side

if TYPE_CHECKING:
    from trainers.datasets import Dataset

Say = Callable[[str], None]

NO_MATERIAL = Material(train=0, test=0, side=0, classes=1000, channels=3)
"""Of a study that needs no pictures."""

PICTURES = "pictures"
"""Within a study's folder, where the pictures are that it takes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a study will do.

    Args:
        size: how large it is.
        steps: how many.
        expected_s: seconds that it takes.
        larger_s: seconds of the next larger size; None where this is the largest that there is, or that memory bears.
    """

    size: Size
    steps: int
    expected_s: float
    larger_s: float | None


def described(name: str, plan: Plan, *, budget_s: float) -> list[str]:
    """A plan in words, a line each."""
    study = load(name)
    more = "" if plan.larger_s is None else f"; the next larger size takes about {duration(plan.larger_s)}"
    return [
        f"{name}: {study.question} ({study.source})",
        f"steps {plan.steps}; {in_words(plan.size)}",
        f"about {duration(plan.expected_s)} of {duration(budget_s)}{more}",
    ]


def planned(name: str, conditions: Conditions, *, budget_s: float, workers: int) -> Plan:
    """The largest size of a study that fits into a time, by what training steps take here.

    Args:
        name: of the study.
        conditions: what it is made on.
        budget_s: seconds that it may take.
        workers: trainings at a time.

    Raises:
        ValueError: the name is unknown, the conditions do not fit it, or the smallest size takes longer (says how
            long).
        MemoryError: memory does not suffice for the smallest size.
        OSError: the pictures cannot be had.
    """
    if not math.isfinite(budget_s):
        raise ValueError(f"the budget must be a number of minutes, such as 60; got {budget_s / 60:g}")
    study = load(name)
    material = material_of(conditions) if study.on_pictures else NO_MATERIAL
    pace = Pace(conditions.device, classes=material.classes, channels=material.channels)
    here = Place(
        folder=Path(),
        source=conditions.data,
        test_source=conditions.test_data,
        device=conditions.device,
        workers=workers,
        say=_silent,
    )
    chosen: Plan | None = None
    for size in study.sizes(material):
        steps = study.steps(conditions, size, here)
        expected_s = _together_s(steps, pace, workers, conditions.device)
        if expected_s > budget_s:
            if chosen is None and math.isinf(expected_s):
                raise MemoryError(
                    f"memory must suffice for the smallest {name} study on {conditions.device}: it does not"
                )
            if chosen is None:
                raise ValueError(
                    f"the smallest {name} study takes about {duration(expected_s)} here, and the budget is "
                    f"{duration(budget_s)}: give a larger one, such as --budget {math.ceil(expected_s / 6) / 10:g}"
                )
            return chosen if math.isinf(expected_s) else replace(chosen, larger_s=expected_s)
        chosen = Plan(size, len(steps), expected_s, None)
    assert chosen is not None
    return chosen


def material_of(conditions: Conditions, folder: Path | None = None) -> Material:
    """What pictures there are.

    Args:
        conditions: that name them.
        folder: of a study, which has pictures of its own once it has begun.

    Raises:
        ValueError, OSError: they cannot be read.
    """
    import numpy as np

    from trainers.decode import as_file, side_of

    own = () if folder is None else drawn(folder)
    if own and all(Path(file).is_file() for file in own):
        conditions = replace(conditions, data=own[0], test_data=own[1])
    dataset = _dataset(conditions)
    first = dataset.train.at(0)
    grey = isinstance(first, np.ndarray) and (first.ndim == 2 or first.shape[-1] == 1)
    test = 0 if dataset.test is None else len(dataset.test_classes)
    return Material(
        train=len(dataset.classes),
        test=test,
        side=side_of(as_file(first)),
        classes=len(dataset.class_names),
        channels=1 if grey else 3,
        device=conditions.device,
    )


def _dataset(conditions: Conditions) -> Dataset:
    from trainers.datasets import read_dataset

    return read_dataset(conditions.data, conditions.test_data)


def _together_s(steps: Sequence[Step], pace: Pace, workers: int, device: str) -> float:
    """Seconds of all steps: some side by side, the others one after the other; those that share a GPU gain nothing."""
    others = [step.expected_s(pace) for step in steps if not step.alone]
    rounds = -(-len(others) // (workers if device == "cpu" else 1))
    side_by_side = rounds * sum(others) / max(1, len(others))
    return side_by_side + sum(step.expected_s(pace) for step in steps if step.alone)


def begin(name: str, conditions: Conditions, plan: Plan, folder: Path, *, budget_min: float) -> None:
    """Make a study's folder.

    Raises:
        FileExistsError: it holds something.
        OSError: the disk would not take it.
    """
    from trainers.devices import device_name, torch_device

    about = {
        "device": device_name(torch_device(conditions.device)),
        "steps": plan.steps,
        "budget_min": budget_min,
        "expected_s": round(plan.expected_s, 1),
        "source": load(name).source,
    }
    folders.begin(folder, name, conditions, plan.size, about=about)


def go_on(folder: Path, *, workers: int | None, say: Say, quiet: bool = False) -> Results:
    """Do the steps of a study that are not done yet.

    Args:
        folder: of the study.
        workers: trainings at a time; None is one a core, and one on a GPU.
        say: tells of progress.
        quiet: whether to show none of a search's progress.

    Raises:
        BlockingIOError: another process is at it.
        ValueError, OSError, FloatingPointError: of a step that fails; those that are done are kept.
    """
    study, steps, place = _opened(folder, workers, say, quiet=quiet)
    done = folders.results(folder)
    left = [step for step in steps if step.name not in done]
    if left:
        with folders.locked(folder):
            if study.on_pictures:
                _draw_pictures(folder)
            _take(left, len(steps), place)
        done = folders.results(folder)
    return {step.name: done[step.name] for step in steps}


def left(folder: Path, *, workers: int | None) -> str:
    """What a study still has to do and how long that takes, in words.

    Raises:
        ValueError, OSError: its folder, or its pictures, cannot be read.
    """
    study, steps, place = _opened(folder, workers, _silent)
    done = folders.results(folder)
    ahead = [step for step in steps if step.name not in done]
    if not ahead:
        return f"all {len(steps)} steps of {folder} are done"
    material = NO_MATERIAL
    if study.on_pictures:
        material = material_of(Conditions(**folders.read(folder)["conditions"]), folder)
    pace = Pace(place.device, classes=material.classes, channels=material.channels)
    expected = duration(_together_s(ahead, pace, place.workers, place.device))
    return f"{len(steps) - len(ahead)} of the {len(steps)} steps of {folder} are done; the others take about {expected}"


def _opened(folder: Path, workers: int | None, say: Say, *, quiet: bool = False) -> tuple[Study, Sequence[Step], Place]:
    """A study with its steps and its place, from its folder."""
    content = folders.read(folder)
    conditions, study = Conditions(**content["conditions"]), load(content["study"])
    place = Place(
        folder=folder,
        source=conditions.data,
        test_source=conditions.test_data,
        device=conditions.device,
        workers=workers_of(conditions.device, workers),
        say=say,
        quiet=quiet,
    )
    if study.on_pictures:
        source, test_source = drawn(folder)
        place = replace(place, source=source, test_source=test_source)
    with _from(folder / folders.FILE):
        return study, study.steps(conditions, content["size"], place), place


@contextmanager
def _from(path: Path) -> Iterator[None]:
    """While the block runs, what is missing or foreign in a file is said to be that."""
    try:
        yield
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path} is not as this release writes it ({error!r}): {folders.RESTORE}") from error


def drawn(folder: Path) -> tuple[str, str]:
    """The files of the pictures that a study takes, of training and test."""
    train, test = (str((folder / PICTURES / split).resolve()) for split in ("train.parquet", "test.parquet"))
    return train, test


def _draw_pictures(folder: Path) -> None:
    """Draw the pictures that a study takes, where they are not in its folder; then nobody asks for their source."""
    from trainers.excerpt import write_excerpt

    if all(Path(file).is_file() for file in drawn(folder)):
        return
    content = folders.read(folder)
    conditions, size = Conditions(**content["conditions"]), content["size"]
    write_excerpt(
        _dataset(conditions),
        folder / PICTURES,
        train=size["pictures"],
        test=size["test_pictures"],
        seed=conditions.seed,
    )


def _take(left: Sequence[Step], total: int, place: Place) -> None:
    begun, number = time.monotonic(), total - len(left)

    def note(step: str, gave: Mapping[str, Any], took_s: float) -> None:
        nonlocal number
        number += 1
        folders.note(place.folder, step, gave, took_s=took_s)
        place.say(f"{number}/{total} {step}: {duration(took_s)}, {duration(time.monotonic() - begun)} in all")

    quiet = replace(place, say=_silent)  # what travels to other processes
    for alone, part in groupby(left, key=lambda step: step.alone):
        if alone:
            for step in part:
                started = time.perf_counter()
                gave = step.run(place)
                note(step.name, gave, time.perf_counter() - started)
        else:
            calls = {step.name: partial(step.run, quiet) for step in part}
            for name, gave, took_s in side_by_side(calls, device=place.device, workers=place.workers):
                note(name, gave, took_s)


def _silent(text: str) -> None:
    del text


def told(folder: Path, results: Results) -> Told:
    """What a study's results say.

    Raises:
        ValueError: they are not as its steps write them.
    """
    content = folders.read(folder)
    conditions = Conditions(**content["conditions"])
    conditions = replace(conditions, data=Path(conditions.data).name)  # who reads it has no use for the place
    with _from(folder / folders.STEPS):
        return load(content["study"]).told(conditions, content["size"], results)
