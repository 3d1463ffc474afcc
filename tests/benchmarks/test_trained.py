"""What the benchmarks of trainings rest on: intervals, differences by seed, bars, and that nothing is trained twice."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from coloured_pictures import pictures
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nas.studies.trained import trained
from search_spaces import Architecture
from trainers.progressive import settings_at, sizes_of
from trainers.recipe import Recipe
from trainers.recipes import RECIPES
from trainers.task import TrainingTask

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SMALL = Architecture.parse("stem_c8-fused_mbconv_k3_s2_e1_c8_n1-mbconv_k3_s2_e4_c16_n1_se0.25-head_c32")


class Loaded(NamedTuple):
    """The benchmarks' modules."""

    trained: ModuleType
    progressive: ModuleType
    by_size: ModuleType


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[Loaded]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        names = ("trained", "progressive", "randaugment_by_size")
        yield Loaded(*(importlib.import_module(name) for name in names))
        for name in (*names, "machine"):
            sys.modules.pop(name, None)


@pytest.fixture
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def task(folder: Path) -> TrainingTask:
    source, test = pictures(folder / "pictures.parquet", 100), pictures(folder / "test.parquet", 40, seed=1)
    recipe = Recipe(epochs=1, batch_size=32, image_size=16)
    return TrainingTask(recipe=recipe, source=str(source), test_source=str(test), architecture=SMALL, minival=20)


# Intervals --------------------------------------------------------------------------------------------------------


def test_the_quantiles_are_students(benchmarks: Loaded) -> None:
    degrees = np.arange(1, len(benchmarks.trained.T_95) + 1)
    np.testing.assert_allclose(benchmarks.trained.T_95, stats.t.ppf(0.975, degrees), atol=5e-5)


@given(values=st.lists(st.floats(-1, 1), min_size=2, max_size=15))
def test_an_interval_is_that_of_scipy(benchmarks: Loaded, values: list[float]) -> None:
    found = benchmarks.trained.interval(values, digits=12)
    error = stats.sem(values)
    half = error * stats.t.ppf(0.975, len(values) - 1)
    assert found["mean"] == pytest.approx(np.mean(values), abs=1e-9)
    assert (found["low"], found["high"]) == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=1e-3)
    assert found["n"] == len(values)


def test_one_value_has_no_interval(benchmarks: Loaded) -> None:
    assert benchmarks.trained.interval([0.5]) == {"mean": 0.5, "low": None, "high": None, "n": 1, "each": [0.5]}


# Trainings that are gone on with ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_one_thread")
def test_a_training_that_is_over_is_not_trained_again(benchmarks: Loaded, tmp_path: Path) -> None:
    asked = task(tmp_path)
    trained(tmp_path / "one", asked, "cpu")
    (tmp_path / "one" / benchmarks.trained.RESULTS).write_text('{"test": 0.5}')
    (tmp_path / "pictures.parquet").unlink()  # without which none could be trained
    every = {"device": "cpu", "workers": 1}
    assert benchmarks.trained.train_all(tmp_path, {"one": asked}, **every) == {"one": {"test": 0.5}}
    with pytest.raises(ValueError, match="its seed is 0, and 1 was asked for"):
        benchmarks.trained.train_all(tmp_path, {"one": replace(asked, seed=1)}, **every)


# What is asked for ------------------------------------------------------------------------------------------------


def arguments(benchmarks: Loaded, *given: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["progressive.py", "--out", "trainings", *given])
        return benchmarks.progressive.asked()


def test_a_schedule_takes_the_recipes_strengths_and_the_sizes_asked_for(benchmarks: Loaded) -> None:
    asked = arguments(benchmarks, "--image-size", "100", "--smallest", "40", "--epochs", "10")
    base = benchmarks.trained.recipe_of(asked)
    usual = RECIPES["small-cpu"]()
    recipes = {
        name: benchmarks.progressive.recipe_with(base, name, asked)
        for name in ("constant", "paper", "resize", "fixres:0.75")
    }
    assert {name: sizes_of(recipe) for name, recipe in recipes.items()} == {
        "constant": (100,),
        "paper": (40, 60, 80, 100),
        "resize": (40, 60, 80, 100),
        "fixres:0.75": (75,),
    }
    for recipe in recipes.values():
        assert (recipe.epochs, recipe.eval_size, recipe.warmup_epochs) == (10, 128, usual.warmup_epochs)
        last = settings_at(recipe, 99, 100, seed=0)
        assert last.augmentation.randaugment == usual.augmentation.randaugment
        assert last.dropout == usual.dropout
    first = {name: settings_at(recipe, 0, 100, seed=0) for name, recipe in recipes.items()}
    assert usual.progression.randaugment is not None
    assert first["paper"].augmentation.randaugment == usual.progression.randaugment[0]
    assert first["resize"].augmentation.randaugment == usual.augmentation.randaugment


def test_strengths_asked_for_hold_for_every_schedule(benchmarks: Loaded) -> None:
    asked = arguments(benchmarks, "--randaugment", "5..15", "--mixup", "0..0.2", "--dropout", "0.1..0.3")
    base = benchmarks.trained.recipe_of(asked)
    ends = {
        name: [
            (settings.augmentation.randaugment, settings.augmentation.mixup, settings.dropout)
            for recipe in [benchmarks.progressive.recipe_with(base, name, asked)]
            for settings in (settings_at(recipe, 0, 100, seed=0), settings_at(recipe, 99, 100, seed=0))
        ]
        for name in ("constant", "paper")
    }
    assert ends == {"constant": [(15, 0.2, 0.3)] * 2, "paper": [(5, 0, 0.1), (15, 0.2, 0.3)]}


@given(size=st.integers(1, 128))
def test_a_size_of_randaugments_table_is_trained_and_evaluated_at(benchmarks: Loaded, size: int) -> None:
    recipe = benchmarks.by_size.recipe_at(RECIPES["small-cpu"](), size, 7.0, 128)
    settings = settings_at(recipe, 50, 100, seed=0)
    assert (settings.image_size, recipe.eval_size, settings.augmentation.randaugment) == (size, size, 7.0)
    assert recipe.image_size == 128  # which pictures are kept at


# What is told -----------------------------------------------------------------------------------------------------


def one(test: float, train_s: float) -> dict[str, Any]:
    rates = {"96": [100.0, 120.0]}
    told = {"minival": test + 0.01, "test": test, "best_epoch": 3, "train_s": train_s, "pixels": train_s}
    return {**told, "waited_share": 0.01, "pictures_per_s": rates}


def test_differences_are_paired_by_seed(benchmarks: Loaded) -> None:
    found = {
        "constant": {0: one(0.70, 100), 1: one(0.80, 120)},
        "paper": {0: one(0.71, 55), 1: one(0.812, 66)},
        "resize": {0: one(0.72, 55), 1: one(0.80, 66)},
    }
    summary = benchmarks.progressive.summary(found)
    assert list(summary["differences"]) == ["paper - constant", "resize - constant", "paper - resize"]
    assert summary["differences"]["paper - constant"]["test"]["each"] == [0.01, 0.012]
    assert summary["differences"]["paper - resize"]["test"]["each"] == [-0.01, 0.012]
    assert summary["schedules"]["paper"]["train_s_over_constant"]["each"] == [0.55, 0.55]
    assert summary["schedules"]["paper"]["pictures_per_s"]["96"]["n"] == 4
    assert summary["bars"] == {
        "accuracy_of_constant": True,  # .011 with an interval of .0127 on both sides begins at -.0017
        "time_of_constant": True,
        "adaptive_above_resize": True,
        "adaptive_surely_above_resize": False,
    }


def test_bars_are_not_reached_by_what_is_slower_or_uncertain(benchmarks: Loaded) -> None:
    found = {
        "constant": {0: one(0.70, 100), 1: one(0.80, 100)},
        "paper": {0: one(0.70, 61), 1: one(0.802, 61)},
    }
    assert benchmarks.progressive.summary(found)["bars"] == {
        "accuracy_of_constant": False,  # .001 with an interval of .0127 on both sides
        "time_of_constant": False,
        "adaptive_above_resize": None,
        "adaptive_surely_above_resize": None,
    }


def test_one_seed_reaches_no_bar_of_accuracy(benchmarks: Loaded) -> None:
    found = {"constant": {0: one(0.7, 100)}, "paper": {0: one(0.8, 50)}, "resize": {0: one(0.7, 50)}}
    bars = benchmarks.progressive.summary(found)["bars"]
    assert bars["accuracy_of_constant"] is bars["adaptive_surely_above_resize"] is None


def test_what_strength_is_worth_is_told_by_size(benchmarks: Loaded) -> None:
    accuracy = {(64, 5.0): 0.6, (64, 15.0): 0.58, (128, 5.0): 0.7, (128, 15.0): 0.71}
    found = {
        (size, magnitude, seed): {"test": share + 0.02 * seed, "minival": share}
        for (size, magnitude), share in accuracy.items()
        for seed in (0, 1)
    }
    summary = benchmarks.by_size.summary(found)
    assert {size: row["best"] for size, row in summary["sizes"].items()} == {"64": 5, "128": 15}
    assert summary["sizes"]["64"]["highest_less_lowest"]["each"] == [-0.02, -0.02]
    assert summary["worth_of_strength_grows_by"]["each"] == [0.03, 0.03]


# As scripts -------------------------------------------------------------------------------------------------------


def script(name: str, *given: str | Path) -> tuple[dict[str, Any], str]:
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *map(str, given)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_the_benchmark_goes_on_with_the_trainings_there_are(tmp_path: Path) -> None:
    source, test = pictures(tmp_path / "train.parquet", 400), pictures(tmp_path / "test.parquet", 100, seed=1)
    given = ("--quick", "--data", source, "--test-data", test, "--out", tmp_path / "out")
    first, said = script("progressive", *given, "--schedules", "constant")
    assert said.count("in all") == 2  # a training of each seed
    second, said = script("progressive", *given, "--schedules", "constant,paper")
    assert said.count("in all") == 2
    assert second["trainings"]["constant"] == first["trainings"]["constant"]
    assert list(second["schedules"]) == ["constant", "paper"]


def test_a_comparison_without_its_library_says_so() -> None:
    if importlib.util.find_spec("timm") is not None:
        pytest.skip("timm is installed here")
    found, said = script("network_throughput", "--quick")
    assert "timm cannot be imported" in found["not_measured"]
    assert said.startswith("not measured")
