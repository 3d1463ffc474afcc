"""How large a study of trainings may be: pictures, epochs, seeds and picture size that grow together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nas.studies.study import Material, Size

_STEPS = (  # pictures to train on, epochs, seeds, side in pixels, width of the networks
    (300, 1, 2, 32, 0.25),
    (600, 4, 2, 48, 0.25),
    (1_000, 10, 3, 64, 0.25),
    (2_000, 12, 3, 64, 0.25),
    (2_000, 20, 3, 96, 0.25),
    (3_000, 30, 3, 96, 0.25),
    (3_000, 60, 3, 96, 0.25),
    (3_000, 90, 3, 96, 0.25),
    (3_000, 90, 5, 96, 0.25),
    (8_000, 90, 5, 128, 0.25),
    (8_000, 90, 5, 128, 0.5),
    (8_000, 120, 5, 128, 1.0),
    (40_000, 60, 3, 160, 1.0),
    (200_000, 60, 3, 224, 1.0),
)
_TIMED = (  # share of the published network's width and of its picture size, batch, pairs of blocks
    (0.25, 0.125, 4, 7),  # fewer pairs bear no interval
    (0.5, 0.25, 4, 7),
    (1.0, 0.25, 4, 7),
    (1.0, 0.25, 4, 9),
    (1.0, 0.5, 4, 9),
    (1.0, 0.5, 4, 9),
    (1.0, 1.0, 2, 9),
    (1.0, 1.0, 4, 9),
    (1.0, 1.0, 4, 15),
    (1.0, 1.0, 4, 15),
    (1.0, 1.0, 16, 15),
    (1.0, 1.0, 32, 15),
)
_LEAST_TEST = 100


def training_sizes(material: Material) -> Sequence[Size]:
    """Sizes of studies that train, as far as there are pictures; the side is at most that of the pictures.

    Returns:
        of each: `pictures` (training pictures with the minival), `minival`, `test_pictures`, `epochs`, `seeds`,
        `image_size` (the largest side in training) and `width` (over the published networks').
    """
    found: list[dict[str, Any]] = []
    at_hand = material.train if material.test else material.train * 3 // 4  # else some are kept for the test
    for pictures, epochs, seeds, side, width in _STEPS:
        minival = max(_LEAST_TEST, pictures // 5)
        size = {
            "pictures": min(pictures + minival, at_hand),
            "minival": min(minival, at_hand // 5),
            "test_pictures": min(max(2 * _LEAST_TEST, pictures), material.test or material.train - at_hand),
            "epochs": epochs,
            "seeds": seeds,
            "image_size": min(side, material.side),
            "width": width,
        }
        if not found or _work(size) > _work(found[-1]):  # else it grew in what these pictures do not have
            found.append(size)
    return found


def timed_and_training_sizes(material: Material) -> Sequence[Size]:
    """Sizes of studies that train small networks, and time published ones.

    Returns:
        as `training_sizes`, and of each: `timed_width` and `timed_share` (of the published network's width and picture
        size), `timed_batch` and `blocks` (pairs of them).
    """
    names = ("timed_width", "timed_share", "timed_batch", "blocks")
    return [
        {**size, **dict(zip(names, _TIMED[min(number, len(_TIMED) - 1)], strict=True))}
        for number, size in enumerate(training_sizes(material))
    ]


def at_share(pixels: int, share: float) -> int:
    """A share of a picture's side, in pixels: to a multiple of 4, as networks halve it, and at least 32."""
    return max(32, round(pixels * share / 4) * 4)


def _work(size: Size) -> float:
    """What a training takes at a size, up to a factor."""
    return float(size["pictures"] * size["epochs"] * size["seeds"] * size["image_size"] ** 2 * size["width"] ** 2)
