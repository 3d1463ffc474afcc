"""`TabularTask`: a candidate looked up in a table of recorded trials instead of being trained."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
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

    @property
    def fingerprint(self) -> str:
        """A hash of all that the table holds; equal tables have equal ones, in whatever order and file."""
        rows = sorted(f"{text} {measurement}" for text, measurement in self._table.items())
        return hashlib.blake2b("\n".join(rows).encode(), digest_size=16).hexdigest()

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
            ValueError: the file is of another kind, broken, or lacks a column (names what).
        """
        file = path / "trials.parquet" if path.is_dir() else path
        if not file.exists():
            raise ValueError(f"a table must be a run folder, a parquet or a CSV file that exists; got {path}")
        if file.suffix != ".parquet" and not file.name.endswith((".csv", ".csv.gz")):
            raise ValueError(f"a table must be a run folder, a parquet or a CSV file; got {path}")
        try:
            frame = pd.read_parquet(file.absolute()) if file.suffix == ".parquet" else pd.read_csv(file)
        except (ValueError, OSError) as error:
            raise ValueError(f"{file} cannot be read: {error}") from error
        if missing := [c for c in ("architecture", "accuracy") if c not in frame]:
            raise ValueError(f"{file} must have the columns architecture and accuracy; it lacks {missing}")
        try:
            return cls(_measurements(frame))
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error


def _whole(value: float) -> int:
    if int(value) != value:
        raise ValueError
    return int(value)


_CASTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "float": (float, "numbers"),
    "int": (_whole, "whole numbers"),
    "str": (str, "texts"),
}
_FIELDS = {f.name: _CASTS[str(f.type).removesuffix(" | None")] for f in fields(Measurement)}


def _measurements(frame: pd.DataFrame) -> dict[str, Measurement]:
    columns = [name for name in _FIELDS if name in frame]
    rows = frame.dropna(subset=["accuracy"]).drop_duplicates("architecture")
    table = {}
    for text, *row in rows[["architecture", *columns]].itertuples(index=False):
        values = {name: _cast(name, v) for name, v in zip(columns, row, strict=True) if not pd.isna(v)}
        table[text] = Measurement(**values)
    return table


def _cast(name: str, value: Any) -> Any:
    cast, expected = _FIELDS[name]
    try:
        return cast(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"the column {name} must hold {expected}; got {value!r}") from error
