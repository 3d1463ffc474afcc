"""What every scaling rule must do, and the laws that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.scaling.fast import STRATEGIES, fast
from nas.scaling.measured import Efficiencies, tilted
from nas.scaling.nonuniform import MEMBERS, brought_down, nonuniform
from nas.scaling.scaled import Scaled
from nas.scaling.uniform import compound
from search_spaces import IMAGE_SIZES, PUBLISHED, Architecture, Stage, cost
from search_spaces.efficientnet import scale_uniformly

few = settings(max_examples=25)
Rule = Callable[[Architecture, int, float], Scaled]


def level_tilt(base: Architecture, image_size: int, growth: float) -> Scaled:
    count = len(base.stages)
    return tilted(base, image_size, growth, Efficiencies((1.0,) * count, (1.0,) * count, {}))


def steep_tilt(base: Architecture, image_size: int, growth: float) -> Scaled:
    count = len(base.stages)
    values = tuple(0.5 + 1.5 * (i % 2) for i in range(count))
    surplus = {image_size + 4 * i: 0.1 * i for i in range(1, 9)}
    return tilted(base, image_size, growth, Efficiencies(values, values[::-1], surplus))


RULES: dict[str, Rule] = {
    "uniform": lambda base, size, g: compound(base, size, g),
    "uniform without a guard": lambda base, size, g: compound(base, size, g, guard=False),
    **{f"fast {n}": lambda base, size, g, a=a: fast(base, size, 2**g, given=a) for n, a in STRATEGIES.items()},  # type: ignore[misc]
    "measured, level": level_tilt,
    "measured, steep": steep_tilt,
}
"""The rules that grow a baseline by one number, whose 0 is the baseline."""


def stages(op: str) -> st.SearchStrategy[Stage]:
    fields = {
        "kernel": st.sampled_from([3, 5]),
        "stride": st.sampled_from([1, 2]),
        "channels": st.integers(1, 64),
        "layers": st.integers(1, 5),
        "se_ratio": st.sampled_from([0.0, 0.25]),
    }
    if op.startswith("regnet"):
        widths = st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(8 * n), st.sampled_from([1, 2, 4, 8])))
        return widths.flatmap(
            lambda w: st.builds(
                Stage,
                op=st.just(op),
                expand_ratio=st.sampled_from([1, 4]),
                **{**fields, "channels": st.just(w[0])},
                group_width=st.just(w[1]),
            )
        )
    return st.builds(Stage, op=st.just(op), expand_ratio=st.sampled_from([1, 4, 6]), **fields)


any_stage = st.sampled_from(["mbconv", "fused_mbconv", "regnet_y", "regnet_z"]).flatmap(stages)
architectures = st.builds(
    Architecture,
    stem_channels=st.integers(1, 64),
    # neighbours of one design could get one width by rounding, and be joined: their kernels differ here
    stages=st.lists(any_stage, min_size=1, max_size=5).map(
        lambda drawn: tuple(replace(s, kernel=(3, 5)[i % 2]) for i, s in enumerate(drawn))
    ),
    head_channels=st.integers(0, 64),
)
sizes = st.integers(16, 400)
growths = st.floats(0, 6)


def shape(architecture: Architecture) -> list[int]:
    widths_and_depths = [n for stage in architecture.stages for n in (stage.channels, stage.layers)]
    return [architecture.stem_channels, *widths_and_depths, architecture.head_channels]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@few
@given(base=architectures, size=sizes)
def test_no_growth_leaves_the_network_as_it_is(rule: Rule, base: Architecture, size: int) -> None:
    same = rule(base, size, 0.0)
    assert (same.architecture, same.image_size, same.train_image_size) == (base, size, size)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@few
@given(base=architectures, size=sizes, growth=growths)
def test_no_stage_gets_narrower_or_shallower(rule: Rule, base: Architecture, size: int, growth: float) -> None:
    grown = rule(base, size, growth)
    assert all(after >= before for before, after in zip(shape(base), shape(grown.architecture), strict=True))
    assert grown.image_size >= size


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@few
@given(base=architectures, size=sizes, growth=growths, more=st.floats(0, 2))
def test_more_growth_gives_no_smaller_network(
    rule: Rule, base: Architecture, size: int, growth: float, more: float
) -> None:
    small, large = rule(base, size, growth), rule(base, size, growth + more)
    assert large.image_size >= small.image_size
    for one, other in zip(small.architecture.stages, large.architecture.stages, strict=True):
        assert other.layers >= one.layers
        # groups grow in jumps, and a width must be a multiple of its groups: it may fall by up to one of them
        slack = 0 if one.group_width == other.group_width else other.group_width
        assert other.channels + slack >= one.channels


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@few
@given(base=architectures, size=sizes, growth=growths)
def test_the_design_is_kept(rule: Rule, base: Architecture, size: int, growth: float) -> None:
    grown = rule(base, size, growth).architecture
    for before, after in zip(base.stages, grown.stages, strict=True):
        for name in ("op", "kernel", "stride", "expand_ratio", "se_ratio"):
            assert getattr(before, name) == getattr(after, name)
    assert (grown.head_channels == 0) == (base.head_channels == 0)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@few
@given(base=architectures, size=sizes, growth=growths)
def test_a_member_has_a_text_and_a_cost(rule: Rule, base: Architecture, size: int, growth: float) -> None:
    grown = rule(base, size, growth)
    assert Architecture.parse(str(grown.architecture)) == grown.architecture
    assert cost(grown.architecture, grown.image_size).params >= cost(base, size).params


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_is_a_function(rule: Rule) -> None:
    base = PUBLISHED["efficientnetv2-b0"]
    assert rule(base, 224, 1.7) == rule(base, 224, 1.7)


@few
@given(base=architectures, size=sizes, name=st.sampled_from(sorted(MEMBERS)))
def test_the_nonuniform_rule_takes_any_baseline(base: Architecture, size: int, name: str) -> None:
    grown = nonuniform(base, name, image_size=size)
    late = [i for i, stage in enumerate(base.stages) if stage.stride == 1]
    appended = name != "s" and base.stages[-1].stride != 1
    assert len(grown.architecture.stages) == len(base.stages) + appended
    for before, after in zip(base.stages, grown.architecture.stages, strict=False):
        assert after.channels >= before.channels
        assert after.layers >= before.layers
    assert grown.image_size <= 480
    assert grown.train_image_size <= max(grown.image_size, 480)
    said = " ".join(grown.rules)
    assert ("appended: two layers" in said) == appended
    assert ("one layer more" in said) == (name != "s" and bool(late))
    if name != "s" and late:
        assert f"one layer more in stage {late[-1] + 1}," in said


@few
@given(base=architectures)
def test_bringing_down_and_scaling_by_ones_are_safe(base: Architecture) -> None:
    smaller = brought_down(base)
    assert all(one.layers <= other.layers for one, other in zip(smaller.stages, base.stages, strict=False))
    assert scale_uniformly(base, 1.0, 1.0, guard=True) == base


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_network_scales_by_every_rule(name: str) -> None:
    base, size = PUBLISHED[name], IMAGE_SIZES[name].eval
    for rule in RULES.values():
        grown = rule(base, size, 1.0)
        assert cost(grown.architecture, grown.image_size).macs > cost(base, size).macs
    for member in MEMBERS:
        assert cost(nonuniform(base, member).architecture, 224).params > cost(base, 224).params


@few
@given(base=architectures)
def test_group_widths_divide_what_is_inside(base: Architecture) -> None:
    for growth in (0.5, 1.5, 3.0):
        for stage in fast(base, 224, 2**growth).architecture.stages:
            assert stage.channels * stage.expand_ratio % stage.group_width == 0


def test_neighbours_that_become_alike_are_one_stage() -> None:
    base = Architecture.parse("stem_c8-mbconv_k3_s1_e4_c9_n2-mbconv_k3_s1_e4_c10_n3-head_c64")
    grown = compound(base, 32, 1.0).architecture
    assert [(stage.channels, stage.layers) for stage in grown.stages] == [(16, 7)]
