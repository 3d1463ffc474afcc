"""What all studies have in common: plans that fit, steps that are kept, folders that say what they are."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
from made_run import make_run
from nas_command import nas

from nas.studies import STUDIES, asking, conduct, load, report
from nas.studies import folder as folders
from nas.studies.networks import LEAST_SIDE, like
from nas.studies.pace import Pace
from nas.studies.sizes import training_sizes
from nas.studies.study import Conditions, Material, Place, Results, Size, Study, Told, in_words
from results.analysis.claims import Claim, Interval
from results.analysis.panels import Mark, Panel
from results.metrics import read_metrics, write_metrics
from search_spaces import PUBLISHED
from trainers.cores import usable_cores

DONE: list[str] = []
"""The steps that were done in this process."""


@dataclass(frozen=True)
class Square:
    """Gives the square of a number."""

    alone: ClassVar[bool] = True
    name: str
    number: int

    def expected_s(self, pace: Pace) -> float:
        return float(self.number)

    def run(self, place: Place) -> Mapping[str, Any]:
        DONE.append(self.name)
        if (place.folder / "stop").exists() and self.number == 2:
            raise KeyboardInterrupt
        return {"square": self.number**2}


def steps(conditions: Conditions, size: Size, place: Place) -> Sequence[Square]:
    return [Square(f"square-{number}", number) for number in range(1, size["numbers"] + 1)]


def told(conditions: Conditions, size: Size, results: Results) -> Told:
    squares = [result["square"] for result in results.values()]
    found = Interval(float(sum(squares)), 0.5, math.nan, len(squares))
    return Told(
        table=[{"number": n, "square": s, "paper": "?"} for n, s in enumerate(squares, 1)],
        claims=[Claim("Squares are above none", found, "difference", "yes")],
        panels=[Panel("squares", "square", [Mark("sum", found.mean, found.low, 30.0)])],
        changed=["numbers, not pictures"],
    )


MADE = Study(
    question="are squares squares?",
    source="a table",
    sizes=lambda material: [{"numbers": count} for count in (2, 3, 4)],
    steps=steps,
    told=told,
    on_pictures=False,
)


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    DONE.clear()
    for module in ("asking", "conduct"):
        monkeypatch.setattr(f"nas.studies.{module}.load", lambda name: MADE)


@pytest.mark.parametrize(("budget_s", "numbers", "larger"), [(3, 2, 6), (5.9, 2, 6), (6, 3, 10), (100, 4, None)])
def test_a_study_is_as_large_as_its_time_bears(budget_s: float, numbers: int, larger: float | None) -> None:
    plan = conduct.planned("v1-v2", Conditions(), budget_s=budget_s, workers=2)
    assert plan.size == {"numbers": numbers}
    assert plan.expected_s == sum(range(numbers + 1))
    assert plan.larger_s == larger


def test_a_budget_under_the_least_names_one_that_does() -> None:
    with pytest.raises(ValueError, match=r"takes about 3 s here, and the budget is 1 s: .* --budget 0\.1$"):
        conduct.planned("v1-v2", Conditions(), budget_s=1, workers=1)


def study_in(folder: Path) -> Path:
    plan = conduct.planned("v1-v2", Conditions(), budget_s=8, workers=1)
    conduct.begin("v1-v2", Conditions(), plan, folder, budget_min=0.1)
    return folder


def quiet(text: str) -> None:
    del text


def test_what_is_done_is_kept_and_not_done_again(tmp_path: Path) -> None:
    folder = study_in(tmp_path / "s")
    (folder / "stop").touch()
    with pytest.raises(KeyboardInterrupt):
        conduct.go_on(folder, workers=1, say=quiet)
    assert folders.results(folder) == {"square-1": {"square": 1}}
    (folder / "stop").unlink()
    with (folder / folders.STEPS).open("a") as file:
        file.write('{"step": "square-2", "ga')  # a kill in the middle of a line
    results = conduct.go_on(folder, workers=1, say=quiet)
    assert [result["square"] for result in results.values()] == [1, 4, 9]
    assert DONE == ["square-1", "square-2", "square-2", "square-3"]
    assert conduct.go_on(folder, workers=1, say=quiet) == results
    assert len(DONE) == 4
    lines = [json.loads(line) for line in (folder / folders.STEPS).read_text().splitlines()]
    assert [line["step"] for line in lines] == ["square-1", "square-2", "square-3"]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    folder = study_in(tmp_path / "s")
    (folder / folders.STEPS).write_text('{"step": "square-1", "gave": {"square": 1}, "took_s": 1}\nrubbish\n')
    with pytest.raises(ValueError, match=r"line 2 of .*steps.jsonl must be a step's result"):
        conduct.go_on(folder, workers=1, say=quiet)


def test_two_processes_do_not_go_on_at_once(tmp_path: Path) -> None:
    folder = study_in(tmp_path / "s")
    with folders.locked(folder), pytest.raises(BlockingIOError, match="another process is at the study"):
        conduct.go_on(folder, workers=1, say=quiet)


def test_a_study_that_is_gone_on_with_is_the_one_it_was(tmp_path: Path) -> None:
    folder = study_in(tmp_path / "s")
    asking.check_same(folder, "v1-v2", {"data": "mnist5k", "device": "auto", "seed": 0}, None)
    asking.check_same(folder, "v1-v2", {}, 0.1)
    for name, given, budget, said in (
        ("adaptive", {}, None, "holds the study v1-v2, and adaptive was asked for"),
        ("v1-v2", {"seed": 3}, None, "has seed 0, and 3 was asked for"),
        ("v1-v2", {}, 5.0, "had 0.1 minutes, and 5 were asked for"),
    ):
        with pytest.raises(ValueError, match=said):
            asking.check_same(folder, name, given, budget)


def test_a_folder_in_use_or_without_a_study_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FileExistsError):
        study_in(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no study"):
        folders.read(tmp_path)
    folder = study_in(tmp_path / "s")
    (folder / folders.FILE).write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        folders.read(folder)


def test_what_is_written_says_all(tmp_path: Path) -> None:
    folder = study_in(tmp_path / "s")
    said = conduct.told(folder, conduct.go_on(folder, workers=1, say=quiet))
    written = {path.name for path in report.write(folder, said)}
    assert written == {"table.csv", "claims.csv", "figure.svg", "findings.md"}
    assert (folder / "table.csv").read_text() == "number,square,paper\n1,1,?\n2,4,?\n3,9,?\n"
    page = (folder / "findings.md").read_text()
    for part in ("| 3 | 9 | ? |", "this holds here, +14.000", "- numbers, not pictures", "(figure.svg)", "numbers 3"):
        assert part in page
    json.dumps(report.as_json(folder, said))


def test_what_a_study_has_no_use_for_is_refused(tmp_path: Path) -> None:
    for option, value, said in (
        ("--model", "a:b", "--model"),
        ("--data", "pictures", "needs no pictures; got --data pictures"),
        ("--budget", "inf", "a number of minutes"),
        ("--seed", str(2**63), "4294967295"),
    ):
        found = nas("study", "v1-v2", option, value, "-o", tmp_path / "s")
        assert found.code
        assert said in found.err
        assert not (tmp_path / "s").exists()


def test_a_plan_does_nothing_also_of_a_study_that_has_begun(tmp_path: Path) -> None:
    folder = study_in(tmp_path / "s")
    (folder / "stop").touch()
    with pytest.raises(KeyboardInterrupt):
        conduct.go_on(folder, workers=1, say=quiet)
    DONE.clear()
    found = nas("study", "v1-v2", "--plan", "-o", folder)
    assert found.code == 0
    assert "1 of the 3 steps" in found.err
    assert "about 5 s" in found.err
    assert not DONE
    (folder / "stop").unlink()
    conduct.go_on(folder, workers=1, say=quiet)
    assert "all 3 steps" in nas("study", "v1-v2", "--plan", "-o", folder).err


def test_what_was_found_is_told_also_where_the_disk_takes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, told: Told) -> list[Path]:
        raise OSError(errno.ENOSPC, "no room", str(folder))

    monkeypatch.setattr(report, "write", full)
    found = nas("study", "v1-v2", "-o", study_in(tmp_path / "s"))
    assert found.code == 1
    assert "Squares are above none: this holds here" in found.out
    assert "no room" in found.err


def test_no_more_trainings_at_a_time_than_cores() -> None:
    assert asking.workers_of("cpu", 10**6) == asking.workers_of("cpu", None) == usable_cores()
    assert (asking.workers_of("cpu", 1), asking.workers_of("cuda", None), asking.workers_of("cuda", 3)) == (1, 1, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"conditions": {"data": "mnist5k", "colour": "red"}}, "study.json cannot be read"),
        ({"versions": None}, "study.json cannot be read"),
        ({"size": {"letters": 3}}, "study.json is not as this release writes it"),
    ],
)
def test_a_broken_study_is_said_to_be_that(tmp_path: Path, change: Mapping[str, Any], said: str) -> None:
    folder = study_in(tmp_path / "s")
    path = folder / folders.FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    found = nas("study", "v1-v2", "-o", folder)
    assert found.code == 1
    assert said in found.err
    assert "restore it from a copy" in found.err


def test_results_that_are_not_a_studys_are_said_to_be_that(tmp_path: Path) -> None:
    folder = study_in(tmp_path / "s")
    results = conduct.go_on(folder, workers=1, say=quiet)
    with pytest.raises(ValueError, match=r"steps\.jsonl is not as this release writes it \(KeyError\('square'\)\)"):
        conduct.told(folder, results | {"square-1": {}})
    (folder / folders.STEPS).write_bytes(b"\xff\xfe\n")
    with pytest.raises(ValueError, match=r"line 1 of .*steps\.jsonl"):
        folders.results(folder)


def test_pictures_that_were_drawn_are_all_that_is_needed(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = {"numbers": 3, "pictures": 20, "test_pictures": 10}
    for module in ("asking", "conduct"):
        monkeypatch.setattr(f"nas.studies.{module}.load", lambda name: replace(MADE, on_pictures=True))
    folder = tmp_path / "s"
    given = asking.asked_for("v1-v2", data=os.path.relpath(pictures), test_data=None, model=None, device=None, seed=1)
    assert given == {"data": str(pictures), "seed": 1}, "the same from whatever folder"
    conditions = asking.conditions_of(given)
    conduct.begin("v1-v2", conditions, conduct.Plan(size, 3, 6.0, None), folder, budget_min=0.1)
    (folder / "stop").touch()
    with pytest.raises(KeyboardInterrupt):
        conduct.go_on(folder, workers=1, say=quiet)
    pictures.unlink()
    moved = folder.rename(tmp_path / "moved")
    (moved / "stop").unlink()
    assert conduct.material_of(conditions, moved).train == 20
    assert len(conduct.go_on(moved, workers=1, say=quiet)) == 3


@pytest.mark.parametrize("train", [250, 4_000, 60_000])
@pytest.mark.parametrize("test", [0, 1_000])
def test_sizes_grow_and_stay_within_the_pictures(train: int, test: int) -> None:
    found = training_sizes(Material(train=train, test=test, side=32, classes=10, channels=3))
    assert found
    for size in found:
        kept = size["test_pictures"] if not test else 0
        assert size["pictures"] + kept <= train
        assert size["test_pictures"] <= (test or train)
        assert 0 < size["minival"] < size["pictures"]
        assert size["image_size"] <= 32
    work = [size["pictures"] * size["epochs"] * size["seeds"] * size["width"] ** 2 for size in found]
    assert all(a <= b for a, b in pairwise(work))
    assert work[0] < work[-1] / 50


@pytest.mark.parametrize("name", ["efficientnetv2-b0", "efficientnet-b0"])
@pytest.mark.parametrize("side", [16, 32, 96, 224])
def test_small_networks_are_the_published_ones_with_stride_to_spare(name: str, side: int) -> None:
    network = like(name, 0.25, side)
    assert side // network.total_stride >= LEAST_SIDE or network.total_stride == 2
    assert [stage.op for stage in network.stages] == [stage.op for stage in PUBLISHED[name].stages]
    assert network.stages[-1].channels * 4 == pytest.approx(PUBLISHED[name].stages[-1].channels, rel=0.2)
    assert like(name, 1, 224) == PUBLISHED[name]


def test_sizes_in_words() -> None:
    assert in_words({"test_pictures": 1000, "space": "small"}) == "test pictures 1,000, space small"


def test_the_studies_are_listed_and_others_are_not(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in nas("study", "--format", "json").out.splitlines()]
    assert {row["name"]: row["asks"] for row in rows} == STUDIES
    found = nas("study", "tables")
    assert found.code == 1
    assert "a study must be one of discovery, fused-stages" in found.err


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_can_be_asked_for(name: str) -> None:
    study = load(name)
    assert study.question.endswith("?")
    assert "arXiv" in study.source
    material = Material(train=50_000, test=10_000, side=128, classes=10, channels=3)
    found = study.sizes(material if study.on_pictures else conduct.NO_MATERIAL)
    assert len(found) >= 3
    for size in found:
        place = Place(folder=Path(), source="a.parquet", test_source="b.parquet", device="cpu", workers=2, say=quiet)
        names = [step.name for step in study.steps(Conditions(), size, place)]
        assert names
        assert len(set(names)) == len(names)


def test_a_compacted_study_says_the_same(tmp_path: Path) -> None:
    folder = study_in(tmp_path / "s")
    conduct.go_on(folder, workers=1, say=quiet)
    make_run(folder / "runs" / "search", trials=5)
    for name in ("a", "b"):
        (folder / "trainings" / name).mkdir(parents=True)
        write_metrics([{"epoch": 1, "accuracy": 0.5, "of": name}], folder / "trainings" / name / "metrics.parquet")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "train.parquet").write_bytes(b"pictures")
    found = nas("compact", folder, "-o", tmp_path / "small")
    assert found.code == 0, found.err
    files = {str(path.relative_to(tmp_path / "small")) for path in (tmp_path / "small").rglob("*") if path.is_file()}
    assert files == {
        "study.json",
        "steps.jsonl",
        "metrics.parquet",
        "runs/search/run.json",
        "runs/search/trials.parquet",
    }
    for file in ("study.json", "runs/search/run.json"):
        assert str(tmp_path) not in (tmp_path / "small" / file).read_text(), "places are of no use to others"
    assert read_metrics(tmp_path / "small" / "metrics.parquet")[["training", "of"]].to_numpy().tolist() == [
        ["a", "a"],
        ["b", "b"],
    ]
    DONE.clear()
    again = conduct.go_on(tmp_path / "small", workers=1, say=quiet)
    assert again == conduct.go_on(folder, workers=1, say=quiet)
    assert not DONE
    assert nas("compact", folder, "-o", tmp_path / "small").code == 1, "a folder in use"
