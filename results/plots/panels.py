"""Measured values with their intervals beside a paper's, drawn: a panel a quantity, a row a value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

from results.analysis.panels import Panel
from results.plots.style import CHANCE, INK, OURS, Width, finished, legend_above, new_figure, plain_axes, printed

_ROW_IN, _HEAD_IN, _PAPER = 0.19, 0.6, "#D55E00"
_DECADE = 8
"""From which ratio of the largest to the smallest on the ticks are 1, 2, 5, 10, ..."""


def panels_figure(panels: Sequence[Panel], *, columns: int = 2, width: Width = "double") -> Figure:
    """Draw each panel: what was measured as a dot with its 95 % interval, what the paper has as a diamond.

    Args:
        panels: in reading order.
        columns: panels beside each other.
        width: of the figure in print.

    Raises:
        ValueError: there is no panel, or one without a row.
    """
    if not panels or any(not panel.marks for panel in panels):
        raise ValueError("a figure must have panels, and each of them rows; got none")
    columns = min(columns, len(panels))
    lines = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [_HEAD_IN + _ROW_IN * max(len(panel.marks) for panel in line) for line in lines]
    with printed():
        figure = new_figure(width, sum(heights) + 0.2)
        grid = figure.subplots(len(lines), columns, squeeze=False, height_ratios=heights)
        for axes, panel in zip(grid.flat, panels, strict=False):
            _draw(axes, panel)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        entries = [Line2D([], [], color=OURS, marker="o", markersize=3, linewidth=0.9, label="here, with its interval")]
        if any(np.isfinite(mark.paper) for panel in panels for mark in panel.marks):
            entries.append(Line2D([], [], color=_PAPER, marker="D", markersize=3, linestyle="", label="in the paper"))
        legend_above(figure, entries)
        return finished(figure)


def _draw(axes: Axes, panel: Panel) -> None:
    at = np.arange(len(panel.marks), dtype=np.float64)
    value, low, high, paper = (
        np.array([getattr(mark, name) for mark in panel.marks], dtype=np.float64)
        for name in ("value", "low", "high", "paper")
    )
    plain_axes(axes, grid="x")
    if panel.log:
        shown = np.concatenate([value, low, high, paper])
        shown = shown[np.isfinite(shown) & (shown > 0)]
        axes.set_xscale("log")  # which would label a range of less than a decade with powers alone
        within = len(shown) > 0 and shown.max() < _DECADE * shown.min()
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]) if within else LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.xaxis.set_minor_locator(NullLocator())
    if panel.none is not None:
        axes.axvline(panel.none, color=CHANCE, linewidth=0.7, zorder=1)
    known = np.isfinite(low) & np.isfinite(high)
    axes.hlines(at[known], low[known], high[known], color=OURS, linewidth=0.9, zorder=3)
    axes.plot(value, at, "o", color=OURS, markersize=3, zorder=4)
    axes.plot(paper, at, "D", color=_PAPER, markersize=3, zorder=3)
    axes.set_yticks(at, [mark.label for mark in panel.marks])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(at) - 0.4, -0.6)
    axes.set_xlabel(panel.axis)
    axes.set_title(panel.title, loc="left", color=INK)
