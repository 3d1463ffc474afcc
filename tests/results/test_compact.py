"""Compacted runs: two files, the same table, open for reading alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from results.compact import compact
from results.store import TrialStore
from results.trial import Measurement, Trial
from search_spaces import SPACES

SPACE = SPACES["small"]


@pytest.fixture
def store(tmp_path: Path) -> TrialStore:
    """A run in progress: complete, failed, a repeat, one that runs; and a view that knows the first alone."""
    made = TrialStore.create(tmp_path / "run", {"space": SPACE.to_json(), "columns": {"image_size": 32}})
    made.record({"event": "started", "settings": {"budget": 9}, "host": "here", "time": 1e9})
    for number in range(3):
        genotype = SPACE.genotype_at(number)
        trial = Trial(number=number, genotype=genotype, architecture=str(SPACE.decode(genotype)), seed=2**62 + number)
        made.asked(trial)
        if number == 0:
            made.measured(0, Measurement(accuracy=0.5, epoch=1, step_time=1.0))
            made.measured(0, Measurement(accuracy=0.6, epoch=2, step_time=1.1, step_time_samples=(1.0, 1.1, 1.2)))
            made.told(replace(trial, state="complete", reward=0.6, hypervolume=0.1, told_at=2.0))
            made.write_view()
        if number == 1:
            made.told(replace(trial, state="failed", failure="diverged", reason="loss is nan", told_at=3.0))
    again = replace(made.trials[0], number=3, state="repeat", repeat_of=0, measurement=None, curve=(), curve_epochs=())
    made.asked(replace(again, reward=None, hypervolume=None, told_at=None))
    made.told(replace(again, reward=0.6, hypervolume=None, told_at=4.0))
    return made


def test_the_copy_has_the_table_the_trials_and_the_start(store: TrialStore, tmp_path: Path) -> None:
    compact(store, tmp_path / "deep" / "copy")
    assert sorted(path.name for path in (tmp_path / "deep" / "copy").iterdir()) == ["run.json", "trials.parquet"]
    copy = TrialStore.open(tmp_path / "deep" / "copy")
    pd.testing.assert_frame_equal(copy.frame(), store.frame(), check_exact=True)
    assert len(copy.frame()) == 4
    known = {number: trial for number, trial in store.trials.items() if trial.measurement is None}
    assert {number: copy.trials[number] for number in known} == known
    for number in (0, 3):  # of timings the median alone is in a table
        measurement = replace(store.trials[number].measurement, step_time_samples=())
        assert copy.trials[number] == replace(store.trials[number], measurement=measurement)
    assert copy.configuration == store.configuration
    assert list(copy.events()) == [{"event": "started", "settings": {"budget": 9}, "host": "here", "time": 1e9}]


def test_a_copy_of_a_copy_is_the_same(store: TrialStore, tmp_path: Path) -> None:
    compact(store, tmp_path / "one")
    compact(TrialStore.open(tmp_path / "one"), tmp_path / "two")
    for name in ("run.json", "trials.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_run_is_left_as_it_is_and_a_folder_in_use_too(store: TrialStore, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(FileExistsError, match="must not exist yet"):
        compact(store, tmp_path / "run")
    compact(store, tmp_path / "copy")
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_copy_cannot_be_written_to(store: TrialStore, tmp_path: Path) -> None:
    compact(store, tmp_path / "copy")
    with pytest.raises(FileNotFoundError, match=r"no journal.jsonl; restore it .* go on with the run that it was made"):
        TrialStore.open(tmp_path / "copy", writing=True)
    with pytest.raises(ValueError, match="was opened for reading"):
        TrialStore.open(tmp_path / "copy").asked(store.trials[0])
    assert not (tmp_path / "copy" / "journal.jsonl").exists()


def test_a_run_whose_journal_was_removed_can_be_read(store: TrialStore, tmp_path: Path) -> None:
    store.write_view()
    frame = store.frame()
    store.close()
    (tmp_path / "run" / "journal.jsonl").unlink()
    left = TrialStore.open(tmp_path / "run")
    pd.testing.assert_frame_equal(left.frame(), frame, check_exact=True)
    assert list(left.events()) == []


def test_a_broken_table_is_named(store: TrialStore, tmp_path: Path) -> None:
    compact(store, tmp_path / "copy")
    content = bytearray((tmp_path / "copy" / "trials.parquet").read_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / "copy" / "trials.parquet").write_bytes(bytes(content[: len(content) // 2]))
    for look in (TrialStore.frame, lambda copy: copy.trials):
        with pytest.raises(ValueError, match=r"trials.parquet cannot be read .*; restore it from a copy"):
            look(TrialStore.open(tmp_path / "copy"))


def test_a_journal_that_is_put_back_is_the_truth_again(store: TrialStore, tmp_path: Path) -> None:
    compact(store, tmp_path / "copy")
    (tmp_path / "copy" / "journal.jsonl").write_bytes((tmp_path / "run" / "journal.jsonl").read_bytes())
    store.close()
    again = TrialStore.open(tmp_path / "copy", writing=True)
    assert again.trials == TrialStore.open(tmp_path / "run").trials
    pd.testing.assert_frame_equal(again.frame(), store.frame(), check_exact=True)


def test_a_run_without_trials(tmp_path: Path) -> None:
    compact(TrialStore.create(tmp_path / "run", {"space": SPACE.to_json()}), tmp_path / "copy")
    copy = TrialStore.open(tmp_path / "copy")
    assert copy.trials == {}
    assert len(copy.frame()) == 0
    assert json.loads((tmp_path / "copy" / "run.json").read_text())["events"] == []
