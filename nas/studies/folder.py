"""A study's folder: what was asked, and what each step gave, written as it was done.

`study.json` says what is studied and how large it is; `steps.jsonl` has a line for each step that is done, and is the
truth of how far it is. A study that was handed on as data (`nas compact`) has the same two files.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nas
from nas.locks import exclusive
from nas.studies.study import Conditions, Size
from results.store import check_free
from results.whole_file import write_whole

SCHEMA_VERSION = 1
FILE, STEPS = "study.json", "steps.jsonl"

RUNS, TRAININGS = "runs", "trainings"
"""Within a study's folder, where its runs and its trainings are."""


RESTORE = "restore it from a copy, or begin in another folder"


def is_study(folder: Path) -> bool:
    """Whether a folder is a study's."""
    return (folder / FILE).is_file()


def check_new(folder: Path) -> None:
    """Raise FileExistsError where a folder could not be a new study's, because it holds something, or is none."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"a study needs a folder of its own, and {folder} is none: name another")
    check_free(folder)


def begin(folder: Path, name: str, conditions: Conditions, size: Size, *, about: Mapping[str, Any]) -> dict[str, Any]:
    """Make a study's folder.

    Args:
        name: of the study.
        about: what else is told of it, such as the expected time.

    Raises:
        FileExistsError: the folder holds something.
        OSError: the disk would not take it.
    """
    check_new(folder)
    content = {
        "schema_version": SCHEMA_VERSION,
        "study": name,
        "conditions": asdict(conditions),
        "size": dict(size),
        "begun": datetime.date.today().isoformat(),
        "versions": {"nas": nas.__version__, "python": platform.python_version(), "torch": version("torch")},
        **about,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FILE, (json.dumps(content, indent=1) + "\n").encode())
    return content


def read(folder: Path) -> dict[str, Any]:
    """What a study's folder says of it.

    Raises:
        FileNotFoundError: it holds no study.
        ValueError: it was written by another release, or is broken.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no study (there is no {FILE} in it); `nas study NAME` makes one")
    try:
        content = json.loads(path.read_text())
        found = content["schema_version"]
        if found == SCHEMA_VERSION:
            Conditions(**content["conditions"])
            about = [content[name] for name in ("study", "begun", "versions", "budget_min", "source", "device")]
            dict(content["size"]), about[2]["nas"], about[2]["torch"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error!r}): {RESTORE}") from error
    if found != SCHEMA_VERSION:
        raise ValueError(f"{folder} has schema version {found}, and this release reads {SCHEMA_VERSION}")
    return dict(content)


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """What the steps gave that are done, by their names. A torn last line, which a kill may leave, is left out.

    Raises:
        ValueError: another line cannot be read (says which).
    """
    path = folder / STEPS
    if not path.is_file():
        return {}
    found = {}
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], 1):  # what comes after the last line's end is torn, or empty
        try:
            entry = json.loads(line)
            found[entry["step"]] = dict(entry["gave"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"line {number} of {path} must be a step's result; it cannot be read: {error!r}"
            ) from error
    return found


def note(folder: Path, step: str, gave: Mapping[str, Any], *, took_s: float) -> None:
    """Write down what a step gave; it is on the disk when this returns.

    Raises:
        OSError: the disk would not take it.
    """
    path = folder / STEPS
    line = json.dumps({"step": step, "took_s": round(took_s, 3), "gave": dict(gave)}, allow_nan=False) + "\n"
    with path.open("ab+") as file:
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)  # a torn line
        try:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            file.truncate(whole)
            raise


def locked(folder: Path) -> AbstractContextManager[None]:
    """While the block runs, no other process goes on with the study.

    Raises:
        BlockingIOError: one does.
    """
    return exclusive(folder / FILE, f"another process is at the study in {folder}: wait for it, or name another folder")
