"""RegNets from five numbers: the widths and layers that were published, and what holds for all of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search_spaces import ACTIVATIONS, IMAGE_SIZES, PUBLISHED, Architecture, Stage
from search_spaces.regnet import REGNETS, RegNetParameters, regnet, resized, stage_widths

# (layers, widths, group width): of RegNetY as arXiv 2003.13678 prints them, of RegNetZ as timm's networks have them
PRINTED = {
    "regnety-200mf": ([1, 1, 4, 7], [24, 56, 152, 368], 8),
    "regnety-400mf": ([1, 3, 6, 6], [48, 104, 208, 440], 8),
    "regnety-600mf": ([1, 3, 7, 4], [48, 112, 256, 608], 16),
    "regnety-800mf": ([1, 3, 8, 2], [64, 128, 320, 768], 16),
    "regnety-1.6gf": ([2, 6, 17, 2], [48, 120, 336, 888], 24),
    "regnety-3.2gf": ([2, 5, 13, 1], [72, 216, 576, 1512], 24),
    "regnety-4.0gf": ([2, 6, 12, 2], [128, 192, 512, 1088], 64),
    "regnety-6.4gf": ([2, 7, 14, 2], [144, 288, 576, 1296], 72),
    "regnety-8.0gf": ([2, 4, 10, 1], [168, 448, 896, 2016], 56),
    "regnety-12gf": ([2, 5, 11, 1], [224, 448, 896, 2240], 112),
    "regnety-16gf": ([2, 4, 11, 1], [224, 448, 1232, 3024], 112),
    "regnety-32gf": ([2, 5, 12, 1], [232, 696, 1392, 3712], 232),
    "regnetz-500mf": ([1, 4, 9, 7], [16, 40, 104, 256], 4),
    "regnetz-4.0gf": ([2, 6, 14, 6], [48, 104, 240, 528], 8),
}
REGNETY_4GF = RegNetParameters(96, 31.41, 2.24, 22, 64)

# the ranges of arXiv 2003.13678, section 3.3, and beyond
parameters = st.builds(
    RegNetParameters,
    w0=st.integers(1, 32).map(lambda n: 8 * n),
    wa=st.floats(0, 256),
    wm=st.floats(1.5, 3),
    depth=st.integers(1, 64),
    group_width=st.integers(1, 300),
)
expand_ratios = st.sampled_from([1, 2, 3, 4, 6])


def pycls(p: RegNetParameters, expand_ratio: int) -> list[tuple[int, int, int]]:
    """(width, layers, group width) of each stage in the steps that pycls takes, on arrays."""
    exponents = np.round(np.log((np.arange(p.depth) * p.wa + p.w0) / p.w0) / np.log(p.wm))
    blocks = (np.round(p.w0 * np.power(p.wm, exponents) / 8) * 8).astype(int)
    widths, layers = np.unique(blocks, return_counts=True)
    stages = []
    for width, count in zip(widths, layers, strict=True):
        inner = int(max(1, width * expand_ratio))
        group = min(p.group_width, inner)
        multiple = int(np.lcm(group, expand_ratio)) if expand_ratio > 1 else group
        inner = max(multiple, int(round(inner / multiple) * multiple))
        stages.append((int(inner / expand_ratio), int(count), group))
    return stages


@pytest.mark.parametrize("name", PRINTED)
def test_layers_widths_and_groups_are_the_published_ones(name: str) -> None:
    layers, widths, group_width = PRINTED[name]
    stages = REGNETS[name].stages
    assert [stage.layers for stage in stages] == layers
    assert [stage.channels for stage in stages] == widths
    assert {stage.group_width for stage in stages} == {group_width}


@pytest.mark.parametrize("name", PRINTED)
def test_what_all_regnets_of_a_family_share(name: str) -> None:
    y = name.startswith("regnety")
    network = REGNETS[name]
    assert {(s.op, s.expand_ratio) for s in network.stages} == {("regnet_y", 1) if y else ("regnet_z", 4)}
    assert {(s.kernel, s.stride, s.se_ratio) for s in network.stages} == {(3, 2, 0.25)}
    assert network.stem_channels == 32
    assert network.head_channels == (1024 if name == "regnetz-500mf" else 0)
    assert len(network.stages) == 4


def test_every_regnet_is_published_with_its_picture_size_and_activation() -> None:
    assert REGNETS.keys() == PRINTED.keys()
    for name, network in REGNETS.items():
        assert PUBLISHED[name] is network
        assert IMAGE_SIZES[name] == ((256, 256) if name == "regnetz-4.0gf" else (224, 224))
        assert ACTIVATIONS[name] == ("relu" if name.startswith("regnety") else "silu")


def test_regnety_4gf_step_by_step() -> None:
    # k = round(log(u / 96) / log 2.24) goes 0 0 1 1 1 1 1 1 2 ... 2 3 3, and 96 * 2.24^k on a grid of 8 is:
    assert stage_widths(REGNETY_4GF) == [(96, 2), (216, 6), (480, 12), (1080, 2)]
    # groups of 64: 1.5 to 2 (half to even), 3.375 to 3, 7.5 to 8, 16.9 to 17
    expected = [(128, 2), (192, 6), (512, 12), (1088, 2)]
    fitted = regnet("regnet_y", REGNETY_4GF, expand_ratio=1, head_channels=0)
    assert [(stage.channels, stage.layers) for stage in fitted.stages] == expected
    assert fitted == PUBLISHED["regnety-4.0gf"]


def test_a_group_wider_than_a_stage_is_the_whole_stage() -> None:
    network = regnet("regnet_y", RegNetParameters(8, 20.0, 2.0, 4, 24), expand_ratio=1, head_channels=0)
    assert [(s.channels, s.group_width) for s in network.stages] == [(8, 8), (24, 24), (72, 24)]


def test_inner_widths_are_multiples_of_groups_and_of_the_expansion() -> None:
    # groups of 10 in 4 * 16 = 64 channels: 60 is 3 * lcm(10, 4), and 15 at the output
    network = regnet("regnet_z", RegNetParameters(16, 0.0, 2.0, 3, 10), expand_ratio=4, head_channels=0)
    assert [(s.channels, s.layers, s.group_width) for s in network.stages] == [(15, 3, 10)]


@given(parameters)
def test_stage_widths_grow_on_a_grid_of_8_and_hold_all_blocks(p: RegNetParameters) -> None:
    stages = stage_widths(p)
    widths = [width for width, _ in stages]
    assert sum(layers for _, layers in stages) == p.depth
    assert min(layers for _, layers in stages) >= 1
    assert widths[0] == p.w0
    assert widths == sorted(set(widths))
    assert all(width % 8 == 0 for width in widths)


@given(parameters, expand_ratios)
@example(REGNETY_4GF, 1)
@example(RegNetParameters(16, 10.7, 2.51, 21, 4), 4)
@example(RegNetParameters(48, 14.5, 2.226, 28, 8), 4)
def test_groups_divide_inner_widths_as_near_as_they_can(p: RegNetParameters, expand_ratio: int) -> None:
    network = regnet("regnet_z", p, expand_ratio=expand_ratio, head_channels=0)
    assert len(network.stages) == len(stage_widths(p))  # strided stages never join
    for stage, (width, layers) in zip(network.stages, stage_widths(p), strict=True):
        inner, asked = stage.channels * expand_ratio, width * expand_ratio
        multiple = np.lcm(stage.group_width, expand_ratio)
        assert stage.group_width == min(p.group_width, asked)
        assert inner % stage.group_width == 0
        assert inner == multiple or 2 * abs(inner - asked) <= multiple
        assert stage.layers == layers
    assert Architecture.parse(str(network)) == network


@given(parameters, expand_ratios)
def test_stages_are_those_of_pycls(p: RegNetParameters, expand_ratio: int) -> None:
    stages = regnet("regnet_y", p, expand_ratio=expand_ratio, head_channels=0).stages
    assert [(s.channels, s.layers, s.group_width) for s in stages] == pycls(p, expand_ratio)


@given(st.integers(1, 400), expand_ratios, st.integers(1, 128), st.integers(1, 1200), st.integers(1, 40))
def test_a_resized_stage_keeps_its_groups_and_moves_no_further_than_they_ask(
    channels: int, expand_ratio: int, group_width: int, asked: int, layers: int
) -> None:
    channels *= group_width // math.gcd(group_width, expand_ratio)
    stage = Stage("regnet_z", 3, 2, expand_ratio, channels, 2, 0.25, group_width)
    made = resized(stage, asked, layers)
    step = np.lcm(made.group_width, expand_ratio) // expand_ratio
    assert made.group_width == (1 if group_width == 1 else min(group_width, asked * expand_ratio))
    assert made.layers == layers
    assert abs(made.channels - asked) < step or made.channels == step
    assert asked < channels or made.channels >= channels
    assert (made.op, made.kernel, made.stride, made.expand_ratio, made.se_ratio) == (
        "regnet_z",
        3,
        2,
        expand_ratio,
        0.25,
    )
    assert resized(stage, channels, 2) == stage


def test_a_resized_stage_of_mbconv_has_the_width_asked_for() -> None:
    stage = Stage("mbconv", 5, 2, 6, 40, 3, 0.25)
    assert resized(stage, 43, 5) == Stage("mbconv", 5, 2, 6, 43, 5, 0.25)


def test_a_resized_stage_with_other_groups() -> None:
    stage = Stage("regnet_y", 3, 2, 1, 128, 2, 0.25, 64)
    shrunk = resized(stage, 100, 2, group_width=40)
    assert (shrunk.channels, shrunk.group_width) == (80, 40)  # 2.5 to 2 (half to even)
    grown = resized(stage, 130, 2)
    assert (grown.channels, grown.group_width) == (128, 64)
    kept = resized(stage, 140, 2, group_width=112)
    assert (kept.channels, kept.group_width) == (224, 112)  # the nearest is 112, narrower than it was
