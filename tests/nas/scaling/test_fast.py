"""Fast compound scaling: the two printed networks to every digit, and the laws where they hold."""

from __future__ import annotations

import math

import pytest

from nas.scaling.fast import STRATEGIES, Shares, factors, fast, shares
from search_spaces import PUBLISHED, Architecture, Cost, Stage, part_costs


@pytest.mark.parametrize(
    ("s", "size", "stem", "stages", "head", "printed"),
    [
        (11, 252, 80, "40x1 64x3 104x3 208x4 296x4 504x5 832x1", 3344, (4.14, 36.1, 29.2)),
        (47.9, 272, 152, "72x1 112x3 192x3 376x4 528x4 904x6 1504x1", 6016, (16.19, 122.8, 61.8)),
    ],
)
def test_b0_scaled_by_dwr_is_the_papers(
    s: float, size: int, stem: int, stages: str, head: int, printed: tuple[float, float, float]
) -> None:
    member = fast(PUBLISHED["efficientnet-b0"], 224, s)
    network = member.architecture
    assert (member.image_size, network.stem_channels, network.head_channels) == (size, stem, head)
    assert " ".join(f"{x.channels}x{x.layers}" for x in network.stages) == stages
    found = _total(network, size)
    assert (round(found.macs / 1e9, 2), round(found.params / 1e6, 1), round(found.activations / 1e6, 1)) == printed


def _total(network: Architecture, size: int) -> Cost:
    total = Cost(0, 0, 0)
    for part in part_costs(network, size):
        total = total.plus(part.cost)
    return total


def _body(network: Architecture, size: int) -> Cost:
    return next(part.cost for part in part_costs(network, size) if part.name == "stage1")


@pytest.mark.parametrize("alpha", [0.0, 1 / 3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("s", [2.0, 4.0, 16.0])
def test_the_laws_hold_for_a_stage_of_stride_1(alpha: float, s: float) -> None:
    # so wide, deep and large that neither rounding nor batch norm counts; as wide as its input
    base = Architecture(4096, (Stage("fused_mbconv", 3, 1, 1, 4096, 200),), 8)
    member = fast(base, 4000, s, given=shares(alpha))
    before, after = _body(base, 4000), _body(member.architecture, member.image_size)
    assert after.macs / before.macs == pytest.approx(s, rel=0.01)
    assert after.params / before.params == pytest.approx(s ** ((1 + alpha) / 2), rel=0.01)
    assert after.activations / before.activations == pytest.approx(s ** ((2 - alpha) / 2), rel=0.01)


@pytest.mark.parametrize("alpha", [1 / 3, 0.8, 1.0])
def test_the_laws_hold_with_groups_that_grow_with_the_width(alpha: float) -> None:
    base = Architecture(4096, (Stage("regnet_y", 3, 1, 1, 4096, 200, group_width=1024),), 8)
    member = fast(base, 4000, 4.0, given=shares(alpha))
    before, after = _body(base, 4000), _body(member.architecture, member.image_size)
    assert after.macs / before.macs == pytest.approx(4.0, rel=0.03)
    assert after.params / before.params == pytest.approx(4.0 ** ((1 + alpha) / 2), rel=0.03)
    group, width = member.architecture.stages[0].group_width, member.architecture.stages[0].channels
    assert group / 1024 == pytest.approx(4.0 ** (alpha / 2), rel=0.01)
    assert width % group == 0


def test_whole_networks_follow_the_laws_less_well() -> None:
    # the stem, the head, squeeze-excite and rounding: 6.8 at s = 11, where the law says 8.7
    base, member = PUBLISHED["efficientnet-b0"], fast(PUBLISHED["efficientnet-b0"], 224, 11)
    growth = _total(member.architecture, member.image_size).params / _total(base, 224).params
    assert round(growth, 1) == 6.8
    assert round(11 ** ((1 + 0.8) / 2), 1) == 8.7


def test_the_factors_are_those_of_the_papers_table() -> None:
    depth, width, resolution = factors(2.0, STRATEGIES["dWr"])
    assert (depth, width, resolution) == pytest.approx((2**0.1, 2**0.4, 2**0.05))
    depth, width, resolution = factors(2.0, STRATEGIES["dwr"])
    assert (depth, width, resolution) == pytest.approx((2 ** (1 / 3), 2 ** (1 / 6), 2 ** (1 / 6)))
    assert factors(7.0, STRATEGIES["w"]) == pytest.approx((1, math.sqrt(7), 1))
    for alpha in (0, 0.3, 1):
        depth, width, resolution = factors(5.0, shares(alpha))
        assert depth * width**2 * resolution**2 == pytest.approx(5.0)


def test_small_groups_are_kept_or_become_4_and_others_go_to_multiples_of_8() -> None:
    def grouped(group: int, s: float) -> int:
        base = Architecture(64, (Stage("regnet_y", 3, 2, 1, 64, 1, group_width=group),), 0)
        return fast(base, 224, s, given=STRATEGIES["w"]).architecture.stages[0].group_width

    assert [grouped(g, 4.0) for g in (1, 2, 4, 8)] == [1, 4, 8, 16]
    assert grouped(8, 1.2) == 8


@pytest.mark.parametrize("s", [0, -1.0, math.nan, math.inf])
def test_a_growth_that_is_none_is_refused(s: float) -> None:
    with pytest.raises(ValueError, match="s must be a finite number over 0"):
        fast(PUBLISHED["efficientnet-b0"], 224, s)


def test_an_alpha_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha must be from 0 .* to 1 .*; got 1.5"):
        fast(PUBLISHED["efficientnet-b0"], 224, 2, given=shares(1.5))


def test_shares_that_do_not_sum_to_1_are_refused() -> None:
    for given in (Shares(0.5, 0.5, 0.5), Shares(1.5, -0.5, 0.0)):
        with pytest.raises(ValueError, match="shares must be at least 0 and sum to 1"):
            factors(2.0, given)


@pytest.mark.parametrize("s", [2.0, 16.0])
@pytest.mark.parametrize(
    ("name", "params", "activations"),
    [
        ("d", 1, 1),
        ("w", 1, 0.5),
        ("r", 0, 1),
        ("dw", 1, 0.75),
        ("wr", 0.5, 0.75),
        ("dr", 0.5, 1),
        ("dwr", 2 / 3, 5 / 6),
    ],
)
def test_the_papers_table_of_simple_and_compound_scaling(
    name: str, s: float, params: float, activations: float
) -> None:
    base = Architecture(4096, (Stage("fused_mbconv", 3, 1, 1, 4096, 200),), 8)
    member = fast(base, 4000, s, given=STRATEGIES[name])
    before, after = _body(base, 4000), _body(member.architecture, member.image_size)
    assert after.macs / before.macs == pytest.approx(s, rel=0.01)
    assert after.params / before.params == pytest.approx(s**params, rel=0.01)
    assert after.activations / before.activations == pytest.approx(s**activations, rel=0.01)
