"""What stopping candidates early has saved."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd


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
