"""The study of the proxy: its sizes and their time, what it says of an audit, and that it is one which goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from coloured_pictures import pictures
from nas_command import nas
from small_studies import STEP_S, in_process

from nas.studies.folder import results
from nas.studies.pace import SAFETY, Pace
from nas.studies.proxy import STUDY
from nas.studies.study import Conditions, Material, Place, Told
from results.agreement import agreement
from results.store import TrialStore
from results.trial import Measurement
from search_spaces import Architecture, cost
from trainers.proxy import ProxyTask

DIGITS = Material(train=4000, test=1000, side=28, classes=10, channels=1)
SMALLEST, DEFAULT, *_ = STUDY.sizes(DIGITS)


def row(what: float | None, low: float | None, high: float | None, networks: int = 12) -> dict[str, Any]:
    found: dict[str, Any] = {"way": "proxy", "cost": 0.1}
    for name in ("accuracy", "reward"):
        found |= {f"{name}_tau": what, f"{name}_tau_low": low, f"{name}_tau_high": high}
        found |= {f"{name}_recall": 0.8, f"{name}_networks": networks}
    return found


def told(*of_tau: Any) -> Told:
    audited = {"ways": [row(*of_tau)], "noise": [row(0.4, 0.1, 0.7) | {"way": "proxy-seed-1 against proxy"}]}
    (step,) = STUDY.steps(Conditions(), DEFAULT, place(Path()))
    return STUDY.told(Conditions(), DEFAULT, {step.name: audited})


def place(folder: Path) -> Place:
    return Place(folder=folder, source="a", test_source="b", device="cpu", workers=2, say=print)


# Its sizes ------------------------------------------------------------------------------------------------------------


def test_it_is_the_default_proxy_on_more_and_more_networks() -> None:
    for size in STUDY.sizes(DIGITS)[1:]:
        assert (size["pictures"], size["minival"], size["image_size"], size["batch_size"]) == (4000, 1000, 32, 128)
        assert (size["epochs"], size["reference_epochs"]) == (2, 20)  # 6,000 pictures' worth, and ten times as long
    trainings = [size["networks"] * (2 + 10 * size["reference_seeds"]) for size in STUDY.sizes(DIGITS)[1:]]
    assert trainings == sorted(set(trainings))


def test_fewer_pictures_are_trained_on_for_more_epochs() -> None:
    size = STUDY.sizes(Material(train=1000, test=0, side=64, classes=10, channels=3))[1]
    assert (size["pictures"], size["minival"], size["test_pictures"]) == (750, 187, 100)
    assert size["epochs"] == 10  # 6,000 / 563, at the most 10


def test_the_time_is_that_of_all_trainings_and_of_the_timing_of_their_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    in_process(monkeypatch)
    (step,) = STUDY.steps(Conditions(), SMALLEST, place(Path()))
    # an epoch has 9 steps of 32 pictures, and a pass over 100, each a third of a step; each of the two ways has a
    # timing of 4 steps and 15 blocks, of the network and of the anchor
    training_s = (1 + 3) * (9 + 100 / 32 / 3) * STEP_S
    expected_s = SAFETY * 6 * (training_s + 2 * 2 * (4 + 15) * STEP_S) / 2
    assert step.expected_s(Pace("cpu")) == pytest.approx(expected_s)


# What it says ---------------------------------------------------------------------------------------------------------


def test_what_held_is_told_by_the_interval() -> None:
    verdicts = {
        of_tau: [claim.verdict for claim in told(*of_tau).claims[:2]]
        for of_tau in ((0.7, 0.51, 0.9), (0.6, 0.3, 0.8), (0.2, -0.1, 0.4), (-0.5, -0.9, -0.1), (None, None, None))
    }
    assert verdicts == {
        (0.7, 0.51, 0.9): ["holds", "holds"],
        (0.6, 0.3, 0.8): ["holds", "not told apart"],
        (0.2, -0.1, 0.4): ["not told apart", "the opposite holds"],
        (-0.5, -0.9, -0.1): ["the opposite holds", "the opposite holds"],
        (None, None, None): ["not told apart", "not told apart"],
    }
    assert [claim.verdict for claim in told(1.0, 1.0, 1.0, 4).claims] == ["not told apart"] * 4, "of four networks"
    above = told(0.6, 0.3, 0.8).claims[1]
    assert above.found == pytest.approx((0.6, 0.3, 0.8, 12))
    assert above.paper == "tells nothing of its proxy's agreement"


def test_the_papers_proxies_stand_beside() -> None:
    made = told(0.6, 0.3, 0.8)
    assert [(row["way"], row["epochs"], row["reference_epochs"]) for row in made.table] == [
        ("the proxy", 2, 20),
        ("proxy, seed 1 against proxy", None, None),
        ("MnasNet's, in the paper", 5, None),
        ("EfficientNetV2's, in the paper", 10, 350),
    ]
    assert {tuple(row) for row in made.table} == {tuple(made.table[0])}
    assert [mark.value for mark in made.panels[0].marks] == [0.6, 0.4] * 2


# The study itself -----------------------------------------------------------------------------------------------------


def test_its_smallest_size_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def evaluate(task: ProxyTask, architecture: Architecture, seed: int) -> Iterator[Measurement]:
        if len(asked) == stop_at:
            raise KeyboardInterrupt
        asked.append(f"{task.recipe.epochs} epochs of {task.data.sizes['train']}")
        noise = np.random.default_rng(seed).normal() / task.recipe.epochs
        accuracy = 0.05 * np.log(cost(architecture, 32).macs) + 0.05 * noise
        yield Measurement(accuracy=float(accuracy), epoch=1.0, step_time=1.0, train_time_s=float(task.recipe.epochs))

    in_process(monkeypatch)
    monkeypatch.setattr(ProxyTask, "__call__", evaluate)
    source = ("--data", pictures(tmp_path / "a.parquet", 200), "--test-data", pictures(tmp_path / "b.parquet", 60))
    command = ("study", "proxy", *source, "--device", "cpu", "--workers", "1", "--out", tmp_path / "out")
    stop_at = 8
    outcome = nas(*command, "--budget", "1")
    assert outcome.code == 130
    assert "go on with: nas study proxy" in outcome.err
    stop_at = 0
    asked.append("not 0")
    outcome = nas(*command, "--format", "json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert [asked.count(way) for way in ("1 epochs of 150", "3 epochs of 150")] == [6, 6], "nothing is trained twice"

    def accuracies(run: str) -> pd.Series:
        return TrialStore.open(tmp_path / "out" / "runs" / run).frame().set_index("architecture")["accuracy"]

    one = agreement(accuracies("proxy"), accuracies("reference"), top=5)
    tau = found["claims"][0]
    assert (tau["mean"], tau["low"], tau["high"], tau["n"]) == pytest.approx((one.tau, one.tau_low, one.tau_high, 6))
    assert found["table"][0]["cost"] == pytest.approx(1 / 3)
    assert found["table"][0]["accuracy_recall"] == pytest.approx(one.recall)
    assert (tmp_path / "out" / "runs" / "networks.csv").is_file(), "for `nas correct`"
    assert any("not the default proxy" in line for line in found["changed"])
    asked.clear()
    assert nas(*command).code == 0
    assert not asked


def test_what_is_no_number_is_kept_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def alike(task: ProxyTask, architecture: Architecture, seed: int) -> Iterator[Measurement]:
        yield Measurement(accuracy=0.25, epoch=1.0, step_time=1.0, train_time_s=1.0)

    in_process(monkeypatch)
    monkeypatch.setattr(ProxyTask, "__call__", alike)
    source = ("--data", pictures(tmp_path / "a.parquet", 200), "--test-data", pictures(tmp_path / "b.parquet", 60))
    command = ("study", "proxy", *source, "--device", "cpu", "--workers", "1", "--out", tmp_path / "out")
    outcome = nas(*command, "--budget", "1", "--format", "json")
    assert outcome.code == 0, outcome.err
    (audited,) = results(tmp_path / "out").values()
    assert audited["ways"][0]["accuracy_tau"] is None
    assert {claim["verdict"] for claim in json.loads(outcome.out)["claims"][:2]} == {"not told apart"}
