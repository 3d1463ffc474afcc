"""What a network costs on this device: prices of scaling targets that have to be measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from nas.evaluation import failure_of
from nas.scaling.scaled import brief
from nas.scaling.targets import TOLERANCE, Price, closed_form, shown
from search_spaces import Architecture

if TYPE_CHECKING:
    from trainers.step_timer import StepTimer
    from trainers.timing import StepTime


PRECISION = TOLERANCE / 2
"""How narrow a step time's interval should be: half of what a target allows."""


@dataclass(frozen=True)
class Prices:
    """metric -> its price, all of a training step on one device and relative to one baseline.

    Torch is loaded, and the baseline built, when a measurement is first asked for.

    Args:
        base: the baseline, which step times are measured against.
        image_size: of its pictures, in pixels.
        num_classes: width of the classifiers.
        in_channels: channels of a picture.
        batch_size: pictures in a step.
        device: `"cpu"`, `"cuda"`, or `"auto"` for a GPU where there is one.
        say: is told of every measurement, a line each.
    """

    base: Architecture
    image_size: int
    num_classes: int = 1000
    in_channels: int = 3
    batch_size: int = 32
    device: str = "auto"
    say: Callable[[str], object] = lambda _: None

    def __call__(self, metric: str) -> Price:
        """The price of that name: closed form, `peak_memory` in bytes, or `step_time` in seconds."""
        if metric == "step_time":
            return self._step_time
        if metric == "peak_memory":
            return self._peak_memory
        return closed_form(metric, num_classes=self.num_classes, in_channels=self.in_channels)

    def step_time(self, architecture: Architecture, image_size: int) -> StepTime:
        """The training step over the baseline's, with its interval.

        Raises:
            ValueError: the device's memory does not suffice.
        """
        with out_of_memory_said(architecture, image_size, self.batch_size):
            return self._timer(architecture, image_size)

    def _step_time(self, architecture: Architecture, image_size: int) -> float:
        if (architecture, image_size) == (self.base, self.image_size):
            return self._base_seconds
        ratio = self.step_time(architecture, image_size).ratio
        self.say(f"step time {ratio:.3f}x at {image_size} px: {brief(architecture)}")
        return ratio * self._base_seconds

    def _peak_memory(self, architecture: Architecture, image_size: int) -> float:
        with out_of_memory_said(architecture, image_size, self.batch_size):
            found = self._timer.peak_memory_bytes(architecture, image_size)
        self.say(f"peak memory {shown('peak_memory', found)} at {image_size} px: {brief(architecture)}")
        return float(found)

    @cached_property
    def _timer(self) -> StepTimer:
        from trainers.recipe import Recipe
        from trainers.step_timer import StepTimer

        return StepTimer(
            self.base,
            self.image_size,
            Recipe(batch_size=self.batch_size),
            num_classes=self.num_classes,
            in_channels=self.in_channels,
            device=self.device,
            precision=PRECISION,
        )

    @cached_property
    def _base_seconds(self) -> float:
        """The baseline's step, once for all, so that equal ratios are equal seconds."""
        seconds = self.step_time(self.base, self.image_size).anchor_seconds
        self.say(f"the baseline's step takes {shown('step_time', seconds)} on {self._timer.device}")
        return seconds


@contextmanager
def out_of_memory_said(architecture: Architecture, image_size: int, batch_size: int) -> Iterator[None]:
    """Make a ValueError that says what to do of the error of a device whose memory does not suffice."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        failure = failure_of(error)
        if failure.kind != "out_of_memory":
            raise
        raise ValueError(
            f"a training step must fit into the device's memory; at {image_size} px and a batch of "
            f"{batch_size} it does not ({failure.reason}). Choose a smaller batch size or target. "
            f"The network was {architecture}"
        ) from error
