"""Dropout and stochastic depth of shards: their chance is their own, wherever they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainers.blocks import StochasticDepth
from trainers.sharded import joined, shard


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def layers(*seeds: int) -> nn.Sequential:
    found = nn.Sequential(nn.Dropout(0.3), StochasticDepth(0.6), nn.Dropout(0.5))
    shard(found, generators(*seeds))
    return found.train()


@pytest.mark.parametrize("shape", [(8, 5), (8, 3, 4, 4)])
def test_a_shard_has_the_same_chance_alone_and_among_others(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape) + 1
    if x.dim() == 4:
        x = x.to(memory_format=torch.channels_last)
    together = layers(1, 2)(x)
    alone = torch.cat([layers(seed)(part) for seed, part in zip((1, 2), x.chunk(2), strict=True)])
    assert torch.equal(together, alone)
    assert not torch.equal(together, layers(1, 3)(x))


@pytest.mark.parametrize("layer", [nn.Dropout(0.25), StochasticDepth(0.75)])
def test_it_keeps_as_much_as_it_should_and_its_expectation(layer: nn.Module) -> None:
    x = torch.ones(20000, 2)
    shard(layer, generators(1, 2, 3, 4))
    found: Tensor = layer.train()(x)
    assert found.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert found.mean() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(layer.eval()(x), x)


def test_a_dropout_of_one_leaves_nothing() -> None:
    layer = nn.Dropout(1.0)
    shard(layer, generators(1))
    assert not layer(torch.ones(4, 4)).any()


def test_a_part_of_a_batch_has_as_much_of_every_shard() -> None:
    shards = [torch.arange(4), torch.arange(10, 14)]
    assert joined(shards, 1).tolist() == [0, 1, 2, 3, 10, 11, 12, 13]
    assert joined(shards, 2).tolist() == [0, 1, 10, 11, 2, 3, 12, 13]
