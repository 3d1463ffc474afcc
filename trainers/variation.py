"""`varied`: a part of a batch, augmented, normalised and mixed, by its own chance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.augment import augmented, mixed
from trainers.augmentation import Augmentation
from trainers.normalisation import Normalisation


def varied(
    batch: tuple[Tensor, Tensor],
    augmentation: Augmentation,
    *,
    normalisation: Normalisation | Callable[[Tensor], Tensor],
    num_classes: int,
    chance: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Pictures as a network in training takes them, and their targets.

    Args:
        batch: pictures (n, channels, side, side) uint8, and their labels, (n,) int64 or (n, classes) shares.
        augmentation: how they are varied.
        normalisation: from uint8 pixels to floats.
        num_classes: of the labels.
        chance: of all that is drawn, on the device.

    Returns:
        Floats of the same shape, and (n,) classes or, where labels are shares or are mixed, (n, classes) shares.
    """
    images, labels = batch
    pixels = normalisation(augmented(images, augmentation, chance))
    if not (augmentation.mixup or augmentation.cutmix or labels.is_floating_point()):
        return pixels, labels
    shares = labels if labels.is_floating_point() else F.one_hot(labels, num_classes).float()
    return mixed(pixels, shares, augmentation, chance)
