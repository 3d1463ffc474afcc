"""`TrainingTimer`: how long the brief training of a network would take here, from a few of its steps.

The steps are those of the training itself (batches, their variation, forward, backward, optimiser), on a few of its
pictures, so that whatever a candidate spends is in them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from search_spaces import Architecture
from trainers.data import Split
from trainers.device_data import DeviceData, on_device
from trainers.devices import torch_device
from trainers.network import build_network
from trainers.proxy import BLOCKS, ProxyTask, narrowed
from trainers.step_timer import one_thread
from trainers.timing import BLOCK_S
from trainers.train import accuracy, train_epochs

BATCHES = 3
"""Of pictures, that the steps go round on; the first round only warms up."""

TIMED_S = 0.8
"""How long the rounds that count take together, at the least one and at the most `ROUNDS`."""

ROUNDS = 6

EVALUATED = 1000
"""Pictures of the minival that are evaluated at the most."""

SETTLING = 4
"""Steps that warm up either side of a timing, as seen mostly (`PairedTiming`)."""

TIMED_PAIRS = 3 * BLOCKS
"""Pairs of blocks of steps behind a step time: from one to five times `BLOCKS`, by how quiet the machine is."""


class TrainingTime(NamedTuple):
    """What a network's training is made of, in seconds.

    Attributes:
        start_s: to build it and bring it to the device.
        step_s: a training step, with its batch.
        evaluation_s: a pass over the minival.
        one_thread_step_s: a training step on one thread of a CPU, as step times are measured; None where the
            training's own steps are the ones that are timed.
    """

    start_s: float
    step_s: float
    evaluation_s: float
    one_thread_step_s: float | None


class TrainingTimer:
    """(architecture) -> what its training takes. It travels between processes with a few pictures alone.

    Args:
        task: whose candidates are meant.
        share: of their epochs, what they are trained for where they are stopped early.

    Attributes:
        steps: of a candidate's training.
        epochs: after each of which it is evaluated.
    """

    def __init__(self, task: ProxyTask, *, share: float = 1.0) -> None:
        self._share = share
        batch, data = task.recipe.batch_size, task.data
        batches = data.sizes["train"] // batch
        self.epochs, self.steps = task.recipe.epochs, task.recipe.epochs * batches
        self._minival = data.sizes["minival"]
        few = replace(
            data,
            train=_first(data.train, batch * min(BATCHES, batches)),
            minival=_first(data.minival, EVALUATED),
            test=_first(data.test, 0),
        )
        self._data, self._recipe, self._device = few, replace(task.recipe, epochs=2 + ROUNDS), task.device
        self._width = task.width
        self._on_device: DeviceData | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_on_device": None}

    def __call__(self, architecture: Architecture, *, threads: int | None = None) -> TrainingTime:
        """Time some steps of a network and its evaluation.

        Args:
            threads: of a CPU, that a candidate is trained with; None for as many as torch has now.

        Raises:
            torch.OutOfMemoryError: the device's memory did not suffice.
        """
        before = torch.get_num_threads()
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            return self._timed(architecture)
        finally:
            torch.set_num_threads(before)
            if torch_device(self._device).type == "cuda":
                torch.cuda.empty_cache()

    def _timed(self, architecture: Architecture) -> TrainingTime:
        device = torch_device(self._device)
        if self._on_device is None:
            self._on_device = on_device(self._data, device)
        data, classes = self._on_device, len(self._data.class_names)
        begun = time.perf_counter()
        network = build_network(
            narrowed(architecture, self._width),
            classes,
            self._data.in_channels,
            generator=torch.Generator().manual_seed(0),
        )
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        start_s = time.perf_counter() - begun
        recipe = replace(self._recipe, learning_rate=1e-6)  # costs the same time, and never diverges
        rounds = train_epochs(network, data, recipe, 0)
        _seconds(rounds)  # the first warms up
        taken = [_seconds(rounds)]
        while sum(taken) < TIMED_S and len(taken) < ROUNDS:
            taken.append(_seconds(rounds))
        batches = len(self._data.train.labels) // recipe.batch_size
        alone = None
        if device.type == "cpu" and torch.get_num_threads() > 1:
            with one_thread():
                alone = _seconds(rounds) / batches
        begun = time.perf_counter()
        accuracy(network, data.minival, data)
        evaluation_s = (time.perf_counter() - begun) * max(1.0, self._minival / EVALUATED)
        return TrainingTime(start_s, sum(taken) / len(taken) / batches, evaluation_s, alone)

    def seconds(self, found: TrainingTime, anchor: TrainingTime) -> float:
        """What a candidate takes whole: training, an evaluation after each epoch, and the timing of its step.

        Args:
            anchor: of the network that steps are timed against.
        """
        training = found.start_s + self._share * (self.steps * found.step_s + self.epochs * found.evaluation_s)
        return training + timing_s(found.one_thread_step_s, anchor.one_thread_step_s or anchor.step_s)

    def scaled(self, ratio: float, anchor: TrainingTime) -> float:
        """What a candidate takes whole whose step takes `ratio` times the anchor's, and its evaluation likewise."""
        alone = None if anchor.one_thread_step_s is None else ratio * anchor.one_thread_step_s
        found = TrainingTime(anchor.start_s, ratio * anchor.step_s, ratio * anchor.evaluation_s, alone)
        return self.seconds(found, anchor)


def timing_s(own_step_s: float | None, anchor_step_s: float) -> float:
    """What the timing of a step takes beside the training: the anchor's steps, and its own where they are extra."""
    extra = [step_s for step_s in (own_step_s, anchor_step_s) if step_s is not None]
    return sum(SETTLING * step_s + TIMED_PAIRS * max(BLOCK_S, step_s) for step_s in extra)


def _first(split: Split, count: int) -> Split:
    rows = np.arange(len(split.stored)) if split.rows is None else split.rows
    return Split(np.array(split.stored[rows[:count]]), split.labels[:count])


def _seconds(rounds: Iterator[object]) -> float:
    begun = time.perf_counter()
    next(rounds)
    return time.perf_counter() - begun
