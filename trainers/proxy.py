"""`ProxyTask`: what a search does to a candidate, a brief training at reduced image size and a step time.

EfficientNetV2's proxy (arXiv 2104.00298, section 3.2): about 10 epochs at a reduced image size, accuracy
on a minival split, training step time.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from results.trial import Measurement
from search_spaces import Architecture, cost
from search_spaces.efficientnet import scale_uniformly
from trainers.calibration import Calibration
from trainers.data import Data
from trainers.device_data import MEMORY_SHARE, DeviceData, on_device
from trainers.devices import device_name, torch_device
from trainers.network import Network, build_network
from trainers.recipe import Recipe
from trainers.step_timer import StepTimer
from trainers.timing import StepTime
from trainers.train import accuracy, train_epochs
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

    Attributes:
        calibration: of this device, for `expected_step_time`; None until it is set.

    Raises:
        ValueError: the device is unknown or not there, or the batch exceeds the training pictures.
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
    ) -> None:
        torch_device(device)
        if not 0 < width <= 1:
            raise ValueError(f"width must be above 0 and at most 1; got {width!r}")
        if not 0 <= memory_share <= 1:
            raise ValueError(f"memory_share must be a share from 0 to 1; got {memory_share!r}")
        if recipe.batch_size > data.sizes["train"]:
            raise ValueError(
                f"batch_size must be at most the {data.sizes['train']} training pictures; got {recipe.batch_size}"
            )
        self.data, self.recipe, self.anchor, self.device, self.width = data, recipe, anchor, device, width
        self.memory_share = memory_share
        self.calibration: Calibration | None = None
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
        }

    def __call__(self, architecture: Architecture, seed: int) -> Iterator[Measurement]:
        """Train the architecture and time its training step; a measurement after every epoch.

        The steps of the training itself are timed, in alternation with the anchor's; where a CPU trains with several
        threads, a step is timed on one of them before.

        Raises:
            FloatingPointError: the training diverged.
            torch.OutOfMemoryError: the device's memory did not suffice.
        """
        device = torch_device(self.device)
        if device.type == "cuda":
            torch.cuda.empty_cache()  # what the candidate before held
        if self._on_device is None:
            self._on_device = on_device(self.data, device, memory_share=self.memory_share)
        timing = self._step_timer.while_training() if self._times_while_training() else None
        step_time = self.time_step(architecture) if timing is None else None
        untrained = self.zero_cost(architecture, names=("snip",))["snip"]
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

        def around(step: Callable[[], Tensor]) -> Tensor:
            if timing is None or timing.result is not None:
                return step()
            loss = timing(step)
            if timing.result is not None and device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()  # the peak of the training, without the anchor's steps
            return loss

        begun = time.perf_counter()
        torch.manual_seed(seed)
        network = self._build(architecture, seed)
        for epoch, _ in enumerate(train_epochs(network, self._on_device, self.recipe, seed, around=around), 1):
            top1 = accuracy(network, self._on_device.minival, self._on_device)
            taken = time.perf_counter() - begun
            if timing is not None and step_time is None:
                step_time = self._step_timer.finish(timing, self._trained(architecture), self.data.image_size)
            assert step_time is not None
            measured = self._measurement(architecture, epoch, top1, step_time, taken)
            yield replace(measured, snip=untrained if math.isfinite(untrained) else None)

    def _times_while_training(self) -> bool:
        """Whether the steps of the training are those that are timed; on a CPU that needs a training of one thread."""
        return torch_device(self.device).type == "cuda" or torch.get_num_threads() == 1

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
    def epochs(self) -> int:
        """How many measurements it gives of an architecture."""
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

    def _trained(self, architecture: Architecture) -> Architecture:
        """The network that is trained in place of an architecture."""
        return architecture if self.width == 1 else scale_uniformly(architecture, self.width, 1.0, guard=False)

    def _build(self, architecture: Architecture, seed: int) -> Network:
        generator = torch.Generator().manual_seed(seed)
        trained = self._trained(architecture)
        network = build_network(trained, len(self.data.class_names), self.data.in_channels, generator=generator)
        return network.to(torch_device(self.device), memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def _measurement(
        self, architecture: Architecture, epoch: int, top1: float, step_time: StepTime, train_time_s: float
    ) -> Measurement:
        device = torch_device(self.device)
        known = cost(
            architecture,
            self.data.image_size,
            num_classes=len(self.data.class_names),
            in_channels=self.data.in_channels,
        )
        on_gpu = device.type == "cuda"
        return Measurement(
            accuracy=top1,
            epoch=epoch,
            step_time=step_time.ratio,
            step_time_low=step_time.low,
            step_time_high=step_time.high,
            step_time_s=step_time.seconds,
            **known._asdict(),
            peak_memory_bytes=torch.cuda.max_memory_allocated() if on_gpu else None,
            train_time_s=train_time_s,
            batch_size=self.recipe.batch_size,
            device=device_name(device),
            host=platform.node(),
        )
