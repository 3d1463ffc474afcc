"""Measured values with their intervals beside a paper's, drawn: a panel a quantity, a row a value."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import CARETLEFT, CARETRIGHT
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

from results.analysis.panels import Panel, shown_range
from results.plots.style import (
    CHANCE,
    INK,
    OURS,
    SMALL,
    WIDTHS,
    Width,
    finished,
    legend_above,
    new_figure,
    plain_axes,
    printed,
)  # fmt: skip

_ROW_IN, _HEAD_IN, _TITLE_IN, _PAD_IN = 0.19, 0.65, 0.13, 0.06
"""Inches: a row, what a panel has above and below its rows, a further line of its title, and between two panels."""

_WIDE = 0.54
"""How wide a letter is on average, by its size."""

_DOT: dict[str, Any] = {"color": OURS, "marker": "o", "markersize": 3}
_PAPER: dict[str, Any] = {  # hollow, so that a dot within is seen
    "color": "#D55E00", "marker": "D", "markersize": 4.5, "markerfacecolor": "none", "markeredgewidth": 1,
    "linestyle": "",
}  # fmt: skip
_BEYOND: dict[str, Any] = {"color": OURS, "markersize": 4.5, "markeredgewidth": 0, "linestyle": "", "clip_on": False}
_DECADE = 8
"""From which ratio of the largest to the smallest on the ticks are 1, 2, 5, 10, ..."""


def panels_figure(panels: Sequence[Panel], *, columns: int = 2, width: Width = "double") -> Figure:
    """Draw each panel: what was measured as a dot with its 95 % interval, what the paper has as a diamond.

    Panels with the same axis have one range, which shows every value. An interval that goes on beyond it
    (`shown_range`) ends in an arrow-head at the edge, and what of it the quantity cannot be is not drawn.

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
    titles = _titles(panels, 72 * WIDTHS[width] / columns)
    needed = [
        _HEAD_IN + _ROW_IN * len(panel.marks) + _TITLE_IN * title.count("\n")
        for panel, title in zip(panels, titles, strict=True)
    ]
    heights = [max(needed[start : start + columns]) for start in range(0, len(panels), columns)]
    with printed():
        figure = new_figure(width, sum(heights) + 0.3)
        figure.set_layout_engine("constrained", w_pad=0.02, h_pad=_PAD_IN)  # else the legend touches the titles
        grid = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
        beyond = False
        for axes, panel, title in zip(grid.flat, panels, titles, strict=False):
            axes.set_title(title, loc="left", color=INK)
            together = [one for one in panels if (one.axis, one.log) == (panel.axis, panel.log)]
            beyond |= _draw(axes, panel, shown_range(together))
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        entries = [Line2D([], [], **_DOT, linewidth=0.9, label="here, with its 95 % interval")]
        if beyond:
            entries.append(Line2D([], [], **_BEYOND | {"marker": CARETRIGHT}, label="it goes on beyond the axis"))
        if any(np.isfinite(mark.paper) for panel in panels for mark in panel.marks):
            entries.append(Line2D([], [], **_PAPER, label="in the paper"))
        legend_above(figure, entries)
        return finished(figure)


def _titles(panels: Sequence[Panel], room: float) -> list[str]:
    """The titles in lines that fit above the axes; `room` is that of a panel with its labels, in points."""
    labels = max(len(mark.label) for panel in panels for mark in panel.marks)
    letters = (room - _WIDE * SMALL * labels) / (_WIDE * 7.5)
    return [textwrap.fill(panel.title, max(20, int(letters))) for panel in panels]


def _draw(axes: Axes, panel: Panel, shown: tuple[float, float]) -> bool:
    """Draw a panel.

    Returns:
        whether one of its intervals goes on beyond the axis.
    """
    at = np.arange(len(panel.marks), dtype=np.float64)
    value, paper = (
        np.array([getattr(mark, name) for mark in panel.marks], dtype=np.float64) for name in ("value", "paper")
    )
    low, high = (
        np.array([panel.shown(getattr(mark, name)) for mark in panel.marks], dtype=np.float64)
        for name in ("low", "high")
    )
    plain_axes(axes, grid="x")
    if panel.log:
        axes.set_xscale("log")  # which would label a range of less than a decade with powers alone
        within = shown[1] < _DECADE * shown[0]
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]) if within else LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(shown)
    if panel.none is not None:
        axes.axvline(panel.none, color=CHANCE, linewidth=0.7, zorder=1)
    known = np.isfinite(low) & np.isfinite(high)
    axes.hlines(at[known], low[known].clip(min=shown[0]), high[known].clip(max=shown[1]), color=OURS, linewidth=0.9)
    beyond = (CARETLEFT, shown[0], at[known & (low < shown[0])]), (CARETRIGHT, shown[1], at[known & (high > shown[1])])
    for marker, edge, rows in beyond:
        for row in rows:  # one by one: a line of none that is not clipped has no bounds, and breaks the layout
            axes.plot(edge, row, **_BEYOND, marker=marker)
    axes.plot(value, at, **_DOT, linestyle="", zorder=4)
    axes.plot(paper, at, **_PAPER, zorder=5)
    axes.set_yticks(at, [mark.label for mark in panel.marks])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(at) - 0.4, -0.6)
    axes.set_xlabel(panel.axis)
    return any(len(rows) for _, _, rows in beyond)
