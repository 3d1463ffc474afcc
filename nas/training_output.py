"""What `nas train` writes for people to look at: TensorBoard's event files and the picture of the curves.

Both are functions of the training's metrics; a training that was begun with them goes on with them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from nas.trainings import METRICS, read

if TYPE_CHECKING:
    from trainers.epoch import Epoch

CURVES, EVENTS = "curves.png", "tensorboard"
_DRAW_S = 60.0


@dataclass(frozen=True, slots=True)
class Output:
    """What is written of a training beside its metrics and weights.

    Args:
        tensorboard: event files, in the folder `tensorboard`.
        plot: the curves, `curves.png`.
    """

    tensorboard: bool = False
    plot: bool = False

    def check(self) -> None:
        """That it can be written here.

        Raises:
            ValueError: a library is missing.
        """
        for wanted, option, library, package in (
            (self.tensorboard, "--tensorboard", "tensorboardX", "tensorboardX"),
            (self.plot, "--plot", "matplotlib", "'training-aware-nas[plot]'"),
        ):
            try:
                if wanted:
                    import_module(library)
            except ImportError as error:
                raise ValueError(
                    f"{option} needs {library}, which cannot be imported here: install it with pip install {package}"
                ) from error

    def of(self, folder: Path) -> Output:
        """The same and what the training of a folder was begun with."""
        return replace(
            self,
            tensorboard=self.tensorboard or (folder / EVENTS).is_dir(),
            plot=self.plot or (folder / CURVES).is_file(),
        )

    @contextmanager
    def kept_up(self, folder: Path) -> Iterator[Callable[[Epoch], None]]:
        """While the block runs, it is brought up to each epoch that is told; metrics are to have it already.

        Raises:
            OSError: the disk would not take it.
        """
        from results.metrics import read_metrics

        metrics = folder / METRICS
        with ExitStack() as stack:
            events = None
            if self.tensorboard:
                from results.tensorboard import EventFiles

                rows = read_metrics(metrics).to_dict("records") if metrics.is_file() else []
                events = EventFiles(folder / EVENTS, [{str(k): v for k, v in row.items()} for row in rows])
                stack.callback(events.close)
            if self.plot:
                stack.callback(_draw, folder)
            drawn_at = time.monotonic()

            def told(epoch: Epoch) -> None:
                nonlocal drawn_at
                if events is not None:
                    events.add(asdict(epoch))
                if self.plot and time.monotonic() - drawn_at > _DRAW_S:
                    _draw(folder)
                    drawn_at = time.monotonic()

            yield told


def is_over(folder: Path) -> bool:
    """Whether a training has come to its end."""
    from results.metrics import read_metrics

    metrics = folder / METRICS
    return metrics.is_file() and read_metrics(metrics)["epoch"].max() >= read(folder)["recipe"]["epochs"]


def _draw(folder: Path) -> None:
    from results.metrics import read_metrics
    from results.plots.curves import plot_curves

    if (folder / METRICS).is_file():
        plot_curves(read_metrics(folder / METRICS), folder / CURVES, title=folder.resolve().name)
