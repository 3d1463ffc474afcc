"""The best strength of RandAugment by picture size: EfficientNetV2's Table 5 (arXiv 2104.00298) in small.

The same network is trained at each size and each magnitude, with several seeds, the size and the magnitude the same
throughout, and evaluated at the size it was trained at. Prints one JSON object: the accuracy on held-out test pictures
of the weights that were best on the minival, with 95 % t-intervals over the seeds; at each size the magnitude of the
highest mean, and the highest magnitude less the lowest, paired by seed. In the paper that is -.006 at its
smallest size and +.007 at its largest.

Each training is a folder in `--out`; started again, the same command goes on with what is not done.

    python benchmarks/randaugment_by_size.py --out trainings > randaugment_by_size.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from machine import machine  # before the project
from trained import described, in_points, interval, options, prepared, recipe_of, say, task_of, train_all

from trainers.devices import device_name, torch_device
from trainers.progressive import Progression
from trainers.recipe import Recipe

PAPER = {"128": {"5": 0.783, "10": 0.780, "15": 0.777}, "192": {"5": 0.812, "10": 0.816, "15": 0.815},
         "300": {"5": 0.825, "10": 0.827, "15": 0.832}}  # fmt: skip
"""Table 5 itself: ImageNet top-1, three runs each."""

Cell = tuple[int, float, int]
"""Side in pixels, magnitude, seed."""


def recipe_at(base: Recipe, size: int, magnitude: float, largest: int) -> Recipe:
    """The recipe at one size and one magnitude; pictures are kept at the largest, which all are cropped from."""
    return replace(
        base,
        image_size=largest,
        eval_size=size,
        progression=Progression(kind="fixres", share=size / largest),
        augmentation=replace(base.augmentation, randaugment=magnitude),
    )


def summary(found: Mapping[Cell, Mapping[str, Any]]) -> dict[str, Any]:
    """By size: each magnitude's accuracy, the best of them, and the highest less the lowest."""
    sizes, seeds = sorted({size for size, _, _ in found}), sorted({seed for _, _, seed in found})
    magnitudes = sorted({magnitude for _, magnitude, _ in found})

    def ends(size: int) -> list[float]:
        return [found[size, magnitudes[-1], s]["test"] - found[size, magnitudes[0], s]["test"] for s in seeds]

    rows = {}
    for size in sizes:
        accuracy = {m: interval([found[size, m, seed]["test"] for seed in seeds]) for m in magnitudes}
        rows[str(size)] = {
            "test": {f"{m:g}": accuracy[m] for m in magnitudes},
            "minival": {f"{m:g}": interval([found[size, m, seed]["minival"] for seed in seeds]) for m in magnitudes},
            "best": max(magnitudes, key=lambda m: accuracy[m]["mean"]),
            "highest_less_lowest": interval(ends(size)),
        }
    # by how much more strength is worth at the largest size than at the smallest; in the paper +.013
    grown = [last - first for first, last in zip(ends(sizes[0]), ends(sizes[-1]), strict=True)]
    return {"sizes": rows, "worth_of_strength_grows_by": interval(grown)}


def table(result: Mapping[str, Any]) -> str:
    first = next(iter(result["sizes"].values()))
    lines = [f"{'px':>5}  " + "".join(f"{'magnitude ' + m:26}" for m in first["test"]) + "highest less lowest"]
    for size, row in result["sizes"].items():
        cells = "".join(f"{in_points(found):26}" for found in row["test"].values())
        lines.append(f"{size:>5}  {cells}{in_points(row['highest_less_lowest'])}")
    return "\n".join([*lines, f"worth of strength grows by {in_points(result['worth_of_strength_grows_by'])} points"])


def asked() -> argparse.Namespace:
    made = options("Compare strengths of RandAugment at several picture sizes; prints JSON.", seeds=3)
    made.add_argument("--image-sizes", default="48,72,96")
    made.add_argument("--largest", type=int, default=128, help="side that pictures are kept at")
    made.add_argument("--magnitudes", default="5,10,15")
    arguments = made.parse_args()
    if arguments.quick:
        arguments.pictures, arguments.minival, arguments.epochs, arguments.n = 400, 100, 1, 2
        arguments.image_sizes, arguments.magnitudes, arguments.largest = "16,32", "5,15", 32
    return prepared(arguments)


def main() -> None:
    arguments = asked()
    about, base = machine(), recipe_of(arguments)
    sizes = [int(size) for size in arguments.image_sizes.split(",")]
    magnitudes = [float(magnitude) for magnitude in arguments.magnitudes.split(",")]
    tasks = {
        (size, m, seed): task_of(arguments, recipe_at(base, size, m, arguments.largest), seed)
        for seed in range(arguments.n)
        for size in sizes
        for m in magnitudes
    }
    names = {cell: f"{cell[0]}px-magnitude{cell[1]:g}-seed{cell[2]}" for cell in tasks}
    done = train_all(
        arguments.out,
        {names[cell]: task for cell, task in tasks.items()},
        device=arguments.device,
        workers=arguments.workers,
    )
    result = {
        "benchmark": "randaugment_by_size",
        "machine": about,
        "device": device_name(torch_device(arguments.device)),
        "workers": arguments.workers,
        "seeds": arguments.n,
        "training": described(tasks[sizes[-1], magnitudes[-1], 0]),
        **summary({cell: done[name] for cell, name in names.items()}),
        "paper": PAPER,
        "trainings": done,
    }
    say(table(result))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
