"""The commands that look at a run, on runs of every kind: none in which they fail, or say nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_run import make_run
from nas_command import error, nas

RUNS: dict[str, dict[str, Any]] = {
    "none": {"trials": 0},
    "one": {"trials": 1},
    "failed": {"trials": 9, "outcomes": ("failed",)},
    "stopped": {"trials": 9, "outcomes": ("stopped",)},
    "running": {"trials": 9, "outcomes": ("running",)},
    "missing": {"trials": 9, "outcomes": ("missing",)},
    "mixed": {"trials": 30, "outcomes": ("complete", "running", "failed", "stopped", "repeat", "missing")},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name, how in RUNS.items():
        make_run(folder / name, **how)
    return folder


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("command", ["trials", "pareto", "watch", "compare"])
def test_it_looks_at_any_run(runs: Path, command: str, run: str) -> None:
    folders = [runs / run, *([runs / ("one" if run == "mixed" else "mixed")] if command == "compare" else [])]
    for form in ("table", "json", "csv"):
        outcome = nas(command, *folders, "--format", form)
        assert outcome.code == 0, outcome.err
        assert outcome.out or outcome.err, "nothing is said"
        if form == "json":
            [json.loads(line) for line in outcome.out.splitlines()]


def test_what_there_is_not_is_said(runs: Path) -> None:
    assert f"{runs / 'none'} has no trial yet" in nas("trials", runs / "none").err
    assert nas("trials", runs / "none", "--format", "json").out == ""
    assert "no complete trial yet" in nas("trials", runs / "failed", "--top", 3).err
    assert "step_time is no objective here: it was measured in no trial" in nas("pareto", runs / "missing").out
    assert "none of its 9 complete trials has a reward to choose the best by" in error("describe", runs / "missing")
    assert "no trial is complete yet, so none has a reward" in error("describe", runs / "failed")
    assert nas("describe", runs / "missing", "--trial", 0).code == 0


def test_the_number_of_the_best_is_whole_where_a_run_has_none(runs: Path) -> None:
    lines = nas("compare", runs / "failed", runs / "mixed").out.splitlines()
    assert [line.split()[8] for line in lines[1:4]] == ["number", "-", "0"]
