"""Table 13 of EfficientNetV2 (arXiv 2104.00298) in small: what it is worth that regularisation follows the size.

The same network is trained with pictures that grow and with pictures of random sizes, each with regularisation of full
strength throughout and with one that follows the size. In the paper (ImageNet, three runs each) adaptation gains .8
and .7 points.
"""

from __future__ import annotations

from collections.abc import Sequence

from nas.studies.networks import like
from nas.studies.recipes import (
    NETWORK,
    fitted,
    scheduled,
    scheduled_unlike_the_paper,
    seeds_of,
    trained_unlike_the_paper,
)
from nas.studies.sizes import training_sizes
from nas.studies.steps import Train
from nas.studies.study import Conditions, Place, Results, Size, Study, Told
from results.analysis.claims import Claim, mean_interval
from results.analysis.panels import Mark, Panel

PAIRS = {"progressive resize": ("resize", "paper"), "random resize": ("random", "random-adaptive")}
"""By what the paper calls it: the schedule without adaptation, and with it."""

PAPER = {"resize": (0.843, 0.0014), "paper": (0.851, 0.0007), "random": (0.835, 0.0011),
         "random-adaptive": (0.842, 0.0010)}  # fmt: skip
"""Table 13: top-1 on ImageNet by schedule, and what the paper prints behind its ±."""

PERIODS = 350 / 8
"""Random sizes that the paper draws in a training: one for every 8 of the 350 epochs."""


def period_epochs(epochs: int) -> float:
    """Epochs with the same random size: the paper's share of the training, and one at the least."""
    return max(1.0, epochs / PERIODS)


def steps(conditions: Conditions, size: Size, place: Place) -> Sequence[Train]:
    """A training for each seed and schedule."""
    network, period = like(NETWORK, size["width"], size["image_size"]), period_epochs(size["epochs"])
    return [
        Train(
            _name(schedule, seed),
            fitted(conditions, size, place, scheduled(size, schedule, period_epochs=period), network, seed),
            size["pictures"],
        )
        for seed in seeds_of(conditions, size)
        for schedule in PAPER
    ]


def told(conditions: Conditions, size: Size, results: Results) -> Told:
    """Accuracy with and without adaptation, and what it is worth, paired by seed."""
    test = {
        schedule: [results[_name(schedule, seed)]["test"] for seed in seeds_of(conditions, size)] for schedule in PAPER
    }
    found = {schedule: mean_interval(values) for schedule, values in test.items()}
    rows, claims, accuracies, worth = [], [], [], []
    for name, pair in PAIRS.items():
        for schedule, adapts in zip(pair, ("no", "yes"), strict=True):
            of_paper, around = PAPER[schedule]
            rows.append(
                {
                    "sizes": name,
                    "adaptive": adapts,
                    "accuracy": found[schedule].mean,
                    "low": found[schedule].low,
                    "high": found[schedule].high,
                    "n": found[schedule].n,
                    "paper_accuracy": of_paper,
                    "paper_plus_minus": around,
                }
            )
            accuracies.append(Mark.of(f"{name}{', adaptive' * (adapts == 'yes')}", found[schedule], scale=100))
        without, adapted = pair
        gained = mean_interval([a - b for a, b in zip(test[adapted], test[without], strict=True)])
        paper = PAPER[adapted][0] - PAPER[without][0]
        claims.append(Claim(f"Adaptation gains accuracy in {name}", gained, "points", f"{100 * paper:+.1f} points"))
        worth.append(Mark.of(name, gained, scale=100, paper=paper))
    panels = [
        Panel("accuracy", "test accuracy, %", accuracies, within=(0.0, 100.0)),
        Panel("what adaptation gains", "points of accuracy", worth, none=0.0),
    ]
    return Told(table=rows, claims=claims, panels=panels, changed=changed(conditions, size))


def changed(conditions: Conditions, size: Size) -> list[str]:
    """What is not as in the paper."""
    return [
        *scheduled_unlike_the_paper(conditions, size),
        f"network: EfficientNetV2-B0 at {size['width']:g} of its width",
        _drawn(size["epochs"]),
        *trained_unlike_the_paper(size, runs=3),
    ]


def _drawn(epochs: int) -> str:
    """How often a random size is drawn."""
    period, share = period_epochs(epochs), "every 8 of 350 epochs"
    if period > 1:
        return f"a random size is drawn every {period:.3g} of {epochs} epochs, the paper's share ({share})"
    return f"a random size is drawn every epoch, in all {epochs}; in the paper {share}, in all {PERIODS:.0f}"


def _name(schedule: str, seed: int) -> str:
    return f"{schedule}-seed{seed}"


STUDY = Study(
    question="what is it worth that regularisation follows the picture size?",
    source="EfficientNetV2 (arXiv 2104.00298), Table 13",
    sizes=training_sizes,
    steps=steps,
    told=told,
)
