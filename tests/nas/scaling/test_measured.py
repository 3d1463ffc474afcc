"""Scaling by measured cost, with prices that are known: no timing here (benchmarks/measured_scaling.py times)."""

from __future__ import annotations

import math

import pytest

from nas.scaling.fast import fast
from nas.scaling.measured import TILT, Efficiencies, efficiencies, measured, tilted
from nas.scaling.targets import METRICS, TOLERANCE, Price, Target, closed_form
from search_spaces import PUBLISHED, Architecture, cost, part_costs

BASE = PUBLISHED["efficientnetv2-b0"]


def weighted(weights: dict[int, float]) -> Price:
    """Macs, those of some stages (counted from 1) dearer than the others."""

    def price(architecture: Architecture, image_size: int) -> float:
        parts = part_costs(architecture, image_size)
        return sum(
            part.cost.macs * weights.get(int(part.name[5:]), 1.0) if part.stage is not None else part.cost.macs
            for part in parts
        )

    return price


@pytest.mark.parametrize("metric", ["params", "macs", "activations"])
@pytest.mark.parametrize("times", [1.3, 2.0, 5.0, 20.0])
def test_closed_form_targets_are_met_within_3_percent(metric: str, times: float) -> None:
    price, target = closed_form(metric), Target(metric, times, True)
    member = measured(BASE, 224, target, price)
    assert abs(price(member.architecture, member.image_size) / price(BASE, 224) / times - 1) <= TOLERANCE


def test_a_dear_stage_grows_less_than_a_cheap_one() -> None:
    plain = measured(BASE, 224, Target("macs", 6.0, True), weighted({}))
    dear = measured(BASE, 224, Target("macs", 6.0, True), weighted({5: 8.0}))

    def growth(member: Architecture) -> list[float]:
        pairs = zip(BASE.stages, member.stages, strict=True)
        return [after.channels**2 * after.layers / (before.channels**2 * before.layers) for before, after in pairs]

    relative = [d / p for d, p in zip(growth(dear.architecture), growth(plain.architecture), strict=True)]
    assert relative[4] == min(relative)


def test_efficiencies_are_macs_for_the_price_over_their_mean() -> None:
    even = efficiencies(BASE, 224, closed_form("macs"))  # what is bought is what is paid
    assert [*even.depth, *even.width] == pytest.approx([1.0] * 12, abs=0.02)
    assert even.surplus == {}
    dear = efficiencies(BASE, 224, weighted({6: 50.0}))
    assert dear.width[5] < 0.9 < 1.1 < max(dear.width)
    assert dear.depth[5] < 0.9
    assert all(TILT[0] <= v <= TILT[1] for v in (*dear.depth, *dear.width))


def test_pictures_grow_where_their_macs_are_cheap_and_no_further_than_the_uniform_rule() -> None:
    def price(architecture: Architecture, image_size: int) -> float:
        discount = 0.95 if image_size in (240, 300) else 1.0
        return discount * closed_form("macs")(architecture, image_size)

    found = efficiencies(BASE, 224, price)
    assert list(found.surplus) == [240]  # 300 is none of the eight sizes
    assert found.surplus[240] == pytest.approx(-math.log(0.95), abs=0.005)
    assert tilted(BASE, 224, 6 * math.log(239 / 224), found).image_size == 224
    assert tilted(BASE, 224, 6 * math.log(241 / 224), found).image_size == 240


def test_what_costs_nothing_is_no_bargain_without_end() -> None:
    # params do not grow with the image
    member = measured(BASE, 224, Target("params", 4.0, True), closed_form("params"))
    assert 224 < member.image_size <= 1.5 * 224


def test_every_way_to_grow_is_priced_once() -> None:
    asked: list[str] = []

    def price(architecture: Architecture, image_size: int) -> float:
        asked.append(f"{architecture}@{image_size}")
        return closed_form("macs")(architecture, image_size)

    efficiencies(BASE, 224, price)
    assert len(asked) == len(set(asked)) == 2 * len(BASE.stages) + 9


def test_layers_fill_what_rounding_leaves() -> None:
    target, price = Target("macs", 1.53, True), closed_form("macs")
    member = measured(BASE, 224, target, price)
    assert abs(price(member.architecture, member.image_size) / price(BASE, 224) / 1.53 - 1) <= TOLERANCE
    assert any("a layer more, for what rounding left" in rule for rule in member.rules)


def test_targets_that_cannot_be_met_name_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"the nearest it reaches is 7.14M"):
        measured(BASE, 224, Target("params", 5e6, False), closed_form("params"))
    tiny = Architecture.parse("stem_c8-mbconv_k3_s2_e4_c16_n2-mbconv_k3_s2_e4_c24_n3_se0.25-head_c64")
    with pytest.raises(ValueError, match=r"within 3%: macs 1.38x is 975.7K, and the nearest it reaches is .* and "):
        measured(tiny, 32, Target("macs", 1.38, True), closed_form("macs"))


def test_level_efficiencies_are_fast_scaling_but_for_the_image_size() -> None:
    count = len(BASE.stages)
    level = tilted(BASE, 224, 2.0, Efficiencies((1.0,) * count, (1.0,) * count, {}))
    assert level.architecture == fast(BASE, 224, math.exp(2.0)).architecture


def test_a_network_of_few_stages_and_no_head() -> None:
    base = PUBLISHED["regnety-200mf"]
    member = measured(base, 224, Target("macs", 3.0, True), closed_form("macs"))
    assert cost(member.architecture, member.image_size).macs == pytest.approx(3 * cost(base, 224).macs, rel=0.031)
    assert member.architecture.head_channels == 0


def test_every_metric_is_a_target() -> None:
    assert set(METRICS) == {"params", "macs", "activations", "peak_memory", "step_time"}
