"""TensorBoard's event files: the epochs of a training as scalars (`EventFiles`), a run's trials for its HParams.

tensorboardX writes them, which Ray Tune brings; to look at them takes TensorBoard.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from results.whole_file import not_written

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
        OSError: the disk would not take it; a new folder is not left.
    """
    from tensorboardX.summary import hparams, scalar

    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} must be new or empty, lest trials of two runs be mixed; name another")
    rows = frame[frame["state"].isin(["complete", "stopped"])].to_dict("records")
    metrics = [name for name in METRICS if name in frame and frame[name].notna().any()]
    known = {name: frame[name].dropna() for name in (*choices, "arm") if name in frame}
    every = {name: _plain(values.iloc[0]) for name, values in known.items() if len(values)}
    experiment, _, _ = hparams(every, dict.fromkeys([_ACCURACY, *metrics]))
    new = not folder.exists()
    try:
        _write_events(folder, [(experiment, 0)])  # which choices and metrics there are, once for all
        for row in rows:
            chosen = {name: _plain(row[name]) for name in every if not pd.isna(row[name])}
            _, begun, ended = hparams(chosen, {})
            curve = row["curve"]
            epochs = range(1, len(curve) + 1) if row["curve_epochs"] is None else row["curve_epochs"]  # of an old run
            points = [(scalar(_ACCURACY, a), round(epoch)) for epoch, a in zip(epochs, curve, strict=True)]
            values = [(scalar(name, float(row[name])), 0) for name in metrics if not pd.isna(row[name])]
            _write_events(folder / f"trial-{row['number']:05d}", [(begun, 0), *points, *values, (ended, 0)])
    except OSError as error:
        if new:
            shutil.rmtree(folder, ignore_errors=True)
        raise not_written(error, folder) from error
    return len(rows)


def _write_events(folder: Path, summaries: Sequence[tuple[Any, int]]) -> None:
    """An event file of summaries, each with its step; not by `SummaryWriter`, from whose thread no error comes back."""
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event

    folder.mkdir(parents=True, exist_ok=True)
    writer = EventsWriter(str(folder / "events"))
    for summary, step in summaries:
        writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))
    writer.close()


def _plain(value: Any) -> bool | float | str:
    """Of a column of pandas, as the event files have it."""
    plain = value.item() if hasattr(value, "item") else value
    return plain if isinstance(plain, bool | int | float) else str(plain)
