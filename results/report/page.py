"""The page as a whole: what the sections give, in one file that needs no other."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup

from results.report.best import best_section
from results.report.blocks import FOLDER, Section, environment
from results.report.choices import choices_section
from results.report.course import course_section
from results.report.findings import findings_section
from results.report.front import front_of_group, front_section
from results.report.health import health_section
from results.report.material import Material, Run, groups_of, networks_of, numbers, objectives_of, shown_of
from results.report.paths import paths_section
from results.report.settings import settings_section
from results.report.summary import summary_of
from results.report.wording import SHORT, listed, moment, value_of
from results.several import names_of, read_runs
from results.store import TrialStore
from results.whole_file import write_whole

_TOLD = ("reward", "accuracy", "step_time", "latency", "params", "macs", "peak_memory")
"""Columns that a network's tip shows, where any shown network has them."""

_SECTIONS: tuple[Callable[[Material], Section], ...] = (
    *(front_section, best_section, course_section, choices_section, findings_section, paths_section),
    *(health_section, settings_section),
)


def write_report(folders: Sequence[Path], path: Path, *, version: str, rng: np.random.Generator) -> Material:
    """Write the report of some runs, whole or not at all.

    Args:
        folders: of the runs, at least one, each once.
        path: the page.
        version: of the program that writes it, for the page's foot.
        rng: draws which trials stand for all where there are too many to show, and resamples for intervals.

    Returns:
        what the page was made of.

    Raises:
        FileNotFoundError: a folder holds no run.
        ValueError: no folder, one named twice, or a run that cannot be read.
        OSError: the disk would not take it; a page that was there is as it was.
    """
    material = material_of(folders, rng)
    text = page_of(material, version=version)
    write_whole(path, text.encode())
    return material


def material_of(folders: Sequence[Path], rng: np.random.Generator) -> Material:
    """Read some runs, and find their front and what their charts show."""
    trials, configurations = read_runs(folders)
    names = names_of(folders)
    runs = tuple(
        Run(
            name,
            folder,
            configuration,
            list(TrialStore.open(folder).events("started")),
            trials[trials["run"] == name].reset_index(drop=True),
        )
        for name, folder, configuration in zip(names, folders, configurations, strict=True)
    )
    groups = groups_of(runs)
    parts = [networks_of(group.trials) for group in groups]
    networks = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    objectives = objectives_of(runs, networks)
    fronts = [front_of_group(group, networks, objectives, rng) for group in groups]
    front = pd.concat([found for found, _ in fronts], ignore_index=True)
    noise = tuple(said for _, said in fronts)
    shown = shown_of(networks, front["position"].to_numpy(np.int64), rng)
    return Material(runs, groups, trials, networks, objectives, front, noise, shown)


def page_of(material: Material, *, version: str) -> str:
    """The page's text."""
    script = _part("script.js")
    names = [run.name for run in material.runs]
    blocks = environment().get_template("blocks.html").module
    return (
        environment()
        .get_template("page.html")
        .render(
            title=names[0] if len(names) == 1 else listed(names),
            written=moment(time.time()),
            version=version,
            runs=names,
            summary=summary_of(material),
            sections=[section(material) for section in _SECTIONS],
            blocks=blocks,
            style=Markup(_part("style.css")),
            script=Markup(script),
            script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            data=Markup(_data(material)),
        )
    )


def _part(name: str) -> str:
    return files("results.report").joinpath(FOLDER, name).read_text(encoding="utf-8")


def _data(material: Material) -> str:
    """What the script knows of each shown network: its values as texts, its architecture, what it is called."""
    networks = material.shown_networks
    columns = [c for c in _TOLD if np.isfinite(numbers(networks, c)).any()]
    values = [[value_of(c, v) for v in numbers(networks, c).tolist()] for c in columns]
    names = [f"trial {number:,}" for number in networks["number"].astype(int)]
    if material.several:
        names = [f"{name} of {run}" for name, run in zip(names, networks["run"], strict=True)]
    rows = list(zip(*values, networks["architecture"], names, strict=True))
    text = json.dumps({"columns": [SHORT.get(c, c) for c in columns], "rows": rows}, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace(
        "<", "\\u003c"
    )  # a script's end, or a comment's begin, may be in a name
