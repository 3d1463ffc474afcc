"""The discovery study: whose choices its networks have, how trials are ranked anew, and what it says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from coloured_pictures import pictures
from made_run import make_run
from nas_command import nas
from small_studies import in_process

from nas.studies.discovery import STUDY, networks, with_choices_of
from nas.studies.discovery_analysis import PAPERS, RANDOM, REWARDS, SEARCHED, Analyse, ranked_by
from nas.studies.folder import RUNS
from nas.studies.searches import Evaluate, Search, best_of
from nas.studies.study import Conditions, Material, Place
from results.store import TrialStore
from search_spaces import PUBLISHED, SPACES

MATERIAL = Material(train=50_000, test=10_000, side=32, classes=10, channels=3)


def place(folder: Path) -> Place:
    return Place(folder=folder, source="a.parquet", test_source=None, device="cpu", workers=2, say=print)


def test_in_its_own_space_a_network_has_its_own_choices() -> None:
    space = SPACES["efficientnetv2-s"]
    assert with_choices_of(space, PUBLISHED["efficientnetv2-s"]) == PUBLISHED["efficientnetv2-s"]


def test_in_a_smaller_space_it_has_the_nearest_ones() -> None:
    assert str(networks("small")["v2-like"]) == (
        "stem_c8-fused_mbconv_k3_s1_e1_c8_n1-fused_mbconv_k3_s2_e4_c16_n2-fused_mbconv_k3_s2_e4_c24_n2-"
        "mbconv_k3_s1_e4_c32_n3_se0.25-mbconv_k3_s1_e6_c40_n3_se0.25-mbconv_k3_s2_e6_c64_n3_se0.25-head_c256"
    )
    v1 = networks("small")["v1-like"]
    assert v1 is not None
    assert [(s.op, s.kernel, s.expand_ratio, s.layers) for s in v1.stages] == [
        ("mbconv", 3, 1, 1), ("mbconv", 3, 6, 2), ("mbconv", 5, 6, 2), ("mbconv", 3, 6, 3), ("mbconv", 5, 6, 3),
        ("mbconv", 5, 6, 3), ("mbconv", 3, 6, 1),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder with both runs, of 60 trials each."""
    made = tmp_path_factory.mktemp("study")
    for number, name in enumerate((SEARCHED, RANDOM)):
        make_run(made / RUNS / name, seed=number)
    return made


def test_trials_are_ranked_by_what_is_left_of_the_reward(folder: Path) -> None:
    frame = TrialStore.open(folder / RUNS / RANDOM).frame()
    rewarded = frame["reward"].notna()
    by = {name: ranked_by(frame, **weights) for name, weights in REWARDS.items()}
    for name, quantity, ascending in (
        ("A", "accuracy", False),
        ("S alone", "step_time", True),
        ("P alone", "params", True),
    ):
        expected = frame[rewarded].astype({quantity: float}).sort_values(quantity, ascending=ascending, kind="stable")
        found = by[name].loc[rewarded].sort_values("reward", ascending=False, kind="stable")
        assert found[quantity].astype(float).tolist() == expected[quantity].tolist()
    first = frame[rewarded].iloc[0]
    whole = by["A S^-0.07 P^-0.05"].loc[first.name, "reward"]
    assert whole == pytest.approx(first["accuracy"] * first["step_time"] ** -0.07 * first["params"] ** -0.05)
    assert by["A"]["reward"].notna().tolist() == rewarded.tolist(), "who has no reward gets none"


def test_the_runs_say_what_their_tables_say(folder: Path) -> None:
    found = Analyse("analysis", "small").run(place(folder))
    assert [row["reward"] for row in found["findings"]] == [name for name in REWARDS for _ in range(4)]
    frame = TrialStore.open(folder / RUNS / RANDOM).frame()
    for name, weights in REWARDS.items():
        assert found["values"][name] == pytest.approx(sorted(ranked_by(frame, **weights)["reward"].dropna()), rel=1e-4)
    arm, search = found["chance"]["its random arm"], found["chance"]["random search"]
    assert (arm["controller"] + arm["random"], search["controller"], search["random"]) == (60, arm["controller"], 60)
    complete = frame[frame["state"] == "complete"]
    assert [row["n"] for row in found["ablation"]["A"]] == [len(complete)] * 7
    by_time = {row["quantity"]: row for row in found["ablation"]["S alone"]}
    fastest = complete["step_time"].astype(float).nsmallest(math.ceil(0.05 * len(complete)))
    assert by_time["step_time"]["other"] == pytest.approx(math.exp(fastest.map(math.log).mean()))
    best = frame.loc[frame["reward"].astype(float).idxmax(), "architecture"]
    assert best_of(frame) == best


def evaluated(reward: float, *, step_time: float) -> dict[str, Any]:
    return {"architecture": "?", "accuracy": reward, "step_time": step_time, "params": 1, "macs": 10, "reward": reward}


def results(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """The best is surely above the V2-like one, which is faster than the V1-like one and not told apart from it."""
    found: dict[str, Mapping[str, Any]] = {"analysis": Analyse("analysis", "small").run(place(folder))}
    rewards = {"best": (0.91, 0.92, 0.93), "v2-like": (0.81, 0.82, 0.83), "v1-like": (0.80, 0.83, 0.82)}
    for when in ("as-searched", "longer"):
        for network, each in rewards.items():
            for number, reward in enumerate(each, 1):
                step_time = (2 if network == "v1-like" else 1) * (1 + number / 1000)
                found[f"{when}-{network}-{number}"] = evaluated(reward, step_time=step_time)
    return found


def test_what_it_says(folder: Path) -> None:
    size = STUDY.sizes(MATERIAL)[3]
    told = STUDY.told(Conditions(), size, results(folder))
    verdicts = {claim.statement.partition(":")[0]: claim.verdict for claim in told.claims}
    best, other = (
        f"The V2-like network has a higher reward than the {which}, trained for longer"
        for which in ("best of the search", "V1-like one")
    )
    assert verdicts[best] == "the opposite holds"
    assert verdicts[other] == "not told apart"
    faster = next(claim for claim in told.claims if "V2-like network trains faster" in claim.statement)
    assert faster.found.mean == pytest.approx(2.0, rel=0.01)
    assert faster.verdict == "holds"
    rows = {(row["part"], row["what"]): row["here"] for row in told.table}
    analysis = results(folder)["analysis"]
    for by in (PAPERS, "A"):  # of one param and a step time of one, they are the same but for whom it is compared with
        values = analysis["values"][by]
        share = sum(sum(value < mine for value in values) / len(values) for mine in (0.81, 0.82, 0.83)) / 3
        here = rows[f"v2-like among {len(values)} random networks", f"share that it beats by {by}"]
        assert here == pytest.approx(share)
    everyone = [*analysis["values"][PAPERS], *analysis["searched_values"]]
    rank = sum(1 + sum(value > mine for value in everyone) for mine in (0.81, 0.82, 0.83)) / 3
    assert rows[f"v2-like beside all {len(everyone)} networks", f"rank by {PAPERS}"] == pytest.approx(rank)
    assert len({tuple(row) for row in told.table}) == 1, "all rows have the same columns"
    assert [panel.title for panel in told.panels] == [
        *(f"the best by {by}" for by in REWARDS), "the best by the reward", "trained as in the search",
        "trained for longer", "trained for longer",
    ]  # fmt: skip


def test_steps_come_in_their_order_and_last_trainings_take_ten_times_the_epochs(tmp_path: Path) -> None:
    size = STUDY.sizes(MATERIAL)[3]
    assert (size["candidates"], size["seeds"]) == (400, 3)
    steps = STUDY.steps(Conditions(), size, place(tmp_path))
    assert [step.name for step in steps[:3]] == [SEARCHED, RANDOM, "analysis"]
    searches = [step for step in steps if isinstance(step, Search)]
    assert [step.config.controller for step in searches] == ["predictor", "random"]
    assert searches[0].config.random_arm == 0.1
    last = [step for step in steps if isinstance(step, Evaluate)]
    assert len(last) == 2 * 3 * 3
    assert {step.config.epochs for step in last if step.name.startswith("longer")} == {10 * size["epochs"]}
    assert {step.replicate for step in last} == {1, 2, 3}
    assert all(step.held_out == step.name.startswith("longer") for step in last), "on pictures nothing was chosen on"
    assert searches[0].config.seed != searches[1].config.seed


def test_the_best_is_looked_up_in_a_run_that_has_one(tmp_path: Path) -> None:
    make_run(tmp_path / "run", trials=4, outcomes=("failed",))
    with pytest.raises(ValueError, match="must have a network with a reward"):
        best_of(TrialStore.open(tmp_path / "run").frame())


def test_the_space_of_v2_s_is_for_gpus() -> None:
    large = Material(train=1_281_167, test=50_000, side=300, classes=1000, channels=3, device="cuda")
    smallest, *others = STUDY.sizes(large)
    assert smallest["space"] == "small"
    assert {size["space"] for size in others} == {"efficientnetv2-s"}
    assert [size["image_size"] for size in others] == sorted(size["image_size"] for size in others)
    assert (others[0]["image_size"], others[-1]["image_size"], others[-1]["candidates"]) == (64, 128, 1_000)
    assert {size["space"] for size in STUDY.sizes(replace(large, device="cpu"))} == {"small"}


def test_few_pictures_are_kept_for_the_test_too() -> None:
    few = Material(train=500, test=0, side=28, classes=10, channels=1)
    (only,) = STUDY.sizes(few)
    assert only["pictures"] + only["test_pictures"] <= 500
    assert only["minival"] < only["pictures"] / 4
    with pytest.raises(ValueError, match=r"at least 214 training pictures.*there are 60"):
        STUDY.sizes(replace(few, train=60))


def test_its_smallest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_process(monkeypatch)
    monkeypatch.setattr("trainers.proxy.BLOCKS", 3)  # most of the time is that of timings
    monkeypatch.setattr("trainers.proxy.PRECISION", None)
    source = ("--data", pictures(tmp_path / "a.parquet", 420), "--test-data", pictures(tmp_path / "b.parquet", 60))
    command = ("study", "discovery", *source, "--device", "cpu", "--workers", "1", "--out", tmp_path / "out")
    outcome = nas(*command, "--budget", "2", "--format", "json")
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert (told["size"]["candidates"], told["size"]["epochs"]) == (5, 1)
    tables = {name: TrialStore.open(tmp_path / "out" / RUNS / name).frame() for name in (SEARCHED, RANDOM)}
    assert {name: len(table) for name, table in tables.items()} == {SEARCHED: 5, RANDOM: 5}
    accuracies = {row["part"]: row["here"] for row in told["table"] if row["what"] == "test accuracy"}
    assert set(accuracies) == {f"{name}, 10 epochs" for name in ("best", "v2-like", "v1-like")}
    assert max(accuracies.values()) > 0.4, "of four classes, so it is no matter of chance"
    for value in accuracies.values():
        assert 120 * value == pytest.approx(round(120 * value)), "each is of two trainings and 60 test pictures"
    best = next(note for note in told["notes"] if note.startswith("best: "))
    assert best.endswith(best_of(tables[SEARCHED]))
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"table.csv", "claims.csv", "figure.svg", "findings.md"} <= files
    steps = (tmp_path / "out" / "steps.jsonl").read_text()
    assert nas(*command, "--format", "json").out == outcome.out
    assert (tmp_path / "out" / "steps.jsonl").read_text() == steps, "nothing is done twice"
