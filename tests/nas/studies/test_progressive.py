"""The study of progressive learning: what it trains, what it says of made-up trainings, and its smallest size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from coloured_pictures import pictures
from nas_command import error, nas
from small_studies import in_process

from nas.studies.folder import results
from nas.studies.progressive import PAPER, STUDY, networks
from nas.studies.recipes import scheduled
from nas.studies.study import Conditions, Place, Told
from trainers.progressive import settings_at, sizes_of

SIZE = {"pictures": 3600, "minival": 600, "test_pictures": 1000, "epochs": 90, "seeds": 3, "image_size": 96,
        "width": 0.25}  # fmt: skip
OWN = """
from torch import nn


def network(num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)
    )


def deep(num_classes):
    return nn.Sequential(*(nn.Conv2d(3, 3, 3, 2, 1) for _ in range(5)), nn.Flatten(), nn.LazyLinear(num_classes))
"""


def gave(test: float, train_s: float = 10.0, pixels: int = 1000) -> dict[str, Any]:
    return {"test": test, "train_s": train_s, "pixels": pixels}


def told(gained: dict[str, tuple[float, ...]], times: tuple[float, ...] = (0.5, 0.5, 0.5)) -> Told:
    """What is said where progressive learning gains so much with each seed, in so much of the time."""
    made = {
        f"{name}-{schedule}-seed{seed}": gave(0.6, 10.0) if schedule == "constant" else gave(0.6 + more, 10 * time, 550)
        for name, by_seed in gained.items()
        for seed, (more, time) in enumerate(zip(by_seed, times, strict=True))
        for schedule in ("constant", "paper")
    }
    return STUDY.told(Conditions(model="my/own.py:network" if "own" in gained else None), SIZE, made)


def test_the_numbers_of_the_paper_agree_with_each_other() -> None:
    saved = [round(100 * (after / before - 1)) for (_, before), (_, after) in PAPER.values()]
    assert saved == [-29, -59, -54, -55, -65]  # as it prints them
    gained = [round(1000 * (after - before)) for (before, _), (after, _) in PAPER.values()]
    assert gained == [3, 3, 5, 2, 3]


def test_regularisation_is_strong_throughout_or_grows_with_the_pictures() -> None:
    ends = {
        kind: [
            (now.image_size, now.augmentation.randaugment, now.augmentation.mixup, now.dropout)
            for now in (settings_at(scheduled(SIZE, kind), step, 100) for step in (0, 99))
        ]
        for kind in ("constant", "paper")
    }
    assert ends["constant"] == [(96, 15, 0.2, 0.3)] * 2
    assert ends["paper"] == [(40, 3, 0, 0), (96, 15, 0.2, 0.3)]
    assert sizes_of(scheduled(SIZE, "paper")) == (40, 59, 77, 96)  # as in docs/benchmarks.md


def test_each_network_is_trained_by_both_schedules_with_each_seed(tmp_path: Path) -> None:
    place = Place(folder=tmp_path, source="a", test_source="b", device="cpu", workers=1, say=print)
    conditions = Conditions(seed=4, model="own.py:network")
    steps = STUDY.steps(conditions, SIZE, place)
    assert [step.name for step in steps[:6]] == [
        *("V2-like-constant-seed4", "V2-like-paper-seed4", "V1-like-constant-seed4", "V1-like-paper-seed4"),
        *("own-constant-seed4", "own-paper-seed4"),
    ]
    assert len({step.name for step in steps}) == len(steps) == 3 * 2 * 3
    for step in steps:
        name, schedule, seed = step.name.rsplit("-", 2)
        network = networks(conditions, SIZE)[name]
        assert network in (step.task.architecture, step.task.model)
        assert (step.task.recipe.progression.kind, f"seed{step.task.seed}") == (schedule, seed)
        assert (step.task.minival, step.task.split_seed, step.task.source) == (600, 4, "a")
    assert {stage.op for stage in networks(conditions, SIZE)["V1-like"].stages} == {"mbconv"}
    assert networks(conditions, SIZE)["V2-like"].stages[0].op == "fused_mbconv"


def test_what_held_is_told_by_the_interval() -> None:
    # the mean is .02; half of an interval is 4.3027 / sqrt(3) standard deviations: .0025 of .001, .0248 of .01
    made = told({"V2-like": (0.019, 0.02, 0.021), "V1-like": (0.01, 0.02, 0.03), "own": (-0.019, -0.02, -0.021)})
    gains = made.claims[::2]
    assert [claim.verdict for claim in gains] == ["holds", "not told apart", "the opposite holds"]
    assert gains[0].found == pytest.approx((0.02, 0.02 - 0.0024842, 0.02 + 0.0024842, 3), abs=1e-6)
    assert str(gains[1]) == (
        "V1-like: progressive learning gains accuracy: here that cannot be told, +2.00 (-0.48 to +4.48), n = 3. "
        "The paper: +0.2 points (EfficientNet-B4), +0.3 (B5)."
    )
    rows = made.table[:3]
    assert [row["network"] for row in rows] == ["V2-like", "V1-like", "own.py:network"]
    assert [row["accuracy_progressive"] for row in rows] == pytest.approx([0.62, 0.62, 0.58])
    assert {row["pixels"] for row in rows} == {0.55}


def test_times_are_ratios_paired_by_seed() -> None:
    same = (0.0, 0.0, 0.0)
    faster, row = told({"V2-like": same, "V1-like": same}).claims[1], told({"V2-like": same, "V1-like": same}).table[0]
    assert faster.found == pytest.approx((2, 2, 2, 3))
    assert told({"V2-like": same, "V1-like": same}, (0.5, 0.51, 0.49)).claims[1].verdict == "holds"
    assert row["time"] == pytest.approx(0.5)
    slower = told({"V2-like": same, "V1-like": same}, (1.2, 1.25, 1.3)).claims[1]
    assert slower.verdict == "the opposite holds"
    assert slower.found.mean == pytest.approx(1 / (1.2 * 1.25 * 1.3) ** (1 / 3))
    assert told({"V2-like": same, "V1-like": same}, (0.5, 1.0, 1.5)).claims[1].verdict == "not told apart"


def test_the_papers_rows_stand_beside() -> None:
    made = told({"V2-like": (0.0, 0.0, 0.0), "V1-like": (0.0, 0.0, 0.0)})
    row = next(row for row in made.table if row["network"] == "EfficientNet-B5, in the paper")
    assert (row["accuracy_constant"], row["accuracy_progressive"], row["n"]) == (0.837, 0.840, None)
    assert row["time"] == pytest.approx(15.2 / 42.9)
    assert len(made.table) == 2 + 5
    assert [len(panel.marks) for panel in made.panels] == [2 + 5, 2 + 5]
    assert [mark.label for mark in made.panels[1].marks[:2]] == [
        "V2-like (0.55 of the pixels)",
        "V1-like (0.55 of the pixels)",
    ]
    assert made.panels[1].axis.startswith("time")
    (seeds,) = [line for line in made.changed if line.startswith("intervals are of 3 seeds")]
    assert "runs" not in seeds, "Table 12 does not tell them"


@pytest.mark.usefixtures("_one_thread")
def test_its_smallest_size_through_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = in_process(monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    source = ("--data", pictures(tmp_path / "a.parquet", 120), "--test-data", pictures(tmp_path / "b.parquet", 60))
    asked = (
        "study",
        "progressive",
        *source,
        "--model",
        "own.py:network",
        "--device",
        "cpu",
        "--workers",
        1,
        "--format",
        "json",
    )
    outcome = nas(*asked, "--budget", "0.1", "--out", "out")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert len(done) == 3 * 2 * 2
    assert found["size"]["epochs"] == 1
    own = found["table"][2]
    # 96 pictures are three batches of 30; the stages that these have, of 12, 19, 25 and 32 px, are the first three
    assert own["pixels"] == pytest.approx((12**2 + 19**2 + 25**2) / (3 * 32**2))
    tests = {
        schedule: [results(Path("out"))[f"own-{schedule}-seed{seed}"]["test"] for seed in (0, 1)]
        for schedule in ("constant", "paper")
    }
    gained = [paper - constant for constant, paper in zip(tests["constant"], tests["paper"], strict=True)]
    assert own["difference"] == pytest.approx(sum(gained) / 2)
    assert [claim["n"] for claim in found["claims"]] == [2] * 6
    assert Path("out/figure.svg").is_file()
    again = nas(*asked, "--out", "out")
    assert (again.code, len(done)) == (0, 3 * 2 * 2), "nothing is trained twice"
    assert json.loads(again.out)["table"] == found["table"]


def test_a_model_that_does_not_take_such_small_pictures_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_process(monkeypatch)
    (tmp_path / "own.py").write_text(OWN)
    source = ("--data", pictures(tmp_path / "a.parquet", 120), "--test-data", pictures(tmp_path / "b.parquet", 60))
    said = error("study", "progressive", *source, "--model", f"{tmp_path}/own.py:deep", "--out", tmp_path / "out")
    assert "own.py:deep" in said
    assert "12 px" in said
    assert not (tmp_path / "out").exists()
