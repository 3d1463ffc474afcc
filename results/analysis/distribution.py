"""The empirical distribution of rewards, with the band that the true one lies in."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from results.analysis.candidates import candidates, of_each_run, random_draws, standing


def distribution(frame: pd.DataFrame, *, by: str = "arm") -> pd.DataFrame:
    """Which share of the candidates has at most which reward.

    The band holds the whole true curve with 95 % (Dvoretzky, Kiefer and Wolfowitz 1956, with the constant of Massart
    1990, Annals of Probability 18). That is of independent draws, as the random arm's are; of an arm that learns it
    says how far the curve may be from that of more of the like.

    Failed candidates and those stopped early count as below any reward, so the curve of an arm starts at their share.
    Replicates are left out: they were chosen by their reward. By arm, the random one has each network that it drew,
    also those that the controller had found before (`random_draws`); otherwise each network counts once.

    Args:
        frame: a trial table; of several runs (a column `run`) each is told apart.
        by: the column whose values are told apart.

    Returns:
        rows ascending in reward within each value: that column, reward, share (from 0 to 1), low, high. What has no
        candidate with a reward has no row.

    Raises:
        ValueError: there is no such column.
    """
    if by not in frame.columns:
        raise ValueError(f"by must be a column of the trial table; got {by!r}")
    if by == "run":
        return _shares(frame, by)
    return of_each_run(frame, lambda one: _shares(one, by))


def _shares(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    parts = []
    for value, rows in _groups(frame, by):
        rewards, counts = np.unique(standing(rows), return_counts=True)
        share = np.cumsum(counts) / len(rows)
        within = math.sqrt(math.log(2 / 0.05) / (2 * len(rows)))
        part = pd.DataFrame({by: [value] * len(rewards), "reward": rewards, "share": share})
        part["low"], part["high"] = (share - within).clip(0, 1), (share + within).clip(0, 1)
        parts.append(part[rewards > np.finfo(np.float64).min])
    known = [part for part in parts if len(part)]
    if not known:
        return pd.DataFrame({name: pd.Series(dtype=float) for name in (by, "reward", "share", "low", "high")})
    return pd.concat(known, ignore_index=True)


def _groups(frame: pd.DataFrame, by: str) -> Iterator[tuple[object, pd.DataFrame]]:
    rows = candidates(frame)
    for value in sorted(rows[by].dropna().unique()):
        if by == "arm" and value == "random":
            continue
        yield value, rows[rows[by] == value]
    if by == "arm":
        drawn = random_draws(frame)
        if len(drawn := drawn[drawn["arm"] == "random"]):
            yield "random", drawn
