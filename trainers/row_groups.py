"""Single encoded pictures out of parquet files: row groups that are read when they are needed, and held for a while."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainers.cache import cache_folder
from trainers.sources import BATCH, Runs, Undecoded

HELD_BYTES = 2**30
"""Encoded pictures of a split that are held in memory; more only where four row groups take more."""


class RowGroups:
    """The pictures of some parquet files, of which the row groups that were used last are held.

    Args:
        files: path and footer (pyarrow's `FileMetaData`) of each.
        column: `image` or `image.bytes`.
        held_bytes: what row groups may take in memory; None is `HELD_BYTES`.
    """

    def __init__(self, files: Sequence[tuple[Path, Any]], column: str, *, held_bytes: int | None = None) -> None:
        held_bytes = HELD_BYTES if held_bytes is None else held_bytes
        self._files, self._column = files, column
        groups = [
            (number, place, footer.row_group(place).num_rows, _bytes_of(footer.row_group(place), column))
            for number, (_, footer) in enumerate(files)
            for place in range(footer.num_row_groups)
        ]
        self._file_of, self._place, rows, self._bytes = np.array(groups, np.int64).reshape(-1, 4).T
        self._starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        self._held_bytes = max(held_bytes, 4 * int(self._bytes.max(initial=0)))
        self._held: OrderedDict[int, Future[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self.runs: Runs | None = None
        if len(rows) and self._bytes.sum() > held_bytes:  # else any order is as cheap
            fitting = 0.75 * self._held_bytes * rows.sum() / self._bytes.sum()
            window = max(int(fitting) - 2 * int(rows.max()), int(rows.max()))
            self.runs = Runs(np.repeat(np.arange(len(rows)), rows), window)

    def at(self, row: int) -> Undecoded:
        """The encoded picture in a row, counted through all files; None where it is missing.

        Raises:
            ValueError: the row group cannot be read.
        """
        group = int(np.searchsorted(self._starts, row, "right")) - 1
        picture: bytes | None = self._group(group)[int(row - self._starts[group])].as_py()
        return picture

    def name_of(self, row: int) -> str:
        """What to call the picture in a row: its file, and its row there."""
        group = int(np.searchsorted(self._starts, row, "right")) - 1
        number = int(self._file_of[group])
        first = int(np.searchsorted(self._file_of, number))  # of the file's row groups
        return f"{self._files[number][0].name} row {row - self._starts[first]}"

    def batches(self) -> Iterator[Sequence[Undecoded]]:
        """All pictures in their order, few in memory at a time.

        Raises:
            ValueError: a file cannot be read.
        """
        for path, footer in self._files:
            with _reading(path), pq.ParquetFile(path.absolute(), metadata=footer) as file:
                for batch in file.iter_batches(BATCH, columns=[self._column]):
                    yield _content(batch.column(0)).to_pylist()

    def _group(self, group: int) -> Any:
        """The pictures of a row group. Whoever asks first reads it, while others who ask for it wait."""
        with self._lock:
            coming = self._held.get(group)
            if asked_before := coming is not None:
                self._held.move_to_end(group)
            else:
                coming = self._held[group] = Future()
                self._drop_oldest()
        if not asked_before:
            try:
                coming.set_result(self._read(group))
            except Exception as error:  # noqa: BLE001 - those who wait for it must get it, whatever it is
                coming.set_exception(error)
        return coming.result()

    def _drop_oldest(self) -> None:
        taken = sum(int(self._bytes[group]) for group in self._held)
        for group in list(self._held)[:-1]:
            if taken <= self._held_bytes:
                break
            del self._held[group]
            taken -= int(self._bytes[group])

    def _read(self, group: int) -> Any:
        path, footer = self._files[int(self._file_of[group])]
        with _reading(path), pq.ParquetFile(path.absolute(), metadata=footer) as file:
            read = file.read_row_group(int(self._place[group]), columns=[self._column], use_threads=False)
            return _content(read.column(0))


class Kept:
    """Encoded pictures that were asked for before, in a temporary file that vanishes with the process.

    For a minival, a few of whose pictures lie in every row group: else each look at it would read all groups again.

    Args:
        at: hands out a picture.
    """

    def __init__(self, at: Callable[[int], Undecoded]) -> None:
        self._at, self._lock = at, threading.Lock()
        self._places: dict[int, tuple[int, int]] = {}
        self._file: Any = None
        self._end = 0

    def at(self, row: int) -> Undecoded:
        """The picture, from the file where it has been kept."""
        if row in self._places and self._file is not None:
            length, place = self._places[row]
            return os.pread(self._file.fileno(), length, place)
        picture = self._at(row)
        if isinstance(picture, bytes):
            with self._lock, contextlib.suppress(OSError):  # where there is no room it is not kept
                if self._file is None:
                    folder = cache_folder()
                    folder.mkdir(parents=True, exist_ok=True)
                    self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it lives as long as this
                    weakref.finalize(self, self._file.close)
                if os.pwrite(self._file.fileno(), picture, self._end) == len(picture):
                    self._places[row] = len(picture), self._end
                    self._end += len(picture)
        return picture


def _bytes_of(row_group: Any, column: str) -> int:
    chunks = (row_group.column(place) for place in range(row_group.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == column)


def _content(column: Any) -> Any:
    """The encoded bytes, where pictures are structs of bytes and path."""
    return pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ValueError(not_parquet(path, error)) from error


def not_parquet(path: Path, error: Exception) -> str:
    """What to say of a file that cannot be read as parquet."""
    return f"{path} must be a whole parquet file; reading it says {str(error).rstrip('.')}: copy or write it anew"
