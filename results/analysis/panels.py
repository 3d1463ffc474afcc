"""Measured values with their intervals beside a paper's: what the figure of a study shows, one panel a quantity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from results.analysis.claims import Interval

REACH = 3
"""How many times the span of the dots an axis goes on beyond them, at most, for the sake of intervals."""

_MARGIN = 0.05
"""Of the span of all that is shown, on either side."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A row of a panel.

    Args:
        label: what was measured.
        value: its mean.
        low: of its interval; NaN where there is none.
        high: likewise.
        paper: the paper's value in the same unit; NaN where it has none.
    """

    label: str
    value: float
    low: float
    high: float
    paper: float = math.nan

    @classmethod
    def of(cls, label: str, found: Interval, *, scale: float = 1.0, paper: float = math.nan) -> Mark:
        """A row of an interval.

        Args:
            label: what was measured.
            found: in the unit of the measurement.
            scale: what that is multiplied by, also in the paper's value.
            paper: in the same unit.
        """
        return cls(label, scale * found.mean, scale * found.low, scale * found.high, scale * paper)


@dataclass(frozen=True, slots=True)
class Panel:
    """Values that share an axis.

    Args:
        title: what they are of.
        axis: the quantity with its unit; panels of a figure that say the same here have one range.
        marks: from top to bottom.
        none: where no difference lies, drawn as a line; None where the quantity is no difference.
        log: whether equal ratios are equally far apart.
        within: the least and the greatest that the quantity can be; None where it may be anything. What of an interval
            is outside is not drawn.
    """

    title: str
    axis: str
    marks: Sequence[Mark]
    none: float | None = None
    log: bool = False
    within: tuple[float, float] | None = None

    def shown(self, end: float) -> float:
        """Where an end of an interval is drawn: nowhere that the quantity cannot be."""
        if self.within is None or math.isnan(end):
            return end
        least, greatest = self.within
        return min(max(end, least), greatest)


def shown_range(panels: Sequence[Panel]) -> tuple[float, float]:
    """From where to where panels of one quantity are drawn, so that they can be compared.

    All values are shown, the papers' too, and where no difference lies. Of the intervals that is shown which is no
    further out than `REACH` times the span of all these: one that is wide beyond measure, as of two seeds may be, would
    press everything else into a point.

    Args:
        panels: with the same axis, all logarithmic or none.

    Returns:
        The least and the greatest value, in the unit of the axis.
    """
    log = panels[0].log
    marks = [mark for panel in panels for mark in panel.marks]
    dots = _places([one for mark in marks for one in (mark.value, mark.paper)], log)
    dots += _places([panel.none for panel in panels if panel.none is not None], log)
    ends = _places([panel.shown(end) for panel in panels for mark in panel.marks for end in (mark.low, mark.high)], log)
    if not dots:
        dots = ends or [0.0]
    first, last = min(dots), max(dots)
    if reach := REACH * (last - first):
        ends = [min(max(end, first - reach), last + reach) for end in ends]
    first, last = min(dots + ends), max(dots + ends)
    margin = _MARGIN * (last - first) or 0.5  # about a single value, any range
    return (math.exp(first - margin), math.exp(last + margin)) if log else (first - margin, last + margin)


def _places(values: Sequence[float], log: bool) -> list[float]:
    """Where on an axis values are, of those that it can show."""
    known = [value for value in values if math.isfinite(value)]
    return [math.log(value) for value in known if value > 0] if log else known
