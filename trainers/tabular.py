"""`TabularTask`: a candidate looked up in a table of recorded trials instead of being trained."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from results.trial import Measurement
from search_spaces import Architecture, Genotype, SearchSpace


class TabularTask:
    """(architecture, seed) -> a measurement that a table holds for the architecture.

    Of an architecture with several rows the seed draws one, `rows[seed % len(rows)]`, as another training of
    it would come out otherwise; of one with a single row the seed changes nothing.

    Args:
        table: by the architecture's text, a measurement or, of several trainings, a sequence of them.

    Raises:
        ValueError: the sequence of an architecture is empty, or an accuracy is no fraction.
    """

    def __init__(self, table: Mapping[str, Measurement | Sequence[Measurement]]) -> None:
        self._table = {text: (m,) if isinstance(m, Measurement) else tuple(m) for text, m in table.items()}
        if empty := [text for text, rows in self._table.items() if not rows]:
            raise ValueError(f"each architecture of a table must have a measurement; {empty[0]} has none")
        for text, rows in self._table.items():
            for row in rows:
                if not 0 <= row.accuracy <= 1:
                    raise ValueError(f"an accuracy must be a fraction, from 0 to 1; got {row.accuracy:g} of {text}")

    @property
    def rows(self) -> Mapping[str, tuple[Measurement, ...]]:
        """All that the table holds: by the architecture's text, its measurements in the file's order."""
        return self._table

    @property
    def fingerprint(self) -> str:
        """A hash of all that the table holds; equal tables have equal ones, in whatever order and file.

        The order of one architecture's rows counts, since the seed draws by it.
        """
        lines = sorted(" ".join((text, *map(str, rows))) for text, rows in self._table.items())
        return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()

    @property
    def epochs(self) -> int:
        """How many measurements it gives of an architecture."""
        return 1

    @property
    def has_step_time(self) -> bool:
        """Whether every row has a step time."""
        rows = [m for rows in self._table.values() for m in rows]
        return bool(rows) and all(m.step_time is not None for m in rows)

    @property
    def noiseless(self) -> bool:
        """Whether a network is always given the same measurement: no network has two rows."""
        return all(len(rows) == 1 for rows in self._table.values())

    def expected_step_time(self, architecture: Architecture) -> float:
        """The mean step time of the architecture's rows; NaN where the table holds none."""
        times = [m.step_time for m in self._table.get(str(architecture), ()) if m.step_time is not None]
        return fmean(times) if times else math.nan

    def __call__(self, architecture: Architecture, seed: int) -> Measurement:
        """Look the architecture up.

        Raises:
            ValueError: the table does not hold it.
        """
        rows = self._table.get(str(architecture))
        if rows is None:
            raise ValueError(f"the table of {len(self._table)} networks does not hold {architecture}")
        return rows[seed % len(rows)]

    @classmethod
    def read(cls, path: Path, space: SearchSpace | None = None) -> TabularTask:
        """A table from a run folder, a parquet file or a CSV file.

        It needs the columns `architecture` and `accuracy`; other columns named as the fields of
        `Measurement` are taken along. In the place of `architecture` it may have `genotype`: a list (in CSV
        as JSON, `[0, 1, 2]`), or digits such as `02212` where no choice has more than ten options. Rows
        without an accuracy are left out, and so are a run's repeats, which are copies and no trainings, and its
        candidates that were stopped early, whose accuracy is another epoch's.

        Args:
            path: of the folder or the file.
            space: decodes the genotypes; not used where there is a column `architecture`.

        Raises:
            ValueError: the file is of another kind, broken, or lacks a column (names what); its genotypes
                have no space to decode them, or one does not decode (names its row and it).
        """
        file = path / "trials.parquet" if path.is_dir() else path
        if not file.exists():
            raise ValueError(f"a table must be a run folder, a parquet or a CSV file that exists; got {path}")
        if file.suffix != ".parquet" and not file.name.endswith((".csv", ".csv.gz")):
            raise ValueError(f"a table must be a run folder, a parquet or a CSV file; got {path}")
        try:
            if file.suffix == ".parquet":
                frame = pd.read_parquet(file.absolute())
            else:
                frame = pd.read_csv(file, dtype={"genotype": str})  # as a number it would lose its leading zeros
        except (ValueError, OSError) as error:
            raise ValueError(f"{file} cannot be read: {error}") from error
        key = "genotype" if "genotype" in frame and "architecture" not in frame else "architecture"
        if missing := [c for c in (key, "accuracy") if c not in frame]:
            wanted = "architecture (or genotype) and accuracy"
            raise ValueError(f"{file} must have the columns {wanted}; it lacks {missing}")
        if key == "genotype" and space is None:
            raise ValueError(f"{file} names its networks by genotype: a space must be given to decode them; got none")
        try:
            return cls(_measurements(frame, space if key == "genotype" else None))
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
_FIELDS = {f.name: _CASTS[kind] for f in fields(Measurement) if (kind := str(f.type).removesuffix(" | None")) in _CASTS}


def _measurements(frame: pd.DataFrame, space: SearchSpace | None) -> dict[str, list[Measurement]]:
    """By the architecture's text, its measurements in the frame's order; with a space, decoded from genotypes."""
    key = "architecture" if space is None else "genotype"
    columns = [name for name in _FIELDS if name in frame]
    kept = frame["accuracy"].notna()
    if "state" in frame:
        kept &= ~frame["state"].isin(["repeat", "stopped"])
    numbers = [number for number, keep in enumerate(kept, 1) if keep]
    table: dict[str, list[Measurement]] = {}
    for number, (name, *row) in zip(numbers, frame.loc[kept, [key, *columns]].itertuples(index=False), strict=True):
        text = _named(name, number) if space is None else _decoded(name, number, space)
        values = {name: _cast(name, v) for name, v in zip(columns, row, strict=True) if not pd.isna(v)}
        table.setdefault(text, []).append(Measurement(**values))
    return table


def _named(value: Any, number: int) -> str:
    if not isinstance(value, str):
        raise ValueError(f"row {number}: the column architecture must hold texts; got {value!r}")
    return value


def _decoded(value: Any, number: int, space: SearchSpace) -> str:
    try:
        genotype = _genotype(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"row {number}: a genotype must be a list of whole numbers, such as [0, 1, 2], or digits, such as 012; "
            f"got {value!r}"
        ) from error
    try:
        return str(space.decode(genotype))
    except ValueError as error:
        raise ValueError(f"row {number}: {list(genotype)} is no genotype of space {space.name}: {error}") from error


def _genotype(value: Any) -> Genotype:
    if not isinstance(value, str):
        return tuple(map(_whole, value))
    return tuple(map(int, value)) if value.isdecimal() else tuple(map(_whole, json.loads(value)))


def _cast(name: str, value: Any) -> Any:
    cast, expected = _FIELDS[name]
    try:
        return cast(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"the column {name} must hold {expected}; got {value!r}") from error
