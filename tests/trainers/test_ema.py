"""`Ema`: the average against its formula, batch norm's statistics, and going on from its state."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from search_spaces import Architecture
from trainers.ema import Ema
from trainers.network import Network, build_network

SMALL = Architecture.parse("stem_c8-mbconv_k3_s2_e4_c16_n2_se0.25-head_c32")


def network() -> Network:
    return build_network(SMALL, 10, generator=torch.Generator().manual_seed(0)).double()


def train_a_little(trained: nn.Module, seed: int) -> None:
    drawn = torch.Generator().manual_seed(seed)
    trained(torch.randn((4, 3, 16, 16), generator=drawn, dtype=torch.float64))  # moves batch norm's statistics
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=drawn, dtype=torch.float64), alpha=0.1)


@pytest.mark.parametrize("decay", [0.9999, 0.3])
def test_the_average_of_weights_and_statistics(decay: float) -> None:
    trained = network()
    ema = Ema(trained, decay)
    expected = {name: value.clone() for name, value in trained.state_dict().items()}
    for t in range(7):
        train_a_little(trained, t)
        ema.update()
        now = min(decay, (1 + t) / (10 + t))
        for name, value in trained.state_dict().items():
            expected[name] = expected[name] * now + value * (1 - now) if value.is_floating_point() else value
    assert any(name.endswith("running_var") for name in expected)
    torch.testing.assert_close(dict(ema.network.state_dict()), expected)
    assert expected["stem.norm.num_batches_tracked"] == 7
    assert ema.updates == 7


def test_the_average_is_a_network_to_evaluate_apart_from_the_trained_one() -> None:
    trained = network()
    ema = Ema(trained, 0.9)
    pictures = torch.randn((2, 3, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    before = ema.network(pictures)
    train_a_little(trained, 1)
    assert torch.equal(ema.network(pictures), before)
    assert not ema.network.training
    assert trained.training
    assert not any(parameter.requires_grad for parameter in ema.network.parameters())
    ema.update()
    assert not torch.equal(ema.network(pictures), before)


def test_it_goes_on_from_its_state() -> None:
    def averaged(state: dict[str, Tensor] | None, steps: range) -> Ema:
        trained = network()
        for t in range(steps.start):
            train_a_little(trained, t)
        ema = Ema(trained, 0.9999)
        if state is not None:
            ema.load_state_dict(state)
        for t in steps:
            train_a_little(trained, t)
            ema.update()
        return ema

    whole = averaged(None, range(6))
    half = averaged(None, range(3)).state_dict()
    assert all(isinstance(value, Tensor) for value in half.values())
    resumed = averaged({name: value.clone() for name, value in half.items()}, range(3, 6))
    assert resumed.updates == 6
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_what_is_no_average_is_refused() -> None:
    for decay in (0.0, 1.0, -0.5):
        with pytest.raises(ValueError, match="must be above 0 and below 1"):
            Ema(network(), decay)
    with pytest.raises(ValueError, match=r"must have ema_updates; it has stem.conv.weight"):
        Ema(network(), 0.9).load_state_dict(network().state_dict())
