"""Trials as a columnar table: the schema of `trials.parquet`, and rows there and back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from results.trial import Measurement, Trial
from search_spaces.space import SearchSpace

_TRIAL_TYPES: dict[str, pa.DataType] = {
    "number": pa.int64(),
    "architecture": pa.string(),
    "state": pa.string(),
    "reward": pa.float64(),
    "hypervolume": pa.float64(),
    "failure": pa.string(),
    "reason": pa.string(),
    "repeat_of": pa.int64(),
    "reused_from": pa.string(),
    "replicate": pa.int64(),
    "arm": pa.string(),
    "attempt": pa.int64(),
    "seed": pa.int64(),
    "asked_at": pa.float64(),
    "told_at": pa.float64(),
    "genotype": pa.list_(pa.int32()),
    "features": pa.list_(pa.float64()),
    "curve": pa.list_(pa.float64()),
    "curve_epochs": pa.list_(pa.float64()),
}
_PLAIN = {"float": pa.float64(), "int": pa.int64(), "str": pa.string()}
_MEASUREMENT_TYPES = {  # the samples of a timing stay in the journal
    f.name: _PLAIN[kind] for f in fields(Measurement) if (kind := str(f.type).removesuffix(" | None")) in _PLAIN
}
_ADDED = (
    *("reused_from", "curve_epochs"),
    *("latency", "latency_low", "latency_high", "latency_s", "latency_batch", "timing_note", "peak_memory"),
    *("driver", "sm_clock_mhz", "memory_clock_mhz", "temperature_c", "slowed_by"),
)
"""Columns that were not there from the first; in a view from before they are empty."""


class TrialTable:
    """How the trials of one run stand in a table: fixed columns, one per choice, and the run's constants.

    Args:
        space: its choices become columns, with the option taken as a plain value.
        constants: columns that are the same in every row, such as the controller's name.
        metadata: goes into the file's metadata, as JSON.

    Raises:
        ValueError: two columns would have one name.
    """

    def __init__(self, space: SearchSpace, constants: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        self._space = space
        self._constants = constants
        labels = {c.name: pa.array([c.label(i) for i in range(len(c.options))]).type for c in space.choices}
        types = [("number", pa.int64()), ("architecture", pa.string()), *labels.items()]
        types += [(n, t) for n, t in _TRIAL_TYPES.items() if n not in ("number", "architecture")]
        types += [*_MEASUREMENT_TYPES.items(), *((n, pa.scalar(v).type) for n, v in constants.items())]
        twice = sorted(name for name, times in Counter(name for name, _ in types).items() if times > 1)
        if twice:
            raise ValueError(f"the names of choices and constants must not be those of other columns; got {twice}")
        self.schema = pa.schema(types).with_metadata({k: json.dumps(v) for k, v in metadata.items()})

    def fitted(self, view: pa.Table) -> pa.Table:
        """A view that was written with these columns, or before some were added, with all of them.

        Raises:
            ValueError: it has other columns, or values that do not fit them.
        """
        for name in (n for n in self.schema.names if n in _ADDED and n not in view.column_names):
            missing = pa.nulls(len(view), self.schema.field(name).type)
            view = view.add_column(self.schema.get_field_index(name), name, [missing])
        return view.cast(self.schema)

    def table(self, trials: Sequence[Trial]) -> pa.Table:
        """One row per trial."""
        labels = [self._space.labels(t.genotype) for t in trials]
        columns: dict[str, list[Any]] = {name: [getattr(t, name) for t in trials] for name in _TRIAL_TYPES}
        for name in _MEASUREMENT_TYPES:
            columns[name] = [None if t.measurement is None else getattr(t.measurement, name) for t in trials]
        columns |= {choice.name: [label[choice.name] for label in labels] for choice in self._space.choices}
        columns |= {name: [value] * len(trials) for name, value in self._constants.items()}
        return pa.table([pa.array(columns[f.name], f.type) for f in self.schema], schema=self.schema)


def trial_of(row: Mapping[str, Any]) -> Trial:
    """The trial that a row (as `Table.to_pylist` gives it) holds."""
    values = {name: row[name] for name in _TRIAL_TYPES}
    for name in ("genotype", "features", "curve", "curve_epochs"):
        values[name] = tuple(values[name] or ())
    if row["accuracy"] is not None:
        values["measurement"] = Measurement(**{name: row[name] for name in _MEASUREMENT_TYPES})
    return Trial(**values)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """The table for pandas; integers stay integers where some are missing."""
    return table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)  # type: ignore[no-any-return]


def write_table(table: pa.Table, path: Path) -> None:
    """Write a parquet file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        # absolute: pyarrow takes a relative path with a colon in it for a URI
        pq.write_table(table, partial.absolute(), compression="zstd", write_page_checksum=True)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """A trial table, or some of its rows, as a parquet file; pandas reads the same types from it."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), sink, compression="zstd")
    return bytes(sink.getvalue())
