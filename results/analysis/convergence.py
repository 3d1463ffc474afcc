"""How a search converged, beside what as many random draws would have found.

The expected best of k draws is the mean over all subsets of k of the draws there are, in closed form (the unbiased
estimate: Tang et al. 2020, "Showing Your Work Doesn't Always Work", ACL, tell it from the one in use). Its range is
what 95 of 100 random searches of k draws would have as their best: exact by order statistics as far as the draws reach
(how a sample to come lies among one that was seen: Wilks 1942, Annals of Mathematical Statistics 13), and beyond them
by a tail that falls off exponentially.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaincinv, gammaincinv, gammaln

from results.analysis.candidates import candidates, of_each_run, random_draws, standing

_OUTSIDE = 0.025
"""Of the probability, on either side of a 95 % interval."""

_NODES = 32
_GRID = 160

Floats = NDArray[np.float64]


class Draws(NamedTuple):
    """What random search drew.

    Attributes:
        rewards: ascending; empty where there are none.
        said: where they come from or, where there are none, why.
    """

    rewards: Floats
    said: str


def draws_of(frame: pd.DataFrame, chance: pd.DataFrame | None = None) -> Draws:
    """The rewards that random search drew, with which a run may be compared.

    What failed or was stopped early stands with the least reward of the others: it is worse, but a mean needs a number.

    Args:
        frame: a trial table of one run. Its own random draws are taken, where it has any with a reward.
        chance: otherwise those of this one, a run of the same space whose rewards are comparable
            (`results.analysis.comparability` tells) and whose controller is random search, or which has a random arm.
    """
    own = _rewards(frame)
    if own.size:
        return Draws(own, f"{own.size:,} random draws of this run")
    if chance is not None and (others := _rewards(chance)).size:
        return Draws(others, f"{others.size:,} random draws of another run")
    if len(random_draws(frame)):
        return Draws(own, "none of this run's random draws has a reward")
    other = "" if chance is None else ", nor has the other run"
    return Draws(own, f"this run has no random draws{other}: give it a random arm (--random-arm 0.1), or search "
                      f"the same space with --controller random")  # fmt: skip


def expected_best(rewards: Floats, counts: NDArray[np.int64]) -> Floats:
    """The expected best of so many random draws, without bias; NaN of more draws than there are.

    Args:
        rewards: of the draws that were made, shape (draws,).
        counts: of how many draws the best is wanted, shape (n,), each at least 1.

    Returns:
        shape (n,).
    """
    values = np.sort(rewards)
    m, found = len(values), np.full(len(counts), np.nan)
    place = np.arange(1, m + 1, dtype=np.float64)  # in ascending order
    for n, k in enumerate(counts):
        if k <= m:  # the best of k is the i-th in C(i-1, k-1) of C(m, k) subsets
            i = place[k - 1 :]
            log_weight = gammaln(i) - gammaln(i - k + 1)
            weight = np.exp(log_weight - log_weight.max())
            found[n] = weight @ values[k - 1 :] / weight.sum()
    return found


def range_of_best(rewards: Floats, counts: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Between what the best of so many new random draws lies, with a probability of 95 %.

    The lower end is exact for any count: the new draws and the old ones are one sample in random order. So is the upper
    one for counts up to a fortieth of the draws. Of more, the best may well be above all that was drawn, and order
    statistics tell no upper end; there the tail above the best √draws is taken to fall off exponentially, with its
    scale and its weight as uncertain as they are. That is right of an exponential tail, and on the safe side (too high)
    of one that falls off faster, as a bounded quantity's and a normal one's do.

    Args:
        rewards: of the draws that were made, shape (draws,).
        counts: of how many draws the best is wanted, ascending, shape (n,), each at least 1.

    Returns:
        the lower and the upper ends, each of shape (n,) and ascending with the count; NaN where the draws are too few
        to tell an end.
    """
    values = np.sort(rewards)
    m = len(values)
    low, high = np.full((2, len(counts)), np.nan)
    if not m:
        return low, high
    above = np.arange(m, dtype=np.float64)  # old draws above the place that is looked at
    for n, k in enumerate(counts):
        # that the best of all m + k draws, down to that place, are old ones
        under = np.exp(np.cumsum(np.log(m - above) - np.log(m + k - above)))
        if under[-1] <= _OUTSIDE:
            low[n] = values[m - 1 - int(np.argmax(under <= _OUTSIDE))]
        if under[0] >= 1 - _OUTSIDE:
            high[n] = values[m - int(np.sum(under >= 1 - _OUTSIDE))]
    beyond = np.isnan(high)
    high[beyond] = _tail(values, counts[beyond])
    return np.fmax.accumulate(low), np.fmax.accumulate(high)


def _tail(values: Floats, counts: NDArray[np.int64]) -> Floats:
    """The upper end where the excesses over the best draws but √draws are exponential; `values` ascending.

    Their sum over their scale has then a gamma distribution, and the probability above the threshold a beta
    distribution, whatever scale and threshold are; so the factor of the sum at which the best of k new draws stays
    below with 97.5 % is the same for all, and is found by bisection.
    """
    m = len(values)
    top = min(math.ceil(math.sqrt(m)), m - 1)
    if not top or not len(counts):
        return np.full(len(counts), np.nan)
    threshold = values[m - 1 - top]
    total = float(np.sum(values[m - top :] - threshold))
    at = (np.arange(_NODES) + 0.5) / _NODES
    weight = betaincinv(top + 1, m - top, at)[:, None]
    scales = gammaincinv(top, at)[None, :]
    k = counts.astype(np.float64)[:, None, None]

    def within(factor: Floats) -> Floats:
        below = np.log1p(-weight * np.exp(-factor[:, None, None] * scales))
        return np.asarray(np.exp(k * below).mean(axis=(1, 2)))

    least, most = np.zeros(len(counts)), np.ones(len(counts))
    while (short := within(most) < 1 - _OUTSIDE).any():
        most[short] *= 2
    for _ in range(30):
        middle = (least + most) / 2
        enough = within(middle) >= 1 - _OUTSIDE
        least, most = np.where(enough, least, middle), np.where(enough, middle, most)
    return np.asarray(threshold + most * total)


def convergence(frame: pd.DataFrame, chance: pd.DataFrame | None = None) -> pd.DataFrame:
    """The best reward so far after each candidate, beside that of as many random draws.

    Candidates are counted as `candidates` does: replicates are left out, repeats count once, failed and stopped ones
    take their place and have no reward. All arms are counted together, as a budget does.

    Args:
        frame: a trial table; of several runs (a column `run`) each is told apart.
        chance: another run, whose random draws are taken for runs that have none (`draws_of`, which also says where
            draws come from, or why there are none).

    Returns:
        a row a candidate, in the order in which they were told: evaluated (1, 2, ...), number, arm, reward (NaN of a
        failed or stopped one), best (NaN before the first reward), chance (the expected best of so many random draws;
        NaN of more than there are), chance_low and chance_high (between which the best of so many is with 95 %).
    """
    return of_each_run(frame, lambda one: _convergence(one, chance))


def _convergence(frame: pd.DataFrame, chance: pd.DataFrame | None) -> pd.DataFrame:
    rows = candidates(frame)
    rewards = rows["reward"].to_numpy(np.float64, na_value=np.nan)
    count = np.arange(1, len(rows) + 1)
    table = {
        "evaluated": count,
        "number": rows["number"].to_numpy(np.int64),
        "arm": rows["arm"].array,
        "reward": rewards,
        "best": np.fmax.accumulate(rewards),
    }
    drawn, most = draws_of(frame, chance).rewards, max(1, len(rows))
    some = np.geomspace(1, most, _GRID).astype(np.int64)  # all, of the first few
    some = np.unique(np.append(some, np.clip(len(drawn), 1, most)))
    low, high = range_of_best(drawn, some)
    for name, curve in (("chance", expected_best(drawn, some)), ("chance_high", high)):
        table[name] = np.interp(np.log(count), np.log(some), curve)
    table["chance_low"] = low[np.searchsorted(some, count, side="right") - 1]  # in steps, which hold for more draws
    return pd.DataFrame(table)[["evaluated", "number", "arm", "reward", "best", "chance", "chance_low", "chance_high"]]


def _rewards(frame: pd.DataFrame) -> Floats:
    """Of a run's random draws, ascending; empty where none has a reward."""
    rewards = standing(random_draws(frame))
    real = rewards[rewards > np.finfo(np.float64).min]
    return np.sort(np.maximum(rewards, real.min())) if real.size else real
