"""RandAugment (arXiv 1909.13719) on whole batches, with the sixteen operations of EfficientNetV2's code.

Source: google/automl `efficientnetv2/autoaugment.py`. Every picture gets one operation a layer, always, all at the
same level. Where that code differs from Pillow by more than rounding, the pictures here are Pillow's:

- contrast blends with the picture's mean; there with the number of its pixels over 256, cut at 255;
- lengths in pixels (translation, cutout) are meant there for pictures of about 300 px at all sizes. Here they go with
  the side, and are the same at 300 px; at 32 px every translation would else leave nothing of the picture;
- posterize and solarize do less as the level rises, as there. What passes their range does nothing (the threshold of
  solarize passes 255 at level 10); there it depends on how TensorFlow wraps the number.

Pixels are (N, height, width, channels) uint8 with 1 or 3 channels, on any device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from trainers import colour

FILL = 128
"""The grey of what lies outside the picture or is cut out of it."""

_SIDE = 300  # of the pictures that the source's lengths in pixels are for


def randaugment(pixels: Tensor, level: float, *, layers: int, generator: torch.Generator) -> Tensor:
    """Each picture after `layers` operations drawn from `OPERATIONS`, each as likely as the others.

    On CUDA every operation is computed for the whole batch and kept where it was drawn, since to pick the pictures
    out their number would have to come to the host first; elsewhere only for the pictures that drew it.

    Args:
        pixels: (N, height, width, channels) uint8.
        level: magnitude; 10 is what the operations' scales refer to.
        layers: operations a picture.
        generator: of all that is drawn, on the pixels' device.
    """
    shape = (layers, len(pixels))
    numbers = torch.randint(len(OPERATIONS), shape, generator=generator, device=pixels.device)
    chances = torch.rand((*shape, 2), generator=generator, device=pixels.device)
    layer = _masked if pixels.is_cuda else _sorted
    for number, chance in zip(numbers, chances, strict=True):
        pixels = layer(pixels, level, number, chance)
    return pixels


def _masked(pixels: Tensor, level: float, number: Tensor, chance: Tensor) -> Tensor:
    """One layer without a word to the host: every operation on every picture."""
    result = pixels
    for i, operation in enumerate(OPERATIONS.values()):
        result = torch.where((number == i)[:, None, None, None], operation(pixels, level, chance), result)
    return result


def _sorted(pixels: Tensor, level: float, number: Tensor, chance: Tensor) -> Tensor:
    """One layer with the least work: pictures in the order of their operations, each on its part."""
    order = number.argsort()
    counts = number.bincount(minlength=len(OPERATIONS)).tolist()
    parts = zip(
        OPERATIONS.values(), pixels[order].split_with_sizes(counts), chance[order].split_with_sizes(counts), strict=True
    )
    changed = torch.cat([operation(part, level, drawn) for operation, part, drawn in parts if len(part)])
    return torch.empty_like(pixels).index_copy_(0, order, changed)


def cut_out(pixels: Tensor, size: int, chance: Tensor) -> Tensor:
    """Pixels with a square made grey, its centre anywhere in the picture, what lies outside lost.

    Args:
        pixels: (N, height, width, channels) uint8.
        size: side of the square, in pixels.
        chance: (N, 2), uniform in [0, 1): where the centres are.
    """
    height, width, channels = pixels.shape[1:]
    rows = torch.arange(height, device=pixels.device) - (chance[:, :1] * height).floor() + size // 2
    columns = torch.arange(width, device=pixels.device) - (chance[:, 1:] * width).floor() + size // 2
    across = ((columns >= 0) & (columns < size)).repeat_interleave(channels, 1)
    inside = ((rows >= 0) & (rows < size))[:, :, None] & across[:, None]
    return pixels.masked_fill(inside.view_as(pixels), FILL)


def rotate(pixels: Tensor, degrees: float, sign: Tensor) -> Tensor:
    """Pixels turned about the middle by `degrees`, one way or the other by `sign` (N,), -1 or 1."""
    height, width = pixels.shape[1:3]
    y, x = _grid(pixels, (height - 1) / 2, (width - 1) / 2)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees)) * sign[:, None, None]
    return _sampled(pixels, sin * x + cos * y + (height - 1) / 2, cos * x - sin * y + (width - 1) / 2)


def shear_x(pixels: Tensor, shear: float, sign: Tensor) -> Tensor:
    """Rows shifted, by `shear` pixels more from row to row."""
    y, x = _grid(pixels)
    return _sampled(pixels, y, x + shear * sign[:, None, None] * y)


def shear_y(pixels: Tensor, shear: float, sign: Tensor) -> Tensor:
    """Columns shifted, by `shear` pixels more from column to column."""
    y, x = _grid(pixels)
    return _sampled(pixels, y + shear * sign[:, None, None] * x, x)


def translate_x(pixels: Tensor, distance: float, sign: Tensor) -> Tensor:
    """Pixels shifted by `distance` of them to the left or right, to the nearest pixel."""
    y, x = _grid(pixels)
    return _sampled(pixels, y, x + distance * sign[:, None, None])


def translate_y(pixels: Tensor, distance: float, sign: Tensor) -> Tensor:
    """Pixels shifted by `distance` of them up or down, to the nearest pixel."""
    y, x = _grid(pixels)
    return _sampled(pixels, y + distance * sign[:, None, None], x)


def _grid(pixels: Tensor, middle_y: float = 0.0, middle_x: float = 0.0) -> tuple[Tensor, Tensor]:
    """Each pixel's place as seen from a middle: (1, height, 1) and (1, 1, width) float32."""
    height, width = pixels.shape[1:3]
    y = torch.arange(height, dtype=torch.float32, device=pixels.device) - middle_y
    x = torch.arange(width, dtype=torch.float32, device=pixels.device) - middle_x
    return y[None, :, None], x[None, None]


def _sampled(pixels: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """The pixels nearest to the places (y, x), which broadcast to (N, height, width); grey outside the picture."""
    number, height, width, channels = pixels.shape
    row, column = (y + 0.5).floor().long(), (x + 0.5).floor().long()
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    index = index.view(number, height * width, 1).expand(-1, -1, channels)
    taken = pixels.reshape(number, height * width, channels).gather(1, index).view_as(pixels)
    return taken.masked_fill(~inside[..., None], FILL)


def _enhancement(level: float) -> float:
    return level / 10 * 1.8 + 0.1


def _length(level: float, at_ten: float, side: int) -> float:
    """A length in pixels: `at_ten` of them at level 10 on a picture of the source's side."""
    return level / 10 * at_ten * side / _SIDE


def _sign(chance: Tensor) -> Tensor:
    """-1 or 1, each as likely."""
    return torch.where(chance[:, 0] < 0.5, -1.0, 1.0)


OPERATIONS: dict[str, Callable[[Tensor, float, Tensor], Tensor]] = {
    "AutoContrast": lambda pixels, level, chance: colour.autocontrast(pixels),
    "Equalize": lambda pixels, level, chance: colour.equalize(pixels),
    "Invert": lambda pixels, level, chance: colour.invert(pixels),
    "Rotate": lambda pixels, level, chance: rotate(pixels, level / 10 * 30, _sign(chance)),
    "Posterize": lambda pixels, level, chance: colour.posterize(pixels, min(8, max(1, int(level / 10 * 4)))),
    "Solarize": lambda pixels, level, chance: colour.solarize(pixels, int(level / 10 * 256)),
    "Color": lambda pixels, level, chance: colour.colour(pixels, _enhancement(level)),
    "Contrast": lambda pixels, level, chance: colour.contrast(pixels, _enhancement(level)),
    "Brightness": lambda pixels, level, chance: colour.brightness(pixels, _enhancement(level)),
    "Sharpness": lambda pixels, level, chance: colour.sharpness(pixels, _enhancement(level)),
    "ShearX": lambda pixels, level, chance: shear_x(pixels, level / 10 * 0.3, _sign(chance)),
    "ShearY": lambda pixels, level, chance: shear_y(pixels, level / 10 * 0.3, _sign(chance)),
    "TranslateX": lambda pixels, level, chance: translate_x(
        pixels, _length(level, 100, pixels.shape[2]), _sign(chance)
    ),
    "TranslateY": lambda pixels, level, chance: translate_y(
        pixels, _length(level, 100, pixels.shape[1]), _sign(chance)
    ),
    "Cutout": lambda pixels, level, chance: cut_out(
        pixels, 2 * int(_length(level, 40, min(pixels.shape[1:3]))), chance
    ),
    "SolarizeAdd": lambda pixels, level, chance: colour.solarize_add(pixels, int(level / 10 * 110)),
}
"""By the source's names, in its order: pixels, level and (N, 2) uniform numbers in [0, 1) to new pixels."""
