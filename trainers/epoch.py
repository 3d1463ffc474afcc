"""`Epoch`: what is told of an epoch of a training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What is told of an epoch.

    Args:
        epoch: how many are over.
        step: steps taken so far.
        stage: of the schedule, from 0.
        image_size: side of the pictures trained on last, in pixels.
        batch_size: pictures in the last step.
        learning_rate: of the last step.
        randaugment: magnitude, in the last step; so are the next four.
        mixup: alpha.
        cutmix: alpha.
        dropout: share of the features.
        survival: of the last block's residual branch.
        loss: mean over the epoch.
        accuracy: top-1 on the minival, of the weights' moving average where the recipe has one.
        images_per_s: pictures trained on a second, of all devices together.
        waited_share: of the training's time, what it waited for pictures.
        train_s: seconds of training so far, without evaluation, over all resumptions.
    """

    epoch: int
    step: int
    stage: int
    image_size: int
    batch_size: int
    learning_rate: float
    randaugment: float
    mixup: float
    cutmix: float
    dropout: float
    survival: float
    loss: float
    accuracy: float
    images_per_s: float
    waited_share: float
    train_s: float
