"""The noise of measurements, and how sure a front is for it: against closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from results.noise import membership, noise_of
from results.pareto import non_dominated


def table(**columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    return pd.DataFrame({"state": "complete", "architecture": [f"net {n}" for n in range(len(frame))]}).assign(
        **{name: frame[name] for name in frame}
    )


def test_an_accuracy_is_as_sure_as_its_pictures_are_many() -> None:
    found = noise_of(table(accuracy=[0.9, 0.5, 1.0, math.nan]), ["accuracy"], 400)
    assert found.mean["accuracy"].tolist()[:3] == [0.9, 0.5, 1.0]
    deviations = found.deviation["accuracy"]
    assert deviations.tolist()[:2] == pytest.approx([math.sqrt(0.9 * 0.1 / 400), 0.025], rel=0.02)
    assert 0 < deviations[2] < deviations[0], "all right on the minival is not all right"
    assert deviations[3] == 0
    assert found.said == ["accuracy ±0.015 (median; at least the sampling error of 400 minival pictures)"]


def test_trainings_of_one_network_tell_the_noise_of_all() -> None:
    frame = table(accuracy=[0.6, 0.7, 0.8, 0.5, 0.3, 0.4], params=[5, 5, 5, 7, 9, 9])
    frame["architecture"] = ["a", "a", "a", "b", "c", "c"]
    frame.loc[6] = ["stopped", "a", 0.1, 5]  # no training to its end
    found = noise_of(frame, ["accuracy", "params"], 10_000)
    pooled = math.sqrt((2 * 0.1**2 + 2 * 0.05**2) / 3)  # of two degrees of freedom, and of one
    assert found.mean["accuracy"].tolist()[:6] == pytest.approx([0.7] * 3 + [0.5] + [0.35] * 2)
    expected = [pooled / math.sqrt(3)] * 3 + [pooled] + [pooled / math.sqrt(2)] * 2
    assert found.deviation["accuracy"].tolist()[:6] == pytest.approx(expected)
    assert found.deviation["params"].tolist() == [0] * 7
    assert "by 3 trainings of networks trained before, at least the sampling error of 10,000" in found.said[0]
    assert len(found.said) == 1, "params are exact"
    few = noise_of(frame, ["accuracy"], 50).deviation["accuracy"]
    assert few[0] == pytest.approx(math.sqrt(0.7 * 0.3 / 50), rel=0.02), "the same pictures, however many trainings"
    assert noise_of(frame.iloc[3:4], ["accuracy"]).deviation["accuracy"].tolist() == [0], "nothing is known of it"


def test_runs_that_measured_otherwise_have_a_noise_of_their_own() -> None:
    frame = table(accuracy=[0.6, 0.8, 0.5, 0.5]).assign(architecture=["a", "a", "a", "b"], run=["x", "x", "y", "z"])
    apart = {"x": 0, "y": 1, "z": 2}
    found = noise_of(frame, ["accuracy"], {"x": None, "y": 100, "z": 400}, alike=apart)
    assert found.mean["accuracy"].tolist() == pytest.approx([0.7, 0.7, 0.5, 0.5])
    assert found.deviation["accuracy"].tolist() == pytest.approx([0.1, 0.1, 0.05, 0.025])
    assert "100 to 400 minival pictures" in found.said[0]
    together = noise_of(frame, ["accuracy"])
    assert together.mean["accuracy"].tolist() == pytest.approx([1.9 / 3] * 3 + [0.5]), "those that measured alike"


def test_a_step_time_is_as_sure_as_its_interval_is_narrow() -> None:
    frame = table(step_time=[1.0, 2.0, 4.0], step_time_low=[0.9, 1.8, math.nan], step_time_high=[1.1, 2.2, math.nan])
    found = noise_of(frame, ["step_time"])
    assert found.deviation["step_time"].tolist() == pytest.approx([0.1 / 1.96, 0.2 / 1.96, 0.4 / 1.96], rel=1e-4)
    assert "by its 95 % interval" in found.said[0]
    frame.loc[3] = ["repeat", "net 0", 4.0, 3.9, 4.1]  # the answer to an ask, and no measurement of its own
    twice = noise_of(frame.assign(architecture="a"), ["step_time"])
    mean_square = (0.1**2 + 0.2**2 + 0.4**2) / 3
    assert twice.deviation["step_time"][0] == pytest.approx(math.sqrt(mean_square / 3) / 1.96, rel=1e-4)

    without = frame.assign(step_time_low=math.nan, step_time_high=math.nan)
    assert noise_of(without, ["step_time"]).deviation["step_time"].tolist() == [0] * 4, "as of a table's evaluator"


def test_of_no_trial_there_is_no_noise() -> None:
    found = noise_of(table(accuracy=[0.5], step_time=[1.0]).iloc[:0], ["accuracy", "step_time"], 100)
    assert (len(found.mean), len(found.deviation), found.said) == (0, 0, [])
    with pytest.raises(ValueError, match="objectives must be among accuracy; got beauty"):
        noise_of(table(accuracy=[0.5]), ["beauty"])


# Membership -------------------------------------------------------------------------------------------------------


def chance(points: Any, noise: Any, maximise: list[bool] | None = None, draws: int | None = None) -> list[float]:
    given_noise = np.broadcast_to(np.asarray(noise, float), np.shape(points))
    found = membership(np.array(points, float), given_noise, maximise, draws=draws, rng=np.random.default_rng(1))
    return list(found)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), max_size=9))
def test_without_noise_it_is_certain(points: list[tuple[int, int, int]]) -> None:
    values = np.array(points, float).reshape(-1, 3)
    assert chance(values, 0.0, draws=3) == non_dominated(values).astype(float).tolist()


def test_two_points_are_as_sure_as_their_distance_is_large() -> None:
    found = chance([[0.90, 5.0], [0.92, 5.0]], [[0.01, 0], [0.01, 0]], [True, False], draws=20_000)
    expected = norm.cdf(0.02 / (0.01 * math.sqrt(2)))
    assert found == pytest.approx([1 - expected, expected], abs=0.01)
    assert sum(found) == 1


@pytest.mark.parametrize("count", [3, 60, 700])  # compared by pairs, and each draw for itself
def test_equals_share_a_front_of_one_evenly(count: int) -> None:
    found = chance(np.zeros((count, 1)), 1.0, draws=1000)
    assert sum(found) == pytest.approx(1)
    assert found == pytest.approx([1 / count] * count, abs=0.06)


def test_a_point_that_is_surely_beaten_has_no_chance_and_changes_none() -> None:
    near = [[1.0, 2.0], [2.0, 1.0], [1.9, 1.9]]
    far = [[float(n), float(n)] for n in range(10, 300)]
    found = chance(near + far, 0.05)
    assert found[:3] == chance(near, 0.05)
    assert found[:2] == pytest.approx([1, 1], abs=0.05)
    assert found[3:] == [0.0] * len(far)


def test_whatever_is_left_out_beforehand_would_not_be_on_the_front() -> None:
    rng = np.random.default_rng(0)
    points, noise = rng.normal(size=(400, 3)), np.array([0.1, 0.2, 0.0])
    found, times = np.array(chance(points, noise, draws=500)), np.zeros(400)
    for _ in range(500):
        times += non_dominated(rng.normal(points, noise))
    assert found == pytest.approx(times / 500, abs=0.12)
    assert found.sum() == pytest.approx(times.sum() / 500, rel=0.03)


def test_what_was_not_measured_has_no_chance_told() -> None:
    found = chance([[1.0, math.nan], [1.0, 1.0]], 0.1)
    assert math.isnan(found[0])
    assert found[1] == 1
    assert chance(np.empty((0, 2)), 0.1) == []


@pytest.mark.parametrize(("noise", "draws"), [([[-1.0, 0.0]], 5), ([[0.0]], 5), ([[0.0, 0.0]], 0)])
def test_noise_and_draws_must_make_sense(noise: list[list[float]], draws: int) -> None:
    with pytest.raises(ValueError, match=r"noise must be \(1, 2\) standard deviations of 0 or more, and draws 1"):
        membership(np.zeros((1, 2)), np.array(noise), draws=draws, rng=np.random.default_rng(0))
