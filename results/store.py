"""`TrialStore`: the folder of a run. Its journal is the truth; its parquet file is a view of it.

run.json         schema version and configuration, written once
journal.jsonl    append-only: every ask, measurement and tell, durable line by line
trials.parquet   one row a trial, rewritten now and then and at the end; readable at any time, best as
                 `pandas.read_parquet(open(path, "rb"))`, since pyarrow opens a path twice

A run without its journal (`results/compact.py` makes such copies) can be read, and not gone on with.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from results.events import apply, asked, measured, told
from results.journal import Event, Journal, read_events, read_kind
from results.table import TrialTable, to_frame, trial_of, write_table
from results.trial import Measurement, Trial
from search_spaces.space import SearchSpace

SCHEMA_VERSION = 1
JOURNAL, VIEW = "journal.jsonl", "trials.parquet"
_VIEW_INTERVAL_S = 10.0
_VIEW_SHARE = 0.05  # of the time, at the most, goes into rewriting the view

_UNREADABLE = (OSError, KeyError, TypeError, ValueError, pa.ArrowException)

log = logging.getLogger(__name__)


class TrialStore:
    """The trials of one run, kept in a folder.

    Made by `create`, or by `open` for a run that exists. One process may write; any may read.

    Attributes:
        folder: where it is.
        configuration: what the run was started with.
    """

    def __init__(self, folder: Path, configuration: Mapping[str, Any], journal: Journal | None) -> None:
        self.folder = folder
        self.configuration = configuration
        self._space = SearchSpace.from_json(configuration["space"])
        self._trials: dict[int, Trial] | None = None
        self._journal = journal
        self._view_at = time.monotonic()
        self._view_took_s = 0.0

    @classmethod
    def create(cls, folder: Path, configuration: Mapping[str, Any]) -> TrialStore:
        """A new run in a folder that does not exist or is empty.

        Args:
            configuration: plain data. `space` (as `SearchSpace.to_json`) is what was searched; the entries
                of `columns` become columns of the view.

        Raises:
            FileExistsError: the folder holds something.
            ValueError: a choice or a constant has the name of another column.
        """
        check_free(folder)
        text = json.dumps({"schema_version": SCHEMA_VERSION, "configuration": configuration}, indent=2) + "\n"
        store = cls(folder, configuration, None)
        store._trials = {}
        store._table(0)  # says what is wrong with the columns before anything is made
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / "run.json.partial"
        partial.write_text(text)
        store._journal = Journal(folder / JOURNAL)
        try:
            partial.replace(folder / "run.json")
            store.write_view()
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open(cls, folder: Path, *, writing: bool = False) -> TrialStore:
        """The run in a folder; its trials are read now for writing, and for reading when they are asked for.

        Raises:
            FileNotFoundError: the folder holds no run; or its journal is gone, and so is its parquet file or `writing`
                was asked for.
            ValueError: the run has another schema version, or a run.json that cannot be read; for writing also as
                `trials`.
            BlockingIOError: another process writes to the run, and `writing` was asked for.
        """
        configuration = _read_run(folder)["configuration"]
        path = folder / JOURNAL
        if not path.exists() and (writing or not (folder / VIEW).exists()):
            raise FileNotFoundError(
                f"{folder} holds a run.json but no {JOURNAL}; restore it from a copy (where `nas compact` made the "
                f"folder, go on with the run that it was made of)"
            )
        store = cls(folder, configuration, Journal(path) if writing else None)
        try:
            if writing:
                store._trials = store._read_trials()
                for left_over in folder.glob("*.partial"):
                    left_over.unlink()
                store.write_view()  # the one that is there may know of lines that were cut off
        except BaseException:
            store.close()
            raise
        return store

    @property
    def trials(self) -> dict[int, Trial]:
        """Every trial asked for so far, by number; of a run opened for reading, as it was when first asked here.

        Raises:
            ValueError: a line of the journal is broken, or does not fit those before it (names it).
        """
        if self._trials is None:
            self._trials = self._read_trials()
        return self._trials

    def _read_trials(self) -> dict[int, Trial]:
        path, trials = self.folder / JOURNAL, dict[int, Trial]()
        if not path.exists():
            view = self.table()
            return {row["number"]: trial_of(row) for row in view.to_pylist()}
        for line, event in enumerate(self.events(), 1):
            try:
                apply(event, trials)
            except (KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {line}: does not fit the lines before it ({error!r}); restore it from a copy"
                ) from error
        return trials

    def asked(self, trial: Trial) -> None:
        """Record a controller's ask and what is to be done about it; durable before a candidate is evaluated.

        Of a trial that is reused from an earlier run the line holds what was measured there, so that it is all this
        run ever needs of the other.
        """
        self.record(asked(trial), durable=trial.state == "running" and trial.reused_from is None)

    def measured(self, number: int, measurement: Measurement) -> None:
        """Record a measurement of a running trial."""
        self.record(measured(number, measurement), durable=False)

    def attempted(self, number: int, reason: str) -> None:
        """Record that a trial's evaluation is begun once more, and why."""
        self.record({"event": "attempted", "number": number, "reason": reason, "time": time.time()})

    def told(self, trial: Trial) -> None:
        """Record the outcome of a trial; durable at the next ask, after a second, or by `sync`."""
        self.record(told(trial), durable=False)
        due = max(_VIEW_INTERVAL_S, self._view_took_s / _VIEW_SHARE)
        if time.monotonic() - self._view_at > due:
            self.write_view()

    def record(self, event: Event, *, durable: bool = True) -> None:
        """Append an event to the journal, then apply it; `durable` as in `Journal.append`.

        Raises:
            OSError: the disk would not take it; nothing has changed.
        """
        if self._journal is None:
            raise ValueError(f"{self.folder} was opened for reading; open it with writing=True")
        self._journal.append(event, durable=durable)
        apply(event, self.trials)

    def sync(self) -> None:
        """Make durable what is not yet; for when no ask will follow soon."""
        if self._journal is not None:
            self._journal.sync()

    def events(self, kind: str | None = None) -> Iterator[Event]:
        """Every event, or every one of a kind, in order; of a run without its journal, those that are of no trial."""
        path = self.folder / JOURNAL
        if path.exists():
            yield from (event for event, _ in read_events(path)) if kind is None else read_kind(path, kind)
        else:
            kept: Iterable[Event] = _read_run(self.folder).get("events", ())
            yield from (event for event in kept if kind is None or event["event"] == kind)

    def write_view(self) -> None:
        """Rewrite `trials.parquet`, whole or not at all."""
        assert self._journal is not None
        begun = time.monotonic()
        table = self._table(self._journal.size).table([self.trials[n] for n in sorted(self.trials)])
        write_table(table, self.folder / VIEW)
        self._view_at = time.monotonic()
        self._view_took_s = self._view_at - begun

    def frame(self) -> pd.DataFrame:
        """One row a trial, as `table`."""
        return to_frame(self.table())

    def table(self) -> pa.Table:
        """One row a trial: the parquet view, brought up to date from the journal's tail.

        Raises:
            ValueError: a line of that tail is broken, or the run has no journal and its parquet file is.
        """
        if not (self.folder / JOURNAL).exists():
            return self._view_alone()
        view, start = self._read_view()
        tail = [event for event, _ in read_events(self.folder / JOURNAL, start)]
        touched: set[int] = {event["number"] for event in tail if "number" in event}
        before = {row["number"]: trial_of(row) for row in _rows(view, touched)}
        repeats = [t.repeat_of for t in before.values()] + [event.get("repeat_of") for event in tail]
        originals = {number for number in repeats if number is not None} - set(before)
        before |= {row["number"]: trial_of(row) for row in _rows(view, originals)}
        for event in tail:
            apply(event, before)
        newer = self._table(start).table([before[n] for n in touched])
        untouched = view.filter(pc.invert(_among(view, touched)))
        return pa.concat_tables([untouched, newer]).sort_by("number")

    def _view_alone(self) -> pa.Table:
        path = self.folder / VIEW
        try:
            return self._table(0).fitted(_read(path))
        except _UNREADABLE as error:
            raise ValueError(f"{path} cannot be read ({error}); restore it from a copy") from error

    def _read_view(self) -> tuple[pa.Table, int]:
        """The parquet view and how many bytes of the journal it covers; an empty one where it is unusable."""
        path = self.folder / VIEW
        try:
            view = _read(path)
            start = int(json.loads(view.schema.metadata[b"journal_bytes"]))
            size = (self.folder / JOURNAL).stat().st_size  # after the view was read: a writer adds to both
            if not 0 <= start <= size:
                raise ValueError(f"it covers {start} bytes of a journal of {size}")
            return self._table(start).fitted(view), start
        except _UNREADABLE as error:
            log.warning("%s cannot be used (%s); reading the journal instead", path, error)
            return self._table(0).table([]), 0

    def close(self) -> None:
        """Let go of the journal."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _table(self, journal_bytes: int) -> TrialTable:
        metadata = {
            "schema_version": SCHEMA_VERSION,
            "configuration": self.configuration,
            "journal_bytes": journal_bytes,
        }
        return TrialTable(self._space, self.configuration.get("columns", {}), metadata)


def check_free(folder: Path) -> None:
    """Raise FileExistsError where a folder could not be a new run's, because it holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        remedy = f"go on with `nas resume {folder}`" if (folder / "run.json").exists() else "empty it"
        raise FileExistsError(f"{folder} must not exist yet, and it holds something: {remedy}, or name another")


def _among(view: pa.Table, numbers: set[int]) -> pa.Array:
    return pc.is_in(view["number"], value_set=pa.array(sorted(numbers), pa.int64()))


def _read(path: Path) -> pa.Table:
    """A parquet file, opened once: `read_table` opens a path twice, and a replacement may come between."""
    with pq.ParquetFile(path.absolute(), page_checksum_verification=True) as file:
        return file.read()


def _rows(view: pa.Table, numbers: set[int]) -> list[dict[str, Any]]:
    return view.filter(_among(view, numbers)).to_pylist()  # type: ignore[no-any-return]


def _read_run(folder: Path) -> dict[str, Any]:
    """What run.json holds, of this release's schema version."""
    path = folder / "run.json"
    if not path.exists():
        raise FileNotFoundError(f"{folder} holds no run (there is no run.json in it); `nas search` makes one")
    try:
        run = json.loads(path.read_text())
        version = run["schema_version"]
        if version == SCHEMA_VERSION:
            SearchSpace.from_json(run["configuration"]["space"])
            return {**run, "configuration": dict(run["configuration"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error!r}); restore it from a copy") from error
    raise ValueError(
        f"{folder} has schema version {version}, and this release reads version {SCHEMA_VERSION}: "
        f"open it with the release that wrote it"
    )
