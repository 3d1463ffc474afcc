"""Does the search find what EfficientNetV2's search found (arXiv 2104.00298, section 3.2 and Table 4)?

The space is searched by the default controller with a random arm, and by random search alone. The paper's four findings
are sought among the best of the random networks, which are independent draws, so that the intervals hold; the same
networks are then ranked by accuracy alone, by step time alone and by params alone: that shows what being aware of
training changes. The best network, the one with V2's choices and the one with V1's are trained ten times as long.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nas.config import SearchConfig
from nas.show import plain
from nas.studies.pace import Pace
from nas.studies.searches import Evaluate, Search, run_of
from nas.studies.study import Conditions, Material, Place, Results, Size, Step, Study, Told
from results.analysis.claims import Claim, Interval, mean_interval, ratio_interval
from results.analysis.panels import Mark, Panel
from search_spaces import PUBLISHED, SPACES, Architecture, SearchSpace, Stage

if TYPE_CHECKING:
    import pandas as pd

SEARCHED, RANDOM = "search", "random"
"""The runs: of the default controller, and of random search alone."""

RANDOM_ARM = 0.1
LONGER = 10
"""How many times as long the last trainings are as those of the search."""

PAPERS = "A S^-0.07 P^-0.05"
REWARDS: dict[str, dict[str, float]] = {
    PAPERS: {"a": 1, "w": -0.07, "v": -0.05},
    "A": {"a": 1, "w": 0, "v": 0},
    "S alone": {"a": 0, "w": -1, "v": 0},
    "P alone": {"a": 0, "w": 0, "v": -1},
}
"""What the networks are ranked by: the paper's reward, and what is left of it."""

LIKE = {"small": ("efficientnetv2-b0", "efficientnet-b0"), "efficientnetv2-s": ("efficientnetv2-s", "efficientnet-b4")}
"""By space: whose choices the V2-like and the V1-like network have."""

_SIZES = {  # candidates, pictures to train on, epochs, seeds of the last trainings, space, side in pixels
    "cpu": (
        (5, 300, 1, 2, "small", 32),
        (40, 1_000, 2, 3, "small", 32),
        (150, 3_000, 2, 3, "small", 32),
        (400, 3_000, 2, 3, "small", 32),
        (400, 6_000, 2, 3, "small", 32),
        (1_000, 10_000, 3, 3, "small", 32),
        (1_000, 40_000, 10, 3, "small", 32),
    ),
    "cuda": (
        (5, 300, 1, 2, "small", 32),
        (20, 2_000, 2, 3, "efficientnetv2-s", 64),
        (100, 6_000, 2, 3, "efficientnetv2-s", 64),
        (400, 6_000, 3, 3, "efficientnetv2-s", 64),
        (400, 20_000, 4, 3, "efficientnetv2-s", 96),
        (1_000, 40_000, 10, 3, "efficientnetv2-s", 96),
        (1_000, 100_000, 10, 3, "efficientnetv2-s", 128),
    ),
}


def sizes(material: Material) -> Sequence[Size]:
    """How many candidates, each trained on how much; the space of V2-S is for a GPU."""
    found: list[dict[str, Any]] = []
    for candidates, pictures, epochs, seeds, space, side in _SIZES[material.device]:
        minival = max(100, pictures // 5)
        at_hand = material.train if material.test else material.train * 3 // 4
        if found and pictures + minival > at_hand:
            break
        found.append(
            {
                "candidates": candidates,
                "pictures": min(pictures + minival, at_hand),
                "minival": minival,
                "test_pictures": min(1_000, material.test or material.train - at_hand),
                "epochs": epochs,
                "seeds": seeds,
                "image_size": side,
                "space": space,
            }
        )
    return found


def with_choices_of(space: SearchSpace, network: Architecture) -> Architecture:
    """The network of a space that has, stage by stage, the choices of another one: the nearest option of each.

    A stage that the other does not have is left out where the space allows it.
    """
    genotype = []
    for choice in space.choices:
        theirs = network.stages[choice.stage - 1] if choice.stage <= len(network.stages) else None

        genotype.append(int(np.argmin([_unlike(option, theirs) for option in choice.options])))
    return space.decode(tuple(genotype))


def _unlike(option: Mapping[str, Any], stage: Stage | None) -> float:
    """How far an option is from what a stage has; of a stage that is not there, no layers are the nearest."""
    if stage is None:
        return float(option.get("layers", 0))
    apart = 0.0
    for field, value in option.items():
        theirs = getattr(stage, field)
        apart += abs(value - theirs) if field in ("kernel", "expand_ratio", "layers") else float(value != theirs)
    return apart


@dataclass(frozen=True, slots=True)
class Analyse:
    """What the runs of the study say.

    Args:
        name: of the step.
        space: name of the space.
    """

    alone: ClassVar[bool] = True

    name: str
    space: str

    def expected_s(self, pace: Pace) -> float:
        """Some."""
        return 5.0

    def run(self, place: Place) -> Mapping[str, Any]:
        """Rank the random networks by each reward; gives the findings' rows, the values, and the arms' comparison."""
        from results.analysis import against_chance, findings

        space = SPACES[self.space]
        frame, searched = run_of(place.folder, RANDOM), run_of(place.folder, SEARCHED)
        rows = [
            {"reward": name, **row}
            for name, weights in REWARDS.items()
            for row in findings(ranked_by(frame, **weights), space).to_dict("records")
        ]
        chance = against_chance(searched)
        found = {
            "findings": rows,
            "searched": findings(searched, space).to_dict("records"),
            "values": {name: _values(frame, weights) for name, weights in REWARDS.items()},
            "searched_values": _values(searched, REWARDS[PAPERS]),
            "chance": None if chance is None else {**chance._asdict(), "verdict": chance.verdict},
        }
        return dict(plain(found))


def ranked_by(frame: pd.DataFrame, *, a: float, w: float, v: float) -> pd.DataFrame:
    """A trial table whose rewards are A^a S^w P^v, up to a factor; those without a reward stay without."""
    measured = {name: frame[name].astype(float) for name in ("accuracy", "step_time", "params")}
    return frame.assign(reward=_value(measured, a=a, w=w, v=v).where(frame["reward"].notna()))


def _value(of: Mapping[str, Any], *, a: float, w: float, v: float) -> Any:
    return of["accuracy"] ** a * of["step_time"] ** w * of["params"] ** v


def _values(frame: pd.DataFrame, weights: Mapping[str, float]) -> list[float]:
    return [float(f"{value:.5g}") for value in sorted(ranked_by(frame, **weights)["reward"].dropna())]


def steps(conditions: Conditions, size: Size, place: Place) -> Sequence[Step]:
    """Two searches, what they say, and the last trainings."""
    from trainers.recipe import Recipe

    config = SearchConfig(
        space=size["space"],
        data=place.source,
        test_data=place.test_source,
        image_size=size["image_size"],
        epochs=size["epochs"],
        minival=size["minival"],
        device=place.device,
        seed=conditions.seed,
    )
    recipe = Recipe(epochs=size["epochs"], image_size=size["image_size"])
    trained_on = size["pictures"] - size["minival"]
    candidates = {
        SEARCHED: replace(config, random_arm=RANDOM_ARM),
        RANDOM: replace(config, controller="random", seed=conditions.seed + 1),
    }
    found: list[Step] = [
        Search(name, one, size["candidates"], recipe, trained_on, place.workers) for name, one in candidates.items()
    ]
    found.append(Analyse("analysis", size["space"]))
    longer = {"epochs": LONGER * size["epochs"]}
    for share, name in (({}, "as-searched"), (longer, "longer")):
        for network, architecture in networks(size["space"]).items():
            for replicate in range(1, size["seeds"] + 1):  # the search's own training, 0, flatters what it chose
                found.append(
                    Evaluate(
                        name=f"{name}-{network}-{replicate}",
                        config=replace(config, **share),
                        network=architecture,
                        best_of=SEARCHED,
                        replicate=replicate,
                        recipe=replace(recipe, **share),
                        training_pictures=trained_on,
                    )
                )
    return found


def networks(space: str) -> dict[str, Architecture | None]:
    """The best of the search (None), and the space's networks with V2's and with V1's choices."""
    v2, v1 = (with_choices_of(SPACES[space], PUBLISHED[name]) for name in LIKE[space])
    return {"best": None, "v2-like": v2, "v1-like": v1}


def told(conditions: Conditions, size: Size, results: Results) -> Told:
    """The findings under each reward, where the V2-like network stands, and the last trainings."""
    analysis = results["analysis"]
    rows = [_finding_row(f"random networks by {row['reward']}", row) for row in analysis["findings"]]
    rows += [_finding_row(f"{SEARCHED} against the space", row, of="space_") for row in analysis["searched"]]
    claims = [
        Claim(
            f"{row['finding']}: more often in the best {row['top_networks']} of {row['networks']} random networks",
            Interval(row["enrichment"], row["low"], row["high"], row["networks"]),
            "times",
            "found by its search",
        )
        for row in analysis["findings"]
        if row["reward"] == PAPERS and row["enrichment"] is not None
    ]
    brief, longer = (_of_networks(results, size["seeds"], name) for name in ("as-searched", "longer"))
    rows += [_share_row(name, brief[name], by, analysis["values"][by]) for by in REWARDS for name in brief]
    everyone = [*analysis["values"][PAPERS], *analysis["searched_values"]]
    rows += [_rank_row(name, brief[name], everyone) for name in brief]
    for of, each in ((f"{size['epochs']} epochs", brief), (f"{LONGER * size['epochs']} epochs", longer)):
        rows += [
            _row(f"{name}, {of}", quantity, mean_interval([one[quantity] for one in each[name]]))
            for name in each
            for quantity in ("accuracy", "step_time", "reward")
        ]
    claims += _last_claims(longer)
    if (chance := analysis["chance"]) is not None:
        found = Interval(chance["probability"] - 0.5, chance["low"] - 0.5, chance["high"] - 0.5, chance["controller"])
        claims.append(Claim("The controller's networks are better than random ones, by the probability over one half",
                            found, "difference", "not told"))  # fmt: skip
    notes = [f"{name}: {each[0]['params']:,} params, {each[0]['macs']:,} macs: {each[0]['architecture']}"
             for name, each in longer.items()]  # fmt: skip
    panels = _panels(analysis, longer)
    return Told(table=rows, claims=claims, panels=panels, changed=_changed(conditions, size), notes=notes)


def _last_claims(longer: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Claim]:
    def paired(one: str, other: str, quantity: str) -> list[float]:
        return [a[quantity] - b[quantity] for a, b in zip(longer[one], longer[other], strict=True)]

    faster = [b["step_time"] / a["step_time"] for a, b in zip(longer["v2-like"], longer["v1-like"], strict=True)]
    return [
        Claim(
            "The best network has a higher reward than the V2-like one, trained for longer",
            mean_interval(paired("best", "v2-like", "reward")),
            "difference",
            "its best is V2",
        ),
        Claim(
            "The V2-like network has a higher reward than the V1-like one, trained for longer",
            mean_interval(paired("v2-like", "v1-like", "reward")),
            "difference",
            "V2-S is as accurate as V1-B5 and trains faster (Table 11)",
        ),
        Claim("The V2-like network trains faster than the V1-like one", ratio_interval(faster), "times", "see v1-v2"),
    ]


def _of_networks(results: Results, seeds: int, name: str) -> dict[str, list[Mapping[str, Any]]]:
    return {
        network: [results[f"{name}-{network}-{replicate}"] for replicate in range(1, seeds + 1)]
        for network in ("best", "v2-like", "v1-like")
    }


def _row(part: str, what: str, found: Interval, paper: str = "") -> dict[str, Any]:
    return {"part": part, "what": what, "here": found.mean, "low": found.low, "high": found.high, "n": found.n,
            "verdict": "", "paper": paper}  # fmt: skip


def _finding_row(part: str, row: Mapping[str, Any], of: str = "") -> dict[str, Any]:
    """A finding: how many times as often it holds in the top as in the whole, or in the space."""
    names = ("space_ratio", "space_low", "space_high") if of else ("enrichment", "low", "high")
    ratio, low, high = (math.nan if row[name] is None else row[name] for name in names)
    return {
        **_row(part, row["finding"], Interval(ratio, low, high, row["networks"]), "found"),
        "verdict": row[f"{of}verdict"],
    }


def _share_row(name: str, each: Sequence[Mapping[str, Any]], by: str, values: Sequence[float]) -> dict[str, Any]:
    """The share of the random networks that a network is above by a reward, each as it was trained once."""
    own = [_value(one, **REWARDS[by]) for one in each]
    shares = [sum(value < mine for value in values) / len(values) for mine in own]
    best = "the best of all" if (name, by) == ("v2-like", PAPERS) else ""
    return _row(f"{name} among {len(values)} random networks", f"share that it beats by {by}",
                mean_interval(shares), best)  # fmt: skip


def _rank_row(name: str, each: Sequence[Mapping[str, Any]], values: Sequence[float]) -> dict[str, Any]:
    """The place that a network has among those of both searches."""
    own = [_value(one, **REWARDS[PAPERS]) for one in each]
    ranks = [1.0 + sum(value > mine for value in values) for mine in own]
    best = "1" if name == "v2-like" else ""
    return _row(f"{name} among all {len(values)} networks", f"rank by {PAPERS}", mean_interval(ranks), best)


def _panels(analysis: Mapping[str, Any], longer: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Panel]:
    panels = []
    for name in REWARDS:
        rows = [row for row in analysis["findings"] if row["reward"] == name and row["enrichment"] is not None]
        if rows:
            marks = [Mark(row["finding"], row["enrichment"], row["low"], row["high"]) for row in rows]
            panels.append(Panel(f"the best by {name}", "times as often as in all", marks, none=1.0))
    for quantity, scale, axis in (("accuracy", 100, "accuracy, %"), ("step_time", 1, "step time over the backbone's")):
        marks = [Mark.of(n, mean_interval([one[quantity] for one in longer[n]]), scale=scale) for n in longer]
        panels.append(Panel("trained for longer", axis, marks))
    return panels


def _changed(conditions: Conditions, size: Size) -> list[str]:
    space = SPACES[size["space"]]
    return [
        f"pictures: {size['pictures'] - size['minival']:,} of {conditions.data} at {size['image_size']} px; the paper "
        "searched on ImageNet at a reduced size that it does not tell",
        f"space: {space.name}, {space.size:,} networks; the paper's has networks of EfficientNet-B4's size, and does "
        "not tell how many layers a stage may have",
        f"{size['candidates']} candidates for each search, trained for {size['epochs']} epochs; in the paper up "
        "to 1,000 for about 10",
    ]


STUDY = Study(
    question="does the search find what the paper found?",
    source="EfficientNetV2 (arXiv 2104.00298), section 3.2 and Table 4",
    sizes=sizes,
    steps=steps,
    told=told,
)
