"""Which networks lead: the best of a run, and those trained more than once, with noise averaged out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd


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
