"""Pictures that are read and decoded while a network trains on those before: never all in memory, order exact."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple
from warnings import filterwarnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.cores import usable_cores
from trainers.crops import Box, Integers, box_within, epoch_order, eval_box
from trainers.data import choose_minival
from trainers.datasets import Dataset
from trainers.decode import decode_part, is_grey
from trainers.row_groups import Kept
from trainers.sources import PictureSet, Runs

ATTEMPTS = 100
"""Unreadable pictures one after the other, before it is the source that is broken."""

AHEAD_BYTES = 2**29
"""Decoded pictures that wait at most, but for two batches, which always may."""

_PART = 16
"""Pictures that a thread decodes at a time: a batch is spread over all threads, at little cost of handing over."""

_MOST_AHEAD = 4

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Split:
    """Which pictures of a set are a split's.

    Args:
        pictures: the set.
        rows: (N,) int64, their numbers in it.
        classes: (N,) int64, their classes.
        kept: those that were read before, where reading them again would be dear.
    """

    pictures: PictureSet
    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    kept: Kept | None = None


class _Taken(NamedTuple):
    """What became of one place of a batch: which of the split came there, and those that could not, with faults."""

    chosen: int
    faults: list[tuple[int, str]]


@dataclass(slots=True, eq=False)
class _Coming:
    """A batch that is being decoded."""

    images: Tensor
    parts: list[Future[list[_Taken]]] = field(default_factory=list)


class Streamed:
    """Training, minival and test pictures of a data set, decoded by threads ahead of the training.

    Args:
        dataset: its pictures, not decoded yet.
        minival: pictures held out, as `load_data`.
        split_seed: of their draw, which is that of `load_data`: a search's minival stays held out.
        device: where batches go.
        eval_crop: what is evaluated of a picture (`crops.eval_box`).
        workers: threads; None is one a core that this process may use.

    Attributes:
        class_names: one a class, in the order of the labels.
        in_channels: 1 if the first pictures looked at are grey, else 3, to which all are brought.
        sizes: pictures of each split.
        fingerprint: hash of the source's content, the same as packed.
        form: `streamed`.
        unreadable: names and faults of the pictures that could not be read so far.
    """

    form = "streamed"

    def __init__(
        self,
        dataset: Dataset,
        *,
        minival: int | None,
        split_seed: int,
        device: torch.device,
        eval_crop: str = "centre",
        workers: int | None = None,
    ) -> None:
        eval_box(eval_crop, 1, 1, 1)  # where there is no such rule, say so now
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1; got {workers}")
        filterwarnings("ignore", module="PIL")  # of oddities in pictures that it does read
        held_out = choose_minival(dataset.classes, minival, split_seed)
        rest = np.setdiff1d(np.arange(len(dataset.classes)), held_out)
        train = dataset.train
        kept = None if train.runs is None else Kept(train.at)
        self._splits = {
            "train": _Split(train, rest, dataset.classes[rest]),
            "minival": _Split(train, held_out, dataset.classes[held_out], kept),
            "test": _Split(dataset.test or train, np.arange(len(dataset.test_classes)), dataset.test_classes),
        }
        self.class_names, self.fingerprint = dataset.class_names, dataset.fingerprint
        self.sizes = {name: len(split.rows) for name, split in self._splits.items()}
        looked_at = [is_grey(partial(train.at, row)) for row in _sample(train).tolist()]
        self.in_channels = 3 if False in looked_at else 1
        self.unreadable: dict[str, str] = {}
        self._device, self._eval_crop = device, eval_crop
        cores = usable_cores()
        self._workers = workers or cores
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="decode")

    def training_order(self, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """The order of an epoch's training pictures: `epoch_order`, such that each row group is read once."""
        split, runs = self._splits["train"], self._splits["train"].pictures.runs
        own = None if runs is None else Runs(runs.group_of[split.rows], runs.window)
        return epoch_order(len(split.rows), seed, epoch, runs=own)

    def batches(
        self, split: str, order: Integers, *, batch_size: int, image_size: int, boxes: NDArray[np.float64] | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Pictures with their labels, as `pictures.Pictures` says.

        A picture that cannot be read is replaced by the next one of the split, whatever the order; that is told once a
        picture, in a warning and in `unreadable`.

        Raises:
            ValueError: many pictures one after the other cannot be read.
        """
        chosen = self._splits[split]
        indices = np.asarray(order, np.int64)
        starts = iter(range(0, len(indices), batch_size))
        batch_bytes = batch_size * image_size**2 * self.in_channels
        ahead = min(max(AHEAD_BYTES // max(1, batch_bytes), 2), _MOST_AHEAD)
        waiting: deque[_Coming] = deque()

        def begin_another() -> None:
            if (start := next(starts, None)) is not None:
                part = slice(start, start + batch_size)
                waiting.append(self._begun(chosen, indices[part], image_size, None if boxes is None else boxes[part]))

        try:
            for _ in range(ahead):
                begin_another()
            while waiting:
                images, taken = self._finished(chosen, waiting.popleft())
                begin_another()
                yield images, self._labels(chosen, taken)
        finally:
            for coming in waiting:
                for part in coming.parts:
                    part.cancel()

    def _begun(
        self, split: _Split, indices: NDArray[np.int64], size: int, boxes: NDArray[np.float64] | None
    ) -> _Coming:
        pinned = self._device.type == "cuda"
        shape = (len(indices), size, size, self.in_channels)
        coming = _Coming(torch.empty(shape, dtype=torch.uint8, pin_memory=pinned))
        array = coming.images.numpy()
        least = max(1, min(_PART, len(indices) // self._workers))
        for start in range(0, len(indices), least):
            part = slice(start, start + least)
            own = None if boxes is None else boxes[part]
            coming.parts.append(self._pool.submit(self._fill, split, indices[part].tolist(), own, array[part]))
        return coming

    def _fill(
        self, split: _Split, indices: Sequence[int], boxes: NDArray[np.float64] | None, into: NDArray[np.uint8]
    ) -> list[_Taken]:
        """Decode some pictures into their places; done by a thread."""
        return [
            self._decoded(split, index, None if boxes is None else tuple(boxes[place].tolist()), into[place])
            for place, index in enumerate(indices)
        ]

    def _decoded(self, split: _Split, index: int, box: Box | None, into: NDArray[np.uint8]) -> _Taken:
        """Decode a picture, or the next one that can be read, into its place."""
        at, size = (split.kept or split.pictures).at, len(into)
        faults: list[tuple[int, str]] = []
        for attempt in range(ATTEMPTS):
            chosen = (index + attempt) % len(split.rows)
            row = int(split.rows[chosen])
            found = decode_part(
                partial(at, row),
                lambda width, height: (
                    eval_box(self._eval_crop, size, width, height) if box is None else box_within(box, width, height)
                ),
                size,
                self.in_channels,
                draft_size=2 * size if box is None else size,  # what is evaluated is looked at more closely
            )
            if not isinstance(found, str):
                into[:] = found
                return _Taken(chosen, faults)
            faults.append((row, found))
        name, (_, fault) = split.pictures.name_of(faults[0][0]), faults[0]
        raise ValueError(
            f"{ATTEMPTS} pictures one after the other cannot be read, from {name} of {split.pictures.origin} on "
            f"({fault}): look whether they are still there, and mend them"
        )

    def _finished(self, split: _Split, coming: _Coming) -> tuple[Tensor, NDArray[np.int64]]:
        """The batch on the device, when it is decoded, and which pictures of the split are in it."""
        taken = [one for part in coming.parts for one in part.result()]
        for row, fault in (one for each in taken for one in each.faults):
            name = split.pictures.name_of(row)
            if name not in self.unreadable:
                self.unreadable[name] = fault
                logger.warning("%s cannot be read (%s); the next picture takes its place", name, fault)
        images = coming.images.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        return images, np.array([one.chosen for one in taken], np.int64)

    def _labels(self, split: _Split, taken: NDArray[np.int64]) -> Tensor:
        lists = split.pictures.lists
        if lists is None:
            return torch.from_numpy(split.classes[taken]).to(self._device, non_blocking=True)
        return torch.from_numpy(lists.shares(split.rows[taken], len(self.class_names))).to(self._device)


def _sample(pictures: PictureSet) -> NDArray[np.int64]:
    """Pictures that tell whether all are grey: 64 spread evenly, or of four row groups, since each is read whole."""
    count = len(pictures.labels)
    if pictures.runs is None:
        return np.unique(np.linspace(0, count - 1, min(64, count)).astype(np.int64))
    firsts = np.unique(pictures.runs.group_of, return_index=True)[1]
    spread = firsts[np.unique(np.linspace(0, len(firsts) - 1, 4).astype(int))]
    return np.unique((spread[:, None] + np.arange(16)).clip(max=count - 1))
