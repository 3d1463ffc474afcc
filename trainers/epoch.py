"""`Epoch`: what is told of an epoch of a training, and of its parts, where it had several stages."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainers.progressive import Settings

Step = tuple[int, Settings]
"""The pictures seen before a step, and what it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Steps, one after the other, of one stage.

    Args:
        begin: epochs before it, such as 1.75.
        end: epochs that are over after it.
        stage: of the schedule, from 0.
        image_size: side of the pictures, in pixels.
        batch_size: pictures in a step.
        randaugment: magnitude.
        mixup: alpha.
        cutmix: alpha.
        dropout: share of the features.
        survival: of the last block's residual branch.
    """

    begin: float
    end: float
    stage: int
    image_size: int
    batch_size: int
    randaugment: float
    mixup: float
    cutmix: float
    dropout: float
    survival: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What is told of an epoch, or of several, where not each is evaluated.

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
        loss: mean over the epoch, or over those since the one told before.
        accuracy: top-1 on the minival, of the weights' moving average where the recipe has one.
        images_per_s: pictures trained on a second, of all devices together.
        waited_share: of the training's time, what the device waited for pictures.
        train_s: seconds of training so far, without evaluation, over all resumptions.
        device: what it was trained on, such as `2 x NVIDIA H200`; empty where an earlier release did not tell.
        parts: what the epoch, or those since the one told before, had one after the other.
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
    device: str = ""
    parts: tuple[Part, ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Epoch:
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**values, "parts": tuple(Part(**part) for part in values.get("parts", ()))})


def in_stages(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Steps in runs of one stage, picture size and batch size."""
    for _, run in itertools.groupby(steps, lambda step: (step[1].stage, step[1].image_size, step[1].batch_size)):
        yield list(run)


def parts_of(steps: Sequence[Step], per_epoch: int, *, end: int) -> Iterator[Part]:
    """What is told of steps up to the end of an epoch.

    Args:
        steps: of some epochs.
        per_epoch: pictures of an epoch.
        end: epochs that are over after them; the last of the steps may leave out some pictures of it.
    """
    runs = list(in_stages(steps))
    begins = [run[0][0] / per_epoch for run in runs]
    for run, begin, after in zip(runs, begins, [*begins[1:], float(end)], strict=True):
        yield Part(begin=begin, end=after, **schedule_of(run[0][1]))


def schedule_of(now: Settings) -> dict[str, Any]:
    """What is told of a step's settings, the learning rate apart: the same in all steps of a stage."""
    own = {name: getattr(now, name) for name in ("stage", "image_size", "batch_size", "dropout", "survival")}
    return {**own, **{name: getattr(now.augmentation, name) for name in ("randaugment", "mixup", "cutmix")}}
