"""The networks of a trial table: a row each, however often one was proposed or trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def networks_of(
    frame: pd.DataFrame, columns: Sequence[str], target: str = "reward", *, states: Sequence[str] = ("complete",)
) -> pd.DataFrame:
    """One row a network, with the mean of a target over its completed trainings.

    Replicates, and trainings of one network in several runs, are averaged. Repeats are never taken: they are copies of
    an answer. Nor are infeasible candidates, which a limit kept out, and those still running. What a stopped or a
    failed training measured is no outcome: such a network has no target, unless it was completed another time.

    Args:
        frame: a trial table.
        columns: to take along, as the network's first trial has them.
        target: a column of numbers.
        states: of the trials that make a network count.

    Returns:
        columns architecture, `columns`, and `target` (NaN where there is none).

    Raises:
        ValueError: the table lacks a column (names it), or the target is no column of numbers (lists those).
    """
    if target not in frame or not (pd.api.types.is_numeric_dtype(frame[target]) or frame[target].isna().all()):
        numeric = [name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])]
        raise ValueError(f"the target must be among {', '.join(numeric)}; got {target}")
    wanted = ["architecture", "state", *columns, target]
    if missing := [name for name in wanted if name not in frame]:
        raise ValueError(f"a trial table must have the columns {wanted}; this one lacks {missing}")
    taken = frame.loc[frame["state"].isin(states), wanted]
    measured = pd.to_numeric(taken[target]).to_numpy(np.float64, na_value=np.nan)
    measured = np.where((taken["state"] == "complete") & np.isfinite(measured), measured, np.nan)
    means = pd.Series(measured, taken["architecture"]).groupby(level=0, sort=False).mean()
    networks = taken.drop_duplicates("architecture").drop(columns=["state", target])
    return networks.assign(**{target: means.reindex(networks["architecture"]).to_numpy()}).reset_index(drop=True)
