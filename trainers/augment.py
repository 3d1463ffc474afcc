"""Augmentation of whole batches where they lie: crop, flip, RandAugment and cutout on pixels, mixup and CutMix after.

No loop over pictures, and nothing that the host would have to wait for on a GPU. Every random number is the given
generator's, so that a result is a function of pictures, augmentation and the generator's state.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.augmentation import Augmentation
from trainers.randaugment import cut_out, randaugment

__all__ = ["Augmentation", "augmented", "mixed"]


def augmented(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Pictures cropped, flipped, changed by RandAugment and cut out, in this order, each drawn on its own.

    Args:
        images: (N, channels, height, width) uint8 with 1 or 3 channels, in either memory format.
        augmentation: what is done; mixup and CutMix are for `mixed`.
        generator: of all that is drawn, on the images' device.

    Returns:
        New pictures of the same shape, type and memory format; `images` itself where there is nothing to do.

    Raises:
        ValueError: the images or the generator are not as they must be.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"images must be (N, 1 or 3, height, width) of uint8; got {tuple(images.shape)} of {images.dtype}"
        )
    _check_generator(images, generator)
    if not len(images):
        return images
    pixels = images.permute(0, 2, 3, 1).contiguous()  # pictures of the training data lie so already
    changed = pixels
    if augmentation.crop:
        changed = _cropped(changed, augmentation.crop, generator)
    if augmentation.flip:
        changed = _flipped(changed, generator)
    if augmentation.randaugment:
        layers = augmentation.randaugment_layers
        changed = randaugment(changed, augmentation.randaugment, layers=layers, generator=generator)
    if augmentation.cutout:
        size = round(augmentation.cutout * min(images.shape[2:]))
        chance = torch.rand((len(images), 2), generator=generator, device=images.device)
        changed = cut_out(changed, size, chance)
    if changed is pixels:
        return images
    channels_last = images.is_contiguous(memory_format=torch.channels_last)
    form = torch.channels_last if channels_last else torch.contiguous_format
    return changed.permute(0, 3, 1, 2).contiguous(memory_format=form)


def _cropped(pixels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    number, height, width, channels = pixels.shape
    down, across = round(share * height), round(share * width)
    padded = F.pad(pixels, (0, 0, across, across, down, down))
    device, tall, wide = pixels.device, padded.shape[1], padded.shape[2]
    top = torch.randint(2 * down + 1, (number, 1), generator=generator, device=device)
    left = torch.randint(2 * across + 1, (number, 1), generator=generator, device=device)
    rows = torch.arange(number, device=device)[:, None] * tall + top + torch.arange(height, device=device)
    runs = padded.view(-1).unfold(0, width * channels, channels)  # a row of a crop is a run of memory
    return runs[rows * wide + left].view_as(pixels)


def _flipped(pixels: Tensor, generator: torch.Generator) -> Tensor:
    mirrored = torch.rand(len(pixels), generator=generator, device=pixels.device) < 0.5
    images = pixels.permute(0, 3, 1, 2)  # torch has a fast flip for this form
    return torch.where(mirrored[:, None, None, None], images.flip(3), images).permute(0, 2, 3, 1)


def mixed(
    images: Tensor, targets: Tensor, augmentation: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Pictures and their targets mixed with those of the batch in reverse order, each in its own shares.

    As google/automl `efficientnetv2/datasets.py` does it: where both are asked for, the first half of the batch
    is for mixup and the second for CutMix, each mixed within itself; a larger share of mixup is the picture's own.

    Args:
        images: (N, channels, height, width) of floats, in either memory format.
        targets: (N, classes) of floats.
        augmentation: alphas of mixup and CutMix; the rest is for `augmented`.
        generator: of all that is drawn, on the images' device.

    Returns:
        New images and targets of the same shapes; those given where neither is asked for.

    Raises:
        ValueError: images, targets or the generator are not as they must be.
    """
    if not images.is_floating_point() or images.ndim != 4:
        raise ValueError(
            f"images must be (N, channels, height, width) of floats; got {tuple(images.shape)} of {images.dtype}"
        )
    if not targets.is_floating_point() or targets.ndim != 2 or len(targets) != len(images):
        raise ValueError(
            f"targets must be ({len(images)}, classes) of floats, a row a picture; "
            f"got {tuple(targets.shape)} of {targets.dtype}"
        )
    _check_generator(images, generator)
    if not len(images) or not (augmentation.mixup or augmentation.cutmix):
        return images, targets
    half = 0 if not augmentation.mixup else len(images) // 2 if augmentation.cutmix else len(images)
    if half == len(images):
        return _mixup(images, targets, augmentation.mixup, generator)
    if not half:
        return _cutmix(images, targets, augmentation.cutmix, generator)
    first = _mixup(images[:half], targets[:half], augmentation.mixup, generator)
    second = _cutmix(images[half:], targets[half:], augmentation.cutmix, generator)
    return torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]])


def _mixup(images: Tensor, targets: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    drawn = _symmetric_beta(len(images), alpha, generator)
    own = torch.maximum(drawn, 1 - drawn)
    of_image, of_target = own.to(images.dtype)[:, None, None, None], own.to(targets.dtype)[:, None]
    return torch.lerp(images.flip(0), images, of_image), torch.lerp(targets.flip(0), targets, of_target)


def _cutmix(images: Tensor, targets: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    channels, height, width = images.shape[1:]
    side = (1 - _symmetric_beta(len(images), alpha, generator)).sqrt()
    chance = torch.rand((len(images), 2), generator=generator, device=images.device)
    rows = _inside(height, chance[:, :1], side[:, None])
    columns = _inside(width, chance[:, 1:], side[:, None])
    pasted = rows[:, :, None] & columns.repeat_interleave(channels, 1)[:, None]  # dense where images are channels last
    pasted = pasted.view(-1, height, width, channels).permute(0, 3, 1, 2)
    area = (rows.sum(1) * columns.sum(1)).to(targets.dtype) / (height * width)  # of what is inside the picture
    return torch.where(pasted, images.flip(0), images), torch.lerp(targets, targets.flip(0), area[:, None])


def _inside(length: int, chance: Tensor, share: Tensor) -> Tensor:
    """Which of `length` places lie in a stretch of that share around one drawn, (N, length) bool."""
    distance = torch.arange(length, device=chance.device) - (chance * length).floor()
    half = (share * length).floor() // 2
    return (distance >= -half) & (distance < half)


def _symmetric_beta(number: int, alpha: float, generator: torch.Generator) -> Tensor:
    """(number,) float64 drawn from Beta(alpha, alpha), on the generator's device.

    Student's t with 2 alpha degrees of freedom by Bailey's polar method (Mathematics of Computation 62, 1994), which
    z / sqrt(1 + z²) takes to the symmetric beta (Devroye, "Random variate generation in one line of code", 1996):
    exact, without rejection, and torch's own samplers of the beta take no generator.
    """
    u, v = torch.rand((2, number), generator=generator, device=generator.device, dtype=torch.float64)
    power, cosine = torch.pow(u, 1 / alpha), torch.cos(2 * math.pi * v)
    rest = 1 - power
    drawn: Tensor = (1 + cosine * rest.sqrt() / (power + rest * cosine**2).sqrt()) / 2
    return drawn


def _check_generator(images: Tensor, generator: torch.Generator) -> None:
    if generator.device.type != images.device.type:
        raise ValueError(
            f"the generator must be on the images' device, {images.device}; it is on {generator.device}: "
            "make it with torch.Generator(device)"
        )
