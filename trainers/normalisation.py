"""`Normalisation`: what pixels are brought to mean 0 and deviation 1 with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from trainers.pictures import Pictures, statistics


class Normalisation(NamedTuple):
    """What pixel values from 0 to 255 are brought to mean 0 and deviation 1 with, a number a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, mean: Sequence[float] | None, std: Sequence[float] | None) -> Normalisation | None:
        """Of statistics of values from 0 to 1, as libraries give them; None where they are not known."""
        if mean is None or std is None:
            return None
        return cls(tuple(255.0 * value for value in mean), tuple(255.0 * value for value in std))

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 pictures (n, channels, side, side) as float32, in their memory format."""
        mean, std = (torch.tensor(v, device=images.device).view(1, -1, 1, 1) for v in self)
        return images.float().sub_(mean).div_(std)


def normalisation_of(pictures: Pictures, image_size: int, *, rule: str = "pictures") -> Normalisation:
    """What pixels are brought to: by mean and deviation of some training pictures, or (`released`) (x - 128) / 128."""
    if rule == "released":
        middle = (128.0,) * pictures.in_channels
        return Normalisation(middle, middle)
    mean, std = statistics(pictures, image_size=image_size)
    return Normalisation(tuple(mean.flatten().tolist()), tuple(std.flatten().tolist()))
