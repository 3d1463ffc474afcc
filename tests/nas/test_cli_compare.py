"""`nas compare`: two runs side by side, as people and as programs read it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nas_command import nas
from trial_tables import SPACE, trial

from results.store import TrialStore

IDENTITY = {
    "space": SPACE.to_json(),
    "controller": "predictor",
    "reward": "training-aware",
    "evaluator": "proxy",
    "sources": {},
    "reward_weights": {},
    "task": {
        "recipe": {"epochs": 2},
        "pictures": {"minival": 1000},
        "num_classes": 10,
        "in_channels": 1,
        "split_seed": 0,
    },
    "image_size": 32,
    "limits": {},
    "objectives": ["accuracy", "step_time", "params"],
    "random_arm": 0.0,
    "seed": 0,
}


def a_run(folder: Path, rewards: list[float], workers: int = 1, **identity: Any) -> Path:
    """A run of these rewards, with one trial that is still running, resumed once with other settings."""
    store = TrialStore.create(folder, {"space": SPACE.to_json(), "identity": {**IDENTITY, **identity}})
    for count in (9, workers):
        store.record({"event": "started", "settings": {"budget": 20, "workers": count}})
    for number, reward in enumerate([*rewards, None]):
        asked = trial(number, "running")
        store.asked(asked)
        measured = trial(number, accuracy=reward or 0.5, step_time=1.0, params=9000, device="cpu").measurement
        assert measured is not None
        store.measured(number, measured)
        if reward is not None:
            store.told(replace(asked, state="complete", reward=reward, told_at=1000.0 + number))
    store.close()
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    good = a_run(tmp_path / "good", [0.8 + n / 1000 for n in range(12)])
    return [good, a_run(tmp_path / "poor", [0.5 + n / 1000 for n in range(15)], workers=2, seed=4)]


def test_people_are_told_which_is_better_and_what_differs(runs: list[Path]) -> None:
    said = nas("compare", *runs)
    assert said.code == 0
    assert said.out.startswith("the first 12 candidates of each run")
    rows = {line.split("  ")[0]: line.split() for line in said.out.splitlines()}
    assert [rows[name][-3:] for name in ("best reward", "mean reward of the top 5 %", "hypervolume")] == [
        ["good", "is", "better"]
    ] * 3
    assert rows["seed"] == ["seed", "0", "4"]
    assert rows["settings.workers"] == ["settings.workers", "1", "2"], "as each was last begun with"
    assert "task.recipe.epochs" not in rows
    assert said.err == (
        "note: no network was trained twice (--confirm): how far a best reward is its training's luck is not known\n"
    )


def test_programs_get_one_object_or_a_row_a_difference(runs: list[Path]) -> None:
    found = json.loads(nas("compare", *runs, "--format", "json", "--budget", 5).out)
    assert found["budget"] == 5
    assert [row["best"] for row in found["runs"]] == [0.804, 0.504]
    assert found["reference"]["step_time"] == 2
    assert {row["field"]: row["poor"] for row in found["differing"]} == {"seed": 4, "settings.workers": 2}
    rows = list(csv.DictReader(io.StringIO(nas("compare", *runs, "--format", "csv", "--budget", 5).out)))
    assert [row["measure"] for row in rows] == ["best", "top", "hypervolume"]
    for row, same in zip(rows, found["differences"], strict=True):
        assert float(row["low"]) == same["low"] <= same["difference"] <= same["high"]
        assert row["verdict"] == same["verdict"] == "good is better"


def test_what_is_not_comparable_is_said_and_not_judged(runs: list[Path], tmp_path: Path) -> None:
    same = a_run(tmp_path / "same", [0.1] * 12, reward_weights={"w": -0.07, "v": -0.05})
    assert "another reward" not in nas("compare", runs[0], same).err, "these weights are those by default"
    other = a_run(tmp_path / "other", [0.1] * 12, reward_weights={"w": -0.1})
    said = nas("compare", runs[0], other)
    assert "note: another reward or other weights (reward_weights.w): good against other" in said.err
    assert said.out.count("not comparable") == 2
    assert "good is better" in said.out, "the hypervolume does not depend on the reward"


def test_runs_that_have_just_begun_are_compared_to_nothing(runs: list[Path], tmp_path: Path) -> None:
    said = nas("compare", runs[0], a_run(tmp_path / "new", []))
    assert said.code == 0
    assert "note: new has no candidate with a reward, nor any that has ended" in said.err
    assert said.out.startswith("the first 0 candidates")
    assert said.out.count("too few candidates") == 3


def test_bad_input_is_one_clear_line(runs: list[Path]) -> None:
    for arguments, error in (
        ([*runs, "--budget", 13], "budget must be from 1 to the candidates that every run has evaluated; got 13"),
        (runs[:1], "at least two runs can be compared; got 1"),
        ([runs[0], runs[0]], "each run must be named once"),
        ([runs[0], "nowhere"], "nowhere holds no run"),
        ([*runs, "--objectives", "device"], "objectives must be columns of numbers in the trial tables; got device"),
    ):
        said = nas("compare", *arguments)
        assert (said.code, said.out) == (1, "")
        assert error in said.err
        assert said.err.count("\n") == 1


def test_the_settings_are_found_among_broken_and_torn_lines(runs: list[Path]) -> None:
    journal = runs[0] / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"event":"started","settings":{"workers":7')  # torn: a kill while it was written
    assert [e["settings"]["workers"] for e in TrialStore.open(runs[0]).events("started")] == [9, 1]
    journal.write_bytes(whole + b'{"event":"started","settings":\n')
    with pytest.raises(ValueError, match=r"journal.jsonl, line \d+: not a journal line"):
        list(TrialStore.open(runs[0]).events("started"))
