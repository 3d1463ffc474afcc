"""Several runs as one table: whose a trial is, and what happens where spaces and states differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from results.several import minivals_of, names_of, read_runs
from results.store import TrialStore
from results.trial import Measurement, Trial
from search_spaces import SPACES, SearchSpace, vary


def a_run(folder: Path, trials: int, space: SearchSpace = SPACES["small"], **configuration: object) -> Path:
    store = TrialStore.create(folder, {"space": space.to_json(), **configuration})
    for number in range(trials):
        genotype = space.genotype_at(number)
        trial = Trial(number=number, genotype=genotype, architecture=str(space.decode(genotype)), seed=number)
        store.asked(trial)
        if number:  # the first goes on
            store.measured(number, Measurement(accuracy=number / 10))
            store.told(replace(trial, state="complete", reward=1.0))
    store.close()
    return folder


def test_a_trial_is_told_with_its_run(tmp_path: Path) -> None:
    folders = [a_run(tmp_path / "a" / "run", 3), a_run(tmp_path / "b" / "run", 2), a_run(tmp_path / "c", 1)]
    table, configurations = read_runs(folders)
    assert table.columns[0] == "run"
    assert table["run"].tolist() == ["a/run"] * 3 + ["b/run"] * 2 + ["c"]
    assert table["number"].tolist() == [0, 1, 2, 0, 1, 0]
    assert table["state"].tolist() == ["running", "complete", "complete", "running", "complete", "running"]
    assert table.index.tolist() == list(range(6))
    assert [configuration["space"]["name"] for configuration in configurations] == ["small"] * 3
    alone = TrialStore.open(folders[0]).frame()
    pd.testing.assert_frame_equal(read_runs(folders[:1])[0].drop(columns="run"), alone)
    assert (table.dtypes.drop("run") == alone.dtypes).all(), "numbers stay numbers"


def test_what_only_one_space_has_is_empty_in_the_other(tmp_path: Path) -> None:
    small = SPACES["small"]
    other = SearchSpace("other", small.backbone, vary(2, layers=(1, 2)))
    table, _ = read_runs([a_run(tmp_path / "a", 2), a_run(tmp_path / "b", 2, other), a_run(tmp_path / "none", 0)])
    assert table["run"].tolist() == ["a", "a", "b", "b"]
    assert table.loc[table["run"] == "b", "stage1_kernel"].isna().all()
    assert table["stage2_layers"].notna().all()
    assert read_runs([tmp_path / "none"])[0].empty


def test_runs_are_named_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    a_run(Path("run"), 1)
    with pytest.raises(ValueError, match=r"each run must be named once, and one at least; got .*run, run"):
        read_runs([tmp_path / "run", Path("run")])
    with pytest.raises(ValueError, match="one at least; got none"):
        read_runs([])
    with pytest.raises(FileNotFoundError, match="nowhere holds no run"):
        read_runs([Path("run"), Path("nowhere")])
    assert names_of([Path("run"), Path("a/run"), Path("b/run"), Path("a/other")])[1:] == ["a/run", "b/run", "other"]


def test_the_minival_is_what_the_run_says(tmp_path: Path) -> None:
    task = {"task": {"pictures": {"train": 1, "minival": 500, "test": 1}}}
    folders = [a_run(tmp_path / "a", 1, identity=task), a_run(tmp_path / "b", 1), a_run(tmp_path / "c", 1, identity={})]
    assert minivals_of(folders, read_runs(folders)[1]) == {"a": 500, "b": None, "c": None}
