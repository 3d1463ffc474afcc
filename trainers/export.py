"""A network for other software: timm's block strings and state dict, and ONNX checked with onnxruntime.

The strings are those that timm 1.0.31's `decode_arch_def` reads (`timm/models/_efficientnet_builder.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from search_spaces.architecture import Architecture, Stage
from search_spaces.complexity import squeeze_width
from trainers.blocks import NetworkSettings
from trainers.foreign import timm_names
from trainers.network import Network, build_network
from trainers.quiet import quieted
from trainers.weights import renamed, write_tensors

TOLERANCE = 1e-4
"""The most that a logit of onnxruntime may be off, over the largest logit where that is above 1."""


def fresh_network(
    architecture: Architecture, pictures: tuple[int, int], *, num_classes: int, settings: NetworkSettings, seed: int
) -> Network:
    """A network of fresh weights that other software can be compared with, in evaluation mode.

    Batch norm is given the statistics of random pictures. With fresh ones (mean 0, variance 1) values grow from block
    to block, until the logits of V2-S are off by 1e-3 of themselves in single precision, whoever computes them.

    Args:
        architecture: what to build.
        pictures: their channels and their side in pixels; other sides have other statistics.
        num_classes: width of the classifier.
        settings: its activation, padding, batch norm and regularisation.
        seed: of the weights and of the pictures.
    """
    (in_channels, image_size), generator = pictures, torch.Generator().manual_seed(seed)
    network = build_network(architecture, num_classes, in_channels, settings=settings, generator=generator)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # the batch's own statistics
    last_side = -(-image_size // architecture.total_stride)
    batch = max(4, 512 // last_side**2)  # some hundred values of a channel, on the smallest maps too
    with torch.no_grad():
        network.train()(torch.randn(batch, in_channels, image_size, image_size, generator=generator))
    for norm in norms:
        norm.momentum = settings.bn_momentum
    return network.eval()


def timm_blocks(architecture: Architecture) -> list[list[str]]:
    """The block strings of an architecture, a list a stage, such as `[["er_r4_k3_s2_e4_c48"]]`.

    A stage has two strings where timm would round the squeeze width of its first block otherwise than of the others.

    Raises:
        ValueError: timm's EfficientNet has no such stage, or rounds its width inside to the grid of 8.
    """
    timm_names(architecture)  # says which stage has no name there
    blocks, width = [], architecture.stem_channels
    for number, stage in enumerate(architecture.stages, 1):
        _check_stage(number, stage, width)
        ratios = [_timm_ratio(stage, channels) for channels in (width, stage.channels)]
        if stage.layers == 1 or ratios[0] == ratios[1]:
            blocks.append([_timm_block(stage, stage.layers, stage.stride, ratios[0])])
        else:
            first, rest = (1, stage.stride, ratios[0]), (stage.layers - 1, 1, ratios[1])
            blocks.append([_timm_block(stage, *first), _timm_block(stage, *rest)])
        width = stage.channels
    return blocks


def timm_definition(network: Network) -> dict[str, Any]:
    """What builds a network in timm: `arch_def` for `decode_arch_def`, and the arguments of its `EfficientNet`.

    Raises:
        ValueError: as `timm_blocks`.
    """
    architecture, settings = network.architecture, network.settings
    return {
        "arch_def": timm_blocks(architecture),
        "num_classes": network.classifier.out_features,
        "num_features": architecture.head_channels,
        "in_chans": network.stem.conv.in_channels,
        "stem_size": architecture.stem_channels,
        # past this stride timm would dilate instead
        "output_stride": max(32, architecture.total_stride),
        "pad_type": "same" if settings.padding == "same" else "",
        "act_layer": settings.activation,
        "bn_eps": settings.bn_eps,
        "bn_momentum": settings.bn_momentum,
    }


def export_timm(network: Network, path: Path, about: Mapping[str, str] | None = None) -> Path:
    """Write a network's weights in timm's names, and beside them a .json with its definition.

    Args:
        network: what to write.
        path: of the weights, a .safetensors file; `load_weights` takes it, too.
        about: further metadata of the file.

    Returns:
        The path of the definition (`timm_definition`).

    Raises:
        ValueError: timm cannot build the network, or the path ends otherwise.
        OSError: a file cannot be written.
    """
    if path.suffix != ".safetensors":
        raise ValueError(f"the weights for timm are written as .safetensors, and the definition beside it; got {path}")
    definition = json.dumps(timm_definition(network))
    names = timm_names(network.architecture)
    tensors = {renamed(key, names): tensor for key, tensor in network.state_dict().items()}
    write_tensors(tensors, path, {"format": "pt", **(about or {}), "timm": definition})
    beside = path.with_suffix(".json")
    beside.write_text(definition + "\n")
    return beside


def export_onnx(network: Network, path: Path, image_size: int, about: Mapping[str, str] | None = None) -> float:
    """Write a network as ONNX, for batches of any size, and compare its logits with onnxruntime's.

    Its input `images` is (batch, channels, image_size, image_size), floats that are normalised as in training; its
    output is `logits`, (batch, num_classes).

    Args:
        network: what to write.
        path: the file.
        image_size: side of the pictures, in pixels.
        about: metadata of the file.

    Returns:
        The largest difference of a logit, over the largest logit where that is above 1.

    Raises:
        ValueError: a library for it is missing, or the difference is over `TOLERANCE`; no file is left then.
        OSError: the file cannot be written.
    """
    _check_installed()
    plain = deepcopy(network).cpu().float().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    drawn = torch.Generator().manual_seed(0)
    shape = (network.stem.conv.in_channels, image_size, image_size)
    images = torch.randn(3, *shape, generator=drawn)
    with quieted("torch.onnx"), torch.no_grad():
        program = torch.onnx.export(
            plain,
            (images[:2],),  # of one picture alone the exporter would make a constant of the batch
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
        expected = plain(images)
    assert program is not None
    program.model.metadata_props.update({"architecture": str(network.architecture), **(about or {})})
    unfinished = path.with_name(path.name + ".partial")
    try:
        program.save(str(unfinished))
        difference = _largest_difference(unfinished, images, expected)
        if not difference <= TOLERANCE:
            raise ValueError(
                f"the exported network's logits must be within {TOLERANCE:g} of this one's; in onnxruntime they are "
                f"{difference:.2g} off: try another version of it, or another picture size"
            )
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return difference


def _largest_difference(path: Path, images: torch.Tensor, expected: torch.Tensor) -> float:
    onnxruntime = import_module("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    largest = max(1.0, float(expected.abs().max()))
    return float((torch.from_numpy(logits) - expected).abs().max()) / largest


def _check_installed() -> None:
    missing = []
    for library in ("onnx", "onnxscript", "onnxruntime"):
        try:
            import_module(library)
        except ImportError:
            missing.append(library)
    if missing:
        raise ValueError(
            f"exporting to ONNX needs {' and '.join(missing)}, which cannot be imported here: install them with "
            f"pip install 'training-aware-nas[export]'"
        )


def _timm_block(stage: Stage, layers: int, stride: int, se_ratio: float) -> str:
    expands = stage.expand_ratio != 1
    kind = ("ir" if expands else "ds") if stage.op == "mbconv" else ("er" if expands else "cn")
    text = f"{kind}_r{layers}_k{stage.kernel}_s{stride}_e{stage.expand_ratio}_c{stage.channels}"
    if kind == "cn":
        return f"{text}_skip"
    return f"{text}_se{se_ratio:.12g}" if se_ratio else text


def _timm_ratio(stage: Stage, in_channels: int) -> float:
    """The ratio at which timm, which rounds to the nearest where we cut off, squeezes to our width."""
    if not stage.se_ratio:
        return 0.0
    squeeze = squeeze_width(in_channels, stage.se_ratio)
    inner = in_channels * stage.expand_ratio
    same = round(inner * (stage.se_ratio / stage.expand_ratio)) == squeeze
    return stage.se_ratio if same else squeeze / in_channels


def _check_stage(number: int, stage: Stage, in_channels: int) -> None:
    if stage.stride > 2:
        raise ValueError(f"stage {number} strides by {stage.stride}, and timm's by 1 or 2 alone")
    if stage.expand_ratio == 1:
        return
    for width in (in_channels, stage.channels)[: 1 + (stage.layers > 1)]:
        if width * stage.expand_ratio % 8:
            raise ValueError(
                f"stage {number} has a width inside of {width} times {stage.expand_ratio}, which timm would round to a "
                f"multiple of 8: it cannot build this network"
            )
