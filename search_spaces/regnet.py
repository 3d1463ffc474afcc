"""RegNets as values: the twelve published RegNetY, and two RegNetZ.

RegNetY: Radosavovic et al. 2020 (arXiv 2003.13678, section 3.3 and Table 7), as pycls configures them.
RegNetZ: Dollar et al. 2021 (arXiv 2103.06877, section 5), whose paper does not print their parameters;
these are the ones timm carries for networks of that name.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from search_spaces.architecture import Architecture, Stage


class RegNetParameters(NamedTuple):
    """A RegNet in five numbers.

    Attributes:
        w0: width of the first block before rounding.
        wa: by how much the width grows a block.
        wm: factor between the widths of neighbouring stages.
        depth: blocks.
        group_width: channels of a group.
    """

    w0: int
    wa: float
    wm: float
    depth: int
    group_width: int


def stage_widths(parameters: RegNetParameters) -> list[tuple[int, int]]:
    """(width, layers) of each stage, before widths are fitted to groups (arXiv 2003.13678, equations 2 to 4)."""
    w0, wa, wm, depth, _ = parameters
    widths = []
    for block in range(depth):
        linear = w0 + wa * block  # equation 2
        stage = round(math.log(linear / w0) / math.log(wm))  # equation 3
        widths.append(8 * round(w0 * wm**stage / 8))  # equation 4, on a grid of 8
    return [(width, len(list(same))) for width, same in groupby(widths)]


def regnet(op: str, parameters: RegNetParameters, *, expand_ratio: int, head_channels: int) -> Architecture:
    """The RegNet of these parameters: stem 32, kernel 3, every stage strides, squeeze-excite 0.25.

    Args:
        op: `"regnet_y"` or `"regnet_z"`.
        expand_ratio: bottleneck multiplier; 1 in RegNetY, 4 in RegNetZ.
        head_channels: 0 for none.
    """
    stages = []
    for width, layers in stage_widths(parameters):
        channels, group = fit_groups(width, expand_ratio, parameters.group_width)
        stages.append(Stage(op, 3, 2, expand_ratio, channels, layers, 0.25, group))
    return Architecture(32, tuple(stages), head_channels)


def fit_groups(channels: int, expand_ratio: int, group_width: int) -> tuple[int, int]:
    """The width nearest to `channels` whose groups divide the width inside, and the groups' own (pycls)."""
    group = min(group_width, channels * expand_ratio)
    multiple = math.lcm(group, expand_ratio)
    inner = multiple * max(1, round(channels * expand_ratio / multiple))
    return inner // expand_ratio, group


def resized(stage: Stage, channels: int, layers: int, *, group_width: int | None = None) -> Stage:
    """The stage with another width and depth; a RegNet's width is moved so that its groups divide it.

    Args:
        channels: the width asked for.
        layers: how many.
        group_width: None is the stage's own.
    """
    group = stage.group_width if group_width is None else group_width
    if group > 1:
        asked = channels
        channels, group = fit_groups(asked, stage.expand_ratio, group)
        if asked >= stage.channels > channels:  # a stage that grows is never narrower for its groups' sake
            channels += math.lcm(group, stage.expand_ratio) // stage.expand_ratio
    return replace(stage, channels=channels, layers=layers, group_width=group)


_REGNETY = {
    "200mf": RegNetParameters(24, 36.44, 2.49, 13, 8),
    "400mf": RegNetParameters(48, 27.89, 2.09, 16, 8),
    "600mf": RegNetParameters(48, 32.54, 2.32, 15, 16),
    "800mf": RegNetParameters(56, 38.84, 2.4, 14, 16),
    "1.6gf": RegNetParameters(48, 20.71, 2.65, 27, 24),
    "3.2gf": RegNetParameters(80, 42.63, 2.66, 21, 24),
    "4.0gf": RegNetParameters(96, 31.41, 2.24, 22, 64),
    "6.4gf": RegNetParameters(112, 33.22, 2.27, 25, 72),
    "8.0gf": RegNetParameters(192, 76.82, 2.19, 17, 56),
    "12gf": RegNetParameters(168, 73.36, 2.37, 19, 112),
    "16gf": RegNetParameters(200, 106.23, 2.48, 18, 112),
    "32gf": RegNetParameters(232, 115.89, 2.53, 20, 232),
}
_REGNETZ = {
    "500mf": RegNetParameters(16, 10.7, 2.51, 21, 4),
    "4.0gf": RegNetParameters(48, 14.5, 2.226, 28, 8),
}

REGNETS: dict[str, Architecture] = {
    **{f"regnety-{n}": regnet("regnet_y", p, expand_ratio=1, head_channels=0) for n, p in _REGNETY.items()},
    "regnetz-500mf": regnet("regnet_z", _REGNETZ["500mf"], expand_ratio=4, head_channels=1024),
    "regnetz-4.0gf": regnet("regnet_z", _REGNETZ["4.0gf"], expand_ratio=4, head_channels=0),
}
"""The RegNets by name. At 256 px, RegNetZ-4GF has 27.1M params, 4.0G macs and 24.2M activations, where the paper
prints 28.1M, 4.0B and 24.3M for an image size that it does not print; RegNetZ-500MF has what is printed."""
