"""`TabularTask`: candidates looked up in tables of every kind, and what is said of bad ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import pandas as pd
import pytest

from results.store import TrialStore
from results.trial import Measurement, Trial
from search_spaces import SPACES, Architecture
from trainers.tabular import TabularTask

A, B, C, D = (Architecture.parse(f"stem_c8-mbconv_k3_s2_e4_c{channels}_n1-head_c32") for channels in (8, 16, 24, 32))


@pytest.fixture
def frame() -> pd.DataFrame:
    """A table with a gap, a row without accuracy, an architecture twice and a column of somebody's own."""
    return pd.DataFrame(
        {
            "architecture": [str(A), str(B), str(A), str(C)],
            "accuracy": [0.5, 0.75, 0.1, None],
            "step_time": [1.25, None, 9.0, 2.0],
            "params": [1000, None, 9, 30],
            "device": ["H100", None, "abacus", "H100"],
            "colour": ["red", "green", "blue", "grey"],
        }
    )


def check(task: TabularTask) -> None:
    assert task(A, 0) == Measurement(accuracy=0.5, step_time=1.25, params=1000, device="H100")
    assert task(B, 0) == Measurement(accuracy=0.75)
    assert type(task(A, 0).params) is int  # though a column with gaps holds floats
    assert task(A, 0) is task(A, 1)  # the seed is not used
    for lacking in (C, D):
        with pytest.raises(ValueError, match=f"the table of 2 networks does not hold {lacking}"):
            task(lacking, 0)


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_reads_csv(name: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / name, index=False)
    check(TabularTask.read(tmp_path / name))


def test_reads_parquet(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_parquet(tmp_path / "table.parquet")
    check(TabularTask.read(tmp_path / "table.parquet"))


def test_reads_a_run_folder(tmp_path: Path) -> None:
    space = SPACES["small"]
    store = TrialStore.create(tmp_path / "run", {"space": space.to_json(), "columns": {"device_name": "x"}})
    rows = []
    for number in range(3):
        genotype = space.genotype_at(number)
        trial = Trial(number=number, genotype=genotype, architecture=str(space.decode(genotype)), seed=number)
        measurement = Measurement(accuracy=0.25 * number, epoch=2, params=100 + number, host="here")
        store.asked(trial)
        if number != 1:
            store.measured(number, measurement)
        rows.append((space.decode(genotype), measurement))
    store.write_view()
    store.close()
    task = TabularTask.read(tmp_path / "run")
    assert [task(*row) for row in ((rows[0][0], 0), (rows[2][0], 0))] == [rows[0][1], rows[2][1]]
    with pytest.raises(ValueError, match="the table of 2 networks does not hold"):
        task(rows[1][0], 0)


def test_only_architecture_and_accuracy_are_needed(tmp_path: Path) -> None:
    pd.DataFrame({"accuracy": [0.5], "architecture": [str(A)]}).to_csv(tmp_path / "t.csv", index=False)
    assert TabularTask.read(tmp_path / "t.csv")(A, 0) == Measurement(accuracy=0.5)


@pytest.mark.parametrize("name", ["nowhere.csv", "nowhere.parquet", "nowhere"])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"a run folder, a parquet or a CSV file that exists; got .*{name}"):
        TabularTask.read(tmp_path / name)


def test_a_folder_without_a_table(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a run folder, a parquet or a CSV file that exists; got"):
        TabularTask.read(tmp_path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "table.xlsx").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"must be a run folder, a parquet or a CSV file; got .*table\.xlsx"):
        TabularTask.read(tmp_path / "table.xlsx")


@pytest.mark.parametrize("lacking", ["architecture", "accuracy"])
def test_a_missing_column_is_named(lacking: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.drop(columns=lacking).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match=rf"t\.csv must have the columns .* it lacks \['{lacking}'\]"):
        TabularTask.read(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_broken_file_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=f"{name} cannot be read"):
        TabularTask.read(tmp_path / name)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("accuracy", "high", "the column accuracy must hold numbers; got 'high'"),
        ("params", 5.3, "the column params must hold whole numbers; got 5.3"),  # not millions
    ],
)
def test_a_value_that_cannot_be_is_named(column: str, value: object, message: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"architecture": [str(A)], "accuracy": [0.5]}).assign(**{column: [value]})
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match=rf"t\.csv: {message}"):
        TabularTask.read(tmp_path / "t.csv")


def test_the_fingerprint_is_of_what_the_table_holds(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.iloc[[1, 0, 2]].to_parquet(tmp_path / "b.parquet")
    changed = frame.assign(accuracy=[0.5, 0.76, 0.1, None])
    changed.to_csv(tmp_path / "c.csv", index=False)
    a, b, c = (TabularTask.read(tmp_path / name).fingerprint for name in ("a.csv", "b.parquet", "c.csv"))
    assert a == b != c


def test_it_travels_between_processes(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "t.csv", index=False)
    check(pickle.loads(pickle.dumps(TabularTask.read(tmp_path / "t.csv"))))
