"""`ProxyTask`: what a search does to a candidate, a brief training at reduced image size and a step time.

EfficientNetV2's proxy (arXiv 2104.00298, section 3.2): about 10 epochs at a reduced image size, accuracy
on a minival split, training step time.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from results.trial import Measurement
from search_spaces import Architecture, cost
from search_spaces.efficientnet import scale_uniformly
from trainers.data import Data
from trainers.device_data import MEMORY_SHARE, DeviceData, on_device
from trainers.devices import device_name, torch_device
from trainers.expected import Calibration
from trainers.memory import with_peak
from trainers.network import Network, build_network
from trainers.over_limit import check_memory
from trainers.recipe import Recipe, check_brief
from trainers.step_timer import StepTimer
from trainers.timing import StepTime
from trainers.train import accuracy, train_epochs
from trainers.watch import Watch, WatchedTiming
from trainers.zero_cost import sample_pictures, snip, synflow

BLOCKS = 5
"""Pairs of blocks of steps behind a step time, where they agree."""

PRECISION = 0.03
"""How narrow its interval should be, relative to it; up to five times as many pairs are timed for it."""


class ProxyTask:
    """(architecture, seed) -> a measurement after every epoch.

    The pictures go to the device, and the anchor is built, at the first call in a process; what travels
    between processes is the arrays alone.

    Args:
        data: training and minival pictures, at the size to train at.
        recipe: how long and how.
        anchor: the architecture whose step time is 1.
        device: `"cpu"`, `"cuda"`, or `"auto"` for a GPU where there is one.
        width: what the widths of networks are multiplied by for training and timing; params, macs and activations
            stay those of the whole network.
        memory_share: of a GPU's memory, what the pictures may take to be kept there; else batches are sent.
        latency_batch: pictures in the forward pass whose time is measured; None for no such measurement.
        max_memory_bytes: the most memory that a training step may take; it decides nothing of what is measured.

    Attributes:
        calibration: of this device, for `expected_step_time`; None until it is set.
        measure_at: after how many epochs a network is measured beside the ends of epochs, such as 0.25; it changes
            nothing of what is measured at those.

    Raises:
        ValueError: the device is unknown or not there, a batch is under 1, or it exceeds the training pictures, or
            the recipe has what brief trainings do not heed.
    """

    def __init__(
        self,
        data: Data,
        recipe: Recipe,
        anchor: Architecture,
        *,
        device: str = "auto",
        width: float = 1.0,
        memory_share: float = MEMORY_SHARE,
        latency_batch: int | None = None,
        max_memory_bytes: float | None = None,
    ) -> None:
        torch_device(device)
        if not 0 < width <= 1:
            raise ValueError(f"width must be above 0 and at most 1; got {width!r}")
        if not 0 <= memory_share <= 1:
            raise ValueError(f"memory_share must be a share from 0 to 1; got {memory_share!r}")
        if latency_batch is not None and latency_batch < 1:
            raise ValueError(f"latency_batch must be at least 1 picture; got {latency_batch}")
        if not data.sizes["minival"]:
            raise ValueError("minival must have at least 1 picture, to measure accuracies on; it has none")
        if recipe.batch_size > data.sizes["train"]:
            raise ValueError(
                f"batch_size must be at most the {data.sizes['train']} training pictures; got {recipe.batch_size}"
            )
        check_brief(recipe)
        self.data, self.recipe, self.anchor, self.device = data, recipe, anchor, device
        self.width, self.memory_share = width, memory_share
        self.latency_batch, self.max_memory_bytes = latency_batch, max_memory_bytes
        self.calibration: Calibration | None = None
        self.measure_at: Collection[float] = ()
        self._on_device: DeviceData | None = None
        self._timer: StepTimer | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_on_device": None, "_timer": None}

    def describe(self) -> dict[str, Any]:
        """Everything that decides what is measured, as plain data; equal tasks have equal descriptions."""
        return {
            "data": self.data.fingerprint,
            "pictures": self.data.sizes,
            "image_size": self.data.image_size,
            "recipe": self.recipe.describe(),
            "anchor": str(self.anchor),
            "device": torch_device(self.device).type,
            **({} if self.width == 1 else {"width": self.width}),
            **({} if self.latency_batch is None else {"latency_batch": self.latency_batch}),
        }

    def __call__(self, architecture: Architecture, seed: int) -> Iterator[Measurement]:
        """Train the architecture and measure its training step; a measurement after every epoch, and at `measure_at`.

        The steps of the training itself are timed, in alternation with the anchor's, so that a first measurement may
        tell a step time of few blocks; where a CPU trains with several threads, a step is timed on one of them before
        the first measurement. Latency is timed then too.

        Raises:
            FloatingPointError: the training diverged.
            OverLimit: a training step takes more memory than it may; it is known after the second.
            torch.OutOfMemoryError: the device's memory did not suffice.
        """
        device, timer = torch_device(self.device), self._step_timer
        if device.type == "cuda":
            torch.cuda.empty_cache()  # what the candidate before held
        timing = timer.while_training() if self._times_while_training() else None
        measured: _Measured | None = None
        told: StepTime | None = None
        try:
            timer.watch.pause()
            if self._on_device is None:
                self._on_device = on_device(self.data, device, memory_share=self.memory_share)
            clock = _Clock(timer.watch)
            torch.manual_seed(seed)
            network = self._build(architecture, seed)
            steps = _Steps(network, timer, timing, self.max_memory_bytes)
            epochs = train_epochs(network, self._on_device, self.recipe, seed, around=steps, stops=self.measure_at)
            for trained in epochs:
                timer.watch.pause()
                top1 = accuracy(network, self._on_device.minival, self._on_device)
                clock.stop()
                last = trained.epochs == self.recipe.epochs
                if measured is None:
                    measured = self._measured(architecture, steps, timing, last=last)
                elif timing is not None:
                    measured = measured._replace(step=self._finished(timing, architecture, last=last))
                timer.watch.leave()  # who takes the measurements may be long in asking for more
                fresh, told = measured.step != told, measured.step
                yield self._measurement(architecture, trained.epochs, top1, measured.fields(fresh, clock.seconds))
                clock.go_on()
                timer.watch.pause()
        finally:
            timer.watch.leave()

    def _times_while_training(self) -> bool:
        """Whether the steps of the training are those that are timed; on a CPU that needs a training of one thread."""
        return torch_device(self.device).type == "cuda" or torch.get_num_threads() == 1

    def _finished(self, timing: WatchedTiming, architecture: Architecture, *, last: bool) -> StepTime:
        """The step time as it is by now; at the last measurement of a training, precise."""
        return self._step_timer.finish(timing, self._trained(architecture), self.data.image_size, precise=last)

    def _measured(
        self, architecture: Architecture, steps: _Steps, timing: WatchedTiming | None, *, last: bool
    ) -> _Measured:
        """What is told of a network, once but for its step time."""
        timer, size, trained = self._step_timer, self.data.image_size, self._trained(architecture)
        untrained = self.zero_cost(architecture, names=("snip",))["snip"]
        if (memory_bytes := steps.peak_memory_bytes) is None:
            memory_bytes = timer.peak_memory_bytes(trained, size)
            check_memory(memory_bytes, self.max_memory_bytes)
        anchor_memory_bytes = timer.anchor_memory_bytes  # before the lane is given back
        # where the training's own steps cannot be timed, others are
        found = timer(trained, size) if timing is None else self._finished(timing, architecture, last=last)
        latency = timer.latency(trained, size, self.latency_batch) if self.latency_batch else None
        snip_score = untrained if math.isfinite(untrained) else None
        return _Measured(found, latency, memory_bytes, memory_bytes / anchor_memory_bytes, snip_score)

    def time_step(self, architecture: Architecture) -> StepTime:
        """The architecture's training step time over the anchor's, on this device; of a CPU, on one core."""
        return self._step_timer(self._trained(architecture), self.data.image_size)

    @property
    def _step_timer(self) -> StepTimer:
        if self._timer is None:
            self._timer = StepTimer(
                self._trained(self.anchor),
                self.data.image_size,
                self.recipe,
                num_classes=len(self.data.class_names),
                in_channels=self.data.in_channels,
                device=self.device,
                blocks=BLOCKS,
                precision=PRECISION,
            )
        return self._timer

    @property
    def has_step_time(self) -> bool:
        """Whether `expected_step_time` can be told."""
        return self.calibration is not None

    def expected_step_time(self, architecture: Architecture) -> float:
        """The step time over the anchor's, as the calibration has it.

        Raises:
            ValueError: there is no calibration.
        """
        if self.calibration is None:
            raise ValueError("step times are expected by a calibration; there is none yet: set one (`calibrate`)")
        return self.calibration(architecture, num_classes=len(self.data.class_names), in_channels=self.data.in_channels)

    @property
    def epochs(self) -> int:
        """For how many epochs it trains an architecture."""
        return self.recipe.epochs

    def zero_cost(self, architecture: Architecture, *, names: Sequence[str] = ("snip", "synflow")) -> dict[str, float]:
        """Scores of the untrained network, logarithms of which more is better: `snip` and `synflow`.

        They are a function of the task and the architecture: the weights and the training pictures are drawn by a seed
        that is always the same.

        Args:
            names: of the scores wanted.
        """
        network = self._build(architecture, seed=0)
        scores = {}
        if "snip" in names:
            images, labels = (tensor.to(torch_device(self.device)) for tensor in sample_pictures(self.data, seed=0))
            scores["snip"] = snip(network, images.contiguous(memory_format=torch.channels_last), labels)
        if "synflow" in names:
            side = self.data.image_size
            scores["synflow"] = synflow(network, (self.data.in_channels, side, side))
        return scores

    def _trained(self, architecture: Architecture) -> Architecture:
        """The network that is trained in place of an architecture."""
        return narrowed(architecture, self.width)

    def _build(self, architecture: Architecture, seed: int) -> Network:
        generator = torch.Generator().manual_seed(seed)
        trained = self._trained(architecture)
        network = build_network(trained, len(self.data.class_names), self.data.in_channels, generator=generator)
        return network.to(torch_device(self.device), memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def _measurement(
        self,
        architecture: Architecture,
        epoch: float,
        top1: float,
        measured: Mapping[str, Any],
    ) -> Measurement:
        known = cost(
            architecture,
            self.data.image_size,
            num_classes=len(self.data.class_names),
            in_channels=self.data.in_channels,
        )
        return Measurement(
            accuracy=top1,
            epoch=epoch,
            **known._asdict(),
            **measured,
            latency_batch=self.latency_batch,
            batch_size=self.recipe.batch_size,
            device=device_name(torch_device(self.device)),
            host=platform.node(),
        )


def narrowed(architecture: Architecture, width: float) -> Architecture:
    """The network that is trained in place of an architecture: its widths multiplied by `width`."""
    return architecture if width == 1 else scale_uniformly(architecture, width, 1.0, guard=False)


class _Measured(NamedTuple):
    """What is measured of a network once."""

    step: StepTime
    latency: StepTime | None
    memory_bytes: int
    peak_memory: float
    snip: float | None

    def fields(self, with_samples: bool, train_time_s: float) -> dict[str, Any]:
        """The fields of a `Measurement` that tell of it."""
        told: dict[str, Any] = {
            "snip": self.snip,
            "peak_memory": self.peak_memory,
            "peak_memory_bytes": self.memory_bytes,
            "train_time_s": train_time_s,
        }
        notes = []
        for name, found in (("step_time", self.step), ("latency", self.latency)):
            if found is None:
                continue
            told |= {name: found.ratio, f"{name}_low": found.low, f"{name}_high": found.high}
            told[f"{name}_s"] = found.seconds
            told[f"{name}_samples"] = tuple(round(r, 4) for r in found.samples) if with_samples else ()
            if found.note is not None:
                notes.append(f"{name}: {found.note}")
        if (gpu := self.step.gpu) is not None:
            told |= {k: v for k, v in gpu._asdict().items() if k not in ("slowed_by", "processes")}
            told["slowed_by"] = ", ".join(sorted(gpu.slowed_by)) or None
        return {**told, "timing_note": "; ".join(notes) or None}


class _Clock:
    """Seconds of a training, without those in which it stood still: for others on the device, or nobody asked for more.

    Args:
        watch: that the training waits at.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch, self.seconds = watch, 0.0
        self.go_on()

    def go_on(self) -> None:
        """From now on it counts."""
        self._begun = time.perf_counter() - self._watch.waited_s

    def stop(self) -> None:
        """Until now it counted."""
        self.seconds += time.perf_counter() - self._watch.waited_s - self._begun


class _Steps:
    """Takes the steps of a training: the second's memory is measured, and those from the third on are timed."""

    def __init__(
        self, network: Network, timer: StepTimer, timing: WatchedTiming | None, max_memory_bytes: float | None
    ) -> None:
        self._network, self._timing, self._max_memory_bytes = network, timing, max_memory_bytes
        self._device, self._watch = timer.device, timer.watch
        self._taken = 0
        self.peak_memory_bytes: int | None = None

    def __call__(self, step: Callable[[], Tensor]) -> Tensor:
        self._watch.pause()
        self._taken += 1
        if self._taken == 2:
            loss, self.peak_memory_bytes = with_peak(step, self._network, self._device)
            check_memory(self.peak_memory_bytes, self._max_memory_bytes)
            return loss
        return step() if self._taken < 2 or self._timing is None else self._timing(step)
