"""The empirical distribution of rewards drawn, with the band that the true one lies in."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from results.plots.style import (
    COLOURS,
    DASHES,
    Width,
    finished,
    legend_above,
    new_figure,
    plain_axes,
    printed,
    spread,
)

_HEIGHT_IN = 2.3
_POOR = 0.05
"""Of the curve, that may be left of the axis."""

_MOST_CORNERS = 1500
"""Of a curve; more could not be told apart in print."""

_ARMS = {"controller": "the controller's", "random": "random", "screened": "screened untrained"}


def distribution_figure(shares: pd.DataFrame, *, width: Width = "column") -> Figure:
    """Draw which share of the candidates has at most which reward, with the 95 % band.

    What failed or was stopped early counts as below any reward, so a curve may start above 0. Rewards that only 5 % of
    each curve are below may be left of the axis.

    Args:
        shares: as `results.analysis.distribution` gives them, by arm or by any other column, such as `run`.
        width: of the figure in print.

    Raises:
        ValueError: no candidate has a reward.
    """
    if shares.empty:
        raise ValueError("no candidate has a reward yet: there is no distribution to draw")
    keys = [str(name) for name in shares.columns if name not in ("reward", "share", "low", "high")]
    with printed():
        figure = new_figure(width, _HEIGHT_IN)
        axes = figure.subplots()
        plain_axes(axes)
        entries: list[Artist] = []
        right = float(shares["reward"].max())
        left = min(float(rows["reward"][rows["share"] >= _POOR].min()) for _, rows in shares.groupby(keys, sort=False))
        room = 0.04 * (right - left) or 0.05 * abs(right) or 0.5
        groups = shares.groupby(keys, sort=False)
        for (values, every), colour, dash in zip(groups, cycle(COLOURS), cycle(DASHES), strict=False):
            rows = every.iloc[spread(len(every), _MOST_CORNERS)]
            ends = {"reward": right + room, "share": 1.0, "low": rows["low"].iloc[-1], "high": 1.0}
            reward, share, low, high = (np.append(rows[name].to_numpy(np.float64), end) for name, end in ends.items())
            axes.fill_between(reward, low, high, step="post", color=colour, alpha=0.13, linewidth=0, zorder=1)
            entries += axes.step(
                reward, share, where="post", color=colour, linestyle=dash, label=_named(values), zorder=3
            )
        axes.set(
            xlim=(left - room, right + room), ylim=(0, 1.02), xlabel="reward", ylabel="share with at most this reward"
        )
        if len(entries) > 1:
            legend_above(figure, entries)
        return finished(figure)


def _named(values: tuple[object, ...]) -> str:
    return ", ".join(_ARMS.get(str(value), str(value)) for value in values)
