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
