"""Cost of an architecture in closed form: params, macs and activations, without building a network.

Conventions are those of pycls (`pycls/models/blocks.py`): a convolution of a map of n positions costs
one multiply-add per weight and position, **and a bias addition counts as one** (torch's FLOP counter
leaves biases out); activations are the elements of the outputs of all convolutions, squeeze-and-excite
and classifier included (Dollar et al. 2021, arXiv 2103.06877, section 3); batch norm counts two
params a channel and nothing else. The papers print macs as "FLOPs".
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from search_spaces.architecture import Architecture, Stage, checked_count


class Cost(NamedTuple):
    """Cost of one forward pass of one picture.

    Attributes:
        params: trainable parameters (batch-norm statistics are not).
        macs: multiply-adds.
        activations: elements in the outputs of convolutions and classifier.
    """

    params: int
    macs: int
    activations: int

    def plus(self, other: Cost) -> Cost:
        """The sum, field by field."""
        return Cost(self[0] + other[0], self[1] + other[1], self[2] + other[2])


class PartCost(NamedTuple):
    """Cost of one part of a network: `stem`, `stage1`..., `head` or `classifier`.

    Attributes:
        name: which part.
        stage: its stage, None outside the stages.
        channels: width at its output.
        output_size: side of its output map, in pixels.
        cost: of all its layers.
    """

    name: str
    stage: Stage | None
    channels: int
    output_size: int
    cost: Cost


def cost(architecture: Architecture, image_size: int, *, num_classes: int = 1000, in_channels: int = 3) -> Cost:
    """Params, macs and activations of the network for one square picture of `image_size` pixels.

    Raises:
        ValueError: image_size, num_classes or in_channels is not a positive integer.
    """
    params = macs = activations = 0
    for _, _, _, part in _parts(architecture, image_size, num_classes, in_channels):
        params, macs, activations = params + part[0], macs + part[1], activations + part[2]
    return Cost(params, macs, activations)


def part_costs(
    architecture: Architecture, image_size: int, *, num_classes: int = 1000, in_channels: int = 3
) -> list[PartCost]:
    """The same, part by part, in order: stem, stages, head, classifier; Raises as `cost`."""
    names = ["stem", *(f"stage{number}" for number, _ in enumerate(architecture.stages, 1))]
    names += ["head", "classifier"] if architecture.head_channels else ["classifier"]
    parts = _parts(architecture, image_size, num_classes, in_channels)
    return [PartCost(name, *part) for name, part in zip(names, parts, strict=True)]


def _parts(
    architecture: Architecture, image_size: int, num_classes: int, in_channels: int
) -> Iterator[tuple[Stage | None, int, int, Cost]]:
    """Each part's stage, if it is one, its output's width and side, and its cost."""
    image_size = checked_count("image_size", image_size)
    num_classes = checked_count("num_classes", num_classes)
    in_channels = checked_count("in_channels", in_channels)
    size, width = _strided(image_size, 2), architecture.stem_channels
    yield None, width, size, _conv_bn(in_channels, width, 3, size)
    for stage in architecture.stages:
        total = _stage(stage, width, size)
        size, width = _strided(size, stage.stride), stage.channels
        yield stage, width, size, total
    if architecture.head_channels:
        width, before = architecture.head_channels, width
        yield None, width, size, _conv_bn(before, width, 1, size)
    yield None, num_classes, 1, Cost((width + 1) * num_classes, (width + 1) * num_classes, num_classes)


def inner_width(stage: Stage, in_channels: int) -> int:
    """Width inside a layer: MBConvs expand the width they are given, RegNets the one they give."""
    return stage.expand_ratio * (stage.channels if stage.op.startswith("regnet") else in_channels)


@lru_cache(maxsize=2**16)  # the networks of a search share their stages
def _stage(stage: Stage, width: int, size: int) -> Cost:
    """All layers of a stage whose input is a map of side `size` with `width` channels."""
    total = _layer(stage, width, size, stage.stride)
    if stage.layers > 1:
        one, times = _layer(stage, stage.channels, _strided(size, stage.stride), 1), stage.layers - 1
        total = total.plus(Cost(one.params * times, one.macs * times, one.activations * times))
    return total


def _layer(stage: Stage, width: int, size: int, stride: int) -> Cost:
    """One layer on a map of side `size` with `width` channels."""
    inner, out = inner_width(stage, width), _strided(size, stride)
    single = stage.op == "fused_mbconv" and stage.expand_ratio == 1  # one convolution, squeeze-and-excite before it
    if stage.op == "fused_mbconv":
        total = _conv_bn(width, stage.channels if single else inner, stage.kernel, out)
    else:
        expanded = stage.op != "mbconv" or stage.expand_ratio != 1
        total = _conv_bn(width, inner, 1, size) if expanded else Cost(0, 0, 0)
        total = total.plus(_conv_bn(stage.group_width, inner, stage.kernel, out))
    if stage.se_ratio:
        total = total.plus(_squeeze_excite(inner, squeeze_width(width, stage.se_ratio)))
    if not single:
        total = total.plus(_conv_bn(inner, stage.channels, 1, out))
    if stage.op == "regnet_y" and (stride != 1 or width != stage.channels):
        total = total.plus(_conv_bn(width, stage.channels, 1, out))  # the shortcut
    return total


def squeeze_width(block_input_channels: int, se_ratio: float) -> int:
    """Width of the squeeze: a share of the *block input*, truncated, at least 1 (google/automl's code)."""
    return max(1, int(block_input_channels * se_ratio))


def _conv_bn(in_channels_per_group: int, channels: int, kernel: int, output_size: int) -> Cost:
    weights, positions = kernel * kernel * in_channels_per_group * channels, output_size * output_size
    return Cost(weights + 2 * channels, weights * positions, channels * positions)


def _squeeze_excite(width: int, squeeze: int) -> Cost:
    """Two 1x1 convolutions with bias on the pooled 1x1 map."""
    weights = 2 * width * squeeze + squeeze + width
    return Cost(weights, weights, squeeze + width)


def _strided(size: int, stride: int) -> int:
    return -(-size // stride)
