"""An excerpt of a source: some of its pictures, as they are, in a parquet file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trainers.datasets import Dataset
from trainers.decode import as_file
from trainers.sources import PictureSet


def write_excerpt(dataset: Dataset, folder: Path, *, train: int, test: int, seed: int) -> tuple[Path, Path]:
    """Draw pictures and write them, each as its source has it: `train.parquet` and `test.parquet`.

    Files that are there are left as they are. Pictures keep their classes' shares as chance has it. Where the source
    has no test split, the test pictures are drawn of the training pictures, and none is in both.

    Args:
        dataset: where they are drawn from.
        folder: where the files are written; it is made.
        train: training pictures.
        test: test pictures.
        seed: of the draw.

    Returns:
        the two files.

    Raises:
        ValueError: there are not so many pictures, or they have several classes each.
        OSError: a picture cannot be read, or the disk would not take the files.
    """
    files = folder / "train.parquet", folder / "test.parquet"
    if all(file.is_file() for file in files):
        return files
    if dataset.train.lists is not None:
        raise ValueError("an excerpt must be of pictures of one class each; these may have several")
    order = np.random.default_rng(seed).permutation(len(dataset.classes))
    if dataset.test is None:
        pool, of, test_classes = dataset.train, order[: max(0, len(order) - train)], dataset.classes
        order = order[len(of) :]
    else:
        pool, test_classes = dataset.test, dataset.test_classes
        of = np.random.default_rng(seed + 1).permutation(len(test_classes))
    for name, there, wanted in (("training", len(order), train), ("test", len(of), test)):
        if not 0 < wanted <= there:
            raise ValueError(f"an excerpt must have from 1 to {there:,} {name} pictures; got {wanted:,}")
    folder.mkdir(parents=True, exist_ok=True)
    _write(pool, test_classes, np.sort(of[:test]), dataset.class_names, files[1])
    _write(dataset.train, dataset.classes, np.sort(order[:train]), dataset.class_names, files[0])
    return files


def _write(
    pictures: PictureSet, classes: NDArray[np.int64], chosen: NDArray[np.int64], names: Sequence[str], path: Path
) -> None:
    shuffled = np.random.default_rng(0).permutation(chosen)
    features = {"label": {"_type": "ClassLabel", "names": list(names)}, "image": {"_type": "Image"}}
    table = pa.table(
        {
            "image": pa.array([as_file(pictures.at(int(i))) for i in shuffled], pa.binary()),
            "label": pa.array(classes[shuffled], pa.int64()),
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    partial = path.with_name(f".{path.name}.partial")
    try:
        pq.write_table(table, partial)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        why = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, f"the pictures could not be written ({why}): make room", str(path)) from error
