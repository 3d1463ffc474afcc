"""Networks of users: made by a function of theirs, and tried at the sizes of a training before it begins."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def own_model(name: str, num_classes: int) -> nn.Module:
    """The network that a user's function makes.

    Args:
        name: `module:function`, or `path/to/file.py:function`; it is called with `num_classes`.

    Raises:
        ValueError: there is no such function, or it makes no network.
    """
    place, colon, function_name = name.rpartition(":")
    if not colon or not place:
        raise ValueError(f"a model must be module:function or path/to/file.py:function; got {name!r}")
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location("nas_model", place)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
        function = getattr(module, function_name)
    except (ImportError, OSError, AttributeError) as error:
        raise ValueError(f"the model {name} must be a function that can be imported: {error}") from error
    network = function(num_classes=num_classes)
    if not isinstance(network, nn.Module):
        raise ValueError(f"the model {name} must make a torch.nn.Module; got {type(network).__name__}")
    return network


@torch.no_grad()
def check_model(network: nn.Module, name: str, *, sizes: Sequence[int], in_channels: int, num_classes: int) -> None:
    """That a network takes pictures of all sizes, gives a logit a class, and strides over no map smaller than that.

    Its total stride is nowhere told. Below it, some layer of stride s is given a map of a side below s.

    Args:
        network: on the CPU; left as it was.
        name: what to call it.
        sizes: sides of the pictures, in pixels.
        in_channels: of the pictures.
        num_classes: of the logits.

    Raises:
        ValueError: it does not (names the size).
    """
    small: list[str] = []

    def look(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor) and inputs[0].ndim == 4:
            strides = layer.stride if isinstance(layer.stride, tuple) else (layer.stride,) * 2
            if any(side < stride for side, stride in zip(inputs[0].shape[2:], strides, strict=True)):
                small.append(f"{names[layer]} has a stride of {max(strides)} and a map of {max(inputs[0].shape[2:])}")

    kinds = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d
    names: dict[nn.Module, str] = {
        layer: f"its layer {where}" for where, layer in network.named_modules() if isinstance(layer, kinds)
    }
    hooks = [layer.register_forward_pre_hook(look) for layer in names]
    training = network.training
    try:
        network.eval()
        for size in sizes:
            _try(network, name, torch.zeros(1, in_channels, size, size), num_classes)
            if small:
                raise ValueError(
                    f"pictures must have at least the total stride of the model {name} as their side; at {size} px "
                    f"{small[0]} px: take a larger size, the smallest or --image-size"
                )
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()


def _try(network: nn.Module, name: str, images: Tensor, num_classes: int) -> None:
    size = images.shape[2]
    try:
        logits = network(images)
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:  # whatever torch and users raise
        raise ValueError(
            f"the model {name} must take pictures of shape {tuple(images.shape)}, of which this training has some; it "
            f"does not ({str(error).splitlines()[0] if str(error) else type(error).__name__}): take other sizes, or "
            "another model"
        ) from error
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (1, num_classes):
        given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"the model {name} must give a logit for each of the {num_classes} classes, (1, {num_classes}) for a "
            f"picture of {size} px; got {given}"
        )
