"""Fast compound scaling (Dollar, Singh and Girshick 2021, arXiv 2103.06877): width first, so activations grow slowly.

A stage of d layers, w channels and r pixels a side costs d·w²·r² macs. Scaled by s in macs it gets a share of the
growth as depth, a share as width and a share as resolution. With the shares (1 - α)/2, α and (1 - α)/2 of their
equation 8, params grow as s^((1+α)/2) and activations as s^((2-α)/2).
"""

from __future__ import annotations

from typing import NamedTuple

from nas.scaling.scaled import Scaled, check_factor
from search_spaces import Architecture, Stage
from search_spaces.regnet import resized


class Shares(NamedTuple):
    """How a growth in macs is shared out; sums to 1.

    Attributes:
        depth: more layers.
        width: wider layers, and wider groups where there are groups.
        resolution: larger pictures.
    """

    depth: float
    width: float
    resolution: float


def shares(alpha: float) -> Shares:
    """The shares of equation 8: α for width, the rest halved.

    Raises:
        ValueError: alpha is not from 0 to 1.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 (depth and resolution) to 1 (width); got {alpha}")
    return Shares((1 - alpha) / 2, alpha, (1 - alpha) / 2)


STRATEGIES: dict[str, Shares] = {
    "d": Shares(1, 0, 0),
    "w": shares(1),
    "r": Shares(0, 0, 1),
    "dw": Shares(0.5, 0.5, 0),
    "wr": Shares(0, 0.5, 0.5),
    "dr": shares(0),
    "dwr": shares(1 / 3),
    "dWr": shares(0.8),
}
"""The paper's strategies by their names; dwr is uniform compound scaling, dWr fast compound scaling."""


MOST_TIMES = 2.0**32
"""The largest growth in macs that is taken."""


class Factors(NamedTuple):
    """What to multiply a network's depth, width and resolution with."""

    depth: float
    width: float
    resolution: float


def factors(s: float, given: Shares) -> Factors:
    """s^e_d, s^(e_w / 2), s^(e_r / 2): together s times the macs (Table 2).

    Raises:
        ValueError: s is not positive, or beyond `MOST_TIMES`, or the shares are not at least 0 and 1 together.
    """
    check_factor("s", s, most=MOST_TIMES)
    if min(given) < 0 or abs(sum(given) - 1) > 1e-9:
        raise ValueError(f"shares must be at least 0 and sum to 1; got {tuple(given)}")
    return Factors(s**given.depth, s ** (given.width / 2), s ** (given.resolution / 2))


def fast(base: Architecture, image_size: int, s: float, *, given: Shares = STRATEGIES["dWr"]) -> Scaled:
    """The baseline with about `s` times the macs, rounded as pycls rounds (`pycls/models/scaler.py`).

    Args:
        base: the baseline.
        image_size: its pictures' side, in pixels.
        s: growth in macs; 1 leaves the baseline as it is.
        given: how the growth is shared out, such as one of `STRATEGIES`.

    Raises:
        ValueError: as `factors`.
    """
    depth, width, resolution = factors(s, given)
    rules = (f"depth x {depth:.3g}", f"width x {width:.3g}", f"image size x {resolution:.3g}")
    stages = tuple(_scaled_stage(stage, depth, width) for stage in base.stages)
    head = to_eight(base.head_channels, width) if base.head_channels else 0
    scaled = Architecture(to_eight(base.stem_channels, width), stages, head)
    size = to_four(image_size, resolution)
    return Scaled(f"{s:.10g}x", scaled, size, size, rules)


def to_eight(channels: int, factor: float) -> int:
    """A width times a factor, to a multiple of 8 (half to even, as pycls rounds); a factor of 1 changes nothing."""
    if factor == 1:
        return channels
    rounded = max(1, round(channels * factor / 8)) * 8
    return max(channels, rounded) if factor > 1 else rounded


def to_four(image_size: int, factor: float) -> int:
    """An image size times a factor, to a multiple of 4; a factor of 1 changes nothing."""
    if factor == 1:
        return image_size
    rounded = max(1, round(image_size * factor / 4)) * 4
    return max(image_size, rounded) if factor > 1 else rounded


def _scaled_stage(stage: Stage, depth: float, width: float) -> Stage:
    group = stage.group_width
    if group > 1 and width != 1:
        group = _group(group * width)
    return resized(stage, to_eight(stage.channels, width), max(1, round(stage.layers * depth)), group_width=group)


def _group(width: float) -> int:
    """Group widths up to 2 stay, 3 to 5 become 4, larger ones multiples of 8."""
    rounded = round(width)
    if rounded <= 2:
        return max(1, rounded)
    return 4 if rounded <= 5 else max(1, round(width / 8)) * 8
