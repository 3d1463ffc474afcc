"""`TabularTask`: candidates looked up in tables of every kind, and what is said of bad ones."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Sequence
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
            "accuracy": [0.5, 0.75, 0.125, None],
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
    assert task(A, 1) == Measurement(accuracy=0.125, step_time=9.0, params=9, device="abacus")
    assert task(A, 3) is task(A, 1)  # the seed draws one of the two rows
    assert task(B, 0) is task(B, 1)
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


def test_the_repeats_of_a_run_are_no_trainings(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.assign(state=["complete", "complete", "repeat", "failed"]).to_csv(tmp_path / "t.csv", index=False)
    task = TabularTask.read(tmp_path / "t.csv")
    assert task(A, 1) == task(A, 0) == Measurement(accuracy=0.5, step_time=1.25, params=1000, device="H100")


def test_candidates_that_were_stopped_early_are_no_trainings(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.assign(state=["complete", "complete", "stopped", "stopped"]).to_csv(tmp_path / "t.csv", index=False)
    assert all(len(rows) == 1 for rows in TabularTask.read(tmp_path / "t.csv").rows.values())


def test_a_table_gives_one_measurement() -> None:
    assert TabularTask({str(A): Measurement(accuracy=0.5)}).epochs == 1


def test_it_is_made_of_measurements_or_sequences_of_them() -> None:
    one, two = Measurement(accuracy=0.5), Measurement(accuracy=0.75)
    task = TabularTask({str(A): one, str(B): [one, two]})
    assert [task(A, 0), task(A, 1), task(B, 0), task(B, 1), task(B, 7)] == [one, one, one, two, two]
    assert task.rows == {str(A): (one,), str(B): (one, two)}
    with pytest.raises(ValueError, match=f"must have a measurement; {B} has none"):
        TabularTask({str(A): one, str(B): []})


def test_the_seeds_of_trials_draw_every_row_about_as_often() -> None:
    rows = [Measurement(accuracy=accuracy) for accuracy in (0.25, 0.5, 0.75)]
    task = TabularTask({str(A): rows})
    drawn = [task(A, seed) for seed in range(30)]
    assert [drawn.count(row) for row in rows] == [10, 10, 10]


@pytest.mark.parametrize(
    ("times", "expected", "every"), [((1.0, 2.0), 1.5, True), ((1.0, None), 1.0, False), ((None,), math.nan, False)]
)
def test_the_expected_step_time_is_the_mean(times: Sequence[float | None], expected: float, every: bool) -> None:
    task = TabularTask({str(A): [Measurement(accuracy=0.5, step_time=t) for t in times]})
    assert task.expected_step_time(A) == pytest.approx(expected, nan_ok=True)
    assert math.isnan(task.expected_step_time(B))
    assert task.has_step_time is every


def test_an_empty_table_has_no_step_time() -> None:
    assert not TabularTask({}).has_step_time


def keyed_by_genotype(genotypes: Sequence[object]) -> pd.DataFrame:
    return pd.DataFrame({"genotype": genotypes, "accuracy": [0.25 * n for n in range(len(genotypes))]})


SMALL = SPACES["small"]
LISTS = [[*SMALL.genotype_at(0)], [*SMALL.genotype_at(SMALL.size - 1)], [*SMALL.genotype_at(0)]]


@pytest.mark.parametrize("form", ["lists", "json", "digits"])
@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_reads_genotypes(form: str, name: str, tmp_path: Path) -> None:
    forms = {"lists": LISTS, "json": list(map(str, LISTS)), "digits": ["".join(map(str, g)) for g in LISTS]}
    frame = keyed_by_genotype(forms[form])
    assert forms["digits"][0].startswith("0")  # which a number would lose
    if name == "t.csv":
        frame.to_csv(tmp_path / name, index=False)
    else:
        frame.to_parquet(tmp_path / name)
    task = TabularTask.read(tmp_path / name, SMALL)
    first, last = SMALL.decode(tuple(LISTS[0])), SMALL.decode(tuple(LISTS[1]))
    assert [task(first, 0).accuracy, task(first, 1).accuracy, task(last, 0).accuracy] == [0.0, 0.5, 0.25]


def test_genotypes_need_a_space(tmp_path: Path) -> None:
    keyed_by_genotype(LISTS).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"t\.parquet names its networks by genotype: a space must be given"):
        TabularTask.read(tmp_path / "t.parquet")


@pytest.mark.parametrize("value", ["abc", "[0, 1", "-3", "[0.5]", "[[0]]", '["a"]', None])
def test_a_genotype_that_cannot_be_read_is_named(value: str | None, tmp_path: Path) -> None:
    keyed_by_genotype([str(LISTS[0]), value]).to_csv(tmp_path / "t.csv", index=False)
    shown = "nan" if value is None else re.escape(repr(value))
    with pytest.raises(ValueError, match=rf"t\.csv: row 2: a genotype must be a list .*; got {shown}"):
        TabularTask.read(tmp_path / "t.csv", SMALL)


@pytest.mark.parametrize(
    ("value", "why"), [([0], "must have"), ([99] * len(SMALL.choices), "indices must be at least")]
)
def test_a_genotype_of_another_space_is_named(value: list[int], why: str, tmp_path: Path) -> None:
    frame = keyed_by_genotype([LISTS[0], LISTS[1], value]).assign(accuracy=[0.5, None, 0.5])  # rows count all the same
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=rf"row 3: {re.escape(str(value))} is no genotype of space small: .*{why}"):
        TabularTask.read(tmp_path / "t.parquet", SMALL)


def test_architectures_are_taken_where_there_are_genotypes_too(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.assign(genotype="of some other space").to_csv(tmp_path / "t.csv", index=False)
    check(TabularTask.read(tmp_path / "t.csv", SMALL))


def test_a_row_without_an_architecture_is_named(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.assign(architecture=[str(A), None, str(B), None]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match="row 2: the column architecture must hold texts; got nan"):
        TabularTask.read(tmp_path / "t.csv")


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
    changed = frame.assign(accuracy=[0.5, 0.76, 0.125, None])
    changed.to_csv(tmp_path / "c.csv", index=False)
    a, b, c = (TabularTask.read(tmp_path / name).fingerprint for name in ("a.csv", "b.parquet", "c.csv"))
    assert a == b != c


def test_the_fingerprint_counts_the_order_of_one_architectures_rows() -> None:
    one, two = Measurement(accuracy=0.5), Measurement(accuracy=0.75)
    prints = [TabularTask({str(A): rows}).fingerprint for rows in (one, [one], [one, two], [two, one])]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_it_travels_between_processes(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "t.csv", index=False)
    check(pickle.loads(pickle.dumps(TabularTask.read(tmp_path / "t.csv"))))


def test_accuracies_in_per_cent_are_refused() -> None:
    with pytest.raises(ValueError, match=r"an accuracy must be a fraction, from 0 to 1; got 92\.5 of a"):
        TabularTask({"a": Measurement(accuracy=92.5)})
