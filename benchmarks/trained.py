"""What the benchmarks of trainings share: trainings in folders, gone on with where they stopped, and intervals.

A training's folder is one of `nas train`. A file of its results is written into it when it is over, so that a benchmark
that is started again trains only what is left.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from machine import parser

from nas import trainings
from nas.studies.trained import check_task, side_by_side, trained
from search_spaces import PUBLISHED, SPACES, Architecture
from trainers.devices import torch_device
from trainers.recipe import Recipe
from trainers.recipes import RECIPES
from trainers.task import TrainingTask

RESULTS = "results.json"

T_95 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448)
"""The 97.5 % quantile of Student's t for 1, 2, ... degrees of freedom (scipy is not on every machine with a GPU)."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def interval(values: Sequence[float], digits: int = 4) -> dict[str, Any]:
    """The mean with its 95 % t-interval; a single value has none, and more than the table has a slightly wide one."""
    mean, n = statistics.fmean(values), len(values)
    each = [round(value, digits) for value in values]
    if n < 2:
        return {"mean": round(mean, digits), "low": None, "high": None, "n": n, "each": each}
    half = T_95[min(n - 1, len(T_95)) - 1] * statistics.stdev(values) / math.sqrt(n)
    return {"mean": round(mean, digits), "low": round(mean - half, digits), "high": round(mean + half, digits),
            "n": n, "each": each}  # fmt: skip


def in_points(found: Mapping[str, Any]) -> str:
    """An interval of shares as text, in hundredths."""
    around = "" if found["low"] is None else f" ({100 * found['low']:.2f} to {100 * found['high']:.2f})"
    return f"{100 * found['mean']:.2f}{around}"


def train_all(root: Path, tasks: Mapping[str, TrainingTask], *, device: str, workers: int) -> dict[str, dict[str, Any]]:
    """The results of trainings (`nas.studies.trained.trained`), so many at a time; on a CPU, of one thread each.

    Each has a folder of its name, and is gone on with where it stopped; one that is over is not trained again.

    Raises:
        ValueError: a folder has a training of another task.
    """
    done = {}
    for name, task in tasks.items():
        if trainings.is_training(root / name):
            check_task(root / name, task)
            if (root / name / RESULTS).is_file():
                done[name] = json.loads((root / name / RESULTS).read_text())
    left = {name: task for name, task in tasks.items() if name not in done}
    calls = {name: partial(trained, root / name, task, device) for name, task in left.items()}
    for name, found, took_s in side_by_side(calls, device=device, workers=workers):
        beside = root / name / f".{RESULTS}.partial"
        beside.write_text(json.dumps(found, indent=1))
        beside.replace(root / name / RESULTS)
        say(f"{name}: test {100 * found['test']:.2f} %, {found['train_s']:.0f} s of training, {took_s:.0f} s in all")
        done[name] = found
    return {name: done[name] for name in tasks}


def options(description: str, *, seeds: int) -> argparse.ArgumentParser:
    """What both benchmarks are asked; a setting of the recipe that is not given is the recipe's own."""
    made = parser(description, n=seeds)
    made.add_argument("--data", type=Path, default=Path("../shared/data/imagenette128_train.parquet"))
    made.add_argument("--test-data", type=Path, default=Path("../shared/data/imagenette128_val.parquet"))
    made.add_argument("--out", type=Path, required=True, help="folder of the trainings; those in it are gone on with")
    made.add_argument("--pictures", type=int, help="the first so many training pictures; all by default")
    made.add_argument("--minival", type=int, help="pictures of the minival; 1,000 or so by default")
    made.add_argument("--architecture", default="small", help="a space (its backbone), a published name, or a text")
    made.add_argument("--recipe", default="small-cpu")
    made.add_argument("--epochs", type=int)
    made.add_argument("--batch-size", type=int)
    made.add_argument("--learning-rate", type=float)
    made.add_argument("--device", default="auto")
    made.add_argument("--workers", type=int, help="trainings at a time; one a core on a CPU, one on a GPU")
    return made


def prepared(arguments: argparse.Namespace) -> argparse.Namespace:
    """The options with their defaults, and with a copy of the pictures where these are fewer than there are."""
    given = argparse.Namespace(**vars(arguments))
    gpu = torch_device(given.device).type == "cuda"
    given.workers = given.workers or (1 if gpu else os.cpu_count())
    given.data, given.test_data = given.data.resolve(), given.test_data.resolve()
    if given.pictures is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        for name in ("data", "test_data"):
            few = given.out.resolve() / f"{name}_{given.pictures}.parquet"
            if not few.exists():
                pq.write_table(pq.read_table(getattr(given, name)).slice(0, given.pictures), few)
            setattr(given, name, few)
    return given


def recipe_of(arguments: argparse.Namespace) -> Recipe:
    """The recipe asked for, its warm-up no longer than a fifth of it."""
    recipe = RECIPES[arguments.recipe]()
    epochs, warm = arguments.epochs or recipe.epochs, recipe.warmup_epochs
    return replace(
        recipe,
        epochs=epochs,
        warmup_epochs=None if warm is None else min(warm, epochs / 5),
        batch_size=arguments.batch_size or recipe.batch_size,
        learning_rate=arguments.learning_rate or recipe.learning_rate,
    )


def task_of(arguments: argparse.Namespace, recipe: Recipe, seed: int) -> TrainingTask:
    """The training of the network and the pictures asked for; pictures are kept at the largest size."""
    name = arguments.architecture
    known = {**PUBLISHED, **{space: SPACES[space].backbone for space in SPACES if space not in PUBLISHED}}
    return TrainingTask(
        recipe=recipe,
        source=str(arguments.data),
        test_source=str(arguments.test_data),
        architecture=known[name] if name in known else Architecture.parse(name),
        minival=arguments.minival,
        seed=seed,
    )


def described(task: TrainingTask) -> dict[str, Any]:
    """What a benchmark's JSON says of its trainings."""
    plain = task.to_json()
    return {name: plain[name] for name in ("architecture", "recipe", "source", "test_source", "minival")} | {
        "augmentation": asdict(task.recipe.augmentation)
    }
