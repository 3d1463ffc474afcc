"""Trainings of a study: each in a folder of its own, gone on with where it stopped, and some side by side."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.task import TrainingTask
    from trainers.training import Training

# Modules that load torch are imported inside the functions, so that `nas study --help` is quick.


def trained(folder: Path, task: TrainingTask, device: str) -> dict[str, Any]:
    """The results of a training, which begins, or goes on from its last checkpoint.

    Args:
        folder: its own; one of `nas train`.
        task: what is trained on what.
        device: `cpu`, `cuda` or `auto`.

    Returns:
        `minival` and `test`: accuracies of the weights that were best on the minival, after `best_epoch`; `train_s`:
        seconds of training without evaluation; `pixels`: given to the network in all; `waited_share`: of these seconds;
        `outside_share`: of the wall-clock, what was evaluation and saving (None where the training was gone on with);
        `pictures_per_s`: by picture size, of each epoch that had but one.

    Raises:
        ValueError: the folder has a training of another task.
    """
    from nas import trainings

    new = not trainings.is_training(folder)
    if not new:
        check_task(folder, task)
        trainings.note_places(folder, task.source, task.test_source)
    training = trainings.begin(task, folder, device, provenance={}) if new else trainings.reopen(folder, device)
    with trainings.locked(folder):
        if training.told:  # a kill may have come after the checkpoint and before this
            trainings.write_results(training, folder)
        opened = time.perf_counter()
        for _ in training.run():
            trainings.write_results(training, folder)
        ran_s = time.perf_counter() - opened if new else None
        return {**_results(training, ran_s), "test": trainings.evaluate(folder, device, split="test")["accuracy"]}


def side_by_side(
    calls: Mapping[str, Callable[[], Mapping[str, Any]]], *, device: str, workers: int
) -> Iterator[tuple[str, dict[str, Any], float]]:
    """Call several functions, so many at a time, each in a process of its own; on a CPU, that computes on one thread.

    Args:
        calls: by name; they travel to other processes.
        device: that they compute on, as of `trained`.
        workers: at a time.

    Yields:
        the name of each as it is done, with what it gave, and the seconds it took.

    Raises:
        Exception: of the first that fails; the others are stopped where they are.
    """
    spawn = multiprocessing.get_context("spawn")
    count = min(workers, max(1, len(calls)))
    pool = ProcessPoolExecutor(count, mp_context=spawn, initializer=_begin, initargs=(device, os.getpid()))
    try:
        asked = {pool.submit(_timed, call): name for name, call in calls.items()}
        for future in as_completed(asked):
            yield (asked[future], *future.result())
    except BaseException:
        for process in (pool._processes or {}).values():  # what is resumed goes on, so nobody waits for them
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(device: str, parent: int) -> None:
    import signal
    import threading

    from trainers.devices import torch_device, use_one_core

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends these
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if torch_device(device).type == "cpu":
        use_one_core()


def _end_with(parent: int) -> None:
    """End this process when the one that asked for it was killed: else it would train on, and keep others from it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _timed(call: Callable[[], Mapping[str, Any]]) -> tuple[dict[str, Any], float]:
    begun = time.perf_counter()
    return dict(call()), time.perf_counter() - begun


def _results(training: Training, ran_s: float | None) -> dict[str, Any]:
    """What is told of a training that is over; its test accuracy is not among it."""
    assert training.best is not None
    told, pixels, rates, seen = training.told, 0, defaultdict(list), 0
    while seen < training.pictures_in_all:
        now = training.settings(seen)
        pixels += now.batch_size * now.image_size**2
        seen += now.batch_size
    waited_s = before_s = 0.0
    for epoch in told:
        waited_s += epoch.waited_share * (epoch.train_s - before_s)
        before_s = epoch.train_s
        if len(epoch.parts) == 1:
            rates[epoch.image_size].append(round(epoch.images_per_s, 1))
    train_s = told[-1].train_s
    return {
        "minival": training.best[0],
        "best_epoch": next(epoch.epoch for epoch in told if epoch.step == training.best[1]),
        "train_s": train_s,
        "pixels": pixels,
        "waited_share": waited_s / train_s,
        "outside_share": None if ran_s is None else 1 - train_s / ran_s,
        "pictures_per_s": {str(size): rates[size] for size in sorted(rates)},
    }


def check_task(folder: Path, task: TrainingTask) -> None:
    """That a training's folder has the training of a task, wherever its pictures are: what they are is checked later.

    Raises:
        ValueError: it has another (says in what).
    """
    from nas import trainings

    content = trainings.read(folder)
    there = trainings.task_of(content)[0].to_json()
    asked = replace(task, recipe=task.recipe.for_pictures(content["pictures"]["train"])).to_json()
    different = [name for name in asked if asked[name] != there[name] and name not in ("source", "test_source")]
    if different:
        name = different[0]
        raise ValueError(
            f"{folder} must hold the training that is asked for; its {name} is {there[name]}, and {asked[name]} was "
            "asked for: name another --out, or remove it"
        )
