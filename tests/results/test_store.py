"""The store: whatever is asked, measured, told and torn, its table is the journal's, whole and typed."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

import results.store
from results.store import TrialStore
from results.table import TrialTable, to_frame
from results.trial import Measurement, State, Trial
from search_spaces import Architecture, Choice, SearchSpace, Stage, vary

SPACE = SearchSpace(
    "two-stages",
    Architecture(8, (Stage("mbconv", 3, 2, 4, 8, 1), Stage("mbconv", 3, 2, 4, 16, 1, 0.25)), 32),
    (
        *vary(1, op=({"op": "mbconv", "se_ratio": 0.25}, {"op": "fused_mbconv", "se_ratio": 0.0}), kernel=(3, 5)),
        *vary(2, se_ratio=(0, 0.25), expand_ratio=(1, 4), layers=(0, 1, 2)),
    ),
)
COLUMNS = {"controller": "random", "image_size": 32, "share": 0.5}
CONFIGURATION = {"space": SPACE.to_json(), "columns": COLUMNS, "note": "ä"}


def trial(number: int, genotype: tuple[int, ...] = (0, 1, 1, 0, 1), **values: Any) -> Trial:
    text = str(SPACE.decode(genotype))
    known = {"seed": 2**62 + number, "features": (0.1, number / 3), "asked_at": 1e9 + number / 7}
    return Trial(number=number, genotype=genotype, architecture=text, **{**known, **values})


def table_of(trials: Iterable[Trial]) -> pd.DataFrame:
    ordered = sorted(trials, key=lambda t: t.number)
    return to_frame(TrialTable(SPACE, COLUMNS, {}).table(ordered))


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    lists = ["genotype", "features", "curve"]
    for name in lists:
        assert [list(v) for v in found[name]] == [list(v) for v in expected[name]]
    pd.testing.assert_frame_equal(found.drop(columns=lists), expected.drop(columns=lists), check_exact=True)


def a_finished_run(folder: Path, trials: int = 3) -> TrialStore:
    store = TrialStore.create(folder, CONFIGURATION)
    for number in range(trials):
        asked = trial(number, SPACE.genotype_at(number))
        store.asked(asked)
        store.measured(number, Measurement(accuracy=number / 7, step_time=1.5, params=10**10 + number, host="here"))
        store.told(replace(asked, state="complete", reward=number / 9, told_at=1e9))
    return store


# Every order of events ------------------------------------------------------------------------------------------

REALS = st.floats(allow_nan=False, allow_infinity=False)
MEASUREMENTS = st.builds(
    Measurement,
    accuracy=REALS,
    epoch=st.integers(1, 9) | st.floats(0.125, 9),
    step_time=st.none() | REALS,
    step_time_samples=st.lists(REALS, max_size=3).map(tuple),
    params=st.none() | st.integers(0, 2**62),
    host=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
)


class AnyHistory(RuleBasedStateMachine):
    """What a session may do to a store, in any order, with closing, reopening, tearing and looking in between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp()) / "run"
        self.expected: dict[int, Trial] = {}

    @initialize()
    def make(self) -> None:
        self.store = TrialStore.create(self.folder, CONFIGURATION)
        self.store.record({"event": "started", "settings": {"budget": 3}})

    def open_numbers(self) -> list[int]:
        return [n for n, t in self.expected.items() if t.told_at is None]

    def running(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from([n for n in self.open_numbers() if self.expected[n].state == "running"]))

    @rule(data=st.data(), state=st.sampled_from(["running", "running", "infeasible", "repeat"]))
    def ask(self, data: st.DataObject, state: State) -> None:
        number = len(self.expected)
        asked = trial(number, SPACE.genotype_at(data.draw(st.integers(0, SPACE.size - 1))), state=state)
        if state == "infeasible":
            asked = replace(asked, reason="params 3 is over the limit of 2")
        if state == "repeat":
            originals = [t for t in self.expected.values() if t.state not in ("infeasible", "repeat")]
            if not originals:
                return
            first = data.draw(st.sampled_from(originals))
            asked = replace(asked, repeat_of=first.number, genotype=first.genotype, architecture=first.architecture)
        if state == "running" and data.draw(st.booleans()):
            known = data.draw(MEASUREMENTS)
            asked = replace(
                asked, reused_from="there#3", measurement=known, curve=(0.1, known.accuracy), curve_epochs=(0.5, 1.0)
            )
        self.store.asked(asked)
        self.expected[number] = asked

    @precondition(lambda self: any(self.expected[n].state == "running" for n in self.open_numbers()))
    @rule(data=st.data(), measurement=MEASUREMENTS)
    def measure(self, data: st.DataObject, measurement: Measurement) -> None:
        number = self.running(data)
        self.store.measured(number, measurement)
        before = self.expected[number]
        self.expected[number] = replace(
            before,
            measurement=measurement,
            curve=(*before.curve, measurement.accuracy),
            curve_epochs=(*before.curve_epochs, measurement.epoch),
        )

    @precondition(lambda self: any(self.expected[n].state == "running" for n in self.open_numbers()))
    @rule(data=st.data())
    def attempt_again(self, data: st.DataObject) -> None:
        number = self.running(data)
        self.store.attempted(number, "lost")
        before = self.expected[number]
        self.expected[number] = replace(before, attempt=before.attempt + 1, measurement=None, curve=(), curve_epochs=())

    @precondition(lambda self: self.open_numbers())
    @rule(data=st.data(), outcome=st.sampled_from(["complete", "failed", "stopped"]), reward=REALS)
    def tell(self, data: st.DataObject, outcome: State, reward: float) -> None:
        number = data.draw(st.sampled_from(self.open_numbers()))
        told = replace(self.expected[number], told_at=2e9 + number)
        if told.repeat_of is not None:
            original = self.expected[told.repeat_of]
            if original.told_at is None:
                return
            told = replace(
                told,
                **{
                    k: getattr(original, k)
                    for k in ("reward", "failure", "reason", "measurement", "curve", "curve_epochs")
                },
            )
        elif told.state == "running":
            told = replace(told, state=outcome)
            if outcome == "complete":
                told = replace(told, reward=reward)
            elif outcome == "failed":
                told = replace(told, failure="error", reason="ValueError: no")
        self.store.told(told)
        self.expected[number] = told

    @rule(torn=st.sampled_from([b"", b"{", b'{"event":"told","number":0,"state":"failed"}']))
    def reopen(self, torn: bytes) -> None:
        self.store.close()
        with (self.folder / "journal.jsonl").open("ab") as file:
            file.write(torn)
        self.look()
        self.store = TrialStore.open(self.folder, writing=True)

    @rule(what=st.sampled_from(["write", "write", "write", "remove", "truncate", "scribble"]), keep=st.floats(0, 1))
    def change_the_view(self, what: str, keep: float) -> None:
        path = self.folder / "trials.parquet"
        if what == "write":
            self.store.write_view()
        elif what == "remove":
            path.unlink(missing_ok=True)
        elif what == "truncate" and path.exists():
            path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
        elif what == "scribble":
            path.write_bytes(b"PAR1 and so on")

    @rule()
    def look(self) -> None:
        assert self.store.trials == self.expected
        reader = TrialStore.open(self.folder)
        assert reader.trials == self.expected
        assert list(reader.trials) == list(self.expected)
        assert_same(reader.frame(), table_of(self.expected.values()))

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.look()
            self.store.close()
        shutil.rmtree(self.folder.parent)


def test_any_history_is_the_table_of_its_trials(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)  # the warnings of unusable views
    quick = [phase for phase in Phase if phase is not Phase.shrink]  # to shrink a failure takes minutes
    run_state_machine_as_test(
        AnyHistory, settings=settings(max_examples=25, stateful_step_count=25, deadline=None, phases=quick)
    )


# The view -------------------------------------------------------------------------------------------------------


def test_view_has_plain_columns_that_pandas_reads(tmp_path: Path) -> None:
    a_finished_run(tmp_path / "run").write_view()
    schema = pq.read_schema(tmp_path / "run" / "trials.parquet")
    types = {field.name: str(field.type) for field in schema}
    assert types == {
        "number": "int64",
        "architecture": "string",
        "stage1_op": "string",
        "stage1_kernel": "int64",
        "stage2_se_ratio": "double",
        "stage2_expand_ratio": "int64",
        "stage2_layers": "int64",
        "state": "string",
        "reward": "double",
        "hypervolume": "double",
        "failure": "string",
        "reason": "string",
        "repeat_of": "int64",
        "reused_from": "string",
        "replicate": "int64",
        "arm": "string",
        "attempt": "int64",
        "seed": "int64",
        "asked_at": "double",
        "told_at": "double",
        "genotype": "list<element: int32>",
        "features": "list<element: double>",
        "curve": "list<element: double>",
        "curve_epochs": "list<element: double>",
        "accuracy": "double",
        "epoch": "double",
        "step_time": "double",
        "step_time_low": "double",
        "step_time_high": "double",
        "step_time_s": "double",
        "latency": "double",
        "latency_low": "double",
        "latency_high": "double",
        "latency_s": "double",
        "latency_batch": "int64",
        "timing_note": "string",
        "params": "int64",
        "macs": "int64",
        "activations": "int64",
        "snip": "double",
        "peak_memory": "double",
        "peak_memory_bytes": "int64",
        "train_time_s": "double",
        "batch_size": "int64",
        "device": "string",
        "host": "string",
        "driver": "string",
        "sm_clock_mhz": "int64",
        "memory_clock_mhz": "int64",
        "temperature_c": "int64",
        "slowed_by": "string",
        "controller": "string",
        "image_size": "int64",
        "share": "double",
    }
    frame = pd.read_parquet(tmp_path / "run" / "trials.parquet")
    assert frame["number"].tolist() == [0, 1, 2]
    assert frame["params"].tolist() == [10**10, 10**10 + 1, 10**10 + 2]
    assert frame["reward"].tolist() == [0, 1 / 9, 2 / 9]
    assert frame["seed"].tolist() == [2**62, 2**62 + 1, 2**62 + 2]
    assert frame["controller"].tolist() == ["random"] * 3
    assert frame["macs"].isna().all()


def test_view_says_what_it_is(tmp_path: Path) -> None:
    store = a_finished_run(tmp_path / "run")
    store.write_view()
    metadata = pq.read_schema(tmp_path / "run" / "trials.parquet").metadata
    assert json.loads(metadata[b"schema_version"]) == results.store.SCHEMA_VERSION == 1
    assert json.loads(metadata[b"configuration"]) == CONFIGURATION
    assert json.loads(metadata[b"journal_bytes"]) == (tmp_path / "run" / "journal.jsonl").stat().st_size
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run == {"schema_version": 1, "configuration": CONFIGURATION}


@pytest.mark.parametrize("with_view", [False, True])
def test_choices_are_values_and_those_of_absent_stages_are_null(tmp_path: Path, with_view: bool) -> None:
    store = TrialStore.create(tmp_path / "run", CONFIGURATION)
    for number, genotype in enumerate([(1, 0, 1, 1, 2), (0, 1, 0, 0, 0)]):
        store.asked(trial(number, genotype))
    if with_view:
        store.write_view()
    names = [c.name for c in SPACE.choices]
    rows = store.frame()[names].astype(object).where(store.frame()[names].notna(), None).to_numpy().tolist()
    assert rows == [["fused_mbconv", 3, 0.25, 4, 2], ["mbconv", 5, None, None, 0]]


def test_frame_has_one_set_of_types_whether_read_from_view_or_journal(tmp_path: Path) -> None:
    store = a_finished_run(tmp_path / "run")
    from_journal = store.frame()
    store.write_view()
    assert_same(store.frame(), from_journal)
    assert from_journal["params"].dtype == from_journal["repeat_of"].dtype == pd.Int64Dtype()
    assert TrialStore.create(tmp_path / "other", CONFIGURATION).frame().dtypes.equals(from_journal.dtypes)


def test_a_view_from_before_some_columns_is_read_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = a_finished_run(tmp_path / "run")
    store.write_view()
    path, whole = tmp_path / "run" / "trials.parquet", store.frame()
    added = ["reused_from", "latency", "latency_batch", "timing_note", "peak_memory", "driver", "sm_clock_mhz"]
    view = pq.read_table(path).drop_columns(added)
    place = view.schema.get_field_index("epoch")
    view = view.set_column(place, "epoch", view["epoch"].cast(pa.int64()))  # whole epochs alone were measured
    pq.write_table(view, path)
    assert_same(store.frame(), whole)
    pq.write_table(view.drop_columns(["curve_epochs"]), path)
    assert_same(store.frame().drop(columns="curve_epochs"), whole.drop(columns="curve_epochs"))
    assert not caplog.records


def test_samples_of_timings_are_in_the_journal_alone(tmp_path: Path) -> None:
    store = TrialStore.create(tmp_path / "run", CONFIGURATION)
    store.asked(trial(0))
    measured = Measurement(accuracy=0.5, step_time=1.25, step_time_samples=(1.25, 1.5), latency_samples=(2.0,))
    store.measured(0, measured)
    store.close()
    again = TrialStore.open(tmp_path / "run")
    assert again.trials[0].measurement == measured
    assert not [name for name in again.frame().columns if "samples" in name]


@pytest.mark.parametrize(
    "harm", ["missing", "empty", "garbage", "other table", "other columns", "no metadata", "newer"]
)
def test_without_a_usable_view_the_journal_gives_the_whole_table(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    store = a_finished_run(tmp_path / "run")
    store.write_view()
    path, whole = tmp_path / "run" / "trials.parquet", store.frame()
    view = pq.read_table(path)
    if harm == "missing":
        path.unlink()
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "garbage":
        path.write_bytes(b"PAR1" + b"\xff" * 100 + b"PAR1")
    elif harm == "other table":
        pq.write_table(pa.table({"a": [1]}), path)
    elif harm == "other columns":
        pq.write_table(view.drop_columns(["reward"]), path)
    elif harm == "no metadata":
        pq.write_table(view.replace_schema_metadata(None), path)
    elif harm == "newer":
        size = json.dumps((tmp_path / "run" / "journal.jsonl").stat().st_size + 1)
        pq.write_table(view.replace_schema_metadata({**view.schema.metadata, b"journal_bytes": size}), path)
    with caplog.at_level(logging.WARNING):
        assert_same(store.frame(), whole)
    assert f"{path} cannot be used" in caplog.text
    assert "reading the journal instead" in caplog.text


def test_a_view_from_before_a_column_was_added_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = a_finished_run(tmp_path / "run")
    store.write_view()
    path, whole = tmp_path / "run" / "trials.parquet", store.frame()
    pq.write_table(pq.read_table(path).drop_columns(["reused_from"]), path, write_page_checksum=True)
    assert_same(store.frame(), whole)
    assert not caplog.text
    asked = replace(trial(3, SPACE.genotype_at(3)), reused_from="there#3", measurement=Measurement(accuracy=0.5))
    store.asked(asked)
    assert store.frame()["reused_from"].fillna("").tolist() == ["", "", "", "there#3"]


def test_a_view_truncated_anywhere_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    store = a_finished_run(tmp_path / "run", trials=1)
    store.write_view()
    path, whole = tmp_path / "run" / "trials.parquet", store.frame()
    bytes_ = path.read_bytes()
    for cut in np.random.default_rng(0).integers(0, len(bytes_), 60):
        path.write_bytes(bytes_[:cut])
        assert_same(store.frame(), whole)


def test_a_view_with_a_flipped_bit_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    store = a_finished_run(tmp_path / "run")
    store.write_view()
    path, whole = tmp_path / "run" / "trials.parquet", store.frame()
    bytes_ = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(bytes_), 60):
        path.write_bytes(bytes_[:place] + bytes([bytes_[place] ^ 16]) + bytes_[place + 1 :])
        assert_same(store.frame(), whole)


def test_a_view_older_than_the_journal_is_brought_up_to_date(tmp_path: Path) -> None:
    store = TrialStore.create(tmp_path / "run", CONFIGURATION)
    first, running = trial(0), trial(1, (1, 0, 0, 0, 2))
    store.asked(first)
    store.asked(running)
    store.measured(1, Measurement(accuracy=0.25))
    store.write_view()
    old = (tmp_path / "run" / "trials.parquet").read_bytes()
    store.measured(1, Measurement(accuracy=0.5, epoch=2))
    store.told(replace(running, state="complete", reward=0.5, told_at=3.0))
    store.asked(trial(2, running.genotype, state="repeat", repeat_of=1))
    store.told(trial(2, running.genotype, state="repeat", repeat_of=1, reward=0.5, told_at=4.0))
    assert (tmp_path / "run" / "trials.parquet").read_bytes() == old
    frame = store.frame()
    assert frame["state"].tolist() == ["running", "complete", "repeat"]
    assert [list(curve) for curve in frame["curve"]] == [[], [0.25, 0.5], [0.25, 0.5]]
    assert frame["epoch"].dropna().to_dict() == {1: 2, 2: 2}
    assert_same(frame, table_of(store.trials.values()))


def test_a_repeat_is_answered_in_the_table_from_an_original_in_the_view(tmp_path: Path) -> None:
    store = a_finished_run(tmp_path / "run", trials=2)
    store.asked(trial(2, SPACE.genotype_at(1), state="repeat", repeat_of=1))
    store.write_view()
    store.told(replace(store.trials[2], reward=1 / 9, told_at=1e9))
    asked_later = trial(3, SPACE.genotype_at(0), state="repeat", repeat_of=0)
    store.asked(asked_later)
    store.told(replace(asked_later, reward=0.0, told_at=1e9))
    frame = store.frame()
    assert frame["accuracy"].tolist() == [0, 1 / 7, 1 / 7, 0]
    assert_same(frame, table_of(store.trials.values()))


def test_an_attempt_begins_anew(tmp_path: Path) -> None:
    store = TrialStore.create(tmp_path / "run", CONFIGURATION)
    store.asked(trial(0))
    store.measured(0, Measurement(accuracy=0.25))
    store.attempted(0, "the worker was lost")
    assert store.trials[0] == trial(0, attempt=2)
    store.measured(0, Measurement(accuracy=0.5))
    assert store.trials[0].curve == (0.5,)
    assert TrialStore.open(tmp_path / "run").trials == store.trials
    assert list(store.events())[2] == {
        "event": "attempted",
        "number": 0,
        "reason": "the worker was lost",
        "time": pytest.approx(time.time(), abs=60),
    }


def test_a_journal_that_was_cut_by_hand_outlives_the_view_of_the_lines_it_lost(tmp_path: Path) -> None:
    a_finished_run(tmp_path / "run").close()
    journal = tmp_path / "run" / "journal.jsonl"
    TrialStore.open(tmp_path / "run", writing=True).close()
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]))
    store = TrialStore.open(tmp_path / "run", writing=True)
    for number in range(1, 6):  # until the journal is longer than it was
        store.asked(trial(number, SPACE.genotype_at(10 + number)))
    assert_same(store.frame(), table_of(store.trials.values()))
    assert len(store.frame()) == 6


def test_view_is_rewritten_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    store = TrialStore.create(tmp_path / "run", CONFIGURATION)
    written: list[float] = []
    real = store.write_view

    def write_view() -> None:
        written.append(now)
        real()

    monkeypatch.setattr(store, "write_view", write_view)
    for number in range(50):
        now += 1.0
        asked = trial(number)
        store.asked(asked)
        store.told(replace(asked, state="failed", told_at=1.0))
    assert written == [1011.0, 1022.0, 1033.0, 1044.0]
    assert pd.read_parquet(tmp_path / "run" / "trials.parquet")["number"].max() == 43


def test_left_over_temporary_files_are_swept_when_writing(tmp_path: Path) -> None:
    a_finished_run(tmp_path / "run").close()
    left_over = [tmp_path / "run" / f"{name}.partial" for name in ("trials.parquet", "run.json")]
    for path in left_over:
        path.write_bytes(b"half")
    assert len(TrialStore.open(tmp_path / "run").frame()) == 3
    assert all(path.exists() for path in left_over), "a reader leaves alone what a writer may be at"
    TrialStore.open(tmp_path / "run", writing=True).close()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["journal.jsonl", "run.json", "trials.parquet"]


def test_a_view_that_cannot_be_replaced_leaves_the_old_one_and_no_remains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, target: Path) -> Path:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    store = a_finished_run(tmp_path / "run")
    before = (tmp_path / "run" / "trials.parquet").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refused)
        with pytest.raises(OSError, match="Input/output error"):
            store.write_view()
    assert (tmp_path / "run" / "trials.parquet").read_bytes() == before
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["journal.jsonl", "run.json", "trials.parquet"]


KILLED_IN_BETWEEN = """
import os, pathlib, sys
from results.store import TrialStore
store = TrialStore.open(pathlib.Path(sys.argv[1]), writing=True)
store.record({"event": "asked", "number": 3, "genotype": [0, 0, 0, 0, 0], "architecture": "x", "seed": 1})
pathlib.Path.replace = lambda *_: os._exit(9)
store.write_view()
"""


def test_a_writer_killed_before_the_replacement_leaves_the_old_view(tmp_path: Path) -> None:
    a_finished_run(tmp_path / "run").close()
    ended = subprocess.run([sys.executable, "-c", KILLED_IN_BETWEEN, str(tmp_path / "run")], check=False)
    assert ended.returncode == 9
    assert (tmp_path / "run" / "trials.parquet.partial").exists()
    assert len(pd.read_parquet(tmp_path / "run" / "trials.parquet")) == 3
    assert len(TrialStore.open(tmp_path / "run").frame()) == 4
    store = TrialStore.open(tmp_path / "run", writing=True)
    assert not (tmp_path / "run" / "trials.parquet.partial").exists()
    assert store.trials[3].architecture == "x"


# One writer, many readers ---------------------------------------------------------------------------------------


def test_a_second_writer_is_refused_and_readers_are_not(tmp_path: Path) -> None:
    store = a_finished_run(tmp_path / "run")
    with pytest.raises(BlockingIOError, match="another process is writing this run; wait for it, or stop it"):
        TrialStore.open(tmp_path / "run", writing=True)
    reader = TrialStore.open(tmp_path / "run")
    assert reader.trials == store.trials
    with pytest.raises(ValueError, match="was opened for reading; open it with writing=True"):
        reader.told(reader.trials[0])
    store.close()
    TrialStore.open(tmp_path / "run", writing=True).close()


A_WRITER = """
import pathlib, sys
from dataclasses import replace
from results.store import TrialStore
from results.trial import Measurement, Trial
store = TrialStore.open(pathlib.Path(sys.argv[1]), writing=True)
for number in range(150):
    trial = Trial(number=number, genotype=(0, 0, 0, 0, 1), architecture="x" * 50, seed=number)
    store.asked(trial)
    store.measured(number, Measurement(accuracy=0.5))
    store.told(replace(trial, state="complete", reward=0.5, told_at=1.0))
    store.write_view()
"""


def test_readers_see_a_whole_table_while_another_process_writes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    TrialStore.create(tmp_path / "run", CONFIGURATION).close()
    seen, reader = [0], TrialStore.open(tmp_path / "run")
    with subprocess.Popen([sys.executable, "-c", A_WRITER, str(tmp_path / "run")]) as writer:
        while writer.poll() is None:
            with (tmp_path / "run" / "trials.parquet").open("rb") as file:  # pyarrow opens a path twice
                in_view = len(pd.read_parquet(file))
            frame = reader.frame()
            assert frame["number"].tolist() == list(range(len(frame)))
            assert frame["state"][:-1].isin(["complete"]).all(), "only the newest can be unfinished"
            assert in_view <= len(frame)
            assert seen[-1] <= len(frame)
            assert len(TrialStore.open(tmp_path / "run").trials) >= len(frame)
            seen.append(len(frame))
    assert writer.returncode == 0
    assert len(set(seen)) > 5, "the reader was at it while the writer was"
    assert len(reader.frame()) == 150
    assert not caplog.records, "the view could be used each time"


# A disk that is full --------------------------------------------------------------------------------------------

FULL = """
import pathlib, resource, signal, sys
from dataclasses import replace
from results.store import TrialStore
from results.trial import Trial
folder = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = TrialStore.open(folder, writing=True)
limit = (folder / "journal.jsonl").stat().st_size + 1000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
number = len(store.trials)
try:
    while True:
        store.asked(Trial(number=number, genotype=(0, 0, 0, 0, 1), architecture="x" * 50, seed=number))
        number += 1
except OSError as error:
    print(error)
assert len(store.trials) == number > 3, number
size = store._journal.size
assert (folder / "journal.jsonl").stat().st_size == size, "nothing of the line that did not fit is left"
try:
    store.write_view()
except OSError as error:
    print("view:", error)
"""


def test_a_disk_that_fills_up_loses_nothing(tmp_path: Path) -> None:
    a_finished_run(tmp_path / "run").close()
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "run")], capture_output=True, text=True, check=True
    )
    assert "cannot write the journal (File too large); every line before is safe: make room, then" in ended.stdout
    assert "view: " in ended.stdout
    assert not list((tmp_path / "run").glob("*.partial"))
    assert len(pd.read_parquet(tmp_path / "run" / "trials.parquet")) == 3, "the old view is still there"
    store = TrialStore.open(tmp_path / "run", writing=True)
    assert len(store.trials) > 3
    store.asked(trial(len(store.trials)))
    assert_same(store.frame(), table_of(store.trials.values()))


def test_a_failed_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = a_finished_run(tmp_path / "run")
    before = dict(store.trials)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left on device"):
            store.asked(trial(3))
    assert store.trials == before
    store.asked(trial(3))
    assert list(store.trials) == [0, 1, 2, 3]


# What is no run, or not one to write ----------------------------------------------------------------------------


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    TrialStore.create(tmp_path / "empty", CONFIGURATION).close()
    with pytest.raises(FileExistsError, match=r"holds something: go on with `nas resume .*empty`, or name another"):
        TrialStore.create(tmp_path / "empty", CONFIGURATION)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    with pytest.raises(FileExistsError, match="must not exist yet, and it holds something: empty it, or name another"):
        TrialStore.create(tmp_path / "full", CONFIGURATION)
    with pytest.raises(FileExistsError, match="must not exist yet"):
        TrialStore.create(tmp_path / "full" / "thesis.txt", CONFIGURATION)
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    TrialStore.create(tmp_path / "a" / "b" / "c", CONFIGURATION).close()


@pytest.mark.parametrize("kind", ["choice", "constant"])
def test_two_columns_of_one_name_are_refused_before_anything_is_made(tmp_path: Path, kind: str) -> None:
    space, columns = SPACE, {"reward": 1}
    if kind == "choice":
        space, columns = replace(SPACE, choices=(Choice("reward", 1, ({"kernel": 3}, {"kernel": 5})),)), {}
    with pytest.raises(ValueError, match=r"choices and constants must not be those of other columns; got \['reward'\]"):
        TrialStore.create(tmp_path / "run", {"space": space.to_json(), "columns": columns})
    assert not (tmp_path / "run").exists()


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        for writing in (False, True):
            with pytest.raises(FileNotFoundError, match=r"holds no run \(there is no run.json in it\)"):
                TrialStore.open(folder, writing=writing)
    assert not list(tmp_path.iterdir())


def test_a_run_without_its_journal_is_an_error_not_a_new_run(tmp_path: Path) -> None:
    a_finished_run(tmp_path / "run").close()
    (tmp_path / "run" / "journal.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds a run.json but no journal.jsonl; restore it from a copy"):
        TrialStore.open(tmp_path / "run", writing=True)
    (tmp_path / "run" / "trials.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds a run.json but no journal.jsonl; restore it from a copy"):
        TrialStore.open(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    "content",
    [b"", b'{"schema_version": 1, "conf', b"[]", b"{}", b'{"schema_version": 1}', b"\xff", b"1"]
    + [json.dumps({"schema_version": 1, "configuration": c}).encode() for c in (None, [1], {}, {"space": {}})],
)
def test_a_broken_run_json_is_named(tmp_path: Path, content: bytes) -> None:
    a_finished_run(tmp_path / "run").close()
    (tmp_path / "run" / "run.json").write_bytes(content)
    for writing in (False, True):
        with pytest.raises(ValueError, match=r"run.json cannot be read .*; restore it from a copy"):
            TrialStore.open(tmp_path / "run", writing=writing)


@pytest.mark.parametrize("run", [{"schema_version": 2, "configuration": {}}, {"schema_version": 2, "new": 1}])
def test_another_schema_version_is_refused(tmp_path: Path, run: Mapping[str, Any]) -> None:
    a_finished_run(tmp_path / "run").close()
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    journal = (tmp_path / "run" / "journal.jsonl").read_bytes()
    with pytest.raises(
        ValueError, match="schema version 2, and this release reads version 1: open it with the release"
    ):
        TrialStore.open(tmp_path / "run", writing=True)
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == journal


@pytest.fixture
def broken_journal(tmp_path: Path) -> Iterator[Path]:
    a_finished_run(tmp_path / "run").close()
    yield tmp_path / "run" / "journal.jsonl"
    TrialStore.open(tmp_path / "run", writing=True).close()  # an error has let go of the lock


def test_a_torn_middle_line_is_named(broken_journal: Path) -> None:
    whole = broken_journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    broken_journal.write_bytes(b"".join([*lines[:4], lines[4][:20] + b"\n", *lines[5:]]))
    for writing in (False, True):
        with pytest.raises(ValueError, match=r"journal.jsonl, line 5: not a journal line"):
            _ = TrialStore.open(broken_journal.parent, writing=writing).trials
    broken_journal.write_bytes(whole)


@pytest.mark.parametrize(
    "strange",
    [b'{"event":"told","number":77,"state":"failed"}', b'{"event":"asked","number":77}', b'{"event":"measured"}'],
)
def test_a_line_that_does_not_fit_the_others_is_named(broken_journal: Path, strange: bytes) -> None:
    whole = broken_journal.read_bytes()
    broken_journal.write_bytes(whole + strange + b"\n")
    with pytest.raises(ValueError, match=r"journal.jsonl, line 10: does not fit the lines before it .* from a copy"):
        TrialStore.open(broken_journal.parent, writing=True)
    broken_journal.write_bytes(whole)
