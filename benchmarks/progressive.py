r"""Progressive learning against training at one size: accuracy, training time, and what the adaptation is worth.

The same network is trained on the same pictures by each schedule of `trainers/progressive.py`, with several seeds; a
seed's trainings begin with the same weights and go through the pictures in the same order, so differences are paired by
seed. Prints one JSON object: of each schedule the accuracy on held-out test pictures of the weights that were best on
the minival, the seconds of training (without evaluation) and the pixels trained on (what it costs on any machine), both
over those of `constant`; the differences with 95 % t-intervals, in fractions: of each to `constant`, of `paper` to
`resize` and of `random-adaptive` to `random` (EfficientNetV2, arXiv 2104.00298, Table 13: +.008 and +.007).

Each training is a folder in `--out`; started again, the same command goes on with what is not done, and so does one
with more seeds or schedules. On two cores:

    python benchmarks/progressive.py --epochs 30 --batch-size 128 --learning-rate 1 --out trainings > progressive.json

On a GPU:

    python benchmarks/progressive.py --architecture efficientnetv2-s --image-size 128 --smallest 56 --batch-size 256 \
        --epochs 60 --out trainings > progressive.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from machine import machine, spread  # before the project
from trained import described, in_points, interval, options, prepared, recipe_of, say, task_of, train_all

from trainers.devices import device_name, torch_device
from trainers.progressive import Progression, sizes_of
from trainers.recipe import Recipe

SCHEDULES = "constant,paper,resize"
PAIRS = (("paper", "resize"), ("random-adaptive", "random"))
"""A schedule, and the same without adaptation."""

LEAST_DIFFERENCE, MOST_TIME = -0.005, 0.6
"""The bars: the lower end of the interval of paper's accuracy less constant's; the mean of its time over constant's."""

Found = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""By schedule and seed, what `nas.studies.trained.trained` gives."""


def recipe_with(base: Recipe, schedule: str, arguments: argparse.Namespace) -> Recipe:
    """The recipe with a schedule, with the sizes and the strengths asked for."""
    named = Progression.parse(schedule)
    own = base.progression
    ranges = {name: getattr(arguments, name) or getattr(own, name) for name in ("randaugment", "mixup", "dropout")}
    progression = replace(
        own,
        kind=named.kind,
        share=named.share,
        stages=arguments.stages or own.stages,
        smallest=arguments.smallest,
        period_epochs=arguments.period,
        **ranges,
    )
    last = {name: given[1] for name, given in ranges.items() if given is not None}
    mixing = {name: last[name] for name in last if name != "dropout"}
    return replace(
        base,
        augmentation=replace(base.augmentation, **mixing),
        dropout=last.get("dropout", base.dropout),
        survival=arguments.survival or base.survival,
        image_size=arguments.image_size,
        eval_size=arguments.eval_size,
        smaller_sizes_larger_batches=arguments.larger_batches,
        progression=progression,
    )


def summary(found: Found) -> dict[str, Any]:
    """Each schedule's figures, the differences, and whether the bars are reached."""
    rows, constant = {}, found.get("constant")
    for name, by_seed in found.items():
        each = list(by_seed.values())
        rows[name] = {
            **{split: interval([one[split] for one in each]) for split in ("test", "minival")},
            "train_s": spread([one["train_s"] for one in each], 1),
            "best_epochs": [one["best_epoch"] for one in each],
            "waited_share": spread([one["waited_share"] for one in each], 4),
            "pictures_per_s": _rates(each),
        }
        if constant is not None:
            for cost in ("train_s", "pixels"):
                ratios = [one[cost] / constant[seed][cost] for seed, one in by_seed.items()]
                rows[name][f"{cost}_over_constant"] = interval(ratios)
    pairs = [(name, "constant") for name in found if name != "constant"] + list(PAIRS)
    differences = {
        f"{one} - {other}": {split: difference(found, one, other, split) for split in ("test", "minival")}
        for one, other in pairs
        if one in found and other in found
    }
    return {"schedules": rows, "differences": differences, "bars": bars(rows, differences)}


def difference(found: Found, one: str, other: str, split: str) -> dict[str, Any]:
    """One schedule's accuracy less another's, paired by seed."""
    return interval([found[one][seed][split] - found[other][seed][split] for seed in found[one]])


def bars(rows: Mapping[str, Any], differences: Mapping[str, Any]) -> dict[str, bool | None]:
    """Whether each is reached; None where the trainings do not tell."""
    to_constant, to_resize = (differences.get(f"paper - {other}") for other in ("constant", "resize"))
    low = None if to_constant is None else to_constant["test"]["low"]
    ratio = rows.get("paper", {}).get("train_s_over_constant")
    return {
        "accuracy_of_constant": None if low is None else low > LEAST_DIFFERENCE,
        "time_of_constant": None if ratio is None else ratio["mean"] <= MOST_TIME,
        "adaptive_above_resize": None if to_resize is None else to_resize["test"]["mean"] > 0,
        "adaptive_surely_above_resize": None
        if to_resize is None or to_resize["test"]["low"] is None
        else to_resize["test"]["low"] > 0,
    }


def _rates(each: list[Mapping[str, Any]]) -> dict[str, Any]:
    sizes = sorted({int(size) for one in each for size in one["pictures_per_s"]})
    return {str(s): spread([rate for one in each for rate in one["pictures_per_s"].get(str(s), [])], 1) for s in sizes}


def table(result: Mapping[str, Any]) -> str:
    lines = [f"{'schedule':22}{'test accuracy, %':26}{'seconds':>9}{'of constant':>13}{'its pixels':>13}"]
    for name, row in result["schedules"].items():
        ratios = [row.get(f"{cost}_over_constant", {}).get("mean") for cost in ("train_s", "pixels")]
        shares = "".join(f"{'' if ratio is None else f'{ratio:.3f}':>13}" for ratio in ratios)
        lines.append(f"{name:22}{in_points(row['test']):26}{row['train_s']['median']:9.0f}{shares}")
    lines += [f"{name}: {in_points(found['test'])} points" for name, found in result["differences"].items()]
    return "\n".join([*lines, *(f"{name}: {reached}" for name, reached in result["bars"].items())])


def numbers(text: str) -> tuple[float, float]:
    first, last = text.split("..")
    return float(first), float(last)


def asked() -> argparse.Namespace:
    made = options("Compare progressive learning with training at one size; prints JSON.", seeds=3)
    made.add_argument("--schedules", default=SCHEDULES, help="such as paper,random,fixres:0.75,released")
    made.add_argument("--image-size", type=int, default=96, help="side of the largest training pictures")
    made.add_argument("--eval-size", type=int, default=128, help="side of the evaluated pictures")
    made.add_argument("--smallest", type=int, default=40, help="side of the smallest pictures of those that grow")
    made.add_argument("--stages", type=int)
    made.add_argument("--period", type=float, default=1.0, help="epochs until a random size is drawn anew")
    made.add_argument("--randaugment", type=numbers, help="the magnitude's range, such as 5..15; the last if constant")
    made.add_argument("--mixup", type=numbers)
    made.add_argument("--dropout", type=numbers)
    made.add_argument("--survival", type=float)
    made.add_argument("--larger-batches", action="store_true", help="where pictures are small, as many as fit")
    arguments = made.parse_args()
    if arguments.quick:
        arguments.pictures, arguments.minival, arguments.epochs, arguments.n = 400, 100, 2, 2
        arguments.image_size, arguments.eval_size, arguments.smallest = 32, 32, 16
    return prepared(arguments)


def main() -> None:
    arguments = asked()
    about, base = machine(), recipe_of(arguments)
    schedules = [name.strip() for name in arguments.schedules.split(",")]
    tasks = {
        (name, seed): task_of(arguments, recipe_with(base, name, arguments), seed)
        for seed in range(arguments.n)  # so that a seed's trainings run side by side, or one after the other
        for name in schedules
    }
    folders = {key: f"{key[0].replace(':', '-')}-seed{key[1]}" for key in tasks}
    done = train_all(
        arguments.out,
        {folders[key]: task for key, task in tasks.items()},
        device=arguments.device,
        workers=arguments.workers,
    )
    found = {name: {seed: done[folders[name, seed]] for seed in range(arguments.n)} for name in schedules}
    result = {
        "benchmark": "progressive",
        "machine": about,
        "device": device_name(torch_device(arguments.device)),
        "workers": arguments.workers,
        "seeds": arguments.n,
        "training": described(tasks[schedules[0], 0]),
        "sizes": {name: sizes_of(tasks[name, 0].recipe) for name in schedules},
        "progressions": {name: str(tasks[name, 0].recipe.progression) for name in schedules},
        **summary(found),
        "trainings": found,
    }
    say(table(result))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
