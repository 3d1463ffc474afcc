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
        tau: Kendall's tau-b; NaN where all readings of one training are equal.
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


def agreement(proxy: pd.Series | pd.DataFrame, reference: pd.Series, *, top: int) -> Agreement:
    """How well a proxy ranks networks as a reference does.

    Args:
        proxy: readings by network; of several trainings, a column each: all that is told is then the mean of what
            each of them would be told to be alone.
        reference: readings by network; networks that one of the two lacks are left out.
        top: how many count as the best.

    Raises:
        ValueError: fewer than three networks have both readings.
    """
    both = pd.concat([proxy, reference], axis=1, join="inner").dropna()
    both.columns = pd.RangeIndex(both.shape[1])  # the last is the reference
    if len(both) < 3:
        raise ValueError(f"at least 3 networks must have been evaluated both ways; {len(both)} have: train more")
    values = both.to_numpy(np.float64)
    rng = np.random.default_rng(0)
    drawn = np.array([_ranked(values[rng.integers(len(values), size=len(values))]) for _ in range(DRAWS)])
    known = drawn[np.isfinite(drawn).all(axis=1)] if np.isfinite(drawn).any() else drawn
    (tau, spearman), (lows, highs) = _ranked(values), np.quantile(known, [0.025, 0.975], axis=0)
    top = min(top, len(both))
    *found, best = (set(both[column].nlargest(top).index) for column in both)
    recall = float(np.mean([len(one & best) for one in found])) / top
    return Agreement(len(both), tau, lows[0], highs[0], spearman, lows[1], highs[1], recall, top)


def _ranked(values: NDArray[np.float64]) -> tuple[float, float]:
    """Tau and rho with the last column, in the mean of the others."""
    if (values == values[0]).all(axis=0).any():
        return float("nan"), float("nan")
    *proxies, reference = values.T
    found = [(kendalltau(one, reference).statistic, spearmanr(one, reference).statistic) for one in proxies]
    tau, rho = np.mean(found, axis=0)
    return float(tau), float(rho)
