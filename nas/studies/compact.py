"""A study to keep or to hand on: what it was, what its steps gave, its runs as two files each, its curves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.studies import folder as folders
from nas.studies.folder import RUNS, TRAININGS
from results.compact import compact as compact_run
from results.metrics import gather_metrics
from results.store import TrialStore, check_free
from results.whole_file import write_whole

METRICS = "metrics.parquet"
"""The epochs of all trainings."""


def compact(study: Path, folder: Path) -> None:
    """Copy a study without its pictures, checkpoints and weights, and without the place where the pictures were.

    `nas study NAME -o FOLDER` tells it again. study.json comes last, so that the folder is a study when it is whole.

    Args:
        study: its folder.
        folder: a new or an empty one.

    Raises:
        FileExistsError: the folder holds something.
        FileNotFoundError, ValueError: `study` holds no study, or one that is broken.
        OSError: the disk would not take it.
    """
    content = folders.read(study)
    check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for run in sorted(path.parent for path in (study / RUNS).rglob("run.json")):
        store = TrialStore.open(run)
        options = _by_name(store.configuration.get("options", {}))
        compact_run(store, folder / run.relative_to(study), configuration={**store.configuration, "options": options})
    trained = sorted(path for path in (study / TRAININGS).glob("*/metrics.parquet"))
    if trained:
        gather_metrics({path.parent.name: path for path in trained}, folder / METRICS)
    if (study / folders.STEPS).is_file():
        write_whole(folder / folders.STEPS, (study / folders.STEPS).read_bytes())
    content["conditions"] = _by_name(content["conditions"])
    write_whole(folder / folders.FILE, (json.dumps(content, indent=1) + "\n").encode())


def _by_name(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, with the names of the pictures alone: who is handed them has no use for the places."""
    places = {name: Path(asked[name]).name for name in ("data", "test_data") if asked.get(name)}
    return {**asked, **places}
