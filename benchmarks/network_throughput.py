"""Training throughput of EfficientNetV2-S as built here against timm's, pair by pair in one run; wants timm and a GPU.

Both networks take the same steps on the same batch: bf16 where the device computes in it, channels last, the paper's
optimiser. Prints one JSON object: at each picture size and batch size how many times as fast ours is (median over the
pairs of blocks with its 95 % bootstrap interval; the bar is 1.15), pictures a second of both, their params, and the
device's memory a step takes at its most. Where timm cannot be imported, the object says so.

    python benchmarks/network_throughput.py > network_throughput.json
"""

from __future__ import annotations

import importlib
import json
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from machine import machine, parser  # before the project
from torch import Tensor, nn
from trained import say

from search_spaces import PUBLISHED
from trainers.devices import device_name, torch_device
from trainers.network import build_network, published_settings
from trainers.recipe import Recipe
from trainers.recipes import RECIPES
from trainers.step_timer import one_thread
from trainers.timing import time_steps
from trainers.train import TrainingStep, autocast

NAME, THEIRS, WANTED = "efficientnetv2-s", "efficientnetv2_s", 1.15

AT_ONCE = 5
"""Steps that are timed together."""


class Steps:
    """A network's training step on one batch, over and over, at a learning rate of 0."""

    def __init__(self, network: nn.Module, recipe: Recipe, batch: tuple[Tensor, Tensor]) -> None:
        images, self._labels = batch
        self.network = network.to(images.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self._images = images
        self._step = TrainingStep(self.network, recipe, images.device)

    def __call__(self) -> None:
        """Take some steps; the host need not wait for the device between them."""
        for _ in range(AT_ONCE):
            self._step(self._images, self._labels, 0.0)

    def peak_bytes(self) -> int | None:
        """The most that tensors on a GPU take during a step."""
        if self._images.device.type != "cuda":
            return None
        torch.cuda.reset_peak_memory_stats()
        self()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()


def batch_of(batch_size: int, size: int, classes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, 3, size, size, generator=generator)
    labels = torch.randint(classes, (batch_size,), generator=generator)
    return images.to(device, memory_format=torch.channels_last), labels.to(device)


def measured(timm: Any, size: int, batch_size: int, *, n: int, device: torch.device) -> dict[str, Any]:
    """Ours against timm's at one picture size and batch size."""
    recipe = replace(RECIPES["imagenet-paper-s"](), batch_size=batch_size)
    batch = batch_of(batch_size, size, 1000, device)
    ours = Steps(build_network(PUBLISHED[NAME], settings=published_settings(NAME)), recipe, batch)
    theirs = Steps(timm.create_model(THEIRS, num_classes=1000), recipe, batch)
    gpu = device.type == "cuda"
    with nullcontext() if gpu else one_thread():
        found = time_steps(ours, theirs, wait=torch.cuda.synchronize if gpu else lambda: None, blocks=n)
    return {
        "image_size": size,
        "batch_size": batch_size,
        "times_as_fast": round(1 / found.ratio, 3),
        "low": round(1 / found.high, 3),
        "high": round(1 / found.low, 3),
        "n": len(found.samples),
        "reached": 1 / found.ratio >= WANTED,
        "ours": told(ours, found.seconds / AT_ONCE, batch_size),
        "timm": told(theirs, found.anchor_seconds / AT_ONCE, batch_size),
    }


def told(steps: Steps, seconds: float, batch_size: int) -> dict[str, Any]:
    return {
        "pictures_per_s": round(batch_size / seconds, 1),
        "step_s": round(seconds, 5),
        "params": sum(p.numel() for p in steps.network.parameters()),
        "peak_bytes_with_both": steps.peak_bytes(),
    }


def main() -> None:
    options = parser("Time EfficientNetV2-S against timm's in training; prints JSON.", n=15)
    options.add_argument("--cases", help="size:batch size, such as 300:64,128:256; 300:64,300:128,128:512 by default")
    options.add_argument("--device", default="auto")
    arguments = options.parse_args()
    device = torch_device(arguments.device)
    cases = arguments.cases or ("300:64,300:128,128:512" if device.type == "cuda" else "128:8")
    if arguments.quick:
        cases, arguments.n = "64:2", 2
    result: dict[str, Any] = {"benchmark": "network_throughput", "machine": machine(), "device": device_name(device)}
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        say(f"not measured: timm cannot be imported ({error})")
        print(json.dumps({**result, "not_measured": f"timm cannot be imported: {error}"}, indent=1))
        return
    with autocast(device):
        bf16 = torch.is_autocast_enabled(device.type)
    result |= {"timm": timm.__version__, "bf16": bf16, "wanted": WANTED}
    rows = []
    for case in cases.split(","):
        size, batch_size = map(int, case.split(":"))
        rows.append(measured(timm, size, batch_size, n=arguments.n, device=device))
        row = rows[-1]
        rates = [row[whose]["pictures_per_s"] for whose in ("ours", "timm")]
        interval = f"{row['times_as_fast']} ({row['low']} to {row['high']}) times as fast"
        say(f"{size} px, batch {batch_size}: {rates[0]} pictures/s, timm's {rates[1]}: {interval}")
        if device.type == "cuda":
            torch.cuda.empty_cache()
    print(json.dumps({**result, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
