"""EfficientNetV2's non-uniform rule: S, M and L entry by entry, each rule necessary, and any baseline."""

from __future__ import annotations

import pytest

from nas.scaling import nonuniform as module
from nas.scaling.nonuniform import MEMBERS, brought_down, nonuniform, on_grid
from search_spaces import IMAGE_SIZES, PUBLISHED, Architecture, cost

BASE = PUBLISHED["efficientnetv2-b0"]


@pytest.mark.parametrize(("name", "params"), [("s", 21_458_488), ("m", 54_139_356), ("l", 118_515_272)])
def test_the_released_networks_grow_from_the_base(name: str, params: int) -> None:
    member = nonuniform(BASE, name)
    assert member.architecture == PUBLISHED[f"efficientnetv2-{name}"]
    assert cost(member.architecture, member.image_size).params == params
    sizes = IMAGE_SIZES[f"efficientnetv2-{name}"]
    assert (member.train_image_size, member.image_size) == sizes


def test_l_would_have_600_px_without_the_cap() -> None:
    assert nonuniform(BASE, "l", cap=10_000).image_size == 600
    assert "pictures of 600 px capped at 480" in nonuniform(BASE, "l").rules
    assert not any("capped" in rule for name in "sm" for rule in nonuniform(BASE, name).rules)


def test_v2_s_brought_down_has_the_stages_of_v2_b0() -> None:
    assert brought_down(PUBLISHED["efficientnetv2-s"]).stages == BASE.stages
    family = [nonuniform(brought_down(PUBLISHED["efficientnetv2-s"]), name).architecture for name in MEMBERS]
    assert family == [PUBLISHED[f"efficientnetv2-{name}"] for name in MEMBERS]


@pytest.mark.parametrize(
    ("width", "expected"),
    [(1, 8), (11.9, 8), (12, 16), (27.9, 24), (28, 32), (31.9, 32), (32, 32), (39.9, 32), (40, 48), (152.32, 160)],
)
def test_the_grid(width: float, expected: int) -> None:
    assert on_grid(width) == expected


def test_a_baseline_that_ends_in_stride_1_gets_no_stage_but_a_layer() -> None:
    base = PUBLISHED["efficientnet-b0"]  # its stage 7 has stride 1 and one layer
    member = nonuniform(base, "m")
    assert len(member.architecture.stages) == 7
    assert member.architecture.stages[6].layers == 5  # ceil(2.2 * (1 + 1))
    assert member.architecture.stages[4].layers == 7  # ceil(2.2 * 3): not the late one
    assert any("no stage appended" in rule for rule in member.rules)
    assert any("one layer more in stage 7" in rule for rule in member.rules)


def test_the_appended_stage_is_5_thirds_of_the_last_width() -> None:
    base = Architecture.parse("stem_c16-mbconv_k3_s2_e4_c24_n1-mbconv_k5_s2_e4_c96_n3-head_c640")
    stage = nonuniform(base, "l").architecture.stages[-1]
    assert str(stage) == "mbconv_k3_s1_e6_c320_n7_se0.25"  # 2 x 96 x 5/3, and ceil(3.1 x 2) layers
    said = nonuniform(base, "l").rules
    assert any("two layers of width 160" in rule for rule in said)
    assert not any("one layer more" in rule for rule in said)  # no stage of stride 1


def test_image_sizes_go_with_the_baselines() -> None:
    sizes = {name: nonuniform(BASE, name, image_size=32) for name in MEMBERS}
    assert {n: (m.train_image_size, m.image_size) for n, m in sizes.items()} == {
        "s": (43, 55),
        "m": (55, 69),
        "l": (69, 86),
    }


def test_an_unknown_member_lists_the_known() -> None:
    with pytest.raises(ValueError, match="must be one of s, m, l; got 'xl'"):
        nonuniform(BASE, "xl")


def test_every_rule_is_necessary(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> set[str]:
        return {n for n in MEMBERS if nonuniform(BASE, n).architecture != PUBLISHED[f"efficientnetv2-{n}"]}

    assert wrong() == set()
    with monkeypatch.context() as patch:  # the grid
        patch.setattr(module, "on_grid", lambda c: max(8, int(c / 8 + 0.5) * 8))
        assert wrong() == {"s", "m"}
    with monkeypatch.context() as patch:  # late layers
        patch.setattr(module, "_with_late_layers", lambda stages, rules: stages)
        assert wrong() == {"m", "l"}
    with monkeypatch.context() as patch:  # S's width
        patch.setitem(MEMBERS, "s", MEMBERS["s"]._replace(width=1.4))
        assert wrong() == {"s"}
