"""The built network: its counts, its blocks' semantics, its initial weights, stochastic depth and padding."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import IMAGE_SIZES, PUBLISHED, Architecture, Cost, Stage, cost
from trainers.blocks import ConvUnit, FusedMBConv, MBConv, NetworkSettings, SqueezeExcite, StochasticDepth, Window
from trainers.network import Network, build_network

SMALL = Architecture.parse(
    "stem_c8-fused_mbconv_k3_s1_e1_c8_n2_se0.25-fused_mbconv_k3_s2_e4_c16_n2"
    "-mbconv_k5_s2_e4_c24_n2_se0.25-mbconv_k3_s1_e1_c24_n1-head_c32"
)

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


def stages(max_channels: int = 24) -> st.SearchStrategy[Stage]:
    return st.builds(
        Stage,
        op=st.sampled_from(["mbconv", "fused_mbconv"]),
        kernel=st.sampled_from([1, 3, 5, 7]),
        stride=st.sampled_from([1, 2, 3]),
        expand_ratio=st.integers(1, 6),
        channels=st.integers(1, max_channels),
        layers=st.integers(1, 3),
        se_ratio=st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    )


ARCHITECTURES = st.builds(
    Architecture,
    stem_channels=st.integers(1, 24),
    stages=st.lists(stages(), min_size=1, max_size=4).map(tuple),
    head_channels=st.integers(1, 32),
)


def on_meta(architecture: Architecture, num_classes: int = 1000, in_channels: int = 3, **options: str) -> Network:
    with torch.device("meta"):
        return build_network(architecture, num_classes, in_channels, settings=NetworkSettings(**options))


@cache
def published(name: str) -> Network:
    return on_meta(PUBLISHED[name])


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


def unit(x: Tensor, layer: ConvUnit, *, stride: int = 1, activate: bool = True) -> Tensor:
    """Convolution, batch norm and SiLU written out, from a unit's weights."""
    weight, norm = layer.conv.weight, layer.norm
    groups = x.shape[1] // weight.shape[1]
    y = F.conv2d(x, weight, stride=stride, padding=(weight.shape[-1] - 1) // 2, groups=groups)
    mean, var, gamma, beta = (t[:, None, None] for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    y = (y - mean) / torch.sqrt(var + 1e-3) * gamma + beta
    return y * torch.sigmoid(y) if activate else y


def gated(x: Tensor, layer: SqueezeExcite) -> Tensor:
    pooled = F.adaptive_avg_pool2d(x, 1)
    squeezed = F.silu(F.conv2d(pooled, layer.reduce.weight, layer.reduce.bias))
    return x * torch.sigmoid(F.conv2d(squeezed, layer.restore.weight, layer.restore.bias))


def block(kind: type[MBConv | FusedMBConv], text: str, in_channels: int, stride: int = 1) -> MBConv | FusedMBConv:
    stage = Architecture.parse(f"stem_c1-{text}-head_c1").stages[0]
    made = kind(in_channels, stage, stride=stride, survival=1.0, settings=NetworkSettings())
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


@settings(max_examples=40, deadline=None)
@given(ARCHITECTURES, st.integers(8, 64), st.integers(1, 20), st.integers(1, 4), st.sampled_from(["symmetric", "same"]))
def test_cost_is_that_of_the_built_network(
    architecture: Architecture, image_size: int, num_classes: int, in_channels: int, padding: str
) -> None:
    expected = cost(architecture, image_size, num_classes=num_classes, in_channels=in_channels)
    network = on_meta(architecture, num_classes, in_channels, padding=padding)
    assert counted(network, image_size, in_channels) == expected
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    biases = sum(m.bias.numel() for m in layers if m.bias is not None)  # all on maps of one position
    assert macs_without_biases(network, image_size, in_channels) == expected.macs - biases


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


@pytest.mark.parametrize(("kind", "op"), [(MBConv, "mbconv"), (FusedMBConv, "fused_mbconv")])
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


def test_only_squeeze_excite_and_classifier_have_biases() -> None:
    network = build_network(SMALL, 5)
    with_bias = {n for n, m in network.named_modules() if getattr(m, "bias", None) is not None and "norm" not in n}
    expected = {n for n, _ in network.named_modules() if n.endswith((".reduce", ".restore"))} | {"classifier"}
    assert with_bias == expected
    assert len(expected) == 9  # four blocks of SMALL have squeeze-excite


def test_batch_norm_and_activation_follow_the_settings() -> None:
    network = on_meta(SMALL)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.1)}
    with torch.device("meta"):
        other = build_network(SMALL, settings=NetworkSettings(bn_eps=1e-5, bn_momentum=0.01, activation="relu"))
    assert {(m.eps, m.momentum) for m in other.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-5, 0.01)}
    assert not any(isinstance(m, nn.SiLU) for m in other.modules())


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


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_gradients_reach_every_parameter_in_channels_last(padding: str) -> None:
    torch.manual_seed(0)
    network = build_network(SMALL, 5, settings=NetworkSettings(padding=padding, dropout=0.2, survival=0.8))
    network = network.to(memory_format=torch.channels_last)
    maps: list[Tensor] = []
    for module in [network.head, *(b for stage in network.stages for b in stage)]:
        module.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    logits = network(torch.randn(8, 3, 32, 32).contiguous(memory_format=torch.channels_last))
    F.cross_entropy(logits, torch.arange(8) % 5).backward()
    assert logits.shape == (8, 5)
    assert all(m.is_contiguous(memory_format=torch.channels_last) for m in maps)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (31, 64)])
def test_any_picture_size(size: tuple[int, int], padding: str) -> None:
    network = build_network(SMALL, 3, 1, settings=NetworkSettings(padding=padding))
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
