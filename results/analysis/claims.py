"""What a paper claims, put to the test: a difference or a ratio with its interval, and what may be said of it.

A difference is called a finding where its whole 95 % interval lies on one side of no difference, and never otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

UNITS = {
    "points": (100.0, 0.0, "{:+.2f}"),
    "times": (1.0, 1.0, "{:.3g}"),
    "difference": (1.0, 0.0, "{:+.3f}"),
    "probability": (1.0, 0.5, "{:.3f}"),
}
"""By name: what a value is multiplied by to be printed, where no difference lies, and the format."""


class Interval(NamedTuple):
    """A mean with its 95 % interval; of a single value there is none (low and high are NaN)."""

    mean: float
    low: float
    high: float
    n: int

    def text(self, unit: str) -> str:
        """`+1.20 (-0.40 to +2.80)`, in hundredths where the unit is points."""
        scale, _, form = UNITS[unit]
        mean, low, high = (form.format(scale * value) for value in self[:3])
        without = "one measurement" if self.n == 1 else "too few for an interval"
        return f"{mean} ({without})" if math.isnan(self.low) else f"{mean} ({low} to {high})"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a paper says, and what was measured of it.

    Args:
        statement: what holds if the interval is above no difference, such as `stronger RandAugment is better at 96 px`.
        found: what was measured.
        unit: one of `UNITS`.
        paper: the paper's own figure, as it prints it.
        bound: what the interval must be above; None is no difference.

    Raises:
        ValueError: the unit is unknown.
    """

    statement: str
    found: Interval
    unit: str
    paper: str
    bound: float | None = None

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"a claim's unit must be one of {', '.join(UNITS)}; got {self.unit!r}")

    @property
    def verdict(self) -> str:
        """`holds`, `the opposite holds`, or `not told apart`.

        The last also of a single measurement, and where all were the same: accuracies of few pictures come in coarse
        steps, and an interval without width knows nothing of chance.
        """
        none = UNITS[self.unit][1] if self.bound is None else self.bound
        if math.isclose(self.found.low, self.found.high, abs_tol=1e-12):
            return "not told apart"
        if self.found.low > none:
            return "holds"
        return "the opposite holds" if self.found.high < none else "not told apart"

    def __str__(self) -> str:
        """A sentence."""
        said = {
            "holds": "this holds here",
            "the opposite holds": "here the opposite holds",
            "not told apart": "here that cannot be told",
        }[self.verdict]
        return f"{self.statement}: {said}, {self.found.text(self.unit)}, n = {self.found.n}. The paper: {self.paper}."


def claims_frame(claims: Sequence[Claim]) -> pd.DataFrame:
    """A row a claim: statement, unit, mean, low and high in that unit, n, verdict, paper."""
    rows: list[dict[str, Any]] = []
    for claim in claims:
        scale, found = UNITS[claim.unit][0], claim.found
        values = {"mean": scale * found.mean, "low": scale * found.low, "high": scale * found.high, "n": found.n}
        rows.append(
            {"statement": claim.statement, "unit": claim.unit, **values, "verdict": claim.verdict, "paper": claim.paper}
        )
    return pd.DataFrame(rows, columns=["statement", "unit", *Interval._fields, "verdict", "paper"])


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean with its 95 % t-interval, as of differences paired by seed.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    from scipy.stats import t

    given = np.asarray(values, dtype=np.float64)
    if not len(given) or not np.isfinite(given).all():
        raise ValueError(f"a mean must be of finite values, at least one; got {list(values)}")
    mean, n = float(given.mean()), len(given)
    if n == 1:
        return Interval(mean, math.nan, math.nan, n)
    half = float(t.ppf(0.975, n - 1) * given.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def ratio_interval(ratios: Sequence[float]) -> Interval:
    """The geometric mean of ratios with its 95 % t-interval.

    Raises:
        ValueError: there is no ratio, or one is not positive and finite.
    """
    given = np.asarray(ratios, dtype=np.float64)
    if not len(given) or not (np.isfinite(given) & (given > 0)).all():
        raise ValueError(f"ratios must be positive and finite, at least one; got {list(ratios)}")
    found = mean_interval(list(np.log(given)))
    return Interval(math.exp(found.mean), math.exp(found.low), math.exp(found.high), found.n)


def difference_interval(one: Sequence[float], other: Sequence[float]) -> Interval:
    """The difference of two means with its 95 % interval by Welch's t (1947), of values that are not paired.

    Returns:
        the mean of `one` less that of `other`; n is how many values the smaller group has.

    Raises:
        ValueError: there is no value of one, or one is not finite.
    """
    from scipy.stats import ttest_ind

    means = [mean_interval(values).mean for values in (one, other)]
    n, found = min(len(one), len(other)), means[0] - means[1]
    if n == 1:
        return Interval(found, math.nan, math.nan, n)
    if max(*one) == min(*one) and max(*other) == min(*other):  # Welch's has no degrees of freedom
        return Interval(found, found, found, n)
    interval = ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    return Interval(found, float(interval.low), float(interval.high), n)
