"""`Recipe`: how a network is trained. The defaults are the brief training of a search's candidates."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from trainers.augmentation import Augmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Stochastic gradient descent with Nesterov momentum, linear warm-up and cosine decay to zero.

    The paper trains each candidate for about 10 epochs (arXiv 2104.00298, section 3.2) and does not
    publish how; these settings are ours, chosen so that networks of every width and depth of a space
    train without diverging.

    Args:
        epochs: passes over the training pictures.
        batch_size: pictures in a step.
        learning_rate: the highest, for a batch of 256 (scaled in proportion to the batch).
        momentum: of the gradient.
        weight_decay: L2, on the weights of convolutions and classifier alone.
        warmup_share: part of all steps in which the learning rate rises.
        label_smoothing: share of the target spread evenly over the classes.
        augmentation: how the training pictures are varied.

    Raises:
        ValueError: a value is out of its range.
    """

    epochs: int = 2
    batch_size: int = 128
    learning_rate: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_share: float = 0.2
    label_smoothing: float = 0.1
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1; got {value!r}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be positive and finite; got {self.learning_rate}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay must be at least 0 and finite; got {self.weight_decay}")
        for name in ("momentum", "warmup_share", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1; got {getattr(self, name)}")

    def describe(self) -> dict[str, Any]:
        """The settings as plain data."""
        return {**asdict(self), "augmentation": str(self.augmentation)}

    def learning_rate_at(self, step: int, steps: int) -> float:
        """The learning rate of step `step`, counted from 0, of `steps`."""
        highest = self.learning_rate * self.batch_size / 256
        warm = self.warmup_share * steps
        if step < warm:
            return highest * (step + 1) / (warm + 1)
        return highest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1.0, steps - warm)))


def brief_epochs(pictures: int) -> int:
    """Epochs of a candidate's training where none are asked for: 6,000 pictures' worth, from 2 up to 10.

    Below some 50 steps a network with batch norm has hardly left chance; 10 is the paper's number.
    """
    return min(10, max(2, math.ceil(6000 / pictures)))
