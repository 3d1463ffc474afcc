"""`Recipe`: how a network is trained. The defaults are the brief training of a search's candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from trainers.augmentation import Augmentation
from trainers.crops import EVAL_CROPS
from trainers.progressive import Progression

OPTIMIZERS = ("sgd", "rmsprop", "adamw")
SCHEDULES = ("cosine", "exponential", "constant")
NORMALISATIONS = ("pictures", "released")

_ALWAYS_DESCRIBED = frozenset(  # what recipes had when the first runs were written, whose identity must not change
    (
        "epochs",
        "batch_size",
        "learning_rate",
        "momentum",
        "weight_decay",
        "warmup_share",
        "label_smoothing",
        "augmentation",
    )
)
_NO_MORE = frozenset(("multi_label",))
"""Settings without effect that recipes once had."""

_LEAST = {
    "epochs": 1,
    "batch_size": 1,
    "min_steps": 0,
    "accumulate": 1,
    "image_size": 1,
    "eval_size": 1,
    "evaluate_epochs": 1,
}
_SHARES = ("momentum", "rms_decay", "warmup_share", "label_smoothing", "ema", "dropout")
_POSITIVE = ("learning_rate", "epsilon", "decay_factor", "decay_epochs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained; by default stochastic gradient descent with Nesterov momentum and a cosine.

    The paper trains each candidate for about 10 epochs (arXiv 2104.00298, section 3.2) and does not
    publish how; the default settings are ours, chosen so that networks of every width and depth of a space
    train without diverging. `trainers/recipes.py` has the published trainings.

    Args:
        epochs: passes over the training pictures.
        batch_size: pictures in a step of the optimiser, on all devices together.
        learning_rate: the highest, for a batch of 256 (scaled in proportion to the batch).
        momentum: of the gradient; the first moment's decay in AdamW.
        weight_decay: on the weights of convolutions and classifier alone, not on biases and batch norm.
        warmup_share: part of all steps in which the learning rate rises.
        label_smoothing: share of the target spread evenly over the classes.
        augmentation: how the training pictures are varied.
        min_steps: the training has at least so many steps, and as many epochs as these take (`for_pictures`); it is
            then evaluated some hundred times, or after each epoch, if they are fewer.
        optimizer: one of `OPTIMIZERS`; `rmsprop` is TensorFlow's, which is not torch's (`trainers/optimizer.py`).
        rms_decay: of the mean of squared gradients, in RMSProp.
        epsilon: what is added to the mean square (RMSProp) or its root (AdamW); None is 1e-3 and 1e-8.
        schedule: the learning rate's course after warm-up, one of `SCHEDULES`; a cosine falls to zero.
        decay_factor: by which an exponential schedule falls.
        decay_epochs: epochs between such falls, counted from step 0; None: the rate falls with every step, by the
            factor over the whole training.
        warmup_epochs: epochs in which the learning rate rises; None: `warmup_share` says it.
        l2: the decay is the gradient of weight_decay · ½‖w‖² in the loss; else it shrinks the weights themselves
            (decoupled, arXiv 1711.05101). Not to be set for SGD, whose decay is in the gradient in any case.
        ema: decay of the exponential moving average of weights and batch norm's statistics, which is what is
            evaluated; 0 is none.
        dropout: share of the pooled features dropped before the classifier.
        survival: probability of keeping the last residual branch (stochastic depth); 1 is none.
        bn_momentum: weight of a new batch in batch norm's statistics (1 minus TensorFlow's decay); None: the network's.
        image_size: side of the largest training pictures, in pixels; None where the pictures have but one size.
        eval_size: side of the pictures in evaluation; None: image_size.
        progression: how size and regularisation go on.
        accumulate: in how many equal parts, one after the other, the gradient of a batch is computed, for want of
            memory; batch norm sees each on its own.
        min_crop_area: least share of a picture's area in the random crop that is resized to the training size;
            1 is the whole picture.
        smaller_sizes_larger_batches: whether a step has two, three, ... batches where pictures are so small that
            these have no more pixels than one at the largest size; the learning rate grows in proportion.
        eval_crop: what is evaluated of a picture (`crops.eval_box`); one that was packed is its centred square already.
        normalisation: what pixels x, from 0 to 255, are brought to: by the mean and deviation of the training pictures
            (`pictures`), or (x - 128) / 128, as EfficientNetV2's code (`released`). That of given weights goes before.
        evaluate_epochs: epochs from one evaluation, and its checkpoint, to the next; the last is always evaluated.

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
    min_steps: int = 0
    optimizer: str = "sgd"
    rms_decay: float = 0.9
    epsilon: float | None = None
    schedule: str = "cosine"
    decay_factor: float = 0.97
    decay_epochs: float | None = 2.4
    warmup_epochs: float | None = None
    l2: bool = False
    ema: float = 0.0
    dropout: float = 0.0
    survival: float = 1.0
    bn_momentum: float | None = None
    image_size: int | None = None
    eval_size: int | None = None
    progression: Progression = field(default_factory=Progression)
    accumulate: int = 1
    min_crop_area: float = 1.0
    smaller_sizes_larger_batches: bool = False
    eval_crop: str = "centre"
    normalisation: str = "pictures"
    evaluate_epochs: int = 1

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is None and name in ("image_size", "eval_size"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}")
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite; got {value}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay must be at least 0 and finite; got {self.weight_decay}")
        for name in _SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1; got {getattr(self, name)}")
        for name in ("survival", "min_crop_area", "bn_momentum"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1; got {value}")
        names = {
            "optimizer": OPTIMIZERS,
            "schedule": SCHEDULES,
            "eval_crop": EVAL_CROPS,
            "normalisation": NORMALISATIONS,
        }
        for name, known in names.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}")
        self._check_together()

    def _check_together(self) -> None:
        if self.warmup_epochs is not None and not 0 <= self.warmup_epochs <= self.epochs:
            raise ValueError(
                f"warmup_epochs must be from 0 to the {self.epochs} epochs; got {self.warmup_epochs}: "
                "train longer, or set it too"
            )
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate must divide batch_size, {self.batch_size}, into equal parts; got {self.accumulate}"
            )
        if self.l2 and self.optimizer == "sgd":
            raise ValueError(
                "l2 must be left out with sgd, whose decay is in the gradient in any case; got l2=True: set l2=False"
            )
        one_size = self.progression.kind in ("constant", "fixres")
        if self.image_size is not None and not one_size and self.progression.smallest > self.image_size:
            raise ValueError(
                f"the smallest size of the progression {self.progression} must be at most image_size, "
                f"{self.image_size}; it is {self.progression.smallest}: give a smaller one, such as "
                f"{self.progression.kind},smallest:{-(-self.image_size // 2)}"
            )

    def to_json(self) -> dict[str, Any]:
        """All settings as plain data, which holds whatever the defaults become; `from_json` reads it."""
        texts = {name: str(getattr(self, name)) for name in ("augmentation", "progression")}
        return {f.name: texts.get(f.name, getattr(self, f.name)) for f in fields(self)}

    def describe(self) -> dict[str, Any]:
        """The settings by which a search's runs are known; one that came later is left out at its default."""
        changed = self.changed()
        return {name: value for name, value in self.to_json().items() if name in _ALWAYS_DESCRIBED or name in changed}

    def changed(self) -> frozenset[str]:
        """The names of the settings that are not at their defaults."""
        default = Recipe()
        return frozenset(f.name for f in fields(self) if getattr(self, f.name) != getattr(default, f.name))

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> Recipe:
        """The inverse of `to_json` and `describe`; settings that are not there are at their defaults.

        Raises:
            ValueError: a setting is unknown, or out of its range.
        """
        known = [f.name for f in fields(cls)]
        parsed: dict[str, Any] = {name: value for name, value in settings.items() if name not in _NO_MORE}
        for name in parsed:
            if name not in known:
                raise ValueError(f"a recipe must have settings among {', '.join(known)}; got {name!r}")
        if parsed.get("optimizer", "sgd") == "sgd":
            parsed.pop("l2", None)  # it had no effect, and might be set
        if "augmentation" in parsed:
            parsed["augmentation"] = Augmentation.parse(parsed["augmentation"])
        if "progression" in parsed:
            parsed["progression"] = Progression.parse(parsed["progression"])
        return cls(**parsed)

    def for_pictures(self, count: int) -> Recipe:
        """This recipe for so many training pictures: with as many epochs as `min_steps` take.

        Raises:
            ValueError: there are fewer pictures than a batch takes.
        """
        batches = count // self.batch_size  # the last, smaller batch of an epoch is left out
        if not batches:
            raise ValueError(
                f"batch_size must be at most the {count} training pictures; got {self.batch_size}: take a smaller one "
                f"(--batch-size)"
            )
        epochs = max(self.epochs, -(-self.min_steps // batches))
        apart = max(self.evaluate_epochs, -(-self.min_steps // (100 * batches)))
        return replace(self, epochs=epochs, min_steps=0, evaluate_epochs=apart)

    def for_epochs(self, epochs: int) -> Recipe:
        """This recipe in so many epochs, no more and no less: warm-up and the falls of an exponential schedule, which
        are told in epochs, keep their shares of the training.

        Raises:
            ValueError: it is less than one epoch.
        """
        share = epochs / self.epochs
        warm, falls = self.warmup_epochs, self.decay_epochs
        if self.schedule == "exponential" and falls is not None:
            falls *= share
        return replace(
            self, epochs=epochs, min_steps=0, warmup_epochs=None if warm is None else warm * share, decay_epochs=falls
        )

    def learning_rate_at(self, step: float, steps: int) -> float:
        """The learning rate of step `step`, counted from 0, of `steps`."""
        highest = self.learning_rate * self.batch_size / 256
        share = self.warmup_share if self.warmup_epochs is None else self.warmup_epochs / self.epochs
        warm = share * steps
        if step < warm:
            return highest * (step + 1) / (warm + 1)
        if self.schedule == "constant":
            return highest
        if self.schedule == "exponential":
            decayed: float = highest * self.decay_factor ** self._decays_at(step, steps)
            return decayed
        return highest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1.0, steps - warm)))

    def _decays_at(self, step: float, steps: int) -> float:
        """How many times an exponential schedule has fallen; also during warm-up, as in the released code."""
        if self.decay_epochs is None:
            return step / steps  # λ β^(t/T) of fast scaling, arXiv 2103.06877
        return math.floor(step * self.epochs / steps / self.decay_epochs + 1e-9)  # of 4.8 / 2.4 the 2


def check_brief(recipe: Recipe) -> None:
    """That a recipe has nothing which the brief training of a search's candidates would not heed.

    Raises:
        ValueError: it has (says what).
    """
    heeded = {"optimizer", "rms_decay", "epsilon", "schedule", "decay_factor", "decay_epochs", "warmup_epochs", "l2"}
    beyond = recipe.changed() - _ALWAYS_DESCRIBED - heeded - {"accumulate"}
    if beyond:
        raise ValueError(
            f"the recipe of a search's candidates must leave {', '.join(sorted(beyond))} at the default: the brief "
            "training takes pictures of one size, as they are, and no averages"
        )


def brief_epochs(pictures: int) -> int:
    """Epochs of a candidate's training where none are asked for: 6,000 pictures' worth, from 2 up to 10.

    Below some 50 steps a network with batch norm has hardly left chance; 10 is the paper's number.
    """
    return min(10, max(2, math.ceil(6000 / pictures)))
