"""Does scaling by measured cost beat the uniform rule? At equal step time: how many macs and params, what accuracy.

At each scale, a baseline is grown by the uniform rule, then by measured cost to the step time of that, and the two are
timed against each other pair by pair (the second is grown again where they are more than 3 % apart). Both are then
trained by one recipe with several seeds. Prints one JSON object.

    python benchmarks/measured_scaling.py --data train.parquet --test-data test.parquet > measured_scaling.json

Takes an hour and more on two cores; `--no-training` leaves the accuracies out.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from machine import machine, parser  # before the project

from nas.scaling.measured import efficiencies, measured
from nas.scaling.scaled import Scaled
from nas.scaling.targets import TOLERANCE, Target
from nas.scaling.uniform import compound
from search_spaces import PUBLISHED, Architecture, cost
from trainers.data import load_data
from trainers.device_data import on_device, split_for
from trainers.network import build_network
from trainers.recipe import Recipe
from trainers.step_timer import StepTimer
from trainers.timing import StepTime
from trainers.train import accuracy, train_epochs

NETWORK = "efficientnetv2-b0"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def timer_of(network: Scaled, arguments: Any) -> StepTimer:
    recipe = Recipe(batch_size=arguments.batch_size)
    return StepTimer(
        network.architecture, network.image_size, recipe, num_classes=10, device=arguments.device, blocks=arguments.n
    )


def matched(base: Architecture, phi: float, arguments: Any) -> tuple[Scaled, Scaled, StepTime, dict[str, Any]]:
    """The uniform member, the measured one of its step time, the second over the first pair by pair, and the search."""
    size = arguments.image_size
    timer = timer_of(Scaled("baseline", base, size, size), arguments)
    asked = 0

    def price(architecture: Architecture, image_size: int) -> float:
        nonlocal asked
        asked += 1
        return timer(architecture, image_size).ratio

    uniform = compound(base, size, phi, guard=False)
    begun = time.perf_counter()
    tilt = efficiencies(base, size, price)
    target = price(uniform.architecture, uniform.image_size)
    against = timer_of(uniform, arguments)
    best: tuple[float, Scaled, StepTime] | None = None
    for _ in range(4):
        try:
            member = measured(base, size, Target("step_time", target, True), price, efficiency=tilt)
        except ValueError as error:  # between two members
            say(str(error))
            target *= 1.01
            continue
        pair = statistics.median_low([against(member.architecture, member.image_size) for _ in range(3)])
        say(f"phi {phi:g}: {pair.ratio:.3f} of the uniform member's step")
        distance = abs(pair.ratio - 1)
        if best is None or distance < best[0]:
            best = (distance, member, pair)
        if distance <= TOLERANCE / 2:
            break
        target /= pair.ratio
    assert best is not None, "no member has this step time"
    search = {"networks_timed": asked, "seconds": round(time.perf_counter() - begun), "efficiencies": repr(tilt)}
    return uniform, best[1], best[2], search


def train(architecture: str, image_size: int, seed: int, options: dict[str, Any]) -> dict[str, float]:
    """Accuracy on the minival and on the test pictures after a brief training; runs in a process of its own."""
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() and options["device"] != "cpu" else "cpu")
    data = load_data(
        options["data"], test_source=options["test_data"], image_size=image_size, minival=options["minival"], seed=0
    )
    moved = on_device(data, device)
    test = split_for(data.test, device)
    torch.manual_seed(seed)
    network = build_network(
        Architecture.parse(architecture),
        len(data.class_names),
        data.in_channels,
        generator=torch.Generator().manual_seed(seed),
    ).to(device, memory_format=torch.channels_last)
    recipe = Recipe(epochs=options["epochs"], batch_size=options["batch_size"])
    for _ in train_epochs(network, moved, recipe, seed):
        pass
    return {"minival": accuracy(network, moved.minival, moved), "test": accuracy(network, test, moved)}


def accuracies(members: dict[str, Scaled], arguments: Any) -> dict[str, Any]:
    """Each member trained with each seed, two at a time."""
    options = {k: vars(arguments)[k] for k in ("data", "test_data", "minival", "epochs", "batch_size", "device")}
    jobs = [(name, seed) for seed in range(arguments.seeds) for name in members]
    found: dict[str, Any] = {name: {"minival": [], "test": []} for name in members}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, mp_context=spawn) as pool:
        asked = [
            pool.submit(train, str(members[name].architecture), members[name].image_size, seed, options)
            for name, seed in jobs
        ]
        for (name, seed), future in zip(jobs, asked, strict=True):
            for split, value in future.result().items():
                found[name][split].append(round(value, 4))
            say(f"{name}, seed {seed}: {future.result()}")
    return {
        name: {split: {"mean": round(statistics.mean(v), 4), "each": v} for split, v in both.items()}
        for name, both in found.items()
    }


def described(member: Scaled, base: Architecture, base_size: int) -> dict[str, Any]:
    now = cost(member.architecture, member.image_size, num_classes=10)
    before = cost(base, base_size, num_classes=10)
    growth = {f"{name}_growth": round(a / b, 3) for name, a, b in zip(now._fields, now, before, strict=True)}
    return {"architecture": str(member.architecture), "image_size": member.image_size, **now._asdict(), **growth}


def main() -> None:
    options = parser("Compare measured with uniform scaling at equal step time; prints JSON.", n=9)
    options.add_argument("--data", default="mnist5k")
    options.add_argument("--test-data")
    options.add_argument("--minival", type=int, default=300)
    options.add_argument("--epochs", type=int, default=10)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--phi", default="0.75,1.5", help="the uniform rule's exponents to compare at")
    options.add_argument("--image-size", type=int, default=64, help="of the baseline")
    options.add_argument("--batch-size", type=int, default=32)
    options.add_argument("--device", default="auto")
    options.add_argument("--workers", type=int, default=2, help="trainings at a time")
    options.add_argument("--no-training", action="store_true")
    arguments = options.parse_args()
    if arguments.quick:
        arguments.epochs, arguments.seeds, arguments.phi, arguments.image_size, arguments.n = 1, 1, "0.5", 32, 3
    about, base = machine(), PUBLISHED[NETWORK]
    scales: list[dict[str, Any]] = []
    members: list[dict[str, Scaled]] = []
    for phi in map(float, arguments.phi.split(",")):
        uniform, member, pair, search = matched(base, phi, arguments)
        ours, theirs = (described(m, base, arguments.image_size) for m in (member, uniform))
        scales.append(
            {
                "phi": phi,
                "uniform": theirs,
                "measured": {**ours, "rules": member.rules},
                "step_time_measured_over_uniform": pair._asdict(),
                **{f"{k}_measured_over_uniform": round(ours[k] / theirs[k], 3) for k in ("macs", "params")},
                "search": search,
            }
        )
        members.append({"uniform": uniform, "measured": member})
        say(json.dumps(scales[-1]))
    for scale, both in zip(scales, members, strict=True):  # after all timing, which wants a quiet machine
        if not arguments.no_training:
            scale["accuracy"] = accuracies(both, arguments)
    settings = {"network": NETWORK, **vars(arguments)}
    result = {"benchmark": "measured_scaling", "machine": about, "settings": settings, "scales": scales}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
