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
from trainers.network import Network, build_network
from trainers.normalisation import Normalisation, normalisation_of
from trainers.own_model import check_model, own_function, own_model
from trainers.pictures import Pictures, open_pictures
from trainers.progressive import check_sizes, sizes_of
from trainers.recipe import Recipe
from trainers.training import Training
from trainers.weights import load_weights, read_header


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
        weights: a file to begin with; None draws them. It is not read where there is a checkpoint.
        settings: of the network that the architecture is built as; dropout and depth are the recipe's.
        memory: where pictures are kept: `packed`, `streamed`, or `auto`.

    Raises:
        ValueError: there is not one network, no picture size, no minival, or a negative seed.
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
        for name in ("seed", "split_seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0; got {getattr(self, name)}")
        if self.recipe.image_size is None:
            raise ValueError(
                "the recipe of a training must have an image_size, the side of its largest pictures; this one has "
                "none: give --image-size, or name another recipe"
            )
        if self.minival is not None and self.minival < 1:
            raise ValueError(f"minival must be at least 1 picture, to choose the best epoch on; got {self.minival}")

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` reads it."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        architecture = None if self.architecture is None else str(self.architecture)
        settings = {name: value for name, value in asdict(self.settings).items() if name not in ("dropout", "survival")}
        return {**values, "architecture": architecture, "recipe": self.recipe.to_json(), "settings": settings}

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

    def check(self, *, begins: bool) -> None:
        """That what can be known before pictures are read is as it must be.

        Args:
            begins: whether there is no checkpoint, so that the weights to begin with are needed.

        Raises:
            ValueError: pictures would be smaller than the network's stride, the model is none, or the weights are of
                another network.
            OSError: there is no file of weights.
        """
        if self.model is not None:
            own_function(self.model)
        else:
            assert self.architecture is not None
            check_sizes(self.recipe, self.architecture)
        if begins and self.weights is not None:
            header = read_header(Path(self.weights))
            if self.architecture is not None:
                load_weights(self.network(header.num_classes or 1, header.in_channels or 3), Path(self.weights))

    def pictures(self, device: torch.device, *, other: str | None = None) -> Pictures:
        """Its pictures, for a device.

        Args:
            other: a source of pictures to evaluate in their place, of which none is held out.

        Raises:
            ValueError, OSError: they cannot be read.
        """
        assert self.recipe.image_size is not None
        return open_pictures(
            other or self.source,
            image_size=max(self.recipe.image_size, self.recipe.eval_size or 0),
            minival=self.minival if other is None else 0,
            split_seed=self.split_seed,
            test=self.test_source if other is None else None,
            device=device,
            memory=self.memory,
            eval_crop=self.recipe.eval_crop,
        )

    def network(self, num_classes: int, in_channels: int) -> nn.Module:
        """Its network, with fresh weights.

        Raises:
            ValueError: the model is none.
        """
        if self.model is not None:
            torch.manual_seed(self.seed)
            network = own_model(self.model, num_classes)
        else:
            assert self.architecture is not None
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

    def begun_with(self, network: nn.Module) -> TrainingTask:
        """The task with the padding and epsilon of its network, which it has from its weights: their file may go."""
        if not isinstance(network, Network):
            return self
        padding, bn_eps = network.settings.padding, network.settings.bn_eps
        return replace(self, settings=replace(self.settings, padding=padding, bn_eps=bn_eps))

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
        last = None if checkpoints is None else checkpoints.load()
        self.check(begins=last is None)
        pictures = self.pictures(device)
        recipe = self.recipe.for_pictures(pictures.sizes["train"])
        network = self.network(len(pictures.class_names), pictures.in_channels)
        if self.model is not None:
            sizes = sorted({*sizes_of(recipe), recipe.eval_size or recipe.image_size or 1})
            channels, classes = pictures.in_channels, len(pictures.class_names)
            check_model(network, self.model, sizes=sizes, in_channels=channels, num_classes=classes)
        loaded = None
        if self.weights is not None and last is None:
            loaded = load_weights(network, Path(self.weights), class_names=pictures.class_names)
            normalisation = normalisation or Normalisation.of(loaded.mean, loaded.std)
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        assert recipe.image_size is not None
        size = recipe.eval_size or recipe.image_size
        training = Training(
            network,
            recipe,
            pictures,
            normalisation=normalisation or normalisation_of(pictures, size, rule=recipe.normalisation),
            seed=self.seed,
            device=device,
            group=group,
            shards=self.shards,
            checkpoints=checkpoints,
        )
        training.began_with = loaded
        if last is not None:
            training.restore(last)
        return training


def check_pictures(pictures: Pictures, known: Mapping[str, Any], source: str) -> None:
    """That pictures are those that a training began with: its minival holds no picture that was trained on.

    Args:
        pictures: as they are now.
        known: `fingerprint`, `form` and `pictures` (the sizes) as they were; what is not there may have changed.
        source: where they lie.

    Raises:
        ValueError: they have changed.
    """
    for name, here in (("fingerprint", pictures.fingerprint), ("form", pictures.form), ("pictures", pictures.sizes)):
        if known.get(name, here) != here:
            raise ValueError(
                f"the pictures of {source} must be those that the training began with: {name} was {known[name]}, and "
                f"is {here}: bring them back, or begin another training"
            )
