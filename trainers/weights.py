"""Weights in files: ours, and timm's and torchvision's EfficientNet V1 and V2, whose names and settings are mapped.

Files are safetensors, or pickles of tensors that torch reads with `weights_only=True`: nothing in a file is executed.
"""

from __future__ import annotations

import errno
import json
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from trainers.blocks import NetworkSettings
from trainers.durable import sync
from trainers.foreign import Convention, timm_convention, timm_names, torchvision_convention, torchvision_names
from trainers.network import Network, build_network

PICKLED = (".pth", ".pt", ".bin", ".tar", ".ckpt")
"""Ends of the names of files that torch wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedWeights:
    """What was loaded into a network.

    Args:
        kind: `own`, `timm` or `torchvision`: whose names the file has.
        tensors: how many were loaded.
        reset: those that were not, since the file's classifier has other classes, or it has none.
        name: of the network in the library it comes from, where that is known.
        mean: of each channel of the pictures it was trained on, whose values are in 0 to 1; None where not known.
        std: of each channel, what pictures were divided by after the mean was subtracted.
    """

    kind: str
    tensors: int
    reset: tuple[str, ...]
    name: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def load_weights(
    network: nn.Module, path: Path, *, name: str | None = None, class_names: Sequence[str] | None = None
) -> LoadedWeights:
    """Load the weights of a file into a network, and set the padding and epsilon that they were trained with.

    A classifier of other classes stays as it is in the network. Where anything else differs, nothing is loaded.

    Args:
        network: what to load into; one that `build_network` made takes timm's and torchvision's names too, any other
            module its own.
        path: the file: safetensors, or what `torch.save` wrote of a state dict, alone or as the entry `state_dict`,
            `model` or their moving averages, which go first.
        name: what timm calls the network, such as `tf_efficientnetv2_s`; None to take it from the config.json beside
            the file or the file's name.
        class_names: of the network's classes, where the classifier is to be loaded only if the file does not name
            others.

    Raises:
        ValueError: the file cannot be read, or is of another network (names the first tensor that differs, and its
            shapes).
        OSError: there is no such file.
    """
    tensors, about = read_tensors(path)
    kind, names, convention = "own", {}, None
    if isinstance(network, Network):
        if "conv_stem.weight" in tensors:
            kind, names = "timm", timm_names(network.architecture)
            convention = timm_convention(path, name, about)
        elif "features.0.0.weight" in tensors:
            kind, names = "torchvision", torchvision_names(network.architecture)
            convention = torchvision_convention(network.architecture)
        else:
            convention = _own_convention(about, network, path)
    theirs = {ours: renamed(ours, names) for ours in network.state_dict()}
    named = class_names is not None and json.loads(about.get("class_names", "null")) not in (None, list(class_names))
    reset = _other_classifier(network, tensors, theirs, named_otherwise=named)
    loaded = _matching(network.state_dict(), tensors, theirs, reset=reset, path=path)
    network.load_state_dict(loaded, strict=False)
    known = LoadedWeights(kind=kind, tensors=len(loaded), reset=reset)
    if convention is None:
        return known
    if isinstance(network, Network):
        network.adopt(padding=convention.padding, bn_eps=convention.bn_eps)
    return replace(known, name=convention.name, mean=convention.mean, std=convention.std)


def save_weights(network: nn.Module, path: Path, about: Mapping[str, str] | None = None) -> None:
    """Write a network's weights as safetensors, whole or not at all, with what it takes to build it again.

    Args:
        network: one of ours, or any other module, of which the weights alone are kept.
        path: the file.
        about: further metadata, such as `mean` and `std` of the pictures as JSON lists.

    Raises:
        OSError: it cannot be written; the file that was there is as it was.
    """
    metadata = {"format": "pt", **(about or {})}
    if isinstance(network, Network):
        kept = ("padding", "activation", "bn_momentum", "bn_eps")
        settings = {key: getattr(network.settings, key) for key in kept}
        metadata |= {"architecture": str(network.architecture), "settings": json.dumps(settings)}
    write_tensors(network.state_dict(), path, metadata)


class Header(NamedTuple):
    """What a file of weights tells of its network.

    Attributes:
        architecture: None in files that this software did not write.
        settings: padding, activation and batch norm; None likewise.
        num_classes: of its classifier; None where it has none.
        in_channels: of its pictures; None where the names are none of those known.
        about: the further metadata that it was saved with.
    """

    architecture: Architecture | None
    settings: NetworkSettings | None
    num_classes: int | None
    in_channels: int | None
    about: dict[str, str]


def read_header(path: Path) -> Header:
    """What a file of weights tells of its network, whoever wrote it.

    Raises:
        ValueError: the file cannot be read.
        OSError: there is no such file.
    """
    tensors, about = read_tensors(path)
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    classes = next((shapes[key][0] for key in ("classifier.weight", "classifier.1.weight") if key in shapes), None)
    stems = ("stem.conv.weight", "conv_stem.weight", "features.0.0.weight")
    channels = next((shapes[key][1] for key in stems if key in shapes), None)
    architecture = Architecture.parse(about["architecture"]) if "architecture" in about else None
    settings = NetworkSettings(**_settings(about, path)) if "settings" in about else None
    further = {key: value for key, value in about.items() if key not in ("format", "architecture", "settings", "timm")}
    return Header(architecture, settings, classes, channels, further)


def saved_network(path: Path) -> Network:
    """The network of a file that `save_weights` wrote, in evaluation mode.

    Raises:
        ValueError: the file is none of these, or broken.
        OSError: there is no such file.
    """
    architecture, settings, num_classes, in_channels, _ = read_header(path)
    if architecture is None or settings is None or num_classes is None or in_channels is None:
        raise ValueError(
            f"{path} does not say which network its weights are of, as this software's files do: name the network, and "
            f"give the file as its weights"
        )
    network = build_network(architecture, num_classes, in_channels, settings=settings)
    load_weights(network, path)
    return network.eval()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file by name, and its metadata, which pickles have none of.

    Raises:
        ValueError: the file is no safetensors and no pickle of tensors alone.
        OSError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(2, "there is no such file of weights", str(path))
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{path} cannot be read as safetensors: {error}") from error
    if path.suffix not in PICKLED:
        raise ValueError(f"weights must be a .safetensors file, or one of {', '.join(PICKLED)}; got {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as tensors alone, and nothing else is loaded from a pickle: save the state dict by "
            f"itself, best as safetensors ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from error
    return _state_dict(content, path), {}


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write tensors as safetensors, whole or not at all, and bring them to the disk.

    Raises:
        OSError: it cannot be written; the file that was there is as it was.
    """
    # Copies: safetensors takes neither channels-last tensors nor two names of one.
    plain = {k: t.detach().cpu().clone(memory_format=torch.contiguous_format) for k, t in tensors.items()}
    unfinished = path.with_name(path.name + ".partial")
    try:
        save_file(plain, unfinished, dict(metadata))
        sync(unfinished)
        unfinished.replace(path)
        sync(path.parent)
    except (OSError, SafetensorError) as error:
        unfinished.unlink(missing_ok=True)
        number = getattr(error, "errno", None)
        if number is None:  # safetensors tells the system's number in its words alone
            found = re.search(r"os error (\d+)", str(error))
            number = int(found[1]) if found else errno.EIO
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise OSError(number, reason, str(path)) from error


def renamed(key: str, names: Mapping[str, str]) -> str:
    """A tensor's name, with its module's replaced where `names` has another."""
    module, _, tensor = key.rpartition(".")
    return f"{names[module]}.{tensor}" if module in names else key


def _matching(
    wanted: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    theirs: Mapping[str, str],
    *,
    reset: tuple[str, ...],
    path: Path,
) -> dict[str, Tensor]:
    """What is loaded, by our names; the first difference is an error."""
    found = {}
    for ours, tensor in wanted.items():
        key = theirs[ours]
        counter = ours.endswith("num_batches_tracked")  # older files have none, and nothing here reads it
        if ours in reset or (counter and key not in tensors):
            continue
        if key not in tensors:
            raise ValueError(_OTHER.format(path, f"{key} of shape {_shape(tensor)}", "it has no such tensor"))
        if tensors[key].shape != tensor.shape:
            shapes = f"{key} of shape {_shape(tensor)}", f"it has {_shape(tensors[key])} there"
            raise ValueError(_OTHER.format(path, *shapes))
        found[ours] = tensors[key]
    more = [key for key in tensors if key not in set(theirs.values()) and not key.endswith("num_batches_tracked")]
    if more:
        raise ValueError(_OTHER.format(path, f"no {more[0]}", f"it has one of shape {_shape(tensors[more[0]])}"))
    return found


_OTHER = "{} is of another network. The first difference: this network has {}, and in the file {}"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "()"


def _other_classifier(
    network: nn.Module, tensors: Mapping[str, Tensor], theirs: Mapping[str, str], *, named_otherwise: bool
) -> tuple[str, ...]:
    """The classifier's tensors where the file has other classes, or none; of any module its last linear layer."""
    linear = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        return ()
    name, classifier = linear[-1]
    keys = tuple(f"{name}.{key}" if name else key for key in classifier.state_dict())
    weight = tensors.get(theirs[keys[0]])
    if weight is None:
        return keys if not any(theirs[key] in tensors for key in keys) else ()
    fits = weight.dim() == 2 and weight.shape[1] == classifier.in_features
    return keys if fits and (named_otherwise or len(weight) != classifier.out_features) else ()


def _own_convention(about: Mapping[str, str], network: Network, path: Path) -> Convention:
    """What a file of our own expects; one that does not say, what the network computes."""
    settings = _settings(about, path)
    activation = settings.get("activation", network.settings.activation)
    if activation != network.settings.activation:
        raise ValueError(
            f"{path} was trained with the activation {activation}, and the network has {network.settings.activation}: "
            f"build it with NetworkSettings(activation={activation!r})"
        )
    padding = settings.get("padding", network.settings.padding)
    bn_eps = settings.get("bn_eps", network.settings.bn_eps)
    mean, std = (tuple(json.loads(about[key])) if key in about else None for key in ("mean", "std"))
    return Convention(padding, bn_eps, None, mean, std)


def _settings(about: Mapping[str, str], path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(about.get("settings", "{}")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} has settings in its metadata that cannot be read: {error}") from error


def _state_dict(content: object, path: Path) -> dict[str, Tensor]:
    """The state dict in what `torch.save` wrote, without what wrappers put before the names."""
    if isinstance(content, Mapping):
        wrapped = (content[key] for key in ("state_dict_ema", "model_ema", "state_dict", "model") if key in content)
        content = next((inner for inner in wrapped if isinstance(inner, Mapping)), content)
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path} must hold a state dict; got {type(content).__name__}")
    state = {str(key): value for key, value in content.items() if key != "n_averaged"}  # a counter of torch's average
    for prefix in ("module.", "_orig_mod."):
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    strange = next((key for key, value in state.items() if not isinstance(value, Tensor)), None)
    if strange is not None:
        raise ValueError(f"{path} must hold tensors by name; {strange!r} is a {type(state[strange]).__name__}")
    return state
