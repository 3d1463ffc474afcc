"""`TrainingTask`: what is trained on what, as plain data, and the `Training` that it makes on a device."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from search_spaces import Architecture
from trainers.blocks import NetworkSettings
from trainers.checkpoint import Checkpoints
from trainers.devices import torch_device
from trainers.group import ALONE, Group
from trainers.network import build_network
from trainers.pictures import Pictures, open_pictures
from trainers.progressive import check_sizes
from trainers.recipe import Recipe
from trainers.training import Normalisation, Training, normalisation_of, top1
from trainers.weights import load_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask:
    """A training: equal tasks, on one device, give equal weights.

    Args:
        recipe: how.
        source: the pictures: a folder in ImageNet layout, a parquet file or a folder of them, an npz file.
        architecture: what is trained; None where `model` is.
        model: `module:function` or `path/to/file.py:function` that is given the number of classes and makes the
            network to train.
        test_source: of the test split, where it lies elsewhere.
        minival: training pictures held out, which the best epoch is chosen on; None for the usual share.
        split_seed: of that choice.
        seed: of weights, order and variation.
        shards: as of `Training`.
        weights: a file to begin with; None draws them.
        settings: of the network that the architecture is built as; dropout and depth are the recipe's.
        memory: where pictures are kept: `packed`, `streamed`, or `auto`.

    Raises:
        ValueError: there is not one network.
    """

    recipe: Recipe
    source: str
    architecture: Architecture | None = None
    model: str | None = None
    test_source: str | None = None
    minival: int | None = None
    split_seed: int = 0
    seed: int = 0
    shards: int = 1
    weights: str | None = None
    settings: NetworkSettings = field(default_factory=NetworkSettings)
    memory: str = "auto"

    def __post_init__(self) -> None:
        if (self.architecture is None) == (self.model is None):
            raise ValueError("a training must have an architecture, or a model of your own; got both or neither")

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` reads it."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        architecture = None if self.architecture is None else str(self.architecture)
        recipe, settings = self.recipe.describe(), asdict(self.settings)
        return {**values, "architecture": architecture, "recipe": recipe, "settings": settings}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingTask:
        """The task that `to_json` told.

        Raises:
            ValueError: a value is not as it must be.
        """
        text = values["architecture"]
        return cls(
            **{
                **values,
                "architecture": None if text is None else Architecture.parse(text),
                "recipe": Recipe.from_json(values["recipe"]),
                "settings": NetworkSettings(**values["settings"]),
            }
        )

    def pictures(self, device: torch.device) -> Pictures:
        """Its pictures, for a device.

        Raises:
            ValueError, OSError: they cannot be read.
        """
        assert self.recipe.image_size is not None
        return open_pictures(
            self.source,
            image_size=max(self.recipe.image_size, self.recipe.eval_size or 0),
            minival=self.minival,
            split_seed=self.split_seed,
            test=self.test_source,
            device=device,
            memory=self.memory,
        )

    def network(self, num_classes: int, in_channels: int) -> nn.Module:
        """Its network, with fresh weights.

        Raises:
            ValueError: the model is none, or pictures would be smaller than the network's stride.
        """
        if self.model is not None:
            torch.manual_seed(self.seed)
            network = own_model(self.model, num_classes)
        else:
            assert self.architecture is not None
            check_sizes(self.recipe, self.architecture)
            generator = torch.Generator().manual_seed(self.seed)
            network = build_network(
                self.architecture, num_classes, in_channels, settings=self._settings, generator=generator
            )
        return network

    @property
    def _settings(self) -> NetworkSettings:
        recipe = self.recipe
        momentum = self.settings.bn_momentum if recipe.bn_momentum is None else recipe.bn_momentum
        return replace(self.settings, dropout=recipe.dropout, survival=recipe.survival, bn_momentum=momentum)

    def training(
        self,
        device_name: str,
        *,
        checkpoints: Checkpoints | None = None,
        normalisation: Normalisation | None = None,
        group: Group = ALONE,
    ) -> Training:
        """The training on a device, at its begin or, where there is a checkpoint, at the last.

        Args:
            normalisation: of the pixels; None takes it from the training pictures.

        Raises:
            ValueError, OSError: pictures, weights or a checkpoint cannot be had.
        """
        device = torch_device(device_name)
        pictures = self.pictures(device)
        recipe = self.recipe.for_pictures(pictures.sizes["train"])
        network = self.network(len(pictures.class_names), pictures.in_channels)
        last = None if checkpoints is None else checkpoints.load()
        if self.weights is not None and last is None:
            loaded = load_weights(network, Path(self.weights))
            normalisation = normalisation or Normalisation.of(loaded.mean, loaded.std)
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        assert recipe.image_size is not None
        training = Training(
            network,
            recipe,
            pictures,
            normalisation=normalisation or normalisation_of(pictures, recipe.eval_size or recipe.image_size),
            seed=self.seed,
            device=device,
            group=group,
            shards=self.shards,
            checkpoints=checkpoints,
        )
        if last is not None:
            training.restore(last)
        return training


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


def evaluation(
    task: TrainingTask,
    weights: Path,
    normalisation: Normalisation,
    device: torch.device,
    *,
    split: str,
    source: str | None,
    class_names: tuple[str, ...],
) -> dict[str, Any]:
    """Top-1 accuracy of a training's weights on a split, with its 95 % interval (Wilson's).

    Args:
        split: `minival` or `test` of the task's pictures.
        source: of other pictures, which are evaluated in their place: their test split, or all where they have none.
        class_names: that the weights were trained for.

    Raises:
        ValueError: the split is empty, or the pictures have other classes.
    """
    if source is not None:
        task, split = replace(task, source=source, test_source=None, minival=0), "test"
    pictures = task.pictures(device)
    if source is not None and not pictures.sizes["test"]:
        split = "train"
    if pictures.class_names != class_names:
        raise ValueError(
            f"pictures must have the classes that were trained, {', '.join(class_names[:5])}, ... "
            f"({len(class_names)}); got {', '.join(pictures.class_names[:5])}, ... ({len(pictures.class_names)})"
        )
    count = pictures.sizes[split]
    if not count:
        raise ValueError(f"{task.source} has no {split} split: name pictures with --data, or evaluate another split")
    network = task.network(len(class_names), pictures.in_channels)
    load_weights(network, weights)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = task.recipe.eval_size or task.recipe.image_size
    assert size is not None
    batches = pictures.batches(split, range(count), batch_size=250, image_size=size, boxes=None)
    right = int(top1(network, batches, normalisation, device).item())
    low, high = wilson(right, count)
    return {"accuracy": right / count, "low": low, "high": high, "pictures": count, "image_size": size}


def wilson(right: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The interval of a share (Wilson 1927)."""
    share, shrunk = right / count, 1 + z**2 / count
    middle = (share + z**2 / (2 * count)) / shrunk
    half = z / shrunk * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return middle - half, middle + half
