"""Measured values with their intervals beside a paper's: what the figure of a study shows, one panel a quantity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from results.analysis.claims import Interval


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
        axis: the quantity with its unit.
        marks: from top to bottom.
        none: where no difference lies, drawn as a line; None where the quantity is no difference.
        log: whether equal ratios are equally far apart.
    """

    title: str
    axis: str
    marks: Sequence[Mark]
    none: float | None = None
    log: bool = False
