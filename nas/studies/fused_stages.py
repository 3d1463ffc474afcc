"""Table 3 of EfficientNetV2 (arXiv 2104.00298): which stages of EfficientNet-B4 are worth fusing.

MBConv's depthwise and first 1x1 convolution become one full convolution (Fused-MBConv) in no stage, the first three,
five or all seven. Params, macs and activations are exact, of B4 at 380 px; the training step is timed of these very
networks where there is time for them, else of narrower ones; accuracy is that of a small V1 network that is fused
likewise and trained on the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from nas.studies.networks import in_width, like
from nas.studies.recipes import brief, fitted, seeds_of, timed, trained_unlike_the_paper
from nas.studies.sizes import at_share, timed_and_training_sizes
from nas.studies.steps import Compare, Count, Train, times_as_fast
from nas.studies.study import Conditions, Place, Results, Size, Step, Study, Told
from results.analysis.claims import Claim, Interval, mean_interval
from results.analysis.panels import Mark, Panel
from search_spaces import PUBLISHED, Architecture

NETWORK, PIXELS = "efficientnet-b4", 380
SMALL = "efficientnet-b0"
"""What is trained, at a share of its width."""


class Fused(NamedTuple):
    """What the paper has of a network.

    Attributes:
        params: in millions.
        macs: in billions.
        accuracy: top-1 on ImageNet.
        tpu: pictures a second in training, on a TPUv3 core.
        v100: the same on a V100.
    """

    params: float
    macs: float
    accuracy: float
    tpu: int
    v100: int


PAPER = {
    0: Fused(19.3, 4.5, 0.828, 262, 155),
    3: Fused(20.0, 7.5, 0.831, 362, 216),
    5: Fused(43.4, 21.3, 0.831, 327, 223),
    7: Fused(132.0, 34.4, 0.817, 254, 206),
}
"""Table 3, by the number of stages fused, from the first; what it calls stage 1-3 are the first three of MBConv."""


def fused(network: Architecture, count: int) -> Architecture:
    """A network with its first stages fused: expansion and kernel stay, squeeze-excite goes."""
    stages = (
        replace(stage, op="fused_mbconv", se_ratio=0.0) if number < count else stage
        for number, stage in enumerate(network.stages)
    )
    return replace(network, stages=tuple(stages))


def steps(conditions: Conditions, size: Size, place: Place) -> Sequence[Step]:
    """Counts, comparisons with the network as it is and of the first with the last, and trainings."""
    network, px = like(NETWORK, size["timed_width"], PIXELS), at_share(PIXELS, size["timed_share"])
    counts = [Count(f"cost-{_label(count)}", fused(PUBLISHED[NETWORK], count), PIXELS) for count in PAPER]
    recipe = timed("imagenet-paper-s", size["timed_batch"])
    compared = [
        Compare(
            _compared(count, other), fused(network, count), fused(network, other), recipe, px, px, None, size["blocks"]
        )
        for count, other in ((3, 0), (5, 0), (7, 0), (3, 7))
    ]
    small, trained = like(SMALL, size["width"], size["image_size"]), []
    for seed in seeds_of(conditions, size):
        for count in PAPER:
            task = fitted(conditions, size, place, brief(size), fused(small, count), seed)
            trained.append(Train(_trained(count, seed), task, size["pictures"]))
    return [*counts, *compared, *trained]


def told(conditions: Conditions, size: Size, results: Results) -> Told:
    """Costs, pictures a second and accuracy by the stages that are fused."""
    seeds = seeds_of(conditions, size)
    tests = {count: [results[_trained(count, seed)]["test"] for seed in seeds] for count in PAPER}
    speeds = {count: times_as_fast(results[_compared(count, 0)]) for count in PAPER if count}
    alone_s = results[_compared(3, 0)]["anchor_seconds"]  # one time for it, so that equal ratios are equal rates
    rate = size["timed_batch"] / alone_s
    rows = [
        _row(count, results[f"cost-{_label(count)}"], rate, speeds.get(count), mean_interval(tests[count]))
        for count in PAPER
    ]
    better = {
        count: mean_interval([one - none for one, none in zip(tests[count], tests[0], strict=True)])
        for count in PAPER
        if count
    }
    last = times_as_fast(results[_compared(3, 7)])
    claims = [*_speed_claims(size, speeds, last), *_accuracy_claims(better)]
    panels = _panels(speeds, better)
    return Told(table=rows, claims=claims, panels=panels, changed=changed(conditions, size))


def _row(
    count: int, costs: Mapping[str, Any], rate: float, faster: Interval | None, accuracy: Interval
) -> dict[str, Any]:
    """Of the table; `rate` is pictures a second with none fused, and `faster` how many times as many there are."""
    paper = PAPER[count]
    return {
        "fused": _label(count),
        "params": costs["params"],
        "paper_params": round(paper.params * 1e6),
        "macs": costs["macs"],
        "paper_macs": round(paper.macs * 1e9),
        "activations": costs["activations"],
        "images_per_s": rate * (1.0 if faster is None else faster.mean),
        "times_as_fast": 1.0 if faster is None else faster.mean,
        "times_low": None if faster is None else faster.low,
        "times_high": None if faster is None else faster.high,
        "paper_tpu": paper.tpu / PAPER[0].tpu,
        "paper_v100": paper.v100 / PAPER[0].v100,
        "accuracy": accuracy.mean,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "n": accuracy.n,
        "paper_accuracy": paper.accuracy,
    }


def _speed_claims(size: Size, speeds: dict[int, Interval], last: Interval) -> list[Claim]:
    network = f"EfficientNet-B4{in_width(size)}"
    claims = [
        Claim(
            f"{network} trains faster with stages {_label(count)} fused than with none",
            found,
            "times",
            _paper_times(count, 0),
        )
        for count, found in speeds.items()
        if count in (3, 5)  # of all seven against none the paper's devices say opposite things: .97 and 1.33 times
    ]
    said = f"{network} trains faster with stages {_label(3)} fused than with all of them"
    return [*claims, Claim(said, last, "times", _paper_times(3, 7))]


def _accuracy_claims(better: dict[int, Interval]) -> list[Claim]:
    """What the paper found: a little more accurate with some stages fused, less with all of them."""
    claims = []
    for count, found in better.items():
        paper = 100 * (PAPER[count].accuracy - PAPER[0].accuracy)
        worse = paper < 0
        told_there = f"{abs(paper):+.1f} points"
        shown = Interval(-found.mean, -found.high, -found.low, found.n) if worse else found
        said = f"with stages {_label(count)} fused than with none"
        claims.append(
            Claim(f"A small V1 network is {'less' if worse else 'more'} accurate {said}", shown, "points", told_there)
        )
    return claims


def _panels(speeds: dict[int, Interval], better: dict[int, Interval]) -> list[Panel]:
    none = PAPER[0]
    of_paper = {
        "TPUv3": {count: one.tpu / none.tpu for count, one in PAPER.items()},
        "a V100": {count: one.v100 / none.v100 for count, one in PAPER.items()},
    }
    panels = [
        Panel(
            f"training speed; the paper's is on {device}",
            "times as fast as with none fused",
            [Mark.of(f"stages {_label(count)} fused", one, paper=paper[count]) for count, one in speeds.items()],
            none=1.0,
            log=True,
        )
        for device, paper in of_paper.items()
    ]
    marks = [
        Mark.of(f"stages {_label(count)} fused", one, scale=100, paper=PAPER[count].accuracy - none.accuracy)
        for count, one in better.items()
    ]
    return [*panels, Panel("accuracy less that with none fused", "points of accuracy", marks, none=0.0)]


def _paper_times(count: int, other: int) -> str:
    one, two = PAPER[count], PAPER[other]
    return f"{one.tpu / two.tpu:.2f} times (TPUv3), {one.v100 / two.v100:.2f} times (V100)"


def changed(conditions: Conditions, size: Size) -> list[str]:
    """What is not as in the paper."""
    px = at_share(PIXELS, size["timed_share"])
    return [
        "fused stages keep their kernels and lose squeeze-excite in each row; the paper's rows are not of one rule: "
        "43.4M and 132.0M params are of this one, 20.0M only where the 5x5 stage becomes 3x3, its macs of none",
        f"timed on {conditions.device} in batches of {size['timed_batch']} at {px} px{in_width(size)}, not on "
        f"TPUv3 and V100 at {PIXELS} px; the intervals are of the pairs of blocks of one run",
        f"accuracy is of EfficientNet-B0 at {size['width']:g} of its width, not of B4, trained on "
        f"{size['pictures'] - size['minival']:,} pictures of {conditions.data} at {size['image_size']} px (epochs: "
        f"{size['epochs']}), not on ImageNet",
        *trained_unlike_the_paper(size),
    ]


def _label(count: int) -> str:
    return f"1-{count}" if count else "none"


def _compared(count: int, other: int) -> str:
    return f"step-{_label(count)}-over-{_label(other)}"


def _trained(count: int, seed: int) -> str:
    return f"fused-{_label(count)}-seed{seed}"


STUDY = Study(
    question="which stages are worth fusing?",
    source="EfficientNetV2 (arXiv 2104.00298), Table 3",
    sizes=timed_and_training_sizes,
    steps=steps,
    told=told,
)
