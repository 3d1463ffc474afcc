"""How well one way of evaluating networks ranks them as another does.

Kendall's tau-b, Spearman's rho and the recall of the best, with intervals from resampling the networks (Efron 1979).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

DRAWS = 1000


class Agreement(NamedTuple):
    """Of two readings of the same networks.

    Attributes:
        networks: how many have both.
        tau: Kendall's tau-b; NaN where all readings of one are equal.
        tau_low: lower end of its 95 % bootstrap interval.
        tau_high: upper end.
        spearman: Spearman's rank correlation.
        spearman_low: lower end of its interval.
        spearman_high: upper end.
        recall: the share of the reference's best `top` that are among the proxy's best `top`.
        top: how many are the best.
    """

    networks: int
    tau: float
    tau_low: float
    tau_high: float
    spearman: float
    spearman_low: float
    spearman_high: float
    recall: float
    top: int


def agreement(proxy: pd.Series, reference: pd.Series, *, top: int) -> Agreement:
    """How well a proxy ranks networks as a reference does.

    Args:
        proxy: readings by network.
        reference: the same; networks that one of the two lacks are left out.
        top: how many count as the best.

    Raises:
        ValueError: fewer than three networks have both readings.
    """
    both = pd.concat([proxy, reference], axis=1, join="inner", keys=["proxy", "reference"]).dropna()
    if len(both) < 3:
        raise ValueError(f"at least 3 networks must have been evaluated both ways; {len(both)} have: train more")
    values = both.to_numpy(np.float64)
    rng = np.random.default_rng(0)
    drawn = np.array([_ranked(values[rng.integers(len(values), size=len(values))]) for _ in range(DRAWS)])
    known = drawn[np.isfinite(drawn).all(axis=1)] if np.isfinite(drawn).any() else drawn
    (tau, spearman), (lows, highs) = _ranked(values), np.quantile(known, [0.025, 0.975], axis=0)
    top = min(top, len(both))
    best = {column: set(both[column].nlargest(top).index) for column in both}
    recall = len(best["proxy"] & best["reference"]) / top
    return Agreement(len(both), tau, lows[0], highs[0], spearman, lows[1], highs[1], recall, top)


def _ranked(values: NDArray[np.float64]) -> tuple[float, float]:
    first, second = values.T
    if (first == first[0]).all() or (second == second[0]).all():
        return float("nan"), float("nan")
    return float(kendalltau(first, second).statistic), float(spearmanr(first, second).statistic)
