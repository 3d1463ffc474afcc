"""A study to keep or to hand on: what it was, what its steps gave, its runs as two files each, its curves."""

from __future__ import annotations

import json
from pathlib import Path

from nas.studies import folder as folders
from nas.studies.folder import RUNS, TRAININGS
from results.compact import compact as compact_run
from results.metrics import gather_metrics
from results.store import TrialStore, check_free
from results.whole_file import write_whole

METRICS = "metrics.parquet"
"""The epochs of all trainings."""


def compact(study: Path, folder: Path) -> None:
    """Copy a study without its pictures, checkpoints and weights. `nas study NAME -o FOLDER` tells it again.

    study.json comes last, so that the folder is a study when it is whole.

    Args:
        study: its folder.
        folder: a new or an empty one.

    Raises:
        FileExistsError: the folder holds something.
        FileNotFoundError, ValueError: `study` holds no study, or one that is broken.
        OSError: the disk would not take it.
    """
    folders.read(study)
    check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for run in sorted(path.parent for path in (study / RUNS).rglob("run.json")):
        to = folder / run.relative_to(study)
        compact_run(TrialStore.open(run), to)
        _name_pictures(to / "run.json", "configuration", "options")
    trained = sorted(path for path in (study / TRAININGS).glob("*/metrics.parquet"))
    if trained:
        gather_metrics({path.parent.name: path for path in trained}, folder / METRICS)
    for name in (folders.STEPS, folders.FILE):
        if (study / name).is_file():
            write_whole(folder / name, (study / name).read_bytes())
    _name_pictures(folder / folders.FILE, "conditions")


def _name_pictures(path: Path, *keys: str) -> None:
    """Leave of the places of the pictures their names: who is handed it has others, and no use for them."""
    content = inner = json.loads(path.read_text())
    for key in keys:
        inner = inner.get(key, {})
    for name in ("data", "test_data"):
        if inner.get(name):
            inner[name] = Path(inner[name]).name
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())
