"""`Pictures`: what a training reads, batch by batch, at the size it asks for; packed before, or decoded meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.crops import Integers, epoch_order, eval_box
from trainers.data import CACHE_LIMIT_GB, Data, load_data
from trainers.datasets import read_dataset
from trainers.device_data import DeviceSplit, on_device, split_for
from trainers.pack_room import GB
from trainers.resize import resized_crops
from trainers.streamed import Streamed

PACKED_GB = 8.0
"""Decoded pictures that `auto` packs at most: what a machine that trains can keep in its memory."""

MEMORY = ("auto", "packed", "streamed")


class Pictures(Protocol):
    """Training, minival and test pictures, which come in batches on a device.

    Attributes:
        class_names: one a class, in the order of the labels.
        in_channels: 1 (grey) or 3 (RGB).
        sizes: pictures of each split: `train`, `minival` (cut from the training pictures) and `test`.
        fingerprint: hash of the source's content, the same on every machine, and packed or streamed.
        form: `packed at N px` or `streamed`; the same pictures differ a little in other forms, so that a training that
            is to go on exactly goes on with the same.
        unreadable: names and faults of the pictures that could not be read so far.
    """

    class_names: tuple[str, ...]
    in_channels: int
    sizes: dict[str, int]
    fingerprint: str
    form: str
    unreadable: dict[str, str]

    def training_order(self, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """(sizes["train"],) int64: the order of an epoch in which pictures are cheap to read."""

    def batches(
        self, split: str, order: Integers, *, batch_size: int, image_size: int, boxes: NDArray[np.float64] | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Pictures of a split with their labels, in exactly the order asked for.

        What comes is a function of the arguments alone: `order[k * batch_size :]` gives what is left after k batches.

        Args:
            split: `train`, `minival` or `test`.
            order: (k,) indices into the split.
            batch_size: of all batches but the last, which may be smaller.
            image_size: side of the pictures, in pixels.
            boxes: (k, 4) the part of each that is taken (`crops.crop_boxes`); None takes what is evaluated
                (`crops.eval_box`).

        Yields:
            Pictures (n, in_channels, image_size, image_size), uint8 and channels last, and their labels, (n,) int64
            or, where pictures may have several, (n, classes) float32 shares that sum to 1; on the device.
        """


class Packed:
    """Pictures that were decoded once, as squares of one size, and are cropped and resized by batches.

    Args:
        data: its splits.
        device: where batches go; the pictures too, where they fit (`device_data`).
        eval_crop: what is evaluated of a picture (`crops.eval_box`), of the square that there is of it.

    Attributes: those of `Pictures`.
    """

    def __init__(self, data: Data, device: torch.device, *, eval_crop: str = "centre") -> None:
        eval_box(eval_crop, 1, 1, 1)  # where there is no such rule, say so now
        self.class_names, self.in_channels = data.class_names, data.in_channels
        self.sizes, self.fingerprint = data.sizes, data.fingerprint
        self.form = f"packed at {data.image_size} px"
        self.unreadable = dict.fromkeys(data.unreadable, "skipped when it was packed")
        brought = on_device(data, device)
        self._splits = {"train": brought.train, "minival": brought.minival, "test": split_for(data.test, device)}
        self._device, self._eval_crop = device, eval_crop

    def training_order(self, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """The order of an epoch's training pictures: `epoch_order`."""
        return epoch_order(self.sizes["train"], seed, epoch)

    def batches(
        self, split: str, order: Integers, *, batch_size: int, image_size: int, boxes: NDArray[np.float64] | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Pictures with their labels, as `Pictures` says."""
        chosen = torch.from_numpy(np.ascontiguousarray(order, np.int64))
        if not len(chosen):
            return
        if boxes is None:
            boxes = np.tile(eval_box(self._eval_crop, image_size, 1, 1), (len(chosen), 1))
        parts = [(chosen[i : i + batch_size], boxes[i : i + batch_size]) for i in range(0, len(chosen), batch_size)]
        if self._device.type != "cpu":  # where the host only launches the work
            for (_, own), (images, labels) in zip(parts, self._splits[split].batches(chosen, batch_size), strict=True):
                yield resized_crops(images.permute(0, 2, 3, 1), own, image_size).permute(0, 3, 1, 2), labels
            return
        found = (_gathered(self._splits[split], rows, own, image_size) for rows, own in parts)
        with ThreadPoolExecutor(1) as thread:  # while the network trains on the batch before
            coming = thread.submit(next, found, None)
            while (batch := coming.result()) is not None:
                coming = thread.submit(next, found, None)
                yield batch


def _gathered(split: DeviceSplit, chosen: Tensor, boxes: NDArray[np.float64], image_size: int) -> tuple[Tensor, Tensor]:
    """A batch on a CPU. numpy gathers it on one thread: torch would start as many more as the training has."""
    pixels = torch.from_numpy(split.stored.numpy()[split.rows[chosen].numpy()])
    return resized_crops(pixels, boxes, image_size).permute(0, 3, 1, 2), split.labels[chosen]


def open_pictures(
    source: str,
    *,
    image_size: int,
    minival: int | None,
    split_seed: int,
    test: str | None = None,
    device: torch.device,
    memory: str = "auto",
    eval_crop: str = "centre",
    workers: int | None = None,
    cache_limit_gb: float = CACHE_LIMIT_GB,
) -> Pictures:
    """The pictures of a source, for a training.

    Args:
        source: a registered name (`DATASETS`), a folder of pictures or parquet files, a parquet file or an npz file.
        image_size: the largest that will be asked for, in pixels; pictures are packed at it.
        minival: pictures held out to choose on; None is the default of `load_data`.
        split_seed: of their draw. With the same, a search and a training hold out the same pictures.
        test: a source of the test split, where it lies elsewhere.
        device: where batches go.
        memory: `packed` decodes everything once into the cache, as squares of `image_size`; `streamed` decodes during
            the training, from pictures at full size; `auto` packs up to `PACKED_GB` and streams what is more, whatever
            the machine.
        eval_crop: what is evaluated of a picture (`crops.eval_box`).
        workers: threads that decode where pictures are streamed; None is one a core.
        cache_limit_gb: what packs may take on the disk, those of others included.

    Raises:
        FileNotFoundError: there is no such source, or no picture in it.
        ValueError: a source or an argument is not as it must be.
        OSError: the cache cannot be used, or its disk is full.
    """
    if memory not in MEMORY:
        raise ValueError(f"memory must be one of {', '.join(MEMORY)}; got {memory!r}")
    dataset = read_dataset(source, test)
    if memory == "auto":
        count = len(dataset.classes) + len(dataset.test_classes)
        small = count * image_size**2 * 3 <= min(PACKED_GB, cache_limit_gb or PACKED_GB) * GB
        memory = "packed" if small and dataset.train.lists is None else "streamed"
    if memory == "streamed":
        return Streamed(
            dataset,
            minival=minival,
            split_seed=split_seed,
            device=device,
            eval_crop=eval_crop,
            workers=workers,
        )
    data = load_data(
        source,
        test_source=test,
        image_size=image_size,
        minival=minival,
        seed=split_seed,
        cache_limit_gb=cache_limit_gb,
    )
    return Packed(data, device, eval_crop=eval_crop)


def statistics(pictures: Pictures, *, image_size: int, most: int = 2048) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a channel's values, from 0 to 255, over training pictures spread evenly.

    Args:
        pictures: of which at most `most` are looked at, as they are evaluated at `image_size`.
        image_size: in pixels.
        most: pictures.

    Returns:
        Two tensors (1, in_channels, 1, 1) of float32 on the device; the deviation is at least 1.
    """
    count = pictures.sizes["train"]
    order = np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))
    total = squares = torch.zeros(pictures.in_channels, dtype=torch.float64)
    for images, _ in pictures.batches("train", order, batch_size=128, image_size=image_size, boxes=None):
        values = images.double()
        total = total.to(values.device) + values.mean((0, 2, 3)) * len(images)
        squares = squares.to(values.device) + values.square().mean((0, 2, 3)) * len(images)
    mean = total / len(order)
    deviation = (squares / len(order) - mean.square()).clamp(min=0).sqrt().clamp(min=1)
    return mean.float().view(1, -1, 1, 1), deviation.float().view(1, -1, 1, 1)
