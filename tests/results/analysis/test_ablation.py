"""What a reward is worth: known differences are found, and none where there is none."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from results.analysis import best_by
from search_spaces import SPACES

SPACE = SPACES["small"]


def table(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Random networks whose accuracy grows with their step time, and params that have nothing to do with either."""
    rng = np.random.default_rng(seed)
    rows = [SPACE.labels(SPACE.sample(rng)) for _ in range(n)]
    time = rng.uniform(0.5, 2, n)
    return pd.DataFrame(rows).assign(
        step_time=time, params=rng.integers(1_000, 9_000, n), accuracy=0.5 + 0.1 * time + rng.normal(0, 0.01, n)
    )


def test_means_are_those_of_the_best_by_each_reward() -> None:
    frame = table(100)
    accuracy, time = frame["accuracy"], -frame["step_time"]
    found = best_by(frame, SPACE, time, accuracy, top=0.1, draws=50).set_index("quantity")
    fast, exact = time.nlargest(10).index, accuracy.nlargest(10).index
    of = frame["accuracy"]
    row = found.loc["accuracy"]
    assert (row["comparison"], row["n"]) == ("difference", 100)
    assert (row["one"], row["other"]) == pytest.approx((of[fast].mean(), of[exact].mean()))
    assert row["found"] == pytest.approx(of[fast].mean() - of[exact].mean())
    row = found.loc["step_time"]
    assert row["comparison"] == "times"
    logs = np.log(frame["step_time"])
    assert row["found"] == pytest.approx(math.exp(logs[fast].mean() - logs[exact].mean()))
    assert row["low"] <= row["found"] <= row["high"] < 1


def test_one_reward_differs_from_itself_in_nothing() -> None:
    frame = table(100)
    found = best_by(frame, SPACE, frame["accuracy"], 2 * frame["accuracy"], draws=20)
    none = found["comparison"].map({"difference": 0.0, "times": 1.0})
    for name in ("found", "low", "high"):
        assert found[name].tolist() == pytest.approx(none.tolist())


def test_what_both_are_blind_to_is_seldom_told_apart() -> None:
    """Params by accuracy and by step time: of 40 tables, the interval leaves out none in a few."""
    wrong = 0
    for seed in range(40):
        frame = table(100, seed)
        rows = best_by(frame, SPACE, frame["accuracy"], -frame["step_time"], top=0.1, draws=200).set_index("quantity")
        wrong += not rows.loc["params", "low"] <= 1 <= rows.loc["params", "high"]
    assert wrong <= 6


def test_trials_without_a_reward_are_left_out() -> None:
    frame = table(40)
    one = frame["accuracy"].where(frame.index != 3)
    found = best_by(frame, SPACE, one, frame["accuracy"], draws=5)
    assert set(found["n"]) == {39}
    with pytest.raises(ValueError, match="none has"):
        best_by(frame, SPACE, one.where(frame.index < 0), one)
