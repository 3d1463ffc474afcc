"""What went wrong in a run, by kind."""

from __future__ import annotations

import pandas as pd

from results.analysis.candidates import of_each_run


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """Count the trainings that failed, by kind, the most frequent first.

    Trainings of leaders once more (`--confirm`) count, since they fail as others do; a repeat of a failed candidate
    does not, since nothing was trained. What is over a limit is infeasible, and has not failed.

    Args:
        frame: a trial table; of several runs (a column `run`) each is told apart.

    Returns:
        a row a kind: failure, count, share (of all trainings that have ended, over the limit of memory or not), example
        (the most frequent reason), number (of the first trial with it).
    """
    return of_each_run(frame, _failures)


def _failures(frame: pd.DataFrame) -> pd.DataFrame:
    ended = frame["state"].isin(["complete", "stopped", "failed"]).sum()
    failed = frame[frame["state"] == "failed"].sort_values("number", kind="stable")
    rows = []
    for kind, group in failed.groupby(failed["failure"].astype("str").fillna("error"), sort=True):
        reasons = group["reason"].astype("str").fillna("")
        example = reasons.value_counts(sort=True).index[0]
        number = int(group.loc[reasons == example, "number"].iloc[0])
        rows.append((kind, len(group), len(group) / ended, example, number))
    table = pd.DataFrame(rows, columns=["failure", "count", "share", "example", "number"])
    return table.sort_values("count", ascending=False, kind="stable", ignore_index=True)
