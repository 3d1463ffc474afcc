"""Which published network is most like a given one, and what the differences are.

The distance of two networks is a number of layers: so many would have to be made anew to turn one into the other. Their
stages are aligned in order, as texts are (Needleman and Wunsch 1970), so that it is the least; then

- a layer that only one of the two has counts 1;
- a layer that both have counts the share of its seven properties in which it differs: op, kernel, stride, expansion,
  squeeze-excite and group width wholly or not at all, the width by |log2| of the ratio of the two widths, at most 1;
- stem and head are layers whose one property is their width; a head that only one of them has counts 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from search_spaces.architecture import Architecture, Stage
from search_spaces.published import PUBLISHED

_PROPERTIES = ("op", "kernel", "expand_ratio", "se_ratio", "group_width")  # the same in all layers of a stage

Pair = tuple[Stage | None, Stage | None]
"""A stage of one network and the one of the other that it is aligned with; None where it is alone."""


class Nearest(NamedTuple):
    """The published network nearest to another.

    Attributes:
        name: of the published one.
        differences: of the other from it, a line each; none where it is the same network.
    """

    name: str
    differences: list[str]


def nearest_published(architecture: Architecture) -> Nearest:
    """The published network at the least `distance`, and in what the given one differs from it."""
    name = min(PUBLISHED, key=lambda known: distance(architecture, PUBLISHED[known]))
    return Nearest(name, differences(architecture, PUBLISHED[name]))


def distance(ours: Architecture, theirs: Architecture) -> float:
    """How many layers would have to be made anew; 0 for the same network, and the same both ways."""
    outer = _width_share(ours.stem_channels, theirs.stem_channels) + _width_share(
        ours.head_channels, theirs.head_channels
    )
    return outer + sum(_cost(*pair) for pair in _aligned(ours.stages, theirs.stages))


def differences(ours: Architecture, theirs: Architecture) -> list[str]:
    """In what one network differs from another, a line for the stem, each stage and the head; `theirs` in brackets."""
    lines = _width_line("stem", ours.stem_channels, theirs.stem_channels)
    number = 0
    for mine, other in _aligned(ours.stages, theirs.stages):
        number += mine is not None
        if mine is None:
            lines.append(f"after stage {number}: no {other}")
        elif other is None:
            lines.append(f"stage {number}: {mine} is not there")
        else:
            names = (*_PROPERTIES[:2], "stride", *_PROPERTIES[2:], "channels", "layers")
            values = [(name, getattr(mine, name), getattr(other, name)) for name in names]
            if found := [f"{name} {_short(a)} ({_short(b)})" for name, a, b in values if a != b]:
                lines.append(f"stage {number}: {', '.join(found)}")
    return lines + _width_line("head", ours.head_channels, theirs.head_channels)


def _width_line(part: str, ours: int, theirs: int) -> list[str]:
    return [] if ours == theirs else [f"{part}: channels {ours} ({theirs})"]


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _width_share(ours: int, theirs: int) -> float:
    """From 0 for equal widths to 1 where one is at least twice the other, or only one is there."""
    if ours == theirs:
        return 0.0
    return 1.0 if not (ours and theirs) else min(1.0, abs(math.log2(ours / theirs)))


@lru_cache(maxsize=2**14)
def _cost(ours: Stage | None, theirs: Stage | None) -> float:
    """Of making a stage into another, or of one that is alone."""
    if ours is None or theirs is None:
        return float(sum(stage.layers for stage in (ours, theirs) if stage is not None))
    other = sum(bool(getattr(ours, name) != getattr(theirs, name)) for name in _PROPERTIES)
    share = (other + _width_share(ours.channels, theirs.channels)) / 7
    stride = (ours.stride != theirs.stride) / 7  # of the first layer alone
    return abs(ours.layers - theirs.layers) + min(ours.layers, theirs.layers) * share + stride


def _aligned(ours: Sequence[Stage], theirs: Sequence[Stage]) -> list[Pair]:
    """The stages in order, side by side, at the least cost."""
    best: dict[tuple[int, int], tuple[float, tuple[int, int]]] = {(0, 0): (0.0, (0, 0))}
    for i in range(len(ours) + 1):
        for j in range(len(theirs) + 1):
            ways = []
            if i and j:
                ways.append((best[i - 1, j - 1][0] + _cost(ours[i - 1], theirs[j - 1]), (i - 1, j - 1)))
            if i:
                ways.append((best[i - 1, j][0] + _cost(ours[i - 1], None), (i - 1, j)))
            if j:
                ways.append((best[i, j - 1][0] + _cost(None, theirs[j - 1]), (i, j - 1)))
            if ways:
                best[i, j] = min(ways, key=lambda way: way[0])
    pairs: list[Pair] = []
    at = (len(ours), len(theirs))
    while at != (0, 0):
        before = best[at][1]
        pairs.append((ours[before[0]] if before[0] < at[0] else None, theirs[before[1]] if before[1] < at[1] else None))
        at = before
    return pairs[::-1]
