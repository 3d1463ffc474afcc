"""Trials with their places: who is on the front, within limits, and how sure, on tables small enough to see it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from results.networks import network_means
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
NETWORKS = network_means(TRIALS.iloc[[0, 1, 2, 3, 4, 6, 7]])  # each trained once


def places(found: pd.DataFrame) -> dict[int, int]:
    return dict(zip(found["number"].tolist(), found["rank"].tolist(), strict=True))


def test_each_network_is_there_once_in_the_order_of_its_place() -> None:
    found = front_table(NETWORKS, OBJECTIVES)
    assert list(places(found).items()) == [(0, 1), (1, 1), (2, 1), (3, 2), (4, 3)], (
        "neither a replicate, nor unmeasured"
    )
    assert found.index.tolist() == [0, 1, 2, 3, 4]
    assert found["knee"].tolist() == [False, True, False, False, False]
    assert found["crowding"].tolist()[:3] == [math.inf, 2.0, math.inf]
    assert list(found.columns) == [*TRIALS.columns, "trainings", "rank", "crowding", "knee"]
    assert places(front_table(NETWORKS, OBJECTIVES, most=2)) == {0: 1, 1: 1, 2: 1, 3: 2}
    other_way = front_table(NETWORKS, ["min:accuracy", "params"], most=1)
    assert places(other_way) == {4: 1}
    assert not other_way["knee"].any(), "of one point or two, none is between the others"


def test_a_limit_leaves_out_what_exceeds_it_or_was_not_measured() -> None:
    assert within(TRIALS, {"step_time": (None, 2.0)})["number"].tolist() == [1, 2, 3, 4]
    assert within(TRIALS, {"step_time": (None, 2.0), "accuracy": (0.7, None)})["number"].tolist() == [1, 3]
    assert within(TRIALS, {"params": (2, 4)})["number"].tolist() == [1, 2, 3]
    assert within(TRIALS, {}).equals(TRIALS)
    best = front_table(within(NETWORKS, {"params": (None, 3)}), OBJECTIVES, most=1)
    assert best["number"].tolist() == [3, 2], "a limit on what is no objective makes another front; the best is first"
    with pytest.raises(ValueError, match="a limit must be of a column of the table; it has no beauty"):
        within(TRIALS, {"beauty": (None, 1)})


def test_a_network_trained_again_is_judged_by_all_of_its_trainings() -> None:
    worse = TRIALS.assign(accuracy=TRIALS["accuracy"].where(TRIALS["replicate"] == 0, 0.3))
    networks, noise = network_means(worse, OBJECTIVES), noise_of(worse, OBJECTIVES, 100)
    assert networks["number"].tolist() == [0, 1, 2, 3, 4, 7], "by its first training's number"
    assert networks["trainings"].tolist() == [2, 1, 1, 1, 1, 1]
    assert networks["accuracy"].tolist() == pytest.approx([0.6, 0.8, 0.5, 0.7, 0.4, 0.95])
    assert networks["params"].dtype == TRIALS["params"].dtype, "and what is exact stays a whole number"
    found = front_table(networks, OBJECTIVES, noise=noise, rng=np.random.default_rng(0)).set_index("number")
    assert found.loc[0, "rank"] == 3, "its first training, of 0.9, was luck"
    assert found.loc[0, "membership"] < 0.5
    sure = noise_of(TRIALS, OBJECTIVES, 100)
    best = front_table(network_means(TRIALS), OBJECTIVES, noise=sure, rng=np.random.default_rng(0)).set_index("number")
    assert best.loc[0, "accuracy"] == pytest.approx(0.945)
    assert best.loc[0, "membership"] > 0.9
    with pytest.raises(ValueError, match="give a generator as rng with it"):
        front_table(networks, OBJECTIVES, noise=noise)
    with pytest.raises(ValueError, match=r"a front is of networks: give what results\.networks\.network_means makes"):
        front_table(TRIALS, OBJECTIVES)


def test_a_network_of_several_runs_that_measured_alike_is_one() -> None:
    once = TRIALS.iloc[[0, 1, 2, 3, 4]].assign(reward=1.0)
    other = once.iloc[:2].assign(seed=[11, 12], accuracy=[0.8, 0.8], step_time=[3.2, 1.5], reward=2.0, run="other")
    both = pd.concat([once.assign(run="one"), other], ignore_index=True)
    networks = network_means(both, OBJECTIVES)
    assert networks["architecture"].tolist() == list("abcde")
    assert networks["also_in"].tolist() == ["other", "other", "", "", ""]
    assert networks["accuracy"].tolist()[:2] == pytest.approx([0.85, 0.8])
    assert networks["reward"].tolist() == [1] * 5, "a reward is of its own run, which may have another formula"
    apart = network_means(both, OBJECTIVES, alike={"one": 0, "other": 1})
    assert list(apart["architecture"]) == list("abcdeab")

    def membership(alike: dict[str, int] | None) -> list[float]:
        networks, noise = network_means(both, OBJECTIVES, alike=alike), noise_of(both, OBJECTIVES, 100, alike=alike)
        found = front_table(networks, OBJECTIVES, noise=noise, rng=np.random.default_rng(0))
        return [float(value) for value in found.loc[found["architecture"] == "b", "membership"]]

    (together,), parts = membership(None), membership({"one": 0, "other": 1})
    assert together > 0.9 > max(parts), "it does not stand in its own way"


def test_a_copied_run_adds_nothing() -> None:
    once = TRIALS.assign(run="one")
    both = pd.concat([once, TRIALS.assign(run="copy")], ignore_index=True)
    for names in (["run"], [name for name in TRIALS if name not in ("number", "seed")]):
        assert network_means(both)[names].equals(network_means(once)[names])
    assert network_means(both)["also_in"].tolist() == ["copy"] * 6
    alone, noise = (noise_of(frame, OBJECTIVES, 100) for frame in (once, both))
    assert noise.said == alone.said
    assert noise.deviation.iloc[: len(TRIALS)].equals(alone.deviation)


def test_a_training_that_two_runs_share_is_told_where_it_was_made() -> None:
    taken = TRIALS.iloc[:3].assign(
        reused_from=pd.array(["there#0", "there#1", "else#9"], dtype="str"), number=[10, 11, 12], run="later"
    )
    taken["seed"] = [0, 1, 77]
    found = network_means(pd.concat([taken, TRIALS.assign(run="earlier")], ignore_index=True)).set_index("number")
    assert found.index.tolist() == [0, 1, 2, 3, 4, 7]
    assert found["trainings"].tolist() == [2, 1, 2, 1, 1, 1], "a training of another seed is another one"
    assert found["also_in"].tolist() == ["later"] * 3 + [""] * 3
    assert network_means(taken)["number"].tolist() == [10, 11, 12]


@pytest.mark.parametrize("rows", [[], [0], [6], [7]])
def test_it_takes_what_there_is(rows: list[int]) -> None:
    frame: Any = TRIALS.iloc[rows]
    if rows == [7]:
        with pytest.raises(ValueError, match="step_time was in no trial: name others"):
            network_means(frame, OBJECTIVES)
        return
    noise = noise_of(frame, OBJECTIVES, 100)
    found = front_table(network_means(frame, OBJECTIVES), OBJECTIVES, noise=noise, rng=np.random.default_rng(0))
    assert found["number"].tolist() == [0] * (rows == [0])
    assert found["membership"].tolist() == [1.0] * (rows == [0])
    assert found["rank"].dtype == np.int64
