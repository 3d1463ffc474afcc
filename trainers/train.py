"""The training loop: pictures that lie on the device, epoch after epoch. Knows nothing of search."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainers.allocator import keep_freed_memory
from trainers.device_data import DeviceData, DeviceSplit
from trainers.optimizer import make_optimizer
from trainers.recipe import Recipe
from trainers.variation import varied


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bf16 where a GPU computes in it; on CPUs it is mostly emulated, and many times slower."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


class Progress(NamedTuple):
    """How far a training has come.

    Attributes:
        epochs: trained so far.
        loss: the mean of the steps since it was told last.
    """

    epochs: float
    loss: float


class TrainingStep:
    """One step of a recipe: forward, backward, optimiser.

    Args:
        network: trained in place.
        recipe: optimiser and loss, and in how many parts a batch's gradient is computed.
        device: where network and pictures are.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, device: torch.device) -> None:
        if device.type == "cpu":
            keep_freed_memory()
        self._network, self._device = network, device
        self.optimizer = make_optimizer(network, recipe)
        self._loss = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        self._parts = recipe.accumulate

    def __call__(self, images: Tensor, labels: Tensor, learning_rate: float) -> Tensor:
        """Train on one batch; gives the loss, on the device, so that nothing waits for it.

        Args:
            images: (n, channels, side, side) floats.
            labels: (n,) int64 classes, or (n, classes) shares of them.
            learning_rate: of this step.

        Raises:
            ValueError: the batch has no equal parts, as many as the recipe accumulates.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if self._parts > 1:
            return self._accumulated(images, labels)
        with autocast(self._device):
            loss: Tensor = self._loss(self._network(images).float(), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def _accumulated(self, images: Tensor, labels: Tensor) -> Tensor:
        """The step, its gradient computed part by part; they are equal, so the mean of their means is the batch's."""
        if len(images) % self._parts:
            raise ValueError(f"a batch must have {self._parts} equal parts to accumulate; got {len(images)} pictures")
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=images.device)
        parts = zip(images.chunk(self._parts), labels.chunk(self._parts), strict=True)
        network = self._network
        # processes that train together exchange gradients once, with the last part
        early = network.no_sync if isinstance(network, DistributedDataParallel) else nullcontext
        for number, (some, their) in enumerate(parts, 1):
            with early() if number < self._parts else nullcontext():
                with autocast(self._device):
                    loss = self._loss(network(some).float(), their) / self._parts
                loss.backward()
            total += loss.detach()
        self.optimizer.step()
        return total


def train_epochs(
    network: nn.Module,
    data: DeviceData,
    recipe: Recipe,
    seed: int,
    *,
    around: Callable[[Callable[[], Tensor]], Tensor] = lambda step: step(),
    stops: Collection[float] = (),
) -> Iterator[Progress]:
    """Train, and say so after each epoch, and where else it is asked for.

    The order of the pictures, and how they are varied, is a function of the seed; the last, smaller batch of an
    epoch is left out, for batch norm's sake.

    Args:
        network: trained in place.
        data: where the network is.
        recipe: how.
        seed: of order and variation.
        around: takes each step, such as `timing.PairedTiming`.
        stops: after how many epochs else to say so, such as 0.25; as near to it as whole steps are.

    Raises:
        FloatingPointError: the loss is not finite any more (told at the end of an epoch, or at another stop).
        ValueError: there are fewer training pictures than the batch takes.
    """
    device, count = data.train.labels.device, len(data.train.labels)
    batches = count // recipe.batch_size
    if not batches:
        raise ValueError(f"batch_size must be at most the {count} training pictures; got {recipe.batch_size}")
    places = {max(1, round(stop * batches)): float(stop) for stop in stops} | {
        epoch * batches: float(epoch) for epoch in range(1, recipe.epochs + 1)
    }
    step, taken, since = TrainingStep(network, recipe, device), 0, 0
    generator = torch.Generator().manual_seed(seed)
    chance = torch.Generator(device).manual_seed(seed)
    network.train()
    total = torch.zeros((), device=device)
    for _ in range(recipe.epochs):
        order = torch.randperm(count, generator=generator)[: batches * recipe.batch_size]
        for images, labels in data.train.batches(order, recipe.batch_size):
            rate = recipe.learning_rate_at(taken, recipe.epochs * batches)
            inputs, targets = varied(
                (images, labels),
                recipe.augmentation,
                normalisation=data.normalised,
                num_classes=data.num_classes,
                chance=chance,
            )
            total += around(partial(step, inputs, targets, rate))
            taken += 1
            if taken in places:
                loss = total.item() / (taken - since)
                if not math.isfinite(loss):
                    raise FloatingPointError(f"the training loss became {loss} in epoch {math.ceil(taken / batches)}")
                yield Progress(places[taken], loss)
                network.train()  # it may have been evaluated
                total.zero_()
                since = taken


@torch.no_grad()
def accuracy(network: nn.Module, split: DeviceSplit, data: DeviceData, *, batch_size: int = 1000) -> float:
    """Top-1 accuracy on a split, as a fraction; the network is left in evaluation mode."""
    network.eval()
    correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    for images, labels in split.batches(torch.arange(len(split.labels)), batch_size):
        with autocast(images.device):
            correct += (network(data.normalised(images)).argmax(1) == labels).sum()
    return correct.item() / len(split.labels)
