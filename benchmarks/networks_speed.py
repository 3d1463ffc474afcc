"""V1 against V2 networks trained equally: Tables 10 and 11 of EfficientNetV2 (arXiv 2104.00298) as ratios, here.

Prints one JSON object: for each pair of published networks the training step of both at the same picture size, batch
and optimiser, and the forward pass of each at the size it is evaluated at, timed in alternation in one run: how many
times as fast V2 is (median over the pairs of blocks with its 95 % bootstrap interval), the seconds, pictures a second,
params and macs; beside them the paper's ratios. In the paper, Table 10 is hours of the same training on TPUv3 and
latency on a V100, Table 11 pictures a second on a V100.

    python benchmarks/networks_speed.py --size 128 --batch-size 8 > networks_speed.json
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from machine import machine, parser  # before the project
from trained import say

from search_spaces import IMAGE_SIZES, PUBLISHED, cost
from trainers.devices import device_name, torch_device
from trainers.recipes import RECIPES
from trainers.step_timer import StepTimer
from trainers.timing import StepTime


class Pair(NamedTuple):
    """Two networks of much the same accuracy, and how many times as fast the paper finds the second.

    Attributes:
        paper_training: by its hours of training; None where they are not told.
        paper_pass: by its latency (Table 10) or pictures a second (Table 11).
    """

    v1: str
    v2: str
    paper_training: float | None
    paper_pass: float


PAIRS = (
    Pair("efficientnet-b1", "efficientnetv2-b0", None, 5739 / 2675),  # Table 11
    Pair("efficientnet-b2", "efficientnetv2-b1", None, 3983 / 2003),
    Pair("efficientnet-b4", "efficientnetv2-b3", None, 1693 / 628),
    Pair("efficientnet-b5", "efficientnetv2-s", None, 901 / 291),
    Pair("efficientnet-b7", "efficientnetv2-m", 54 / 13, 170 / 57),  # Table 10
)


def described(name: str, size: int, seconds: float, batch_size: int) -> dict[str, Any]:
    known = cost(PUBLISHED[name], size)
    return {
        "network": name,
        "image_size": size,
        "params": known.params,
        "macs": known.macs,
        "seconds": round(seconds, 5),
        "pictures_per_s": round(batch_size / seconds, 2),
    }


def compared(pair: Pair, sizes: tuple[int, int], found: StepTime, batch_size: int) -> dict[str, Any]:
    """How many times as fast V2 is, and both networks; `found` is of V2 with V1 as its anchor."""
    return {
        "times_as_fast": round(1 / found.ratio, 3),
        "low": round(1 / found.high, 3),
        "high": round(1 / found.low, 3),
        "n": len(found.samples),
        "v1": described(pair.v1, sizes[0], found.anchor_seconds, batch_size),
        "v2": described(pair.v2, sizes[1], found.seconds, batch_size),
    }


def measured(pair: Pair, size: int | None, batch_size: int, *, n: int, device: str) -> dict[str, Any]:
    """One pair; where no size is asked for, both train at V2's and each is evaluated at its own."""
    recipe = replace(RECIPES["imagenet-paper-s"](), batch_size=batch_size)
    training = size or IMAGE_SIZES[pair.v2].train
    passing = (size or IMAGE_SIZES[pair.v1].eval, size or IMAGE_SIZES[pair.v2].eval)
    first, second = PUBLISHED[pair.v1], PUBLISHED[pair.v2]
    timer = StepTimer(first, training, recipe, device=device, blocks=n)
    step = compared(pair, (training, training), timer(second, training), batch_size)
    del timer  # its network, with the optimiser's state
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    timer = StepTimer(first, passing[0], recipe, device=device, blocks=n)
    inference = compared(pair, passing, timer.latency(second, passing[1], batch_size), batch_size)
    paper = {"training": pair.paper_training, "pass": round(pair.paper_pass, 2)}
    if pair.paper_training is not None:
        paper["training"] = round(pair.paper_training, 2)
    return {"training": step, "pass": inference, "paper_times_as_fast": paper}


def table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'':38}{'px':>5}{'training: times as fast':>26}{'paper':>7}{'pass: times as fast':>24}{'paper':>7}"]
    for row in rows:
        step, passing, paper = row["training"], row["pass"], row["paper_times_as_fast"]
        told = [f"{x['times_as_fast']:.2f} ({x['low']:.2f} to {x['high']:.2f})" for x in (step, passing)]
        names = f"{step['v2']['network']} / {step['v1']['network']}"
        training = "" if paper["training"] is None else f"{paper['training']:.2f}"
        lines.append(
            f"{names:38}{step['v2']['image_size']:5}{told[0]:>26}{training:>7}{told[1]:>24}{paper['pass']:7.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    options = parser("Time V1 and V2 networks against each other; prints JSON.", n=9)
    options.add_argument("--size", type=int, help="side of all pictures; else V2's published one, and each its own")
    options.add_argument("--batch-size", type=int, default=8)
    options.add_argument("--pairs", help="of these V2 networks, separated by commas; all by default")
    options.add_argument("--device", default="auto")
    arguments = options.parse_args()
    if arguments.quick:
        arguments.n, arguments.size, arguments.batch_size, arguments.pairs = 2, 64, 2, "efficientnetv2-b0"
    names = [pair.v2 for pair in PAIRS] if arguments.pairs is None else arguments.pairs.split(",")
    if unknown := [name for name in names if name not in {pair.v2 for pair in PAIRS}]:
        options.error(f"--pairs must be some of {', '.join(pair.v2 for pair in PAIRS)}; got {', '.join(unknown)}")
    about, rows = machine(), []
    for pair in PAIRS:
        if pair.v2 in names:
            rows.append(measured(pair, arguments.size, arguments.batch_size, n=arguments.n, device=arguments.device))
            say(table(rows[-1:]))
    result = {
        "benchmark": "networks_speed",
        "machine": about,
        "device": device_name(torch_device(arguments.device)),
        "batch_size": arguments.batch_size,
        "n": arguments.n,
        "rows": rows,
    }
    say(table(rows))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
