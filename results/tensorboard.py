"""TensorBoard's event files: the epochs of a training as scalars (`EventFiles`), a run's trials for its HParams.

tensorboardX writes them, which Ray Tune brings; to look at them takes TensorBoard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

SCALARS = {
    "accuracy/minival": "accuracy",
    "loss/training": "loss",
    "schedule/image_size": "image_size",
    "schedule/batch_size": "batch_size",
    "schedule/learning_rate": "learning_rate",
    "strength/randaugment": "randaugment",
    "strength/mixup": "mixup",
    "strength/cutmix": "cutmix",
    "strength/dropout": "dropout",
    "strength/survival": "survival",
    "speed/images_per_s": "images_per_s",
    "speed/waited_share": "waited_share",
}
"""By their tags, the fields of an epoch that are written."""


class EventFiles:
    """The event file of a training, open to be added to.

    Args:
        folder: of its own. Event files in it are written anew, so that no point is there twice after a resumption.
        rows: of the epochs that are over, as `add` takes them.
    """

    def __init__(self, folder: Path, rows: Sequence[Mapping[str, float]]) -> None:
        from tensorboardX import SummaryWriter

        for before in folder.glob("events.out.tfevents.*"):
            before.unlink()
        self._writer = SummaryWriter(str(folder))
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, float]) -> None:
        """Add an epoch, by its number; it can be looked at from then on."""
        for tag, name in SCALARS.items():
            self._writer.add_scalar(tag, row[name], int(row["epoch"]))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


METRICS = ("reward", "step_time", "latency", "params", "macs", "activations", "peak_memory", "train_time_s")
"""What TensorBoard's HParams compares trials by, beside the curve of the accuracy; as far as a run measured it."""

_ACCURACY = "accuracy/minival"


def write_hparams(frame: pd.DataFrame, choices: Sequence[str], folder: Path) -> int:
    """Write the trials that were measured for TensorBoard's HParams, each in a folder of its own.

    The choices are the hyperparameters; those of an absent stage are left out.

    Args:
        frame: a trial table.
        choices: of its columns, the choices of the space.
        folder: a new or an empty one.

    Returns:
        how many trials were written: the complete ones, and those that were stopped early.

    Raises:
        FileExistsError: the folder holds something.
    """
    from tensorboardX import SummaryWriter
    from tensorboardX.summary import hparams

    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} must be new or empty, lest trials of two runs be mixed; name another")
    rows = frame[frame["state"].isin(["complete", "stopped"])].to_dict("records")
    metrics = [name for name in METRICS if name in frame and frame[name].notna().any()]
    known = {name: frame[name].dropna() for name in (*choices, "arm") if name in frame}
    every = {name: _plain(values.iloc[0]) for name, values in known.items() if len(values)}
    experiment, _, _ = hparams(every, dict.fromkeys([_ACCURACY, *metrics]))
    with SummaryWriter(str(folder)) as writer:  # which choices and metrics there are, once for all
        writer.file_writer.add_summary(experiment)
    for row in rows:
        chosen = {name: _plain(row[name]) for name in every if not pd.isna(row[name])}
        _, begun, ended = hparams(chosen, {})
        with SummaryWriter(str(folder / f"trial-{row['number']:05d}")) as writer:
            writer.file_writer.add_summary(begun)
            curve = row["curve"]
            epochs = range(1, len(curve) + 1) if row["curve_epochs"] is None else row["curve_epochs"]  # of an old run
            for epoch, accuracy in zip(epochs, curve, strict=True):
                writer.add_scalar(_ACCURACY, accuracy, round(epoch))
            for name in metrics:
                if not pd.isna(row[name]):
                    writer.add_scalar(name, float(row[name]), 0)
            writer.file_writer.add_summary(ended)
    return len(rows)


def _plain(value: Any) -> bool | float | str:
    """Of a column of pandas, as the event files have it."""
    plain = value.item() if hasattr(value, "item") else value
    return plain if isinstance(plain, bool | int | float) else str(plain)
