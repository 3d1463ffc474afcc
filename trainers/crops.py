"""Which part of each picture is trained on, and in which order pictures come.

Both are pure functions of seed, epoch and picture, so that neither depends on the number of workers or devices, nor on
where a training was interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainers.sources import Runs

ASPECT = (3 / 4, 4 / 3)
"""Of random crops, width over height (EfficientNetV2's code, and torchvision)."""

EVAL_CROPS = ("centre", "margin", "squash", "released")
"""What is evaluated of a picture; see `eval_box`."""

_ATTEMPTS = 10

Box = tuple[float, float, float, float]
"""A part of a picture, as shares of its sides: left, top, width, height."""

Integers = Sequence[int] | NDArray[np.integer]


def epoch_order(count: int, seed: int, epoch: int, *, runs: Runs | None = None) -> NDArray[np.int64]:
    """The order of an epoch's pictures.

    Args:
        count: pictures of the split.
        seed: of the training.
        epoch: counted from 0.
        runs: which of the split's pictures are read together. The groups are then put into a random order, and each
            picture moves back by a random number of places up to `runs.window`, so that each group is read once and few
            are held at a time. None draws from all orders alike.

    Returns:
        (count,) int64, each index once.

    Raises:
        ValueError: `runs` are of another number of pictures.
    """
    rng = np.random.default_rng([seed, epoch, 0])
    if runs is None:
        return rng.permutation(count)
    if len(runs.group_of) != count:
        raise ValueError(f"runs must be those of the {count} pictures; got them of {len(runs.group_of)}")
    groups, which = np.unique(runs.group_of, return_inverse=True)
    by_group = np.argsort(rng.permutation(len(groups))[which], kind="stable")
    return by_group[np.argsort(np.arange(count) + rng.uniform(0, runs.window, count), kind="stable")]


def crop_boxes(
    order: Integers, *, seed: int, epoch: int, min_area: float, aspect: tuple[float, float] = ASPECT
) -> NDArray[np.float64]:
    """Random crops for an epoch's pictures, each a function of seed, epoch and the picture's index alone.

    As the Inception networks were trained (arXiv 1409.4842, section 6) and as torchvision draws them: the area evenly
    from `min_area` to 1, the aspect evenly on a log scale, again until it fits, ten times at the most (then the whole
    picture), and the place evenly.

    Args:
        order: (k,) indices of pictures.
        seed: of the training.
        epoch: counted from 0.
        min_area: least share of the area; 1 gives whole pictures.
        aspect: least and largest width over height of a crop.

    Returns:
        (k, 4): left, top, width and height as shares of a square picture's side; of pictures that are not square,
        see `box_within`.

    Raises:
        ValueError: `min_area` or `aspect` is out of its range.
    """
    if not 0 < min_area <= 1:
        raise ValueError(f"min_area must be a share above 0 and at most 1; got {min_area!r}")
    if not 0 < aspect[0] <= aspect[1]:
        raise ValueError(f"aspect must be two positive numbers, the smaller first; got {aspect!r}")
    indices = np.asarray(order, np.int64)
    boxes = np.tile(np.array([0.0, 0.0, 1.0, 1.0]), (len(indices), 1))
    left = np.arange(len(indices) if min_area < 1 else 0)  # those that no crop has been found for
    low, high = math.log(aspect[0]), math.log(aspect[1])
    for attempt in range(_ATTEMPTS):
        draws = [_uniform(indices[left], seed, epoch, 4 * attempt + place) for place in range(4)]
        area, ratio = min_area + (1 - min_area) * draws[0], np.exp(low + (high - low) * draws[1])
        wide, tall = np.sqrt(area * ratio), np.sqrt(area / ratio)
        fits = (wide <= 1) & (tall <= 1)
        found = np.stack([draws[2] * (1 - wide), draws[3] * (1 - tall), wide, tall], axis=1)
        boxes[left[fits]] = found[fits]
        left = left[~fits]
    return boxes


def _uniform(indices: NDArray[np.int64], seed: int, epoch: int, draw: int) -> NDArray[np.float64]:
    """A number from [0, 1) for each index: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) as a hash of all four.

    numpy's generators give streams, of which the thousandth picture's numbers are only found by drawing all before.
    """
    key = np.random.SeedSequence([seed, epoch, draw, 1]).generate_state(1, np.uint64)
    state = key + (indices.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state = state ^ (state >> np.uint64(31))
    return np.asarray((state >> np.uint64(11)) * 2.0**-53)


def box_within(box: Box, width: int, height: int) -> Box:
    """A crop that was drawn for a square picture, as shares of the sides of one that may not be square.

    It keeps its aspect in pixels, so that nothing is squeezed more than was asked for, and its share of the area where
    that fits (else it is the largest that does); where it lies between the edges stays. The whole square becomes the
    largest centred square.
    """
    left, top, wide, tall = box
    stretch = math.sqrt(height / width)
    new_wide, new_tall = wide * stretch, tall / stretch
    most = max(new_wide, new_tall, 1.0)
    new_wide, new_tall = new_wide / most, new_tall / most
    across = left / (1 - wide) if wide < 1 else 0.5
    down = top / (1 - tall) if tall < 1 else 0.5
    return across * (1 - new_wide), down * (1 - new_tall), new_wide, new_tall


def eval_box(rule: str, image_size: int, width: int, height: int) -> Box:
    """The part of a picture that is evaluated.

    Args:
        rule: `centre`: the largest centred square. `margin`: n / (n + 32) of that, at n px. `squash`: the whole
            picture, whatever its shape. `released`: `margin` below 320 px, else `squash`, as EfficientNetV2's code.
        image_size: in pixels.
        width: of the picture.
        height: of the picture.

    Raises:
        ValueError: there is no such rule.
    """
    if rule not in EVAL_CROPS:
        raise ValueError(f"eval_crop must be one of {', '.join(EVAL_CROPS)}; got {rule!r}")
    if rule == "released":
        rule = "margin" if image_size < 320 else "squash"
    if rule == "squash":
        return 0.0, 0.0, 1.0, 1.0
    side = min(width, height) * (image_size / (image_size + 32) if rule == "margin" else 1.0)
    wide, tall = side / width, side / height
    return (1 - wide) / 2, (1 - tall) / 2, wide, tall
