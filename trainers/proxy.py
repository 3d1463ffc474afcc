"""`ProxyTask`: what a search does to a candidate, a brief training at reduced image size and a step time.

EfficientNetV2's proxy (arXiv 2104.00298, section 3.2): about 10 epochs at a reduced image size, accuracy
on a minival split, training step time.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from results.trial import Measurement
from search_spaces import Architecture, cost
from trainers.data import Data
from trainers.devices import torch_device
from trainers.network import Network, build_network
from trainers.recipe import Recipe
from trainers.step_costs import counted, fitted_prices, left_out_error
from trainers.step_timer import StepTimer
from trainers.timing import StepTime
from trainers.train import DeviceData, accuracy, on_device, train_epochs
from trainers.zero_cost import sample_pictures, snip, synflow


class ProxyTask:
    """(architecture, seed) -> a measurement after every epoch.

    The pictures go to the device, and the anchor is built, at the first call in a process; what travels
    between processes is the arrays alone.

    Args:
        data: training and minival pictures, at the size to train at.
        recipe: how long and how.
        anchor: the architecture whose step time is 1.
        device: `"cpu"`, `"cuda"`, or `"auto"` for a GPU where there is one.

    Attributes:
        prices: of `step_costs.COSTS` on this device, for `expected_step_time`; None until they are known.

    Raises:
        ValueError: the device is unknown or not there, or the batch exceeds the training pictures.
    """

    def __init__(self, data: Data, recipe: Recipe, anchor: Architecture, *, device: str = "auto") -> None:
        torch_device(device)
        if recipe.batch_size > data.sizes["train"]:
            raise ValueError(
                f"batch_size must be at most the {data.sizes['train']} training pictures; got {recipe.batch_size}"
            )
        self.data, self.recipe, self.anchor, self.device = data, recipe, anchor, device
        self.prices: tuple[float, ...] | None = None
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
            "recipe": asdict(self.recipe),
            "anchor": str(self.anchor),
            "device": torch_device(self.device).type,
        }

    def __call__(self, architecture: Architecture, seed: int) -> Iterator[Measurement]:
        """Time the architecture's training step, then train it; a measurement after every epoch.

        Raises:
            FloatingPointError: the training diverged.
            torch.OutOfMemoryError: the device's memory did not suffice.
        """
        device = torch_device(self.device)
        if device.type == "cuda":
            torch.cuda.empty_cache()  # what the candidate before held
        if self._on_device is None:
            self._on_device = on_device(self.data, device)
        step_time = self.time_step(architecture)
        untrained = self.zero_cost(architecture, names=("snip",))["snip"]
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()  # the peak of the training, without the anchor's steps
        begun = time.perf_counter()
        torch.manual_seed(seed)
        network = self._build(architecture, seed)
        for epoch, _ in enumerate(train_epochs(network, self._on_device, self.recipe, seed), 1):
            top1 = accuracy(network, self._on_device.minival, self._on_device)
            measured = self._measurement(architecture, epoch, top1, step_time, time.perf_counter() - begun)
            yield replace(measured, snip=untrained if math.isfinite(untrained) else None)

    def time_step(self, architecture: Architecture) -> StepTime:
        """The architecture's training step time over the anchor's, on this device; of a CPU, on one core."""
        if self._timer is None:
            self._timer = StepTimer(
                self.anchor,
                self.data.image_size,
                self.recipe,
                num_classes=len(self.data.class_names),
                in_channels=self.data.in_channels,
                device=self.device,
            )
        return self._timer(architecture, self.data.image_size)

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
        return self.prices is not None

    def calibrate(self, architectures: Sequence[Architecture]) -> float:
        """Time some networks, and set the prices by which `expected_step_time` tells others'.

        Returns:
            the mean relative error at each of them of prices fitted on the others.
        """
        costs = np.array([self._costs(architecture) for architecture in architectures])
        times = [self.time_step(architecture).ratio for architecture in architectures]
        self.prices = tuple(fitted_prices(costs, times).tolist())
        return left_out_error(costs, times)

    def expected_step_time(self, architecture: Architecture) -> float:
        """The step time over the anchor's, as the prices have it.

        Raises:
            ValueError: there are no prices yet.
        """
        if self.prices is None:
            raise ValueError("step times are expected by prices; there are none yet: call calibrate first")
        return float(self._costs(architecture) @ np.array(self.prices))

    def _costs(self, architecture: Architecture) -> NDArray[np.float64]:
        shape = {"num_classes": len(self.data.class_names), "in_channels": self.data.in_channels}
        return counted(architecture, self.data.image_size, **shape)

    def _build(self, architecture: Architecture, seed: int) -> Network:
        generator = torch.Generator().manual_seed(seed)
        network = build_network(architecture, len(self.data.class_names), self.data.in_channels, generator=generator)
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
            device=torch.cuda.get_device_name() if on_gpu else platform.processor() or platform.machine(),
            host=platform.node(),
        )
