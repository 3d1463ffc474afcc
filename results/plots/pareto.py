"""The front drawn: what nothing dominates among all that was trained, and how noisy both are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from results.noise import WIDTH_OF_95, Noise
from results.pareto import directions, non_dominated, points_of
from results.plots.quantities import Floats, limits, numbers, quantity, set_log
from results.plots.style import (
    COLOURS,
    INK,
    MARKERS,
    OURS,
    QUIET,
    SMALL,
    WIDTHS,
    Width,
    as_pixels,
    finished,
    legend_above,
    new_figure,
    plain_axes,
    printed,
)

_SURE = 0.5
"""The membership from which a point of the front is drawn filled."""

_LARGEST = 1 / 3
"""Of a panel's side, that the cross of the noise may take."""

_RING: dict[str, Any] = {
    "marker": "o",
    "color": INK,
    "markerfacecolor": "none",
    "markersize": 6.5,
    "markeredgewidth": 0.8,
    "linestyle": "none",
}


class _Panel(NamedTuple):
    """One pair of objectives."""

    axes: Axes
    x: str
    y: str
    maximise: tuple[bool, bool]


class _Run(NamedTuple):
    """How a run is drawn."""

    name: str
    colour: str
    marker: str
    cloud: str
    """The colour of what is not on its front."""


def pareto_figure(
    networks: pd.DataFrame,
    front: pd.DataFrame,
    objectives: Sequence[str],
    *,
    noise: Noise | None = None,
    width: Width = "column",
) -> Figure:
    """Draw the first objective against each of the others: all networks, those of the front, and the front's line.

    The line joins what nothing beats in the two objectives of a panel; with three objectives the front has more points
    than those. Points of the front are filled where they belong to it with a probability of a half or more given the
    noise, and otherwise hollow. The few worst networks may be outside of a panel, which then says how many.

    Args:
        networks: a row each (`results.networks.network_means`); of several runs (a column `run`) each has its colour
            and its line.
        front: the networks to mark, as `results.pareto_table.front_table` gives them, of all runs together or of each.
        objectives: as `results.pareto.front_of`, at least two.
        noise: by `results.noise.noise_of`, of the trials of the front at least; a cross then shows how far one of them
            may be from the truth (95 %, the median).
        width: of the figure in print.

    Raises:
        ValueError: there are fewer than two objectives, or no network of which all were measured.
    """
    names, maximise = directions(objectives)
    if len(names) < 2:
        raise ValueError(f"a front is drawn of two objectives or more; got {', '.join(names)}")
    points_of(networks, names)
    networks = networks.dropna(subset=list(names))
    if networks.empty:
        raise ValueError(f"no trial is complete yet with {', '.join(names)} measured: there is no front to draw")
    with printed():
        figure, panels = _panels(names, maximise, width)
        runs = _runs(networks)
        for panel in panels:
            _draw(panel, networks, front, noise)
        legend_above(figure, _legend(runs, front))
        return finished(figure)


def _panels(names: Sequence[str], maximise: Sequence[bool], width: Width) -> tuple[Figure, list[_Panel]]:
    count = len(names) - 1
    across = 1 if width == "column" else min(count, 3)
    down = -(-count // across)
    figure = new_figure(width, 0.3 + down * min(0.68 * WIDTHS[width] / across, 2.6))
    grid = figure.subplots(down, across, squeeze=False, sharey="row").ravel()
    for spare in grid[count:]:
        spare.remove()
    panels = []
    for axes, name, most in zip(grid, names[1:], maximise[1:], strict=False):
        plain_axes(axes)
        panels.append(_Panel(axes, name, names[0], (most, maximise[0])))
    return figure, panels


def _runs(networks: pd.DataFrame) -> list[_Run]:
    names = list(networks["run"].unique()) if "run" in networks else [""]
    if len(names) == 1:
        return [_Run(str(names[0]), OURS, "o", QUIET)]
    looks = zip(names, cycle(COLOURS), cycle(MARKERS), strict=False)
    return [_Run(str(name), colour, marker, colour) for name, colour, marker in looks]


def _draw(panel: _Panel, networks: pd.DataFrame, front: pd.DataFrame, noise: Noise | None) -> None:
    axes = panel.axes
    x, y = (quantity(name, numbers(networks, name)) for name in (panel.x, panel.y))
    scales = np.array([x.scale, y.scale])
    points, marked = (_pairs(rows, panel) * scales for rows in (networks, front))
    left, right, log = limits(points[:, 0], marked[:, 0], maximise=panel.maximise[0])
    low, high, _ = limits(points[:, 1], marked[:, 1], maximise=panel.maximise[1])
    if log:
        set_log(axes)
    axes.set(xlim=(left, right), ylim=(low, high), xlabel=x.label)
    if axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
        axes.set_ylabel(y.label)
    for run in _runs(networks):
        own, ours = (rows["run"] == run.name if "run" in rows else slice(None) for rows in (networks, front))
        axes.plot(
            *points[own].T, run.marker, color=run.cloud, markersize=2.2, markeredgewidth=0, alpha=0.4,
            rasterized=as_pixels(len(points)), zorder=2,
        )  # fmt: skip
        _draw_front(panel, marked[ours], _sure(front[ours]), run)
    words = [] if noise is None else _draw_noise(panel, noise, front, scales)
    _mark_knee(panel, marked, front)
    outside = int((~((points >= (left, low)) & (points <= (right, high))).all(axis=1)).sum())
    if outside:
        words.append(f"{outside:,} of {len(points):,} networks {'is' if outside == 1 else 'are'} outside")
    axes.set_title("\n".join(words), loc="right", fontsize=SMALL, color=QUIET, pad=2)


def _pairs(rows: pd.DataFrame, panel: _Panel) -> Floats:
    return np.column_stack([numbers(rows, panel.x), numbers(rows, panel.y)])


def _sure(front: pd.DataFrame) -> NDArray[np.bool_]:
    """Of each point of the front, whether it is drawn filled."""
    return numbers(front, "membership") >= _SURE if "membership" in front else np.ones(len(front), dtype=np.bool_)


def _draw_front(panel: _Panel, marked: Floats, sure: NDArray[np.bool_], run: _Run) -> None:
    """The points of a run's front, and the line through those that nothing beats in this panel."""
    line = marked[non_dominated(marked, panel.maximise)]
    line = line[np.argsort(line[:, 0], kind="stable")]
    steps = "steps-pre" if panel.maximise[0] else "steps-post"
    panel.axes.plot(*line.T, color=run.colour, linewidth=0.9, drawstyle=steps, zorder=3)
    for some, face in ((~sure, "white"), (sure, run.colour)):
        panel.axes.plot(
            *marked[some].T, run.marker, color=run.colour, markerfacecolor=face, markersize=3.4, markeredgewidth=0.7,
            zorder=4,
        )  # fmt: skip


def _mark_knee(panel: _Panel, marked: Floats, front: pd.DataFrame) -> None:
    if not _has_knee(front):
        return
    panel.axes.plot(*marked[front["knee"].to_numpy(bool)].T, **_RING, zorder=5)


def _draw_noise(panel: _Panel, noise: Noise, front: pd.DataFrame, scales: Floats) -> list[str]:
    """A cross in the corner where the worst are, as wide and as high as 95 % intervals of the front's points are.

    One that takes over a third of a panel would cover what it is of, or not fit: then it is told in words, which are
    returned.
    """
    deviations = np.column_stack([numbers(noise.deviation.loc[front.index], name) for name in (panel.x, panel.y)])
    if not len(front) or not np.isfinite(deviations).all(axis=1).any():
        return []
    half = WIDTH_OF_95 / 2 * np.nanmedian(deviations, axis=0) * scales
    if not half.any():
        return []
    axes = panel.axes
    middle = np.median(_pairs(front, panel) * scales, axis=0)
    (low, high), (left, right) = axes.get_ylim(), axes.get_xlim()
    side = left if panel.maximise[0] else right
    if axes.get_xscale() == "log":
        share = math.log((middle[0] + half[0]) / middle[0]) / abs(math.log(right / left))
    else:
        share = half[0] / abs(right - left)
    if max(share, half[1] / abs(high - low)) > _LARGEST / 2:
        ends = " and ".join(
            f"\u00b1 {value:.2g} {way}" for value, way in zip(half, ("across", "upwards"), strict=True) if value
        )
        return [f"95 %: {ends}"]
    y = low + 0.1 * (high - low) + half[1] if panel.maximise[1] else high - half[1]
    if axes.get_xscale() == "log":
        wide = 1 + half[0] / middle[0]
        x = side / max(wide, 1.03) / 1.01
        across = [x / wide, x * wide]
    else:
        away = max(1.2 * half[0], 0.05 * abs(np.diff(axes.get_xlim())[0]))
        x = side + away if panel.maximise[0] else side - away
        across = [x - half[0], x + half[0]]
    axes.plot(across, [y, y], color=INK, linewidth=0.8, zorder=5)
    axes.plot([x, x], [y - half[1], y + half[1]], color=INK, linewidth=0.8, zorder=5)
    axes.annotate(
        "95 %", (x, y), xytext=(-3, 2), textcoords="offset points", ha="right", fontsize=SMALL, color=INK, zorder=5
    )
    return []


def _legend(runs: Sequence[_Run], front: pd.DataFrame) -> list[Line2D]:
    """What the marks say; hollow ones only where there are some."""
    entries = []
    for run in runs:
        name = run.name if len(runs) > 1 else "on the front"
        entries.append(_mark(run, run.colour, name, line=True))
    if len(runs) == 1:
        entries.insert(0, Line2D([], [], marker="o", color=QUIET, markersize=2.2, linestyle="none", label="trained"))
    if not _sure(front).all():
        any_run = runs[0]._replace(colour=INK) if len(runs) > 1 else runs[0]
        entries.append(_mark(any_run, "white", "on the front, p < 0.5"))
    if _has_knee(front):
        entries.append(Line2D([], [], label="knee", **_RING))
    return entries


def _has_knee(front: pd.DataFrame) -> bool:
    return "knee" in front and bool(front["knee"].any())


def _mark(run: _Run, face: str, label: str, *, line: bool = False) -> Line2D:
    return Line2D(
        [], [], marker=run.marker, color=run.colour, markerfacecolor=face, markersize=3.4, markeredgewidth=0.7,
        linewidth=0.9, linestyle="-" if line else "none", label=label,
    )  # fmt: skip
