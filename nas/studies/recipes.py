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


def seeds_of(conditions: Conditions, size: Size) -> range:
    """The seeds of a study."""
    return range(conditions.seed, conditions.seed + size["seeds"])


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


def trained_unlike_the_paper(size: Size, *, runs: int | None = None) -> list[str]:
    """What intervals of trainings are of, and whose recipe these follow.

    Args:
        runs: of the paper's trainings; None where it does not tell them.
    """
    theirs = "" if runs is None else f"; the paper's numbers are of {runs} runs"
    recipe = brief(size)
    return [
        f"intervals are of {size['seeds']} seeds of the weights, the order and the variation of the pictures{theirs}. "
        "All have the same excerpt of the pictures, the same split and the same test pictures, and of others the "
        "intervals say nothing; each claim is judged at 5 % by itself",
        f"the recipe is `small-cpu` ({recipe.optimizer.upper()}, batches of {recipe.batch_size}), not the paper's "
        "for ImageNet (RMSProp, batches of 4,096)",
    ]


STRONG = {"randaugment": (3.0, 15.0), "mixup": (0.0, 0.2), "dropout": (0.0, 0.3)}
"""Regularisation with the first of the growing sizes and with the last. Where pictures are few it must be strong for
progressive learning to pay, and weak where these are small (docs/benchmarks.md, Progressive learning)."""

SMALLEST = 0.4
"""Of the largest side, the smallest; 128 of 300 px in EfficientNetV2-S (arXiv 2104.00298, Table 6)."""


def scheduled(size: Size, kind: str, *, period_epochs: float = 1.0) -> Recipe:
    """`brief` with strong regularisation and a schedule of `trainers/progressive.py`.

    Args:
        kind: the schedule; one that does not adapt has the full strength throughout.
        period_epochs: epochs until a random size is drawn anew.
    """
    from trainers.progressive import Progression

    recipe, side = brief(size), size["image_size"]
    progression = Progression(
        kind=kind,
        smallest=max(8, round(SMALLEST * side / 4) * 4),
        period_epochs=period_epochs,
        randaugment=STRONG["randaugment"],
        mixup=STRONG["mixup"],
        dropout=STRONG["dropout"],
    )
    augmentation = replace(recipe.augmentation, randaugment=STRONG["randaugment"][1], mixup=STRONG["mixup"][1])
    return replace(recipe, augmentation=augmentation, dropout=STRONG["dropout"][1], progression=progression)


def scheduled_unlike_the_paper(conditions: Conditions, size: Size) -> list[str]:
    """What of the pictures and of `scheduled` is not as in the paper."""
    from trainers.progressive import sizes_of

    sides = ", ".join(map(str, sizes_of(scheduled(size, "paper"))))
    ends = ", ".join(f"{name} {first:g} to {last:g}" for name, (first, last) in STRONG.items())
    return [
        f"pictures: {size['pictures'] - size['minival']:,} of {conditions.data}, not ImageNet's 1,281,167",
        f"epochs: {size['epochs']}, not 350",
        f"{sides} px in the four stages with {ends}, the last of them throughout where nothing adapts; the paper, for "
        "EfficientNetV2-S: 128 to 300 px with RandAugment 5 to 15, no mixup, dropout 0.1 to 0.3 (Table 6)",
        f"evaluated at {size['image_size']} px, the largest side in training; in the paper that is about 20 % smaller "
        "than the side in evaluation",
    ]
