"""What the analysis says of tables whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from results.analysis import against_chance, best_network, confirmed, saving


def table(controller: list[float], random: list[float]) -> pd.DataFrame:
    rows = [("controller", r) for r in controller] + [("random", r) for r in random]
    frame = pd.DataFrame(rows, columns=["arm", "reward"])
    return frame.assign(state="complete", replicate=0, failure=None)


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


def test_those_stopped_early_are_worse_than_any_reward_and_better_than_failures() -> None:
    frame = table([0.1, 0.2, np.nan, np.nan], [0.05, np.nan, np.nan])
    frame["state"] = ["complete", "repeat", "stopped", "failed", "complete", "stopped", "failed"]
    frame["failure"] = [None, None, None, "error", None, None, "error"]
    found = against_chance(frame)
    assert found is not None
    assert found.probability == pytest.approx((3 + 3 + (0 + 0.5 + 1) + (0 + 0 + 0.5)) / 12)
    again = frame.copy()
    again.loc[[2, 3, 5, 6], "state"] = "repeat"
    assert against_chance(again) == found, "a repeat is as what it repeats"


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


# What early stopping saves ----------------------------------------------------------------------------------------


@pytest.fixture
def partly_stopped() -> pd.DataFrame:
    """Two were trained to the end, two were stopped, one failed halfway; a leader was trained again."""
    rows = [
        ("complete", 0, (0.1, 0.2, 0.3, 0.4), 8.0, 0.4),
        ("stopped", 0, (0.5,), 3.0, None),
        ("failed", 0, (0.1, 0.1), 5.0, None),
        ("repeat", 0, (0.5,), 3.0, None),
        ("complete", 0, (0.1, 0.2, 0.3, 0.5), 8.0, 0.5),
        ("stopped", 0, (0.1, 0.1), 4.0, None),
        ("infeasible", 0, (), None, None),
        ("complete", 1, (0.1, 0.2, 0.3, 0.6), 8.0, 0.6),
        ("running", 0, (0.1,), 2.0, None),
    ]
    frame = pd.DataFrame(rows, columns=["state", "replicate", "curve", "train_time_s", "reward"])
    accuracies = [curve[-1] if curve else None for curve in frame["curve"]]
    epochs = [float(len(curve)) or None for curve in frame["curve"]]
    return frame.assign(
        number=range(9), architecture=list("abcbdefdg"), accuracy=accuracies, epoch=epochs, step_time=1.0, params=5
    )


def test_the_saving_is_what_those_stopped_would_have_trained_for(partly_stopped: pd.DataFrame) -> None:
    found = saving(partly_stopped, 4)
    assert (found.stopped, found.epochs, found.epochs_without) == (2, 4 + 1 + 2 + 4 + 2, 4 + 4 + 2 + 4 + 4)
    assert found.saved_s == 3 * 3.0 + 2 * 2.0
    assert saving(partly_stopped) == found, "the longest training tells how long a candidate is trained"
    assert saving(partly_stopped, 2).epochs_without == found.epochs + 1


def test_the_saving_where_no_time_was_measured_or_nothing_was_stopped(partly_stopped: pd.DataFrame) -> None:
    untimed = partly_stopped.assign(train_time_s=pd.array([pd.NA] * 9, "Float64"))
    assert saving(untimed) == saving(partly_stopped)._replace(saved_s=None)
    none = partly_stopped[partly_stopped["state"] != "stopped"]
    assert saving(none, 4) == (0, 10, 10, None)
    assert saving(partly_stopped.iloc[:0]) == (0, 0, 0, None)


def test_the_best_network_was_trained_to_its_end(partly_stopped: pd.DataFrame) -> None:
    found = best_network(partly_stopped)
    assert found is not None
    assert (found.number, found.trainings) == (4, 2)
    only_stopped = partly_stopped[partly_stopped["state"] == "stopped"]
    assert best_network(only_stopped) is None
