"""How well the step time S, a ratio to the anchor's, holds still: on the machine as it is, and with a busy neighbour.

Prints one JSON object: for the small space's backbone (whose S is 1) and some networks drawn from the space, S and
the step's own seconds as the median of repeated measurements with their relative spread (largest less smallest, over
the median), and the width of the interval that is stored with S. All of it twice: as the machine is, and with another
process that keeps one core busy. `moved` is how far the medians moved between the two.

    python benchmarks/step_time.py > step_time.json
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from machine import machine, parser, spread  # before the project

from search_spaces import SPACES, Architecture
from trainers.data import load_data
from trainers.proxy import ProxyTask
from trainers.recipe import Recipe

SPACE = SPACES["small"]


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """Another process that keeps one core busy, until this one is over."""
    code = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def relative_spread(values: list[float]) -> float:
    return round((max(values) - min(values)) / statistics.median(values), 4)


def measure(task: ProxyTask, networks: list[Architecture], n: int) -> list[dict[str, Any]]:
    """The repeats go round the networks, so that a drift of the machine reaches all of them."""
    rounds = [[task.time_step(network) for network in networks] for _ in range(n)]
    found = []
    for network, timed in zip(networks, zip(*rounds, strict=True), strict=True):
        ratios, seconds = [t.ratio for t in timed], [t.seconds for t in timed]
        found.append(
            {
                "architecture": str(network),
                "S": spread(ratios, 4),
                "S_relative_spread": relative_spread(ratios),
                "interval_width": spread([(t.high - t.low) / t.ratio for t in timed], 4),
                "step_ms": spread([1e3 * s for s in seconds], 2),
                "step_relative_spread": relative_spread(seconds),
            }
        )
    return found


def main() -> None:
    options = parser("Measure the step time's repeatability; prints JSON.", n=7)
    options.add_argument("--networks", type=int, default=6, help="networks drawn, beside the backbone")
    arguments = options.parse_args()
    count, n = (1, 2) if arguments.quick else (arguments.networks, arguments.n)
    rng = np.random.default_rng(0)
    networks = [SPACE.backbone, *(SPACE.decode(SPACE.sample(rng)) for _ in range(count))]
    about = machine()
    task = ProxyTask(load_data("mnist5k", image_size=32), Recipe(), SPACE.backbone)
    task.time_step(SPACE.backbone)  # to warm up
    alone = measure(task, networks, n)
    with busy_neighbour():
        beside = measure(task, networks, n)
    pairs = list(zip(alone, beside, strict=True))
    result = {
        "benchmark": "step_time",
        "machine": about,
        "device": task.describe()["device"],
        "batch_size": task.recipe.batch_size,
        "n": n,
        "alone": alone,
        "beside_a_busy_process": beside,
        "moved": {
            "S": spread([b["S"]["median"] / a["S"]["median"] for a, b in pairs], 3),
            "step_ms": spread([b["step_ms"]["median"] / a["step_ms"]["median"] for a, b in pairs], 3),
        },
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
