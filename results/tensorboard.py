"""`EventFiles`: the epochs of a training as scalars in TensorBoard's event files.

tensorboardX writes them, which Ray Tune brings; to look at them takes TensorBoard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

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
