"""The optimisers: RMSProp against its formula, what is decayed and how, and gradients in parts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributed import HashStore, destroy_process_group, init_process_group
from torch.nn.parallel import DistributedDataParallel

from search_spaces import Architecture
from trainers.network import build_network
from trainers.optimizer import RMSprop, make_optimizer
from trainers.recipe import Recipe
from trainers.train import TrainingStep

SMALL = Architecture.parse("stem_c8-mbconv_k3_s2_e4_c16_n2_se0.25-head_c32")
CPU = torch.device("cpu")


def reference(weights: list[float], gradients: list[list[float]], rates: list[float], decay: float) -> list[float]:
    """TensorFlow's RMSPropOptimizer, a number at a time: decay .9, momentum .9, epsilon 1e-3, L2 in the gradient."""
    moved = []
    for w, of_weight in zip(weights, zip(*gradients, strict=True), strict=True):
        square, moment = 1.0, 0.0
        for given, rate in zip(of_weight, rates, strict=True):
            g = given + decay * w
            square = 0.9 * square + (1 - 0.9) * g * g
            moment = 0.9 * moment + rate * g / math.sqrt(square + 1e-3)
            w -= moment
        moved.append(w)
    return moved


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_rmsprop_is_tensorflows(decay: float) -> None:
    rng = np.random.default_rng(1)
    start, gradients = rng.normal(size=6), rng.normal(size=(30, 6))
    rates = [0.1 * 0.97**k for k in range(30)]
    one, other = (nn.Parameter(torch.tensor(part)) for part in (start[:4].reshape(2, 2), start[4:]))
    optimizer = RMSprop([{"params": [one, other], "weight_decay": decay}], lr=1.0)
    for gradient, rate in zip(gradients, rates, strict=True):
        one.grad, other.grad = torch.tensor(gradient[:4].reshape(2, 2)), torch.tensor(gradient[4:])
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    found = [*one.flatten().tolist(), *other.tolist()]
    assert found == pytest.approx(reference(start.tolist(), gradients.tolist(), rates, decay), abs=1e-14)


def test_the_first_step_by_hand_and_not_torchs() -> None:
    ours, theirs = (nn.Parameter(torch.tensor([1.0], dtype=torch.float64)) for _ in range(2))
    ours.grad = theirs.grad = torch.tensor([2.0], dtype=torch.float64)
    RMSprop([ours], lr=0.1).step()
    assert ours.item() == pytest.approx(1 - 0.1 * 2 / math.sqrt(0.9 + 0.1 * 4 + 0.001))
    torch.optim.RMSprop([theirs], lr=0.1, alpha=0.9, momentum=0.9, eps=1e-3).step()
    assert theirs.item() < ours.item() - 0.1  # it begins at 0, and takes a step nearly twice as long


def test_decoupled_decay_shrinks_the_weights_beside_the_step() -> None:
    kept, shrunk = (nn.Parameter(torch.tensor([3.0], dtype=torch.float64)) for _ in range(2))
    for parameter, decay in ((kept, 0.0), (shrunk, 0.5)):
        parameter.grad = torch.tensor([1.0], dtype=torch.float64)
        RMSprop([{"params": [parameter], "weight_decay": decay, "l2": False}], lr=0.1).step()
    assert kept.item() - shrunk.item() == pytest.approx(0.1 * 0.5 * 3)


def test_a_closure_is_called_with_gradients_and_parameters_without_any_are_left() -> None:
    moved, left = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = RMSprop([moved, left], lr=0.1)

    def closure() -> float:
        loss = moved.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 2.0
    assert (moved < 1).all()
    assert (left == 1).all()


def test_rmsprop_goes_on_from_its_state() -> None:
    gradients = torch.randn((6, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def steps(parameter: nn.Parameter, optimizer: RMSprop, some: Tensor) -> None:
        for gradient in some:
            parameter.grad = gradient.clone()
            optimizer.step()

    whole = nn.Parameter(torch.ones(3, dtype=torch.float64))
    steps(whole, RMSprop([whole], lr=0.1), gradients)
    first = nn.Parameter(torch.ones(3, dtype=torch.float64))
    before = RMSprop([first], lr=0.1)
    steps(first, before, gradients[:3])
    second = nn.Parameter(first.detach().clone())
    after = RMSprop([second], lr=0.9)
    after.load_state_dict(before.state_dict())
    steps(second, after, gradients[3:])
    assert torch.equal(second, whole)


@pytest.mark.parametrize(
    ("optimizer", "l2"), [("sgd", False), ("rmsprop", False), ("rmsprop", True), ("adamw", False), ("adamw", True)]
)
def test_biases_and_batch_norm_are_not_decayed(optimizer: str, l2: bool) -> None:
    network = build_network(SMALL, 10, generator=torch.Generator().manual_seed(0))
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    made = make_optimizer(network, Recipe(optimizer=optimizer, l2=l2, weight_decay=0.1, learning_rate=0.1))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.step()
    weights = {name for name, value in network.named_parameters() if value.ndim > 1}
    assert weights > {"classifier.weight", "stem.conv.weight"}
    for name, value in network.named_parameters():
        if name in weights:
            assert value.norm() < before[name].norm()
        else:
            assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adamw"])
def test_l2_is_half_the_square_of_the_weights_in_the_loss(optimizer: str) -> None:
    """Where the decay is in the gradient; AdamW's is not, and is of torch's own class."""
    drawn = torch.Generator().manual_seed(2)
    start, inputs = (torch.randn(shape, generator=drawn, dtype=torch.float64) for shape in ((3, 4), (5, 4)))
    recipe = Recipe(optimizer=optimizer, weight_decay=0.2, l2=optimizer != "sgd", learning_rate=0.05)

    def trained(recipe: Recipe, decay: float) -> Tensor:
        layer = nn.Linear(4, 3, bias=False, dtype=torch.float64)
        layer.weight.data.copy_(start)
        made = make_optimizer(layer, recipe)
        for _ in range(5):
            made.zero_grad()
            loss = layer(inputs).square().mean() + decay * layer.weight.square().sum() / 2
            loss.backward()
            made.step()
        return layer.weight.detach()

    torch.testing.assert_close(trained(recipe, 0.0), trained(replace(recipe, weight_decay=0.0), 0.2))
    if optimizer != "sgd":  # whose decay is always in the gradient
        other = replace(recipe, l2=False)
        assert not torch.allclose(trained(other, 0.0), trained(recipe, 0.0))


def test_what_the_recipe_says_reaches_the_optimizer() -> None:
    layer = nn.Linear(2, 2)
    sgd = make_optimizer(layer, Recipe(momentum=0.8, learning_rate=0.3))
    assert isinstance(sgd, torch.optim.SGD)
    assert [(g["momentum"], g["nesterov"], g["lr"], g["fused"]) for g in sgd.param_groups] == [
        (0.8, True, 0.3, True)
    ] * 2
    rms = make_optimizer(layer, Recipe(optimizer="rmsprop", rms_decay=0.95, momentum=0.7, l2=True))
    assert [(g["decay"], g["momentum"], g["epsilon"], g["l2"]) for g in rms.param_groups] == [
        (0.95, 0.7, 1e-3, True)
    ] * 2
    adam = make_optimizer(layer, Recipe(optimizer="adamw", epsilon=1e-6))
    assert isinstance(adam, torch.optim.AdamW)
    assert adam.param_groups[0]["eps"] == 1e-6
    assert adam.param_groups[0]["betas"] == (0.9, 0.999)


def flat_network() -> nn.Sequential:
    """Without batch norm, whose statistics would be of each part."""
    made = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.SiLU(), nn.Linear(7, 3)).double()
    drawn = torch.Generator().manual_seed(3)
    for parameter in made.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=drawn, dtype=torch.float64))
    return made


def stepped(network: nn.Module, recipe: Recipe) -> tuple[float, list[Tensor]]:
    drawn = torch.Generator().manual_seed(4)
    images = torch.randn((8, 3, 2, 2), generator=drawn, dtype=torch.float64)
    step = TrainingStep(network, recipe, CPU)
    losses = [float(step(images, torch.arange(8) % 3, 0.05)) for _ in range(3)]
    return losses[-1], [p.detach().clone() for p in network.parameters()]


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_a_gradient_in_parts_is_the_batchs(parts: int) -> None:
    recipe = Recipe(batch_size=8, optimizer="rmsprop")
    whole, in_parts = stepped(flat_network(), recipe), stepped(flat_network(), replace(recipe, accumulate=parts))
    assert in_parts[0] == pytest.approx(whole[0])
    torch.testing.assert_close(in_parts[1], whole[1])


@pytest.fixture
def _one_process() -> Iterator[None]:
    init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    destroy_process_group()


@pytest.mark.usefixtures("_one_process")
def test_processes_exchange_the_gradients_of_all_parts() -> None:
    recipe = Recipe(batch_size=8, accumulate=4)
    together, alone = DistributedDataParallel(flat_network()), flat_network()
    torch.testing.assert_close(stepped(together, recipe), stepped(alone, recipe))


def test_a_batch_without_equal_parts_is_refused() -> None:
    step = TrainingStep(flat_network(), Recipe(batch_size=8, accumulate=4), CPU)
    with pytest.raises(ValueError, match="a batch must have 4 equal parts to accumulate; got 6 pictures"):
        step(torch.zeros(6, 3, 2, 2, dtype=torch.float64), torch.zeros(6, dtype=torch.int64), 0.1)
