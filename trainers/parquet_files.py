"""Pictures and labels in parquet: one file, or a folder of shards, also as Hugging Face lays them out.

The column `image` holds encoded pictures, binary or struct<bytes, path>; `label` holds integers, or lists of them where
a picture has several classes. Opening reads footers and labels alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trainers.row_groups import RowGroups, not_parquet
from trainers.sources import LabelLists, PictureSet, Source, file_fingerprint

HASHED_BYTES = 2**30
"""Of a single file, up to which all its bytes are hashed; of a larger one, and of shards, sizes, footers and labels."""

_SPLIT_NAMES = {
    "train": ("train", "training"),
    "test": ("test", "testing", "eval", "evaluation"),
    "validation": ("val", "valid", "validation", "dev"),
}


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    """A parquet file whose footer and labels have been read.

    Args:
        footer: pyarrow's `FileMetaData`.
        column: that of the pictures.
        labels: of its pictures, one after the other.
        counts: labels of each picture; None where each has one.
    """

    path: Path
    footer: Any
    column: str
    class_names: tuple[str, ...] | None
    labels: NDArray[np.int64]
    counts: NDArray[np.int64] | None


def read_parquet(path: Path) -> Source:
    """Pictures in a parquet file.

    Class names are those of the metadata `class_names`, joined with `|`, or of Hugging Face's `huggingface`.

    Raises:
        ValueError: the file is not whole, a column is missing or of another type, or a label is missing.
    """
    file = _opened(path)
    train = _picture_set(str(path), [file])
    if path.stat().st_size <= HASHED_BYTES:
        return Source(train, None, file_fingerprint(path))
    return Source(train, None, _fingerprint([file]), _stamp([file]))


def shard_files(folder: Path) -> list[Path]:
    """The parquet files in a folder or, where there are none, in the folders in it; sorted."""
    return sorted(folder.glob("*.parquet")) or sorted(folder.glob("*/*.parquet"))


def read_shards(folder: Path) -> Source:
    """Pictures in a folder of parquet files, in the order of the files' names.

    A file's name, or its folder's, says which split it is of, as `train-00000-of-00040.parquet` does; where no name
    does, all are for training. The test split is the first of test and validation that has labels.

    Raises:
        ValueError: as `read_parquet`; or a file is of no split, or none is for training.
    """
    splits = {path: _split_of(path.relative_to(folder)) for path in shard_files(folder)}
    if not any(splits.values()):
        splits = dict.fromkeys(splits, "train")
    if nameless := [path.name for path, split in splits.items() if split is None]:
        raise ValueError(
            f"every parquet file of {folder} must have train, validation or test in its name, or none of them; "
            f"{', '.join(nameless[:3])} has not: rename or remove it"
        )
    if "train" not in splits.values():
        raise ValueError(f"{folder} must have parquet files for training; it has only others: add train-*.parquet")
    used = [_opened(path) for path, split in splits.items() if split == "train"]
    train, test = _picture_set(f"{folder} (train)", used), None
    for name in ("test", "validation"):
        files = [_opened(path) for path, split in splits.items() if split == name]
        if any((file.labels >= 0).any() for file in files):  # else its labels are kept back, and told as -1
            test, used = _picture_set(f"{folder} ({name})", files), used + files
            break
    return Source(train, test, _fingerprint(used), _stamp(used))


def _split_of(path: Path) -> str | None:
    """The split that a file's name tells, or else its folder's."""
    for part in (path.stem, *reversed(path.parent.parts)):
        words = set(re.split("[^a-z]+", part.lower()))
        for split, names in _SPLIT_NAMES.items():
            if words & set(names):
                return split
    return None


def _fingerprint(files: Sequence[_File]) -> str:
    """Hash of each file's size, its footer, which has the bytes of every row group, and its labels."""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        size = file.path.stat().st_size
        with file.path.open("rb") as opened:
            opened.seek(size - 8)  # the footer's length, and a mark
            length = int.from_bytes(opened.read(4), "little")
            opened.seek(size - 8 - length)
            digest.update(b"%d\n" % size + opened.read(length))
        digest.update(file.labels.tobytes())
    return digest.hexdigest()


def _stamp(files: Sequence[_File]) -> str:
    return str(max(max(s.st_mtime_ns, s.st_ctime_ns) for s in (file.path.stat() for file in files)))


def _opened(path: Path) -> _File:
    try:
        with pq.ParquetFile(path.absolute()) as file:
            image = _image_column(file.schema_arrow, path)
            labels, counts = _labels(file.read(columns=["label"]).column("label"), path)
            return _File(path, file.metadata, image, _class_names(file.schema_arrow), labels, counts)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(not_parquet(path, error)) from error


def _image_column(schema: Any, path: Path) -> str:
    """The column of the encoded pictures, when both columns are as they must be."""
    missing = [name for name in ("image", "label") if name not in schema.names]
    if missing:
        raise ValueError(
            f"{path} must have the columns image and label; {' and '.join(missing)} missing, "
            f"it has {', '.join(schema.names) or 'none'}: rename the columns that hold them"
        )
    label, image = schema.field("label").type, schema.field("image").type
    if not pa.types.is_integer(label.value_type if _is_list(label) else label):
        raise ValueError(
            f"the column label of {path}, or of lists in it, must be of an integer type; it is {label}: number the "
            "classes from 0, and put their names, joined with |, into the schema's metadata as class_names"
        )
    is_struct = pa.types.is_struct(image) and image.get_field_index("bytes") >= 0
    content = image.field("bytes").type if is_struct else image
    if not pa.types.is_binary(content) and not pa.types.is_large_binary(content):
        raise ValueError(
            f"the column image of {path} must hold encoded pictures, binary or struct<bytes: binary, path: string>; "
            f"it is {image}: store the bytes of the JPEG or PNG files"
        )
    return "image.bytes" if is_struct else "image"


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _class_names(schema: Any) -> tuple[str, ...] | None:
    metadata = schema.metadata or {}
    if b"class_names" in metadata:
        return tuple(metadata[b"class_names"].decode().split("|"))
    try:
        label = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]
        label = label[0] if isinstance(label, list) else label  # two ways to write that there are several
        names = label.get("feature", label)["names"]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):  # they are optional, and so is the entry
        return None
    return tuple(map(str, names))


def _labels(column: Any, path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """The labels, and how many each picture has where there are lists of them."""
    counts = pc.list_value_length(column) if _is_list(column.type) else None
    bad = column.is_null() if counts is None else pc.fill_null(pc.equal(counts, 0), True)
    if number := pc.sum(bad).as_py():
        raise ValueError(
            f"every picture must have a label; in {path} {number} of {len(column)} labels are null"
            f"{'' if counts is None else ' or empty'}, the first in row {pc.index(bad, True).as_py()}: drop those rows"
        )
    flat = column if counts is None else pc.list_flatten(column)
    return flat.to_numpy().astype(np.int64), None if counts is None else counts.to_numpy().astype(np.int64)


def _picture_set(origin: str, files: Sequence[_File]) -> PictureSet:
    first = files[0]
    for file in files:
        for what in ("class_names", "column"):
            if getattr(file, what) != getattr(first, what) or (file.counts is None) != (first.counts is None):
                raise ValueError(
                    f"the files of a split must have the same columns and class names; {file.path} has others than "
                    f"{first.path}: write them alike"
                )
    labels, names, lists = np.concatenate([file.labels for file in files]), first.class_names, None
    if first.counts is not None:
        starts = np.cumsum(np.concatenate([[0], *(file.counts for file in files if file.counts is not None)]))
        lists = LabelLists(labels, starts.astype(np.int64))
        names = names or tuple(map(str, range(labels.max(initial=0) + 1)))
        labels = labels[starts[:-1]]
    groups = RowGroups([(file.path, file.footer) for file in files], first.column)
    return PictureSet(
        origin=origin,
        labels=labels,
        class_names=names,
        batches=groups.batches,
        at=groups.at,
        name_of=groups.name_of,
        lists=lists,
        runs=groups.runs,
    )
