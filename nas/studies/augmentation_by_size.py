"""Table 5 of EfficientNetV2 (arXiv 2104.00298) in small: the best strength of RandAugment by picture size.

The same network is trained at each size and each magnitude, the same throughout, and evaluated at the size it was
trained at. In the paper (ImageNet, three runs each) the strongest augmentation is the worst at 128 px and the best at
300 px, which is why progressive learning strengthens the regularisation as the pictures grow.
"""

from __future__ import annotations

from collections.abc import Sequence

from nas.studies.networks import like
from nas.studies.recipes import NETWORK, brief, fitted, seeds_of, trained_unlike_the_paper
from nas.studies.sizes import training_sizes
from nas.studies.steps import Train
from nas.studies.study import Conditions, Place, Results, Size, Study, Told
from results.analysis.claims import Claim, mean_interval
from results.analysis.panels import Mark, Panel

PAPER_SIDES = (128, 192, 300)
MAGNITUDES = (5, 10, 15)
PAPER = {
    (128, 5): (0.783, 0.0016), (128, 10): (0.780, 0.0008), (128, 15): (0.777, 0.0015),
    (192, 5): (0.812, 0.0006), (192, 10): (0.816, 0.0008), (192, 15): (0.815, 0.0005),
    (300, 5): (0.825, 0.0005), (300, 10): (0.827, 0.0008), (300, 15): (0.832, 0.0009),
}  # fmt: skip
"""Table 5: top-1 on ImageNet by side in pixels and magnitude, and what the paper prints behind its ±."""


def sides(largest: int) -> tuple[int, ...]:
    """The three sides, in pixels: in the paper's proportions, 128 and 192 to 300, of the largest."""
    return tuple(max(8, round(largest * side / PAPER_SIDES[-1] / 4) * 4) for side in PAPER_SIDES)


def steps(conditions: Conditions, size: Size, place: Place) -> Sequence[Train]:
    """A training for each side, magnitude and seed."""
    from dataclasses import replace

    from trainers.progressive import Progression

    largest, found = size["image_size"], []
    for seed in seeds_of(conditions, size):
        for side in sides(largest):
            for magnitude in MAGNITUDES:
                recipe = brief(size)
                recipe = replace(
                    recipe,
                    eval_size=side,
                    progression=Progression(kind="fixres", share=side / largest),
                    augmentation=replace(recipe.augmentation, randaugment=magnitude),
                )
                task = fitted(conditions, size, place, recipe, like(NETWORK, size["width"], largest), seed)
                found.append(Train(_name(side, magnitude, seed), task, size["pictures"]))
    return found


def told(conditions: Conditions, size: Size, results: Results) -> Told:
    """Accuracy by side and magnitude, and what the strongest is worth against the weakest at each side."""
    seeds = seeds_of(conditions, size)
    here = sides(size["image_size"])
    rows, panels, worth = [], [], {}
    for side, paper_side in zip(here, PAPER_SIDES, strict=True):
        marks = []
        for magnitude in MAGNITUDES:
            found = mean_interval([results[_name(side, magnitude, seed)]["test"] for seed in seeds])
            paper, around = PAPER[paper_side, magnitude]
            rows.append(
                {
                    "image_size": side,
                    "randaugment": magnitude,
                    "accuracy": found.mean,
                    "low": found.low,
                    "high": found.high,
                    "n": found.n,
                    "paper_image_size": paper_side,
                    "paper_accuracy": paper,
                    "paper_plus_minus": around,
                }
            )
            marks.append(Mark.of(f"magnitude {magnitude}", found, scale=100))
        panels.append(Panel(f"{side} px (paper: {paper_side} px)", "test accuracy, %", marks, within=(0.0, 100.0)))
        worth[side] = [
            results[_name(side, MAGNITUDES[-1], seed)]["test"] - results[_name(side, MAGNITUDES[0], seed)]["test"]
            for seed in seeds
        ]
    last, first = worth[here[-1]], worth[here[0]]
    strong, weak = MAGNITUDES[-1], MAGNITUDES[0]
    claims = [
        Claim(
            f"At {here[-1]} px magnitude {strong} is better than {weak}", mean_interval(last), "points", "+0.7 points"
        ),
        Claim(
            f"At {here[0]} px magnitude {weak} is better than {strong}",
            mean_interval([-value for value in first]),
            "points",
            "+0.6 points",
        ),
        Claim(
            f"Magnitude {strong} is worth more at {here[-1]} px than at {here[0]} px",
            mean_interval([a - b for a, b in zip(last, first, strict=True)]),
            "points",
            "+1.3 points",
        ),
    ]
    marks = []
    for side, paper_side in zip(here, PAPER_SIDES, strict=True):
        paper = PAPER[paper_side, strong][0] - PAPER[paper_side, weak][0]
        marks.append(Mark.of(f"{side} px", mean_interval(worth[side]), scale=100, paper=paper))
    panels.append(Panel(f"magnitude {strong} less magnitude {weak}", "points of accuracy", marks, none=0.0))
    return Told(table=rows, claims=claims, panels=panels, changed=changed(conditions, size, here))


def changed(conditions: Conditions, size: Size, here: Sequence[int]) -> list[str]:
    """What is not as in the paper."""
    return [
        f"pictures: {size['pictures'] - size['minival']:,} of {conditions.data}, not ImageNet's 1,281,167",
        f"sides of {', '.join(map(str, here))} px, not {', '.join(map(str, PAPER_SIDES))}",
        f"network: EfficientNetV2-B0 at {size['width']:g} of its width (epochs: {size['epochs']}); the paper does not "
        "name its network there",
        *trained_unlike_the_paper(size, runs=3),
    ]


def _name(side: int, magnitude: float, seed: int) -> str:
    return f"{side}px-magnitude{magnitude:g}-seed{seed}"


STUDY = Study(
    question="do larger pictures want stronger augmentation?",
    source="EfficientNetV2 (arXiv 2104.00298), Table 5",
    sizes=training_sizes,
    steps=steps,
    told=told,
)
