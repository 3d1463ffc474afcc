"""Which network a text stands for, and the errors where it stands for none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas.config import SearchConfig
from nas.networks import NamedNetwork, find_network
from nas.runs import start
from results.store import TrialStore
from results.trial import Trial
from search_spaces import PUBLISHED, SPACES, ImageSizes

B0 = PUBLISHED["efficientnetv2-b0"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_published_name_has_its_sizes() -> None:
    assert find_network("efficientnetv2-b0") == NamedNetwork("efficientnetv2-b0", B0, ImageSizes(192, 224))


def test_a_text_has_none() -> None:
    found = find_network(str(B0))
    assert (found.architecture, found.image_sizes) == (B0, None)
    assert found.name.startswith("network-")
    assert found.name != find_network(str(PUBLISHED["efficientnet-b0"])).name


def test_a_text_may_be_longer_than_a_file_name_may() -> None:
    stages = "-".join(f"mbconv_k{3 + 2 * (i % 2)}_s1_e4_c{16 + 8 * i}_n2_se0.25" for i in range(40))
    text = f"stem_c16-{stages}-head_c64"
    assert len(text) > 1000
    assert str(find_network(text).architecture) == text
    with pytest.raises(ValueError, match="must be head_c<width>"):
        find_network(text.replace("head", "haed"))
    with pytest.raises(ValueError, match="must be a published name or an architecture text; got ''"):
        find_network("")


@pytest.mark.parametrize("content", [str(B0), f"{B0}\n", json.dumps(B0.to_json()), json.dumps(B0.to_json(), indent=2)])
def test_files_with_a_text_or_json(content: str) -> None:
    Path("mine.txt").write_text(content)
    assert find_network("mine.txt") == NamedNetwork("mine", B0)


def test_a_file_with_a_name() -> None:
    Path("mine.txt").write_text("efficientnetv2-b0\n")
    assert find_network("mine.txt") == NamedNetwork("mine", B0, ImageSizes(192, 224))


def test_a_members_file() -> None:
    Path("s.json").write_text(json.dumps({"architecture": str(B0), "image_size": 64, "train_image_size": 48}))
    assert find_network("s.json") == NamedNetwork("s", B0, ImageSizes(48, 64))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"architecture": str(B0)}, "s.json must hold .*: image_size must be an integer of at least 1; got None"),
        (
            {"architecture": str(B0), "image_size": "64", "train_image_size": 48},
            "image_size must be an integer of at least 1; got '64'",
        ),
        ({"architecture": 3, "image_size": 64, "train_image_size": 48}, "architecture must be a text"),
        ({"architecture": "x", "image_size": 64, "train_image_size": 48}, "an architecture text must read"),
        (
            {"architecture": str(B0), "image_size": 0, "train_image_size": 48},
            "image_size must be an integer of at least 1; got 0",
        ),
        ({"architecture": str(B0), "image_size": 64, "train_image_size": 48, "num_classes": 0}, "num_classes must be"),
        ("[]", "s.json must hold a published name, .*; got '\\[\\]'"),
        ({"stem": 3}, "must have the fields stem_channels, stages, head_channels"),
        ("{", "s.json must hold .*: Expecting property name"),
        ("efficientnetv2-z", "did you mean"),
        ("", "must be a published name or an architecture text; got ''"),
    ],
)
def test_broken_files_say_what_is_wrong(content: object, message: str) -> None:
    Path("s.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=message):
        find_network("s.json")


def test_a_file_that_is_no_text() -> None:
    Path("s.json").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match=r"s\.json must hold .*: .utf-8. codec"):
        find_network("s.json")


def test_a_trial_needs_a_run() -> None:
    with pytest.raises(ValueError, match="--trial must go with the folder of a run; got 'efficientnetv2-b0'"):
        find_network("efficientnetv2-b0", 3)


def test_a_folder_that_is_no_run() -> None:
    Path("empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no run"):
        find_network("empty")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of three candidates by an evaluator that trains nothing; trial 1 is the best."""
    source = (
        "from results import Measurement\n"
        "def evaluate(architecture, seed):\n"
        "    evaluate.calls += 1\n"
        "    return Measurement(accuracy=(0.5, 0.9, 0.7)[evaluate.calls - 1], step_time=1.0, params=1)\n"
        "evaluate.calls = 0\n"
    )
    (tmp_path / "mine.py").write_text(source)
    config = SearchConfig(evaluator=f"{tmp_path / 'mine.py'}:evaluate", reward="accuracy", image_size=32)
    from nas.runs import RunSettings, make_session
    from nas.search import run_serial

    built, store = start(config, tmp_path / "run")
    run_serial(make_session(built, store, RunSettings(budget=3)), built.evaluate)
    store.close()
    return tmp_path / "run"


def test_a_runs_best_trial_and_any_other(run_folder: Path) -> None:
    texts = {t.number: t.architecture for t in TrialStore.open(run_folder).trials.values()}
    for trial, expected in ((None, 1), (0, 0), (2, 2)):
        found = find_network(str(run_folder), trial)
        assert str(found.architecture) == texts[expected]
        assert found.name == f"run-trial{expected}"
        assert found.image_sizes == ImageSizes(32, 32)
        assert found.space == SPACES["small"].name
        assert (found.num_classes, found.in_channels) == (None, None)  # this evaluator does not say
    with pytest.raises(ValueError, match=r"--trial must be one of the 3 trials of .*; got 7"):
        find_network(str(run_folder), 7)


def test_a_run_without_a_completed_trial(run_folder: Path, tmp_path: Path) -> None:
    lines = (run_folder / "journal.jsonl").read_text().splitlines(keepends=True)
    (run_folder / "journal.jsonl").write_text(lines[0])
    (run_folder / "trials.parquet").unlink()
    with pytest.raises(ValueError, match="no trial is complete yet, so none has a reward"):
        find_network(str(run_folder))
    assert isinstance(TrialStore.open(run_folder).trials[0], Trial)
