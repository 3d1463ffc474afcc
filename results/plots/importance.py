"""Which choices matter, drawn: the share of the variance that each explains, and what its options do."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.analysis.importance import Importance
from results.plots.quantities import quantity
from results.plots.style import INK, OURS, QUIET, SMALL, Width, finished, new_figure, plain_axes, printed

_MOST_ALONE, _MOST_WITH_EFFECTS = 12, 8
_ROW_IN, _OPTION_IN, _BETWEEN = 0.165, 0.125, 0.6
_BAR = "#7FB8DA"
_OPTIONS = {"mbconv": "MBConv", "fused_mbconv": "Fused-MBConv", "regnet_y": "RegNetY", "regnet_z": "RegNetZ"}


def importance_figure(found: Importance, *, target: str = "reward", width: Width = "column") -> Figure:
    """Draw the choices that explain most, with 95 % intervals; in the width of a page, also the effect of each option.

    Above it stands how well the forest predicts networks that it was not fitted to. What it says of the options is how
    far the mean prediction with one is from the mean over the space.

    Args:
        found: by `results.analysis.importance`.
        target: what it explains.
        width: of the figure in print.

    Raises:
        ValueError: nothing was fitted.
    """
    if not found.fitted:
        raise ValueError(f"there is no importance to draw: {found.verdict}")
    table = found.table.dropna(subset=["share"])
    table = table.head(_MOST_ALONE if width == "column" else _MOST_WITH_EFFECTS)
    with printed():
        if width == "column":
            figure = new_figure(width, 0.6 + _ROW_IN * len(table))
            axes = figure.subplots()
            _draw_shares(axes, table, np.arange(len(table), dtype=np.float64))
        else:
            figure = _with_effects(found, table, target, width)
        r2 = " to ".join(f"{value:.2f}".replace("-", "\u2212") for value in (found.r2_low, found.r2_high))
        worth = "no better than the mean" if found.r2_low <= 0 else "on networks left out of the fit"
        said = f"R\u00b2 = {found.r2:.2f} ({r2}) {worth}"
        figure.suptitle(said, x=0.01, ha="left", fontsize=SMALL, color=INK)
        return finished(figure)


def _with_effects(found: Importance, table: pd.DataFrame, target: str, width: Width) -> Figure:
    """Shares on the left; on the right the options of the same choices, a line each."""
    options = {name: found.effects[found.effects["choice"] == name] for name in table["choice"]}
    begins = np.cumsum([0.0, *(len(rows) + _BETWEEN for rows in options.values())])
    figure = new_figure(width, 0.6 + _OPTION_IN * begins[-1])
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.25))
    middles = begins[:-1] + [(len(rows) - 1) / 2 for rows in options.values()]
    _draw_shares(left, table, middles)
    left.set_ylim(begins[-1] - 1 + 0.2, -0.8)
    plain_axes(right, grid="x")
    name = quantity(target, np.zeros(0))
    for begin, rows in zip(begins, options.values(), strict=False):
        at = begin + np.arange(len(rows))
        effect, low, high = (rows[column].to_numpy(np.float64) * name.scale for column in ("effect", "low", "high"))
        right.hlines(at, low, high, color=OURS, linewidth=0.9, zorder=3)
        right.plot(effect, at, "o", color=OURS, markersize=3, zorder=4)
        for place, option in zip(at, rows["option"], strict=True):
            text = _option(option)
            right.annotate(
                text, (0, place), xycoords=("axes fraction", "data"), xytext=(-4, 0), textcoords="offset points",
                ha="right", va="center_baseline", fontsize=SMALL - 0.5,
            )  # fmt: skip
    for edge in begins[1:-1] - (1 + _BETWEEN) / 2:
        for axes in (left, right):
            axes.axhline(edge, color=QUIET, linewidth=0.3, zorder=0)
    right.axvline(0, color=INK, linewidth=0.6, zorder=2)
    right.tick_params(axis="y", length=0, labelleft=False)
    right.set_xlabel(f"effect of each option on {name.label}")
    return figure


def _draw_shares(axes: Axes, table: pd.DataFrame, at: np.ndarray) -> None:
    plain_axes(axes, grid="x")
    share, low, high = (100 * table[name].to_numpy(np.float64) for name in ("share", "low", "high"))
    axes.barh(at, share, height=0.62 if len(at) < 2 or at[1] - at[0] == 1 else 1.2, color=_BAR, zorder=2)
    axes.hlines(at, np.clip(low, 0, None), high, color=INK, linewidth=0.8, zorder=3)
    axes.set_yticks(at, [_spoken(str(name)) for name in table["choice"]])
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="share of the variance explained alone (%)", xlim=(0, None), ylim=(len(at) - 0.4, -0.6))


def _spoken(choice: str) -> str:
    """`stage3_kernel` as people say it."""
    match = re.fullmatch(r"stage(\d+)_(.+)", choice)
    return f"stage {match[1]}, {match[2].replace('_', ' ')}" if match else choice.replace("_", " ")


def _option(option: object) -> str:
    if option is None or option is pd.NA or (isinstance(option, float) and np.isnan(option)):
        return "absent"
    if isinstance(option, float) and option.is_integer():
        return str(int(option))
    return _OPTIONS.get(str(option), str(option))
