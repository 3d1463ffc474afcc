"""Closed-form cost against what others published, to the unit, and against its own parts."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import IMAGE_SIZES, PUBLISHED, SPACES, Architecture, Cost, Stage, cost, part_costs
from search_spaces.complexity import squeeze_width
from search_spaces.efficientnet import scale_uniformly

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "complexity.json").read_text())
"""EfficientNet V1: pycls `dev/model_complexity.json` and torchvision's `num_params` (B6 and B7: params only).
V2: params of google/automl's unit tests less the batch-norm statistics, timm's activations."""

networks = st.sampled_from(list(PUBLISHED.values())) | st.sampled_from(list(SPACES.values())).flatmap(
    lambda space: st.integers(0, space.size - 1).map(lambda i: space.decode(space.genotype_at(i)))
)
sizes = st.integers(1, 600)


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"{row['network']}@{row['image_size']}")
def test_published_cost_to_the_unit(row: dict[str, Any]) -> None:
    ours = cost(PUBLISHED[row["network"]], row["image_size"])._asdict()
    published = {name: row[name] for name in ours if name in row}
    assert {name: ours[name] for name in published} == published
    assert "params" in published


def test_every_published_network_is_checked_at_its_sizes() -> None:
    checked = {(row["network"], row["image_size"]) for row in GOLDEN}
    assert checked == {(name, size) for name, both in IMAGE_SIZES.items() for size in both}
    assert IMAGE_SIZES.keys() == PUBLISHED.keys()


@pytest.mark.parametrize(
    ("name", "macs_g", "activations_m"), [("efficientnet-b6", 19.07, 167.4), ("efficientnet-b7", 37.75, 289.9)]
)
def test_published_roundings(name: str, macs_g: float, activations_m: float) -> None:
    ours = cost(PUBLISHED[name], IMAGE_SIZES[name].eval)
    assert (round(ours.macs / 1e9, 2), round(ours.activations / 1e6, 1)) == (macs_g, activations_m)


def test_v1_b3_of_the_v2_repository_has_no_guard() -> None:
    # google/automl rounds V1-B3's first stage to 16 channels: 12,314,268 with batch-norm statistics in its test
    unguarded = scale_uniformly(PUBLISHED["efficientnet-b0"], 1.2, 1.4, guard=False)
    assert cost(unguarded, 300).params == 12_227_212
    assert cost(scale_uniformly(PUBLISHED["efficientnet-b0"], 1.2, 1.4, guard=True), 300).params == 12_233_232


@pytest.mark.parametrize("file", ["pycls_complexity_error_timing.csv", "torchvision_weights_meta.csv"])
def test_the_tables_of_pycls_and_torchvision(file: str, shared_data: Path) -> None:
    checked = 0
    for row in csv.DictReader((shared_data / "reference" / file).read_text().splitlines()):
        name = row["model"].lower().replace("efficientnet_v2_", "efficientnetv2-").replace("_", "-")
        if name in PUBLISHED:
            checked += 1
            if "params" in row:
                ours = cost(PUBLISHED[name], IMAGE_SIZES[name].eval)
                assert ours == (int(row["params"]), int(row["flops"]), int(row["acts"]))
            else:
                assert cost(PUBLISHED[name], int(row["crop"])).params == int(row["num_params"])
    assert checked == {"pycls_complexity_error_timing.csv": 6, "torchvision_weights_meta.csv": 12}[file]


@given(networks, sizes, st.integers(1, 1000), st.integers(1, 4))
def test_the_parts_sum_to_the_whole(network: Architecture, size: int, num_classes: int, in_channels: int) -> None:
    parts = part_costs(network, size, num_classes=num_classes, in_channels=in_channels)
    stages = [f"stage{n}" for n in range(1, len(network.stages) + 1)]
    assert [part.name for part in parts] == ["stem", *stages, "head", "classifier"]
    assert [part.stage for part in parts] == [None, *network.stages, None, None]
    assert [part.channels for part in parts] == [
        network.stem_channels,
        *(stage.channels for stage in network.stages),
        network.head_channels,
        num_classes,
    ]
    total = Cost(0, 0, 0)
    for part in parts:
        total = total.plus(part.cost)
    assert cost(network, size, num_classes=num_classes, in_channels=in_channels) == total


@given(networks, sizes)
def test_maps_shrink_by_the_strides_rounded_up(network: Architecture, size: int) -> None:
    parts = part_costs(network, size)
    expected = [-(-size // 2)]
    for stage in network.stages:
        expected.append(-(-expected[-1] // stage.stride))
    assert [part.output_size for part in parts] == [*expected, expected[-1], 1]


def layer_by_layer(network: Architecture, size: int) -> tuple[int, int, int]:
    """Cost from a list of all convolutions: input channels per group, output channels, kernel, output side, bias."""
    size = -(-size // 2)
    convs = [(3, network.stem_channels, 3, size, False)]
    width = network.stem_channels
    for stage in network.stages:
        for layer in range(stage.layers):
            out = -(-size // (stage.stride if layer == 0 else 1))
            inner = width * stage.expand_ratio
            if stage.op == "mbconv" and stage.expand_ratio > 1:
                convs.append((width, inner, 1, size, False))
            if stage.op == "mbconv":
                convs.append((1, inner, stage.kernel, out, False))
            else:
                fused_to = inner if stage.expand_ratio > 1 else stage.channels
                convs.append((width, fused_to, stage.kernel, out, False))
            if stage.se_ratio:
                squeeze = max(1, int(width * stage.se_ratio))
                convs += [(inner, squeeze, 1, 1, True), (squeeze, inner, 1, 1, True)]
            if stage.op == "mbconv" or stage.expand_ratio > 1:
                convs.append((inner, stage.channels, 1, out, False))
            width, size = stage.channels, out
    convs += [(width, network.head_channels, 1, size, False), (network.head_channels, 1000, 1, 1, True)]
    params = sum(i * o * k * k + (o if bias else 2 * o) for i, o, k, _, bias in convs)
    macs = sum((i * o * k * k + bias * o) * s * s for i, o, k, s, bias in convs)
    return params, macs, sum(o * s * s for _, o, _, s, _ in convs)


@given(networks, sizes)
def test_the_sum_over_every_convolution(network: Architecture, size: int) -> None:
    assert cost(network, size) == layer_by_layer(network, size)


def test_squeeze_and_excite_in_a_single_convolution_block_sits_before_it() -> None:
    with_se = Architecture(12, (Stage("fused_mbconv", 3, 2, 1, 20, 1, 0.25),), 32)
    assert cost(with_se, 33) == layer_by_layer(with_se, 33)
    without = Architecture(12, (Stage("fused_mbconv", 3, 2, 1, 20, 1),), 32)
    assert cost(with_se, 33).params - cost(without, 33).params == 12 * 3 + 3 + 3 * 12 + 12


def test_the_squeeze_is_a_truncated_share_of_the_block_input_and_at_least_1() -> None:
    assert [squeeze_width(c, 0.25) for c in (1, 3, 4, 7, 30, 56, 104)] == [1, 1, 1, 1, 7, 14, 26]


def test_cost_is_in_plain_integers_that_do_not_overflow() -> None:
    network = PUBLISHED["efficientnetv2-xl"]
    ours = cost(network, np.int32(50_000), num_classes=np.int8(10))  # type: ignore[arg-type]
    assert ours == cost(network, 50_000, num_classes=10)
    assert ours.macs > 2**49
    assert all(type(value) is int for value in ours)


@pytest.mark.parametrize("name", ["image_size", "num_classes", "in_channels"])
@pytest.mark.parametrize("value", [0, -1, 224.0, 0.5, "224", None, True, float("nan"), float("inf"), [224]])
@pytest.mark.parametrize("function", [cost, part_costs])
def test_bad_input_is_refused(function: Callable[..., object], name: str, value: object) -> None:
    arguments = {"image_size": 224, "num_classes": 10, "in_channels": 3, name: value}
    with pytest.raises(ValueError, match=re.escape(f"{name} must be an integer of at least 1; got {value!r}")):
        function(PUBLISHED["efficientnet-b0"], **arguments)


def test_every_network_of_accel_nasbench(shared_data: Path, load_example: Callable[[str], ModuleType]) -> None:
    example = load_example("accel_nasbench")
    table = example.read_table(shared_data / "accel_nasbench_public.csv.gz")
    assert len(table) == 4626
    ours = [
        cost(Architecture.parse(text), example.IMAGE_SIZE, num_classes=example.NUM_CLASSES).params / 1e6
        for text in table["architecture"]
    ]
    assert ours == table["params"].tolist()


def test_every_network_of_nasbench_macro(shared_data: Path, load_example: Callable[[str], ModuleType]) -> None:
    example = load_example("nasbench_macro")
    table = example.read_table(shared_data / "nasbench_macro_cifar10.csv.gz")
    assert len(table) == 3**8
    costs = [
        cost(Architecture.parse(text), example.IMAGE_SIZE, num_classes=example.NUM_CLASSES)
        for text in table["architecture"]
    ]
    assert [ours.params for ours in costs] == table["params"].tolist()
    # theirs has no bias additions, and the classifier's are the only ones
    assert [ours.macs - example.NUM_CLASSES for ours in costs] == table["flops"].tolist()
