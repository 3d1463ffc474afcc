"""The speed of the devices drawn over a run, told by the anchor that every step time is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.analysis.drift import drift_verdict
from results.plots.style import (
    COLOURS,
    INK,
    MARKERS,
    QUIET,
    Width,
    as_pixels,
    finished,
    legend_above,
    new_figure,
    plain_axes,
    printed,
)

_HEIGHT_IN = 2.2
_BLOCKS, _OF_A_BLOCK = 40, 5
_OUTSIDE = 0.01
"""Of the timings, that may be above or below what is drawn."""


def drift_figure(timings: pd.DataFrame, *, width: Width = "column") -> Figure:
    """Draw what the anchor's training step took, over its median on the device, by the hour of the run.

    A line joins the medians of consecutive timings. One in a hundred timings may be above or below the axis. The legend
    says, of each device, how the speed changed from the first timing to the last.

    Args:
        timings: as `results.analysis.drift` gives them.
        width: of the figure in print.

    Raises:
        ValueError: there are no timings.
    """
    if timings.empty:
        raise ValueError("no step time was measured beside the anchor's: there is no drift to draw")
    keys = [name for name in ("run", "device", "host") if name in timings]
    hours = (timings["told_at"] - timings["told_at"].min()) / 3600
    unit, scale = ("hours", 1.0) if hours.max() >= 2 else ("minutes", 60.0)
    with printed():
        figure = new_figure(width, _HEIGHT_IN)
        axes = figure.subplots()
        plain_axes(axes)
        axes.axhline(1, color=INK, linewidth=0.6, zorder=2.5)
        entries: list[Artist] = []
        groups = timings.assign(at=hours * scale).groupby(keys, sort=False)
        for (_, rows), colour, marker in zip(groups, cycle(COLOURS), cycle(MARKERS), strict=False):
            (row,) = drift_verdict(rows).to_dict("records")
            entries.append(_draw(axes, rows, (colour, marker, groups.ngroups == 1), _said(row)))
        low, high = timings["relative"].quantile([_OUTSIDE, 1 - _OUTSIDE])
        axes.set_ylim(min(0.97, low - 0.02), max(1.03, high + 0.02))
        axes.set(xlabel=f"{unit} since the first timing", ylabel="anchor's step (median = 1)")
        legend_above(figure, entries)
        return finished(figure)


def _draw(axes: Axes, rows: pd.DataFrame, look: tuple[str, str, bool], label: str) -> Artist:
    colour, marker, alone = look
    axes.plot(
        rows["at"], rows["relative"], marker, color=QUIET if alone else colour, markersize=2, markeredgewidth=0,
        alpha=0.45, rasterized=as_pixels(len(rows)), zorder=2,
    )  # fmt: skip
    parts = np.array_split(np.arange(len(rows)), min(_BLOCKS, max(1, len(rows) // _OF_A_BLOCK)))
    middle = [[rows[name].iloc[part].median() for part in parts] for name in ("at", "relative")]
    (line,) = axes.plot(
        *middle, color=colour, marker=None if alone and len(parts) > 1 else marker, markersize=3, label=label, zorder=3
    )
    return line


def _said(row: Mapping[Any, Any]) -> str:
    """The verdict on one device."""
    who = f"{row['run']}, {row['device']}" if "run" in row else f"{row['device']} of {row['host']}"
    if np.isnan(row["change"]):
        return f"{who}: {row['verdict']}"
    ends = (f"{100 * row[name]:+.1f}".replace("-", "\u2212") for name in ("change", "low", "high"))
    change, low, high = ends
    return f"{who}: {row['verdict']}, {change} % ({low} to {high})"
