"""How well the step time S, a ratio to the anchor's, holds still: on the machine as it is, and with a busy neighbour.

Prints one JSON object: for the small space's backbone (whose S is 1) and twelve networks spread over the space's
multiply-adds, S and the step's own seconds as the median of repeated measurements with their relative spread (largest
less smallest, over the median) and standard deviation, the width of the interval that is stored with S, and how long
a measurement took. All of it twice: as the machine is, and with another process that keeps one core busy. `moved` is
how far the medians moved between the two; `tau` how alike the two rank the networks.

A measurement is what a search records: a brief training of one thread whose own steps are timed beside the anchor's.
With `--steps-alone` it is `ProxyTask.time_step`, steps on random pictures, as calibrations and scaling take it.

    python benchmarks/step_time.py > step_time.json
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from machine import machine, parser, spread  # before the project
from scipy.stats import kendalltau

from nas.controllers.stratified import Stratified
from nas.problem import Problem
from nas.reward import REWARDS
from search_spaces import SPACES, Architecture
from trainers.data import Split, load_data
from trainers.proxy import ProxyTask
from trainers.recipe import Recipe
from trainers.timing import StepTime

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


Timed = Callable[[Architecture], StepTime]


def timed(way: Timed, network: Architecture) -> tuple[StepTime, float]:
    """A step time, and the seconds it took to measure."""
    begun = time.perf_counter()
    found = way(network)
    return found, time.perf_counter() - begun


def in_training(task: ProxyTask, network: Architecture) -> StepTime:
    """The step time that a search would record of a network."""
    *_, last = task(network, 0)
    values = (last.step_time, last.step_time_low, last.step_time_high, last.step_time_s)
    ratio, low, high, seconds = (value for value in values if value is not None)
    return StepTime(ratio, low, high, seconds, seconds / ratio)


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Of the networks beside the backbone: the medians of their spreads."""
    names = ("S_relative_spread", "S_deviation", "step_relative_spread")
    found = {name: round(statistics.median(row[name] for row in rows[1:]), 4) for name in names}
    return {**found, "timing_s": round(statistics.median(row["timing_s"]["median"] for row in rows[1:]), 2)}


def measure(way: Timed, networks: list[Architecture], n: int) -> list[dict[str, Any]]:
    """The repeats go round the networks, so that a drift of the machine reaches all of them."""
    rounds = [[timed(way, network) for network in networks] for _ in range(n)]
    found = []
    for network, repeats in zip(networks, zip(*rounds, strict=True), strict=True):
        times = [t for t, _ in repeats]
        ratios, seconds = [t.ratio for t in times], [t.seconds for t in times]
        found.append(
            {
                "architecture": str(network),
                "S": spread(ratios, 4),
                "S_relative_spread": relative_spread(ratios),
                "S_deviation": round(statistics.stdev(ratios) / statistics.fmean(ratios), 4),
                "interval_width": spread([(t.high - t.low) / t.ratio for t in times], 4),
                "timing_s": spread([s for _, s in repeats], 2),
                "step_ms": spread([1e3 * s for s in seconds], 2),
                "step_relative_spread": relative_spread(seconds),
            }
        )
    return found


def main() -> None:
    options = parser("Measure the step time's repeatability; prints JSON.", n=5)
    options.add_argument("--networks", type=int, default=12, help="networks beside the backbone")
    options.add_argument("--steps-alone", action="store_true", help="steps on random pictures, without a training")
    options.add_argument("--pictures", type=int, default=1500, help="that each training is of, three times each")
    arguments = options.parse_args()
    count, n = (1, 2) if arguments.quick else (arguments.networks, arguments.n)
    drawn = Stratified(SPACE, Problem(SPACE, REWARDS["accuracy"], 32).features, seed=0)
    networks = [SPACE.backbone, *(SPACE.decode(genotype) for _ in range(count) if (genotype := drawn.ask()))]
    about = machine()
    torch.set_num_threads(1)  # as a worker of a search on a CPU has
    data = load_data("mnist5k", image_size=32, minival=1000)
    kept = np.arange(min(arguments.pictures, data.sizes["train"]))
    data = replace(data, train=Split(data.train.images[kept], data.train.labels[kept]))
    task = ProxyTask(data, Recipe(epochs=3), SPACE.backbone)
    way: Timed = task.time_step if arguments.steps_alone else partial(in_training, task)
    way(SPACE.backbone)  # to warm up
    alone = measure(way, networks, n)
    with busy_neighbour():
        beside = measure(way, networks, n)
    pairs = list(zip(alone, beside, strict=True))
    ranked = [[row["S"]["median"] for row in rows[1:]] for rows in (alone, beside)]
    tau = float(kendalltau(*ranked).statistic) if count > 1 else None
    result = {
        "benchmark": "step_time",
        "machine": about,
        "device": task.describe()["device"],
        "batch_size": task.recipe.batch_size,
        "n": n,
        "way": "steps alone" if arguments.steps_alone else "in training",
        "alone": alone,
        "beside_a_busy_process": beside,
        "summary": {"alone": summary(alone), "beside_a_busy_process": summary(beside)},
        "tau": tau,
        "moved": {
            "S": spread([b["S"]["median"] / a["S"]["median"] for a, b in pairs], 3),
            "step_ms": spread([b["step_ms"]["median"] / a["step_ms"]["median"] for a, b in pairs], 3),
        },
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
