"""Table 12 of EfficientNetV2 (arXiv 2104.00298) in small: progressive learning against training at one size.

Each network is trained by both schedules: at the largest size and full strength throughout, and from small pictures
with weak regularisation to large ones with strong (Algorithm 1). A seed's trainings begin with the same weights, so
that differences are paired by seed. In the paper all five networks gain accuracy, in 29 to 65 % less time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nas.studies.networks import like
from nas.studies.recipes import fitted, scheduled, scheduled_unlike_the_paper, seeds_of, trained_unlike_the_paper
from nas.studies.sizes import training_sizes
from nas.studies.steps import Train
from nas.studies.study import Conditions, Place, Results, Size, Study, Told
from results.analysis.claims import Claim, Interval, mean_interval, ratio_interval
from results.analysis.panels import Mark, Panel
from search_spaces import Architecture

PAPER = {
    "ResNet-50 (224 px)": ((0.781, 4.9), (0.784, 3.5)),
    "ResNet-50 (380 px)": ((0.800, 14.3), (0.803, 5.8)),
    "ResNet-152 (380 px)": ((0.824, 15.5), (0.829, 7.2)),
    "EfficientNet-B4": ((0.829, 20.8), (0.831, 9.4)),
    "EfficientNet-B5": ((0.837, 42.9), (0.840, 15.2)),
}
"""Table 12: top-1 on ImageNet and hours of training, at one size and by progressive learning."""

PUBLISHED_AS = {"V2-like": "efficientnetv2-b0", "V1-like": "efficientnet-b0"}
"""What is trained at a share of its width, by what it is called here."""

OWN = "own"
"""What the trainings of the user's network are called."""

SCHEDULES = ("constant", "paper")

_SAYS = {
    "V2-like": ("+0.2 to +0.5 points, of five networks of which none is V2", "1.4 to 2.8 times"),
    "V1-like": ("+0.2 points (EfficientNet-B4), +0.3 (B5)", "2.2 times (EfficientNet-B4), 2.8 (B5)"),
    OWN: ("+0.2 to +0.5 points, of five networks", "1.4 to 2.8 times"),
}
"""Of Table 12, by the network that it is put beside: the accuracy gained, and the hours at one size over those of
progressive learning."""


def networks(conditions: Conditions, size: Size) -> dict[str, Architecture | str]:
    """What is trained, by what it is called."""
    found: dict[str, Architecture | str] = {
        name: like(published, size["width"], size["image_size"]) for name, published in PUBLISHED_AS.items()
    }
    return found if conditions.model is None else found | {OWN: conditions.model}


def steps(conditions: Conditions, size: Size, place: Place) -> Sequence[Train]:
    """A training for each seed, network and schedule; two to be compared follow each other."""
    return [
        Train(
            _name(name, schedule, seed),
            fitted(conditions, size, place, scheduled(size, schedule), network, seed),
            size["pictures"],
        )
        for seed in seeds_of(conditions, size)
        for name, network in networks(conditions, size).items()
        for schedule in SCHEDULES
    ]


def told(conditions: Conditions, size: Size, results: Results) -> Told:
    """Of each network the accuracies, their difference, and the time and pixels over those at one size."""
    rows, claims, differences, shares = [], [], [], []
    for name in networks(conditions, size):
        pairs = [
            (results[_name(name, "constant", seed)], results[_name(name, "paper", seed)])
            for seed in seeds_of(conditions, size)
        ]
        gained = mean_interval([paper["test"] - constant["test"] for constant, paper in pairs])
        time = ratio_interval([paper["train_s"] / constant["train_s"] for constant, paper in pairs])
        pixels = pairs[0][1]["pixels"] / pairs[0][0]["pixels"]
        accuracies = [mean_interval([pair[which]["test"] for pair in pairs]).mean for which in (0, 1)]
        label = str(conditions.model).rpartition("/")[2] if name == OWN else name
        rows.append(_row(label, accuracies, gained, time, pixels))
        claims += _claims(name, label, gained, time)
        differences.append(Mark.of(label, gained, scale=100))
        shares.append(Mark.of(f"{label} ({pixels:.2f} of the pixels)", time))
    for label, ((accuracy, hours), (progressive, fewer)) in PAPER.items():
        gained, time = _alone(progressive - accuracy), _alone(fewer / hours)
        rows.append({**_row(f"{label}, in the paper", (accuracy, progressive), gained, time, None), "n": None})
        differences.append(_of_paper(label, 100 * gained.mean))
        shares.append(_of_paper(label, time.mean))
    panels = [
        Panel("what progressive learning gains", "points of accuracy", differences, none=0.0),
        Panel("what it costs", "time of training, over that at one size", shares, none=1.0, log=True),
    ]
    return Told(table=rows, claims=claims, panels=panels, changed=changed(conditions, size))


def changed(conditions: Conditions, size: Size) -> list[str]:
    """What is not as in the paper."""
    return [
        *scheduled_unlike_the_paper(conditions, size),
        f"networks: EfficientNetV2-B0 and EfficientNet-B0 at {size['width']:g} of their width"
        + ("" if conditions.model is None else f", and {conditions.model}")
        + "; the paper has no V2 network in this table",
        "times are seconds of training on this device without evaluation, beside other trainings where there were "
        "workers for them; the paper's are hours",
        *trained_unlike_the_paper(size),
    ]


def _row(
    label: str, accuracies: Sequence[float], gained: Interval, time: Interval, pixels: float | None
) -> Mapping[str, Any]:
    return {
        "network": label,
        "accuracy_constant": accuracies[0],
        "accuracy_progressive": accuracies[1],
        "difference": gained.mean,
        "difference_low": gained.low,
        "difference_high": gained.high,
        "time": time.mean,
        "time_low": time.low,
        "time_high": time.high,
        "pixels": pixels,
        "n": gained.n,
    }


def _claims(name: str, label: str, gained: Interval, time: Interval) -> list[Claim]:
    accuracy, quicker = _SAYS[name]
    times = Interval(1 / time.mean, 1 / time.high, 1 / time.low, time.n)
    return [
        Claim(f"{label}: progressive learning gains accuracy", gained, "points", accuracy),
        Claim(f"{label}: progressive learning trains faster", times, "times", quicker),
    ]


def _alone(value: float) -> Interval:
    return Interval(value, math.nan, math.nan, 1)


def _of_paper(label: str, value: float) -> Mark:
    return Mark(label, math.nan, math.nan, math.nan, paper=value)


def _name(network: str, schedule: str, seed: int) -> str:
    return f"{network}-{schedule}-seed{seed}"


STUDY = Study(
    question="what does progressive learning save, and does it cost accuracy?",
    source="EfficientNetV2 (arXiv 2104.00298), Table 12",
    sizes=training_sizes,
    steps=steps,
    told=told,
    takes_model=True,
)
