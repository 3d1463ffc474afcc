"""What a run has cost in hours of its devices, and what it was spared."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.analysis.candidates import of_each_run
from results.analysis.saving import saving

_STATES = ("complete", "stopped", "failed", "infeasible", "running")
_HOUR_S = 3600.0
Floats = NDArray[np.float64]


def cost(frame: pd.DataFrame, *, workers_per_device: float = 1.0) -> pd.DataFrame:
    """The hours that devices were held, by device and by what became of the candidates.

    A candidate holds its worker from when it was asked for until its outcome was told: the network is built, trained,
    evaluated and timed, and waits for pictures and for its turn to be timed. Of one that still runs, or that was begun
    again after an interruption, whose length the table does not have, only the time of training and evaluating is
    known, up to the last measurement. Hours are of workers, over as many as share a device. Repeats and what was reused
    from earlier runs took no time.

    Args:
        frame: a trial table; of several runs (a column `run`) each is told apart.
        workers_per_device: that train on one device at a time, such as 4 where each has a quarter of a GPU
            (`--gpus-per-trial 0.25`).

    Returns:
        a row a device of a host, the most used first: device, host, candidates (networks trained first), trainings
        (with replicates), hours, then of these `complete_hours`, `stopped_hours`, `failed_hours`, `infeasible_hours`,
        `running_hours` (first trainings) and `confirm_hours` (replicates), `train_hours` (the part of all hours that
        went into training and evaluating, as far as measured), and untimed (trainings whose time is not known). What
        failed before its device was told is of the only device and host that the run had, or else of `unknown` ones.

    Raises:
        ValueError: workers_per_device is not positive.
    """
    if not workers_per_device > 0:
        raise ValueError(f"workers_per_device must be positive; got {workers_per_device}")
    return of_each_run(frame, lambda one: _cost(one, workers_per_device))


def _cost(frame: pd.DataFrame, workers_per_device: float) -> pd.DataFrame:
    rows = frame[frame["state"].isin(_STATES) & frame["reused_from"].isna()]
    asked_only = (rows["state"] == "infeasible") & rows["train_time_s"].isna()  # over a limit known before training
    rows = rows[~asked_only]
    first = rows["replicate"].to_numpy(np.int64) == 0
    trained, held = (part / _HOUR_S / workers_per_device for part in _seconds(rows))
    spent, state = np.nan_to_num(held), rows["state"].to_numpy()
    where = rows[["device", "host"]].astype("str")
    known = where.dropna().drop_duplicates()
    where = where.fillna(known.iloc[0] if len(known) == 1 else "unknown")
    table = pd.DataFrame(
        {
            **{name: where[name].to_numpy() for name in ("device", "host")},
            "candidates": first.astype(int),
            "trainings": np.ones(len(rows), int),
            "hours": spent,
            **{f"{name}_hours": np.where(first & (state == name), spent, 0.0) for name in _STATES},
            "confirm_hours": np.where(first, 0.0, spent),
            "train_hours": np.nan_to_num(trained),
            "untimed": np.isnan(held).astype(int),
        }
    )
    summed = table.groupby(["device", "host"], as_index=False, sort=True).sum()
    return summed.sort_values(["hours", "trainings"], ascending=False, kind="stable", ignore_index=True)


def _seconds(rows: pd.DataFrame) -> tuple[Floats, Floats]:
    """Of each trial the seconds of training and evaluating, and those for which it held its worker; NaN: not known."""
    trained, asked, told = (
        rows[name].to_numpy(np.float64, na_value=np.nan) for name in ("train_time_s", "asked_at", "told_at")
    )
    between = np.where(rows["attempt"].to_numpy(np.float64, na_value=1.0) > 1, np.nan, told - asked)
    return trained, np.fmax(trained, between)  # fmax: the one that is known


def spared(frame: pd.DataFrame, epochs: int | None = None, *, workers_per_device: float = 1.0) -> pd.DataFrame:
    """What repeats, reuse and early stopping saved.

    A repeat is spared the training and evaluating of its original, a reused training that where it was made; what else
    they would have held a device for is not counted. One that was stopped
    is spared the epochs it had left, each as long as those it had (`saving`).

    Args:
        frame: a trial table; of several runs (a column `run`) each is told apart.
        epochs: for how long a candidate is trained; by default as long as the one that was trained longest.
        workers_per_device: as of `cost`.

    Returns:
        three rows: what (`repeats`, `reuse`, `early stopping`), count, hours (NaN where there were some, none of known
        time).
    """

    def table(one: pd.DataFrame) -> pd.DataFrame:
        trained = one[one["reused_from"].isna()]
        stopped = saving(trained, epochs)
        early_s = (0.0 if not stopped.stopped else np.nan) if stopped.saved_s is None else stopped.saved_s
        answered = (one[one["state"] == "repeat"], one[one["reused_from"].notna() & (one["state"] != "repeat")])
        seconds = [_known_sum(rows["train_time_s"]) for rows in answered]
        return pd.DataFrame(
            {
                "what": ["repeats", "reuse", "early stopping"],
                "count": [*(len(rows) for rows in answered), stopped.stopped],
                "hours": np.array([*seconds, early_s]) / _HOUR_S / workers_per_device,
            }
        )

    return of_each_run(frame, table)


def _known_sum(seconds: pd.Series) -> float:
    known = seconds.dropna()
    return float(known.sum()) if len(known) or not len(seconds) else float("nan")
