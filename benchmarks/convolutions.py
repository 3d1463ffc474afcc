"""What training convolutions on small maps in their faster way is worth, a training step at a time; CPU, one thread.

Prints one JSON object: for published networks and for some drawn once from the small space, at each picture size, the
training step with torch's convolutions alone over the one with the faster of two ways for each shape
(`trainers/convolution.py`), pair by pair in alternation; and what a step spends its time on, by torch's profiler,
both ways. `ATEN_CPU_CAPABILITY=avx2 DNNL_MAX_CPU_ISA=AVX2` in the environment shows a processor without AVX-512.

    python benchmarks/convolutions.py > convolutions.json
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from machine import machine, parser, spread  # before the project
from torch.profiler import ProfilerActivity, profile

from search_spaces import PUBLISHED, SPACES, Architecture
from trainers import convolution
from trainers.recipe import Recipe
from trainers.step_timer import RandomStep

NAMES = ("efficientnetv2-b0", "efficientnet-b0", "mnasnet-a1")


@contextmanager
def torchs_own() -> Iterator[None]:
    """Torch's convolutions alone."""
    before = convolution.is_faster
    convolution.is_faster = lambda case, ways: False
    try:
        yield
    finally:
        convolution.is_faster = before


def seconds(step: RandomStep, steps: int) -> float:
    begun = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - begun) / steps


def shares(step: RandomStep) -> dict[str, float]:
    """The five operators that most of a step goes to, with their shares of it."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        step()
    events = sorted(profiled.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return {event.key: round(event.self_cpu_time_total / total, 3) for event in events[:5]}


def measured(architecture: Architecture, image_size: int, n: int, batch_size: int) -> dict[str, Any]:
    recipe = Recipe(batch_size=batch_size)
    step = RandomStep(architecture, image_size, recipe, num_classes=10, in_channels=3, device=torch.device("cpu"))
    for _ in range(2):
        step()  # which asks which way is faster
    ratios, rates = [], []
    for _ in range(n):
        with torchs_own():
            usual = seconds(step, 2)
        chosen = seconds(step, 2)
        ratios.append(usual / chosen)
        rates.append(batch_size / chosen)
    with torchs_own():
        before = shares(step)
    return {
        "image_size": image_size,
        "times_as_fast": spread(ratios, 3),
        "images_per_second": spread(rates, 0),
        "torchs_own": before,
        "faster_way": shares(step),
    }


def main() -> None:
    options = parser("Measure the convolutions of small maps; prints JSON.", n=9)
    options.add_argument("--networks", type=int, default=8, help="networks drawn from the small space")
    options.add_argument("--image-sizes", default="32,64")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    about = {**machine(), "capability": torch.backends.cpu.get_cpu_capability()}
    space, rng = SPACES["small"], np.random.default_rng(0)
    networks = {name: PUBLISHED[name] for name in NAMES}
    networks |= {f"small {number}": space.decode(space.sample(rng)) for number in range(arguments.networks)}
    n, sizes, batch_size = arguments.n, [int(size) for size in arguments.image_sizes.split(",")], 128
    if arguments.quick:
        networks, n, sizes, batch_size = dict(list(networks.items())[-1:]), 2, [16], 8
    found: dict[str, list[dict[str, Any]]] = {}
    for name, architecture in networks.items():
        found[name] = [measured(architecture, size, n, batch_size) for size in sizes]
        print(name, [row["times_as_fast"]["median"] for row in found[name]], file=sys.stderr, flush=True)
    result = {"benchmark": "convolutions", "machine": about, "threads": 1, "batch_size": batch_size, "found": found}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
