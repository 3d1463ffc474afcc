"""What the training step time follows when networks are scaled: Dollar et al. 2021 (arXiv 2103.06877).

EfficientNet-B0 is scaled by the paper's four strategies (uniform, depth and width, fast, width) to several sizes; the
training step of each is timed against B0's, and Pearson's r of the step time taken with macs, params and activations.
V2-B0, which the paper does not have, is scaled likewise where there is time: also against V1-B0, so that equal ratios
are equal times and both families can be taken together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nas.scaling.fast import STRATEGIES, fast
from nas.scaling.scaled import Scaled
from nas.studies.recipes import timed
from nas.studies.steps import Compare
from nas.studies.study import Conditions, Material, Place, Results, Size, Study, Told
from results.analysis.claims import Claim
from results.analysis.correlation import Correlations
from results.analysis.panels import Mark, Panel
from search_spaces import PUBLISHED, cost

NETWORKS = ("efficientnet-b0", "efficientnetv2-b0")
CHOSEN = ("dwr", "dw", "dWr", "w")
METRICS = ("activations", "macs", "params")
PAPER = {"macs": 0.81, "params": 0.56, "activations": 0.99}
"""Pearson's r with the epoch time, EfficientNet-B0 scaled by dwr, dw, dWr and w to s < 100."""

PAPER_POOLED = 0.95
"""With activations, over EfficientNet, RegNetY and RegNetZ together."""

_SIZES = (  # networks, sizes by each strategy, growth of the largest, side of the baseline, batch, pairs of blocks
    (1, 2, 4, 32, 2, 3),
    (1, 4, 8, 64, 4, 5),
    (2, 4, 8, 128, 4, 5),
    (2, 4, 16, 128, 8, 5),
    (2, 6, 16, 128, 8, 9),
    (2, 6, 32, 224, 8, 9),
    (2, 6, 64, 224, 64, 15),
)


class Member(NamedTuple):
    """A scaled network of the study.

    Attributes:
        network: which it was scaled from.
        strategy: one of `STRATEGIES`; that of the network itself is `none`.
        growth: in macs.
        scaled: it, and the side of its pictures.
    """

    network: str
    strategy: str
    growth: float
    scaled: Scaled

    @property
    def name(self) -> str:
        """Of its step."""
        return f"{self.network}-{self.strategy}-{self.growth:.4g}x-{self.scaled.train_image_size}px"


def sizes(material: Material) -> Sequence[Size]:
    """How many networks, how far they are scaled, and how they are timed."""
    names = ("networks", "growths", "largest_growth", "image_size", "batch_size", "blocks")
    return [dict(zip(names, values, strict=True)) for values in _SIZES]


def members(size: Size) -> Iterator[Member]:
    """The networks, each with its scaled ones; growths are equally far apart as ratios."""
    count, largest = size["growths"], size["largest_growth"]
    for name in NETWORKS[: size["networks"]]:
        base = PUBLISHED[name]
        yield Member(name, "none", 1, fast(base, size["image_size"], 1))
        for strategy in CHOSEN:
            for growth in (largest ** (step / count) for step in range(1, count + 1)):
                yield Member(name, strategy, growth, fast(base, size["image_size"], growth, given=STRATEGIES[strategy]))


def steps(conditions: Conditions, size: Size, place: Place) -> Sequence[Compare]:
    """Each network's training step against that of V1-B0 as it is."""
    recipe, anchor, px = timed("fast-scaling", size["batch_size"]), PUBLISHED[NETWORKS[0]], size["image_size"]
    return [
        Compare(
            each.name, each.scaled.architecture, anchor, recipe, each.scaled.train_image_size, px, None, size["blocks"]
        )
        for each in members(size)
    ]


def told(conditions: Conditions, size: Size, results: Results) -> Told:
    """Pearson's r of the step time with each metric, for each network's family and for both together."""
    found = list(members(size))
    groups = {name: [each for each in found if each.network == name] for name in NETWORKS[: size["networks"]]}
    if len(groups) > 1:
        groups["both"] = found
    correlations = {group: _correlations(chosen, results) for group, chosen in groups.items()}
    rows: list[Mapping[str, Any]] = []
    panels = []
    for group, one in correlations.items():
        marks = []
        for metric in METRICS:
            r, paper = one.r(metric), _paper(group, metric)
            rows.append(
                {
                    "networks": group,
                    "metric": metric,
                    "r": r.mean,
                    "low": r.low,
                    "high": r.high,
                    "n": r.n,
                    "paper_r": paper,
                }
            )
            marks.append(Mark.of(metric, r, paper=float("nan") if paper is None else paper))
        title = "both together" if group == "both" else f"{group}, scaled"
        panels.append(Panel(title, "Pearson's r with the step time", marks))
    claims = [
        Claim(
            f"Step time of {group}, scaled, follows activations more closely than {metric}",
            one.above("activations", metric),
            "difference",
            f"{PAPER['activations'] - PAPER[metric]:+.2f} (r of .99 and .{100 * PAPER[metric]:.0f})"
            if group == NETWORKS[0]
            else "not told",
        )
        for group, one in correlations.items()
        for metric in ("macs", "params")
    ]
    return Told(table=rows, claims=claims, panels=panels, changed=changed(conditions, size))


def _correlations(chosen: Sequence[Member], results: Results) -> Correlations:
    costs = [cost(each.scaled.architecture, each.scaled.train_image_size) for each in chosen]
    others = {metric: [float(getattr(one, metric)) for one in costs] for metric in METRICS}
    return Correlations([results[each.name]["ratio"] for each in chosen], others)


def _paper(group: str, metric: str) -> float | None:
    if group == NETWORKS[0]:
        return PAPER[metric]
    return PAPER_POOLED if group == "both" and metric == "activations" else None


def changed(conditions: Conditions, size: Size) -> list[str]:
    """What is not as in the paper."""
    found = [
        f"the training step on {conditions.device}, in batches of {size['batch_size']} for all; the paper has the time "
        "of an ImageNet epoch on 8 Volta GPUs, at the largest batch that fits",
        f"scaled to {size['largest_growth']} times the macs at most, from pictures of {size['image_size']} px; the "
        "paper to less than 100 times, from 224 px",
        "intervals are of resampled networks, and say nothing of another device",
    ]
    if size["networks"] > 1:
        found.append(
            "together are V1-B0's and V2-B0's families; the paper's .95 is of EfficientNet, RegNetY and RegNetZ"
        )
    return found


STUDY = Study(
    question="what does the step time follow when networks are scaled: macs, params, activations?",
    source="Fast and accurate model scaling (arXiv 2103.06877)",
    sizes=sizes,
    steps=steps,
    told=told,
    on_pictures=False,
)
