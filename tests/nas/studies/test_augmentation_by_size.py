"""The best augmentation by picture size: what is trained, what is told of made-up trainings, and the smallest size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nas_command import nas

from nas.studies.augmentation_by_size import PAPER, STUDY, sides
from nas.studies.study import Conditions, Place, Told
from trainers.progressive import settings_at

SIZE = {"pictures": 3600, "minival": 600, "test_pictures": 1000, "epochs": 20, "seeds": 3, "image_size": 96,
        "width": 0.25}  # fmt: skip
HERE = (40, 60, 96)


def told(strongest_gains: dict[int, tuple[float, float, float]]) -> Told:
    """What is said where magnitude 15 is so much better than 5 with each seed, by the side."""
    made = {}
    for side, by_seed in strongest_gains.items():
        for seed, gained in enumerate(by_seed):
            for magnitude, more in ((5, 0.0), (10, 0.01), (15, gained)):
                made[f"{side}px-magnitude{magnitude}-seed{seed}"] = {"test": 0.5 + 0.1 * seed + more}
    return STUDY.told(Conditions(), SIZE, made)


def test_each_is_trained_and_evaluated_at_its_side_with_one_magnitude(tmp_path: Path) -> None:
    place = Place(folder=tmp_path, source="a", test_source="b", device="cpu", workers=1, say=print)
    steps = {step.name: step.task for step in STUDY.steps(Conditions(seed=1), SIZE, place)}
    assert len(steps) == 3 * 3 * 3
    assert sides(96) == HERE
    for side in HERE:
        recipe = steps[f"{side}px-magnitude10-seed2"].recipe
        ends = [settings_at(recipe, step, 900) for step in (0, 899)]
        assert [(now.image_size, now.augmentation.randaugment) for now in ends] == [(side, 10)] * 2
        assert recipe.eval_size == side


def test_what_is_told_of_made_up_trainings() -> None:
    made = told({40: (-0.10, -0.12, -0.11), 60: (0, 0.1, -0.1), 96: (0.04, 0.05, 0.06)})
    assert [claim.verdict for claim in made.claims] == ["holds"] * 3
    assert [claim.found.mean for claim in made.claims] == pytest.approx([0.05, 0.11, 0.16])
    turned = told({40: (0.04, 0.05, 0.06), 60: (0, 0.1, -0.1), 96: (-0.1, 0.0, 0.1)})
    assert [claim.verdict for claim in turned.claims] == ["not told apart", "the opposite holds", "not told apart"]
    assert [mark.value for mark in made.panels[3].marks] == pytest.approx([-11, 0, 5])
    assert [mark.paper for mark in made.panels[3].marks] == pytest.approx([-0.6, 0.3, 0.7])
    assert len({(panel.axis, panel.within) for panel in made.panels[:3]}) == 1, "panels of one range"
    assert made.panels[0].within == (0, 100)


def test_the_papers_numbers_stand_beside() -> None:
    made = told(dict.fromkeys(HERE, (0.0, 0.0, 0.0)))
    rows = {(row["paper_image_size"], row["randaugment"]): row for row in made.table}
    assert {key: (row["paper_accuracy"], row["paper_plus_minus"]) for key, row in rows.items()} == PAPER
    assert PAPER[128, 5] == (0.783, 0.0016)
    assert PAPER[300, 15] == (0.832, 0.0009)
    assert sum(around for _, around in PAPER.values()) == pytest.approx(0.0080)  # the nine that Table 5 prints
    assert any("the paper's numbers are of 3 runs" in line for line in made.changed)
    assert any("of its width (epochs: 20)" in line for line in made.changed)


@pytest.mark.usefixtures("_in_this_process", "_one_thread", "_unsynced")
def test_the_study_by_the_command(tmp_path: Path, pictures: Path) -> None:
    asked = ("study", "augmentation-by-size", "-o", tmp_path / "out", "--data", pictures, "--workers", 1)
    said = json.loads(nas(*asked, "--budget", 0.3, "--format", "json").out)
    assert said["size"]["seeds"] == 2
    here = sides(said["size"]["image_size"])
    assert [(row["image_size"], row["randaugment"]) for row in said["table"]] == [
        (side, magnitude) for side in here for magnitude in (5, 10, 15)
    ]
    assert all(0 <= row["accuracy"] <= 1 and row["n"] == 2 for row in said["table"])
    assert not any("1 epochs" in line for line in said["changed"])
    assert (tmp_path / "out" / "figure.svg").is_file()
