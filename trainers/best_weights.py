"""The weights of a training's best epoch in a file: from the network, or from the checkpoint that is kept of it."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from trainers.checkpoint import restore
from trainers.training import Training
from trainers.weights import save_weights


def save_best(training: Training, path: Path) -> None:
    """Bring a file to the weights of the epoch that did best so far; one that has them is left alone.

    Args:
        training: at the end of an epoch, or at a checkpoint.
        path: the file; what is known of the weights goes into its metadata.

    Raises:
        ValueError: neither the file nor a checkpoint has them.
        OSError: the disk would not take them; the file that was there is as it was.
    """
    if training.best is None:
        return
    accuracy, step = training.best
    network = training.evaluated
    if step != training.step:
        if _step_of(path) == step:
            return
        kept = training.checkpoints.load(step) if training.checkpoints else None
        if kept is None:
            raise ValueError(
                f"the weights of the best epoch, those of step {step}, must be in {path} or in a checkpoint; they are "
                f"in neither: restore one from a copy, or begin again in another folder"
            )
        network = copy.deepcopy(network)
        own, tensors = network.state_dict(), kept.tensors.get("ema", kept.tensors["network"])
        restore(network, {key: tensor for key, tensor in tensors.items() if key in own}, where=str(kept.folder))
    mean, std = ([value / 255 for value in values] for values in training.normalisation)
    about = {
        "accuracy": str(accuracy),
        "step": str(step),
        "mean": json.dumps(mean),
        "std": json.dumps(std),
        "class_names": json.dumps(training.pictures.class_names),
    }
    save_weights(network, path, about)


def _step_of(path: Path) -> int | None:
    """Of which step a file's weights are; None where there is none, or it cannot be read."""
    try:
        with safe_open(path, "pt") as file:
            return int((file.metadata() or {})["step"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
