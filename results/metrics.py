"""The metrics of a training: a row an epoch, in `metrics.parquet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from results.table import write_table


def write_metrics(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the epochs of a training, whole or not at all.

    Args:
        rows: of one kind, an epoch each (`trainers.training.Epoch`).

    Raises:
        OSError: the disk would not take it; a file that was there is as it was.
    """
    write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)


def read_metrics(path: Path) -> pd.DataFrame:
    """The epochs of a training, a row each.

    Raises:
        FileNotFoundError: there is no such file.
    """
    frame: pd.DataFrame = pq.read_table(path.absolute()).to_pandas()
    return frame


def gather_metrics(files: Mapping[str, Path], path: Path) -> None:
    """Write the epochs of several trainings into one file, with a column `training` that tells whose they are.

    Args:
        files: by the name of each training, its `metrics.parquet`.
        path: of the new file.

    Raises:
        OSError: one is not there, or the disk would not take it.
    """
    tables = []
    for name, file in files.items():
        table = pq.read_table(file.absolute())
        tables.append(table.add_column(0, "training", pa.array([name] * len(table))))
    write_table(pa.concat_tables(tables, promote_options="permissive"), path)
