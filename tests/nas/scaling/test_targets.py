"""Targets: their texts, and meeting them."""

from __future__ import annotations

from functools import partial

import pytest

from nas.scaling.scaled import Scaled
from nas.scaling.targets import METRICS, TOLERANCE, Target, approach, closed_form, reach, shown
from nas.scaling.uniform import compound
from search_spaces import PUBLISHED, Architecture

BASE = PUBLISHED["efficientnetv2-b0"]


@pytest.mark.parametrize(
    ("metric", "text", "expected"),
    [
        ("params", "2x", Target("params", 2.0, True)),
        ("params", "20M", Target("params", 20e6, False)),
        ("params", "21458488", Target("params", 21_458_488.0, False)),
        ("macs", "8.4G", Target("macs", 8.4e9, False)),
        ("activations", "1e6", Target("activations", 1e6, False)),
        ("step_time", "250ms", Target("step_time", 0.25, False)),
        ("step_time", " .25 s", Target("step_time", 0.25, False)),
        ("peak_memory", "4GiB", Target("peak_memory", 4 * 2**30, False)),
    ],
)
def test_texts(metric: str, text: str, expected: Target) -> None:
    assert Target.parse(metric, text) == expected


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("text", ["", "x", "0x", "-2x", "2y", "2xx", "nan", "inf", "two", "1,5x", "2 x 3", "1e999"])
def test_bad_texts_are_refused_with_the_units(metric: str, text: str) -> None:
    with pytest.raises(
        ValueError, match=rf"a target of {metric} must be a positive number like 2x, .*; got "
    ) as caught:
        Target.parse(metric, text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["0.25", "20M"])
def test_seconds_need_their_unit(text: str) -> None:
    with pytest.raises(ValueError, match=r"like 2x, 0\.2s, 20ms"):
        Target.parse("step_time", text)


def test_amounts_for_people() -> None:
    assert shown("params", 21_458_488) == "21.46M"
    assert shown("step_time", 0.2134) == "213.4ms"
    assert shown("step_time", 2.0) == "2s"
    assert shown("step_time", 1e-5) == "0.01ms"
    assert shown("peak_memory", 3 * 2**29) == "1.5GiB"
    assert str(Target.parse("macs", "2x")) == "macs 2x"
    assert str(Target.parse("macs", "8.4G")) == "macs 8.4G"


@pytest.mark.parametrize("metric", ["params", "macs", "activations"])
@pytest.mark.parametrize("times", [1.0, 2.6, 4.0, 16.0])
def test_the_uniform_rule_meets_a_target_or_says_what_is_near(metric: str, times: float) -> None:
    price, target = closed_form(metric), Target(metric, times, True)
    amount = target.amount(price(BASE, 224))
    try:
        member = reach(partial(compound, BASE, 224), price, target, amount, most=10.0)
    except ValueError as error:
        assert "the nearest it reaches is" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert abs(price(member.architecture, member.image_size) / amount - 1) <= TOLERANCE


def test_below_the_baseline_the_nearest_is_the_baseline() -> None:
    target = Target("params", 1e6, False)
    with pytest.raises(ValueError, match=r"params 1M is 1M, and the nearest it reaches is 7.14M"):
        reach(partial(compound, BASE, 224), closed_form("params"), target, 1e6, most=10.0)


def test_beyond_the_largest_the_nearest_is_the_largest() -> None:
    target = Target("params", 1e15, False)
    with pytest.raises(ValueError, match=r"1e\+06G, and the nearest it reaches is \d"):
        reach(partial(compound, BASE, 224), closed_form("params"), target, 1e15, most=2.0)


def test_a_network_is_priced_once_and_none_much_larger_than_asked_for() -> None:
    asked: list[tuple[Architecture, int]] = []

    def price(architecture: Architecture, image_size: int) -> float:
        asked.append((architecture, image_size))
        return closed_form("macs")(architecture, image_size)

    amount = 3 * closed_form("macs")(BASE, 224)
    seen = approach(partial(compound, BASE, 224), price, amount, most=10.0, tolerance=0.0)
    assert len(set(asked)) == len(asked) == len(seen)
    assert max(p.price for p in seen) < 5 * amount
    distances = [abs(p.price - amount) for p in seen]
    assert distances[0] == min(distances)


def test_the_parameter_may_end_at_its_most() -> None:
    grow = partial(compound, BASE, 224)
    seen = approach(grow, closed_form("macs"), 1e18, most=1.0)
    assert max(p.parameter for p in seen) == 1.0
    assert isinstance(seen[0].member, Scaled)
