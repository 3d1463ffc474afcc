"""The published trainings: what paper and code say of them, number by number."""

from __future__ import annotations

from typing import Any

import pytest

from trainers.augmentation import Augmentation
from trainers.recipe import Recipe
from trainers.recipes import RECIPES

IMAGENET = [name for name in RECIPES if name.startswith("imagenet-")]
BATCHES = 1_256_144 / 4096  # steps of an epoch of ILSVRC2012 without the minival
STEPS = 107_336

EXPECTED: dict[str, dict[str, Any]] = {
    "imagenet-released-xl": {
        "augmentation": Augmentation(flip=True, randaugment=20, mixup=0.5, cutmix=0.5),
        "dropout": 0.4,
        "image_size": 384,
        "eval_size": 512,
    },
    "imagenet21k": {
        "epochs": 60,
        "schedule": "cosine",
        "warmup_epochs": 1,
        "label_smoothing": 0,
        "augmentation": Augmentation(flip=True),
        "dropout": 0,
        "survival": 1,
        "image_size": 224,
        "batch_size": 4096,
    },
    "finetune": {
        "epochs": 15,
        "min_steps": 10_000,
        "batch_size": 512,
        "schedule": "constant",
        "warmup_epochs": 1,
        "ema": 0.9996,
        "weight_decay": 1e-5,
        "label_smoothing": 0.1,
        "dropout": 0,
        "survival": 0.8,
        "augmentation": Augmentation(flip=True, cutout=0.5),
        "min_crop_area": 1,
    },
    "transfer": {
        "batch_size": 512,
        "schedule": "cosine",
        "weight_decay": 0,
        "min_steps": 10_000,
        "augmentation": Augmentation(cutout=0.5),
    },
    "fast-scaling": {
        "optimizer": "sgd",
        "momentum": 0.9,
        "label_smoothing": 0.1,
        "batch_size": 1024,
        "warmup_epochs": 5,
        "weight_decay": 1e-5,
        "epochs": 200,
    },
}


@pytest.mark.parametrize("name", IMAGENET)
def test_what_all_imagenet_trainings_share(name: str) -> None:
    recipe = RECIPES[name]()
    assert (recipe.optimizer, recipe.rms_decay, recipe.momentum, recipe.epsilon) == ("rmsprop", 0.9, 0.9, 1e-3)
    assert (recipe.weight_decay, recipe.l2) == (1e-5, True)
    assert (recipe.batch_size, recipe.epochs, recipe.warmup_epochs) == (4096, 350, 5)
    assert (recipe.schedule, recipe.decay_factor, recipe.decay_epochs) == ("exponential", 0.97, 2.4)
    assert (recipe.label_smoothing, recipe.ema, recipe.survival) == (0.1, 0.9999, 0.8)
    assert recipe.bn_momentum == (0.01 if "paper" in name else 0.1)
    sizes = {"s": 384, "m": 480, "l": 480, "xl": 512}
    assert (recipe.min_crop_area, recipe.eval_size) == (0.05, sizes[name.rpartition("-")[2]])


def test_the_learning_rate_on_imagenet() -> None:
    recipe = RECIPES["imagenet-released-s"]()
    assert recipe.learning_rate_at(5 * BATCHES - 1, STEPS) == pytest.approx(0.256, rel=1e-3)  # warm
    # the fall is counted from step 0: when warm-up ends after 5 epochs, there have been two
    assert recipe.learning_rate_at(5.01 * BATCHES, STEPS) == pytest.approx(0.256 * 0.97**2)
    assert recipe.learning_rate_at(7.19 * BATCHES, STEPS) == pytest.approx(0.256 * 0.97**2)
    assert recipe.learning_rate_at(7.21 * BATCHES, STEPS) == pytest.approx(0.256 * 0.97**3)
    assert recipe.learning_rate_at(STEPS - 1, STEPS) == pytest.approx(3.1e-3, rel=5e-3)


def test_the_learning_rate_of_the_others() -> None:
    steps = 60_000
    assert max(RECIPES["imagenet21k"]().learning_rate_at(s, steps) for s in range(steps)) == pytest.approx(0.128)
    fine = RECIPES["finetune"]()
    assert [fine.learning_rate_at(s, steps) for s in (4000, 30_000, 59_999)] == pytest.approx([0.001] * 3)
    moved = RECIPES["transfer"]().for_pictures(50_000)
    assert max(moved.learning_rate_at(s, steps) for s in range(steps)) == pytest.approx(0.001, rel=1e-3)
    assert moved.learning_rate_at(steps - 1, steps) < 1e-6
    scaled = RECIPES["fast-scaling"]()
    for at in (0.1, 0.5, 1.0):  # λ β^(t / T)
        assert scaled.learning_rate_at(at * steps, steps) == pytest.approx(2.0 * 0.02**at)


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_published_of_the_others(name: str) -> None:
    recipe = RECIPES[name]()
    assert {field: getattr(recipe, field) for field in EXPECTED[name]} == EXPECTED[name]


@pytest.mark.parametrize(
    ("pictures", "epochs"), [(50_000, 104), (8_144, 667), (2_040, 3334), (1_256_144, 15)]
)  # CIFAR, Cars, Flowers; ILSVRC2012's 15 epochs are more
def test_short_data_is_seen_until_ten_thousand_steps_are_done(pictures: int, epochs: int) -> None:
    recipe = RECIPES["finetune"]().for_pictures(pictures)
    assert recipe.epochs == epochs
    evaluations, steps = -(-epochs // recipe.evaluate_epochs), epochs * (pictures // 512)
    assert recipe.evaluate_epochs == 1 or (50 <= evaluations <= 100 and steps / evaluations >= 100)
    assert recipe.epochs * (pictures // 512) >= 10_000
    assert recipe.for_pictures(pictures) == recipe
    with pytest.raises(ValueError, match="batch_size must be at most the 511 training pictures; got 512"):
        recipe.for_pictures(511)


@pytest.mark.parametrize("epochs", [30, 90, 700])
@pytest.mark.parametrize("name", RECIPES)
def test_in_fewer_or_more_epochs_the_learning_rate_has_the_same_course(name: str, epochs: int) -> None:
    recipe, steps = RECIPES[name](), 2000
    other = recipe.for_epochs(epochs)
    assert (other.epochs, other.min_steps) == (epochs, 0)
    course = [other.learning_rate_at(step, steps) for step in range(steps)]
    assert course == pytest.approx([recipe.learning_rate_at(step, steps) for step in range(steps)])
    if name.startswith("imagenet-"):
        assert course[-1] == pytest.approx(3.1e-3, rel=5e-3)


@pytest.mark.parametrize("name", RECIPES)
def test_what_the_released_code_trains_is_evaluated_as_it_does(name: str) -> None:
    recipe = RECIPES[name]()
    released = "released" in name or name in ("imagenet21k", "finetune", "transfer")
    assert (recipe.eval_crop, recipe.normalisation) == (("released",) * 2 if released else ("centre", "pictures"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_plain_data_and_back(name: str) -> None:
    recipe = RECIPES[name]()
    assert Recipe.from_json(recipe.describe()) == recipe == Recipe.from_json(recipe.to_json())


def test_the_proxys_is_the_default() -> None:
    assert RECIPES["proxy"]() == Recipe()
