"""What a reward is worth: the best networks by one reward beside the best of the same networks by another."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

from results.analysis.enrichment import Floats, is_top
from results.analysis.findings import findings_of
from search_spaces.space import SearchSpace

RATIOS = ("step_time", "params")
"""Quantities whose geometric means are compared by their ratio; of the others the means, by their difference."""

_COLUMNS = ("quantity", "comparison", "one", "other", "found", "low", "high", "n")


def best_by(
    frame: pd.DataFrame,
    space: SearchSpace,
    one: pd.Series[float],
    other: pd.Series[float],
    *,
    top: float = 0.05,
    draws: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare what the best networks by two rewards are: their accuracy, step time, params, and the findings in them.

    The interval is the bootstrap's, by percentiles: networks are drawn anew, and the best by either reward are chosen
    anew among them. It holds for networks that were drawn independently, as random search draws them.

    Args:
        frame: a trial table; its trials with both rewards are compared, which should be a network each.
        space: what the networks were drawn from.
        one: a reward by trial, with the index of `frame`; NaN where there is none.
        other: another one.
        top: the share of the networks that are the best.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        a row a quantity (accuracy, step_time, params, and each finding that the space asks for, as the share of the
        networks for which it holds): quantity, comparison (`difference`, one less other, or `times`, one over other),
        one and other (means over the best by that reward; geometric where they are compared by their ratio), found with
        low and high (95 %), n (networks in all).

    Raises:
        ValueError: no trial has both rewards, the table lacks a choice of the space, or `top` is not between 0 and 1.
    """
    known = frame[one.notna() & other.notna()]
    if known.empty:
        raise ValueError("the best by two rewards are compared where trials have both; none has")
    rewards = [reward[known.index].to_numpy(np.float64) for reward in (one, other)]
    of = {
        "accuracy": known["accuracy"].to_numpy(np.float64),
        **{name: np.log(known[name].to_numpy(np.float64)) for name in RATIOS},
        **findings_of(known, space),
    }
    values = np.stack(list(of.values()))

    def differences(which: np.ndarray) -> Floats:
        best = [_mean(values[:, which[is_top(pd.Series(reward[which]), top)]]) for reward in rewards]
        return np.asarray(best[0] - best[1])

    n, rng = len(known), np.random.default_rng(seed)
    drawn = np.stack([differences(rng.integers(0, n, n)) for _ in range(draws)])
    low, high = _quantiles(drawn)
    means = [_mean(values[:, is_top(pd.Series(reward), top)]) for reward in rewards]
    rows = []
    for number, name in enumerate(of):
        told: Callable[[float], float] = math.exp if name in RATIOS else float
        each = [mean[number] for mean in means]
        ends = (each[0] - each[1], low[number], high[number])
        comparison = "times" if name in RATIOS else "difference"
        rows.append((name, comparison, *map(told, each), *map(told, ends), n))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _mean(values: Floats) -> Floats:
    """Of each row, without what cannot be said."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a row of which nothing can be said
        return np.asarray(np.nanmean(values, axis=1))


def _quantiles(drawn: Floats) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanquantile(drawn, (0.025, 0.975), axis=0))
