"""What the best networks have more often than all: the share of each choice in the top of a run against the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.analysis.networks import networks_of

Floats = NDArray[np.float64]


class Enriched(NamedTuple):
    """How much more often something holds in the top than in the whole.

    Attributes:
        in_top: the share of the top for which it holds; NaN where it can be said of none.
        in_all: the share of the whole.
        ratio: of the two; NaN where it holds for none.
        low: lower end of the ratio's 95 % interval.
        high: upper end.
        top_networks: networks of the top of which it can be said at all.
        networks: those of the whole.
    """

    in_top: float
    in_all: float
    ratio: float
    low: float
    high: float
    top_networks: int
    networks: int


def enrichment(frame: pd.DataFrame, choices: Sequence[str], *, top: float = 0.05) -> pd.DataFrame:
    """Compare how often each option was taken among the best networks and among all.

    What the whole and the top are, and what the interval holds for: see `evaluated` and `enriched`. A choice counts
    where it matters: of an absent stage, only the one that leaves it out does.

    Args:
        frame: a trial table, of one run or of several with rewards that can be compared.
        choices: columns, such as `stage3_kernel`.
        top: the share of the networks that are the best.

    Returns:
        a row an option that was tried: choice, option, in_top, in_all, ratio, low, high, top_networks, networks.

    Raises:
        ValueError: the table lacks a column, or `top` is not between 0 and 1.
    """
    networks = evaluated(frame, choices)
    best = is_top(networks["reward"], top)
    rows = []
    for name in choices:
        labels = networks[name]
        for option in sorted(labels.dropna().unique(), key=lambda label: (isinstance(label, str), label)):
            holds = (labels == option).to_numpy(np.float64, na_value=np.nan)
            rows.append((name, option, *enriched(np.where(labels.isna(), np.nan, holds), best)))
    return pd.DataFrame(rows, columns=["choice", "option", *Enriched._fields])


def evaluated(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The whole that a top is of: a row a network, with its mean reward.

    Those that failed or were stopped early are part of it, without a reward: an evaluation has shown that they are not
    among the best. Infeasible candidates are not, since a limit kept them out and not what they reach, nor those still
    running. Repeats are left out and replicates averaged, so that a network counts once however often it was proposed.

    Raises:
        ValueError: the table lacks a column.
    """
    return networks_of(frame, columns, states=("complete", "stopped", "failed"))


def is_top(rewards: pd.Series[float], top: float) -> NDArray[np.bool_]:
    """Which networks are the best: the share `top` of all, rounded up, of the highest rewards, and their equals.

    Where fewer have a reward, these.

    Raises:
        ValueError: `top` is not between 0 and 1.
    """
    if not 0 < top < 1:
        raise ValueError(f"the share of the best networks must be over 0 and under 1, such as 0.05; got {top}")
    values = rewards.to_numpy(np.float64, na_value=np.nan)
    known = np.sort(values[~np.isnan(values)])[::-1]
    if not len(known):
        return np.zeros(len(values), dtype=np.bool_)
    last = known[min(math.ceil(top * len(values) - 1e-9), len(known)) - 1]
    return np.asarray(values >= last)


def enriched(holds: Floats, best: NDArray[np.bool_]) -> Enriched:
    """Compare the share of networks for which something holds in the top and in the whole.

    The interval is Clopper and Pearson's (1934) for the share in the top, over the share in the whole. As the top is
    part of the whole, that is a little wider than it need be, also where an option was taken once or twice. It holds
    for networks drawn independently, as random search draws them. The best ones of a controller are relatives, and
    count as fewer networks: then it is too narrow.

    Args:
        holds: 1 where it holds, 0 where not, NaN where it cannot be said; shape (networks,).
        best: which networks are the top.
    """
    said = ~np.isnan(holds)
    top, every = holds[best & said], holds[said]
    in_top, in_all = (float(part.mean()) if len(part) else math.nan for part in (top, every))
    return Enriched(in_top, in_all, *ratio_to(in_all, top), len(top), len(every))


def ratio_to(share: float, top: Floats) -> tuple[float, float, float]:
    """How much more often something holds in the top than a share says, with the interval that `enriched` speaks of.

    Args:
        share: taken as known; with 0 there is no ratio.
        top: 1 where it holds, 0 where not; shape (networks,).
    """
    from scipy.stats import binomtest

    if not len(top) or math.isnan(share) or share == 0:
        return math.nan, math.nan, math.nan
    interval = binomtest(int(top.sum()), len(top)).proportion_ci(method="exact")
    return float(top.mean()) / share, float(interval.low) / share, float(interval.high) / share
