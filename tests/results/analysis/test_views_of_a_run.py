"""Distribution, drift, cost and failures of tables whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trial_tables import failed, rewarded, table, together, trial

from results.analysis.cost import cost, spared
from results.analysis.distribution import distribution
from results.analysis.drift import drift, drift_verdict
from results.analysis.failures import failures
from results.trial import Trial

VIEWS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "distribution": distribution,
    "drift": drift,
    "drift verdict": lambda frame: drift_verdict(drift(frame)),
    "cost": cost,
    "spared": spared,
    "failures": failures,
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("trials", [[], [trial(0, "running")], [trial(0, reward=0.5)], [failed(0), failed(1)]])
def test_a_view_of_little_is_a_table_all_the_same(view: str, trials: list[Trial]) -> None:
    whole = VIEWS[view](table(*trials))
    several = VIEWS[view](together(a=table(*trials), b=table(*trials)))
    assert list(several) == ["run", *whole]
    assert len(several) == (2 * len(whole) if trials else len(whole))


@pytest.mark.parametrize("view", VIEWS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_the_order_of_rows_does_not_matter(view: str, seed: int) -> None:
    rng = np.random.default_rng(3)
    timed_ones = {"step_time": 1.0, "train_time_s": 60.0, "epoch": 2.0}
    trials = [trial(n, reward=float(rng.integers(5)), step_time_s=rng.random(), **timed_ones) for n in range(16)]
    trials += [failed(16), failed(17, "timeout"), failed(18, "timeout"), trial(19, "stopped", **timed_ones)]
    frame = table(*trials)
    shuffled = frame.sample(frac=1, random_state=np.random.default_rng(seed))
    pd.testing.assert_frame_equal(VIEWS[view](shuffled), VIEWS[view](frame))


# Distribution --------------------------------------------------------------------------------------------------


def test_the_distribution_starts_at_the_share_of_those_without_a_reward() -> None:
    frame = table(
        trial(0, reward=0.3),
        failed(1),
        trial(2, "stopped"),
        trial(3, reward=0.1),
        trial(4, "repeat", 0.3, network=0, repeat_of=0, arm="random"),
        trial(5, reward=0.3),
        trial(6, reward=0.9, network=0, arm="confirm", replicate=1),
    )
    found = distribution(frame)
    assert found[["arm", "reward", "share"]].to_numpy().tolist() == [
        ["controller", 0.1, pytest.approx(3 / 5)],
        ["controller", 0.3, pytest.approx(1)],
        ["random", 0.3, pytest.approx(1)],
    ]
    within = math.sqrt(math.log(40) / 10)
    assert found["low"].tolist() == pytest.approx([max(0, 0.6 - within), 1 - within, 0])
    assert found["high"].tolist() == [1, 1, 1]
    assert distribution(frame, by="state")["state"].tolist() == ["complete", "complete"]
    with pytest.raises(ValueError, match="by must be a column of the trial table; got 'arms'"):
        distribution(frame, by="arms")
    assert distribution(together(a=frame, b=frame), by="run")["run"].tolist() == ["a", "a", "b", "b"]


def test_the_band_holds_the_true_distribution_as_often_as_it_says() -> None:
    rng, inside, frame = np.random.default_rng(0), 0, rewarded([0.0] * 30)
    for _ in range(200):
        found = distribution(frame.assign(reward=rng.random(30)))
        before = np.append(0.0, found["high"].to_numpy()[:-1])
        before[0] = math.sqrt(math.log(40) / 60)  # of no candidate yet
        inside += bool((found["low"] <= found["reward"]).all() and (found["reward"] <= before).all())
    assert inside >= 0.95 * 200 - 3 * math.sqrt(200 * 0.95 * 0.05)


# Drift ---------------------------------------------------------------------------------------------------------


def timed(anchor_s: np.ndarray, **values: object) -> list[Trial]:
    return [
        trial(n, reward=0.5, step_time=0.5 + n % 3, step_time_s=(0.5 + n % 3) * seconds, device="cpu", **values)
        for n, seconds in enumerate(anchor_s)
    ]


def test_drift_is_of_the_anchor_and_leaves_out_timings_of_another_time() -> None:
    frame = table(
        *timed(np.array([0.1, 0.2, 0.3]), host="here"),
        trial(3, "repeat", 0.5, network=0, repeat_of=0, step_time=0.5, step_time_s=0.05, device="cpu", host="here"),
        trial(4, reward=0.5, reused_from="x#1", step_time=0.5, step_time_s=0.05, device="cpu", host="here"),
        trial(5, reward=0.5, step_time=1.0),
        trial(6, reward=0.5, network=0, replicate=1, arm="confirm", step_time=1.0, step_time_s=0.2, device="cpu"),
    )
    found = drift(frame)
    assert found["number"].tolist() == [0, 1, 2, 6]
    assert found["anchor_s"].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.2])
    assert found["relative"].tolist() == pytest.approx([0.5, 1.0, 1.5, 1.0])
    assert found["host"].tolist() == ["here"] * 3 + ["unknown"]
    assert drift_verdict(found)["verdict"].tolist() == ["too few timings"] * 2


@pytest.mark.parametrize(
    ("slope", "count", "verdict"),
    [
        *((0.3, 60, "became slower"), (-0.3, 60, "became faster"), (0.0, 30, "no trend told")),
        *((0.05, 700, "became slower"), (-0.05, 700, "became faster"), (0.01, 700, "steady")),
    ],
)
def test_a_device_that_became_slower_is_told_from_a_steady_one(slope: float, count: int, verdict: str) -> None:
    rng = np.random.default_rng(0)
    seconds = 0.1 * (1 + slope * np.linspace(0, 1, count)) * np.exp(0.02 * rng.normal(size=count))
    seconds[rng.integers(count, size=count // 20)] *= 3  # disturbed timings
    (found,) = drift_verdict(drift(table(*timed(seconds)))).to_dict("records")
    assert found["verdict"] == verdict
    assert found["timings"] == count
    assert found["low"] < found["change"] < found["high"]
    assert found["change"] == pytest.approx(slope / (1 + slope / 2), abs=0.03)


def test_a_device_of_other_work_is_not_steady_for_having_no_trend() -> None:
    seconds = np.where(np.arange(700) % 7 == 0, 0.2, 0.1)
    (found,) = drift_verdict(drift(table(*timed(seconds)))).to_dict("records")
    assert (found["change"], found["verdict"]) == (0, "unsteady")


# Cost ----------------------------------------------------------------------------------------------------------


def spent() -> pd.DataFrame:
    whole = {"train_time_s": 7200.0, "epoch": 4.0, "device": "gpu", "host": "here"}
    return table(
        trial(0, reward=0.3, **whole),
        trial(1, "stopped", train_time_s=1800.0, epoch=1.0, device="gpu", host="here"),
        failed(2, train_time_s=3600.0, epoch=2.0, device="gpu", host="here"),
        failed(3),
        trial(4, "repeat", 0.3, network=0, repeat_of=0, **whole),
        trial(5, reward=0.4, reused_from="x#1", **whole),
        trial(6, "infeasible", reason="params 9 is over the limit of 8"),
        trial(7, reward=0.3, network=0, replicate=1, arm="confirm", **whole),
        trial(8, "running", train_time_s=3600.0, epoch=2.0, device="other", host="here"),
    )


def test_the_cost_is_by_device_and_by_what_became_of_it() -> None:
    found = cost(spent()).set_index("device")
    assert found.index.tolist() == ["gpu", "other", "unknown"]
    gpu = found.loc["gpu"]
    assert (gpu["candidates"], gpu["trainings"], gpu["hours"]) == (3, 4, 2 + 0.5 + 1 + 2)
    names = ["complete_hours", "stopped_hours", "failed_hours", "infeasible_hours", "running_hours", "confirm_hours"]
    assert gpu[names].tolist() == [2, 0.5, 1, 0, 0, 2]
    assert found.loc["other", "running_hours"] == 1
    assert found["untimed"].tolist() == [0, 0, 0]
    assert found.loc["unknown", "failed_hours"] == 1 / 3600, "it was known by when it had failed"
    assert found["train_hours"].tolist() == [5.5, 1, 0]
    np.testing.assert_allclose(found[names].sum(axis=1), found["hours"])
    assert cost(spent(), workers_per_device=4)["hours"].iloc[0] == 5.5 / 4
    with pytest.raises(ValueError, match="workers_per_device must be positive; got 0"):
        cost(spent(), workers_per_device=0)


def test_the_cost_is_of_all_that_a_device_was_held_for() -> None:
    when = {"asked_at": 0.0, "told_at": 7200.0}
    known = {"train_time_s": 1800.0, "device": "gpu", "host": "here"}
    (found,) = cost(
        table(
            trial(0, reward=0.3, **known, **when),
            failed(1, **when),
            trial(2, reward=0.3, attempt=2, **known, **when),
            failed(3, attempt=3, **when),
            trial(4, "running", **known, asked_at=0.0),
        )
    ).to_dict("records")
    assert (found["device"], found["host"]) == ("gpu", "here"), "the only one, so that of the failed too"
    assert (found["complete_hours"], found["failed_hours"], found["running_hours"]) == (2 + 0.5, 2, 0.5)
    assert (found["hours"], found["train_hours"], found["untimed"]) == (5, 1.5, 1), "a pause is no time of a device"


def test_what_was_spared() -> None:
    found = spared(spent()).set_index("what")
    assert found["count"].to_dict() == {"repeats": 1, "reuse": 1, "early stopping": 1}
    assert found["hours"].to_dict() == {"repeats": 2, "reuse": 2, "early stopping": 3 * 0.5}
    none = spared(table(trial(0, reward=1.0))).set_index("what")
    assert none["hours"].tolist() == [0, 0, 0]
    untimed = spared(table(trial(0, reward=1.0), trial(1, "repeat", 1.0, network=0, repeat_of=0))).set_index("what")
    assert math.isnan(untimed.loc["repeats", "hours"])


# Failures ------------------------------------------------------------------------------------------------------


def test_failures_by_kind_with_the_most_frequent_reason() -> None:
    frame = table(
        trial(0, reward=0.3),
        failed(1, "diverged", "accuracy is nan"),
        failed(2, "error", "once"),
        failed(3, "error", "often"),
        failed(4, "error", "often"),
        trial(5, "repeat", network=3, repeat_of=3, failure="error", reason="often"),
        trial(6, "infeasible", reason="params 9 is over the limit of 8"),
        trial(7, "stopped"),
        failed(8, "diverged", "accuracy is nan", network=0, replicate=1, arm="confirm"),
        trial(9, "running"),
    )
    assert failures(frame).to_numpy().tolist() == [
        ["error", 3, pytest.approx(3 / 7), "often", 3],
        ["diverged", 2, pytest.approx(2 / 7), "accuracy is nan", 1],
    ]
