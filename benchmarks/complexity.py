"""Speed of the search spaces: sampling, decoding, encoding and mutating networks, and their closed-form cost.

Prints one JSON object: for each space, microseconds per call and the networks per second of `cost`, as the median
over the repeats with the smallest and the largest beside it; and how long counting a space takes from its choices.

    python benchmarks/complexity.py > speed.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces import IMAGE_SIZES, PUBLISHED, SPACES, SearchSpace, cost


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def seconds_per_call(call: Callable[[Any], object], arguments: Sequence[Any], repeats: int) -> list[float]:
    """One mean over all arguments per repeat, after a repeat that is not counted."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        for argument in arguments:
            call(argument)
        times.append((time.perf_counter() - started) / len(arguments))
    return times[1:]


def measure_space(name: str, n: int, repeats: int) -> dict[str, Any]:
    space = SPACES[name]
    genotypes = [space.sample(np.random.default_rng(i)) for i in range(n)]
    networks = [space.decode(genotype) for genotype in genotypes]
    rng = np.random.default_rng(0)
    calls: dict[str, tuple[Callable[[Any], object], Sequence[Any]]] = {
        "sample": (lambda _: space.sample(rng), genotypes),
        "decode": (space.decode, genotypes),
        "encode": (space.encode, networks),
        "mutate": (lambda genotype: space.mutate(genotype, rng), genotypes),
        "crossover": (lambda i: space.crossover(genotypes[i], genotypes[i - 1], rng), range(n)),
        "text": (str, networks),
    }
    size = IMAGE_SIZES[name].eval if name in IMAGE_SIZES else 32
    costs = seconds_per_call(lambda network: cost(network, size), networks, repeats)

    def count(_: int) -> int:
        return SearchSpace(space.name, space.backbone, space.choices).size

    return {
        "size": space.size,
        "image_size": size,
        "us_per_call": {
            call: spread([1e6 * t for t in seconds_per_call(*of, repeats)], 1) for call, of in calls.items()
        },
        "cost_per_s": spread([1 / t for t in costs], 0),
        "count_ms": spread([1e3 * t for t in seconds_per_call(count, range(1), repeats)]),
    }


def measure_network(name: str, n: int, repeats: int) -> dict[str, Any]:
    size = IMAGE_SIZES[name].eval
    times = seconds_per_call(lambda network: cost(network, size), [PUBLISHED[name]] * n, repeats)
    return {"image_size": size, "cost_per_s": spread([1 / t for t in times], 0)}


def machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    models = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return {
        "cpu": models[0].split(":", 1)[1].strip() if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the search spaces; prints JSON.")
    parser.add_argument("--n", type=int, default=2000, help="networks per repeat")
    parser.add_argument("--repeats", type=int, default=9, help="repeats behind each median")
    arguments = parser.parse_args()
    settings = {"n": arguments.n, "repeats": arguments.repeats}
    result = {
        "benchmark": "search_spaces",
        "machine": machine(),
        **settings,
        "spaces": {name: measure_space(name, **settings) for name in SPACES},
        "networks": {name: measure_network(name, **settings) for name in ("efficientnetv2-s", "efficientnetv2-l")},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
