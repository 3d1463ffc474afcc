"""`TrainingTask`: what is trained on what, as plain data, and the `Training` that it makes on a device."""

from __future__ import annotations

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
from trainers.normalisation import Normalisation, normalisation_of
from trainers.own_model import check_model, own_model
from trainers.pictures import Pictures, open_pictures
from trainers.progressive import check_sizes, sizes_of
from trainers.recipe import Recipe
from trainers.training import Training
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
        if self.model is not None:
            sizes = sorted({*sizes_of(recipe), recipe.eval_size or recipe.image_size or 1})
            channels, classes = pictures.in_channels, len(pictures.class_names)
            check_model(network, self.model, sizes=sizes, in_channels=channels, num_classes=classes)
        last = None if checkpoints is None else checkpoints.load()
        if self.weights is not None:  # where there is a checkpoint, for the padding and epsilon that they ask for
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
