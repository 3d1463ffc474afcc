"""How a good engineer trains a candidate today: a DataLoader of two workers, Pillow's transforms, eager torch.

The network is built from this project's blocks, with torch's own convolutions, in channels_last, and trained by the
same recipe on the same pictures with the same augmentation (crop and flip).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from search_spaces import Architecture
from trainers import convolution
from trainers.devices import torch_device
from trainers.network import build_network
from trainers.recipe import Recipe


@contextmanager
def torchs_own_convolutions() -> Iterator[None]:
    """Leaves all convolutions to torch."""

    def never(*convolution: object) -> bool:  # a Mock would keep every map it was asked about
        return False

    with mock.patch.object(convolution, "_worth_asking", new=never):
        yield


@dataclass(frozen=True)
class Encoded:
    """Pictures as their source holds them, and which are of the minival."""

    train: list[bytes]
    train_labels: list[int]
    minival: list[bytes]
    minival_labels: list[int]
    num_classes: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Transformed(Dataset[tuple[Tensor, int]]):
    """Decodes, resizes, crops, flips and normalises one picture at a time."""

    def __init__(self, images: list[bytes], labels: list[int], data: Encoded, *, training: bool) -> None:
        self.images, self.labels, self.data, self.training = images, labels, data, training
        self.mean = torch.tensor(data.mean).view(-1, 1, 1)
        self.std = torch.tensor(data.std).view(-1, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        size = self.data.image_size
        image = Image.open(io.BytesIO(self.images[index])).convert("RGB")
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        if self.training:
            border = size // 8
            left, top = (int(v) for v in torch.randint(2 * border + 1, (2,)))
            image = ImageOps.expand(image, border).crop((left, top, left + size, top + size))
            if torch.rand(()) < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)
        return pixels.sub_(self.mean).div_(self.std), self.labels[index]


@dataclass(frozen=True)
class ReferenceTask:
    """(architecture, seed) -> the accuracy on the minival after every epoch.

    Args:
        data: pictures.
        recipe: of the training.
        device: `cpu`, `cuda` or `auto`.
        timm: name of a network of timm's, which is trained whatever architecture is asked for.
    """

    data: Encoded
    recipe: Recipe
    device: str = "auto"
    timm: str | None = None

    def __call__(self, architecture: Architecture, seed: int) -> Iterator[float]:
        """Train, and give the accuracy after each epoch."""
        with torchs_own_convolutions():
            yield from self._trained(architecture, seed)

    def _trained(self, architecture: Architecture, seed: int) -> Iterator[float]:
        torch.manual_seed(seed)
        device, recipe = torch_device(self.device), self.recipe
        network = self._network(architecture, seed).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        train = self._loader(self.data.train, self.data.train_labels, training=True, device=device)
        minival = self._loader(self.data.minival, self.data.minival_labels, training=False, device=device)
        decayed = [p for p in network.parameters() if p.ndim > 1]
        kept = [p for p in network.parameters() if p.ndim <= 1]
        optimizer = torch.optim.SGD(
            [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": kept, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=True,
        )
        loss = torch.nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        amp = device.type == "cuda"
        for epoch in range(recipe.epochs):
            network.train()
            for batch, (images, labels) in enumerate(train):
                for group in optimizer.param_groups:
                    group["lr"] = recipe.learning_rate_at(epoch * len(train) + batch, recipe.epochs * len(train))
                images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
                with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                    value = loss(network(images).float(), labels.to(device, non_blocking=True))
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
            network.eval()
            correct = 0
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=amp):
                for images, labels in minival:
                    images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
                    correct += int((network(images).argmax(1).cpu() == labels).sum())
            yield correct / len(self.data.minival_labels)

    def _network(self, architecture: Architecture, seed: int) -> torch.nn.Module:
        classes = self.data.num_classes
        if self.timm is None:
            return build_network(architecture, classes, 3, generator=torch.Generator().manual_seed(seed))
        import timm

        network: torch.nn.Module = timm.create_model(self.timm, num_classes=classes)
        return network

    def _loader(self, images: list[bytes], labels: list[int], *, training: bool, device: torch.device) -> Any:
        return DataLoader(
            Transformed(images, labels, self.data, training=training),
            self.recipe.batch_size if training else 1000,
            shuffle=training,
            drop_last=training,
            num_workers=2,
            persistent_workers=True,
            pin_memory=device.type == "cuda",
        )
