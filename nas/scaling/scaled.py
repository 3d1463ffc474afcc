"""`Scaled`: what every scaling rule gives, an architecture with the picture sizes it goes with."""

from __future__ import annotations

import math
from dataclasses import dataclass

from search_spaces import Architecture


@dataclass(frozen=True, slots=True)
class Scaled:
    """A member of a family.

    Args:
        name: such as `s`, or `phi 2`.
        architecture: the network.
        image_size: side of the pictures it is evaluated on, in pixels.
        train_image_size: side of the (largest) pictures it is trained on.
        rules: what was done to the baseline, a line each.
    """

    name: str
    architecture: Architecture
    image_size: int
    train_image_size: int
    rules: tuple[str, ...] = ()


def check_factor(name: str, value: float, *, least: float = 0.0, most: float = math.inf) -> None:
    """Raise ValueError where a factor is not a finite number over 0, from `least` to `most`."""
    if not (least <= value <= most) or not 0 < value < math.inf:
        lower = f"of at least {least:g}" if least else "over 0"
        upper = "" if most == math.inf else f" and at most {most:g}"
        raise ValueError(f"{name} must be a finite number {lower}{upper}; got {value}")


def brief(architecture: Architecture) -> str:
    """Channels x layers of each stage, for people."""
    return " ".join(f"{stage.channels}x{stage.layers}" for stage in architecture.stages)
