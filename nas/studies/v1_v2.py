"""Tables 10 and 11 of EfficientNetV2 (arXiv 2104.00298) as ratios: V1 against V2 networks of much the same accuracy.

Of each pair the training step at the same picture size, batch and optimiser, and the forward pass of each network at
the size it is evaluated at, timed in alternation. In the paper, Table 10 is hours of the same progressive training on
TPUv3 and latency on a V100 with batches of 16, Table 11 pictures a second on a V100 with batches of 128. Accuracy is
not taken again: that would be trainings on ImageNet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nas.studies.recipes import timed
from nas.studies.sizes import at_share
from nas.studies.steps import Compare, times_as_fast
from nas.studies.study import Conditions, Material, Place, Results, Size, Study, Told
from results.analysis.claims import Claim
from results.analysis.panels import Mark, Panel
from search_spaces import IMAGE_SIZES, PUBLISHED, cost


class Pair(NamedTuple):
    """A V1 and a V2 network of much the same accuracy, and what the paper has of both, V1 first.

    Attributes:
        v1: a name of `PUBLISHED`.
        v2: likewise.
        params: in millions.
        speed: latency in ms (Table 10) or pictures a second (Table 11), as `unit` says.
        unit: of the speed.
        macs: in billions; None where they are not told.
        hours: of training on 32 TPUv3 cores; None where they are not told.
    """

    v1: str
    v2: str
    params: tuple[float, float]
    speed: tuple[float, float]
    unit: str
    macs: tuple[float, float] | None = None
    hours: tuple[float, float] | None = None

    @property
    def paper_times(self) -> dict[str, float | None]:
        """How many times as fast V2 is in the paper; None where it is not told."""
        v1, v2 = self.speed
        return {
            "training": None if self.hours is None else self.hours[0] / self.hours[1],
            "inference": v1 / v2 if self.unit == "ms" else v2 / v1,
        }


PAIRS = (
    Pair("efficientnet-b1", "efficientnetv2-b0", (7.8, 7.4), (2675, 5739), "images/s"),  # Table 11
    Pair("efficientnet-b2", "efficientnetv2-b1", (9.1, 8.1), (2003, 3983), "images/s"),
    Pair("efficientnet-b4", "efficientnetv2-b3", (19, 14), (628, 1693), "images/s"),
    Pair("efficientnet-b5", "efficientnetv2-s", (30, 24), (291, 901), "images/s"),
    Pair("efficientnet-b7", "efficientnetv2-m", (66, 55), (170, 57), "ms", (38, 24), (54, 13)),  # Table 10
)

_SIZES = (  # pairs, share of the published picture sizes, batch, pairs of blocks
    (1, 0.25, 4, 7),
    (3, 0.25, 4, 7),
    (5, 0.25, 4, 9),
    (5, 0.5, 4, 9),
    (5, 1.0, 4, 9),
    (5, 1.0, 4, 21),
    (5, 1.0, 32, 15),
    (5, 1.0, 128, 21),
)


def sizes(material: Material) -> Sequence[Size]:
    """How many pairs, at which share of the published picture sizes."""
    return [
        {"pairs": pairs, "image_share": share, "batch_size": batch, "blocks": blocks}
        for pairs, share, batch, blocks in _SIZES
    ]


def pixels(pair: Pair, share: float) -> dict[str, tuple[int, int]]:
    """The sides of the pictures, in pixels, of V1 and of V2: in training V2's for both, in inference each its own."""
    training = at_share(IMAGE_SIZES[pair.v2].train, share)
    v1, v2 = (at_share(IMAGE_SIZES[name].eval, share) for name in (pair.v1, pair.v2))
    return {"training": (training, training), "inference": (v1, v2)}


def steps(conditions: Conditions, size: Size, place: Place) -> Sequence[Compare]:
    """A comparison for each pair."""
    recipe, found = timed("imagenet-paper-s", size["batch_size"]), []
    for pair in PAIRS[: size["pairs"]]:
        px = pixels(pair, size["image_share"])
        training, (v1, v2) = px["training"][0], px["inference"]
        networks = PUBLISHED[pair.v2], PUBLISHED[pair.v1]
        found.append(Compare(_name(pair), *networks, recipe, training, training, (v2, v1), size["blocks"]))
    return found


def told(conditions: Conditions, size: Size, results: Results) -> Told:
    """How many times as fast V2 trains and runs, with both networks' pictures a second, params and macs."""
    rows: list[Mapping[str, Any]] = []
    claims, marks = [], {"training": list[Mark](), "inference": list[Mark]()}
    for pair in PAIRS[: size["pairs"]]:
        gave, paper = results[_name(pair)], pair.paper_times
        for what, way, verb in (("training", "", "trains"), ("inference", "pass_", "runs")):
            found, times = times_as_fast(gave, way), paper[what]
            rates = [size["batch_size"] / gave[f"{way}{name}"] for name in ("anchor_seconds", "seconds")]
            given = pair.hours if what == "training" else pair.speed
            row = _row(pair, what, "images/s", pixels(pair, size["image_share"])[what], rates)
            told_there = _paper("hours" if what == "training" else pair.unit, given, times)
            rows.append(row | {"times": found.mean, "low": found.low, "high": found.high, "n": found.n} | told_there)
            said = "not told" if times is None else f"{times:.2f} times ({_on(pair, what)})"
            claims.append(Claim(f"{pair.v2} {verb} faster than {pair.v1}", found, "times", said))
            marks[what].append(
                Mark.of(f"{_short(pair.v2)} / {_short(pair.v1)}", found, paper=float("nan") if times is None else times)
            )
        rows += _counted(pair)
    hours = any(pair.hours for pair in PAIRS[: size["pairs"]])
    titles = {
        "training": "training: here a step" + ", in the paper whole trainings on TPUv3" * hours,
        "inference": "inference; the paper's is on a V100",
    }
    panels = [Panel(titles[what], "times as fast as V1", shown, none=1.0, log=True) for what, shown in marks.items()]
    return Told(table=rows, claims=claims, panels=panels, changed=changed(conditions, size))


def _counted(pair: Pair) -> Iterator[dict[str, Any]]:
    """V1's params over V2's, and macs, at the published size of evaluation."""
    px = IMAGE_SIZES[pair.v1].eval, IMAGE_SIZES[pair.v2].eval
    costs = [cost(PUBLISHED[name], side) for name, side in zip((pair.v1, pair.v2), px, strict=True)]
    for what, unit, scale, given in (("params", "millions", 1e6, pair.params), ("macs", "billions", 1e9, pair.macs)):
        v1, v2 = (getattr(one, what) / scale for one in costs)
        times = None if given is None else given[0] / given[1]
        nothing = {"low": None, "high": None, "n": None}  # they are exact
        yield _row(pair, what, unit, px, [v1, v2]) | {"times": v1 / v2} | nothing | _paper(unit, given, times)


def _row(pair: Pair, what: str, unit: str, px: tuple[int, int], values: Sequence[float]) -> dict[str, Any]:
    return {
        "v1": pair.v1,
        "v2": pair.v2,
        "what": what,
        "v1_px": px[0],
        "v2_px": px[1],
        "unit": unit,
        "v1_value": values[0],
        "v2_value": values[1],
    }


def _paper(unit: str, given: tuple[float, float] | None, times: float | None) -> dict[str, Any]:
    v1, v2 = (None, None) if given is None else given
    return {
        "paper_times": times,
        "paper_v1": v1,
        "paper_v2": v2,
        "paper_unit": None if given is None else unit,
    }


def _on(pair: Pair, what: str) -> str:
    if what == "training":
        return "hours of the same training on 32 TPUv3 cores"
    return "latency on a V100, batches of 16" if pair.unit == "ms" else "a V100, batches of 128"


def changed(conditions: Conditions, size: Size) -> list[str]:
    """What is not as in the paper."""
    found = [
        f"batches of {size['batch_size']} on {conditions.device}, not of 16 (latency) and 128 (pictures a second) on a "
        "V100, and not trainings on TPUv3",
        "training is the time of a step at one picture size, V2's for both networks, not hours of a progressive one",
        "the paper tells no training time of the pairs of Table 11",
        "accuracy is not taken again, which would be trainings on ImageNet; the pairs are the paper's",
        "the interval is of the pairs of blocks of one run, and knows nothing of another run or machine",
        "networks as released: V2-S and V2-M have fewer params than the paper's (its 24M and 55M), B0 than its 7.4M",
    ]
    if size["image_share"] != 1:
        found.insert(1, f"pictures of {size['image_share']:g} of the published sides, at least 32 px")
    return found


def _short(name: str) -> str:
    """`V2-S` of `efficientnetv2-s`, `V1-B5` of `efficientnet-b5`."""
    family, _, size = name.rpartition("-")
    return f"{'V2' if family.endswith('v2') else 'V1'}-{size.upper()}"


def _name(pair: Pair) -> str:
    return f"{pair.v2}-over-{pair.v1}"


STUDY = Study(
    question="how much faster do V2 networks train and run than V1's?",
    source="EfficientNetV2 (arXiv 2104.00298), Tables 10 and 11",
    sizes=sizes,
    steps=steps,
    told=told,
    on_pictures=False,
)
