"""The accuracy of a trained network on a split of pictures, with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trainers.normalisation import Normalisation
from trainers.own_model import check_model
from trainers.pictures import Pictures
from trainers.progressive import check_sizes
from trainers.task import TrainingTask, check_pictures
from trainers.top1 import right_in
from trainers.weights import load_weights


def evaluation(
    task: TrainingTask,
    weights: Path,
    normalisation: Normalisation,
    device: torch.device,
    *,
    split: str,
    source: str | None,
    known: Mapping[str, Any],
) -> dict[str, Any]:
    """Top-1 accuracy of a training's weights on a split, with its 95 % interval (Wilson's).

    Args:
        split: `minival` or `test` of the task's pictures.
        source: of other pictures, which are evaluated in their place: their test split, or all where they have none.
        known: of the pictures that were trained on, as `check_pictures`, with `class_names`.

    Raises:
        ValueError: the split is empty, the pictures have other classes, or have changed, others were trained on, or the
            network does not take their size.
    """
    if task.architecture is not None:
        check_sizes(task.recipe, task.architecture)
    pictures, class_names = task.pictures(device, other=source), tuple(known["class_names"])
    splits = [split]
    if source is None:
        check_pictures(pictures, known, task.source)
    elif pictures.sizes["test"]:
        splits = ["test"]
    else:
        _check_unseen(pictures, known, source, task.source)
        splits = ["train"]
    if pictures.class_names != class_names:
        raise ValueError(
            f"pictures must have the classes that were trained, {', '.join(class_names[:5])}, ... "
            f"({len(class_names)}); got {', '.join(pictures.class_names[:5])}, ... ({len(pictures.class_names)})"
        )
    count = sum(pictures.sizes[name] for name in splits)
    if not count:
        raise ValueError(f"{task.source} has no {split} split: name pictures with --data, or evaluate another split")
    network = task.network(len(class_names), pictures.in_channels)
    size = task.recipe.eval_size or task.recipe.image_size
    assert size is not None
    if task.model is not None:
        shape = {"in_channels": pictures.in_channels, "num_classes": len(class_names)}
        check_model(network, task.model, sizes=[size], **shape)
    load_weights(network, weights)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    right = sum(right_in(name, pictures, network, image_size=size, normalisation=normalisation) for name in splits)
    low, high = wilson(right, count)
    return {"accuracy": right / count, "low": low, "high": high, "pictures": count, "image_size": size}


def _check_unseen(pictures: Pictures, known: Mapping[str, Any], source: str, trained: str) -> None:
    """That other pictures, all of which are evaluated, are not those that were trained on, as far as can be told.

    Raises:
        ValueError: they are.
    """
    places = (Path(trained).resolve(), Path(trained).resolve() / "train")
    if pictures.fingerprint == known["fingerprint"] or Path(source).resolve() in places:
        raise ValueError(
            f"pictures to evaluate must not have been trained on; those of {source} were, and there is no test split "
            "among them: evaluate --split minival, or name others"
        )


def wilson(right: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The interval of a share (Wilson 1927)."""
    share, shrunk = right / count, 1 + z**2 / count
    middle = (share + z**2 / (2 * count)) / shrunk
    half = z / shrunk * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return middle - half, middle + half
