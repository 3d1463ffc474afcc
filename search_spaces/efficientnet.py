"""The published EfficientNets and MnasNets as values, and the search spaces on their backbones.

Sources: google/automl `efficientnetv2/` (V2: stage tables, rounding without a 90 % guard) and
tensorflow/tpu `models/official/efficientnet` (V1: coefficients, rounding with the guard); arXiv
2104.00298 and 1905.11946. V2-S, M, L and XL are stored as the code stores them, stage by stage.
MnasNet-A1 and B1: arXiv 1807.11626, Figure 7 and Table 1, as tensorflow/tpu `models/official/mnasnet` has them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from search_spaces.architecture import Architecture, Stage
from search_spaces.regnet import resized
from search_spaces.space import Choice, SearchSpace, vary


class ImageSizes(NamedTuple):
    """Side of the square pictures a published network is trained and evaluated on, in pixels."""

    train: int
    eval: int


def round_channels(channels: float, *, grid: int = 8, guard: bool) -> int:
    """A width on the grid: half rounds up, at least one grid step.

    Args:
        channels: the width asked for.
        guard: go up a step where rounding would lose more than 10 % (V1's code; V2's has no such guard,
            which changes stage 1 of B3 in either family).
    """
    rounded = max(grid, math.floor((channels + grid / 2) / grid) * grid)
    return rounded + grid if guard and rounded < 0.9 * channels else rounded


def round_layers(layers: float) -> int:
    """Up to the next integer, but for what float multiplication adds (5 * 2.2 is 11)."""
    return math.ceil(layers - 1e-9)


def scale_uniformly(base: Architecture, width: float, depth: float, *, guard: bool) -> Architecture:
    """`base` with all widths and layer counts multiplied, as the families do it; factors of 1 change nothing."""

    def widened(channels: int) -> int:
        if width == 1 or channels == 0:
            return channels
        rounded = round_channels(channels * width, guard=guard)
        return max(channels, rounded) if width > 1 else rounded

    stages = (resized(s, widened(s.channels), round_layers(s.layers * depth)) for s in base.stages)
    return Architecture(widened(base.stem_channels), tuple(stages), widened(base.head_channels))


_V1_B0 = Architecture(
    32,
    (
        Stage("mbconv", 3, 1, 1, 16, 1, 0.25),
        Stage("mbconv", 3, 2, 6, 24, 2, 0.25),
        Stage("mbconv", 5, 2, 6, 40, 2, 0.25),
        Stage("mbconv", 3, 2, 6, 80, 3, 0.25),
        Stage("mbconv", 5, 1, 6, 112, 3, 0.25),
        Stage("mbconv", 5, 2, 6, 192, 4, 0.25),
        Stage("mbconv", 3, 1, 6, 320, 1, 0.25),
    ),
    1280,
)


def _v2(stem: int, channels: tuple[int, ...], layers: tuple[int, ...]) -> Architecture:
    """V2's design (Table 4): fused stages 1 to 3, then MBConv with squeeze-excite; kernel 3 throughout."""
    design = (
        ("fused_mbconv", 1, 1, 0.0),
        ("fused_mbconv", 2, 4, 0.0),
        ("fused_mbconv", 2, 4, 0.0),
        ("mbconv", 2, 4, 0.25),
        ("mbconv", 1, 6, 0.25),
        ("mbconv", 2, 6, 0.25),
        ("mbconv", 1, 6, 0.25),
    )
    stages = (
        Stage(op, 3, stride, expand_ratio, c, n, se_ratio)
        for (op, stride, expand_ratio, se_ratio), c, n in zip(design, channels, layers, strict=False)
    )
    return Architecture(stem, tuple(stages), 1280)


_V2_BASE = _v2(32, (16, 32, 48, 96, 112, 192), (1, 2, 2, 3, 5, 8))

# (width, depth, image size) of tensorflow/tpu efficientnet_builder.py; trained and evaluated at that size
V1_COEFFICIENTS = {
    "b0": (1.0, 1.0, 224),
    "b1": (1.0, 1.1, 240),
    "b2": (1.1, 1.2, 260),
    "b3": (1.2, 1.4, 300),
    "b4": (1.4, 1.8, 380),
    "b5": (1.6, 2.2, 456),
    "b6": (1.8, 2.6, 528),
    "b7": (2.0, 3.1, 600),
}
# (width, depth, train size, eval size) of google/automl efficientnetv2/effnetv2_configs.py
_V2_COEFFICIENTS = {
    "b0": (1.0, 1.0, 192, 224),
    "b1": (1.0, 1.1, 192, 240),
    "b2": (1.1, 1.2, 208, 260),
    "b3": (1.2, 1.4, 240, 300),
}

EFFICIENTNETS: dict[str, Architecture] = {
    **{f"efficientnet-{n}": scale_uniformly(_V1_B0, w, d, guard=True) for n, (w, d, _) in V1_COEFFICIENTS.items()},
    **{
        f"efficientnetv2-{n}": scale_uniformly(_V2_BASE, w, d, guard=False)
        for n, (w, d, _, _) in _V2_COEFFICIENTS.items()
    },
    "efficientnetv2-s": _v2(24, (24, 48, 64, 128, 160, 256), (2, 4, 4, 6, 9, 15)),
    "efficientnetv2-m": _v2(24, (24, 48, 80, 160, 176, 304, 512), (3, 5, 5, 7, 14, 18, 5)),
    "efficientnetv2-l": _v2(32, (32, 64, 96, 192, 224, 384, 640), (4, 7, 7, 10, 19, 25, 7)),
    "efficientnetv2-xl": _v2(32, (32, 64, 96, 192, 256, 512, 640), (4, 8, 8, 16, 24, 32, 8)),
}
"""The released EfficientNets by name."""

EFFICIENTNET_SIZES: dict[str, ImageSizes] = {
    **{f"efficientnet-{n}": ImageSizes(px, px) for n, (_, _, px) in V1_COEFFICIENTS.items()},
    **{f"efficientnetv2-{n}": ImageSizes(train, eval_) for n, (_, _, train, eval_) in _V2_COEFFICIENTS.items()},
    "efficientnetv2-s": ImageSizes(300, 384),
    "efficientnetv2-m": ImageSizes(384, 480),
    "efficientnetv2-l": ImageSizes(384, 480),
    "efficientnetv2-xl": ImageSizes(384, 512),
}
"""Their picture sizes (the code's; the paper's Table 6 has 380 for M and L)."""

MNASNETS: dict[str, Architecture] = {
    "mnasnet-a1": Architecture(
        32,
        (
            Stage("mbconv", 3, 1, 1, 16, 1),
            Stage("mbconv", 3, 2, 6, 24, 2),
            Stage("mbconv", 5, 2, 3, 40, 3, 0.25),
            Stage("mbconv", 3, 2, 6, 80, 4),
            Stage("mbconv", 3, 1, 6, 112, 2, 0.25),
            Stage("mbconv", 5, 2, 6, 160, 3, 0.25),
            Stage("mbconv", 3, 1, 6, 320, 1),
        ),
        1280,
    ),
    "mnasnet-b1": Architecture(
        32,
        (
            Stage("mbconv", 3, 1, 1, 16, 1),
            Stage("mbconv", 3, 2, 3, 24, 3),
            Stage("mbconv", 5, 2, 3, 40, 3),
            Stage("mbconv", 5, 2, 6, 80, 3),
            Stage("mbconv", 3, 1, 6, 96, 2),
            Stage("mbconv", 5, 2, 6, 192, 4),
            Stage("mbconv", 3, 1, 6, 320, 1),
        ),
        1280,
    ),
}
"""The published MnasNets by name, for pictures of 224 px."""


def training_aware_space(name: str, backbone: Architecture, layers: tuple[tuple[int, ...], ...]) -> SearchSpace:
    """EfficientNetV2's search space on a backbone's widths and strides.

    Published (arXiv 2104.00298, section 3.2): per stage the op {MBConv, Fused-MBConv}, the number of
    layers, kernel {3, 5} and expansion {1, 4, 6}; the widths are the backbone's. **Not published**: which
    numbers of layers a stage may have, whether squeeze-excite is searched, whether a stage may vanish, and
    what S is normalised by. Here the layers are the argument; squeeze-excite goes with the op as in the
    networks that were found (0.25 with MBConv, none with Fused-MBConv); and S is relative to the backbone.

    Args:
        layers: for each stage, the numbers of layers it may have; 0 leaves the stage out.
    """
    ops = ({"op": "mbconv", "se_ratio": 0.25}, {"op": "fused_mbconv", "se_ratio": 0.0})
    choices: list[Choice] = []
    for number, counts in enumerate(layers, 1):
        choices += vary(number, op=ops, kernel=(3, 5), expand_ratio=(1, 4, 6), layers=counts)
    return SearchSpace(name, backbone, tuple(choices))


# V2-S with the last stride-1 stage that the search may drop, at B4's depth and the base's 320 times 1.4.
_V2_S_BACKBONE = _v2(24, (24, 48, 64, 128, 160, 256, 448), (2, 4, 4, 6, 9, 15, 2))

# A quarter of V2-B0's widths on the grid of 8 from stage 4 on, one stride less: a 32 px picture ends as 2x2.
_SMALL_BACKBONE = Architecture(
    8,
    (
        Stage("fused_mbconv", 3, 1, 1, 8, 1),
        Stage("fused_mbconv", 3, 2, 4, 16, 2),
        Stage("fused_mbconv", 3, 2, 4, 24, 2),
        Stage("mbconv", 3, 1, 4, 32, 2, 0.25),
        Stage("mbconv", 3, 1, 4, 40, 2, 0.25),
        Stage("mbconv", 3, 2, 4, 64, 2, 0.25),
        Stage("mbconv", 3, 1, 4, 96, 1, 0.25),
    ),
    256,
)

SPACES: dict[str, SearchSpace] = {
    "small": training_aware_space(
        "small",
        _SMALL_BACKBONE,
        ((1, 2), (1, 2, 3), (1, 2, 3), (1, 2, 3), (1, 2, 3), (1, 2, 3), (0, 1, 2)),
    ),
    "efficientnetv2-s": training_aware_space(
        "efficientnetv2-s",
        _V2_S_BACKBONE,
        (
            (1, 2, 3),
            (2, 3, 4, 5, 6),
            (2, 3, 4, 5, 6),
            (4, 5, 6, 7, 8),
            (5, 6, 7, 8, 9, 10, 11),
            (8, 9, 10, 11, 12, 13, 14, 15, 16, 17),
            (0, 1, 2, 3),
        ),
    ),
    "efficientnet-b4": training_aware_space(
        "efficientnet-b4",
        EFFICIENTNETS["efficientnet-b4"],
        (
            (1, 2, 3),
            (2, 3, 4, 5, 6),
            (2, 3, 4, 5, 6),
            (4, 5, 6, 7, 8),
            (4, 5, 6, 7, 8, 9, 10),
            (6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16),
            (0, 1, 2, 3),
        ),
    ),
}
"""The search spaces by name: one for a CPU, and the paper's on V2-S's and on EfficientNet-B4's widths."""
