"""Several runs as one table: each trial with the run that it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from results.store import TrialStore


def read_runs(folders: Sequence[Path]) -> tuple[pd.DataFrame, list[Mapping[str, Any]]]:
    """The trials of some runs, also while they go on, and what each run was configured with.

    Args:
        folders: of the runs, at least one; each once.

    Returns:
        the trial table, with a first column `run`, as `names_of`; columns that only some runs have, such as the choices
        of their space, are empty in the others. And the runs' configurations, in the order of the folders.

    Raises:
        FileNotFoundError: a folder holds no run.
        ValueError: no folder, one named twice, or a run that cannot be read.
    """
    places = [folder.resolve() for folder in folders]
    twice = sorted({str(f) for f, place in zip(folders, places, strict=True) if places.count(place) > 1})
    if not folders or twice:
        raise ValueError(f"each run must be named once, and one at least; got {', '.join(twice) or 'none'}")
    stores = [TrialStore.open(folder) for folder in folders]
    frames = [store.frame() for store in stores]
    for name, frame in zip(names_of(folders), frames, strict=True):
        frame.insert(0, "run", pd.Series(name, index=frame.index, dtype="str"))
    table = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    return table, [store.configuration for store in stores]


def names_of(folders: Sequence[Path]) -> list[str]:
    """What `read_runs` calls each run: the last parts of its folder's path, as few as no other ends with."""
    parts = [folder.resolve().parts for folder in folders]
    names = []
    for own in parts:
        count = next(n for n in range(1, len(own) + 1) if sum(other[-n:] == own[-n:] for other in parts) == 1)
        names.append(str(Path(*own[-count:])))
    return names


def minivals_of(folders: Sequence[Path], configurations: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """By the run's name, how many pictures of the minival its accuracies are shares of; None where it is not known.

    Args:
        folders: of the runs.
        configurations: theirs, as `read_runs` gives them.
    """
    found = {}
    for name, configuration in zip(names_of(folders), configurations, strict=True):
        pictures = configuration.get("identity", {}).get("task", {}).get("pictures", {})
        found[name] = pictures.get("minival")
    return found
