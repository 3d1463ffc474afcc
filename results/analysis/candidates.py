"""Which rows of a trial table are candidates, and which of them are random draws: what the analysis counts by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_MEASURED_LIMIT = "peak_memory_bytes"
"""Of the limits, the one that is known after a candidate's first steps alone; the reason of such a trial begins so."""


def candidates(frame: pd.DataFrame) -> pd.DataFrame:
    """The candidates that were evaluated, each once, in the order in which their outcomes were told.

    A candidate is the first training of a network, whoever proposed it. It is one too where

    - it failed, or was stopped early: the search spent on it, and it counts in the budget;
    - it was found to be over the limit of memory in its first steps, which counts in the budget as well;
    - it was taken from an earlier run (`--reuse`): it cost nothing, but the controller proposed it and was told its
      reward, and to leave it out would let a run draw on another's trainings unseen.

    None is one that is still running; a repeat, which was answered by its original and would count it twice; one over
    a limit known before training; and a replicate, a leader trained once more because of its reward, beyond the budget.

    Args:
        frame: a trial table.
    """
    rows = frame[_evaluated(frame) & (frame["replicate"] == 0) & frame["told_at"].notna()]
    return rows.sort_values(["told_at", "number"], kind="stable")


def random_draws(frame: pd.DataFrame) -> pd.DataFrame:
    """The networks that random search proposed and whose outcomes are known, each once.

    They are the proposals of the random arm or, where random search is the run's controller, all candidates. A
    proposal of the random arm counts also where it repeats what the controller had proposed before: what was drawn
    does not depend on who trained it, and to leave it out would leave out the good networks, which both find.

    Args:
        frame: a trial table of one run.
    """
    drawn = frame["arm"] == "random"
    if "controller" in frame:
        drawn |= (frame["arm"] == "controller") & (frame["controller"] == "random")
    answered = _evaluated(frame) | (frame["state"] == "repeat")
    rows = frame[drawn & answered & (frame["replicate"] == 0) & frame["told_at"].notna()]
    return rows.sort_values("number", kind="stable").drop_duplicates("architecture")


def standing(rows: pd.DataFrame) -> NDArray[np.float64]:
    """The rewards of some trials, for ranking; what has none is below any other.

    A failed candidate (or one over the limit of memory) is the worst, -inf: a search that asks for networks that
    cannot be trained is no better for it. One stopped early is next, the least finite number: it was given up for the
    others, and what it would have reached is not known.
    """
    failed = rows["failure"].notna() | _over_memory(rows) | (rows["state"] == "failed")
    without = np.where(failed, -np.inf, np.finfo(np.float64).min)
    rewards = rows["reward"].to_numpy(np.float64, na_value=np.nan)
    return np.where(np.isnan(rewards), without, rewards)


def of_each_run(frame: pd.DataFrame, table: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """The same table of each run: of several together (a column `run`) one below the other, with the run first."""
    if "run" not in frame:
        return table(frame)
    runs = list(frame["run"].unique())
    parts = [table(frame[frame["run"] == run].drop(columns="run")) for run in runs]
    for run, part in zip(runs, parts, strict=True):
        part.insert(0, "run", pd.Series([run] * len(part), index=part.index, dtype="str"))
    if not parts:
        whole = table(frame.drop(columns="run"))
        whole.insert(0, "run", pd.Series(dtype="str"))
        return whole
    return pd.concat([p for p in parts if len(p)] or parts[:1], ignore_index=True)


def _evaluated(frame: pd.DataFrame) -> pd.Series:
    return frame["state"].isin(["complete", "stopped", "failed"]) | (
        (frame["state"] == "infeasible") & _over_memory(frame)
    )


def _over_memory(frame: pd.DataFrame) -> pd.Series:
    return frame["reason"].astype("str").str.startswith(_MEASURED_LIMIT).fillna(False).astype(bool)
