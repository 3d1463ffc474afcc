"""Whether the measuring was sound and what it cost: failures, drift of the step time, hours, and what was saved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from results.analysis.cost import cost, spared
from results.analysis.drift import drift, drift_verdict
from results.analysis.failures import failures
from results.analysis.saving import saving
from results.report.blocks import Cell, Section, block, heading, prose
from results.report.front import RUN_COLOURS
from results.report.material import Material, Run
from results.report.plot import Plot, axis
from results.report.wording import count, device_hours, listed, missing, percent, plural

_MOST_DOTS, _BLOCKS = 2000, 60


def health_section(material: Material) -> Section:
    """Failures, drift, cost and savings."""
    blocks = [*_failures(material), *_drift(material), *_cost(material), *_saved(material)]
    return Section("health", "Measuring and its cost", tuple(blocks))


def _failures(material: Material) -> list[Markup]:
    table = failures(material.trials)
    if table.empty:
        ended = material.trials["state"].isin(["complete", "stopped"]).sum()
        return [
            heading("Failures"),
            prose(
                f"None: {plural(int(ended), 'training')} ended without one."
                if ended
                else "None: no training has ended yet."
            ),
        ]
    headers = [
        ("kind", ""),
        ("trainings", "number"),
        ("of all", "number"),
        ("", "bars"),
        ("such as", "reason"),
        ("trial", "number"),
    ]
    if material.several:
        headers.insert(0, ("run", ""))
    rows = []
    for kind in table.to_dict("records"):
        row = [
            kind["failure"].replace("_", " "),
            Cell(count(kind["count"]), kind["count"]),
            Cell(percent(kind["share"], 1), kind["share"]),
            Markup('<span class="bad">{}</span>').format(block("bar", kind["share"])),
            kind["example"],
            count(kind["number"]),
        ]
        rows.append([kind["run"], *row] if material.several else row)
    return [heading("Failures"), block("table", headers, rows)]


def _drift(material: Material) -> list[Markup]:
    timings = drift(material.trials)
    title = "Drift of the device"
    if timings.empty:
        return [
            heading(title),
            prose("No step time was measured beside the anchor's, so there is nothing to tell a drift by."),
        ]
    begun = timings.groupby("run")["told_at"].transform("min")
    timings = timings.assign(begun_s=timings["told_at"] - begun)
    said = [_drifted(row, material.several) for row in drift_verdict(timings).to_dict("records")]
    lead = (
        "The anchor is timed in alternation with every candidate, so what it takes tells of the device alone; step "
        "times over the anchor's do not drift with it. " + " ".join(said)
    )
    return [
        block(
            "grid",
            [block("figure", title, _drift_chart(timings), "", _series(timings)[1]), prose(lead, "beside")],
            "pair",
        )
    ]


_SAID = {
    "steady": "stayed steady",
    "unsteady": "was unsteady, without a trend",
    "no trend told": "shows no trend, but may have one",
}


def _drifted(row: dict[Any, Any], several: bool) -> str:
    of = f" in {row['run']}" if several else ""
    who = f"The device {row['device']} of host {row['host']}{of}"
    if row["verdict"] == "too few timings":
        return f"{who} has {plural(row['timings'], 'timing')}, too few to tell."
    ends = f"95 % interval {percent(row['low'], 1)} to {percent(row['high'], 1)}"
    change = f"{percent(row['change'], 1)} from the first timing to the last, {ends}"
    what = _SAID.get(row["verdict"], row["verdict"])
    return f"{who} {what}: {change}. The middle 90 % of its timings lie within ± {percent(row['spread'], 1)}."


def _series(timings: pd.DataFrame) -> tuple[list[pd.DataFrame], list[tuple[str, str]]]:
    """The timings of each device of each run, and a legend."""
    keys = [name for name in ("run", "device", "host") if timings[name].nunique() > 1]
    if not keys:
        return [timings], [("cloud", "a timing of the anchor"), ("ours flat", "median")]
    groups = [(name, rows) for name, rows in timings.groupby(keys, sort=False)]
    return [rows for _, rows in groups], [
        (f"c{n % RUN_COLOURS}", ", ".join(map(str, name))) for n, (name, _) in enumerate(groups)
    ]


def _drift_chart(timings: pd.DataFrame) -> Markup:
    low, high = timings["relative"].quantile([0.005, 0.995])
    unit, unit_s = ("hours", 3600) if timings["begun_s"].max() >= 7200 else ("minutes", 60)
    at = timings["begun_s"] / unit_s
    timings = timings.assign(at=at)
    plot = Plot(
        axis(f"{unit} since the run began", 0.0, float(at.max()), room=0.0),
        axis("time of the anchor's step, over its median", min(0.97, float(low)), max(1.03, float(high))),
    )
    series, _ = _series(timings)
    layers = [plot.rule(1.0)]
    for number, rows in enumerate(series):
        css = f"c{number % RUN_COLOURS}" if len(series) > 1 else "cloud"
        every = max(1, len(rows) * len(series) // _MOST_DOTS)
        layers.append(plot.dots(rows["at"].iloc[::every], rows["relative"].iloc[::every], f"{css} small-dots"))
    for number, rows in enumerate(series):
        css = f"c{number % RUN_COLOURS}" if len(series) > 1 else "ours"
        blocks = [
            rows.iloc[part] for part in np.array_split(np.arange(len(rows)), min(_BLOCKS, max(1, len(rows) // 5)))
        ]
        middle, level = ([part[name].median() for part in blocks] for name in ("at", "relative"))
        layers.append(plot.line(middle, level, css))
    return plot.svg(layers, "Time of the anchor's training step over the run")


def workers_per_device(run: Run) -> float:
    """How many candidates share a device of a run at a time."""
    share = run.settings.get("gpus_per_trial")
    return 1 / float(share) if share and float(share) < 1 else 1.0


def _cost(material: Material) -> list[Markup]:
    counted = ("networks", "trainings", "device-hours", "training", "complete", "stopped", "failed", "confirming")
    headers = [("device", ""), ("host", ""), *((name, "number") for name in counted)]
    if material.several:
        headers.insert(0, ("run", ""))
    rows, untimed = [], 0
    for run in material.runs:
        for row in cost(run.trials, workers_per_device=workers_per_device(run)).to_dict("records"):
            spent = [
                row["hours"],
                row["train_hours"],
                row["complete_hours"],
                row["stopped_hours"],
                row["failed_hours"],
                row["confirm_hours"],
            ]
            cells = [
                row["device"],
                row["host"],
                count(row["candidates"]),
                count(row["trainings"]),
                *map(device_hours, spent),
            ]
            rows.append([run.name, *cells] if material.several else cells)
            untimed += int(row["untimed"])
    title = heading("Cost")
    if not rows:
        return [title, prose("Nothing has been trained yet.")]
    note = f" Of {plural(untimed, 'training')} the time is not known." if untimed else ""
    text = (
        "Hours that candidates held each device, from being asked for to their outcome; of these, training "
        f"and evaluating took what \u201ctraining\u201d says, the rest went into building, timing and waiting.{note}"
    )
    return [title, prose(text), block("table", headers, rows)]


def _saved(material: Material) -> list[Markup]:
    said = [text for run in material.runs for text in _saved_by(run, f"{run.name}: " if material.several else "")]
    return [heading("What was saved"), *map(prose, said or ["Nothing was repeated, reused or stopped early."])]


def _saved_by(run: Run, of: str) -> list[str]:
    epochs = run.columns.get("epochs")
    table = spared(run.trials, epochs, workers_per_device=workers_per_device(run)).set_index("what")
    found = []
    early = saving(run.trials[run.trials["reused_from"].isna()], epochs)
    if early.stopped:
        share = 1 - early.epochs / early.epochs_without if early.epochs_without else 0.0
        found.append(
            f"{of}Early stopping ended {plural(early.stopped, 'candidate')} before their time: "
            f"{early.epochs:,.1f} of {early.epochs_without:,.1f} epochs were trained, {percent(share)} fewer"
            f"{_hours(table.loc['early stopping', 'hours'])}."
        )
    other = [
        f"{plural(int(row['count']), noun)} answered from {where}{_hours(row['hours'])}"
        for what, noun, where in (("repeats", "proposal", "the same run"), ("reuse", "training", "earlier runs"))
        if (row := table.loc[what])["count"]
    ]
    return [*found, f"{of}{listed(other)}."] if other else found


def _hours(hours: Any) -> str:
    return "" if missing(hours) or not hours else f", which saved {device_hours(hours)} device-hours"
