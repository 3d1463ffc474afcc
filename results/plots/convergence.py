"""Convergence drawn: the best reward so far, beside what as many random draws would have found."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from results.plots.quantities import numbers
from results.plots.style import (
    CHANCE,
    COLOURS,
    DASHES,
    QUIET,
    Width,
    as_pixels,
    finished,
    legend_above,
    new_figure,
    plain_axes,
    printed,
    spread,
)

_HEIGHT_IN = 2.3
_POOR = 0.05
"""Of what is drawn, that may be below the axis."""

_CORNERS = 400


def convergence_figure(curves: pd.DataFrame, *, width: Width = "column") -> Figure:
    """Draw the best reward so far against the candidates evaluated, and chance with its 95 % range.

    Of one run each candidate is a dot; the poorest twentieth may be below the axis. Of several, chance is that of the
    longest run that has it, which is named unless it is that of all.

    Args:
        curves: as `results.analysis.convergence` gives them, of one run or several.
        width: of the figure in print.

    Raises:
        ValueError: no candidate has a reward.
    """
    if not np.isfinite(numbers(curves, "best")).any():
        raise ValueError("no candidate has a reward yet: there is no convergence to draw")
    runs = list(curves["run"].unique()) if "run" in curves else [""]
    parts = {str(run): curves[curves["run"] == run] if run else curves for run in runs}
    with printed():
        figure = new_figure(width, _HEIGHT_IN)
        axes = figure.subplots()
        plain_axes(axes)
        entries: list[Artist] = []
        if len(parts) == 1:
            entries.append(_draw_candidates(axes, curves))
        for (name, own), colour, dash in zip(parts.items(), cycle(COLOURS), cycle(DASHES), strict=False):
            label = name if len(parts) > 1 else "best so far"
            grown = own[(own["best"].diff() != 0) | (own["evaluated"] == own["evaluated"].max())]
            entries += axes.step(
                grown["evaluated"], grown["best"], where="post", color=colour, linestyle=dash, label=label, zorder=4
            )
        chance = _chance_of(parts)
        if chance is not None:
            entries += _draw_chance(axes, parts, chance)
        beside = curves.iloc[:0] if chance is None else parts[chance]
        _limit(axes, curves, beside, several=len(parts) > 1)
        axes.set(xlabel="candidates evaluated", ylabel="reward")
        legend_above(figure, entries)
        return finished(figure)


def _draw_candidates(axes: Axes, curves: pd.DataFrame) -> Artist:
    (dots,) = axes.plot(
        curves["evaluated"], curves["reward"], "o", color=QUIET, markersize=1.8, markeredgewidth=0, alpha=0.5,
        label="a candidate", rasterized=as_pixels(len(curves)), zorder=2,
    )  # fmt: skip
    return dots


def _chance_of(parts: dict[str, pd.DataFrame]) -> str | None:
    """The longest run that has a curve of chance: the one that is drawn."""
    known = [name for name, own in parts.items() if np.isfinite(numbers(own, "chance")).any()]
    return max(known, key=lambda run: len(parts[run])) if known else None


def _draw_chance(axes: Axes, parts: dict[str, pd.DataFrame], name: str) -> list[Artist]:
    own = parts[name]
    shared = all(_same_chance(own, part) for part in parts.values())
    of = "" if shared else f" (of {name})"
    own = own.iloc[spread(len(own), _CORNERS)]
    band = axes.fill_between(
        own["evaluated"], own["chance_low"], own["chance_high"], color=CHANCE, alpha=0.18, linewidth=0, zorder=1,
        label="95 % of random searches",
    )  # fmt: skip
    (line,) = axes.plot(
        own["evaluated"], own["chance"], color=CHANCE, linestyle=(0, (2, 1)), zorder=3,
        label=f"expected best of random draws{of}",
    )  # fmt: skip
    return [line, band]


def _same_chance(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether chance is the same of as many draws, as where both have it from one source."""
    few, many = sorted((one.set_index("evaluated")["chance"], other.set_index("evaluated")["chance"]), key=len)
    return bool(np.allclose(few, many.reindex(few.index), rtol=1e-3, equal_nan=True))


def _limit(axes: Axes, curves: pd.DataFrame, chance: pd.DataFrame, *, several: bool) -> None:
    """All that is good of what is drawn is inside; of the rest most."""
    best = numbers(curves, "best")
    expected, least, most = (numbers(chance, name) for name in ("chance", "chance_low", "chance_high"))
    low = float(
        np.nanquantile(np.concatenate([best, expected, least]) if several else numbers(curves, "reward"), _POOR)
    )
    high = float(np.nanmax(np.concatenate([best, expected, most])))
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    count = int(curves["evaluated"].max())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(ylim=(low - room, high + room), xlim=(0, count * 1.01 if count > 1 else 2))
