"""What `nas export` writes of: a network, its weights, and what is known of its search and training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.networks import NamedNetwork, find_network
from nas.training_results import results_of
from nas.trainings import WEIGHTS
from search_spaces import PUBLISHED, Architecture, ImageSizes

if TYPE_CHECKING:
    from trainers.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A network and what is known of it.

    Args:
        network: itself, its name and sizes.
        weights: the file of its weights; None where there is none.
        training: what its training's training.json holds; empty where it was not trained.
        results: what the file of its weights tells of its accuracy.
        search: as `search_provenance`; empty where it was not searched for.
    """

    network: NamedNetwork
    weights: Path | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)


def find_exported(text: str, trial: int | None = None, weights: Path | None = None) -> Exported:
    """What a text stands for: a training's folder, a file of weights that this software wrote, or any network.

    Args:
        text: a training's folder, a .safetensors file, or what `find_network` takes.
        trial: which trial of a run.
        weights: a file of weights to take, in the place of a training's own.

    Raises:
        ValueError: it stands for none, or a file in it is broken.
        OSError: a file cannot be read.
    """
    path = Path(text)
    if path.suffix == ".safetensors" and not path.is_dir():
        return _of_file(path, weights)
    if (path / "training.json").is_file():
        if trial is not None:
            raise ValueError(f"--trial must go with the folder of a run; {path} is a training's")
        return _of_training(path, weights)
    found = find_network(text, trial)
    search: Mapping[str, Any] = {}
    if found.trial is not None:
        from nas.provenance import search_provenance  # loads pandas

        search = search_provenance(path, found.trial)
    return Exported(network=_as_weights_have_it(found, weights), weights=weights, search=search)


def build_exported(
    exported: Exported, shape: Mapping[str, int], *, image_size: int, seed: int, origin: str | None = None
) -> tuple[Network, dict[str, str]]:
    """The network with its weights, or with fresh ones, in evaluation mode.

    Args:
        exported: what to build.
        shape: `num_classes` and `in_channels`.
        image_size: of the pictures that a network of fresh weights is to be shown, in pixels.
        seed: of fresh weights.
        origin: what timm calls a network whose weights are timm's.

    Returns:
        The network, and what the file of its weights tells besides, with `mean` and `std` of the pictures it was
        trained on as JSON, where they are known.

    Raises:
        ValueError: the weights are of another network, or have other classes.
    """
    from trainers.blocks import NetworkSettings
    from trainers.export import fresh_network
    from trainers.network import build_network, published_settings
    from trainers.weights import load_weights, read_header

    name, architecture = exported.network.name, exported.network.architecture
    header = None if exported.weights is None else read_header(exported.weights)
    settings = None if header is None else header.settings
    if settings is None:
        settings = published_settings(name) if name in PUBLISHED else NetworkSettings()
    classes, channels = shape["num_classes"], shape["in_channels"]
    if exported.weights is None or header is None:
        drawn = fresh_network(architecture, (channels, image_size), num_classes=classes, settings=settings, seed=seed)
        return drawn, {}
    network = build_network(architecture, classes, channels, settings=settings).eval()
    loaded = load_weights(network, exported.weights, name=origin)
    if loaded.reset:
        raise ValueError(
            f"{exported.weights} has no classifier of {classes} classes, and one that was never trained "
            f"is not exported: leave --num-classes out, or train one first"
        )
    known = {"mean": loaded.mean, "std": loaded.std}
    return network, header.about | {key: json.dumps(value) for key, value in known.items() if value is not None}


def _of_file(path: Path, weights: Path | None) -> Exported:
    from trainers.weights import read_header  # loads torch

    architecture = read_header(path).architecture
    if architecture is None:
        raise ValueError(
            f"{path} does not say which network its weights are of, as this software's files do: name the network, and "
            f"give the file with --weights"
        )
    weights = weights or path
    network = _as_weights_have_it(NamedNetwork(path.stem, architecture), weights)
    return Exported(network=network, weights=weights, results=_results(weights))


def _as_weights_have_it(found: NamedNetwork, weights: Path | None) -> NamedNetwork:
    """A network with the classes and channels that the weights have."""
    if weights is None:
        return found
    from trainers.weights import read_header  # loads torch

    header = read_header(weights)
    return replace(
        found,
        num_classes=header.num_classes or found.num_classes,
        in_channels=header.in_channels or found.in_channels,
    )


def _of_training(folder: Path, weights: Path | None) -> Exported:
    training = _read(folder / "training.json")
    if not isinstance(training.get("architecture"), str):
        raise ValueError(
            f"{folder / 'training.json'} names no architecture: what was trained is a module of your own, which is "
            f"exported with torch from Python"
        )
    own = weights is None
    weights = weights or folder / WEIGHTS
    if not weights.is_file():
        raise ValueError(f"{folder} has no weights yet; let `nas train` end an epoch, or name a file with --weights")
    recipe = training.get("recipe", {})
    train, eval_ = recipe.get("image_size"), recipe.get("eval_size") or recipe.get("image_size")
    found = NamedNetwork(
        folder.resolve().name,
        Architecture.parse(training["architecture"]),
        ImageSizes(int(train), int(eval_)) if train else None,
    )
    return Exported(
        network=_as_weights_have_it(found, weights),
        weights=weights,
        training=_recorded(training),
        results=_results(weights) | (results_of(folder) if own else {}),
        search=training.get("provenance") or {},
    )


def _recorded(training: Mapping[str, Any]) -> dict[str, Any]:
    """What a training's file says of it; earlier ones leave out settings at their defaults, and repeat two."""
    from trainers.recipe import Recipe

    told = {name: value for name, value in training.items() if name != "provenance"}
    if "recipe" in told:
        told["recipe"] = {**Recipe().to_json(), **told["recipe"]}
    if "settings" in told:  # what the recipe has of them goes before
        told["settings"] = {k: v for k, v in told["settings"].items() if k not in ("dropout", "survival")}
    return told


def _results(weights: Path) -> dict[str, str]:
    """What a file of weights tells of their accuracy."""
    from trainers.weights import read_header  # loads torch

    about = read_header(weights).about
    return {"accuracy on the minival": about["accuracy"]} if "accuracy" in about else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} must be the JSON that `nas train` writes: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold an object; got {type(content).__name__}")
    return content
