"""Operations on the colours of whole batches of pictures, equal to Pillow's `ImageOps` and `ImageEnhance`.

Pixels are (N, height, width, channels) uint8 with 1 (grey) or 3 (RGB) channels, on any device; each function gives
new pixels of the same shape.
"""

from __future__ import annotations

import torch
from torch import Tensor


def autocontrast(pixels: Tensor) -> Tensor:
    """Each channel of each picture stretched so that its darkest value is 0 and its brightest 255."""
    low = pixels.amin((1, 2), keepdim=True).double()  # Pillow computes in double precision, in these steps
    high = pixels.amax((1, 2), keepdim=True).double()
    scale = torch.full_like(low, 255.0) / (high - low).clamp(min=1.0)  # 255.0 / x would be 255.0 * (1 / x)
    stretched = (pixels.double() * scale + -low * scale).clamp(0.0, 255.0).to(torch.uint8)
    return torch.where(high > low, stretched, pixels)


def equalize(pixels: Tensor) -> Tensor:
    """Each channel of each picture mapped so that its values are spread evenly from 0 to 255."""
    number, height, width, channels = pixels.shape
    values = pixels.reshape(number, height * width, channels).long()
    counts = values.new_zeros(number, 256, channels).scatter_add_(1, values, torch.ones_like(values))
    in_brightest = counts.gather(1, values.amax(1, keepdim=True))
    step = (height * width - in_brightest) // 255
    below = counts.cumsum(1) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=pixels.device)[:, None])
    return table.to(torch.uint8).gather(1, values).view_as(pixels)


def invert(pixels: Tensor) -> Tensor:
    """255 minus each value."""
    return 255 - pixels


def posterize(pixels: Tensor, bits: int) -> Tensor:
    """Each value with its `bits` highest bits alone, from 1 to 8."""
    return pixels & (256 - (1 << (8 - bits)))


def solarize(pixels: Tensor, threshold: int) -> Tensor:
    """Values from the threshold upwards inverted; above 255 there are none."""
    return pixels if threshold > 255 else torch.where(pixels < threshold, pixels, 255 - pixels)


def solarize_add(pixels: Tensor, addition: int) -> Tensor:
    """`addition`, at least 0, put upon the values below 128, up to 255 (google/automl's; Pillow has none such)."""
    return torch.where(pixels < 128, (pixels.short() + addition).clamp(max=255).to(torch.uint8), pixels)


def colour(pixels: Tensor, factor: float) -> Tensor:
    """From grey (0) over the picture as it is (1) to more colour than it has."""
    return _blend(_grey(pixels).to(torch.uint8), pixels, factor)


def contrast(pixels: Tensor, factor: float) -> Tensor:
    """From one grey, the picture's mean (0), over the picture as it is (1) to more contrast than it has."""
    grey = _grey(pixels)
    count = grey[0].numel() if len(grey) else 1
    mean = (2 * grey.sum((1, 2, 3), keepdim=True) + count) // (2 * count)  # rounded to the nearest
    return _blend(mean.to(torch.uint8), pixels, factor)


def brightness(pixels: Tensor, factor: float) -> Tensor:
    """From black (0) over the picture as it is (1) to brighter."""
    return _blend(torch.zeros_like(pixels), pixels, factor)


def sharpness(pixels: Tensor, factor: float) -> Tensor:
    """From smoothed (0) over the picture as it is (1) to sharper; the outermost pixels stay."""
    if min(pixels.shape[1:3]) < 3:
        return pixels
    values = pixels.short()
    columns = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    sums = columns[:, :, :-2] + columns[:, :, 1:-1] + columns[:, :, 2:] + 4 * values[:, 1:-1, 1:-1]
    smooth = pixels.clone()
    smooth[:, 1:-1, 1:-1] = ((sums + 6) // 13).to(torch.uint8)  # the weights' sum is 13; rounded to the nearest
    return _blend(smooth, pixels, factor)


def _grey(pixels: Tensor) -> Tensor:
    """Luminance (ITU-R 601) as Pillow rounds it, (N, height, width, 1) int32."""
    values = pixels.int()
    if pixels.shape[3] == 1:
        return values
    red, green, blue = values.unbind(3)
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).unsqueeze(3)


def _blend(base: Tensor, pixels: Tensor, factor: float) -> Tensor:
    """`base` where the factor is 0, `pixels` where it is 1; beyond 1 it goes on, cut at 0 and 255."""
    start = base.float()
    return (start + factor * (pixels.float() - start)).clamp(0.0, 255.0).to(torch.uint8)
