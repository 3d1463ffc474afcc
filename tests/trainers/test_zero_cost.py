"""SNIP and SynFlow against values by hand and against their definitions; which pictures are looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces import SPACES, Architecture
from trainers.blocks import NetworkSettings
from trainers.data import Data, Split
from trainers.network import Network, build_network
from trainers.zero_cost import sample_pictures, snip, synflow

CHAIN = Architecture.parse(
    "stem_c4-fused_mbconv_k3_s2_e1_c6_n1-mbconv_k5_s2_e3_c8_n1_se0.25-fused_mbconv_k3_s1_e2_c4_n1-head_c16"
)
RESIDUAL = Architecture.parse("stem_c4-fused_mbconv_k3_s1_e2_c4_n3-mbconv_k3_s2_e4_c8_n2-head_c16")
SHAPE = (3, 8, 8)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Two threads that wait for each other are many times slower where the cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def built(architecture: Architecture, seed: int = 0, *, settings: NetworkSettings = NetworkSettings()) -> Network:
    return build_network(architecture, 5, 3, settings=settings, generator=torch.Generator().manual_seed(seed))


def weights(network: nn.Module) -> list[Tensor]:
    return [m.weight for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def batch(seed: int = 0, count: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *SHAPE, generator=generator), torch.randint(5, (count,), generator=generator)


# SNIP -------------------------------------------------------------------------------------------------------------


def test_snip_of_a_linear_layer_is_what_it_is_by_hand() -> None:
    layer = nn.Linear(2, 2)
    weight, image = [[0.5, -1.0], [2.0, 0.25]], [3.0, -2.0]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor([0.1, -0.2]))
    logits = [0.5 * 3 + 1.0 * 2 + 0.1, 2.0 * 3 - 0.25 * 2 - 0.2]
    p = [math.exp(v) / sum(map(math.exp, logits)) for v in logits]
    errors = [p[0], p[1] - 1]  # the label is 1; dL/dw_ij = error_i · image_j, and biases do not count
    by_hand = sum(abs(weight[i][j] * errors[i] * image[j]) for i in range(2) for j in range(2))
    found = snip(layer, torch.tensor([image]), torch.tensor([1]))
    assert found == pytest.approx(math.log(by_hand), rel=1e-5)


def test_snip_is_the_sum_over_all_convolutions_and_linear_layers() -> None:
    images, labels = batch()
    network = built(CHAIN)
    loss = F.cross_entropy(network(images), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    known = sum((w * w.grad).abs().sum().item() for w in weights(network))
    assert snip(built(CHAIN), images, labels) == pytest.approx(math.log(known), rel=1e-5)
    assert any(isinstance(m, nn.BatchNorm2d) for m in network.modules())  # whose weights are not in it


def test_snip_does_not_change_with_the_scale_of_weights_before_batch_norm() -> None:
    images, labels = batch()
    exact = NetworkSettings(bn_eps=1e-10)
    network, scaled = built(RESIDUAL, settings=exact), built(RESIDUAL, settings=exact)
    with torch.no_grad():
        for module in scaled.modules():
            if isinstance(module, nn.Conv2d):
                module.weight *= 3.0
    assert snip(scaled, images, labels) == pytest.approx(snip(network, images, labels), abs=1e-3)


def test_snip_of_weights_that_change_nothing_is_minus_infinity() -> None:
    layer = nn.Linear(2, 1, bias=False)  # of a single class the loss is 0 whatever the weights
    assert snip(layer, torch.ones(1, 2), torch.tensor([0])) == -math.inf


def test_snip_looks_at_pictures_and_labels() -> None:
    images, labels = batch()
    first = snip(built(CHAIN), images, labels)
    assert snip(built(CHAIN), images, labels) == first
    assert snip(built(CHAIN), batch(1)[0], labels) != first
    assert snip(built(CHAIN), images, (labels + 1) % 5) != first
    assert snip(built(CHAIN, 1), images, labels) != first


# SynFlow ----------------------------------------------------------------------------------------------------------


def test_synflow_of_linear_layers_is_what_it_is_by_hand() -> None:
    chain = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        chain[1].weight.copy_(torch.tensor([[1.0, -2.0, 0.5, 0.0], [0.0, 3.0, -1.0, 1.0]]))
        chain[3].weight.copy_(torch.tensor([[-2.0, 0.5]]))
    flow = 2.0 * (1 + 2 + 0.5) + 0.5 * (3 + 1 + 1)  # every layer's weights carry all of it
    assert synflow(chain, (1, 2, 2)) == pytest.approx(math.log(2 * flow))


def test_synflow_of_a_chain_is_its_flow_times_its_layers() -> None:
    network = built(CHAIN)
    layers = [m for n, m in network.named_modules() if isinstance(m, nn.Conv2d) and "squeeze_excite" not in n]
    flow = torch.ones(1, *SHAPE, dtype=torch.float64)
    for layer in layers:
        strides, groups = layer.stride, layer.groups
        flow = F.conv2d(flow, layer.weight.double().abs(), None, strides, layer.padding, groups=groups)  # type: ignore[arg-type]
    flow = flow.mean((2, 3)) @ network.classifier.weight.double().abs().T
    assert synflow(network, SHAPE) == pytest.approx(math.log((len(layers) + 1) * flow.sum().item()))


@settings(max_examples=15)
@given(st.integers(0, SPACES["small"].size - 1), st.integers(0, 3))
def test_synflow_is_how_fast_the_flow_grows_with_all_weights(number: int, seed: int) -> None:
    stages = SPACES["small"].decode(SPACES["small"].genotype_at(number)).stages
    architecture = Architecture(8, tuple(replace(stage, se_ratio=0.0) for stage in stages), 32)
    plain = NetworkSettings(activation="relu", bn_eps=1e-15)  # in evaluation, batch norm that saw nothing is 1

    def flow(scale: float) -> float:
        network = built(architecture, seed, settings=plain).double().eval()
        with torch.no_grad():
            for weight in weights(network):
                weight.copy_(weight.abs() * scale)
            return float(network(torch.ones(1, *SHAPE, dtype=torch.float64)).sum())

    step = 1e-5
    slope = (flow(1 + step) - flow(1 - step)) / (2 * step)
    assert synflow(built(architecture, seed), SHAPE) == pytest.approx(math.log(slope), abs=1e-5)


def test_synflow_looks_at_no_signs_nor_at_batch_norm_nor_at_biases() -> None:
    network, changed = built(RESIDUAL), built(RESIDUAL)
    with torch.no_grad():
        for weight in weights(changed):
            weight.neg_()
        for module in changed.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(7.0)
                module.running_mean.fill_(-3.0)
        changed.classifier.bias.fill_(5.0)
    assert synflow(changed, SHAPE) == synflow(network, SHAPE)


def test_synflow_follows_the_scale_of_a_layer_that_all_flow_goes_through() -> None:
    network, scaled = built(RESIDUAL), built(RESIDUAL)
    with torch.no_grad():
        scaled.classifier.weight *= 10.0
    assert synflow(scaled, SHAPE) == pytest.approx(synflow(network, SHAPE) + math.log(10))


def test_synflow_does_not_overflow_where_the_flow_would() -> None:
    network, large = built(CHAIN), built(CHAIN)
    layers = [m for n, m in large.named_modules() if isinstance(m, nn.Conv2d) and "squeeze_excite" not in n]
    with torch.no_grad():
        for layer in layers:
            layer.weight *= 1e30
        large.classifier.weight *= 1e30
    more = (len(layers) + 1) * 30 * math.log(10)
    assert more > math.log(np.finfo(np.float64).max) * 0.75
    deep = Architecture.parse("stem_c16-fused_mbconv_k3_s1_e4_c16_n260-head_c16")
    assert synflow(large, SHAPE) == pytest.approx(synflow(network, SHAPE) + more)
    assert math.log(np.finfo(np.float64).max) < synflow(built(deep), SHAPE) < math.inf


# The pictures -----------------------------------------------------------------------------------------------------


def pictures(count: int, seed: int, *, channels: int = 3) -> Split:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, size=(count, 8, 8, channels), dtype=np.uint8)
    return Split(images, rng.integers(0, 5, size=count))


def made(train: Split, minival: Split) -> Data:
    names = tuple("abcde")
    test = pictures(4, 3)
    return Data(train, minival, test, names, train.images.shape[3], 8, fingerprint="made up", unreadable=())


def test_pictures_are_standardised_training_pictures() -> None:
    train = pictures(100, 1)
    images, labels = sample_pictures(made(train, pictures(20, 2)), 0, count=30)
    assert images.shape == (30, *SHAPE)
    assert images.mean((0, 2, 3)).abs().max() < 1e-5
    assert (images.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    same, same_labels = sample_pictures(made(train, pictures(20, 7)), 0, count=30)  # of another minival
    assert torch.equal(images, same)
    assert torch.equal(labels, same_labels)
    others, _ = sample_pictures(made(train, pictures(20, 2)), 1, count=30)
    assert not torch.equal(images, others)


def test_pictures_are_drawn_once_each() -> None:
    train = Split(np.arange(12, dtype=np.uint8).repeat(64).reshape(12, 8, 8, 1), np.arange(12))
    _, labels = sample_pictures(made(train, train), 0)
    assert sorted(labels.tolist()) == list(range(12))  # 16 were asked for


def test_pictures_of_one_colour_stay_finite() -> None:
    train = Split(np.full((20, 8, 8, 1), 9, dtype=np.uint8), np.zeros(20, dtype=np.int64))
    images, _ = sample_pictures(made(train, train), 0)
    assert torch.equal(images, torch.zeros(16, 1, 8, 8))
