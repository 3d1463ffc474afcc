"""Table 2 of EfficientNetV2 (arXiv 2104.00298) in small: what smaller training pictures cost and save.

The same network is trained at 380/512 of a picture size and at the whole of it, and evaluated at the whole in both
cases. In the paper, EfficientNet-B6 is a little more accurate from the smaller pictures, and trains up to 2.2 times as
fast: in equal batches less, but a batch is larger that fits. Here the training step of B6 (of a narrower one where
time is short) is timed at both sizes, in equal batches; accuracy is that of a small network trained on the pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nas.studies.networks import in_width, like
from nas.studies.recipes import NETWORK, brief, fitted, seeds_of, timed, trained_unlike_the_paper
from nas.studies.sizes import at_share, timed_and_training_sizes
from nas.studies.steps import Compare, Train, times_as_fast
from nas.studies.study import Conditions, Place, Results, Size, Step, Study, Told
from results.analysis.claims import Claim, Interval, mean_interval, ratio_interval
from results.analysis.panels import Mark, Panel

TIMED = "efficientnet-b6"
PAPER_SIDES = (380, 512)
PAPER_ACCURACY = {380: 0.846, 512: 0.843}
PAPER_RATES: dict[
    int, dict[str, int | None]
] = {  # pictures a second in training, by device and batch; None is out of memory
    380: {"tpuv3_32": 76, "tpuv3_128": 93, "v100_12": 37, "v100_24": 52},
    512: {"tpuv3_32": 42, "tpuv3_128": None, "v100_12": 29, "v100_24": None},
}
"""Table 2: of a core of TPUv3 and of a V100."""

_COMPARED = "step-smaller-over-larger"


def sides(largest: int) -> tuple[int, int]:
    """The two sides in training, in pixels: in the paper's proportion, 380 to 512."""
    return round(largest * PAPER_SIDES[0] / PAPER_SIDES[1] / 4) * 4, largest


def timed_sides(size: Size) -> tuple[int, int]:
    """The two sides that B6 is timed at, in pixels."""
    smaller, larger = (at_share(side, size["timed_share"]) for side in PAPER_SIDES)
    return smaller, larger


def steps(conditions: Conditions, size: Size, place: Place) -> Sequence[Step]:
    """B6's step at both sizes, and trainings at each with each seed."""
    from dataclasses import replace

    from trainers.progressive import Progression

    largest, network = size["image_size"], like(NETWORK, size["width"], size["image_size"])
    recipe, (smaller_px, larger_px) = timed("imagenet-paper-s", size["timed_batch"]), timed_sides(size)
    b6 = like(TIMED, size["timed_width"], PAPER_SIDES[1])
    found: list[Step] = [Compare(_COMPARED, b6, b6, recipe, smaller_px, larger_px, None, size["blocks"])]
    for seed in seeds_of(conditions, size):
        for side in sides(largest):
            recipe = replace(
                brief(size), eval_size=largest, progression=Progression(kind="fixres", share=side / largest)
            )
            task = fitted(conditions, size, place, recipe, network, seed)
            found.append(Train(_name(side, seed), task, size["pictures"]))
    return found


def told(conditions: Conditions, size: Size, results: Results) -> Told:
    """Accuracy and pictures a second by the size in training."""
    seeds = seeds_of(conditions, size)
    here = smaller, larger = sides(size["image_size"])
    gave = {side: [results[_name(side, seed)] for seed in seeds] for side in here}
    tests = {side: [one["test"] for one in gave[side]] for side in here}
    step = results[_COMPARED]
    rows: list[Mapping[str, Any]] = []
    timed_at = zip(here, timed_sides(size), ("seconds", "anchor_seconds"), PAPER_SIDES, strict=True)
    for side, timed_side, seconds, paper in timed_at:
        accuracy = mean_interval(tests[side])
        rows.append(
            {
                "image_size": side,
                "accuracy": accuracy.mean,
                "low": accuracy.low,
                "high": accuracy.high,
                "n": accuracy.n,
                "train_s": sum(one["train_s"] for one in gave[side]) / accuracy.n,
                "b6_image_size": timed_side,
                "b6_images_per_s": size["timed_batch"] / step[seconds],
                "paper_image_size": paper,
                "paper_accuracy": PAPER_ACCURACY[paper],
                **{f"paper_images_per_s_{at}": rate for at, rate in PAPER_RATES[paper].items()},
            }
        )
    better = mean_interval([one - two for one, two in zip(tests[smaller], tests[larger], strict=True)])
    ratios = [two["train_s"] / one["train_s"] for one, two in zip(gave[smaller], gave[larger], strict=True)]
    faster, sooner = times_as_fast(step), ratio_interval(ratios)
    claims, panels = _claims(size, better, faster, sooner), _panels(here, better, faster, sooner)
    return Told(table=rows, claims=claims, panels=panels, changed=changed(conditions, size, here))


def _claims(size: Size, better: Interval, faster: Interval, sooner: Interval) -> list[Claim]:
    (smaller, larger), (smaller_px, larger_px) = sides(size["image_size"]), timed_sides(size)
    return [
        Claim(
            f"Training at {smaller} px is more accurate at {larger} px than training there",
            better,
            "points",
            "+0.3 points",
        ),
        Claim(
            f"EfficientNet-B6{in_width(size)} trains faster at {smaller_px} px than at {larger_px} px",
            faster,
            "times",
            "1.81 times (TPUv3, batches of 32), 1.28 times (V100, batches of 12); 2.2 times where the batch is the "
            "largest that fits (TPUv3)",
        ),
        Claim(f"The trainings at {smaller} px took less time than those at {larger} px", sooner, "times", "not told"),
    ]


def _panels(here: Sequence[int], better: Interval, faster: Interval, sooner: Interval) -> list[Panel]:
    smaller, larger = here
    return [
        Panel(
            f"training at {smaller} px less at {larger} px",
            "points of accuracy",
            [Mark.of("accuracy", better, scale=100, paper=PAPER_ACCURACY[380] - PAPER_ACCURACY[512])],
            none=0.0,
        ),
        Panel(
            "training speed",
            "times as fast as at the larger size",
            [
                Mark.of("B6 here", faster),
                Mark("B6, TPUv3, batches of 32", math.nan, math.nan, math.nan, paper=_paper_times("tpuv3_32")),
                Mark("B6, V100, batches of 12", math.nan, math.nan, math.nan, paper=_paper_times("v100_12")),
                Mark.of("the trainings here", sooner),
            ],
            none=1.0,
            log=True,
        ),
    ]


def _paper_times(at: str) -> float:
    smaller, larger = (PAPER_RATES[side][at] for side in PAPER_SIDES)
    assert smaller is not None
    assert larger is not None
    return smaller / larger


def changed(conditions: Conditions, size: Size, here: Sequence[int]) -> list[str]:
    """What is not as in the paper."""
    return [
        f"pictures: {size['pictures'] - size['minival']:,} of {conditions.data}, not ImageNet's 1,281,167",
        f"sides of {here[0]} and {here[1]} px, not {PAPER_SIDES[0]} and {PAPER_SIDES[1]}; both are evaluated at "
        f"{here[1]} px",
        f"accuracy is of EfficientNetV2-B0 at {size['width']:g} of its width (epochs: {size['epochs']}), not of "
        "EfficientNet-B6",
        f"B6{in_width(size)} timed on {conditions.device} in batches of {size['timed_batch']} at both sizes, "
        f"{timed_sides(size)[0]} and {timed_sides(size)[1]} px; the interval is of the pairs of blocks of one run",
        *trained_unlike_the_paper(size),
    ]


def _name(side: int, seed: int) -> str:
    return f"{side}px-seed{seed}"


STUDY = Study(
    question="what do smaller training pictures cost and save?",
    source="EfficientNetV2 (arXiv 2104.00298), Table 2",
    sizes=timed_and_training_sizes,
    steps=steps,
    told=told,
)
