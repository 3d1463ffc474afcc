"""What a table of trials says: which networks lead when noise is averaged out, and whether the controller beats chance.

Pandas frames in, pandas frames and plain numbers out; neither torch nor Ray is loaded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

DRAWS = 2000
"""Bootstrap samples behind an interval."""


def confirmed(frame: pd.DataFrame) -> pd.DataFrame:
    """The networks that were trained more than once on purpose, the highest mean reward first.

    The mean is over all trainings. The first one is what a leader was chosen by, and so flatters it: `fresh` is the
    mean of the others alone, which nothing was chosen by.

    Args:
        frame: a trial table.

    Returns:
        a row a network: number (of its first trial), trainings, reward (mean), spread (standard deviation), fresh,
        accuracy (mean), step_time (mean), params, architecture.
    """
    complete = frame[frame["state"] == "complete"]
    again = set(complete.loc[complete["replicate"] > 0, "architecture"])
    groups = complete[complete["architecture"].isin(again)].groupby("architecture", sort=False)
    rows = [
        {
            "number": int(group["number"].min()),
            "trainings": len(group),
            "reward": group["reward"].mean(),
            "spread": group["reward"].std(),
            "fresh": group.loc[group["replicate"] > 0, "reward"].mean(),
            "accuracy": group["accuracy"].mean(),
            "step_time": group["step_time"].astype(float).mean(),
            "params": group["params"].iloc[0],
            "architecture": architecture,
        }
        for architecture, group in groups
    ]
    columns = ["number", "trainings", "reward", "spread", "fresh", "accuracy", "step_time", "params", "architecture"]
    return pd.DataFrame(rows, columns=columns).sort_values("reward", ascending=False, ignore_index=True)


class AgainstChance(NamedTuple):
    """How a controller's proposals compare to random ones of the same run.

    Attributes:
        probability: that a proposal of the controller has a higher reward than a random one (ties count half).
        low: lower end of the 95 % bootstrap interval.
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


def against_chance(frame: pd.DataFrame) -> AgainstChance | None:
    """Compare a run's controller to its random arm (Mann and Whitney 1947); None where either has too few rewards.

    Repeats count with the reward that they were answered with: leaving them out would leave out the good networks
    that both arms find.

    Args:
        frame: a trial table.
    """
    rewarded = frame[frame["reward"].notna() & frame["state"].isin(["complete", "repeat"])]
    ours, chance = (
        rewarded.loc[rewarded["arm"] == arm, "reward"].to_numpy(np.float64) for arm in ("controller", "random")
    )
    if min(len(ours), len(chance)) < 2:
        return None
    above = _above(ours, chance)
    rng = np.random.default_rng(0)
    drawn = [
        above[np.ix_(rng.integers(len(ours), size=len(ours)), rng.integers(len(chance), size=len(chance)))].mean()
        for _ in range(DRAWS if above.size <= 10_000 else DRAWS // 10)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return AgainstChance(float(above.mean()), float(low), float(high), len(ours), len(chance))


def _above(ours: NDArray[np.float64], chance: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, m): 1 where ours is above, a half where they are equal."""
    return np.greater.outer(ours, chance) + 0.5 * np.equal.outer(ours, chance)
