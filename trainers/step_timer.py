"""`StepTimer`: the training step of any network over an anchor's, on this device, without data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from search_spaces import Architecture
from trainers.devices import torch_device
from trainers.network import build_network
from trainers.recipe import Recipe
from trainers.timing import PairedTiming, StepTime, time_steps
from trainers.train import TrainingStep


class RandomStep:
    """A training step on one batch of random pictures, over and over.

    Its learning rate is 0: that costs the same time, and never diverges.

    Args:
        architecture: what to train.
        image_size: side of the pictures, in pixels.
        recipe: its batch size, optimiser and loss.
        num_classes: width of the classifier.
        in_channels: channels of a picture.
        device: where.
    """

    def __init__(
        self,
        architecture: Architecture,
        image_size: int,
        recipe: Recipe,
        *,
        num_classes: int,
        in_channels: int,
        device: torch.device,
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        network = build_network(architecture, num_classes, in_channels, generator=generator)
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = torch.randn(recipe.batch_size, in_channels, image_size, image_size, generator=generator)
        labels = torch.randint(num_classes, (recipe.batch_size,), generator=generator)
        self.network, self._step = network, TrainingStep(network, recipe, device)
        self.optimizer = self._step.optimizer
        self._images = images.to(device, memory_format=torch.channels_last)
        self._labels = labels.to(device)

    def __call__(self) -> Tensor:
        """Take the step; gives the loss."""
        return self._step(self._images, self._labels, 0.0)


class StepTimer:
    """(architecture, image_size) -> its training step time over the anchor's.

    A step is forward, backward and optimiser on one batch. Of a CPU it is timed on one thread: several wait
    for each other, and so for whatever else the machine does; and so the ratio is the same for a worker that
    has one core and for one that has them all.

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
        self._anchor = self._step(anchor, image_size)

    def __call__(self, architecture: Architecture, image_size: int) -> StepTime:
        """Time the architecture's step at this image size against the anchor's.

        Raises:
            torch.OutOfMemoryError: the device's memory did not suffice.
        """
        with one_thread() if self.device.type == "cpu" else nullcontext():
            return time_steps(
                self._step(architecture, image_size),
                self._anchor,
                wait=self._wait,
                blocks=self._blocks,
                precision=self._precision,
            )

    def while_training(self) -> PairedTiming:
        """What times the steps of a training beside the anchor's; on a CPU, the training must have one thread."""
        return PairedTiming(self._anchor, wait=self._wait, blocks=self._blocks, precision=self._precision)

    def finish(self, timing: PairedTiming, architecture: Architecture, image_size: int) -> StepTime:
        """The result of a timing, with further steps on random pictures where the training had too few."""
        if timing.result is None:
            step = self._step(architecture, image_size)
            step()
            while timing.result is None:
                timing(step)
        return timing.result

    @property
    def _wait(self) -> Callable[[], object]:
        return torch.cuda.synchronize if self.device.type == "cuda" else lambda: None

    def peak_memory_bytes(self, architecture: Architecture, image_size: int) -> int:
        """The most bytes that tensors take during a step; see `peak_memory_bytes`."""
        return peak_memory_bytes(self._step(architecture, image_size), self.device)

    def _step(self, architecture: Architecture, image_size: int) -> RandomStep:
        return RandomStep(
            architecture,
            image_size,
            self._recipe,
            num_classes=self._num_classes,
            in_channels=self._in_channels,
            device=self.device,
        )


def peak_memory_bytes(step: RandomStep, device: torch.device) -> int:
    """The most bytes that tensors take during a training step: weights, optimiser state, gradients, maps.

    On CUDA that is what the allocator counts; on a CPU it is added up from the allocations that torch's
    profiler reports (what the process itself takes, and what libraries allocate past torch, are not in it).

    Args:
        step: what to measure; it is taken twice, since the optimiser's state comes into being in the first.
        device: where it runs.
    """
    held = sum(t.numel() * t.element_size() for t in step.network.state_dict().values())
    held += sum(p.numel() * p.element_size() for p in step.network.parameters())  # momentum
    step()
    for parameter in step.network.parameters():
        parameter.grad = None
    if device.type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return int(held + torch.cuda.max_memory_allocated() - before)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    most, allocated = 0, 0
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        allocated += int(event.nbytes())
        most = max(most, allocated)
    return int(held) + most


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch while this lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
