"""Networks like the published ones, small enough for the machine and the pictures at hand."""

from __future__ import annotations

from dataclasses import replace

from nas.studies.study import Size
from search_spaces import PUBLISHED, Architecture
from search_spaces.efficientnet import scale_uniformly

LEAST_SIDE = 4
"""Of the last stage's feature map, in pixels."""

_DEPTH = {0.25: 0.5, 0.5: 0.75}
"""By width, the share of the layers; all of them where it is not told."""


def like(name: str, width: float, image_size: int) -> Architecture:
    """A published network at a share of its width, with as much stride as the pictures bear.

    Args:
        name: of `PUBLISHED`.
        width: share of its channels; at a quarter of them it has half of its layers, at a half three quarters.
        image_size: side of the pictures, in pixels; the last stages lose their stride until the last feature map has a
            side of at least `LEAST_SIDE` pixels.
    """
    network = PUBLISHED[name]
    if width != 1:
        network = scale_uniformly(network, width, _DEPTH.get(width, 1.0), guard=False)
    for number in reversed(range(len(network.stages))):
        if image_size // network.total_stride >= LEAST_SIDE:
            break
        stages = list(network.stages)
        stages[number] = replace(stages[number], stride=1)
        network = replace(network, stages=tuple(stages))
    return network


def in_width(size: Size) -> str:
    """In words, the share of a published network's width that is timed; nothing where that is the whole."""
    return "" if size["timed_width"] == 1 else f" at {size['timed_width']:g} of its width"
