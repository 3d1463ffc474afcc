"""`Recipe`: the learning rate's course, and which values are taken."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.recipe import Recipe

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
    ],
)
def test_a_value_out_of_its_range_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**values)


def test_a_recipe_is_a_value() -> None:
    assert Recipe(epochs=3) == Recipe(epochs=3) != Recipe(epochs=4)
    with pytest.raises(FrozenInstanceError):
        Recipe().epochs = 4  # type: ignore[misc]
