"""Dropout and stochastic depth whose chance is each shard's own, so that it is the same on any number of devices.

A batch is made of shards (`Training`), of which a device has one or several. Each shard has a generator, and every
layer draws from it for that shard's pictures alone; so a picture's share of chance does not depend on which others are
on its device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from trainers.blocks import StochasticDepth


class ShardedDropout(nn.Dropout):
    """Dropout of a batch that consists of equal shards.

    Attributes:
        generators: one a shard, on the network's device.
    """

    generators: Sequence[Generator]

    def forward(self, x: Tensor) -> Tensor:
        """(batch, ...) to the same shape."""
        if not self.training or not self.p:
            return x
        kept = [
            torch.empty_like(part).bernoulli_(1.0 - self.p, generator=generator)
            for part, generator in _parts(x, self.generators)
        ]
        return x * torch.cat(kept).div_(max(1.0 - self.p, 1e-12))  # a dropout of 1 keeps nothing


class ShardedDepth(StochasticDepth):
    """Stochastic depth of a batch that consists of equal shards.

    Attributes:
        generators: one a shard, on the network's device.
    """

    generators: Sequence[Generator]

    def forward(self, x: Tensor) -> Tensor:
        """The branch, as `StochasticDepth` has it."""
        if not self.training or self.survival == 1.0:
            return x
        kept = [
            x.new_empty(len(part), *[1] * (x.dim() - 1)).bernoulli_(self.survival, generator=generator)
            for part, generator in _parts(x, self.generators)
        ]
        return x * torch.cat(kept).div_(self.survival)


def shard(network: nn.Module, generators: Sequence[Generator]) -> None:
    """Have a network's dropout and stochastic depth draw each shard's chance from its own generator."""
    for module in network.modules():
        if type(module) is nn.Dropout:
            module.__class__ = ShardedDropout
            assert isinstance(module, ShardedDropout)
            module.generators = generators
        elif type(module) is StochasticDepth:
            module.__class__ = ShardedDepth
            assert isinstance(module, ShardedDepth)
            module.generators = generators


def joined(shards: Sequence[Tensor], parts: int) -> Tensor:
    """One batch of equal shards: cut into so many parts, each has as much of every shard.

    Batch norm's statistics are of a part, so a part must be of the same pictures on any number of devices.
    """
    pieces = zip(*(shard.chunk(parts) for shard in shards), strict=True)
    return torch.cat([piece for part in pieces for piece in part])


def _parts(x: Tensor, generators: Sequence[Generator]) -> list[tuple[Tensor, Generator]]:
    return list(zip(x.chunk(len(generators)), generators, strict=True))
