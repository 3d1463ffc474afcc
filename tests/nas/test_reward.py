"""Rewards against values worked out by hand, and what is no input to them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.reward import REWARDS, accuracy, bind, efficientnet, mnasnet_hard, mnasnet_soft, training_aware
from results.trial import Measurement
from search_spaces import Cost

ANCHOR = Cost(params=1_000_000, macs=50_000_000, activations=200_000)
FULL = Measurement(
    accuracy=0.8,
    step_time=2.0,
    params=4_000_000,
    macs=100_000_000,
    activations=400_000,
    peak_memory_bytes=3000,
    step_time_s=0.5,
)


def test_training_aware_reward_by_hand() -> None:
    # 0.8 * 2^-0.07 * 4^-0.05 = 0.8 * 2^-0.17 = 0.8 * exp(-0.17 * 0.693147) = 0.8 * exp(-0.117835) = 0.8 * 0.888843
    assert training_aware(0.8, 2.0, 4.0) == pytest.approx(0.711074, abs=1e-6)
    assert training_aware(0.8, 1.0, 1.0) == 0.8
    assert training_aware(0.5, 16.0, 1.0, w=-0.25) == pytest.approx(0.25)
    assert training_aware(0.5, 1.0, 8.0, v=-1 / 3) == pytest.approx(0.25)


def test_what_halving_and_doubling_a_cost_is_worth() -> None:
    base = training_aware(0.7, 3.0, 0.2)
    assert training_aware(0.7, 6.0, 0.2) / base == pytest.approx(2**-0.07)
    assert training_aware(0.7, 1.5, 0.2) / base - 1 == pytest.approx(0.0497, abs=5e-5)
    assert training_aware(0.7, 3.0, 0.1) / base - 1 == pytest.approx(0.0353, abs=5e-5)
    assert training_aware(1.4, 3.0, 0.2) / base == pytest.approx(2)


def test_efficientnet_reward_by_hand() -> None:
    assert efficientnet(0.8, 1.0) == 0.8
    assert efficientnet(0.8, 2.0) == pytest.approx(0.8 * 2**-0.07)
    assert efficientnet(0.8, 8.0, target=2.0, w=-0.5) == pytest.approx(0.4)
    assert efficientnet(0.8, 1.0, target=2.0) > 0.8, "under the target is rewarded"


def test_mnasnet_soft_reward_by_hand() -> None:
    assert mnasnet_soft(0.8, 2.0) == pytest.approx(0.8 * 2**-0.07)
    assert mnasnet_soft(0.8, 0.5) == pytest.approx(0.8 * 2**0.07)
    assert mnasnet_soft(0.8, 75.0, target=75.0) == 0.8
    assert mnasnet_soft(0.8, 8.0, target=2.0, w=-0.5) == pytest.approx(0.4)
    assert 1.05 * mnasnet_soft(1.0, 2.0) == pytest.approx(1.0, abs=3e-4), "5 % of accuracy for twice the latency"


def test_mnasnet_hard_reward_by_hand() -> None:
    assert mnasnet_hard(0.8, 0.5) == 0.8
    assert mnasnet_hard(0.8, 1.0) == 0.8
    assert mnasnet_hard(0.8, 2.0) == pytest.approx(0.4)
    assert mnasnet_hard(0.8, 150.0, target=75.0) == pytest.approx(0.4)
    assert mnasnet_hard(0.8, 4.0, beta=-0.5) == pytest.approx(0.4)


def test_costs_are_over_the_anchors() -> None:
    """Counts are divided by the anchor's; the step time is a ratio already; the other two are as measured."""
    arrived: dict[str, float] = {}

    def everything(
        accuracy: float,
        step_time: float,
        params: float,
        macs: float,
        activations: float,
        peak_memory_bytes: float,
        step_time_s: float,
    ) -> float:
        arrived.update(locals())
        return 1.0

    assert bind(everything, {})(FULL, ANCHOR) == 1.0
    arrived.pop("arrived", None)
    assert arrived == {
        "accuracy": 0.8,
        "step_time": 2.0,
        "params": 4.0,
        "macs": 2.0,
        "activations": 2.0,
        "peak_memory_bytes": 3000.0,
        "step_time_s": 0.5,
    }


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("training-aware", {}, 0.8 * 2**-0.07 * 4**-0.05),
        ("training-aware", {"w": 0.0, "v": -0.5}, 0.4),
        ("efficientnet", {"w": -1.0}, 0.4),
        ("efficientnet", {"w": -1.0, "target": 4.0}, 1.6),
        ("mnasnet-soft", {}, 0.8 * 2**-0.07),
        ("mnasnet-hard", {"target": 1.0}, 0.4),
        ("mnasnet-hard", {"target": 2.0}, 0.8),
        ("accuracy", {}, 0.8),
    ],
)
def test_rewards_of_a_measurement(name: str, weights: dict[str, float], expected: float) -> None:
    assert bind(REWARDS[name], weights)(FULL, ANCHOR) == pytest.approx(expected)


@given(scale=st.floats(1e-3, 1e3), other=st.floats(0.01, 1.0), cost=st.floats(0.1, 10))
def test_a_constant_factor_in_a_cost_rescales_all_rewards_alike(scale: float, other: float, cost: float) -> None:
    for step_time in (1.0, cost):
        ratio = training_aware(other, step_time * scale, 1.0) / training_aware(other, step_time, 1.0)
        assert ratio == pytest.approx(scale**-0.07)


QUANTITIES: dict[Callable[..., float], tuple[str, ...]] = {
    training_aware: ("accuracy", "step_time", "params"),
    efficientnet: ("accuracy", "macs"),
    mnasnet_soft: ("accuracy", "step_time"),
    mnasnet_hard: ("accuracy", "step_time"),
    accuracy: ("accuracy",),
}


def test_all_rewards_are_looked_at_here() -> None:
    assert set(QUANTITIES) == set(REWARDS.values())


@pytest.mark.parametrize("formula", QUANTITIES)
@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_what_is_not_positive_and_finite_is_named(formula: Callable[..., float], bad: float) -> None:
    for name in QUANTITIES[formula]:
        values = {**dict.fromkeys(QUANTITIES[formula], 1.0), name: bad}
        with pytest.raises(ValueError, match=re.escape(f"{name} must be positive and finite; got {bad}")):
            formula(**values)


@pytest.mark.parametrize("formula", [efficientnet, mnasnet_soft, mnasnet_hard])
def test_a_target_must_be_positive(formula: Callable[..., float]) -> None:
    with pytest.raises(ValueError, match=r"target must be positive and finite; got 0\.0"):
        formula(0.5, 1.0, target=0.0)


def test_an_unknown_weight_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match=re.escape("this reward has the weights w, v; got x, y")):
        bind(training_aware, {"w": -0.1, "x": 1.0, "y": 2.0})
    with pytest.raises(ValueError, match=re.escape("this reward has the weights (none); got w")):
        bind(accuracy, {"w": -0.07})


@pytest.mark.parametrize("missing", ["step_time", "params"])
def test_a_quantity_that_was_not_measured_is_named(missing: str) -> None:
    values: dict[str, Any] = {"accuracy": 0.5, "step_time": 1.0, "params": 10, missing: None}
    with pytest.raises(ValueError, match=f"needs {missing}, and the evaluator did not measure it: .*choose another"):
        bind(training_aware, {})(Measurement(**values), ANCHOR)


def test_a_formula_may_ask_for_measured_quantities_alone() -> None:
    with pytest.raises(ValueError, match=r"must be among accuracy, step_time, .*\(weights are keyword-only\); got w"):
        bind(lambda accuracy, w=-0.07: accuracy, {})
    with pytest.raises(ValueError, match="this reward needs the weights w, v; v is not given"):
        bind(_with_needed_weights, {"w": 1.0})
    assert bind(_with_needed_weights, {"w": 1.0, "v": 2.0})(FULL, ANCHOR) == pytest.approx(2.4)
    with pytest.raises(ValueError, match="a reward must be a function; got 3"):
        bind(3, {})  # type: ignore[arg-type]


def _with_needed_weights(accuracy: float, *, w: float, v: float) -> float:
    return accuracy * (w + v)
