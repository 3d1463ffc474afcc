"""The audit of the proxy: which ways of training it compares, what it says of them, and how it goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from nas.audit import Audit
from nas.cli import app
from nas.config import SearchConfig
from nas.controllers.stratified import Stratified, _van_der_corput
from nas.problem import Problem
from nas.reward import REWARDS
from results.agreement import agreement
from results.store import TrialStore
from results.trial import Measurement
from search_spaces import SPACES, Architecture, cost
from trainers.proxy import ProxyTask

SMALL = SPACES["small"]
CONFIG = SearchConfig()


# The networks --------------------------------------------------------------------------------------------------------


def stratified(seed: int = 0, **limits: float) -> Stratified:
    problem = Problem(SMALL, REWARDS["accuracy"], 32, limits=limits)
    return Stratified(SMALL, problem.features, seed)


def macs(controller: Stratified, count: int) -> list[int]:
    return [cost(SMALL.decode(genotype), 32).macs for _ in range(count) if (genotype := controller.ask()) is not None]


def test_halves_quarters_eighths() -> None:
    assert [_van_der_corput(n) for n in range(1, 8)] == [0.5, 0.25, 0.75, 0.125, 0.625, 0.375, 0.875]


@pytest.mark.parametrize("count", [5, 10, 20, 30])
def test_networks_span_the_space_evenly(count: int) -> None:
    found = np.sort(np.log(macs(stratified(), count)))
    rng = np.random.default_rng(5)
    everything = np.sort([np.log(cost(SMALL.decode(SMALL.sample(rng)), 32).macs) for _ in range(2000)])
    ranks = np.searchsorted(everything, found) / len(everything)
    assert np.abs(ranks - (np.arange(count) + 0.5) / count).max() < 0.5 / count + 0.08


def test_all_are_different_and_the_seeds() -> None:
    one, same, other = stratified(), stratified(), stratified(1)
    asked = [one.ask() for _ in range(1100)]  # more than the pool
    assert len(set(asked)) == 1100
    assert asked[:50] == [same.ask() for _ in range(50)] != [other.ask() for _ in range(50)]


def test_limits_are_kept() -> None:
    assert max(macs(stratified(macs=2e6), 40)) <= 2e6


# The ways of training ------------------------------------------------------------------------------------------------


def test_what_is_compared() -> None:
    ways = Audit(config=CONFIG, reference_seeds=2).variants(2, 32)
    assert list(ways) == [
        *("proxy", "proxy-seed-1", "reference", "reference-seed-1"),
        *("image-24", "image-16", "epochs-1", "data-half", "width-half"),
    ]
    assert {way.epochs for name, way in ways.items() if name.startswith("reference")} == {20}
    assert [ways[name].seed for name in ("proxy", "proxy-seed-1", "reference-seed-1")] == [0, 1, 1]
    assert ways["image-16"].image_size == 16
    assert (ways["epochs-1"].epochs, ways["data-half"].train_share, ways["width-half"].width) == (1, 0.5, 0.5)
    assert {way.split_seed for way in ways.values()} == {0}, "all are measured on one minival"


def test_one_epoch_cannot_be_halved() -> None:
    assert list(Audit(config=CONFIG, seeds=1, cheaper=("epochs",)).variants(1, 32)) == ["proxy", "reference"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"networks": 2}, "networks must be at least 3"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"threshold": 2.0}, "threshold must be a Kendall tau"),
        ({"cheaper": ("time",)}, "cheaper proxies save at image, epochs, data, width; got time"),
        ({"config": SearchConfig(evaluator="table:a.csv")}, "the audited evaluator must be proxy"),
    ],
)
def test_settings_without_sense(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Audit(**{"config": CONFIG, **options})


def test_the_reference_must_be_longer() -> None:
    with pytest.raises(ValueError, match="must train longer than the proxy's 4 epochs; got 4"):
        Audit(config=CONFIG, reference_epochs=4).variants(4, 32)


# The command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counter[str]:
    """Training is a formula: better with macs, the noisier the briefer. Counts what was trained."""
    count: Counter[str] = Counter()

    def evaluate(task: ProxyTask, architecture: Architecture, seed: int) -> Iterator[Measurement]:
        size = np.log(cost(architecture, 32).macs)
        pictures = task.recipe.epochs * task.data.sizes["train"] * task.data.image_size**2 * task.width
        noise = np.random.default_rng(seed).normal() * 2e4 / pictures**0.5
        count[json.dumps(task.describe(), sort_keys=True)] += 1
        if len(count) == STOP_AT[0]:
            raise KeyboardInterrupt
        yield Measurement(
            accuracy=float(np.clip(0.05 * size + noise / 100, 0.01, 1)),
            epoch=task.recipe.epochs,
            step_time=1.0,
            train_time_s=pictures / 1e6,
        )

    monkeypatch.setattr(ProxyTask, "__call__", evaluate)
    monkeypatch.chdir(tmp_path)
    STOP_AT[0] = 0
    return count


STOP_AT = [0]
AUDIT = ("proxy", "audit", "--out", "audit", "--workers", "1", "--networks", "8", "--quiet")


def asked(*more: str) -> Any:
    return CliRunner().invoke(app, [*AUDIT, *more], catch_exceptions=False)


def test_it_says_what_each_way_is_worth(trained: Counter[str]) -> None:
    outcome = asked("--format", "json")
    assert outcome.exit_code == 0
    found = json.loads(outcome.stdout)
    ways = {way["way"]: way for way in found["ways"]}
    assert set(ways) == {"proxy", "image-24", "image-16", "epochs-1", "data-half", "width-half"}
    assert ways["proxy"]["cost"] == pytest.approx(0.1)
    assert ways["image-16"]["cost"] == pytest.approx(0.025)
    for way in found["ways"]:
        assert way["accuracy_networks"] == 8
        assert -1 <= way["accuracy_tau_low"] <= way["accuracy_tau"] <= way["accuracy_tau_high"] <= 1
        assert 0 <= way["reward_recall"] <= 1
    assert [row["way"] for row in found["noise"]] == ["proxy-seed-1 against proxy"]
    good = [way for way in found["ways"] if way["accuracy_tau"] >= 0.5]
    assert found["cheapest"] == min(good, key=lambda way: way["cost_s"])["way"]
    assert json.loads(Path("audit/audit.json").read_text()) == found
    networks = pd.read_csv("audit/networks.csv")
    assert len(networks) == 8
    assert {"architecture", "accuracy", "reference_accuracy", "params", "macs"} <= set(networks.columns)


def test_every_way_trains_the_same_networks_and_is_a_run(trained: Counter[str]) -> None:
    asked()
    folders = sorted(path.parent for path in Path("audit").glob("*/run.json"))
    assert len(folders) == 8
    frames = [TrialStore.open(folder).frame() for folder in folders]
    assert all(set(frame["architecture"]) == set(frames[0]["architecture"]) for frame in frames)
    assert all((frame["state"] == "complete").all() for frame in frames)
    listed = CliRunner().invoke(app, ["trials", "audit/reference", "--format", "csv"])
    assert len(listed.stdout.splitlines()) == 9


def test_an_audit_that_was_stopped_goes_on(trained: Counter[str]) -> None:
    STOP_AT[0] = 3  # a third task: the second seed's is the proxy's
    outcome = asked()
    assert outcome.exit_code == 130
    assert "nothing trained is lost: ask for the same audit" in outcome.stderr
    done = sum(trained.values()) - 1
    assert done == 24
    STOP_AT[0] = 0
    trained.clear()
    assert asked().exit_code == 0
    assert sum(trained.values()) == 8 * 8 - done
    trained.clear()
    again = asked("--format", "csv")
    assert again.exit_code == 0
    assert not trained
    assert len(again.stdout.splitlines()) == 1 + 6 + 1


def test_networks_that_fail_alike_are_no_interruption(trained: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(task: ProxyTask, architecture: Architecture, seed: int) -> Iterator[Measurement]:
        raise RuntimeError("no such operator")
        yield

    evaluate = ProxyTask.__call__
    monkeypatch.setattr(ProxyTask, "__call__", fails)
    with pytest.raises(ValueError, match=r"proxy was stopped: 10 candidates in a row failed .*no such operator"):
        asked("--networks", "16")
    monkeypatch.setattr(ProxyTask, "__call__", evaluate)
    assert asked("--networks", "16").exit_code == 0, "the others are trained when it is asked for again"
    states = TrialStore.open(Path("audit/proxy")).frame()["state"]
    assert states.tolist() == ["failed"] * 10 + ["complete"] * 6


def test_a_space_of_fewer_networks_is_trained_whole(trained: Counter[str], tmp_path: Path) -> None:
    (tmp_path / "five.py").write_text(
        "from search_spaces import Architecture, SearchSpace, Stage, vary\n"
        "backbone = Architecture(8, (Stage('mbconv', 3, 2, 4, 8, 1),), 32)\n"
        "five = SearchSpace('five', backbone, vary(1, expand_ratio=(1, 2, 3, 4, 6)))\n"
    )
    for _ in range(2):
        outcome = asked("--space", "five.py:five", "--image-size", "16", "--cheaper", "none", "--format", "json")
        assert outcome.exit_code == 0
        assert "interrupted" not in outcome.stderr
        assert "has 5 networks: the controller has nothing more to propose" in outcome.stderr
        assert {way["accuracy_networks"] for way in json.loads(outcome.stdout)["ways"]} == {5}
    assert sum(trained.values()) == 3 * 5


def test_what_is_left_of_another_audit_is_not_read(trained: Counter[str]) -> None:
    STOP_AT[0] = 6  # the sixth task of other accuracies: half of the pictures
    assert asked().exit_code == 130
    assert TrialStore.open(Path("audit/data-half")).frame()["state"].tolist() == ["running"]
    outcome = asked("--cheaper", "image", "--format", "json")
    assert outcome.exit_code == 0
    ways = {way["way"] for way in json.loads(outcome.stdout)["ways"]}
    assert "data-half" not in ways
    assert {"proxy", "image-16"} <= ways


def test_all_ways_are_compared_on_the_same_networks(trained: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate, turns = ProxyTask.__call__, iter([False, True, True, *[False] * 5, *[True] * 6, False, False])

    def fails(task: ProxyTask, architecture: Architecture, seed: int) -> Iterator[Measurement]:
        if task.width < 1 and next(turns):
            raise MemoryError
        return evaluate(task, architecture, seed)  # type: ignore[return-value]

    monkeypatch.setattr(ProxyTask, "__call__", fails)
    found = json.loads(asked("--cheaper", "epochs,width", "--format", "json").stdout)
    assert {row["accuracy_networks"] for row in [*found["ways"], *found["noise"]]} == {6}
    assert found["failed"] == {"width-half": 2}
    with pytest.raises(ValueError, match=r"2 are, and of width-half 2 \(6 failed, the last: MemoryError\)"):
        asked("--cheaper", "width", "--out", "other")


def test_trainings_with_other_seeds_are_one_way(trained: Counter[str]) -> None:
    outcome = asked("--seeds", "3", "--reference-seeds", "2", "--cheaper", "epochs", "--threshold", "-1")
    assert "proxy: means over 3 trainings of each network with other seeds, each compared alone" in outcome.stdout
    assert "reference: the mean accuracy and reward of 2 trainings of each network" in outcome.stdout
    found = json.loads(Path("audit/audit.json").read_text())
    assert [(way["way"], way["trainings"]) for way in found["ways"]] == [("proxy", 3), ("epochs-1", 1)]
    assert found["cheapest"] == "epochs-1"

    def accuracies(name: str) -> pd.Series:
        return TrialStore.open(Path("audit") / name).frame().set_index("architecture")["accuracy"]

    reference = (accuracies("reference") + accuracies("reference-seed-1")) / 2
    alone = [agreement(accuracies(name), reference, top=5) for name in ("proxy", "proxy-seed-1", "proxy-seed-2")]
    assert found["ways"][0]["accuracy_tau"] == pytest.approx(np.mean([one.tau for one in alone]))
    assert found["ways"][0]["accuracy_recall"] == pytest.approx(np.mean([one.recall for one in alone]))
    assert len({one.tau for one in alone}) > 1


def test_another_task_in_the_folder_is_an_error(trained: Counter[str]) -> None:
    asked()
    with pytest.raises(
        ValueError, match=r"these fields differ:\n  task\.recipe\.batch_size: the run has 128, this is 64"
    ):
        asked("--batch-size", "64")


def test_the_table_reads_well(trained: Counter[str]) -> None:
    text = asked("--cheaper", "none", "--threshold", "-1").stdout
    assert text.splitlines()[0].split()[:2] == ["way", "cost"]
    assert "the cheapest that keeps a tau of accuracies of -1: proxy" in text
    assert "no way keeps a tau of accuracies of 1:" in asked("--cheaper", "none", "--threshold", "1").stdout
