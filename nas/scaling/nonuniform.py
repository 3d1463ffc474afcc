"""EfficientNetV2's non-uniform scaling: a few rules that give S, M and L from the base network, entry by entry.

The paper (arXiv 2104.00298, section 3.3) says: compound scaling, the inference size capped at 480, and more
layers gradually added to later stages. The released tables (google/automl `effnetv2_configs.py`) follow from:

1. widths under 32 go to multiples of 8, others of 16, half up, without a 90 % guard;
2. from M on, the late stage (the last of stride 1) has one layer more before scaling, and a stage of stride 1
   (MBConv, expansion 6, kernel 3, squeeze-excite) of two layers and 5/3 of the last width is appended;
3. S is 1.36 times as wide (1.4 would give the 272 of the first version of the paper);
4. the stem has the width of stage 1;
5. the head keeps its width.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from nas.scaling.scaled import Scaled
from search_spaces import Architecture, Stage
from search_spaces.efficientnet import round_layers
from search_spaces.regnet import resized


class Member(NamedTuple):
    """How a member of the family grows from the base.

    Attributes:
        width: factor of the widths.
        depth: factor of the layers.
        late: whether late stages get more (rule 2).
        image_size: to evaluate on, for a baseline of 224 px, before the cap.
        train_image_size: to train on, likewise.
    """

    width: float
    depth: float
    late: bool
    image_size: int
    train_image_size: int


MEMBERS = {
    "s": Member(1.36, 1.8, False, 384, 300),
    "m": Member(1.6, 2.2, True, 480, 384),
    "l": Member(2.0, 3.1, True, 600, 480),
}
"""The family. Depths and M's and L's widths are those of EfficientNet B4, B5 and B7, L's 600 px too."""

INFERENCE_CAP = 480
"""The largest pictures to evaluate on: beyond, memory and time grow faster than accuracy (section 3.3)."""


def nonuniform(base: Architecture, name: str, *, image_size: int = 224, cap: int = INFERENCE_CAP) -> Scaled:
    """A member of the family that grows from a baseline.

    Args:
        base: a network of the size of V2-B0 (a found one is first brought down, see `brought_down`).
        name: `s`, `m` or `l`.
        image_size: what the baseline is evaluated on, in pixels.
        cap: the largest picture size to evaluate on.

    Raises:
        ValueError: there is no such member (lists them).
    """
    if name not in MEMBERS:
        raise ValueError(f"a target of the non-uniform rule must be one of {', '.join(MEMBERS)}; got {name!r}")
    member = MEMBERS[name]
    rules = [f"width x {member.width:g} on a grid of 8 below 32 and of 16 above", f"depth x {member.depth:g}, up"]
    stages = list(base.stages)
    if member.late:
        stages = _with_late_layers(stages, rules)
    grown = tuple(resized(s, on_grid(s.channels * member.width), round_layers(s.layers * member.depth)) for s in stages)
    rules += ["the stem is as wide as stage 1", "the head keeps its width"]
    wanted = member.image_size * image_size / 224
    size = min(cap, round(wanted))
    train = round(min(member.train_image_size * image_size / 224, member.train_image_size / member.image_size * size))
    if wanted > cap:
        rules.append(f"pictures of {wanted:.0f} px capped at {cap}")
    architecture = Architecture(grown[0].channels, grown, base.head_channels)
    return Scaled(name, architecture, size, train, tuple(rules))


def brought_down(found: Architecture, *, width: float = 1.36, depth: float = 1.8) -> Architecture:
    """A network of V2-S's size as the baseline that its family grows from: widths ÷ 1.36, layers ÷ 1.8, rounded.

    V2-S itself gives V2-B0's stages.
    """
    stages = tuple(
        resized(s, on_grid(s.channels / width), max(1, math.floor(s.layers / depth + 0.5))) for s in found.stages
    )
    return Architecture(on_grid(found.stem_channels / width), stages, found.head_channels)


def on_grid(channels: float) -> int:
    """A width on rule 1's grid: multiples of 8 below 32, of 16 from there on; half rounds up; at least 8."""
    grid = 8 if channels < 32 else 16
    return max(8, math.floor(channels / grid + 0.5) * grid)


def _with_late_layers(stages: list[Stage], rules: list[str]) -> list[Stage]:
    """Rule 2; says in `rules` what it did."""
    late = max((i for i, stage in enumerate(stages) if stage.stride == 1), default=None)
    if late is not None:
        stages[late] = replace(stages[late], layers=stages[late].layers + 1)
        rules.append(f"one layer more in stage {late + 1}, the last of stride 1, before scaling")
    if stages[-1].stride == 1:
        rules.append("no stage appended: the last has stride 1 already")
        return stages
    width = round(stages[-1].channels * 5 / 3)
    rules.append(f"a stage of stride 1 appended: two layers of width {width} before scaling")
    return [*stages, Stage("mbconv", 3, 1, 6, width, 2, 0.25)]
