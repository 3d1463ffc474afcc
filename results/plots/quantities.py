"""What axes call the columns of a trial table, with their units and within which limits they are drawn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NAMES = {
    "accuracy": "minival accuracy",
    "accuracy_corrected": "corrected accuracy",
    "step_time": "training step time",
    "step_time_s": "training step",
    "train_time_s": "training time",
    "latency": "latency",
    "latency_s": "latency",
    "peak_memory": "peak memory",
    "peak_memory_bytes": "peak memory",
    "params": "parameters",
    "macs": "multiply-adds",
}
_FIXED = {  # the unit, and how many of it are one of the table's
    **dict.fromkeys(("accuracy", "accuracy_corrected"), ("%", 100.0)),
    **dict.fromkeys(("step_time", "latency", "peak_memory"), ("anchor = 1", 1.0)),
    **dict.fromkeys(("step_time_s", "train_time_s", "latency_s"), ("s", 1.0)),
    "peak_memory_bytes": ("MB", 1e-6),
}
_COUNTED = ("params", "macs", "activations")
_WORDS = ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands"))

_LOG_FROM = 5.0
"""An axis is logarithmic where its greatest value is so many times its least."""

_TAIL = 0.05
"""Of the values, that may be outside of an axis at its poor end."""


class Quantity(NamedTuple):
    """How a column is drawn.

    Attributes:
        label: of its axis, with the unit.
        scale: what its values are multiplied by.
    """

    label: str
    scale: float


def quantity(column: str, values: Floats) -> Quantity:
    """The name and the unit of a column; counts are in the thousands, millions or billions that suit them."""
    name = _NAMES.get(column, column.replace("_", " "))
    if column in _FIXED:
        unit, scale = _FIXED[column]
        return Quantity(f"{name} ({unit})", scale)
    if column in _COUNTED:
        known = values[np.isfinite(values)]
        middle = float(np.median(known)) if len(known) else 0.0
        for size, word in _WORDS:
            if middle >= size:
                return Quantity(f"{name} ({word})", 1 / size)
    return Quantity(name, 1.0)


def numbers(frame: pd.DataFrame, column: str) -> Floats:
    """A column as floats; NaN where it is missing, or not there at all."""
    if column not in frame:
        return np.full(len(frame), np.nan)
    return np.asarray(pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64, na_value=np.nan))


def limits(values: Floats, kept: Floats, *, maximise: bool) -> tuple[float, float, bool]:
    """Between what an axis is drawn, and whether it is logarithmic.

    Args:
        values: all that there is.
        kept: what is to be inside too, such as the front; unless its poor end would squeeze the rest.
        maximise: whether more is better; all that is good is inside, and at the other end a few values may not be.
    """
    known, inside = values[np.isfinite(values)], kept[np.isfinite(kept)]
    if not len(known):
        return 0.0, 1.0, False
    if maximise:
        low, high = -_poor_end(-known, -inside), float(known.max())
    else:
        low, high = float(known.min()), _poor_end(known, inside)
    log = not maximise and low > 0 and high > _LOG_FROM * low
    if log:
        room = (high / low) ** 0.05
        return low / room, high * room, True
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room, False


def _poor_end(values: Floats, kept: Floats) -> float:
    """Up to where values are drawn of which less is better."""
    end = float(np.quantile(values, 1 - _TAIL))
    if not len(kept):
        return end
    best, most, last = (float(np.quantile(kept, share)) for share in (0, 0.75, 1))
    return max(end, most if last - most > 2 * (most - best) else last)


def set_log(axes: Axes) -> None:
    """Make the x axis logarithmic, with plain numbers at 1, 2 and 5."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
