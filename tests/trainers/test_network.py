"""The built network: its counts, its blocks' semantics, its initial weights, stochastic depth and padding."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import TypeVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import IMAGE_SIZES, PUBLISHED, Architecture, Cost, Stage, cost
from trainers.blocks import (
    ConvUnit,
    FusedMBConv,
    MBConv,
    NetworkSettings,
    RegNetYBlock,
    SqueezeExcite,
    StochasticDepth,
    Window,
)
from trainers.network import Network, build_network, published_settings

Block = TypeVar("Block", MBConv, FusedMBConv, RegNetYBlock)

SMALL = Architecture.parse(
    "stem_c8-fused_mbconv_k3_s1_e1_c8_n2_se0.25-fused_mbconv_k3_s2_e4_c16_n2"
    "-mbconv_k5_s2_e4_c24_n2_se0.25-mbconv_k3_s1_e1_c24_n1-head_c32"
)
SMALL_Y = Architecture.parse("stem_c8-regnet_y_k3_s2_e1_c12_n2_g4_se0.25-regnet_y_k3_s1_e2_c16_n2_g8_se0.25-head_c0")
SMALL_Z = Architecture.parse("stem_c8-regnet_z_k3_s1_e4_c8_n2_g4_se0.25-regnet_z_k3_s2_e1_c16_n2_g8-head_c32")
RELU = published_settings("regnety-200mf")
SILU = NetworkSettings()


def two_layers_a_stage(name: str) -> Architecture:
    network = PUBLISHED[name]
    return replace(network, stages=tuple(replace(s, layers=min(s.layers, 2)) for s in network.stages))


SMALLEST = ("efficientnet-b0", "efficientnetv2-b0", "mnasnet-a1", "mnasnet-b1", "regnety-200mf", "regnetz-500mf")
"""Of each family."""

# trainable parameters and batch-norm statistics, the numbers google/automl's effnetv2_model_test.py pins
WITH_STATISTICS = {
    "efficientnetv2-b0": 7_200_312,
    "efficientnetv2-b1": 8_212_124,
    "efficientnetv2-b2": 10_178_374,
    "efficientnetv2-b3": 14_467_622,
    "efficientnetv2-s": 21_612_360,
    "efficientnetv2-m": 54_431_388,
    "efficientnetv2-l": 119_027_848,
    "efficientnetv2-xl": 208_896_832,
}
# (network, image size): what torch's flop counter halved gave for timm's networks, biases left out
WITHOUT_BIASES = {
    ("efficientnetv2-b0", 224): 718_086_176,
    ("efficientnetv2-b3", 300): 3_011_458_816,
    ("efficientnetv2-s", 384): 8_365_617_152,
    ("efficientnetv2-m", 480): 24_582_460_384,
    ("efficientnet-b0", 224): 385_814_752,
    ("efficientnet-b4", 380): 4_393_771_024,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Maps this small are no work for two threads, which on a busy machine wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@st.composite
def stages(draw: st.DrawFn, *ops: str) -> Stage:
    """A stage of one of the ops, with groups that divide its inner width."""
    op = draw(st.sampled_from(ops))
    expand_ratio = draw(st.integers(1, 6))
    group_width = draw(st.integers(1, 8)) if op.startswith("regnet") else 1
    multiple = group_width // math.gcd(group_width, expand_ratio)
    return Stage(
        op=op,
        kernel=draw(st.sampled_from([1, 3, 5, 7])),
        stride=draw(st.sampled_from([1, 2, 3])),
        expand_ratio=expand_ratio,
        channels=multiple * draw(st.integers(1, 24 // multiple)),
        layers=draw(st.integers(1, 3)),
        se_ratio=draw(st.sampled_from([0.0, 0.1, 0.25, 0.5])),
        group_width=group_width,
    )


def architectures(*ops: str) -> st.SearchStrategy[Architecture]:
    return st.builds(
        Architecture,
        stem_channels=st.integers(1, 24),
        stages=st.lists(stages(*ops), min_size=1, max_size=4).map(tuple),
        head_channels=st.just(0) | st.integers(1, 32),
    )


def on_meta(architecture: Architecture, num_classes: int = 1000, in_channels: int = 3, **options: str) -> Network:
    with torch.device("meta"):
        return build_network(architecture, num_classes, in_channels, settings=NetworkSettings(**options))


@cache
def published(name: str) -> Network:
    with torch.device("meta"):
        return build_network(PUBLISHED[name], settings=published_settings(name))


def count_params(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def counted(network: Network, image_size: int, in_channels: int) -> Cost:
    """Params, macs and activations as hooks on the convolutions and the classifier see them."""
    macs, activations = [], []

    def count(module: nn.Conv2d | nn.Linear, _: tuple[Tensor, ...], output: Tensor) -> None:
        weights_per_output = module.weight[0].numel()
        macs.append(output.numel() * (weights_per_output + (module.bias is not None)))
        activations.append(output.numel())

    handles = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    network.eval()(torch.empty(1, in_channels, image_size, image_size, device="meta"))
    for handle in handles:
        handle.remove()
    return Cost(count_params(network), sum(macs), sum(activations))


def macs_without_biases(network: Network, image_size: int, in_channels: int = 3) -> int:
    with FlopCounterMode(display=False) as counter:
        network.eval()(torch.empty(1, in_channels, image_size, image_size, device="meta"))
    return counter.get_total_flops() // 2


def randomise(network: nn.Module) -> None:
    """Batch-norm parameters and statistics, and biases, other than those that leave values as they are."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.weight, 0.5), (module.running_var, 0.5), (module.bias, -0.5)):
                nn.init.uniform_(tensor, low, low + 1)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias)


def activated(x: Tensor, settings: NetworkSettings) -> Tensor:
    return x * (x > 0) if settings.activation == "relu" else x / (1 + torch.exp(-x))


def unit(
    x: Tensor, layer: ConvUnit, settings: NetworkSettings = SILU, *, stride: int = 1, activate: bool = True
) -> Tensor:
    """Convolution, batch norm and activation written out, from a unit's weights."""
    weight, norm = layer.conv.weight, layer.norm
    groups = x.shape[1] // weight.shape[1]
    y = F.conv2d(x, weight, stride=stride, padding=(weight.shape[-1] - 1) // 2, groups=groups)
    mean, var, gamma, beta = (t[:, None, None] for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    y = (y - mean) / torch.sqrt(var + settings.bn_eps) * gamma + beta
    return activated(y, settings) if activate else y


def gated(x: Tensor, layer: SqueezeExcite, settings: NetworkSettings = SILU) -> Tensor:
    pooled = F.adaptive_avg_pool2d(x, 1)
    squeezed = activated(F.conv2d(pooled, layer.reduce.weight, layer.reduce.bias), settings)
    return x * torch.sigmoid(F.conv2d(squeezed, layer.restore.weight, layer.restore.bias))


def block(kind: type[Block], text: str, in_channels: int, stride: int = 1, settings: NetworkSettings = SILU) -> Block:
    stage = Architecture.parse(f"stem_c1-{text}-head_c1").stages[0]
    made = kind(in_channels, stage, stride=stride, survival=1.0, settings=settings)
    randomise(made)
    return made.eval()


# ---- counts


@pytest.mark.parametrize("name", PUBLISHED)
def test_params_of_published_networks(name: str) -> None:
    assert count_params(published(name)) == cost(PUBLISHED[name], IMAGE_SIZES[name].eval).params


@pytest.mark.parametrize("name", WITH_STATISTICS)
def test_params_with_statistics_are_those_of_googles_unit_tests(name: str) -> None:
    statistics = sum(b.numel() for n, b in published(name).named_buffers() if not n.endswith("num_batches_tracked"))
    assert count_params(published(name)) + statistics == WITH_STATISTICS[name]


@pytest.mark.parametrize(("name", "image_size"), WITHOUT_BIASES)
def test_macs_of_published_networks(name: str, image_size: int) -> None:
    assert macs_without_biases(published(name), image_size) == WITHOUT_BIASES[name, image_size]


def check_cost(architecture: Architecture, image_size: int, num_classes: int, in_channels: int, padding: str) -> None:
    expected = cost(architecture, image_size, num_classes=num_classes, in_channels=in_channels)
    network = on_meta(architecture, num_classes, in_channels, padding=padding)
    assert counted(network, image_size, in_channels) == expected
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    biases = sum(m.bias.numel() for m in layers if m.bias is not None)  # all on maps of one position
    assert macs_without_biases(network, image_size, in_channels) == expected.macs - biases


rest = (st.integers(8, 64), st.integers(1, 20), st.integers(1, 4), st.sampled_from(["symmetric", "same"]))


@settings(max_examples=30, deadline=None)
@given(architectures("mbconv", "fused_mbconv", "regnet_y", "regnet_z"), *rest)
def test_cost_is_that_of_the_built_network(
    architecture: Architecture, image_size: int, num_classes: int, in_channels: int, padding: str
) -> None:
    check_cost(architecture, image_size, num_classes, in_channels, padding)


@settings(max_examples=30, deadline=None)
@given(architectures("regnet_y", "regnet_z"), *rest)
def test_cost_is_that_of_the_built_regnet(
    architecture: Architecture, image_size: int, num_classes: int, in_channels: int, padding: str
) -> None:
    check_cost(architecture, image_size, num_classes, in_channels, padding)


@pytest.mark.parametrize("name", ["mnasnet-a1", "mnasnet-b1", "regnety-400mf", "regnetz-500mf", "regnetz-4.0gf"])
def test_cost_of_published_networks_is_that_of_the_built_ones(name: str) -> None:
    assert counted(published(name), 224, 3) == cost(PUBLISHED[name], 224)


# ---- blocks


def test_mbconv_written_out() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 7, 7)
    made = block(MBConv, "mbconv_k5_s1_e4_c8_n1_se0.25", 8)
    y = unit(unit(x, made.expand), made.depthwise)
    torch.testing.assert_close(made(x), x + unit(gated(y, made.squeeze_excite), made.project, activate=False))
    assert made.depthwise.conv.groups == 32
    assert made.squeeze_excite.reduce.out_channels == 2  # a quarter of the block's input, not of 32


def test_mbconv_without_expansion_written_out() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 7, 7)
    made = block(MBConv, "mbconv_k3_s2_e1_c8_n1", 8, stride=2)
    y = unit(unit(x, made.depthwise, stride=2), made.project, activate=False)
    torch.testing.assert_close(made(x), y)  # strided: no residual, though the widths are equal
    assert not list(made.expand.parameters())


def test_fused_mbconv_written_out() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 7, 7)
    made = block(FusedMBConv, "fused_mbconv_k3_s1_e4_c8_n1_se0.5", 8)
    y = gated(unit(x, made.expand), made.squeeze_excite)
    torch.testing.assert_close(made(x), x + unit(y, made.project, activate=False))
    assert made.expand.conv.groups == 1


@pytest.mark.parametrize("se", ["", "_se0.25"])
def test_fused_mbconv_without_expansion_is_one_convolution_and_an_activation(se: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 7, 7)
    made = block(FusedMBConv, f"fused_mbconv_k3_s1_e1_c8_n1{se}", 8)
    torch.testing.assert_close(made(x), x + unit(gated(x, made.squeeze_excite) if se else x, made.conv))
    assert sum(isinstance(m, ConvUnit) for m in made.modules()) == 1


@pytest.mark.parametrize("settings", [RELU, SILU], ids=["relu", "silu"])
def test_regnet_y_of_kept_shape_and_width_written_out(settings: NetworkSettings) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 7, 7)
    made = block(RegNetYBlock, "regnet_y_k3_s1_e1_c16_n1_g4_se0.25", 16, settings=settings)
    y = unit(unit(x, made.expand, settings), made.grouped, settings)
    y = unit(gated(y, made.squeeze_excite, settings), made.project, settings, activate=False)
    torch.testing.assert_close(made(x), activated(x + y, settings))  # activated after the sum
    assert made.grouped.conv.weight.shape == (16, 4, 3, 3)
    assert not list(made.shortcut.parameters())


@pytest.mark.parametrize(("in_channels", "stride"), [(12, 2), (24, 2), (12, 1)])
def test_regnet_y_of_other_shape_or_width_written_out(in_channels: int, stride: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, in_channels, 7, 7)
    made = block(RegNetYBlock, f"regnet_y_k5_s{stride}_e2_c24_n1_g6_se0.25", in_channels, stride, RELU)
    y = unit(unit(x, made.expand, RELU), made.grouped, RELU, stride=stride)  # the 3x3 strides, not the first 1x1
    y = unit(gated(y, made.squeeze_excite, RELU), made.project, RELU, activate=False)
    shortcut = unit(x, made.shortcut, RELU, stride=stride, activate=False)
    torch.testing.assert_close(made(x), activated(shortcut + y, RELU))
    assert made.grouped.conv.weight.shape == (48, 6, 5, 5)  # 48 is twice the output's width, not the input's
    assert made.squeeze_excite.reduce.out_channels == in_channels // 4  # of the block's input
    assert made.shortcut.conv.weight.shape == (24, in_channels, 1, 1)


def test_regnet_z_written_out() -> None:
    torch.manual_seed(0)
    settings = published_settings("regnetz-500mf")
    x = torch.randn(2, 8, 7, 7)
    made = block(MBConv, "regnet_z_k3_s1_e4_c8_n1_g4_se0.25", 8, settings=settings)
    y = unit(unit(x, made.expand, settings), made.depthwise, settings)
    y = unit(gated(y, made.squeeze_excite, settings), made.project, settings, activate=False)
    torch.testing.assert_close(made(x), x + y)  # a linear sum
    assert made.depthwise.conv.weight.shape == (32, 4, 3, 3)
    assert made.squeeze_excite.reduce.out_channels == 2


@pytest.mark.parametrize(("in_channels", "stride"), [(12, 2), (16, 2), (12, 1)])
@pytest.mark.parametrize("expand_ratio", [1, 4])
def test_regnet_z_of_other_shape_or_width_written_out(in_channels: int, stride: int, expand_ratio: int) -> None:
    torch.manual_seed(0)
    settings = published_settings("regnetz-500mf")
    x = torch.randn(2, in_channels, 7, 7)
    text = f"regnet_z_k3_s{stride}_e{expand_ratio}_c16_n1_g8_se0.25"
    made = block(MBConv, text, in_channels, stride, settings)
    y = unit(unit(x, made.expand, settings), made.depthwise, settings, stride=stride)
    y = unit(gated(y, made.squeeze_excite, settings), made.project, settings, activate=False)
    torch.testing.assert_close(made(x), y)  # no residual
    inner = 16 * expand_ratio  # of the output's width; the first 1x1 is there at expansion 1 too
    assert made.expand.conv.weight.shape == (inner, in_channels, 1, 1)
    assert made.depthwise.conv.weight.shape == (inner, 8, 3, 3)


@pytest.mark.parametrize(("kind", "op"), [(MBConv, "mbconv"), (FusedMBConv, "fused_mbconv"), (MBConv, "regnet_z")])
@pytest.mark.parametrize("expand_ratio", [1, 4])
@pytest.mark.parametrize(("in_channels", "stride", "expected"), [(8, 1, True), (8, 2, False), (4, 1, False)])
def test_residual_only_where_shape_and_width_are_kept(kind, op, expand_ratio, in_channels, stride, expected) -> None:
    made = block(kind, f"{op}_k3_s{stride}_e{expand_ratio}_c8_n1", in_channels, stride)
    for layer in (made.project, made.conv) if kind is FusedMBConv else (made.project,):
        if isinstance(layer, ConvUnit):
            nn.init.zeros_(layer.norm.weight)  # the branch gives SiLU(0) or 0
            nn.init.zeros_(layer.norm.bias)
    x = torch.randn(2, in_channels, 6, 6)
    assert made.residual is expected
    torch.testing.assert_close(made(x), x if expected else torch.zeros_like(made(x)))


@pytest.mark.parametrize(("architecture", "count"), [(SMALL, 9), (SMALL_Y, 9), (SMALL_Z, 5)], ids=["mb", "y", "z"])
def test_only_squeeze_excite_and_classifier_have_biases(architecture: Architecture, count: int) -> None:
    network = build_network(architecture, 5)
    with_bias = {n for n, m in network.named_modules() if getattr(m, "bias", None) is not None and "norm" not in n}
    expected = {n for n, _ in network.named_modules() if n.endswith((".reduce", ".restore"))} | {"classifier"}
    assert with_bias == expected
    assert len(expected) == count  # two in each block with squeeze-excite: four of SMALL and SMALL_Y, two of SMALL_Z


@pytest.mark.parametrize("architecture", [SMALL, SMALL_Y, SMALL_Z], ids=["mb", "y", "z"])
def test_batch_norm_and_activation_follow_the_settings(architecture: Architecture) -> None:
    network = on_meta(architecture)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.1)}
    with torch.device("meta"):
        other = build_network(architecture, settings=NetworkSettings(bn_eps=1e-5, bn_momentum=0.01, activation="relu"))
    assert {(m.eps, m.momentum) for m in other.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-5, 0.01)}
    assert not any(isinstance(m, nn.SiLU) for m in other.modules())
    activations = [sum(isinstance(m, kind) for m in n.modules()) for n, kind in ((network, nn.SiLU), (other, nn.ReLU))]
    assert activations[0] == activations[1] > 0


@pytest.mark.parametrize(
    ("prefix", "activation", "bn_momentum", "bn_eps"),
    [
        ("efficientnet-", "silu", 0.01, 1e-3),
        ("efficientnetv2-", "silu", 0.1, 1e-3),
        ("mnasnet-", "relu", 0.01, 1e-3),
        ("regnety-", "relu", 0.1, 1e-5),
        ("regnetz-", "silu", 0.1, 1e-5),
    ],
)
def test_settings_that_networks_were_published_with(
    prefix: str, activation: str, bn_momentum: float, bn_eps: float
) -> None:
    names = [name for name in PUBLISHED if name.startswith(prefix)]
    assert (
        len(names) == {"efficientnet-": 8, "efficientnetv2-": 8, "mnasnet-": 2, "regnety-": 12, "regnetz-": 2}[prefix]
    )
    expected = NetworkSettings(activation=activation, bn_momentum=bn_momentum, bn_eps=bn_eps)
    assert {published_settings(name) for name in names} == {expected}


def test_settings_of_an_unknown_network() -> None:
    with pytest.raises(
        ValueError, match=r"must be one of efficientnet-b0, .*regnetz-4\.0gf; got 'regnetz-5gf'$"
    ) as caught:
        published_settings("regnetz-5gf")
    assert all(re.search(rf"\b{re.escape(name)}\b", str(caught.value)) for name in PUBLISHED)


# ---- initial weights


def test_initial_weights() -> None:
    wide = Architecture.parse("stem_c64-mbconv_k5_s1_e4_c64_n1_se0.25-fused_mbconv_k3_s1_e2_c64_n1-head_c256")
    network = build_network(wide, 100, generator=torch.Generator().manual_seed(0))
    (first,), (fused,) = network.stages
    for weight, fan_out in (
        (network.stem.conv.weight, 9 * 64),
        (first.expand.conv.weight, 256),
        (first.depthwise.conv.weight, 25),  # not 25 * 256: one output a group
        (first.squeeze_excite.reduce.weight, 16),
        (first.project.conv.weight, 64),
        (fused.expand.conv.weight, 9 * 128),
        (network.head.conv.weight, 256),
    ):
        std = math.sqrt(2 / fan_out)
        n = weight.numel()  # five standard errors of a normal sample's standard deviation and mean
        assert weight.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * n))
        assert abs(weight.mean().item()) < 5 * std / math.sqrt(n)
    bound = 0.1  # 1 / sqrt(100 classes)
    classifier = network.classifier.weight
    assert 0.999 * bound < classifier.abs().max().item() <= bound
    assert classifier.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    for name, tensor in network.state_dict().items():
        if name.endswith((".norm.weight", "running_var")):
            assert (tensor == 1).all()
        elif name.endswith(("bias", "running_mean", "num_batches_tracked")):
            assert (tensor == 0).all()


def test_initial_weights_of_grouped_convolutions() -> None:
    wide = Architecture.parse("stem_c64-regnet_y_k3_s1_e1_c256_n1_g32-regnet_z_k5_s1_e2_c128_n1_g16-head_c0")
    network = build_network(wide, 10, generator=torch.Generator().manual_seed(0))
    (y,), (z,) = network.stages
    for weight, fan_out in (
        (y.expand.conv.weight, 256),
        (y.grouped.conv.weight, 9 * 32),  # the outputs of one group
        (y.shortcut.conv.weight, 256),
        (z.depthwise.conv.weight, 25 * 16),
        (z.project.conv.weight, 128),
    ):
        std = math.sqrt(2 / fan_out)
        assert weight.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * weight.numel()))


def test_the_generator_decides_the_weights_and_nothing_else_is_drawn() -> None:
    state = torch.get_rng_state()
    first, second, third = (build_network(SMALL, 5, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    assert not torch.equal(first.stem.conv.weight, third.stem.conv.weight)


# ---- stochastic depth


def test_survival_falls_with_depth() -> None:
    with torch.device("meta"):
        network = build_network(PUBLISHED["efficientnetv2-s"], settings=NetworkSettings(survival=0.8))
    survivals = [m.survival for m in network.modules() if isinstance(m, StochasticDepth)]
    assert survivals == pytest.approx([1 - 0.2 * i / 40 for i in range(40)])
    assert survivals[0] == 1.0
    assert survivals[-1] == pytest.approx(0.805)


def test_stochastic_depth_drops_samples_and_keeps_the_expectation() -> None:
    torch.manual_seed(0)
    layer, n = StochasticDepth(0.8), 20_000
    x = torch.ones(n, 2, 2, 2)
    y = layer.train()(x)
    kept = y[:, 0, 0, 0]
    assert torch.equal(y, kept.view(n, 1, 1, 1).expand_as(y))  # one draw for the whole sample
    torch.testing.assert_close(kept.unique(), torch.tensor([0.0, 1.25]))
    assert kept.mean().item() == pytest.approx(1.0, abs=5 * math.sqrt(0.25 / n))
    assert layer.eval()(x) is x


def test_stochastic_depth_is_on_the_residual_branch() -> None:
    torch.manual_seed(0)
    stage = Stage("mbconv", 3, 1, 2, 4, 1)
    made = MBConv(4, stage, stride=1, survival=0.5, settings=NetworkSettings())
    x = torch.randn(64, 4, 4, 4)
    dropped = (made(x) == x).flatten(1).all(1)
    assert 0 < dropped.sum() < 64


@pytest.mark.parametrize("in_channels", [8, 4])
def test_stochastic_depth_of_regnet_y_is_before_the_sum_and_leaves_the_shortcut(in_channels: int) -> None:
    torch.manual_seed(0)
    stage = Stage("regnet_y", 3, 1, 1, 8, 1, group_width=4)
    made = RegNetYBlock(in_channels, stage, stride=1, survival=0.5, settings=RELU)
    x = torch.randn(64, in_channels, 4, 4)
    with torch.no_grad():
        y, shortcut = made(x), made.shortcut(x)  # batch norm in training: both of the same batch
    dropped = (y == shortcut.clamp(min=0)).flatten(1).all(1)
    assert 0 < dropped.sum() < 64


def test_stochastic_depth_of_regnet_z_is_on_the_residual_branch() -> None:
    torch.manual_seed(0)
    stage = Stage("regnet_z", 3, 1, 2, 4, 1, group_width=4)
    made = MBConv(4, stage, stride=1, survival=0.5, settings=NetworkSettings())
    x = torch.randn(64, 4, 4, 4)
    assert 0 < (made(x) == x).flatten(1).all(1).sum() < 64


# ---- padding


@pytest.mark.parametrize("side", [1, 2, 7, 8, 9])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_paddings_written_out(kernel: int, stride: int, side: int) -> None:
    x = torch.randn(1, 2, side, side + 1)
    outputs = {}
    for padding in ("symmetric", "same"):
        made = ConvUnit(2, 3, window=Window(kernel, stride), settings=NetworkSettings(padding=padding), linear=True)
        assert made.eval()(x).shape[2:] == (math.ceil(side / stride), math.ceil((side + 1) / stride))
        nn.init.ones_(made.conv.weight)
        outputs[padding] = made.conv(made.padding(x))
    ones = torch.ones(3, 2, kernel, kernel)
    symmetric = F.conv2d(x, ones, stride=stride, padding=(kernel - 1) // 2)
    torch.testing.assert_close(outputs["symmetric"], symmetric)

    total = [  # TensorFlow's own statement of "SAME"
        max(kernel - stride, 0) if n % stride == 0 else max(kernel - n % stride, 0) for n in (side, side + 1)
    ]
    (top, left), (bottom, right) = [t // 2 for t in total], [t - t // 2 for t in total]
    same = F.conv2d(F.pad(x, (left, right, top, bottom)), ones, stride=stride)
    torch.testing.assert_close(outputs["same"], same)


@pytest.mark.parametrize(("side", "differ"), [(8, True), (7, False)])
def test_strided_kernel_3_pads_below_and_right_only_where_the_side_is_even(side: int, differ: bool) -> None:
    x = torch.zeros(1, 1, side, side)
    x[0, 0, 0, 0] = 1.0
    corner = {}
    for padding in ("symmetric", "same"):
        made = ConvUnit(1, 1, window=Window(3, 2), settings=NetworkSettings(padding=padding), linear=True)
        with torch.no_grad():
            made.conv.weight.copy_(torch.arange(9.0).view(1, 1, 3, 3))
        corner[padding] = made.conv(made.padding(x))[0, 0, 0, 0].item()
    assert corner == {"symmetric": 4.0, "same": 0.0 if differ else 4.0}  # the weight that lies on the first pixel


# ---- the whole


def check_gradients(network: nn.Module) -> None:
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize(
    ("architecture", "activation"),
    [
        (SMALL, "silu"),
        (SMALL_Y, "relu"),
        (SMALL_Z, "silu"),
        (two_layers_a_stage("regnety-200mf"), "relu"),
        (two_layers_a_stage("regnetz-500mf"), "silu"),
    ],
    ids=["mb", "y", "z", "regnety-200mf", "regnetz-500mf"],
)
def test_gradients_reach_every_parameter_in_channels_last(
    architecture: Architecture, activation: str, padding: str
) -> None:
    torch.manual_seed(0)
    settings = NetworkSettings(padding=padding, activation=activation, dropout=0.2, survival=0.8)
    network = build_network(architecture, 5, settings=settings)
    network = network.to(memory_format=torch.channels_last)
    maps: list[Tensor] = []
    for module in [network.head, *(b for stage in network.stages for b in stage)]:
        module.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    logits = network(torch.randn(8, 3, 32, 32).contiguous(memory_format=torch.channels_last))
    F.cross_entropy(logits, torch.arange(8) % 5).backward()
    assert logits.shape == (8, 5)
    assert all(m.is_contiguous(memory_format=torch.channels_last) for m in maps)
    check_gradients(network)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_run_forward_and_backward_on_the_meta_device(name: str) -> None:
    network, image_size = published(name).train(), IMAGE_SIZES[name].train
    logits = network(torch.empty(2, 3, image_size, image_size, device="meta"))
    assert logits.shape == (2, 1000)
    logits.sum().backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.shape == parameter.shape, parameter_name
    network.zero_grad()


@pytest.mark.parametrize("name", SMALLEST)
def test_the_smallest_of_each_family_train_on_pictures(name: str) -> None:
    # four pictures: where maps are 1x1, batch norm turns two values into signs, and gradients vanish in rounding
    torch.manual_seed(0)
    network = build_network(PUBLISHED[name], 10, settings=published_settings(name))
    logits = network(torch.randn(4, 3, 32, 32))
    assert logits.shape == (4, 10)
    assert logits.isfinite().all()
    F.cross_entropy(logits, torch.arange(4)).backward()
    check_gradients(network)


def test_without_a_head_the_classifier_reads_the_last_stage() -> None:
    torch.manual_seed(0)
    network = build_network(SMALL_Y, 5, settings=RELU).eval()
    x = torch.randn(2, 3, 32, 32)
    assert not list(network.head.parameters())
    assert network.classifier.in_features == 16
    pooled = F.adaptive_avg_pool2d(network.stages(network.stem(x)), 1).flatten(1)
    expected = F.linear(pooled, network.classifier.weight, network.classifier.bias)
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("architecture", [SMALL, SMALL_Y, SMALL_Z], ids=["mb", "y", "z"])
@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (31, 64)])
def test_any_picture_size(architecture: Architecture, size: tuple[int, int], padding: str) -> None:
    network = build_network(architecture, 3, 1, settings=NetworkSettings(padding=padding))
    assert network.train()(torch.randn(2, 1, *size)).shape == (2, 3)
    assert network.eval()(torch.randn(1, 1, *size)).isfinite().all()


def test_default_contract() -> None:
    network = on_meta(SMALL)
    assert network.classifier.out_features == 1000
    assert network.stem.conv.in_channels == 3
    assert [len(stage) for stage in network.stages] == [2, 2, 2, 1]
    assert network.dropout.p == 0.0
    assert network.training


def test_dropout_stands_before_the_classifier_and_may_be_changed() -> None:
    network = build_network(SMALL, 3, settings=NetworkSettings(dropout=0.25))
    assert network.dropout.p == 0.25
    network.dropout.p = 1.0
    x = torch.randn(2, 3, 8, 8)
    assert (network.train()(x) == 0).all()  # all features dropped, and biases start at 0
    assert (network.eval()(x) != 0).any()


# ---- bad input


@pytest.mark.parametrize("name", ["num_classes", "in_channels"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_counts_must_be_positive(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1; got {value}"):
        build_network(SMALL, **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("padding", "valid", "padding must be one of symmetric, same; got 'valid'"),
        ("activation", "swish", "activation must be one of silu, relu; got 'swish'"),
        ("dropout", 1.0, "dropout must be at least 0 and below 1; got 1.0"),
        ("survival", 0.0, "survival must be above 0 and at most 1; got 0.0"),
        ("bn_momentum", 0.0, "bn_momentum must be above 0 and at most 1; got 0.0"),
        ("bn_eps", 0.0, "bn_eps must be above 0; got 0.0"),
    ],
)
def test_settings_out_of_range(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkSettings(**{name: value})


def test_survival_of_a_layer_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"survival must be above 0 and at most 1; got 1\.5"):
        StochasticDepth(1.5)
