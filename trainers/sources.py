"""Pictures and labels as folders of classes, parquet and npz files hold them; `data` decodes and splits them.

The layouts are those others have settled on: ImageNet's folders (`train/<class>/...`), the Hugging Face
parquet (`image: struct<bytes, path>`, `label`), and the arrays of `numpy.savez` (`x_train`, `y_train`, ...).
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

Undecoded = bytes | Path | NDArray[np.uint8] | None
"""A picture as its source holds it: encoded bytes, a file, an array (H, W) or (H, W, C); None is missing."""

BATCH = 64
"""Pictures a source hands out at a time: enough to drown the cost of a task, few enough to hold at full size."""

_TEST_FOLDERS = ("test", "val", "validation")


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """One labelled set of pictures, not decoded yet.

    Args:
        origin: where they lie, for messages.
        labels: (N,) int64, indices into `class_names` or, where there are none, any integers from 0.
        class_names: what the labels mean; None where the source does not say.
        batches: hands out the N pictures in the order of the labels, some at a time.
        name_of: what to call picture number i.

    Raises:
        ValueError: a label is negative or has no class name, or two classes have one name.
    """

    origin: str
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] | None
    batches: Callable[[], Iterator[Sequence[Undecoded]]]
    name_of: Callable[[int], str]

    def __post_init__(self) -> None:
        names, labels = self.class_names, self.labels
        if names is not None and len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"class names must differ; {self.origin} has twice {', '.join(twice)}: rename them")
        if not len(labels):
            raise ValueError(f"there must be at least one picture; {self.origin} has none")
        if labels.min() < 0:
            raise ValueError(
                f"labels must be 0 or more; {self.origin} has {labels.min()} at {self.name_of(int(labels.argmin()))}: "
                "remove unlabelled pictures, or number the classes from 0"
            )
        if names is not None and labels.max() >= len(names):
            raise ValueError(
                f"labels must be below the number of class names, {len(names)}; {self.origin} has {labels.max()} at "
                f"{self.name_of(int(labels.argmax()))}: add the names that are missing, or number the classes from 0"
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
        fingerprint: content hash: of a file's bytes, or of a folder's relative paths and sizes.
        stamp: what changes on this machine when a file of a folder is written anew with the same size.
    """

    train: Pictures
    test: Pictures | None
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
    digest, newest = hashlib.blake2b(digest_size=16), 0
    for file in (file for _, classes in parts for files in classes.values() for file in files):
        status = file.stat()
        digest.update(os.fsencode(file.relative_to(root).as_posix()) + b"\t%d\n" % status.st_size)
        newest = max(newest, status.st_mtime_ns, status.st_ctime_ns)
    train, *test = (_folder_pictures(root, folder, classes) for folder, classes in parts)
    return Source(train, test[0] if test else None, digest.hexdigest(), str(newest))


def _split_folders(root: Path) -> tuple[Path, Path | None]:
    names, train = _folders(root), root / "train"
    if "train" not in names:
        return root, None
    if any(file.parent == train for file in _picture_files(train)):  # then train is a class
        if set(names) <= {"train", *_TEST_FOLDERS}:
            raise ValueError(
                f"training pictures must lie in {train}/<class>/; some lie directly in {train}: "
                "sort them into class folders"
            )
        return root, None
    tests = [root / name for name in _TEST_FOLDERS if name in names]
    return train, next((folder for folder in tests if _folders(folder)), None)


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _class_files(folder: Path) -> dict[str, list[Path]]:
    return {name: sorted(_picture_files(folder / name), key=Path.as_posix) for name in _folders(folder)}


def _picture_files(folder: Path) -> Iterator[Path]:
    extensions = {ending for ending, form in Image.registered_extensions().items() if form in Image.OPEN}
    for place, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in extensions:
                yield Path(place, name)


def _raise(error: OSError) -> None:
    raise error


def _folder_pictures(root: Path, folder: Path, classes: dict[str, list[Path]]) -> Pictures:
    files = [file for inside in classes.values() for file in inside]
    labels = np.repeat(np.arange(len(classes)), [len(inside) for inside in classes.values()])
    return Pictures(
        origin=str(folder),
        labels=labels.astype(np.int64),
        class_names=tuple(classes),
        batches=lambda: (files[i : i + BATCH] for i in range(0, len(files), BATCH)),
        name_of=lambda i: files[i].relative_to(root).as_posix(),
    )


def read_parquet(path: Path) -> Source:
    """Pictures in a parquet file: `image` (encoded bytes, or a struct with `bytes`) and `label` (integer).

    Class names are those of the metadata `class_names`, joined with `|`, or of Hugging Face's `huggingface`.

    Raises:
        ValueError: the file is not whole, a column is missing or of another type, or a label is missing.
    """
    try:
        with pq.ParquetFile(path.absolute()) as file:
            schema = file.schema_arrow
            column = _image_column(schema, path)
            labels = file.read(columns=["label"]).column("label")
    except (pa.ArrowException, OSError) as error:
        raise ValueError(_not_parquet(path, error)) from error
    if labels.null_count:
        first = labels.is_null().index(True).as_py()
        raise ValueError(
            f"every picture must have a label; in {path} {labels.null_count} of {len(labels)} labels are null, "
            f"the first in row {first}: drop those rows"
        )
    train = Pictures(
        origin=str(path),
        labels=labels.to_numpy().astype(np.int64),
        class_names=_parquet_names(schema),
        batches=lambda: _parquet_batches(path, column),
        name_of=lambda i: f"{path.name} row {i}",
    )
    return Source(train, None, file_fingerprint(path))


def _image_column(schema: Any, path: Path) -> str:
    missing = [name for name in ("image", "label") if name not in schema.names]
    if missing:
        raise ValueError(
            f"{path} must have the columns image and label; {' and '.join(missing)} missing, "
            f"it has {', '.join(schema.names) or 'none'}: rename the columns that hold them"
        )
    label, image = schema.field("label").type, schema.field("image").type
    if not pa.types.is_integer(label):
        raise ValueError(
            f"the column label of {path} must be of an integer type; it is {label}: number the classes from 0, "
            "and put their names, joined with |, into the schema's metadata as class_names"
        )
    is_struct = pa.types.is_struct(image) and image.get_field_index("bytes") >= 0
    content = image.field("bytes").type if is_struct else image
    if not pa.types.is_binary(content) and not pa.types.is_large_binary(content):
        raise ValueError(
            f"the column image of {path} must hold encoded pictures, binary or struct<bytes: binary, path: string>; "
            f"it is {image}: store the bytes of the JPEG or PNG files"
        )
    return "image.bytes" if is_struct else "image"


def _parquet_names(schema: Any) -> tuple[str, ...] | None:
    metadata = schema.metadata or {}
    if b"class_names" in metadata:
        return tuple(metadata[b"class_names"].decode().split("|"))
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):  # names are optional there, and so is the whole entry
        return None
    return tuple(map(str, names))


def _parquet_batches(path: Path, column: str) -> Iterator[list[bytes | None]]:
    try:
        with pq.ParquetFile(path.absolute()) as file:
            for batch in file.iter_batches(BATCH, columns=[column]):
                array = batch.column(0)
                yield (array.flatten()[0] if pa.types.is_struct(array.type) else array).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(_not_parquet(path, error)) from error


def _not_parquet(path: Path, error: Exception) -> str:
    return f"{path} must be a whole parquet file; reading it says {str(error).rstrip('.')}: copy or write it anew"


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
) -> Pictures:
    """Pictures that lie in an array (N, H, W) or (N, H, W, C), with labels (N,)."""
    return Pictures(
        origin=origin,
        labels=labels.astype(np.int64),
        class_names=class_names,
        batches=lambda: (list(images[i : i + BATCH]) for i in range(0, len(images), BATCH)),
        name_of=lambda i: f"{origin} number {i}",
    )


def file_fingerprint(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


READERS: dict[str, Callable[[Path], Source]] = {".parquet": read_parquet, ".npz": read_npz}
"""What reads a file, by its ending."""
