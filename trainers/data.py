"""Pictures in memory for brief training: read from any source, decoded once, square, split into train, minival, test.

The minival is cut from the training pictures, about 2 % of them as in EfficientNetV2 (arXiv 2104.00298,
section 5.1), so that a search never chooses on the test split.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.datasets import read_dataset
from trainers.pack import Request, bytes_on_disk, decoded
from trainers.pack_room import GB

CACHE_LIMIT_GB = 100.0
"""What decoded pictures may take on the disk: enough for ImageNet at 160 px."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Pictures and their classes, in the order of the source.

    Args:
        stored: (M, image_size, image_size, in_channels) uint8, which splits may share.
        labels: (N,) int64, indices into the class names.
        rows: (N,) int64, which of those stored are the split's; None is all.
    """

    stored: NDArray[np.uint8]
    labels: NDArray[np.int64]
    rows: NDArray[np.int64] | None = None

    @property
    def images(self) -> NDArray[np.uint8]:
        """(N, image_size, image_size, in_channels): the pictures; copied where they are not all of those stored."""
        return self.stored if self.rows is None else self.stored[self.rows]


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Pictures ready for training. Packed ones travel between processes as the name of their file.

    Args:
        train: what a candidate is trained on.
        minival: cut from the training pictures; what a search may choose on.
        test: the test split, empty where there is none; never chosen on.
        class_names: one a class, in the order of the labels.
        in_channels: 1 (every picture is grey) or 3 (RGB).
        image_size: side of every picture, in pixels.
        fingerprint: hash of the sources' content, the same on every machine and at every place.
        unreadable: names of the pictures that could not be read and were skipped.
    """

    train: Split
    minival: Split
    test: Split
    class_names: tuple[str, ...]
    in_channels: int
    image_size: int
    fingerprint: str
    unreadable: tuple[str, ...]

    @property
    def sizes(self) -> dict[str, int]:
        """How many pictures each split has."""
        return {"train": len(self.train.labels), "minival": len(self.minival.labels), "test": len(self.test.labels)}

    @property
    def pack_bytes(self) -> int:
        """What the decoded pictures, all splits, take on the disk; 0 where they are in memory alone."""
        return bytes_on_disk(self.train.stored)


def load_data(
    source: str,
    *,
    test_source: str | None = None,
    image_size: int,
    minival: int | None = None,
    seed: int = 0,
    train_share: float = 1.0,
    max_unreadable: float = 0.01,
    cache_limit_gb: float = CACHE_LIMIT_GB,
) -> Data:
    """Reads, decodes and splits pictures: the shorter side is resized to `image_size`, the rest cut off evenly.

    Args:
        source: a registered name (`DATASETS`), a folder of pictures or parquet files, a parquet file or an npz file.
        test_source: the same, for a test split that lies elsewhere; it wins over one in `source`. Of a
            source that has a test split of its own, this is taken; else all its pictures.
        image_size: side of the pictures, in pixels.
        minival: pictures of the minival; None is 2 % of the training pictures, but at least 1,000 (which
            keeps the noise of an accuracy of .9 under .01), or a quarter of them where that is less; 0, for pictures
            that nothing is trained on, holds out none.
        seed: fixes which pictures are in the minival, and which are trained on.
        train_share: of the pictures that are not in the minival, how many are trained on; of each class its share.
        max_unreadable: share of the pictures of a split that may be unreadable; they are skipped.
        cache_limit_gb: what decoded pictures may take on the disk, those of other runs included (`pack`); 0 keeps
            them in memory.

    Returns:
        The data; grey (one channel) if every picture is, else RGB.

    Raises:
        FileNotFoundError: there is no such source, or no picture in it.
        ValueError: a source is not as it must be, or an argument out of its range (says what and the remedy).
        OSError: the cache cannot be used, or its disk is full.
    """
    _check_arguments(image_size, minival, seed, max_unreadable, train_share)
    dataset = read_dataset(source, test_source)
    if dataset.train.lists is not None:
        raise ValueError(
            f"every picture must have one label to be packed; those of {source} have lists of them: "
            "give each its first label in a column label, or train on them without packing"
        )
    choose_minival(dataset.classes, minival, seed)  # where this is impossible, say so before the long work
    request = Request(source, test_source, image_size, max_unreadable, _limit(cache_limit_gb))
    pictures = decoded(dataset, request)
    held_out = choose_minival(pictures.labels, minival, seed)
    rest = np.setdiff1d(np.arange(len(pictures.labels)), held_out)
    if train_share < 1:
        rest = rest[choose_minival(pictures.labels[rest], max(1, round(train_share * len(rest))), seed)]
    return Data(
        train=Split(pictures.images, pictures.labels[rest], rest),
        minival=Split(pictures.images, pictures.labels[held_out], held_out),
        test=Split(pictures.test_images, pictures.test_labels),
        class_names=dataset.class_names,
        in_channels=pictures.images.shape[3],
        image_size=image_size,
        fingerprint=dataset.fingerprint,
        unreadable=tuple(name for name, _ in pictures.unreadable),
    )


def choose_minival(labels: NDArray[np.int64], size: int | None, seed: int) -> NDArray[np.int64]:
    """Indices, sorted, of the training pictures to hold out: of each class its share, to within one picture.

    Args:
        labels: (N,) classes of the training pictures.
        size: how many to hold out; None is 2 % of N, but at least 1,000, or a quarter of N where that is less;
            0 none.
        seed: of the draw.

    Returns:
        (size,) int64.

    Raises:
        ValueError: there are too few pictures, or a class would lose its last one.
    """
    total = len(labels)
    if size == 0:
        return np.empty(0, np.int64)
    if size is None:
        if total < 1000:
            raise ValueError(
                f"the training pictures must be at least 1000 for a minival of the default size; there are {total}: "
                f"say how many to hold out, such as --minival {max(1, total // 5)}"
            )
        size = max(round(0.02 * total), min(1000, total // 4))
    if not 1 <= size < total:
        raise ValueError(f"minival must be from 1 to {total - 1}, below the {total} training pictures; got {size}")
    classes, counts = np.unique(labels, return_counts=True)
    take, rest = np.divmod(counts * size, total)  # shares rounded down; what is left goes to the largest remainders
    order = [i for i in np.argsort(-rest, kind="stable") if take[i] + 1 < counts[i]]
    left = size - int(take.sum())
    if left > len(order):
        raise ValueError(
            f"every class must keep a training picture, which a minival of {size} out of {total} pictures in "
            f"{len(classes)} classes makes impossible: give a smaller --minival, or more pictures of the rare classes"
        )
    take[order[:left]] += 1
    rng = np.random.default_rng(seed)
    parts = [rng.permutation(np.flatnonzero(labels == c))[:n] for c, n in zip(classes, take, strict=True)]
    return np.sort(np.concatenate(parts))


def _check_arguments(
    image_size: int, minival: int | None, seed: int, max_unreadable: float, train_share: float
) -> None:
    for name, value, least in (("image_size", image_size, 1), ("minival", minival, 0), ("seed", seed, 0)):
        if value is None and name == "minival":
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}")
    if not 0 < train_share <= 1:
        raise ValueError(f"train_share must be a share above 0 and at most 1; got {train_share!r}")
    if not 0 <= max_unreadable <= 1:
        raise ValueError(f"max_unreadable must be a share from 0 to 1; got {max_unreadable!r}")


def _limit(gb: float) -> int:
    if not gb >= 0:
        raise ValueError(f"cache_limit_gb must be at least 0; got {gb!r}")
    return round(min(gb, 10**6) * GB)
