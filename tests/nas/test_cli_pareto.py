"""`nas pareto`: what it prints of one run and of several, and what it says below."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from nas_command import error, nas

from nas.problem import Problem
from nas.reward import bind, training_aware
from results.store import TrialStore
from results.trial import Measurement, Trial
from search_spaces import SearchSpace

SHAPE = {"num_classes": 10, "in_channels": 1}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def problem(space: SearchSpace) -> Problem:
    return Problem(space, bind(training_aware, {}), 16, **SHAPE)


class Made:
    """Runs of made up measurements, as (accuracy, step time) a trial; None is a trial that failed, or no timing."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def run(
        self, folder: str, found: Sequence[tuple[float, float | None] | None], *, first: int = 0, **task: Any
    ) -> str:
        """Of the space's networks from the first one on."""
        space = self.problem.space
        identity = {
            "space": space.to_json(),
            "image_size": 16,
            "evaluator": "proxy",
            "zero_cost": False,
            "seed": 0,
            "sources": {},
            "task": {"pictures": {"train": 9, "minival": 400, "test": 9}, "split_seed": 0, **SHAPE, **task},
            "objectives": ["accuracy", "step_time"],
        }
        store = TrialStore.create(Path(folder), {"space": space.to_json(), "identity": identity})
        for number, point in enumerate(found):
            genotype = space.genotype_at(first + number)
            architecture = space.decode(genotype)
            trial = Trial(number=number, genotype=genotype, architecture=str(architecture), seed=first + number)
            store.asked(trial)
            if point is None:
                store.told(replace(trial, state="failed", failure="diverged", reason="nan"))
                continue
            accuracy, time = point
            interval = {} if time is None else {"step_time_low": 0.96 * time, "step_time_high": 1.04 * time}
            measurement = Measurement(accuracy=accuracy, step_time=time, **interval)
            store.measured(number, self.problem.completed(measurement, architecture))
            store.told(replace(trial, state="complete", reward=accuracy))
        store.close()
        return folder


@pytest.fixture
def made(problem: Problem) -> Made:
    return Made(problem)


POINTS = [(0.9, 1.6), (0.85, 0.8), (0.6, 0.5), None, (0.8, 0.9), (0.5, 1.2)]


def rows(*arguments: object) -> list[dict[str, Any]]:
    outcome = nas("pareto", *arguments, "--format", "json")
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_a_front_is_told_with_its_places_and_how_sure_it_is(made: Made) -> None:
    run = made.run("run", POINTS)
    found = rows(run)
    assert [row["number"] for row in found] == [0, 1, 2]
    assert [row["knee"] for row in found] == [False, True, False]
    assert [row["crowding"] for row in found] == [None, 2.0, None], "an extreme has no end"
    assert [row["rank"] for row in found] == [1, 1, 1]
    assert all(0.9 < row["membership"] <= 1 for row in found)
    assert rows(run) == found, "chance is fixed"
    assert [(row["number"], row["rank"]) for row in rows(run, "--ranks", 9)[3:]] == [(4, 2), (5, 3)]
    text = nas("pareto", run, "--format", "csv").out
    assert pd.read_csv(io.StringIO(text))["crowding"].isna().tolist() == [True, False, True]
    assert nas("pareto", run).out.splitlines()[0].split() == [
        *("number", "reward", "accuracy", "step_time", "params", "macs", "membership", "crowding", "knee"),
        "architecture",
    ]


def test_below_stands_what_the_front_is_worth(made: Made, problem: Problem) -> None:
    said = nas("pareto", made.run("run", POINTS)).out
    assert "3 of 5 networks are beaten by none in accuracy, step_time" in said
    volume = 0.9 * (2 - 1.6) + 0.85 * (1.6 - 0.8) + 0.6 * (0.8 - 0.5)
    assert f"hypervolume {volume / 2:.4f} of 1, {volume:.6g} against accuracy 0, step_time 2\n" in said
    assert "knee: trial 1, accuracy 0.85, step_time 0.8, membership 1.00" in said
    assert re.search(r"membership by the noise of accuracy ±0\.0\d+ \(median; at least the sampling error of 400", said)
    given = nas("pareto", "run", "--reference", "accuracy=0.6,step_time=1").out
    assert f"hypervolume 0.1250 of 1, {0.25 * 0.2:.6g} against accuracy 0.6, step_time 1\n" in given
    params = nas("pareto", "run", "--objectives", "accuracy,params,reward").out
    assert f"params {2 * problem.anchor.params:,}" in params
    assert "reward 0.5 (reward: the worst of the networks)" in params
    assert "against accuracy 0.9, step_time 2" in nas("pareto", "run", "--objectives", "min:accuracy,step_time").out
    assert "hypervolume" not in nas("pareto", "run", "--objectives", "accuracy").out
    outcome = nas("pareto", "run", "--format", "json")
    assert "hypervolume" in outcome.err
    assert "hypervolume " not in outcome.out


def test_a_search_and_its_front_tell_the_same_hypervolume(problem: Problem, made: Made) -> None:
    from nas.front import Front

    made.run("run", POINTS)
    front = Front()
    objectives = ("accuracy", "step_time", "params")
    for trial in TrialStore.open(Path("run")).trials.values():
        if trial.measurement is not None:
            gains = replace(problem, objectives=objectives).gains(trial.measurement)
            assert gains is not None
            volume = front.volume_with(gains)
            front.add(gains)
    assert f"hypervolume {volume:.4f} of 1" in nas("pareto", "run", "--objectives", ",".join(objectives)).out


def test_limits_pick_the_best_that_one_can_afford(made: Made) -> None:
    run = made.run("run", POINTS)
    assert [row["number"] for row in rows(run, "--max-step-time", 1.2)] == [1, 2]
    said = nas("pareto", run, "--max-step-time", 1.2).out
    assert "4 of 5 networks are within step_time <= 1.2" in said
    assert "the best accuracy within step_time <= 1.2: trial 1, accuracy 0.85, step_time 0.8, membership" in said
    assert "that it is within step_time <= 1.2, given the noise: 1.00" in said
    edge = nas("pareto", run, "--max-step-time", 0.81).out
    assert "given the noise: 0.73" in edge, "0.01 below the limit, with a deviation of 0.08 * 0.8 / 3.92"
    assert "given the noise" not in nas("pareto", run, "--max-params", 1e9).out, "a count is exact"
    assert " inf " in said, "an extreme has no end, which is not the same as unknown"
    frame = TrialStore.open(Path(run)).frame()
    params, macs = (int(frame[name].dropna().median()) for name in ("params", "macs"))
    for options, inside in (
        (["--max-params", params], frame["params"] <= params),
        (["--max-macs", macs], frame["macs"] <= macs),
        (["--min-accuracy", 0.8, "--max-step-time", 1], (frame["accuracy"] >= 0.8) & (frame["step_time"] <= 1)),
    ):
        allowed = frame.loc[inside.fillna(False).astype(bool)]
        found = rows(run, *options)
        assert found[0]["number"] == allowed.loc[allowed["accuracy"].astype(float).idxmax(), "number"]
        assert {row["number"] for row in found} <= set(allowed["number"])
    assert rows(run, "--max-latency", 1) == []
    assert "no network is within latency <= 1: the front is empty" in nas("pareto", run, "--max-latency", 1).out


def test_several_runs_have_one_front_with_the_origin_of_each(made: Made) -> None:
    one, other = made.run("a/run", POINTS), made.run("b/run", [(0.95, 1.5), (0.7, 0.7), (0.1, 3.0)], first=10)
    found = rows(one, other)
    assert [(row["run"], row["number"]) for row in found] == [*(("b/run", 0), ("a/run", 1), ("b/run", 1), ("a/run", 2))]
    outcome = nas("pareto", one, other)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.split()[0] == "run"
    assert "4 of 8 networks are beaten by none" in outcome.out
    assert re.search("knee: trial 1 of ./run,", outcome.out)
    otherwise = nas("pareto", one, made.run("c", POINTS, recipe={"epochs": 9}))
    assert "warning: c was measured otherwise than a/run, and may not compare. What differs:" in otherwise.err
    assert "task.recipe" in otherwise.err
    assert "each run must be named once" in error("pareto", one, one)


def test_a_network_of_two_runs_is_one_where_they_measured_alike(made: Made) -> None:
    one, other = made.run("a", [(0.9, 1.0), (0.5, 0.5)]), made.run("b", [(0.8, 1.1)], width=1)
    assert [(row["run"], row["also_in"], row["trainings"]) for row in rows(one, other)] == [("a", "", 1)] * 2
    (first, _) = rows(one, made.run("c", [(0.8, 1.1)]))
    assert (first["run"], first["also_in"], first["trainings"]) == ("a", "c", 2)
    assert first["accuracy"] == pytest.approx(0.85)
    assert first["membership"] == 1.0, "it does not stand in its own way"
    said = nas("pareto", "a", "c").out
    assert said.split()[:4] == ["run", "number", "also_in", "trainings"]
    assert "1 of these were trained more than once: what stands there are the means" in said


def test_whatever_state_a_run_is_in_it_is_said(made: Made) -> None:
    for folder, points, said in (
        ("none", [], "no trial is complete yet"),
        ("failed", [None, None], "no trial is complete yet"),
        ("one", [(0.5, 1.0)], "1 of 1 networks are beaten by none"),
    ):
        outcome = nas("pareto", made.run(folder, points))
        assert (outcome.code, outcome.err) == (0, "")
        assert said in outcome.out
        assert "knee" not in outcome.out.replace("  knee  ", "")
        assert len(rows(folder)) == len([point for point in points if point])
    made.run("untimed", [(0.5, None), (0.6, None)])
    assert [row["number"] for row in rows("untimed")] == [1]
    assert "step_time is no objective here: it was measured in no trial\n" in nas("pareto", "untimed").out
    made.run("gaps", [(0.5, 1.0), (0.6, None)])
    assert [row["number"] for row in rows("gaps")] == [0]
    assert "left out for want of step_time: 1\n" in nas("pareto", "gaps").out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--objectives", "accuracy,beauty"], "objectives must be among"),
        (["--objectives", "accuracy,latency"], "latency was in no trial: name others (--objectives)"),
        (["--objectives", "best:accuracy"], "a column, or max: or min: before one; got 'best:accuracy'"),
        (["--reference", "accuracy=0"], "as in accuracy=1,step_time=1; got 'accuracy=0'"),
        (["--reference", "accuracy=0,step_time=much"], "must give each objective a number"),
        (["--reference", "accuracy=0,step_time=1,params=3"], "must give each objective a number"),
    ],
)
def test_what_cannot_be_is_one_clear_line(made: Made, options: list[str], said: str) -> None:
    assert said in error("pareto", made.run("run", POINTS), *options)
