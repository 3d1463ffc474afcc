"""`Group`: the processes that train one network together, each on its part of every batch; or one alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


class Group(NamedTuple):
    """This process's place among those that train together.

    Attributes:
        rank: from 0.
        size: how many there are; with more than one, torch's default process group is up.
    """

    rank: int = 0
    size: int = 1

    def wrapped(self, network: nn.Module) -> nn.Module:
        """The network whose gradients, and batch norms' statistics, are those of all parts of a batch together."""
        if self.size == 1:
            return network
        synced(network)
        device = next(network.parameters()).device
        return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of everybody's values."""
        return self.sum(value) / self.size

    def sum(self, value: Tensor) -> Tensor:
        """The sum of everybody's values."""
        if self.size == 1:
            return value
        total = value.clone()
        distributed.all_reduce(total)
        return total

    def anyone(self, flag: bool, device: torch.device) -> bool:
        """Whether it holds for one of them: what several decide by the clock must be decided together."""
        return flag if self.size == 1 else bool(self.sum(torch.tensor(float(flag), device=device)) > 0)

    def wait(self, device_name: str) -> None:
        """Until all have come here."""
        self.anyone(False, torch.device(device_name))

    def agrees(self, number: int, device: torch.device) -> bool:
        """Whether everybody has the same number; all wait here for each other."""
        own = torch.tensor(float(number), dtype=torch.float64, device=device)
        return not self.anyone(bool(self.mean(own) != own), device)


ALONE = Group()


def synced(network: nn.Module) -> None:
    """Have the batch norms of a network take their statistics over all processes; the parameters stay the same ones.

    torch's own `SyncBatchNorm` computes on GPUs alone; this is it for every device, by its definition.
    """
    own = distributed.new_group()  # gradients are summed meanwhile, in an order of their own
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncedBatchNorm2d
            module.group = own


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose statistics in training are those of all processes' batches together, of one size each.

    Attributes:
        group: of those processes; None is all.
    """

    group: distributed.ProcessGroup | None

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) to the same shape."""
        if not self.training:
            return super().forward(x)
        size = distributed.get_world_size(self.group)
        wide = (
            x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        )  # as torch's own: autocast narrows x alone
        mean = self._summed(wide.mean((0, 2, 3))) / size
        centred = wide - mean[:, None, None]
        variance = self._summed(centred.square().mean((0, 2, 3))) / size
        self._remember(mean, variance, size * x.numel() // x.shape[1])
        y: Tensor = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.weight is not None:
            y = y * self.weight[:, None, None] + self.bias[:, None, None]
        return y.to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Bring the running statistics up to a batch of so many values a channel."""
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        share: Tensor | float | None = self.momentum
        if share is None:  # the mean over all batches so far
            assert self.num_batches_tracked is not None
            share = 1.0 / self.num_batches_tracked.to(self.running_mean.dtype)
        unbiased = variance * count / max(1, count - 1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)

    def _summed(self, value: Tensor) -> Tensor:
        """The sum over all processes, through which gradients flow."""
        summed: Tensor = _Sum.apply(value, self.group)  # type: ignore[no-untyped-call]
        return summed


class _Sum(torch.autograd.Function):
    """The sum of everybody's values; as each adds to all, each gets the sum of all gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: distributed.ProcessGroup | None) -> Tensor:
        """A tensor of one shape everywhere to that shape."""
        ctx.group = group
        total = value.clone()
        distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The gradient of everybody's value."""
        total = gradient.clone()
        distributed.all_reduce(total, group=ctx.group)
        return total, None
