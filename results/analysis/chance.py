"""Whether a controller beats chance."""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq


class AgainstChance(NamedTuple):
    """How a controller's proposals compare to random ones of the same run.

    Attributes:
        probability: that a proposal of the controller has a higher reward than a random one (ties count half).
        low: lower end of the 95 % interval.
        high: upper end.
        controller: proposals of the controller with a reward.
        random: random ones with a reward.
    """

    probability: float
    low: float
    high: float
    controller: int
    random: int

    @property
    def verdict(self) -> str:
        """What may be concluded, in words."""
        if self.low > 0.5:
            return "the controller beats chance"
        return "chance beats the controller" if self.high < 0.5 else "not told apart from chance"


def against_chance(frame: pd.DataFrame, random_search: pd.DataFrame | None = None) -> AgainstChance | None:
    """Compare a run's controller to its random arm, or to random search; None where either has under two outcomes.

    The statistic is Mann and Whitney's (1947), its interval Newcombe's (2006, Statistics in Medicine 25, method 5),
    which holds for small and unlike numbers. Failed candidates count as worse than any other: a controller that asks
    for networks that cannot be trained is no better for it. Those that were stopped early are next to them: the search
    gave them up for the others, and to leave them out would flatter the arm that asks for more of them. Repeats count
    with the reward that they were answered with: leaving them out would leave out the good networks that both arms
    find.

    Args:
        frame: a trial table.
        random_search: that of a run of random search whose rewards can be compared; None is the run's own random arm.
    """
    if random_search is not None:
        controllers = frame[frame["arm"] == "controller"]
        frame = pd.concat([controllers, random_search.assign(arm="random")], ignore_index=True)
    over = frame[frame["state"].isin(["complete", "repeat", "failed", "stopped"])]
    failed = (over["state"] == "failed") | over["failure"].notna()  # a repeat is as what it repeats
    without = np.where(failed, -math.inf, -sys.float_info.max)
    rewards = over["reward"].astype(float).fillna(pd.Series(without, over.index))
    ours, chance = (rewards[over["arm"] == arm].to_numpy(np.float64) for arm in ("controller", "random"))
    if min(len(ours), len(chance)) < 2:
        return None
    ordered = np.sort(chance)
    under, up_to = (np.searchsorted(ordered, ours, side=side) for side in ("left", "right"))
    found = float((under + up_to).mean() / (2 * len(chance)))  # the random ones below, and half of the equal ones
    return AgainstChance(found, *_interval(found, len(ours), len(chance)), len(ours), len(chance))


def _interval(found: float, n: int, m: int) -> tuple[float, float]:
    """The probabilities that the one found is 1.96 of their own standard errors away from."""
    more = (n + m) / 2 - 1

    def too_far(true: float) -> float:
        variance = true * (1 - true) * (1 + more * (1 - true) / (2 - true) + more * true / (1 + true)) / (n * m)
        return abs(true - found) - 1.959964 * math.sqrt(variance)

    inside = min(max(found, 1e-9), 1 - 1e-9)  # at 0 and 1 themselves there is no error to be away by
    low = 0.0 if found == 0 else brentq(too_far, 0.0, inside)
    high = 1.0 if found == 1 else brentq(too_far, inside, 1.0)
    return float(low), float(high)
