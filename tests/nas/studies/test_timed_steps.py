"""Timings as steps of studies: taken in earnest, and how long they are expected to take."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.studies import conduct, pace, v1_v2
from nas.studies.pace import Pace
from nas.studies.steps import Compare, times_as_fast
from nas.studies.study import Conditions, Place
from search_spaces import Architecture, Stage
from trainers.recipe import Recipe

SMALL = Architecture(8, (Stage("fused_mbconv", 3, 2, 1, 8, 1),), 16)
LARGE = Architecture(64, (Stage("fused_mbconv", 3, 1, 4, 64, 2),), 64)
STEP = Compare("small-over-large", SMALL, LARGE, Recipe(batch_size=8), 16, 32, (16, 32), 3)


def seconds_are(monkeypatch: pytest.MonkeyPatch, asked: list[Any], error: Exception | None = None) -> None:
    def rough_step_s(network: Any, size: int, recipe: Recipe, **given: Any) -> float:
        asked.append((size, recipe.batch_size))
        if error is not None:
            raise error
        return 0.25 * recipe.batch_size * (size / 16) ** 2

    monkeypatch.setattr("trainers.step_timer.rough_step_s", rough_step_s)


def test_a_small_network_is_found_to_be_faster(tmp_path: Path) -> None:
    gave = STEP.run(Place(folder=tmp_path, source="", test_source=None, device="cpu", workers=1, say=print))
    for way in ("", "pass_"):
        found = times_as_fast(gave, way)
        assert 1.5 < found.low <= found.mean <= found.high
        assert found.n == len(gave[f"{way}samples"]) == 3
        assert 0 < gave[f"{way}seconds"] < gave[f"{way}anchor_seconds"]


def test_on_a_cpu_a_few_pictures_tell_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    seconds_are(monkeypatch, asked)
    # steps of 2 and 8 s and a third of each for the passes; 3 blocks and 8 until they have settled
    assert STEP.expected_s(Pace("cpu")) == pytest.approx((3 + 8) * (2 + 8) * (1 + 1 / 3))
    assert asked == [(16, 8), (32, 8)]
    larger = replace(STEP, image_size=160, pass_sizes=None)  # 200 s for its eight pictures
    assert larger.expected_s(Pace("cpu")) == pytest.approx((3 + 8) * (200 + 8))
    assert asked[2:] == [(160, 1), (32, 8)]
    assert replace(STEP, pass_sizes=None).expected_s(Pace("cpu")) == pytest.approx((3 + 8) * (2 + 8))


@pytest.mark.parametrize("error", [MemoryError("none left"), RuntimeError("CUDA out of memory")])
def test_what_memory_does_not_suffice_for_takes_for_ever(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    seconds_are(monkeypatch, [], error)
    assert Pace("cpu").step_s(SMALL, Recipe(batch_size=8), 16) == math.inf
    with pytest.raises(MemoryError, match="memory must suffice for the smallest v1-v2 study"):
        conduct.planned("v1-v2", Conditions(), budget_s=1e9, workers=1)


def test_another_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds_are(monkeypatch, [], RuntimeError("no such kernel"))
    with pytest.raises(RuntimeError, match="no such kernel"):
        Pace("cpu").step_s(SMALL, Recipe(batch_size=8), 16)


def test_a_study_is_as_large_as_memory_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds_are(monkeypatch, [])
    monkeypatch.setattr(pace, "_machine_bytes", lambda: 16e9)
    plan = conduct.planned("v1-v2", Conditions(), budget_s=1e9, workers=1)
    assert (plan.size["batch_size"], plan.size["image_share"], plan.larger_s) == (4, 1.0, None)
    assert plan.size["blocks"] == 21
    monkeypatch.setattr(pace, "_machine_bytes", lambda: 1e15)
    plan = conduct.planned("v1-v2", Conditions(), budget_s=1e9, workers=1)
    assert plan.size == v1_v2.sizes(conduct.NO_MATERIAL)[-1]
