"""Parts of pictures resized to one size, whole batches where they lie, antialiased where they shrink."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_AT_ONCE = 64
"""Pictures whose products, in floats, are in a GPU's memory together."""


def resized_crops(pixels: Tensor, boxes: NDArray[np.float64], size: int) -> Tensor:
    """Each picture's box, resized to size x size: bilinear, and antialiased where it shrinks, as Pillow does it.

    A box is rounded to whole pixels, of which nothing beyond its edge is seen.

    Args:
        pixels: (n, side, side, channels) uint8 with 1 or 3 channels.
        boxes: (n, 4) left, top, width and height, as shares of the side.
        size: of the result, in pixels.

    Returns:
        (n, size, size, channels) uint8 on the same device; `pixels` itself where there is nothing to do.
    """
    n, side = pixels.shape[:2]
    edges = np.rint(boxes * side).astype(np.int64)
    extent = np.clip(edges[:, 2:], 1, side)
    start = np.clip(edges[:, :2], 0, side - extent)
    if size == side and (extent == side).all():
        return pixels
    if pixels.device.type != "cpu":
        return _by_weights(pixels, start, extent, size)
    if n and (start == start[0]).all() and (extent == extent[0]).all():
        (left, top), (wide, tall) = start[0].tolist(), extent[0].tolist()
        return _interpolated(pixels[:, top : top + tall, left : left + wide].contiguous(), size)
    found = torch.empty((n, size, size, pixels.shape[3]), dtype=torch.uint8)
    for place, (left, top, wide, tall) in enumerate(np.concatenate([start, extent], axis=1).tolist()):
        part = pixels[place : place + 1, top : top + tall, left : left + wide].contiguous()
        _interpolated(part, size, into=found[place : place + 1])
    return found


def _interpolated(parts: Tensor, size: int, into: Tensor | None = None) -> Tensor:
    """(n, height, width, channels) uint8 resized by torch's kernel for bytes.

    The operation is called by its name, since a call through torch.nn.functional takes four times as long as the
    work itself where a picture is small.
    """
    images = parts.permute(0, 3, 1, 2)
    if into is None:
        into = torch.empty((len(parts), size, size, parts.shape[3]), dtype=torch.uint8)
    torch.ops.aten._upsample_bilinear2d_aa.out(images, [size, size], False, None, None, out=into.permute(0, 3, 1, 2))
    return into


def _by_weights(pixels: Tensor, start: NDArray[np.int64], extent: NDArray[np.int64], size: int) -> Tensor:
    """The same as two products of matrices for the whole batch: on a GPU a launch a picture would cost more."""
    edges = torch.from_numpy(np.concatenate([start, extent], axis=1)).to(pixels.device, torch.float32)
    with torch.autocast(pixels.device.type, enabled=False):
        some = zip(torch.split(pixels, _AT_ONCE), torch.split(edges, _AT_ONCE), strict=True)
        return torch.cat([_products(part, of_part, size) for part, of_part in some])


def _products(pixels: Tensor, edges: Tensor, size: int) -> Tensor:
    n, side, _, channels = pixels.shape
    across, down = (_weights(edges[:, axis], edges[:, 2 + axis], side, size) for axis in (0, 1))
    rows = torch.bmm(down, pixels.reshape(n, side, side * channels).float()).view(n, size, side, channels)
    found = torch.einsum("nps,nosc->nopc", across, rows)
    return found.round_().clamp_(0, 255).to(torch.uint8).contiguous()


def _weights(start: Tensor, extent: Tensor, side: int, size: int) -> Tensor:
    """(n, size, side): what each pixel of a line adds to each of the result; a triangle as wide as the scale."""
    scale = (extent / size)[:, None, None]
    places = torch.arange(side, device=start.device, dtype=torch.float32)
    centres = start[:, None, None] + scale * (torch.arange(size, device=start.device)[:, None] + 0.5)
    weights = (1 - (places + 0.5 - centres).abs() / scale.clamp(min=1)).clamp(min=0)
    inside = (places >= start[:, None]) & (places < (start + extent)[:, None])
    weights = weights * inside[:, None]
    return weights / weights.sum(2, keepdim=True)
