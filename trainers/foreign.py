"""How timm and torchvision write an EfficientNet: the names of its parts, its padding and batch norm's epsilon.

Read in timm 1.0.31 `timm/models/efficientnet.py`, `_efficientnet_builder.py` and `_efficientnet_blocks.py`, and in
torchvision 0.29.2 `torchvision/models/efficientnet.py`. timm's `tf_` networks carry Google's weights and its padding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from search_spaces.architecture import Architecture, Stage
from search_spaces.published import PUBLISHED


class Convention(NamedTuple):
    """What weights expect besides the architecture.

    Attributes:
        padding: a name in `trainers.blocks.PADDINGS`.
        bn_eps: added to batch norm's variance.
        name: of the network in its library; None where it is not known.
        mean: of each channel, subtracted from pictures whose values are in 0 to 1; None where it is not known.
        std: of each channel, what the difference is divided by.
    """

    padding: str
    bn_eps: float
    name: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALVES = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

_TIMM_SE = {"squeeze_excite.reduce": "se.conv_reduce", "squeeze_excite.restore": "se.conv_expand"}
# (op, whether it expands) -> our parts of a block and timm's, whose blocks are InvertedResidual,
# DepthwiseSeparableConv, EdgeResidual and ConvBnAct
_TIMM_PARTS: dict[tuple[str, bool], dict[str, str]] = {
    ("mbconv", True): {
        "expand.conv": "conv_pw",
        "expand.norm": "bn1",
        "depthwise.conv": "conv_dw",
        "depthwise.norm": "bn2",
        "project.conv": "conv_pwl",
        "project.norm": "bn3",
    },
    ("mbconv", False): {
        "depthwise.conv": "conv_dw",
        "depthwise.norm": "bn1",
        "project.conv": "conv_pw",
        "project.norm": "bn2",
    },
    ("fused_mbconv", True): {
        "expand.conv": "conv_exp",
        "expand.norm": "bn1",
        "project.conv": "conv_pwl",
        "project.norm": "bn2",
    },
    ("fused_mbconv", False): {"conv.conv": "conv", "conv.norm": "bn1"},
}
# the same for torchvision, whose blocks are numbered lists
_TORCHVISION_PARTS: dict[tuple[str, bool], tuple[str, ...]] = {
    ("mbconv", True): ("expand", "depthwise", "squeeze_excite", "project"),
    ("mbconv", False): ("depthwise", "squeeze_excite", "project"),
    ("fused_mbconv", True): ("expand", "project"),
    ("fused_mbconv", False): ("conv",),
}


def timm_names(architecture: Architecture) -> dict[str, str]:
    """timm's name of every module with weights, by our name.

    Raises:
        ValueError: timm's EfficientNet has no such stage.
    """
    names = {"stem.conv": "conv_stem", "stem.norm": "bn1", "classifier": "classifier"}
    if architecture.head_channels:
        names |= {"head.conv": "conv_head", "head.norm": "bn2"}
    for number, stage in enumerate(architecture.stages):
        parts = {**_TIMM_PARTS[_design(stage, number)], **(_TIMM_SE if stage.se_ratio else {})}
        if stage.op == "fused_mbconv" and stage.expand_ratio == 1 and stage.se_ratio:
            raise ValueError(
                f"stage {number + 1}, {stage}, is not among timm's, whose Fused-MBConv of expansion 1 has no "
                f"squeeze-excite"
            )
        for layer in range(stage.layers):
            names |= {f"stages.{number}.{layer}.{a}": f"blocks.{number}.{layer}.{b}" for a, b in parts.items()}
    return names


def torchvision_names(architecture: Architecture) -> dict[str, str]:
    """torchvision's name of every module with weights, by our name.

    Raises:
        ValueError: torchvision's EfficientNet has no such stage.
    """
    names = {"classifier": "classifier.1"}
    last = len(architecture.stages) + 1
    for ours, number in (("stem", 0), ("head", last)):
        names |= {f"{ours}.conv": f"features.{number}.0", f"{ours}.norm": f"features.{number}.1"}
    for number, stage in enumerate(architecture.stages):
        for place, part in enumerate(_TORCHVISION_PARTS[_design(stage, number)]):
            inside = {"reduce": "fc1", "restore": "fc2"} if part == "squeeze_excite" else {"conv": "0", "norm": "1"}
            for layer in range(stage.layers):
                ours, theirs = f"stages.{number}.{layer}.{part}", f"features.{number + 1}.{layer}.block.{place}"
                names |= {f"{ours}.{a}": f"{theirs}.{b}" for a, b in inside.items()}
    return names


def timm_convention(path: Path, name: str | None, about: Mapping[str, str]) -> Convention:
    """What the weights of a file in timm's names expect.

    The tensors do not tell a `tf_` network from one without, so the name of the network is needed. In this order: the
    name given, what this software wrote into the file, timm's config.json beside it, the file's name, its folders'.

    Args:
        path: of the file.
        name: of the network, such as `tf_efficientnetv2_s.in21k`; None where it is to be found.
        about: the file's metadata.

    Raises:
        ValueError: nothing tells, or the config.json cannot be read.
    """
    if name is None and "timm" in about:
        written = json.loads(about["timm"])
        return Convention("same" if written["pad_type"] == "same" else "symmetric", float(written["bn_eps"]))
    config = {} if name else _config(path)
    places = (
        [name] if name else [str(config.get("architecture", "")), path.stem, *reversed(path.absolute().parent.parts)]
    )
    found = next((match for place in places if (match := _TIMM_NAME.search(place.lower()))), None)
    if found is None:
        raise ValueError(
            f"{path} has timm's names, and its tensors do not tell whether it is one of timm's tf_ networks, which pad "
            f"otherwise{f'; nor does the name {name!r}' if name else ''}: name the file after the network, such as "
            f"tf_efficientnetv2_s.safetensors, or keep timm's config.json beside it"
        )
    padding, bn_eps = ("same", 1e-3) if found[0].startswith("tf_") else ("symmetric", 1e-5)
    told = config.get("pretrained_cfg", config)
    if "mean" in told and "std" in told:
        return Convention(padding, bn_eps, found[0], tuple(told["mean"]), tuple(told["std"]))
    return Convention(padding, bn_eps, found[0], **(HALVES if _HALVES.search(found[0]) else IMAGENET))


def torchvision_convention(architecture: Architecture) -> Convention:
    """What torchvision's weights of a network expect: epsilon is 1e-3 in V2 and in V1's B5, B6 and B7, else 1e-5."""
    second = any(stage.op == "fused_mbconv" for stage in architecture.stages)
    larger = architecture in [PUBLISHED[f"efficientnet-b{n}"] for n in (5, 6, 7)]
    ported = architecture == PUBLISHED["efficientnetv2-l"]  # from Google's, with its scaling of pictures
    return Convention("symmetric", 1e-3 if second or larger else 1e-5, None, **(HALVES if ported else IMAGENET))


_TIMM_NAME = re.compile(r"(?<![a-z0-9])(tf_)?efficientnet(v2)?_(b[0-9]|l2|s|m|l|xl)(?![a-z0-9])[a-z0-9_.]*")
# timm's default_cfgs: Google's V2-S to XL, what was trained on ImageNet-21k, adversarially, or by timm's recipe ra4
_HALVES = re.compile(r"tf_efficientnetv2_(s|m|l|xl)(?![a-z0-9])|v2_.*in21|[._]ap(?![a-z0-9])|[._]ra4")


def _design(stage: Stage, number: int) -> tuple[str, bool]:
    design = (stage.op, stage.expand_ratio != 1)
    if design not in _TIMM_PARTS:
        raise ValueError(
            f"stage {number + 1}, {stage}, is none of an EfficientNet, whose stages are MBConv or Fused-MBConv: the "
            f"names of timm and torchvision are known for these alone"
        )
    return design


def _config(path: Path) -> dict[str, Any]:
    beside = path.parent / "config.json"
    if not beside.is_file():
        return {}
    try:
        config = json.loads(beside.read_text())
    except ValueError as error:
        raise ValueError(f"{beside}, beside the weights, must be timm's description of them: {error}") from error
    return config if isinstance(config, dict) and "architecture" in config else {}
