"""The study of adaptive regularisation: what it trains, what it says of made-up trainings, and its smallest size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from coloured_pictures import pictures
from nas_command import nas
from small_studies import in_process

from nas.studies.adaptive import PAPER, STUDY, changed, period_epochs
from nas.studies.study import Conditions, Place, Told
from trainers.progressive import settings_at

SIZE = {"pictures": 3600, "minival": 600, "test_pictures": 1000, "epochs": 90, "seeds": 3, "image_size": 96,
        "width": 0.25}  # fmt: skip


def told(**gained: tuple[float, float, float]) -> Told:
    """What is said where adaptation gains so much with each seed, by the adaptive schedule."""
    without = {"paper": "resize", "random_adaptive": "random"}
    made = {}
    for schedule, by_seed in gained.items():
        for seed, more in enumerate(by_seed):
            base = 0.5 + 0.1 * seed  # by which seeds differ, and pairs do not
            made[f"{without[schedule]}-seed{seed}"] = {"test": base}
            made[f"{schedule.replace('_', '-')}-seed{seed}"] = {"test": base + more}
    return STUDY.told(Conditions(), SIZE, made)


def test_schedules_of_a_pair_have_the_same_sizes_and_differ_in_strength(tmp_path: Path) -> None:
    place = Place(folder=tmp_path, source="a", test_source="b", device="cpu", workers=1, say=print)
    steps = {step.name: step.task for step in STUDY.steps(Conditions(seed=2), SIZE, place)}
    assert list(steps) == [f"{kind}-seed{seed}" for seed in (2, 3, 4) for kind in PAPER]
    for without, adapted in (("resize", "paper"), ("random", "random-adaptive")):
        for seed in (2, 3, 4):
            now = [
                [settings_at(task.recipe, step, 900, seed=task.seed) for step in range(0, 900, 20)]
                for task in (steps[f"{without}-seed{seed}"], steps[f"{adapted}-seed{seed}"])
            ]
            assert [one.image_size for one in now[0]] == [one.image_size for one in now[1]]
            assert {one.image_size for one in now[0]} == {40, 59, 77, 96}
            assert {one.augmentation.randaugment for one in now[0]} == {15}
            assert {(one.image_size, one.augmentation.randaugment) for one in now[1]} == {
                (40, 3), (59, 7), (77, 11), (96, 15)
            }  # fmt: skip


def test_sizes_are_drawn_as_often_as_in_the_paper_or_every_epoch() -> None:
    assert [period_epochs(epochs) for epochs in (1, 20, 350)] == [1, 1, 8]
    assert 90 / period_epochs(90) == pytest.approx(350 / 8)


def test_how_often_a_size_is_drawn_is_told_beside_the_papers() -> None:
    at = {epochs: changed(Conditions(), {**SIZE, "epochs": epochs}) for epochs in (1, 90)}
    said = {epochs: [line for line in lines if "a random size" in line] for epochs, lines in at.items()}
    assert said[90] == ["a random size is drawn every 2.06 of 90 epochs, the paper's share (every 8 of 350 epochs)"]
    assert said[1] == ["a random size is drawn every epoch, in all 1; in the paper every 8 of 350 epochs, in all 44"]
    assert not any("1 epochs" in line for line in at[1])


def test_what_intervals_are_of_is_told() -> None:
    (seeds,) = [line for line in changed(Conditions(), SIZE) if line.startswith("intervals")]
    assert seeds.startswith("intervals are of 3 seeds of the weights, the order and the variation of the pictures; the")
    assert "the paper's numbers are of 3 runs" in seeds
    assert "same excerpt of the pictures, the same split and the same test pictures" in seeds
    assert "each claim is judged at 5 % by itself" in seeds
    (recipe,) = [line for line in changed(Conditions(), SIZE) if line.startswith("the recipe")]
    assert "`small-cpu` (SGD, batches of 64), not the paper's" in recipe


def test_what_held_is_told_by_the_interval() -> None:
    # half of an interval is 4.3027 / sqrt(3) standard deviations
    made = told(paper=(0.107, 0.117, 0.127), random_adaptive=(-0.02, 0.01, 0.0))
    assert [claim.verdict for claim in made.claims] == ["holds", "not told apart"]
    assert made.claims[0].found == pytest.approx((0.117, 0.117 - 0.024842, 0.117 + 0.024842, 3), abs=1e-6)
    assert str(made.claims[0]).endswith("+11.70 (+9.22 to +14.18), n = 3. The paper: +0.8 points.")
    assert made.claims[1].paper == "+0.7 points"
    assert told(paper=(-0.02, -0.02, -0.021), random_adaptive=(0, 0, 0)).claims[0].verdict == "the opposite holds"


def test_the_papers_numbers_stand_beside() -> None:
    made = told(paper=(0.1, 0.1, 0.1), random_adaptive=(0.0, 0.0, 0.0))
    rows = {(row["sizes"], row["adaptive"]): row for row in made.table}
    assert {key: (row["paper_accuracy"], row["paper_plus_minus"]) for key, row in rows.items()} == {
        ("progressive resize", "no"): (0.843, 0.0014),
        ("progressive resize", "yes"): (0.851, 0.0007),
        ("random resize", "no"): (0.835, 0.0011),
        ("random resize", "yes"): (0.842, 0.0010),
    }
    assert rows["progressive resize", "yes"]["accuracy"] == pytest.approx(0.7)
    assert made.panels[0].within == (0, 100)
    worth = made.panels[1].marks
    assert [mark.paper for mark in worth] == pytest.approx([0.8, 0.7])
    assert [mark.value for mark in worth] == pytest.approx([10, 0])


@pytest.mark.usefixtures("_one_thread")
def test_its_smallest_size_through_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = in_process(monkeypatch)
    source = ("--data", pictures(tmp_path / "a.parquet", 120), "--test-data", pictures(tmp_path / "b.parquet", 60))
    asked = ("study", "adaptive", *source, "--device", "cpu", "--workers", 1, "--format", "json", "--budget", "0.1")
    outcome = nas(*asked, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["size"]["epochs"] == 1
    assert sorted(done) == sorted(f"{kind}-seed{seed}" for kind in PAPER for seed in (0, 1))
    assert [claim["n"] for claim in found["claims"]] == [2, 2]
    accuracies = [row["accuracy"] for row in found["table"]]
    assert found["claims"][1]["mean"] == pytest.approx(100 * (accuracies[3] - accuracies[2]))
    assert (tmp_path / "out" / "findings.md").is_file()
