"""From the options of `nas train` to a recipe."""

from __future__ import annotations

from typing import Any

import pytest

from nas.exports import Exported
from nas.networks import NamedNetwork
from nas.training_options import CHANGES, Asked, recipe_for
from search_spaces import PUBLISHED
from trainers.progressive import sizes_of
from trainers.recipes import RECIPES


def published(name: str) -> Exported:
    return Exported(network=NamedNetwork(name, PUBLISHED[name]))


def made(name: str, **changes: Any) -> Any:
    return recipe_for(name, published("efficientnetv2-s"), "photos/", changes)


def test_the_epochs_asked_for_are_those_trained_whatever_the_recipes_least_steps() -> None:
    assert RECIPES["transfer"]().for_pictures(2040).epochs == 3334
    for epochs in (1, 30):
        assert made("transfer", epochs=epochs).for_pictures(2040).epochs == epochs
    assert made("transfer", learning_rate=0.1).for_pictures(2040).epochs == 3334


def test_an_exponential_schedule_falls_as_far_in_the_epochs_asked_for() -> None:
    recipe = made("imagenet-paper-s", epochs=90)
    assert recipe.learning_rate_at(89_999, 90_000) == pytest.approx(3.1e-3, rel=5e-3)
    assert recipe.warmup_epochs == pytest.approx(5 * 90 / 350)
    assert made("imagenet-paper-s", epochs=350) == RECIPES["imagenet-paper-s"]()


@pytest.mark.parametrize(
    ("name", "image_size", "sizes"),
    [
        ("imagenet-paper-s", 64, (48, 53, 59, 64)),  # 128 of 300 would be 27 of 64, below the stride
        ("imagenet-released-s", 64, (52, 56, 60, 64)),
        ("imagenet-paper-s", 150, (64, 93, 121, 150)),
        ("imagenet-paper-s", 32, (32, 32, 32, 32)),
    ],
)
def test_sizes_follow_the_largest_as_far_as_maps_stay_of_use(
    name: str, image_size: int, sizes: tuple[int, ...]
) -> None:
    assert sizes_of(made(name, image_size=image_size)) == sizes


def test_no_warm_up_is_a_warm_up_asked_for() -> None:
    options = {**dict.fromkeys(CHANGES), **dict.fromkeys(Asked.__dataclass_fields__), "recipe": "small-cpu"}
    assert Asked.of({**options, "larger_batches": False}).changes == {}
    changes = Asked.of({**options, "warmup_epochs": 0.0, "larger_batches": True}).changes
    assert changes == {"warmup_epochs": 0.0, "smaller_sizes_larger_batches": True}
    assert made("small-cpu", **changes).learning_rate_at(0, 100) == made("small-cpu").learning_rate * 64 / 256
