"""The proxy pack: pictures decoded and resized once, in files that every process on a machine maps.

`<cache>/packs/<key>/` holds the arrays and `pack.json`; the key is a hash of the sources and of all that decides how
they are decoded, so that a pack is never stale. It is made in a folder of another name and renamed when it is whole.
Who uses a pack holds a shared lock on `<key>.lock`; who makes or removes one, an exclusive lock.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.cache import cache_folder
from trainers.datasets import Dataset, read_dataset
from trainers.decode import DECODER, decode, first_faults, with_channels
from trainers.pack_room import Lock, make_room, size_of

VERSION = 1
"""Of the layout and of how pictures are decoded; packs of another one are not looked at."""

CHECKED = 64
"""Pictures of an array whose checksums are kept, and compared whenever the pack is opened."""

ATTEMPTS = 5
"""To make a pack, before it is said that another process is in the way."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What is packed: the arguments of `read_dataset`, and how its pictures are decoded.

    Args:
        source: of the pictures.
        test_source: of the test split, where it lies elsewhere.
        image_size: side of every picture, in pixels.
        max_unreadable: share of the pictures of a split that may be unreadable; they are skipped.
        limit_bytes: what all packs may take on the disk together; 0 keeps the pictures in memory.
    """

    source: str
    test_source: str | None
    image_size: int
    max_unreadable: float
    limit_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Square pictures, those that could be read, with what is known of them.

    Args:
        images: (N, image_size, image_size, in_channels) uint8 of training.
        labels: (N,) int64.
        test_images: of the test split; (0, ...) where there is none.
        test_labels: of the test split.
        unreadable: names and faults of the pictures that were skipped.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    unreadable: tuple[tuple[str, str], ...]


class Mapped(np.memmap):
    """An array of a pack. It travels between processes as the name of its file, and a part of it as its content.

    Attributes:
        place: of the whole array of a pack; None of a part.
    """

    place: Place | None = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.place is None:
            return np.asarray(self).__reduce_ex__(protocol)
        return mapped, (self.place.folder, self.place.name, self.place.request, self.place.fingerprint)


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where an array lies, what was packed there, and the lock by which the pack is kept from being removed."""

    folder: Path
    name: str
    request: Request
    fingerprint: str
    lock: Lock


def mapped(folder: Path, name: str, request: Request, fingerprint: str) -> NDArray[np.uint8]:
    """An array of a pack, in whatever process: on a machine that lacks the pack, it is made there.

    Raises:
        FileNotFoundError: the pictures are not on this machine either.
        ValueError: the pictures here are others than those that were packed.
    """
    if folder.is_dir():
        lock = _opened(folder)
    else:  # another machine, or another cache
        dataset = read_dataset(request.source, request.test_source)
        if dataset.fingerprint != fingerprint:
            raise ValueError(
                f"the pictures must be the same on every machine; those of {request.source} here are not those that "
                f"were packed at {folder}: copy them anew"
            )
        folder, lock = _made(dataset, request)
    return _mapped(Place(folder, name, request, fingerprint, lock))


def decoded(dataset: Dataset, request: Request) -> Decoded:
    """The pictures of a dataset, from its pack; it is made where there is none.

    Raises:
        OSError: the cache cannot be read or written, or the disk is full; nothing is left behind.
        ValueError: too many pictures are unreadable, a class has no readable one, or the limit is too small.
    """
    if request.limit_bytes == 0:
        return _in_memory(dataset, request)
    folder, lock = _made(dataset, request)
    known = json.loads((folder / "pack.json").read_text())
    fingerprint = dataset.fingerprint
    images, tests = (_mapped(Place(folder, name, request, fingerprint, lock)) for name in ("train", "test"))
    return Decoded(
        images,
        np.load(folder / "train-labels.npy"),
        tests,
        np.load(folder / "test-labels.npy"),
        tuple((name, fault) for name, fault in known["unreadable"]),
    )


def _in_memory(dataset: Dataset, request: Request, allocate: Callable[..., Any] | None = None) -> Decoded:
    """Decode everything into arrays that `allocate(split, shape)` gives, by default in memory."""
    make = allocate or (lambda split, shape: np.empty(shape, np.uint8))
    size, most = request.image_size, request.max_unreadable
    images, read, skipped = decode(dataset.train, size, most, allocate=lambda shape: make("train", shape))
    labels = dataset.classes[read]
    if lost := [dataset.class_names[c] for c in np.setdiff1d(dataset.classes, labels)]:
        raise ValueError(f"every class must have a readable training picture; {', '.join(lost)} has none: mend some")
    tests, test_labels = images[:0], labels[:0]
    if dataset.test is not None:
        tests, read, more = decode(dataset.test, size, most, allocate=lambda shape: make("test", shape))
        test_labels, skipped = dataset.test_classes[read], skipped + more
    channels = max(images.shape[3], tests.shape[3])
    images = with_channels(images, channels, allocate=lambda shape: make("train", shape))
    tests = with_channels(tests, channels, allocate=lambda shape: make("test", shape))
    if skipped:
        total = len(dataset.classes) + len(dataset.test_classes)
        faults = first_faults(skipped)
        logger.warning("skipped %d of %d pictures, which are unreadable: %s", len(skipped), total, faults)
    return Decoded(images, labels, tests, test_labels, tuple(skipped))


def _made(dataset: Dataset, request: Request) -> tuple[Path, Lock]:
    """The folder of a whole pack, made where there is none, and the lock that keeps it."""
    decides = [VERSION, dataset.fingerprint, dataset.stamp, request.image_size, request.max_unreadable, DECODER]
    key = hashlib.blake2b(json.dumps(decides).encode(), digest_size=12).hexdigest()
    packs = cache_folder() / "packs"
    folder = packs / key
    try:
        packs.mkdir(parents=True, exist_ok=True)
        lock = _opened(folder)
        for _ in range(ATTEMPTS):
            if _is_whole(folder):
                break
            try:
                fcntl.flock(lock.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _make(dataset, request, folder)
            except BlockingIOError:  # another has begun to make it, or uses one that is damaged
                time.sleep(0.2)
            fcntl.flock(lock.file, fcntl.LOCK_SH)
        else:
            raise OSError(f"{folder} is damaged, and another process uses it: end that process, or remove the folder")
        os.utime(folder / "pack.json")  # when it was used last
        make_room(packs, request.limit_bytes, 0, keep=key)
    except OSError as error:
        raise _named(error, packs) from error
    return folder, lock


def _opened(folder: Path) -> Lock:
    """The shared lock of a pack; waits while another process makes the pack."""
    lock = Lock(folder)
    try:
        fcntl.flock(lock.file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        logger.warning("waiting for another process that packs the same pictures into %s", folder)
        fcntl.flock(lock.file, fcntl.LOCK_SH)
    return lock


def _named(error: OSError, packs: Path) -> OSError:
    """The error with what can be done about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        text = f"there must be room for the decoded pictures in {packs}; the disk is full"
    elif isinstance(error, PermissionError | NotADirectoryError | FileExistsError) or error.errno == errno.EROFS:
        text = f"the cache must be a folder that can be written; {packs} cannot: {error.strerror}"
    else:
        return error
    return OSError(f"{text}. Set NAS_CACHE to another folder, or keep the pictures in memory (--cache-limit 0)")


def _make(dataset: Dataset, request: Request, folder: Path) -> None:
    """Decode into a folder of another name, which gets its own when everything is in it."""
    partial = folder.with_name(f"{folder.name}.partial")
    for old in (partial, folder):  # of a process that was killed, or damaged
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir()

    def allocate(split: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        wanted = int(np.prod(shape))
        make_room(folder.parent, request.limit_bytes, wanted, keep=folder.name)
        path = partial / f"{split}-{shape[3]}.npy"
        array: NDArray[np.uint8] = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        if wanted:
            with path.open("r+b") as file:  # a map of a file with holes dies where the disk is full
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return array

    try:
        found = _in_memory(dataset, request, allocate)
        arrays = {"train": found.images, "test": found.test_images}
        for split, labels in (("train", found.labels), ("test", found.test_labels)):
            path = partial / f"{split}-{arrays[split].shape[3]}.npy"
            if not path.exists():  # a split without pictures
                np.save(path, np.empty((0, *arrays[split].shape[1:]), np.uint8))
            path.rename(partial / f"{split}.npy")
            np.save(partial / f"{split}-labels.npy", labels)
            if isinstance(array := arrays[split], np.memmap):
                array.flush()
        for left in partial.glob("*-[13].npy"):  # grey pictures that were copied when the first in colour came
            left.unlink()
        kept = {
            "request": asdict(request),
            "unreadable": found.unreadable,
            "counts": {split: len(array) for split, array in arrays.items()},
            "checksums": {split: _checksums(array) for split, array in arrays.items()},
        }
        (partial / "pack.json").write_text(json.dumps(kept))
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _checksums(images: NDArray[np.uint8]) -> list[int]:
    places = np.unique(np.linspace(0, len(images) - 1, min(CHECKED, len(images))).astype(int))
    return [zlib.crc32(images[place].tobytes()) for place in places]


def _is_whole(folder: Path) -> bool:
    """Whether a pack is there and as it was made; says so where it is damaged."""
    if not folder.is_dir():
        return False
    try:
        known = json.loads((folder / "pack.json").read_text())
        for split in ("train", "test"):
            array = _array(folder, split)
            if _checksums(array) != known["checksums"][split] or not (folder / f"{split}-labels.npy").exists():
                raise ValueError(f"{split}.npy holds other pictures")
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, PermissionError):
            raise
        logger.warning("the pack %s is damaged (%s) and is made anew", folder, error)
        return False
    return True


def _array(folder: Path, split: str) -> NDArray[np.uint8]:
    count = json.loads((folder / "pack.json").read_text())["counts"][split]
    if count == 0:
        return np.asarray(np.load(folder / f"{split}.npy"), np.uint8)[:0]
    array: NDArray[np.uint8] = np.load(folder / f"{split}.npy", mmap_mode="c")  # "c", since torch wants it writable
    return array[:count]


def _mapped(place: Place) -> NDArray[np.uint8]:
    array = _array(place.folder, place.name)
    if not isinstance(array, np.memmap):  # without pictures
        return array
    found = array.view(Mapped)
    found.place = place
    return found


def bytes_on_disk(array: NDArray[np.uint8]) -> int:
    """What the pack that holds an array takes on the disk; 0 of an array in memory."""
    return size_of(array.place.folder) if isinstance(array, Mapped) and array.place is not None else 0
