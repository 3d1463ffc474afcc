"""The training loop: pictures that lie on the device, epoch after epoch. Knows nothing of search."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainers.data import Data, Split
from trainers.recipe import Recipe


class DeviceSplit(NamedTuple):
    """A split on a device.

    Attributes:
        images: (N, channels, side, side) uint8, stored channels last.
        labels: (N,) int64.
    """

    images: Tensor
    labels: Tensor


class DeviceData(NamedTuple):
    """Training and minival pictures on a device, with the training pictures' statistics.

    Attributes:
        mean: (1, channels, 1, 1), of pixel values from 0 to 255.
        std: the same shape; at least 1, for pictures of one colour.
    """

    train: DeviceSplit
    minival: DeviceSplit
    mean: Tensor
    std: Tensor

    def normalised(self, images: Tensor) -> Tensor:
        """Pictures as float32 with mean 0 and standard deviation 1 a channel, channels last."""
        return (images.float() - self.mean) / self.std


def on_device(data: Data, device: torch.device) -> DeviceData:
    """The pictures of training and minival on the device; the test split stays behind."""
    pixels = data.train.images
    sample = pixels[:: max(1, len(pixels) // 10_000)].reshape(-1, pixels.shape[3])
    shape = (1, -1, 1, 1)
    return DeviceData(
        _split_on_device(data.train, device),
        _split_on_device(data.minival, device),
        torch.tensor(sample.mean(0), dtype=torch.float32, device=device).reshape(shape),
        torch.tensor(sample.std(0), dtype=torch.float32, device=device).clamp(min=1.0).reshape(shape),
    )


def _split_on_device(split: Split, device: torch.device) -> DeviceSplit:
    images = torch.tensor(split.images, device=device)  # a copy: shared arrays may be read-only
    return DeviceSplit(images.permute(0, 3, 1, 2), torch.tensor(split.labels, device=device))


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bf16 where a GPU computes in it; on CPUs it is mostly emulated, and many times slower."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


class TrainingStep:
    """One step of a recipe: forward, backward, optimiser.

    Args:
        network: trained in place.
        recipe: optimiser and loss.
        device: where network and pictures are.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, device: torch.device) -> None:
        self._network, self._device = network, device
        decayed = [p for p in network.parameters() if p.ndim > 1]
        kept = [p for p in network.parameters() if p.ndim <= 1]  # batch norm and biases are not decayed
        self._optimizer = torch.optim.SGD(
            [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": kept, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            foreach=True,
        )
        self._loss = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)

    def __call__(self, images: Tensor, labels: Tensor, learning_rate: float) -> Tensor:
        """Train on one batch; gives the loss, on the device, so that nothing waits for it."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        with autocast(self._device):
            loss: Tensor = self._loss(self._network(images).float(), labels)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return loss.detach()


def train_epochs(network: nn.Module, data: DeviceData, recipe: Recipe, seed: int) -> Iterator[float]:
    """Train, and give the mean loss after each epoch.

    The order of the pictures is a function of the seed; the last, smaller batch of an epoch is left out,
    for batch norm's sake.

    Raises:
        FloatingPointError: the loss is not finite any more (told at the end of an epoch).
        ValueError: there are fewer training pictures than the batch takes.
    """
    images, labels = data.train
    device, count = images.device, len(labels)
    batches = count // recipe.batch_size
    if not batches:
        raise ValueError(f"batch_size must be at most the {count} training pictures; got {recipe.batch_size}")
    step = TrainingStep(network, recipe, device)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(recipe.epochs):
        network.train()
        order = torch.randperm(count, generator=generator).to(device)
        total = torch.zeros((), device=device)
        for batch in range(batches):
            chosen = order[batch * recipe.batch_size : (batch + 1) * recipe.batch_size]
            rate = recipe.learning_rate_at(epoch * batches + batch, recipe.epochs * batches)
            total += step(data.normalised(images[chosen]), labels[chosen], rate)
        loss = total.item() / batches
        if not math.isfinite(loss):
            raise FloatingPointError(f"the training loss became {loss} in epoch {epoch + 1}")
        yield loss


@torch.no_grad()
def accuracy(network: nn.Module, split: DeviceSplit, data: DeviceData, *, batch_size: int = 1000) -> float:
    """Top-1 accuracy on a split, as a fraction; the network is left in evaluation mode."""
    network.eval()
    correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    for start in range(0, len(split.labels), batch_size):
        images, labels = split.images[start : start + batch_size], split.labels[start : start + batch_size]
        with autocast(images.device):
            correct += (network(data.normalised(images)).argmax(1) == labels).sum()
    return correct.item() / len(split.labels)
