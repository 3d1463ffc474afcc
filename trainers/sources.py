"""Pictures and labels as folders of classes and npz files hold them; `parquet_files` reads those in parquet.

The layouts are those others have settled on: ImageNet's folders (`train/<class>/...`) and the arrays of
`numpy.savez` (`x_train`, `y_train`, ...).
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Undecoded = bytes | Path | NDArray[np.uint8] | None
"""A picture as its source holds it: encoded bytes, a file, an array (H, W) or (H, W, C); None is missing."""

BATCH = 64
"""Pictures a source hands out at a time: enough to drown the cost of a task, few enough to hold at full size."""

TEST_NAMES = ("test", "val", "validation")
"""What a test split may be called; the first that is there and has labels is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelLists:
    """Classes of pictures that may have several.

    Args:
        classes: (K,) int64, those of all pictures one after the other.
        starts: (N + 1,) int64, where those of each picture begin; the last is K.
    """

    classes: NDArray[np.int64]
    starts: NDArray[np.int64]

    def shares(self, chosen: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
        """(n, num_classes): a row for each picture chosen, equal shares of its classes that sum to 1.

        As the multi-label targets of ImageNet-21k in EfficientNetV2 (arXiv 2104.00298, section 5.1).
        """
        counts = self.starts[chosen + 1] - self.starts[chosen]
        rows = np.repeat(np.arange(len(chosen)), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        shares = np.zeros((len(chosen), num_classes), np.float32)
        shares[rows, self.classes[np.repeat(self.starts[chosen], counts) + within]] = 1
        return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Pictures that are read together, as those of a row group of a parquet file.

    Args:
        group_of: (N,) int64, never falling: the group of each picture.
        window: how many pictures' groups may be held at a time.
    """

    group_of: NDArray[np.int64]
    window: int


@dataclass(frozen=True, slots=True, eq=False)
class PictureSet:
    """One labelled set of pictures, not decoded yet.

    Args:
        origin: where they lie, for messages.
        labels: (N,) int64, indices into `class_names` or, where there are none, any integers from 0.
        class_names: what the labels mean; None where the source does not say.
        batches: hands out the N pictures in the order of the labels, some at a time.
        at: hands out picture number i alone; many threads may ask at a time. It raises OSError or ValueError where
            it cannot be read.
        name_of: what to call picture number i.
        lists: all classes of each picture, where they may have several; its label is then the first.
        runs: which pictures are read together, where any other order is dear; None where it is not.

    Raises:
        ValueError: a label is negative or has no class name, or two classes have one name.
    """

    origin: str
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] | None
    batches: Callable[[], Iterator[Sequence[Undecoded]]]
    at: Callable[[int], Undecoded]
    name_of: Callable[[int], str]
    lists: LabelLists | None = None
    runs: Runs | None = None

    def __post_init__(self) -> None:
        names, labels = self.class_names, self.labels
        if names is not None and len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"class names must differ; {self.origin} has twice {', '.join(twice)}: rename them")
        if not len(labels):
            raise ValueError(f"there must be at least one picture; {self.origin} has none")
        lowest, highest = (int(chosen(self._every_label)) for chosen in (np.argmin, np.argmax))
        if self._every_label[lowest] < 0:
            raise ValueError(
                f"labels must be 0 or more; {self.origin} has {self._every_label[lowest]} at "
                f"{self._name_at(lowest)}: remove unlabelled pictures, or number the classes from 0"
            )
        if names is not None and self._every_label[highest] >= len(names):
            raise ValueError(
                f"labels must be below the number of class names, {len(names)}; {self.origin} has "
                f"{self._every_label[highest]} at {self._name_at(highest)}: add the names that are missing, or number "
                "the classes from 0"
            )

    @property
    def _every_label(self) -> NDArray[np.int64]:
        return self.labels if self.lists is None else self.lists.classes

    def _name_at(self, place: int) -> str:
        """What to call the picture whose label has that place among all labels."""
        return self.name_of(
            place if self.lists is None else int(np.searchsorted(self.lists.starts, place, "right")) - 1
        )

    def spelled(self, labels: NDArray[np.int64], by_name: bool) -> list[str]:
        """The labels as text: class names, or the integers."""
        return [self.class_names[label] if by_name and self.class_names else str(label) for label in labels]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What one name, folder or file holds.

    Args:
        train: all its pictures but those of `test`.
        test: its own test split; None where it has none.
        fingerprint: content hash: of a file's bytes, of a folder's relative paths and sizes, or of what
            `parquet_files` says.
        stamp: what changes on this machine when a file of a folder is written anew with the same size.
    """

    train: PictureSet
    test: PictureSet | None
    fingerprint: str
    stamp: str = ""


def read_folder(root: Path) -> Source:
    """Pictures in a folder per class: `root/train/<class>/` and a test split, or `root/<class>/` without one.

    The test split is the first of `root/test`, `root/val` and `root/validation` that has class folders.
    Order is that of the sorted paths. Hidden files, and files whose extension Pillow does not read, are
    ignored; a class may have folders within.

    Raises:
        FileNotFoundError: there are no class folders, or one without pictures.
        ValueError: pictures lie directly in `root/train`.
    """
    train_folder, test_folder = _split_folders(root)
    train_files = _class_files(train_folder)
    empty = [name for name, files in train_files.items() if not files]
    if empty or not train_files:
        found = f"none in {', '.join(map(repr, empty[:5]))}" if empty else "no folder in it"
        raise FileNotFoundError(
            f"{train_folder} must hold a folder per class, each with pictures; there is {found}: "
            "put the pictures into class folders, and remove folders that are no class"
        )
    parts = [(train_folder, train_files)]
    if test_folder is not None:
        parts.append((test_folder, {name: files for name, files in _class_files(test_folder).items() if files}))
    digest, newest, before = hashlib.blake2b(digest_size=16), 0, _before(root)
    for file in (file for _, classes in parts for files in classes.values() for file in files):
        status = os.stat(file)  # noqa: PTH116 - a million times: as a Path, five times as long
        digest.update(os.fsencode(file[before:]) + b"\t%d\n" % status.st_size)
        newest = max(newest, status.st_mtime_ns, status.st_ctime_ns)
    train, *test = (_folder_pictures(root, folder, classes) for folder, classes in parts)
    return Source(train, test[0] if test else None, digest.hexdigest(), str(newest))


def holds_pictures(folder: Path) -> bool:
    """Whether there is a picture file anywhere in a folder."""
    return next(_picture_files(folder), None) is not None


def _split_folders(root: Path) -> tuple[Path, Path | None]:
    names, train = _folders(root), root / "train"
    if "train" not in names:
        return root, None
    if any(Path(file).parent == train for file in _picture_files(train, deep=False)):  # then train is a class
        if set(names) <= {"train", *TEST_NAMES}:
            raise ValueError(
                f"training pictures must lie in {train}/<class>/; some lie directly in {train}: "
                "sort them into class folders"
            )
        return root, None
    tests = [root / name for name in TEST_NAMES if name in names]
    return train, next((folder for folder in tests if _folders(folder)), None)


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _class_files(folder: Path) -> dict[str, list[str]]:
    """The files of each class, sorted; as texts, which take a tenth of the memory that paths do."""
    return {name: sorted(_picture_files(folder / name)) for name in _folders(folder)}


def _picture_files(folder: Path, *, deep: bool = True) -> Iterator[str]:
    extensions = {ending for ending, form in Image.registered_extensions().items() if form in Image.OPEN}
    for place, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        folders[:] = [name for name in folders if deep and not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in extensions:  # noqa: PTH122
                yield f"{place}/{name}"


def _raise(error: OSError) -> None:
    raise error


def _before(root: Path) -> int:
    """How much of a file's path comes before what is relative to `root`."""
    return len(str(root / "x")) - 1


def _folder_pictures(root: Path, folder: Path, classes: dict[str, list[str]]) -> PictureSet:
    files, before = [file for inside in classes.values() for file in inside], _before(root)
    labels = np.repeat(np.arange(len(classes)), [len(inside) for inside in classes.values()])
    return PictureSet(
        origin=str(folder),
        labels=labels.astype(np.int64),
        class_names=tuple(classes),
        batches=lambda: (list(map(Path, files[i : i + BATCH])) for i in range(0, len(files), BATCH)),
        at=lambda i: Path(files[i]),
        name_of=lambda i: files[i][before:],
    )


def read_npz(path: Path) -> Source:
    """Pictures in an npz file: `x_train`, `y_train` and, where there are such, `x_test`, `y_test` and `names`.

    Pictures are uint8 of shape (N, H, W) or (N, H, W, C) with 1 or 3 channels; labels are integers (N,).

    Raises:
        ValueError: the file is not whole, an array is missing, or it has another dtype or shape.
    """
    arrays = _npz_arrays(path)
    missing = [name for name in ("x_train", "y_train") if name not in arrays]
    if ("x_test" in arrays) != ("y_test" in arrays):
        missing.append("y_test" if "x_test" in arrays else "x_test")
    if missing:
        raise ValueError(
            f"{path} must hold x_train and y_train, and may hold x_test with y_test, and names; {', '.join(missing)} "
            f"missing, of these it holds {', '.join(arrays) or 'none'}: save the arrays under these names"
        )
    names = None
    if "names" in arrays:
        if arrays["names"].ndim != 1 or arrays["names"].dtype.kind not in "US":
            raise ValueError(_wrong_array(path, "names", arrays["names"], "a list of texts, one a class"))
        names = tuple(arrays["names"].astype(str).tolist())
    sets = {}
    for split in ("train", "test") if "x_test" in arrays else ("train",):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if x.dtype != np.uint8 or x.ndim not in (3, 4) or x.shape[3:] not in ((), (1,), (3,)) or 0 in x.shape[1:]:
            raise ValueError(_wrong_array(path, f"x_{split}", x, "uint8 (N, H, W) or (N, H, W, C) with C 1 or 3"))
        if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
            raise ValueError(_wrong_array(path, f"y_{split}", y, f"integers of shape ({len(x)},), one a picture"))
        sets[split] = array_pictures(f"{path} ({split})", x, y, names)
    return Source(sets["train"], sets.get("test"), file_fingerprint(path))


def _npz_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path):  # numpy takes a file that is no archive for a pickle, and says so
            pass
        with np.load(path, allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files if name in _ARRAYS}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
        raise ValueError(
            f"{path} must be a whole npz file of plain arrays; reading it says {str(error).rstrip('.')}: "
            "write it anew with numpy.savez, without objects"
        ) from error


_ARRAYS = ("x_train", "y_train", "x_test", "y_test", "names")


def _wrong_array(path: Path, name: str, array: NDArray[Any], must: str) -> str:
    return f"{name} of {path} must be {must}; it is {array.dtype} of shape {array.shape}: convert it before saving"


def array_pictures(
    origin: str, images: NDArray[np.uint8], labels: NDArray[Any], class_names: tuple[str, ...] | None
) -> PictureSet:
    """Pictures that lie in an array (N, H, W) or (N, H, W, C), with labels (N,)."""
    return PictureSet(
        origin=origin,
        labels=labels.astype(np.int64),
        class_names=class_names,
        batches=lambda: (list(images[i : i + BATCH]) for i in range(0, len(images), BATCH)),
        at=lambda i: images[i],
        name_of=lambda i: f"{origin} number {i}",
    )


def file_fingerprint(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
