"""How the networks of studies are trained where the machine is small, and what is trained on what."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nas.studies.study import Conditions, Place, Size
from search_spaces import Architecture

if TYPE_CHECKING:
    from trainers.recipe import Recipe
    from trainers.task import TrainingTask

NETWORK = "efficientnetv2-b0"
"""What is trained, at a share of its width, where a study asks about no network."""


def brief(size: Size) -> Recipe:
    """The recipe `small-cpu` at a study's size, its picture size constant."""
    from trainers.progressive import Progression
    from trainers.recipes import RECIPES

    recipe, epochs = RECIPES["small-cpu"](), size["epochs"]
    return replace(
        recipe,
        epochs=epochs,
        warmup_epochs=min(2.0, epochs / 5),
        batch_size=min(64, size["pictures"] // 4),
        image_size=size["image_size"],
        eval_size=None,
        progression=Progression(),
    )


def timed(name: str, batch_size: int) -> Recipe:
    """A recipe of `RECIPES` with another batch: the optimiser and loss that steps are timed with."""
    from trainers.recipes import RECIPES

    return replace(RECIPES[name](), batch_size=batch_size)


def fitted(
    conditions: Conditions, size: Size, place: Place, recipe: Recipe, network: Architecture | str, seed: int
) -> TrainingTask:
    """A training of a study.

    Args:
        network: an architecture, or the name of a network of the user's.
        seed: of its weights, order and variation.
    """
    from trainers.task import TrainingTask

    return TrainingTask(
        recipe=recipe,
        source=place.source,
        test_source=place.test_source,
        architecture=network if isinstance(network, Architecture) else None,
        model=network if isinstance(network, str) else None,
        minival=size["minival"],
        split_seed=conditions.seed,
        seed=seed,
    )
