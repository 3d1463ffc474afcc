"""What leaves a run: files of its trials, TensorBoard's HParams, an Optuna study, and compact copies of it."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from nas_command import error, nas
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from nas.optuna_storage import open_storage
from nas.provenance import search_provenance
from results.store import TrialStore
from results.tensorboard import write_hparams
from results.trial import Measurement, Trial
from search_spaces import SPACES

SPACE = SPACES["small"]
CHOICES = [choice.name for choice in SPACE.choices]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run as a search leaves it when it is killed: complete, stopped, failed, a repeat, and one that was running."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    configuration = {
        "space": SPACE.to_json(),
        "columns": {"controller": "random", "image_size": 32},
        "identity": {
            "space": SPACE.to_json(),
            "controller": "random",
            "evaluator": "proxy",
            "sources": {},
            "objectives": ["accuracy", "step_time"],
            "task": {},
            "image_size": 32,
        },
    }
    store = TrialStore.create(tmp_path / "run", configuration)
    store.record({"event": "started", "settings": {"budget": 9}, "versions": {"torch": "2"}, "time": 1e9})
    outcomes: list[dict[str, Any]] = [
        {"state": "complete", "reward": 0.7},
        {"state": "stopped"},
        {"state": "failed", "failure": "error", "reason": 'KeyError: "a, [/b]"'},
        {"state": "complete", "reward": 0.9},
        {},
    ]
    for number, outcome in enumerate(outcomes):
        genotype = SPACE.genotype_at(number * 10**6)
        text = str(SPACE.decode(genotype))
        trial = Trial(number=number, genotype=genotype, architecture=text, seed=number, asked_at=1e9 + number)
        store.asked(trial)
        for epoch in (1, 2) if outcome.get("state") in ("complete", "stopped") else ():
            accuracy = epoch / 10 + number / 100
            store.measured(number, Measurement(accuracy=accuracy, epoch=epoch, step_time=1.5, params=10**6))
        if outcome:
            store.told(replace(trial, told_at=1e9 + number + 0.5, **outcome))
    store.close()
    return tmp_path / "run"


# Files ----------------------------------------------------------------------------------------------------------


def test_parquet_has_the_types_of_the_table(run: Path) -> None:
    outcome = nas("trials", run, "--format", "parquet", "-o", "all.parquet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "wrote all.parquet: 5 trials\n")
    found, expected = pd.read_parquet("all.parquet"), TrialStore.open(run).frame()
    assert list(found.columns) == list(expected.columns)
    lists = ["genotype", "features", "curve", "curve_epochs"]
    pd.testing.assert_frame_equal(found.drop(columns=lists), expected.drop(columns=lists), check_exact=True)
    for name in lists:
        assert [list(row) for row in found[name]] == [list(row) for row in expected[name]]


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_a_file_holds_what_would_be_printed(run: Path, form: str) -> None:
    printed = nas("trials", run, "--format", form).out
    ending = {"table": "txt"}.get(form, form)
    for arguments in (["--format", form, "-o", "x"], ["-o", f"x.{ending}"]):
        outcome = nas("trials", run, *arguments)
        assert (outcome.code, outcome.out) == (0, "")
        assert Path(arguments[-1]).read_text() == printed
    assert 'KeyError: "a, [/b]"' in "".join(map(str, _reasons(printed, form)))


def _reasons(text: str, form: str) -> list[Any]:
    if form == "csv":
        return pd.read_csv(io.StringIO(text))["reason"].tolist()
    return [json.loads(line)["reason"] for line in text.splitlines()] if form == "json" else [text]


def test_an_ending_that_says_nothing_needs_a_format(run: Path) -> None:
    assert "the file must end in .json, .jsonl, .csv, .parquet, .txt, or --format be given; got x.dat" in error(
        "trials", run, "-o", "x.dat"
    )


def test_the_best_alone_can_be_written(run: Path) -> None:
    assert nas("trials", run, "--top", 1, "-o", "best.parquet").code == 0
    assert pd.read_parquet("best.parquet")["number"].tolist() == [3]


def test_a_file_is_whole_or_as_it_was(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("x.csv").write_text("before")

    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:9])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        said = "error: it was not written (No space left on device): make room, or write elsewhere"
        assert error("trials", run, "-o", "x.csv") == f"{said}: x.csv"
        assert error("report", run, "-o", "x.csv") == f"{said}: x.csv"
        assert error("compact", run, "-o", "copy") == f"{said}: copy"
    assert Path("x.csv").read_text() == "before"
    assert sorted(path.name for path in Path().iterdir()) == ["run", "x.csv"]
    assert error("trials", run, "-o", "none/x.csv") == (
        "error: none is no folder: make it, or write elsewhere: none/x.csv"
    )
    Path("folder.csv").mkdir()
    assert error("trials", run, "-o", "folder.csv") == "error: this is a folder: name a file in it: folder.csv"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "nas.cli", *map(str, arguments)]


def test_parquet_goes_into_a_pipe_and_not_onto_a_terminal(run: Path) -> None:
    done = subprocess.run(command("trials", run, "--format", "parquet"), capture_output=True, check=True)
    assert len(pd.read_parquet(io.BytesIO(done.stdout))) == 5
    ours, theirs = pty.openpty()
    refused = subprocess.run(
        command("trials", run, "--format", "parquet"), stdout=theirs, stderr=subprocess.PIPE, check=False
    )
    os.close(theirs)
    os.close(ours)
    assert refused.returncode == 1
    assert b"parquet must go into a file or a pipe, for it is no text: name a file with --out" in refused.stderr


# TensorBoard ----------------------------------------------------------------------------------------------------


def events(folder: Path) -> list[Event]:
    """Those of the one event file in a folder; each is framed by 12 bytes before and 4 after it."""
    (path,) = folder.glob("events.out.tfevents.*")
    data, found, place = path.read_bytes(), [], 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 8], "little")
        found.append(Event.FromString(data[place + 12 : place + 12 + size]))
        place += 12 + size + 4
    return found


def plugin(folder: Path, tag: str) -> HParamsPluginData:
    values = [value for event in events(folder) for value in event.summary.value if value.tag == f"_hparams_/{tag}"]
    return HParamsPluginData.FromString(values[0].metadata.plugin_data.content)


def test_tensorboard_has_a_session_a_trial(run: Path) -> None:
    outcome = nas("trials", run, "--tensorboard", "board")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "wrote 3 trials: tensorboard --logdir board\n")
    folders = sorted(path.name for path in Path("board").iterdir() if path.is_dir())
    assert folders == ["trial-00000", "trial-00001", "trial-00003"]
    experiment = plugin(Path("board"), "experiment").experiment
    frame = TrialStore.open(run).frame().set_index("number")
    named = {info.name for info in experiment.hparam_infos}
    assert named == {*(name for name in CHOICES if frame[name].notna().any()), "arm"}
    assert {info.name.tag for info in experiment.metric_infos} >= {"accuracy/minival", "reward", "step_time", "params"}
    for name in folders:
        row = frame.loc[int(name.removeprefix("trial-"))]
        chosen = plugin(Path("board") / name, "session_start_info").session_start_info.hparams
        assert set(chosen) == {c for c in CHOICES if not pd.isna(row[c])} | {"arm"}
        assert chosen["stage1_op"].string_value == row["stage1_op"]
        assert chosen["stage2_kernel"].number_value == row["stage2_kernel"]
        plugin(Path("board") / name, "session_end_info")
        scalars = [
            (value.tag, event.step, value.simple_value)
            for event in events(Path("board") / name)
            for value in event.summary.value
            if not value.tag.startswith("_hparams_")
        ]
        curve = [(step, value) for tag, step, value in scalars if tag == "accuracy/minival"]
        assert curve == [(epoch, pytest.approx(value)) for epoch, value in enumerate(row["curve"], 1)]
        rewards = [value for tag, _, value in scalars if tag == "reward"]
        assert rewards == ([] if pd.isna(row["reward"]) else [pytest.approx(row["reward"])])


def test_tensorboard_counts_the_epochs_of_a_run_that_did_not(run: Path) -> None:
    frame = TrialStore.open(run).frame().assign(curve_epochs=None)
    assert write_hparams(frame, CHOICES, Path("board")) == 3
    found = [(e.step, v.tag) for e in events(Path("board/trial-00000")) for v in e.summary.value]
    assert [step for step, tag in found if tag == "accuracy/minival"] == [1, 2]


def test_tensorboard_does_not_mix_runs(run: Path) -> None:
    assert nas("trials", run, "--tensorboard", "board", "-o", "too.csv").code == 0
    assert Path("too.csv").exists()
    assert "must be new or empty, lest trials of two runs be mixed" in error("trials", run, "--tensorboard", "board")


def test_tensorboard_is_whole_or_not_at_all(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close, written = EventsWriter.close, []

    def full(writer: EventsWriter) -> None:
        close(writer)
        written.append(writer)
        if len(written) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(EventsWriter, "close", full)
    assert error("trials", run, "--tensorboard", "board") == (
        "error: it was not written (No space left on device): make room, or write elsewhere: board"
    )
    assert not Path("board").exists()


def test_tensorboard_of_a_run_that_measured_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    TrialStore.create(tmp_path / "run", {"space": SPACE.to_json()}).close()
    assert nas("trials", "run", "--tensorboard", "board").err == "wrote 0 trials: none was measured yet\n"


# Optuna ---------------------------------------------------------------------------------------------------------


def study(url: str) -> Any:
    storage = open_storage(url)
    try:
        found = optuna.load_study(study_name="run", storage=storage)
        return found, found.trials
    finally:
        if isinstance(storage, optuna.storages.RDBStorage):
            storage.engine.dispose()


@pytest.mark.parametrize("url", ["sqlite:///optuna.db", "optuna.log"])
def test_a_run_is_copied_into_optuna_once(run: Path, url: str) -> None:
    for _ in range(2):
        outcome = nas("trials", run, "--optuna-storage", url)
        assert (outcome.code, outcome.out) == (0, "")
        assert outcome.err == "the study run holds all 4 trials that are over\n"
    found, trials = study(url)
    assert [trial.user_attrs["number"] for trial in trials] == [0, 1, 2, 3]
    assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "FAIL", "COMPLETE"]
    assert found.best_trial.user_attrs["number"] == 3
    assert found.metric_names == ["reward"]
    assert "must be a database that can be opened" in error("trials", run, "--optuna-storage", "nosuch://x")


def with_controller(run: Path, name: str, path: str) -> None:
    whole = json.loads((run / "run.json").read_text())
    whole["configuration"]["identity"]["controller"] = name
    whole["configuration"]["options"] = {"controller": path}
    (run / "run.json").write_text(json.dumps(whole))


def test_of_a_search_by_objectives_these_are_the_values(run: Path) -> None:
    with_controller(run, "optuna:nsga2", "optuna:nsga2")
    assert nas("trials", run, "--optuna-storage", "optuna.log").code == 0
    found, trials = study("optuna.log")
    assert found.metric_names == ["accuracy", "step_time"]
    assert [direction.name for direction in found.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert trials[0].values == [pytest.approx(0.2), 1.5]


@pytest.mark.parametrize(("attribute", "names"), [("multi_objective = True", 2), ("", 1)])
def test_a_controller_of_the_users_own_says_what_it_optimises(run: Path, attribute: str, names: int) -> None:
    Path("own.py").write_text(f"class Own:\n    'A controller.'\n    {attribute}\n")
    with_controller(run, "own.py:Own", f"{Path.cwd()}/own.py:Own")
    assert nas("trials", run, "--optuna-storage", "optuna.log").code == 0
    assert len(study("optuna.log")[0].metric_names) == names


def test_what_is_missing_is_an_exit_code(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("no more room")

    monkeypatch.setattr("nas.optuna_mirror._PATIENCE_S", 1.0)
    monkeypatch.setattr("optuna.study.Study.add_trial", refused)
    outcome = nas("trials", run, "--optuna-storage", "optuna.log")
    assert outcome.code == 1
    assert "4 trials are missing from the Optuna study run: `nas trials " in outcome.err


# Compact copies -------------------------------------------------------------------------------------------------


def test_every_reading_command_reads_a_compact_copy(run: Path) -> None:
    outcome = nas("compact", run, "-o", "copy/run")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.startswith("wrote copy/run: 0.")
    commands: list[list[object]] = [
        ["trials", "RUN", "--format", "json"],
        ["trials", "RUN", "--format", "csv"],
        ["pareto", "RUN", "--format", "json"],
        ["describe", "RUN", "--format", "json"],
        ["describe", "RUN", "--trial", 2],
        ["scale", "RUN", "--rule", "uniform", "--targets", "b1", "--format", "json", "-o", "family"],
    ]
    for arguments in commands:
        said = [nas(*(folder if part == "RUN" else part for part in arguments)) for folder in (run, "copy/run")]
        assert said[0].code == said[1].code == 0, said
        assert said[0].out == said[1].out
    told = [search_provenance(folder, 3) for folder in (run, Path("copy/run"))]
    assert told[0] == told[1]
    assert told[1]["versions"] == {"torch": "2"}
    assert nas("export", "copy/run", "--to", "card", "-o", "card.md").code == 0
    assert "4 of 9 candidates" in nas("watch", "copy/run").out
    assert nas("trials", "copy/run", "--optuna-storage", "optuna.log").code == 0
    assert "holds a run.json but no journal.jsonl; restore it from a copy" in error("resume", "copy/run")


def test_a_copy_is_not_written_over(run: Path) -> None:
    assert nas("compact", run, "-o", "copy").code == 0
    assert "must not exist yet" in error("compact", run, "-o", "copy")
    assert "holds no run" in error("compact", "none", "-o", "other")
    assert not Path("other").exists()
