"""`Conv2d`: a convolution trained in whichever of two ways is faster for its shape on this machine, measured once.

On CPUs the backward pass of a depthwise convolution on small maps can take most of a network's training step: the
usual kernels work along the rows of a map, and there is next to nothing in a row of 2 (slow since 2018, pytorch issue
13716). As shifted multiply-adds over the whole batch it is up to ten times as fast, and a 1x1 convolution of a 1x1 map
is faster as a matrix product; so is, on any map, the weights' gradient of one with few output channels, whose sum over
all positions the usual kernels hardly vectorise. Which is faster depends on the processor, so it is measured. The
values are the same but for rounding; evaluation, export and GPUs use torch's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from trainers.choice import is_faster

LONGEST_SIDE = 8
"""On maps with a longer side, shifted multiply-adds and whole products lost on every processor tried."""

Way = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(map, weight, bias) -> the convolved map."""


class Conv2d(nn.Conv2d):
    """As torch's, with the same state and the same values; see the module for what it does in training."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        usual: Way = super()._conv_forward
        if not _worth_asking(input, weight):
            return usual(input, weight, bias)
        sizes = (str(input.dtype), *input.shape, weight.shape[0], *weight.shape[2:], self.stride[0], *self.padding)
        for name, other in self._other_ways:
            if name != "weights" and max(input.shape[2:]) > LONGEST_SIDE:
                continue
            if is_faster((name, *sizes), lambda other=other: _passes(input, weight, usual, other)):  # type: ignore[misc]
                return other(input, weight, bias)
        return usual(input, weight, bias)

    def _shifted(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y: Tensor = ShiftedDepthwise.apply(x, weight, self.stride[0], self.padding[0])  # type: ignore[no-untyped-call]
        return y

    @cached_property
    def _other_ways(self) -> tuple[tuple[str, Way], ...]:
        """What to ask for, in this order, with its name; nothing for most convolutions."""
        if isinstance(self.padding, str) or self.padding_mode != "zeros" or self.dilation != (1, 1):
            return ()
        if self.kernel_size == self.stride == (1, 1) and self.padding == (0, 0) and self.groups == 1:
            return ("product", product), ("weights", weight_product)
        square = all(a == b for a, b in (self.kernel_size, self.stride, self.padding))
        depthwise = self.groups == self.in_channels == self.out_channels
        return (("shifted", self._shifted),) if square and depthwise and self.bias is None else ()


def _worth_asking(x: Tensor, weight: Tensor) -> bool:
    """Whether a map is trained on a CPU, by torch's eager engine."""
    beside = x.is_contiguous(memory_format=torch.channels_last)
    trained = torch.is_grad_enabled() and weight.requires_grad and x.dtype == weight.dtype
    eager = not (torch.compiler.is_compiling() or torch._C._get_tracing_state() or torch.is_autocast_enabled("cpu"))
    return beside and trained and eager and x.device.type == "cpu"


def _passes(x: Tensor, weight: Tensor, *ways: Way) -> tuple[Callable[[], object], Callable[[], object]]:
    """A forward and a backward pass in either way, with a map and weights of these shapes."""
    own_x, own_weight = torch.ones_like(x).requires_grad_(), torch.ones_like(weight).requires_grad_()
    gradient = torch.ones_like(ways[0](own_x, own_weight, None))

    def both(way: Way) -> object:
        return torch.autograd.grad(way(own_x, own_weight, None), (own_x, own_weight), gradient)

    usual, other = (partial(both, way) for way in ways)
    return usual, other


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A 1x1 convolution as a matrix product over a map whose channels lie side by side.

    Args:
        x: (batch, in_channels, height, width), channels last.
        weight: (channels, in_channels, 1, 1).
        bias: (channels,) or None.

    Returns:
        (batch, channels, height, width), channels last.
    """
    return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


class WeightProduct(torch.autograd.Function):
    """A 1x1 convolution of stride 1: torch's own, but for the weights' gradient, which is a matrix product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(batch, in_channels, height, width) to (batch, channels, height, width)."""
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gradients of the map, the weights and the bias, each where it is asked for."""
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        rows = gradient.permute(0, 2, 3, 1).flatten(0, 2)
        return (
            conv2d_input(x.shape, weight, gradient) if of_x else None,  # type: ignore[no-untyped-call]
            (rows.t() @ x.permute(0, 2, 3, 1).flatten(0, 2)).reshape(weight.shape) if of_weight else None,
            rows.sum(0) if of_bias else None,
        )


def weight_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`WeightProduct` of a map, a weight (channels, in_channels, 1, 1) and a bias (channels,) or None."""
    y: Tensor = WeightProduct.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y


class ShiftedDepthwise(torch.autograd.Function):
    """A depthwise convolution: torch's own forward pass, and a backward pass of shifted multiply-adds.

    With zeros around the map, y[o] = sum over the taps t of w[t] x[s o + t - p]; so x[s o + t - p] gets w[t] dy[o],
    and w[t] the sum of x[s o + t - p] dy[o] over batch and positions: per tap, two operations on whole slices.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        """(batch, channels, height, width) to (batch, channels, rows, columns)."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, groups=weight.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """From the output's gradient, those of the map and of the weights."""
        x, weight = ctx.saved_tensors
        maps, gradients = x.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
        taps = weight.squeeze(1).permute(1, 2, 0).contiguous()  # (kernel, kernel, channels)
        of_maps = torch.zeros_like(maps) if ctx.needs_input_grad[0] else None
        of_taps = torch.zeros_like(taps) if ctx.needs_input_grad[1] else None
        for i, j in itertools.product(range(taps.shape[0]), repeat=2):
            rows, from_rows = _overlap(i - ctx.padding, ctx.stride, maps.shape[1], gradients.shape[1])
            columns, from_columns = _overlap(j - ctx.padding, ctx.stride, maps.shape[2], gradients.shape[2])
            part = gradients[:, rows, columns]
            if not part.numel():  # a tap that sees zeros alone
                continue
            if of_maps is not None:
                of_maps[:, from_rows, from_columns].addcmul_(part, taps[i, j])
            if of_taps is not None:
                of_taps[i, j] = (maps[:, from_rows, from_columns] * part).sum((0, 1, 2))
        return (
            None if of_maps is None else of_maps.permute(0, 3, 1, 2),
            None if of_taps is None else of_taps.permute(2, 0, 1).unsqueeze(1),
            None,
            None,
        )


def _overlap(offset: int, stride: int, side: int, out_side: int) -> tuple[slice, slice]:
    """The outputs o for which stride * o + offset is on the map, and those places on it."""
    first = max(0, -(offset // stride))
    last = min(out_side, (side - 1 - offset) // stride + 1)
    if first >= last:
        return slice(0, 0), slice(0, 0)
    return slice(first, last), slice(stride * first + offset, stride * (last - 1) + offset + 1, stride)
