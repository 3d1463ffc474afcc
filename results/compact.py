"""A run to keep or to hand on: two files that every command reads, without the journal that a search goes on by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results.store import SCHEMA_VERSION, VIEW, TrialStore, check_free
from results.table import write_table
from results.whole_file import not_written, write_whole


def compact(store: TrialStore, folder: Path, *, configuration: Mapping[str, Any] | None = None) -> None:
    """Write a run's table as it is now, and its run.json with the journal's events that are of no trial.

    What is lost are the single ratios that each median of a timing is of, and the order of events. run.json comes
    last, so that the folder is a run when it is whole.

    Args:
        store: of the run.
        folder: a new or an empty one.
        configuration: what is written as the run's; None is its own.

    Raises:
        FileExistsError: the folder holds something.
        ValueError: as `TrialStore.table`.
        OSError: the disk would not take it; nothing of it is left then.
    """
    check_free(folder)
    table = store.table()
    configuration = store.configuration if configuration is None else configuration
    about = {key: value for key, value in table.schema.metadata.items() if key != b"journal_bytes"}  # there is none
    table = table.replace_schema_metadata({**about, b"configuration": json.dumps(configuration).encode()})
    events = [event for event in store.events() if "number" not in event]
    run = {"schema_version": SCHEMA_VERSION, "configuration": configuration, "events": events}
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_table(table, folder / VIEW)
        write_whole(folder / "run.json", (json.dumps(run, indent=2) + "\n").encode())
    except OSError as error:
        (folder / VIEW).unlink(missing_ok=True)
        if new and folder.is_dir():
            folder.rmdir()
        raise not_written(error, folder) from error
