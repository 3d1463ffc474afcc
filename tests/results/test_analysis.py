"""What the analysis says of tables whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from results.analysis import against_chance, confirmed


def table(controller: list[float], random: list[float]) -> pd.DataFrame:
    rows = [("controller", r) for r in controller] + [("random", r) for r in random]
    frame = pd.DataFrame(rows, columns=["arm", "reward"])
    return frame.assign(state="complete", replicate=0)


def test_a_controller_that_is_better_beats_chance() -> None:
    rng = np.random.default_rng(0)
    found = against_chance(table((rng.normal(size=90) + 1).tolist(), rng.normal(size=20).tolist()))
    assert found is not None
    assert found.low < 0.76 < found.high  # Phi(1 / sqrt 2)
    assert 0.5 < found.low < found.probability < found.high
    assert found.verdict == "the controller beats chance"
    assert (found.controller, found.random) == (90, 20)


def test_one_that_is_not_better_is_not_told_apart_and_a_worse_one_is() -> None:
    rng = np.random.default_rng(1)
    same = against_chance(table(rng.normal(size=90).tolist(), rng.normal(size=10).tolist()))
    assert same is not None
    assert same.verdict == "not told apart from chance"
    worse = against_chance(table((rng.normal(size=90) - 3).tolist(), rng.normal(size=10).tolist()))
    assert worse is not None
    assert worse.verdict == "chance beats the controller"


@pytest.mark.parametrize(("ours", "random"), [(2, 2), (8, 2), (18, 2), (27, 3), (90, 10)])
def test_the_interval_covers_the_truth_as_often_as_it_says(ours: int, random: int) -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        found = against_chance(table(rng.normal(size=ours).tolist(), rng.normal(size=random).tolist()))
        assert found is not None
        covered += found.low <= 0.5 <= found.high
    assert covered >= 0.92 * 300


def test_equal_rewards_count_half_and_repeats_count() -> None:
    frame = table([1.0, 1.0], [1.0, 1.0])
    found = against_chance(frame)
    assert found is not None
    assert found.probability == 0.5
    frame.loc[0, "state"] = "repeat"
    assert against_chance(frame) == found
    frame.loc[0, "state"] = "failed"
    frame.loc[0, "reward"] = np.nan
    worse = against_chance(frame)
    assert worse is not None
    assert worse.probability == 0.25, "a failure is worse than any reward"


def test_without_a_random_arm_nothing_is_said() -> None:
    assert against_chance(table([0.1, 0.2, 0.3], [])) is None


def test_nothing_is_confirmed_where_nothing_was_trained_again() -> None:
    frame = table([0.1], []).assign(number=0, architecture="a", accuracy=0.5, step_time=1.0, params=3)
    found = confirmed(frame)
    assert found.empty
    assert "fresh" in found


def test_a_failed_second_training_is_left_out_of_the_mean() -> None:
    frame = pd.DataFrame(
        {
            "number": [0, 1, 2, 3],
            "architecture": ["a", "b", "a", "a"],
            "state": ["complete", "complete", "complete", "failed"],
            "replicate": [0, 0, 1, 2],
            "reward": [0.9, 0.8, 0.7, np.nan],
            "accuracy": [0.9, 0.8, 0.7, np.nan],
            "step_time": [1.0, 1.0, 1.2, np.nan],
            "params": [5, 6, 5, 5],
        }
    )
    found = confirmed(frame)
    assert found[["number", "trainings", "reward", "fresh"]].to_numpy().tolist() == [[0, 2, pytest.approx(0.8), 0.7]]
