"""The best networks: as a table that can be sorted, and as block diagrams."""

from __future__ import annotations

import pandas as pd
from markupsafe import Markup

from results.diagram import diagram_svg
from results.report.blocks import Cell, Section, block, heading, prose
from results.report.material import Material, Run
from results.report.wording import SHORT, count, decimal, missing, short, sort_key
from search_spaces import Architecture

_ROWS = 20
_DIAGRAMS = 3
_IMAGE_SIZE, _CLASSES = 224, 1000  # of a run that does not say


def best_section(material: Material) -> Section:
    """The networks of the highest rewards."""
    anchor, title = "best", "The best networks"
    if material.networks["reward"].isna().all():
        return Section(anchor, title, (prose("No trial has been completed, so there is no best network yet."),))
    blocks = []
    for group in material.groups:  # the rewards of several do not compare
        networks = material.networks.iloc[group.among(material.networks)].dropna(subset=["reward"])
        if len(networks):
            if len(material.groups) > 1:
                blocks.append(heading(group.name))
            blocks += _of_group(material, networks.sort_values("reward", ascending=False, kind="stable"))
    return Section(anchor, title, tuple(blocks))


def _of_group(material: Material, ranked: pd.DataFrame) -> list[Markup]:
    runs = {run.name: run for run in material.runs}
    lead = (
        f"The {len(ranked.head(_ROWS))} highest rewards of {len(ranked):,}; of a network that was trained several "
        "times the mean. A single training flatters the one that came out best. A click on a heading sorts."
        if len(ranked) > 1
        else "The one network that has a reward."
    )
    diagrams = [_diagram(runs[str(row["run"])], row, material.several) for _, row in ranked.head(_DIAGRAMS).iterrows()]
    table = block("table", *_table(ranked.head(_ROWS), material), True, "best")
    return [prose(lead), table, block("grid", diagrams, "diagrams")]


def _table(ranked: pd.DataFrame, material: Material) -> tuple[list[tuple[str, str]], list[list[object]]]:
    headers = [("", "number"), ("trial", "number"), ("reward", "number"), ("accuracy", "number"),
               ("step time", "number"), ("95 %", "quiet"), ("parameters", "number"), ("multiply-adds", "number"),
               ("architecture", "")]  # fmt: skip
    rows = []
    for place, (_, row) in enumerate(ranked.iterrows(), 1):
        text = str(row["architecture"])
        cells: list[object] = [
            place,
            Cell(count(row["number"]), int(row["number"])),
            *(Cell(decimal(row[c]), sort_key(row[c])) for c in ("reward", "accuracy")),
            Cell(decimal(row["step_time"], 3), sort_key(row["step_time"])),
            _interval(row),
            *(Cell(short(row[c]), sort_key(row[c])) for c in ("params", "macs")),
            Markup('<span class="text">{}</span> {}').format(text, block("copy", text)),
        ]
        rows.append([*cells[:1], row["run"], *cells[1:]] if material.several else cells)
    if material.several:
        headers.insert(1, ("run", ""))
    return headers, rows


def _interval(row: pd.Series) -> str:
    low, high = row["step_time_low"], row["step_time_high"]
    return "" if missing(low) or missing(high) else f"{decimal(low, 3)} to {decimal(high, 3)}"


def _diagram(run: Run, row: pd.Series, several: bool) -> Markup:
    task = run.identity.get("task", {})
    size = int(run.columns.get("image_size", _IMAGE_SIZE))
    classes = int(task.get("num_classes") or _CLASSES)
    channels = int(task.get("in_channels") or 3)
    svg = diagram_svg(Architecture.parse(str(row["architecture"])), size, num_classes=classes, in_channels=channels)
    name = f"trial {row['number']}" + (f" of {row['run']}" if several else "")
    known = (("reward", 4), ("accuracy", 4), ("step_time", 3))
    caption = ", ".join(f"{SHORT.get(c, c)} {decimal(row[c], digits)}" for c, digits in known)
    return block("figure", name, Markup(svg), caption, (), "diagram")
