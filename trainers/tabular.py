"""`TabularTask`: a candidate looked up in a table of recorded trials instead of being trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from results.trial import Measurement
from search_spaces import Architecture


class TabularTask:
    """(architecture, seed) -> the measurement that a table holds for the architecture; the seed is not used.

    Args:
        table: measurements by the architecture's text.
    """

    def __init__(self, table: Mapping[str, Measurement]) -> None:
        self._table = table

    def __call__(self, architecture: Architecture, seed: int) -> Measurement:
        """Look the architecture up.

        Raises:
            ValueError: the table does not hold it.
        """
        found = self._table.get(str(architecture))
        if found is None:
            raise ValueError(f"the table of {len(self._table)} networks does not hold {architecture}")
        return found

    @classmethod
    def read(cls, path: Path) -> TabularTask:
        """A table from a run folder, a parquet file or a CSV file.

        It needs the columns `architecture` and `accuracy`; other columns named as the fields of
        `Measurement` are taken along. Rows without an accuracy are left out; of several rows of one
        architecture the first counts.

        Raises:
            ValueError: the file is of another kind, or lacks a column.
        """
        file = path / "trials.parquet" if path.is_dir() else path
        if not file.exists():
            raise ValueError(f"a table must be a run folder, a parquet or a CSV file that exists; got {path}")
        if file.suffix == ".parquet":
            frame = pd.read_parquet(file)
        elif file.name.endswith((".csv", ".csv.gz")):
            frame = pd.read_csv(file)
        else:
            raise ValueError(f"a table must be a run folder, a parquet or a CSV file; got {path}")
        if missing := [c for c in ("architecture", "accuracy") if c not in frame]:
            raise ValueError(f"{file} must have the columns architecture and accuracy; it lacks {missing}")
        return cls(_measurements(frame))


def _measurements(frame: pd.DataFrame) -> dict[str, Measurement]:
    types = {f.name: str(f.type).removesuffix(" | None") for f in fields(Measurement)}
    casts: dict[str, Any] = {"float": float, "int": int, "str": str}
    columns = [name for name in types if name in frame]
    rows = frame.dropna(subset=["accuracy"]).drop_duplicates("architecture")
    table = {}
    for row in rows[["architecture", *columns]].itertuples(index=False):
        values = {name: casts[types[name]](v) for name, v in zip(columns, row[1:], strict=True) if not pd.isna(v)}
        table[row[0]] = Measurement(**values)
    return table
