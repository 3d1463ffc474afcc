"""What each lever gives in the training of a candidate on a CPU: the reference loop, and ours lever by lever.

Every network of `candidates_per_hour.py` is trained for an epoch of some batches and evaluated on as many pictures, on
one thread, in this process (the reference's DataLoader has its two processes besides). The ways take turns, so that
each ratio to the reference is one of neighbours in time. Ours begins with torch's own convolutions, its SGD as it
comes, memory given back to the system, and the step timed before the training; then, one after the other:

    fused       SGD's fused step
    convolution each convolution in the faster of two ways
    memory      what a step frees is kept
    timing      the steps of the training are timed, in alternation with the anchor's, in place of others before it

Prints one JSON object: for each way and network the times as fast as the reference, median (least to greatest), and the
median over the networks.

    python benchmarks/levers.py --data ../shared/data/cifar10_jpeg95_train.parquet > levers.json
"""

from __future__ import annotations

import ctypes
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from candidates_per_hour import encoded, networks, subset
from machine import machine, parser, spread
from reference_loop import ReferenceTask, torchs_own_convolutions

from search_spaces import SPACES, Architecture
from trainers import train
from trainers.augmentation import Augmentation
from trainers.data import load_data
from trainers.proxy import ProxyTask
from trainers.recipe import Recipe

WAYS = ("pictures in memory, varied as a batch", "fused", "convolution", "memory", "timing")
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1


@contextmanager
def levers(count: int) -> Iterator[None]:
    """The first `count` of `WAYS`, and the others off."""
    libc = ctypes.CDLL("libc.so.6")
    with ExitStack() as stack:
        if count < 2:
            sgd = torch.optim.SGD

            def usual(*arguments: Any, fused: bool = True, **options: Any) -> torch.optim.SGD:
                return sgd(*arguments, **options)

            stack.enter_context(mock.patch.object(train.torch.optim, "SGD", usual))
        if count < 3:
            stack.enter_context(torchs_own_convolutions())
        kept = count >= 4
        libc.mallopt(_MMAP_THRESHOLD, 2**30 if kept else 2**25)  # 32 and 64 MiB are what glibc settles at
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1 if kept else 2**26)
        if count < 5:
            stack.enter_context(mock.patch.object(ProxyTask, "_times_while_training", return_value=False))
        yield


def seconds(evaluate: Callable[[Architecture, int], Iterator[Any]], architecture: Architecture) -> float:
    begun = time.perf_counter()
    for _ in evaluate(architecture, 0):
        pass
    return time.perf_counter() - begun


def main() -> None:
    options = parser(__doc__.splitlines()[0], n=3)
    options.add_argument("--data", default="../shared/data/cifar10_jpeg95_train.parquet", help="a parquet file")
    options.add_argument("--image-size", type=int, default=32)
    options.add_argument("--pictures", type=int, default=5_000, help="to train on")
    options.add_argument("--minival", type=int, default=1_000)
    options.add_argument("--networks", type=int, default=8, help="drawn from the small space")
    arguments = options.parse_args()
    if arguments.quick:
        arguments.pictures, arguments.minival, arguments.networks, arguments.n = 300, 100, 1, 1
    about = machine()
    torch.set_num_threads(1)
    found: dict[str, dict[str, list[float]]] = {way: {} for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        path = subset(arguments.data, arguments.pictures, arguments.minival, Path(folder))
        data = load_data(str(path), image_size=arguments.image_size, minival=arguments.minival)
        recipe = Recipe(epochs=1, augmentation=Augmentation.parse("crop,flip"))
        reference = ReferenceTask(encoded(path, data), recipe)
        ours = ProxyTask(data, recipe, SPACES["small"].backbone, device="cpu")
        for name, text in networks(arguments.networks).items():
            architecture = Architecture.parse(text)
            with levers(len(WAYS)):
                seconds(ours, architecture)  # which asks which way is faster
            for _ in range(arguments.n):
                with levers(0):
                    usual = seconds(reference, architecture)
                for count, way in enumerate(WAYS, 1):
                    with levers(count):
                        found[way].setdefault(name, []).append(usual / seconds(ours, architecture))
            print(name, [round(statistics.median(found[way][name]), 2) for way in WAYS], file=sys.stderr, flush=True)
    result = {
        "benchmark": "levers",
        "machine": {**about, "capability": torch.backends.cpu.get_cpu_capability()},
        "settings": vars(arguments),
        "times_as_fast": {
            way: {
                "median_of_networks": round(statistics.median(map(statistics.median, by_network.values())), 3),
                "by_network": {name: spread(values) for name, values in by_network.items()},
            }
            for way, by_network in found.items()
        },
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
