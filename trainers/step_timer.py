"""`StepTimer`: a network's training step, or forward pass, over an anchor's, on this device, without data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property

import torch
from torch import Tensor, nn

from search_spaces import Architecture
from trainers.devices import torch_device
from trainers.memory import with_peak
from trainers.network import build_network
from trainers.recipe import Recipe
from trainers.timing import PairedTiming, StepTime, time_steps
from trainers.train import TrainingStep, autocast
from trainers.watch import Watch, WatchedTiming, watch_of


class RandomStep:
    """A training step on one batch of random pictures, over and over.

    Its learning rate is 0: that costs the same time, and never diverges.

    Args:
        architecture: what to train, or a network that gives num_classes logits.
        image_size: side of the pictures, in pixels.
        recipe: its batch size, optimiser and loss.
        num_classes: width of the classifier.
        in_channels: channels of a picture.
        device: where.
    """

    def __init__(
        self,
        architecture: Architecture | nn.Module,
        image_size: int,
        recipe: Recipe,
        *,
        num_classes: int,
        in_channels: int,
        device: torch.device,
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.network = _network(architecture, num_classes, in_channels, generator, device)
        self._images = _pictures(recipe.batch_size, in_channels, image_size, generator, device)
        self._labels = torch.randint(num_classes, (recipe.batch_size,), generator=generator).to(device)
        self._step = TrainingStep(self.network, recipe, device)
        self.optimizer = self._step.optimizer

    def __call__(self) -> Tensor:
        """Take the step; gives the loss."""
        return self._step(self._images, self._labels, 0.0)


class RandomPass:
    """A forward pass as in evaluation, on one batch of random pictures, over and over.

    Args:
        architecture: what to evaluate.
        image_size: side of the pictures, in pixels.
        batch_size: how many pictures.
        num_classes: width of the classifier.
        in_channels: channels of a picture.
        device: where.
    """

    def __init__(
        self,
        architecture: Architecture,
        image_size: int,
        batch_size: int,
        *,
        num_classes: int,
        in_channels: int,
        device: torch.device,
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.network = _network(architecture, num_classes, in_channels, generator, device).eval()
        self._images = _pictures(batch_size, in_channels, image_size, generator, device)

    @torch.no_grad()
    def __call__(self) -> Tensor:
        """Take the pass; gives the logits."""
        with autocast(self._images.device):
            logits: Tensor = self.network(self._images)
        return logits


def _network(
    architecture: Architecture | nn.Module,
    num_classes: int,
    in_channels: int,
    generator: torch.Generator,
    device: torch.device,
) -> nn.Module:
    if isinstance(architecture, Architecture):
        architecture = build_network(architecture, num_classes, in_channels, generator=generator)
    return architecture.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _pictures(count: int, channels: int, side: int, generator: torch.Generator, device: torch.device) -> Tensor:
    images = torch.randn(count, channels, side, side, generator=generator)
    return images.to(device, memory_format=torch.channels_last)


class StepTimer:
    """(architecture, image_size) -> its training step time over the anchor's; and its latency, and its memory.

    A step is forward, backward and optimiser on one batch. Of a CPU it is timed on one thread: several wait
    for each other, and so for whatever else the machine does; and so the ratio is the same for a worker that
    has one core and for one that has them all. On a GPU that others train on, they pause meanwhile (`Lane`).

    Args:
        anchor: the architecture whose step time is 1.
        image_size: side of the anchor's pictures, in pixels.
        recipe: its batch size, optimiser and loss.
        num_classes: width of the classifiers.
        in_channels: channels of a picture.
        device: `"cpu"`, `"cuda"`, or `"auto"` for a GPU where there is one.
        blocks: pairs of blocks of steps behind each measurement.
        precision: as in `time_steps`.

    Raises:
        ValueError: the device is unknown or not there.
    """

    def __init__(
        self,
        anchor: Architecture,
        image_size: int,
        recipe: Recipe,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        device: str = "auto",
        blocks: int = 9,
        precision: float | None = None,
    ) -> None:
        self.device = torch_device(device)
        self._recipe, self._num_classes, self._in_channels = recipe, num_classes, in_channels
        self._blocks, self._precision = blocks, precision
        self._at = (anchor, image_size)
        self._anchor = self._step(anchor, image_size)
        self._anchor_passes: dict[int, RandomPass] = {}  # by batch size
        self.watch: Watch = watch_of(self.device)

    def __call__(self, architecture: Architecture, image_size: int) -> StepTime:
        """Time the architecture's step at this image size against the anchor's.

        Raises:
            torch.OutOfMemoryError: the device's memory did not suffice.
        """
        return self._alone(self._step(architecture, image_size), self._anchor)

    def latency(self, architecture: Architecture, image_size: int, batch_size: int) -> StepTime:
        """Time the architecture's forward pass, as in evaluation, against the anchor's, in the same way.

        Raises:
            torch.OutOfMemoryError: the device's memory did not suffice.
        """
        if batch_size not in self._anchor_passes:
            self._anchor_passes[batch_size] = self._pass(*self._at, batch_size)
        return self._alone(self._pass(architecture, image_size, batch_size), self._anchor_passes[batch_size])

    def _alone(self, step: Callable[[], object], anchor: Callable[[], object]) -> StepTime:
        with one_thread() if self.device.type == "cpu" else nullcontext(), self.watch as watch:
            while True:
                found = time_steps(step, anchor, wait=self._wait, blocks=self._blocks, precision=self._precision)
                if watch.accepts():
                    return watch.noted(found)

    def while_training(self) -> WatchedTiming:
        """What times the steps of a training beside the anchor's; on a CPU, the training must have one thread."""

        def make() -> PairedTiming:
            return PairedTiming(self._anchor, wait=self._wait, blocks=self._blocks, precision=self._precision)

        return WatchedTiming(make, self.watch)

    def finish(self, timing: WatchedTiming, architecture: Architecture, image_size: int, *, precise: bool) -> StepTime:
        """The result of a timing, with further steps on random pictures where the training had too few.

        Args:
            precise: go on until it is precise; else until there is what `so_far` gives.
        """

        def found() -> StepTime | None:
            return timing.result if precise else timing.so_far()

        if found() is None:
            step = self._step(architecture, image_size)
            step()  # the first is slow
            while found() is None:
                timing(step)
        told = found()
        assert told is not None
        return told

    @property
    def _wait(self) -> Callable[[], object]:
        return torch.cuda.synchronize if self.device.type == "cuda" else lambda: None

    def peak_memory_bytes(self, architecture: Architecture, image_size: int) -> int:
        """The most bytes that tensors take during a step; see `with_peak`."""
        return peak_memory_bytes(self._step(architecture, image_size), self.device)

    @cached_property
    def anchor_memory_bytes(self) -> int:
        """The same of the anchor."""
        return peak_memory_bytes(self._anchor, self.device)

    def _step(self, architecture: Architecture, image_size: int) -> RandomStep:
        return RandomStep(
            architecture,
            image_size,
            self._recipe,
            num_classes=self._num_classes,
            in_channels=self._in_channels,
            device=self.device,
        )

    def _pass(self, architecture: Architecture, image_size: int, batch_size: int) -> RandomPass:
        return RandomPass(
            architecture,
            image_size,
            batch_size,
            num_classes=self._num_classes,
            in_channels=self._in_channels,
            device=self.device,
        )


def peak_memory_bytes(step: RandomStep, device: torch.device) -> int:
    """The most bytes that tensors take during a training step; see `with_peak`.

    Args:
        step: what to measure; it is taken twice, since the optimiser's state comes into being in the first.
        device: where it runs.
    """
    step()
    return with_peak(step, step.network, device)[1]


def rough_step_s(
    architecture: Architecture | nn.Module,
    image_size: int,
    recipe: Recipe,
    *,
    num_classes: int,
    in_channels: int,
    device: torch.device,
) -> float:
    """Seconds of a training step, from a few of them on one thread of a CPU or on a GPU: enough to plan with.

    Args:
        architecture: as of `RandomStep`, like all that follow.
    """
    step = RandomStep(architecture, image_size, recipe, num_classes=num_classes, in_channels=in_channels, device=device)
    taken: list[float] = []
    with one_thread() if device.type == "cpu" else nullcontext():
        while len(taken) < 2 or (sum(taken) < 0.5 and len(taken) < 8):
            begun = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - begun)
    return min(taken[1:])  # the first is slow


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch while this lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
