"""What a table of trials says: which networks lead when noise is averaged out, and whether the controller beats chance.

Pandas frames in, pandas frames and plain numbers out; neither torch nor Ray is loaded.
"""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq


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


class Best(NamedTuple):
    """The best network of a run.

    Attributes:
        number: of the trial that evaluated it first.
        trainings: how often it was trained.
        reward: mean over these.
        accuracy: mean over these.
        step_time: mean over these; None where it was not measured.
    """

    number: int
    trainings: int
    reward: float
    accuracy: float
    step_time: float | None


def best_network(frame: pd.DataFrame) -> Best | None:
    """The network to take from a run; None where none has a reward.

    It is the one of the highest reward in its first training, unless that one was trained again: then it is the one
    of the highest mean among those that were.

    Args:
        frame: a trial table.
    """
    first = frame[(frame["state"] == "complete") & (frame["replicate"] == 0)].dropna(subset=["reward"])
    if first.empty:
        return None
    top = first.iloc[int(first["reward"].to_numpy(np.float64).argmax())]
    leaders = confirmed(frame)
    again = (leaders["architecture"] == top["architecture"]).any()
    found, trainings = (leaders.iloc[0], int(leaders["trainings"].iloc[0])) if again else (top, 1)
    step_time = None if pd.isna(found["step_time"]) else float(found["step_time"])
    return Best(int(found["number"]), trainings, float(found["reward"]), float(found["accuracy"]), step_time)


class Saving(NamedTuple):
    """What stopping candidates early has saved.

    Attributes:
        stopped: candidates that were.
        epochs: that all candidates were trained for.
        epochs_without: that they would have been trained for, had none been stopped.
        saved_s: seconds of training that were saved, as the epochs of each took; None where no time was measured.
    """

    stopped: int
    epochs: float
    epochs_without: float
    saved_s: float | None


def saving(frame: pd.DataFrame, epochs: int | None = None) -> Saving:
    """Count what stopping candidates early has saved; leaders trained again, which are not stopped, are left out.

    Args:
        frame: a trial table.
        epochs: for how long a candidate is trained; by default as long as the one that was trained longest.
    """
    first = frame[frame["state"].isin(["complete", "stopped", "failed"]) & (frame["replicate"] == 0)]
    trained = first["epoch"].astype(float).fillna(0.0)
    whole = epochs or (trained.max() if len(trained) else 0.0)
    early = first["state"] == "stopped"
    left = (whole - trained[early]).clip(lower=0)
    seconds = (first.loc[early, "train_time_s"].astype(float) / trained[early] * left).dropna()
    done = float(trained.sum())
    return Saving(int(early.sum()), done, done + float(left.sum()), float(seconds.sum()) if len(seconds) else None)


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


def against_chance(frame: pd.DataFrame) -> AgainstChance | None:
    """Compare a run's controller to its random arm; None where either has fewer than two outcomes.

    The statistic is Mann and Whitney's (1947), its interval Newcombe's (2006, Statistics in Medicine 25, method 5),
    which holds for small and unlike numbers. Failed candidates count as worse than any other: a controller that asks
    for networks that cannot be trained is no better for it. Those that were stopped early are next to them: the search
    gave them up for the others, and to leave them out would flatter the arm that asks for more of them. Repeats count
    with the reward that they were answered with: leaving them out would leave out the good networks that both arms
    find.

    Args:
        frame: a trial table.
    """
    over = frame[frame["state"].isin(["complete", "repeat", "failed", "stopped"])]
    failed = (over["state"] == "failed") | over["failure"].notna()  # a repeat is as what it repeats
    without = np.where(failed, -math.inf, -sys.float_info.max)
    rewards = over["reward"].astype(float).fillna(pd.Series(without, over.index))
    ours, chance = (rewards[over["arm"] == arm].to_numpy(np.float64) for arm in ("controller", "random"))
    if min(len(ours), len(chance)) < 2:
        return None
    above = np.greater.outer(ours, chance) + 0.5 * np.equal.outer(ours, chance)
    found = float(above.mean())
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
