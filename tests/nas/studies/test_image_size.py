"""Smaller training pictures: the study at its smallest, and what is told of made-up results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nas_command import nas

from nas import trainings
from nas.studies.image_size import STUDY, sides, timed_sides
from nas.studies.study import Conditions

TRAINED = {"pictures": 400, "minival": 100, "test_pictures": 200, "epochs": 3, "seeds": 3, "image_size": 128}
WHOLE = TRAINED | {"width": 0.25, "timed_width": 1.0, "timed_share": 1.0, "timed_batch": 8, "blocks": 9}


@pytest.mark.usefixtures("_in_this_process", "_one_thread", "_unsynced")
def test_the_study_by_the_command(tmp_path: Path, pictures: Path, timed_by: Callable[..., list[str]]) -> None:
    timed_by(lambda network, size: size / 48)
    asked = ("study", "image-size", "-o", tmp_path / "out", "--data", pictures, "--workers", 1, "--budget", 1)
    said = json.loads(nas(*asked, "--format", "json").out)
    assert [(row["image_size"], row["b6_image_size"]) for row in said["table"]] == [(24, 48), (32, 64)]
    assert all(0 <= row["accuracy"] <= 1 and row["n"] == 2 for row in said["table"])
    assert said["claims"][1]["mean"] == pytest.approx(64 / 48)
    assert said["claims"][1]["verdict"] == "holds"
    folders = sorted((tmp_path / "out" / "trainings").iterdir())
    recipes = [trainings.task_of(trainings.read(folder))[0].recipe for folder in folders]
    assert [(recipe.progression.sizes(32), recipe.eval_size) for recipe in recipes] == [((24,), 32)] * 2 + [
        ((32,), 32)
    ] * 2


def told_of(smaller: tuple[float, ...], larger: tuple[float, ...], step: tuple[float, float, float]) -> Any:
    results: dict[str, dict[str, Any]] = {
        f"{side}px-seed{seed}": {"test": test, "train_s": train_s}
        for side, tests, train_s in ((96, smaller, 10.0), (128, larger, 20.0))
        for seed, test in enumerate(tests)
    }
    names = dict(zip(("ratio", "low", "high"), step, strict=True))
    results["step-smaller-over-larger"] = {**names, "seconds": 2.0, "anchor_seconds": 4.0, "samples": [step[0]] * 9}
    return STUDY.told(Conditions(), WHOLE, results)


def test_what_is_told_where_smaller_is_better() -> None:
    told = told_of((0.72, 0.74, 0.76), (0.71, 0.72, 0.73), (0.5, 0.4, 0.8))
    accuracy, speed, time = told.claims
    half = 4.302653 * 0.01 / 3**0.5  # t of two degrees of freedom; the differences are .01, .02 and .03
    assert accuracy.found == pytest.approx((0.02, 0.02 - half, 0.02 + half, 3))
    assert (accuracy.verdict, accuracy.paper) == ("not told apart", "+0.3 points")
    assert (speed.found, speed.verdict) == ((2.0, 1.25, 2.5, 9), "holds")
    assert time.found.mean == pytest.approx(2)
    smaller, larger = told.table
    assert (smaller["b6_images_per_s"], larger["b6_images_per_s"]) == (4.0, 2.0)
    assert (smaller["paper_accuracy"], larger["paper_accuracy"]) == (0.846, 0.843)
    assert (smaller["paper_images_per_s_tpuv3_128"], larger["paper_images_per_s_tpuv3_128"]) == (93, None)
    assert (smaller["paper_images_per_s_tpuv3_32"], larger["paper_images_per_s_tpuv3_32"]) == (76, 42)
    speeds = {mark.label: mark for mark in told.panels[1].marks}
    assert told.panels[1].log
    assert speeds["B6, TPUv3, batches of 32"].paper == pytest.approx(76 / 42)
    assert speeds["B6, V100, batches of 12"].paper == pytest.approx(37 / 29)
    assert [label for label, mark in speeds.items() if math.isfinite(mark.value)] == ["B6 here", "the trainings here"]
    assert any("(epochs: 3)" in line for line in told.changed)
    assert any(line.startswith("intervals are of 3 seeds") for line in told.changed)


def test_the_other_verdicts() -> None:
    assert told_of((0.75, 0.761, 0.77), (0.71, 0.72, 0.73), (1, 0.9, 1.1)).claims[0].verdict == "holds"
    opposite = told_of((0.70, 0.711, 0.72), (0.75, 0.76, 0.77), (1.2, 1.1, 1.3))
    assert [claim.verdict for claim in opposite.claims[:2]] == ["the opposite holds", "the opposite holds"]
    assert told_of((0.7, 0.7, 0.7), (0.7, 0.7, 0.7), (1, 0.9, 1.1)).claims[1].verdict == "not told apart"


def test_the_sides_have_the_papers_proportion() -> None:
    assert [sides(largest)[0] for largest in (32, 96, 128, 224)] == [24, 72, 96, 168]
    assert timed_sides(WHOLE) == (380, 512)
    assert timed_sides({**WHOLE, "timed_share": 0.25}) == (96, 128)
