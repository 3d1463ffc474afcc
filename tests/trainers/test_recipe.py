"""`Recipe`: the learning rate's course, and which values are taken."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.augmentation import Augmentation
from trainers.progressive import Progression
from trainers.recipe import Recipe, check_brief

RECIPES = st.builds(
    Recipe,
    batch_size=st.integers(1, 1024),
    learning_rate=st.floats(1e-6, 10),
    warmup_share=st.floats(0, 0.99),
)


def course(recipe: Recipe, steps: int) -> list[float]:
    return [recipe.learning_rate_at(step, steps) for step in range(steps)]


@given(RECIPES, st.integers(1, 300))
def test_the_learning_rate_rises_to_its_highest_and_falls_to_zero(recipe: Recipe, steps: int) -> None:
    rates, highest = course(recipe, steps), recipe.learning_rate * recipe.batch_size / 256
    assert all(0 <= rate <= highest * (1 + 1e-12) for rate in rates)
    assert rates[0] > 0
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert top <= math.ceil(recipe.warmup_share * steps)
    if steps - recipe.warmup_share * steps >= 1:  # there is a step to fall in
        assert recipe.learning_rate_at(steps, steps) == pytest.approx(0, abs=1e-12 * highest)


def test_the_learning_rate_step_by_step() -> None:
    rates = course(Recipe(learning_rate=1.0, batch_size=256, warmup_share=0.2), 20)
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])  # four steps of warm-up
    assert rates[4] == 1.0
    assert rates[12] == pytest.approx(0.5)  # halfway down the cosine
    assert rates[8] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


def test_the_learning_rate_goes_with_the_batch() -> None:
    small, large = (Recipe(learning_rate=0.4, batch_size=size) for size in (64, 256))
    assert course(large, 50) == pytest.approx([4 * rate for rate in course(small, 50)])
    assert max(course(large, 50)) == pytest.approx(0.4)


def test_without_warm_up_the_first_step_is_the_highest() -> None:
    rates = course(Recipe(learning_rate=0.5, batch_size=256, warmup_share=0.0), 10)
    assert rates[0] == 0.5
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer of at least 1; got 0"),
        ({"epochs": 1.5}, "epochs must be an integer of at least 1; got 1.5"),
        ({"epochs": True}, "epochs must be an integer of at least 1; got True"),
        ({"batch_size": -2}, "batch_size must be an integer of at least 1; got -2"),
        ({"learning_rate": 0.0}, "learning_rate must be positive and finite; got 0.0"),
        ({"learning_rate": math.inf}, "learning_rate must be positive and finite; got inf"),
        ({"learning_rate": math.nan}, "learning_rate must be positive and finite; got nan"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0 and finite; got -0.1"),
        ({"weight_decay": math.nan}, "weight_decay must be at least 0 and finite; got nan"),
        ({"weight_decay": math.inf}, "weight_decay must be at least 0 and finite; got inf"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ({"momentum": math.nan}, "momentum must be at least 0 and below 1"),
        ({"warmup_share": -0.1}, "warmup_share must be at least 0 and below 1"),
        ({"warmup_share": 1}, "warmup_share must be at least 0 and below 1"),
        ({"label_smoothing": 1.5}, "label_smoothing must be at least 0 and below 1; got 1.5"),
        ({"optimizer": "adam"}, "optimizer must be one of sgd, rmsprop, adamw; got 'adam'"),
        ({"schedule": "linear"}, "schedule must be one of cosine, exponential, constant; got 'linear'"),
        ({"rms_decay": 1.0}, "rms_decay must be at least 0 and below 1; got 1.0"),
        ({"epsilon": 0.0}, "epsilon must be positive and finite; got 0.0"),
        ({"decay_factor": math.nan}, "decay_factor must be positive and finite; got nan"),
        ({"decay_epochs": 0.0}, "decay_epochs must be positive and finite; got 0.0"),
        ({"warmup_epochs": 3.0}, "warmup_epochs must be from 0 to the 2 epochs; got 3.0: train longer, or set it too"),
        ({"ema": 1.0}, "ema must be at least 0 and below 1; got 1.0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1; got 1.0"),
        ({"survival": 0.0}, "survival must be above 0 and at most 1; got 0.0"),
        ({"min_crop_area": 0.0}, "min_crop_area must be above 0 and at most 1; got 0.0"),
        ({"bn_momentum": 1.1}, "bn_momentum must be above 0 and at most 1; got 1.1"),
        ({"image_size": 0}, "image_size must be an integer of at least 1; got 0"),
        ({"eval_size": 31.5}, "eval_size must be an integer of at least 1; got 31.5"),
        ({"min_steps": -1}, "min_steps must be an integer of at least 0; got -1"),
        ({"l2": True}, "l2 must be left out with sgd, whose decay is in the gradient in any case; got l2=True"),
        ({"accumulate": 3}, "accumulate must divide batch_size, 128, into equal parts; got 3"),
        (
            {"image_size": 96, "progression": Progression(kind="paper")},
            "paper must be at most image_size, 96; it is 128: give a smaller one, such as paper,smallest:48",
        ),
    ],
)
def test_a_value_out_of_its_range_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**values)


def test_a_recipe_is_a_value() -> None:
    assert Recipe(epochs=3) == Recipe(epochs=3) != Recipe(epochs=4)
    with pytest.raises(FrozenInstanceError):
        Recipe().epochs = 4  # type: ignore[misc]


OTHER = Recipe(
    optimizer="rmsprop",
    schedule="exponential",
    decay_epochs=None,
    warmup_epochs=1.0,
    ema=0.99,
    image_size=64,
    augmentation=Augmentation(flip=True),
    progression=Progression(kind="paper", smallest=32, dropout=(0, 0.2)),
)


def test_the_description_of_an_earlier_recipe_is_what_it_was() -> None:
    """Runs are taken up and compared by it, those written before there were other settings too."""
    assert Recipe(epochs=3).describe() == {
        "epochs": 3,
        "batch_size": 128,
        "learning_rate": 0.2,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "warmup_share": 0.2,
        "label_smoothing": 0.1,
        "augmentation": "none",
    }


def test_the_description_has_what_is_changed_and_gives_the_recipe_back() -> None:
    described = OTHER.describe()
    assert described["progression"] == "paper,smallest:32,dropout:0..0.2"
    assert described["decay_epochs"] is None
    assert not {"dropout", "survival", "rms_decay"} & set(described)
    assert Recipe.from_json(json.loads(json.dumps(described))) == OTHER
    with pytest.raises(ValueError, match=r"must have settings among epochs, .*; got 'rate'"):
        Recipe.from_json({"rate": 0.1})


def test_all_settings_are_written_whatever_the_defaults_become() -> None:
    written = OTHER.to_json()
    assert set(written) == set(Recipe.__dataclass_fields__)
    assert (written["momentum"], written["min_steps"], written["schedule"]) == (0.9, 0, "exponential")
    assert Recipe.from_json(json.loads(json.dumps(written))) == OTHER


def test_settings_that_never_had_an_effect_are_read_and_left_out() -> None:
    assert Recipe.from_json({"epochs": 3, "multi_label": True, "l2": True}) == Recipe(epochs=3)
    assert Recipe.from_json({"optimizer": "adamw", "l2": True}).l2


def test_an_exponential_schedule_falls_in_steps_or_with_every_step() -> None:
    base = Recipe(
        epochs=10, batch_size=256, learning_rate=1.0, warmup_share=0, schedule="exponential", decay_factor=0.5
    )
    rates = course(replace(base, decay_epochs=2.5), 40)
    assert rates == [0.5 ** (step // 10) for step in range(40)]
    assert course(replace(base, decay_epochs=None), 4) == pytest.approx([1, 0.5**0.25, 0.5**0.5, 0.5**0.75])


@pytest.mark.parametrize("schedule", ["cosine", "exponential", "constant"])
def test_warm_up_in_epochs_is_its_share_of_the_steps(schedule: str) -> None:
    given = Recipe(epochs=8, warmup_epochs=2.0, schedule=schedule)
    assert course(given, 80) == course(replace(given, warmup_epochs=None, warmup_share=0.25), 80)
    rates = course(given, 80)
    assert rates[:20] == sorted(rates[:20])
    assert rates[20] == pytest.approx(0.1) or schedule == "exponential"


def test_a_candidates_training_takes_what_it_heeds() -> None:
    check_brief(Recipe(epochs=3, optimizer="adamw", schedule="constant", accumulate=2))
    with pytest.raises(ValueError, match="must leave ema, image_size, progression at the default"):
        check_brief(OTHER)
