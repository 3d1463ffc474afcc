"""The accuracy of a trained network on a split of pictures, with its interval."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from trainers.normalisation import Normalisation
from trainers.task import TrainingTask
from trainers.top1 import top1
from trainers.weights import load_weights


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
        task = replace(task, source=source, test_source=None, minival=1)
    pictures = task.pictures(device)
    splits = [split]
    if source is not None:
        splits = ["test"] if pictures.sizes["test"] else ["train", "minival"]
    if pictures.class_names != class_names:
        raise ValueError(
            f"pictures must have the classes that were trained, {', '.join(class_names[:5])}, ... "
            f"({len(class_names)}); got {', '.join(pictures.class_names[:5])}, ... ({len(pictures.class_names)})"
        )
    count = sum(pictures.sizes[name] for name in splits)
    if not count:
        raise ValueError(f"{task.source} has no {split} split: name pictures with --data, or evaluate another split")
    network = task.network(len(class_names), pictures.in_channels)
    load_weights(network, weights)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = task.recipe.eval_size or task.recipe.image_size
    assert size is not None
    right = 0
    for name in splits:
        order = range(pictures.sizes[name])
        batches = pictures.batches(name, order, batch_size=250, image_size=size, boxes=None)
        right += int(top1(network, batches, normalisation, device).item())
    low, high = wilson(right, count)
    return {"accuracy": right / count, "low": low, "high": high, "pictures": count, "image_size": size}


def wilson(right: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The interval of a share (Wilson 1927)."""
    share, shrunk = right / count, 1 + z**2 / count
    middle = (share + z**2 / (2 * count)) / shrunk
    half = z / shrunk * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return middle - half, middle + half
