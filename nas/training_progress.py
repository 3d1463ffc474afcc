"""What a running training shows on stderr: a bar that moves with each step on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from nas.progress import duration
from nas.time_left import TimeLeft

if TYPE_CHECKING:
    from trainers.epoch import Epoch
    from trainers.progressive import Settings

_LOOK_S = 0.2
_PLAIN_LINE_S = 60.0


class TrainingProgress:
    """Shows a training that tells it of its steps and epochs, while the `with` block runs.

    Args:
        left: the time left of the training.
        accuracy: of the epoch before, where there was one.
        console: where to write; stderr by default.
        quiet: show nothing.
    """

    def __init__(
        self, left: TimeLeft, *, accuracy: float | None = None, console: Console | None = None, quiet: bool = False
    ) -> None:
        self._left, self._accuracy, self._quiet = left, accuracy, quiet
        self._console = console or Console(stderr=True)
        columns = (BarColumn(bar_width=16), TaskProgressColumn(), TextColumn("{task.description}", markup=False))
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task("", total=left.pictures)
        self._live = self._console.is_terminal and not quiet
        self._looked_at = self._wrote_at = time.monotonic()

    def __enter__(self) -> TrainingProgress:
        if self._live:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._bar.stop()

    def step(self, settings: Settings, seen: int, loss: float | None = None) -> None:
        """A step begins.

        Args:
            settings: that it has.
            seen: the pictures before it.
            loss: mean of the epoch so far, where it was looked at.
        """
        self._left.step(settings, seen)
        now = time.monotonic()
        every_s = _LOOK_S if self._live else _PLAIN_LINE_S
        if self._quiet or now - (self._looked_at if self._live else self._wrote_at) < every_s:
            return
        self._looked_at = self._wrote_at = now
        head, rest = self._running(settings, seen, loss)
        if self._live:
            self._bar.update(self._task, completed=seen, description=f"{head}\n{rest}")
        else:
            self._write(f"{head}, {rest}")

    def ended(self, epoch: Epoch, seen: int) -> None:
        """An epoch is over, after so many pictures."""
        self._left.ended(seen)
        self._accuracy = epoch.accuracy
        if self._quiet:
            return
        self._write(epoch_line(epoch, self._left.recipe.epochs, self._left.left_s()))
        self._bar.update(self._task, completed=seen)
        self._wrote_at = time.monotonic()

    def _write(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)  # as text, so that nothing in it is markup

    def _running(self, now: Settings, seen: int, loss: float | None) -> tuple[str, str]:
        """What is told of the step that begins, in two parts."""
        recipe, pictures = self._left.recipe, self._left.pictures
        of_one = pictures // recipe.epochs
        share = 100 * (seen % of_one) // of_one
        varied = now.augmentation
        strength = _strength(varied.randaugment, varied.mixup, varied.cutmix, now.dropout)
        head = [f"epoch {seen // of_one + 1}/{recipe.epochs} ({share} %)", f"stage {now.stage + 1}"]
        rest = [] if loss is None else [f"loss {loss:.4f}"]
        rest += [] if self._accuracy is None else [f"accuracy {self._accuracy:.4f}"]
        if (pace := self._left.images_per_s) is not None:
            rest.append(f"{pace:,.0f} pictures/s")
        return ", ".join([*head, f"{now.image_size} px", *strength]), ", ".join([*rest, _left(self._left.left_s())])


def epoch_line(epoch: Epoch, epochs: int, left_s: float | None) -> str:
    """An epoch in a line.

    Args:
        epochs: of the training.
        left_s: seconds until its end, where they are known.
    """
    strength = _strength(epoch.randaugment, epoch.mixup, epoch.cutmix, epoch.dropout)
    parts = [f"stage {epoch.stage + 1}, {epoch.image_size} px", *strength, f"loss {epoch.loss:.4f}"]
    parts += [f"accuracy {epoch.accuracy:.4f}", f"{epoch.images_per_s:,.0f} pictures/s", _left(left_s)]
    return f"epoch {epoch.epoch}/{epochs}: {', '.join(parts)}"


def _strength(randaugment: float, mixup: float, cutmix: float, dropout: float) -> list[str]:
    named = (("randaugment", randaugment), ("mixup", mixup), ("cutmix", cutmix), ("dropout", dropout))
    return [f"{name} {value:.3g}" for name, value in named if value]


def _left(seconds: float | None) -> str:
    return "time left is not known yet" if seconds is None else f"about {duration(seconds)} left"
