"""Does the search find what EfficientNetV2's search found (arXiv 2104.00298, section 3.2 and Table 4)?

The space is searched by the default controller with a random arm, and by random search alone. The paper's four findings
are sought among the best of the random networks, which are independent draws, so that the intervals hold; the same
networks are then ranked by accuracy alone, by step time alone and by params alone: that shows what being aware of
training changes. The best network, the one with V2's choices and the one with V1's are trained ten times as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nas.config import SearchConfig
from nas.studies.discovery_analysis import RANDOM, SEARCHED, Analyse
from nas.studies.discovery_told import LONGER, told
from nas.studies.searches import Evaluate, Search
from nas.studies.study import Conditions, Material, Place, Size, Step, Study
from search_spaces import PUBLISHED, SPACES, Architecture, SearchSpace, Stage

RANDOM_ARM = 0.1
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
    from trainers.recipe import Recipe

    found: list[dict[str, Any]] = []
    at_hand = material.train if material.test else material.train * 3 // 4
    least = Recipe().batch_size * 5 // 4  # a batch, and a fifth to choose on
    if at_hand < least:
        raise ValueError(
            f"a discovery must have at least {least if material.test else least * 4 // 3 + 1} training pictures, a "
            f"batch and some to choose on{'' if material.test else ' and to test with'}; there are {material.train}"
        )
    for candidates, pictures, epochs, seeds, space, side in _SIZES[material.device]:
        minival = min(max(100, pictures // 5), at_hand // 5)
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
                        held_out=bool(share),
                    )
                )
    return found


def networks(space: str) -> dict[str, Architecture | None]:
    """The best of the search (None), and the space's networks with V2's and with V1's choices."""
    v2, v1 = (with_choices_of(SPACES[space], PUBLISHED[name]) for name in LIKE[space])
    return {"best": None, "v2-like": v2, "v1-like": v1}


STUDY = Study(
    question="does the search find what the paper found?",
    source="EfficientNetV2 (arXiv 2104.00298), section 3.2 and Table 4",
    sizes=sizes,
    steps=steps,
    told=told,
)
