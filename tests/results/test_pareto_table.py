"""Trials with their places: who is on the front, within limits, and how sure, on tables small enough to see it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from results.noise import noise_of
from results.pareto_table import front_table, within

OBJECTIVES = ["accuracy", "step_time"]
TRIALS = pd.DataFrame(
    {
        "number": [0, 1, 2, 3, 4, 5, 6, 7],
        "architecture": ["a", "b", "c", "d", "e", "a", "f", "g"],
        "seed": range(8),
        "state": ["complete"] * 6 + ["failed", "complete"],
        "replicate": [0, 0, 0, 0, 0, 1, 0, 0],
        "reused_from": pd.array([pd.NA] * 8, dtype="str"),
        "accuracy": [0.9, 0.8, 0.5, 0.7, 0.4, 0.99, math.nan, 0.95],
        "step_time": [3.0, 1.5, 1.0, 2.0, 2.0, 3.0, math.nan, math.nan],
        "params": pd.array([5, 4, 3, 2, 1, 5, None, 9], dtype="Int64"),
    }
)


def places(found: pd.DataFrame) -> dict[int, int]:
    return dict(zip(found["number"].tolist(), found["rank"].tolist(), strict=True))


def test_each_network_is_there_once_in_the_order_of_its_place() -> None:
    found = front_table(TRIALS, OBJECTIVES)
    assert list(places(found).items()) == [(0, 1), (1, 1), (2, 1), (3, 2), (4, 3)], (
        "neither a replicate, nor unmeasured"
    )
    assert found.index.tolist() == [0, 1, 2, 3, 4]
    assert found["knee"].tolist() == [False, True, False, False, False]
    assert found["crowding"].tolist()[:3] == [math.inf, 2.0, math.inf]
    assert list(found.columns) == [*TRIALS.columns, "rank", "crowding", "knee"]
    assert places(front_table(TRIALS, OBJECTIVES, most=2)) == {0: 1, 1: 1, 2: 1, 3: 2}
    other_way = front_table(TRIALS, ["min:accuracy", "params"], most=1)
    assert places(other_way) == {4: 1}
    assert not other_way["knee"].any(), "of one point or two, none is between the others"


def test_a_limit_leaves_out_what_exceeds_it_or_was_not_measured() -> None:
    assert within(TRIALS, {"step_time": (None, 2.0)})["number"].tolist() == [1, 2, 3, 4]
    assert within(TRIALS, {"step_time": (None, 2.0), "accuracy": (0.7, None)})["number"].tolist() == [1, 3]
    assert within(TRIALS, {"params": (2, 4)})["number"].tolist() == [1, 2, 3]
    assert within(TRIALS, {}).equals(TRIALS)
    best = front_table(within(TRIALS, {"params": (None, 3)}), OBJECTIVES, most=1)
    assert best["number"].tolist() == [3, 2], "a limit on what is no objective makes another front; the best is first"
    with pytest.raises(ValueError, match="a limit must be of a column of the trial table; it has no beauty"):
        within(TRIALS, {"beauty": (None, 1)})


def test_a_network_trained_again_is_judged_by_all_of_its_trainings() -> None:
    noise = noise_of(TRIALS, OBJECTIVES, 100)
    chances = front_table(TRIALS, OBJECTIVES, noise=noise, rng=np.random.default_rng(0)).set_index("number")
    assert chances["membership"].between(0, 1).all()
    assert chances.loc[0, "membership"] > 0.9, "its other training was better still"
    assert chances.loc[4, "membership"] < 0.01
    worse = TRIALS.assign(accuracy=TRIALS["accuracy"].where(TRIALS["replicate"] == 0, 0.3))
    flattered = front_table(
        worse, OBJECTIVES, noise=noise_of(worse, OBJECTIVES, 100), rng=np.random.default_rng(0)
    ).set_index("number")
    assert flattered.loc[0, "rank"] == 1, "by its first training"
    assert flattered.loc[0, "membership"] < 0.5 < chances.loc[0, "membership"], "but not by both"
    with pytest.raises(ValueError, match="give a generator as rng with it"):
        front_table(TRIALS, OBJECTIVES, noise=noise)


def test_a_training_that_two_runs_have_is_told_where_it_was_made() -> None:
    taken = TRIALS.iloc[:3].assign(
        reused_from=pd.array(["there#0", "there#1", "else#9"], dtype="str"), number=[10, 11, 12]
    )
    taken["seed"] = [0, 1, 77]
    both = pd.concat([taken.assign(run="later"), TRIALS.assign(run="earlier")], ignore_index=True)
    found = front_table(both, OBJECTIVES, most=1)
    assert sorted(found["number"]) == [0, 1, 2, 12], "but a training that is in neither stays"
    alone = front_table(taken, OBJECTIVES, most=1)
    assert sorted(alone["number"]) == [10, 11, 12]
    twice = pd.concat([taken, taken.assign(number=[20, 21, 22])], ignore_index=True)
    assert sorted(front_table(twice, OBJECTIVES, most=1)["number"]) == [10, 11, 12]


@pytest.mark.parametrize("rows", [[], [0], [6], [7]])
def test_it_takes_what_there_is(rows: list[int]) -> None:
    frame: Any = TRIALS.iloc[rows]
    if rows == [7]:
        with pytest.raises(ValueError, match="step_time was in no trial: name others"):
            front_table(frame, OBJECTIVES)
        return
    noise = noise_of(frame, OBJECTIVES, 100)
    found = front_table(frame, OBJECTIVES, noise=noise, rng=np.random.default_rng(0))
    assert found["number"].tolist() == [0] * (rows == [0])
    assert found["membership"].tolist() == [1.0] * (rows == [0])
    assert found["rank"].dtype == np.int64
