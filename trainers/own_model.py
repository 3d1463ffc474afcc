"""Networks of users: made by a function of theirs, and tried at the sizes of a training before it begins."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn


def own_function(name: str) -> Callable[..., Any]:
    """The function of a user that makes a network.

    Args:
        name: `module:function`, or `path/to/file.py:function`.

    Raises:
        ValueError: there is no such function, or it cannot be imported (says why).
    """
    place, colon, function_name = name.rpartition(":")
    if not colon or not place:
        raise ValueError(f"a model must be module:function or path/to/file.py:function; got {name!r}")
    module = _file(name, place) if place.endswith(".py") else _module(name, place)
    function = getattr(module, function_name, None)
    if not callable(function):
        there = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        raise ValueError(
            f"the model {name} must be a function of {module.__file__}; its functions are {', '.join(there) or 'none'}"
        )
    return cast(Callable[..., Any], function)


def own_model(name: str, num_classes: int) -> nn.Module:
    """The network that a user's function makes.

    Args:
        name: as `own_function`; it is called with `num_classes`.

    Raises:
        ValueError: there is no such function, it makes no network, or it raises something (says what).
    """
    function = own_function(name)
    try:
        network = function(num_classes=num_classes)
    except Exception as error:
        raise ValueError(
            f"the model {name} must be a function that can be called with num_classes={num_classes} alone; it raised "
            f"{_said(error)}"
        ) from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"the model {name} must make a torch.nn.Module; got {type(network).__name__}")
    return network


def _file(name: str, place: str) -> ModuleType:
    """The module of a file, loaded anew."""
    module_name = f"nas_model_{Path(place).stem}"
    spec = importlib.util.spec_from_file_location(module_name, place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up there while it is loaded
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise ValueError(f"the model {name}: {place} cannot be imported: {_said(error)}") from error
    return module


def _module(name: str, place: str) -> ModuleType:
    """A module on Python's path or in the working directory, where the console's commands do not look."""
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        sys.path.append(here)
    try:
        return importlib.import_module(place)
    except Exception as error:
        raise ValueError(
            f"the model {name}: {place}, on Python's path or in {here}, cannot be imported: {_said(error)}"
        ) from error


def _said(error: Exception) -> str:
    """An exception in a line; of an error of syntax, Python's own words have the file and the line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


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
                    f"{small[0]} px: take a larger size (--smallest or --image-size; of a study, a larger --budget)"
                )
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()


def _try(network: nn.Module, name: str, images: Tensor, num_classes: int) -> None:
    size, channels = images.shape[2], images.shape[1]
    try:
        logits = network(images)
    except Exception as error:
        other = next((n for n in (1, 3) if n != channels and _takes(network, torch.zeros(1, n, size, size))), None)
        if other is not None:
            raise ValueError(
                f"the model {name} must take pictures of {channels} channels, which these have; it takes {other}: have "
                f"its first layer take {channels}"
            ) from error
        raise ValueError(
            f"the model {name} must take pictures of shape {tuple(images.shape)}, of which this training has some; it "
            f"does not ({_said(error)}): take other sizes, or another model"
        ) from error
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (1, num_classes):
        given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"the model {name} must give a logit for each of the {num_classes} classes, (1, {num_classes}) for a "
            f"picture of {size} px; got {given}"
        )


def _takes(network: nn.Module, images: Tensor) -> bool:
    try:
        network(images)
    except Exception:  # noqa: BLE001 - whatever torch and users raise
        return False
    return True
