"""Pictures where the training is: on the device, or brought there while it computes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.data import Data, Split

MEMORY_SHARE = 0.2
"""Of a GPU's memory, what pictures may take by default; each process that trains on it has its own."""

STATISTICS_OF = 10_000
"""Pictures that mean and standard deviation are taken over, at most about twice as many."""


@dataclass(frozen=True, slots=True, eq=False)
class DeviceSplit:
    """A split whose batches come onto a device.

    Args:
        stored: (M, side, side, channels) uint8, on the device or, where they do not fit, in host memory.
        labels: (N,) int64, on the device.
        rows: (N,) int64, which of those stored are the split's, where these are.
        resident: whether the pictures are on the device; else batches are gathered ahead and sent.
    """

    stored: Tensor
    labels: Tensor
    rows: Tensor
    resident: bool

    @property
    def images(self) -> Tensor:
        """(N, channels, side, side) uint8, stored channels last, where the pictures are; a copy."""
        return self.stored[self.rows].permute(0, 3, 1, 2)

    def batches(self, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Pictures (n, channels, side, side), uint8 and channels last, with their labels, on the device.

        Pictures in host memory are gathered, by another thread, while the batch before is computed with.

        Args:
            order: (k,) int64 indices into the split, in host memory.
            batch_size: of all batches but the last, which may be smaller.
        """
        device, parts = self.labels.device, torch.split(order, batch_size)
        if self.resident:
            for chosen in parts:
                at = chosen.to(device)
                yield self._gathered(at), self.labels[at]
            return
        with ThreadPoolExecutor(max_workers=1) as thread:
            coming = thread.submit(self._pinned, parts[0])
            for place, chosen in enumerate(parts):
                images = coming.result().to(device, non_blocking=True)
                if place + 1 < len(parts):
                    coming = thread.submit(self._pinned, parts[place + 1])
                yield images, self.labels[chosen.to(device)]

    def _gathered(self, chosen: Tensor) -> Tensor:
        return self.stored.index_select(0, self.rows[chosen]).permute(0, 3, 1, 2)

    def _pinned(self, chosen: Tensor) -> Tensor:
        images = self._gathered(chosen)
        return images.pin_memory() if torch.cuda.is_available() else images


class DeviceData(NamedTuple):
    """Training and minival pictures for a device, with the training pictures' statistics.

    Attributes:
        mean: (1, channels, 1, 1), of pixel values from 0 to 255.
        std: the same shape; at least 1, for pictures of one colour.
        num_classes: of the labels.
    """

    train: DeviceSplit
    minival: DeviceSplit
    mean: Tensor
    std: Tensor
    num_classes: int

    def normalised(self, images: Tensor) -> Tensor:
        """Pictures as float32 with mean 0 and standard deviation 1 a channel, channels last."""
        return images.float().sub_(self.mean).div_(self.std)


def on_device(data: Data, device: torch.device, *, memory_share: float = MEMORY_SHARE) -> DeviceData:
    """The pictures of training and minival for a device; the test split stays behind.

    On a CPU nothing is copied, so that all processes that map a pack read the same memory. A GPU gets the pictures
    where they take at most `memory_share` of its memory.
    """
    shared = data.minival.stored is data.train.stored
    train = split_for(data.train, device, memory_share=memory_share)
    minival = split_for(data.minival, device, memory_share=memory_share, stored=train.stored if shared else None)
    mean, std = _statistics(train)
    return DeviceData(
        train,
        minival,
        mean.float().to(device),
        std.float().to(device).clamp(min=1.0),
        len(data.class_names),
    )


def _statistics(split: DeviceSplit) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the pixels of some pictures, (1, channels, 1, 1) of float64."""
    rows = split.rows[:: max(1, len(split.rows) // STATISTICS_OF)]
    levels = torch.arange(256, dtype=torch.float64)
    moments = []
    for channel in range(split.stored.shape[3]):
        counts = torch.zeros(256, dtype=torch.int64)
        for part in torch.split(rows, 500):  # of a few pictures at a time, since together they may fill the memory
            counts += torch.bincount(split.stored[part, :, :, channel].flatten(), minlength=256).cpu()
        share = counts / counts.sum()
        mean = (share * levels).sum()
        moments.append((mean, (share * (levels - mean).square()).sum().sqrt()))
    mean, std = (torch.stack(values).reshape(1, -1, 1, 1) for values in zip(*moments, strict=True))
    return mean, std


def split_for(
    split: Split, device: torch.device, *, memory_share: float = MEMORY_SHARE, stored: Tensor | None = None
) -> DeviceSplit:
    """A split for a device, as `on_device`; `stored` are its stored pictures where they have been brought already."""
    if stored is None:
        stored = _tensor(split.stored)
        if device.type == "cuda" and stored.nbytes <= memory_share * torch.cuda.mem_get_info(device)[1]:
            stored = stored.to(device)
    rows = torch.arange(len(split.stored)) if split.rows is None else _tensor(split.rows)
    resident = stored.device.type == device.type
    return DeviceSplit(stored, _tensor(split.labels).to(device), rows.to(stored.device), resident)


def _tensor(array: NDArray[Any]) -> Tensor:
    """The same memory, which nothing here writes to: Ray's shared memory may not be written to, and torch warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
