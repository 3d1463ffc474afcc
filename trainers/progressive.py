"""Progressive learning: the picture size and the strength of the regularisation at each step, as pure functions.

EfficientNetV2's Algorithm 1 (arXiv 2104.00298, section 4.2), the schedule of its released code, and what the paper
compares them with (section 5.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from search_spaces.architecture import Architecture
from trainers.augmentation import Augmentation

if TYPE_CHECKING:
    from trainers.recipe import Recipe

KINDS = {
    "constant": "the largest size and the full strength throughout",
    "paper": "Algorithm 1: from the smallest size to the largest, and the regularisation grows with them",
    "released": "google/automl efficientnetv2: the same, but the first stage is already above the smallest size",
    "resize": "sizes as in `paper`, at full strength throughout (Howard, 2018)",
    "random": "one of the sizes of `paper`, drawn for each period (Mix & Match, arXiv 1908.08986), at full strength",
    "random-adaptive": "the same, and the regularisation follows the size",
    "fixres": "one smaller size, a share of the largest, throughout (FixRes, arXiv 1906.06423), at full strength",
}
"""The schedules by name."""

FIRST = {"randaugment": 5.0, "mixup": 0.0, "cutmix": 0.0, "dropout": 0.1}
"""Where a regulariser begins if its range is not given: arXiv 2104.00298, Table 6. CutMix, which the paper does not
name, is as mixup; so has the released code. Stochastic depth does not change in either."""

_REGULARISERS = ("randaugment", "mixup", "cutmix", "dropout", "survival")
_MIXING = ("randaugment", "mixup", "cutmix")  # fields of Augmentation, which checks their values


@dataclass(frozen=True, slots=True, kw_only=True)
class Progression:
    """How size and regularisation go on in a training. A value with a text form.

    A range is (first, last): its value with the first of the sizes and with the last; where `kind` does not adapt, the
    last is used throughout. A range that is None ends at the recipe's own value, and begins at `FIRST` or that value,
    if it is less (dropout does not change in `released`).

    Args:
        kind: one of `KINDS`.
        stages: how many sizes there are; each has an equal part of the steps (of the draws, where random).
        smallest: side of the smallest pictures, in pixels.
        period_epochs: epochs until a random size is drawn anew (8: arXiv 2104.00298, Table 13).
        share: of the largest size, where `kind` is `fixres`.
        randaugment: range of the magnitude.
        mixup: range of alpha.
        cutmix: range of alpha.
        dropout: range of the share dropped before the classifier.
        survival: range of the probability of keeping the last residual branch.

    Raises:
        ValueError: a value is out of its range.
    """

    kind: str = "constant"
    stages: int = 4
    smallest: int = 128
    period_epochs: float = 8.0
    share: float = 0.8
    randaugment: tuple[float, float] | None = None
    mixup: tuple[float, float] | None = None
    cutmix: tuple[float, float] | None = None
    dropout: tuple[float, float] | None = None
    survival: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"a progression must be one of {', '.join(KINDS)}; got {self.kind!r}")
        for name in ("stages", "smallest"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1; got {value!r}")
        if not (math.isfinite(self.period_epochs) and self.period_epochs > 0):
            raise ValueError(f"period_epochs must be positive and finite; got {self.period_epochs!r}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1; got {self.share!r}")
        for name in _REGULARISERS:
            _check_range(name, getattr(self, name))

    def __str__(self) -> str:
        texts = [f"fixres:{_short(self.share)}" if self.kind == "fixres" else self.kind]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("kind", "share") or value == field.default:
                continue
            written = "..".join(map(_short, value)) if isinstance(value, tuple) else _short(value)
            texts.append(f"{field.name}:{written}")
        return ",".join(texts)

    @classmethod
    def parse(cls, text: str) -> Progression:
        """The progression that a text such as `paper,stages:4,smallest:128,randaugment:5..15,dropout:0.1..0.3` names.

        Raises:
            ValueError: a name is unknown or there twice, or a value is not as it must be (says what is).
        """
        first, *rest = (part.strip() for part in text.split(","))
        kind, colon, share = (piece.strip() for piece in first.partition(":"))
        if colon and kind != "fixres":
            raise ValueError(f"a progression must begin with its name, and fixres alone has a share; got {first!r}")
        values: dict[str, Any] = {"kind": kind, **({"share": _number(first, share)} if colon else {})}
        for part in rest:
            name, _, value = (piece.strip() for piece in part.partition(":"))
            if name in values:
                raise ValueError(f"a progression must name each setting once; got {name} twice in {text!r}")
            values[name] = _read(part, name, value)
        return cls(**values)

    @property
    def adaptive(self) -> bool:
        """Whether the regularisation follows the size."""
        return self.kind in ("paper", "released", "random-adaptive")

    def sizes(self, largest: int) -> tuple[int, ...]:
        """The sides of the pictures, in pixels, from the first stage to the last.

        Args:
            largest: the side that the last stage has.
        """
        if self.kind == "constant":
            return (largest,)
        if self.kind == "fixres":
            return (round(self.share * largest),)
        span, last = largest - self.smallest, self.stages - 1
        if self.kind == "released":  # int(128 + (T - 128) (k + 1) / 4)
            return tuple(self.smallest + span * (stage + 1) // self.stages for stage in range(self.stages))
        if not last:
            return (largest,)
        # S_i = S_0 + (S_e - S_0) i / (M - 1), to the nearest pixel
        return tuple(self.smallest + (2 * span * stage + last) // (2 * last) for stage in range(self.stages))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a step of a training has.

    Args:
        stage: which of the progression's sizes, from 0.
        image_size: side of the pictures, in pixels.
        augmentation: how they are varied.
        dropout: share of the pooled features dropped.
        survival: probability of keeping the last residual branch.
        batch_size: pictures in the step.
        learning_rate: of the step.
    """

    stage: int
    image_size: int
    augmentation: Augmentation
    dropout: float
    survival: float
    batch_size: int
    learning_rate: float


def settings_at(recipe: Recipe, step: float, steps: int, *, seed: int = 0) -> Settings:
    """What a step has: a function of nothing but the recipe, how far the training is, and the seed.

    Args:
        recipe: the training.
        step: how far it is: the pictures seen so far over `recipe.batch_size`. Where the batch does not grow, this is
            the number of steps taken.
        steps: of the whole training, in the same measure.
        seed: of the sizes that are drawn.

    Raises:
        ValueError: the recipe has no picture size, or the step is not one of the training.
    """
    if not 0 <= step <= steps or steps < 1:
        raise ValueError(f"step must be from 0 to steps, and steps at least 1; got step {step} of {steps}")
    sizes, progression = sizes_of(recipe), recipe.progression
    stage = _stage(recipe, len(sizes), step, steps, seed)
    size = sizes[stage]
    strength = stage / (len(sizes) - 1) if progression.adaptive and len(sizes) > 1 else 1.0
    mixing: dict[str, Any] = {
        name: _value(recipe, name, getattr(recipe.augmentation, name), strength) for name in _MIXING
    }
    batch_size = _batch_size(recipe, size)
    return Settings(
        stage=stage,
        image_size=size,
        augmentation=replace(recipe.augmentation, **mixing),
        dropout=_value(recipe, "dropout", recipe.dropout, strength),
        survival=_value(recipe, "survival", recipe.survival, strength),
        batch_size=batch_size,
        learning_rate=recipe.learning_rate_at(step, steps) * (batch_size / recipe.batch_size),
    )


def sizes_of(recipe: Recipe) -> tuple[int, ...]:
    """The sides of the pictures a recipe trains on, in pixels, from its first stage to the last.

    Raises:
        ValueError: the recipe has no picture size.
    """
    if recipe.image_size is None:
        raise ValueError("the recipe must have an image_size, the side of its largest training pictures; it has none")
    return recipe.progression.sizes(recipe.image_size)


def sizes_reached(recipe: Recipe, steps: int, *, seed: int = 0) -> tuple[int, ...]:
    """The sides of the pictures that a training of so many steps has, in pixels; few steps do not reach all stages.

    Args:
        recipe: the training.
        steps: of `recipe.batch_size` pictures.
        seed: of the sizes that are drawn.
    """
    at, stages = 0.0, set[int]()
    while at < steps:
        now = settings_at(recipe, at, steps, seed=seed)
        stages.add(now.stage)
        at += max(now.batch_size / recipe.batch_size, steps / 1000)  # of a long training, a thousand looks
    return tuple(sizes_of(recipe)[stage] for stage in sorted(stages))


def check_sizes(recipe: Recipe, architecture: Architecture) -> None:
    """That no picture, of training or evaluation, is smaller than the network's total stride.

    Raises:
        ValueError: one is, or the recipe has no picture size.
    """
    stride, sizes = architecture.total_stride, sizes_of(recipe)
    if min(sizes) < stride:
        progression, largest = recipe.progression, max(sizes)
        if largest < stride or progression.kind in ("constant", "fixres"):
            remedy = f"a larger image_size (--image-size), {recipe.image_size} px now"
        else:
            remedy = f"a larger smallest size, such as --progression {progression.kind},smallest:{stride}"
        raise ValueError(
            f"pictures must have at least the network's total stride as their side, {stride} px; the progression "
            f"{progression} trains at {', '.join(map(str, sizes))} px: take {remedy}"
        )
    if recipe.eval_size is not None and recipe.eval_size < stride:
        raise ValueError(
            f"eval_size, the side of the pictures in evaluation, must be at least the network's total stride, {stride} "
            f"px; got {recipe.eval_size}"
        )


def _stage(recipe: Recipe, count: int, step: float, steps: int, seed: int) -> int:
    if recipe.progression.kind in ("random", "random-adaptive"):
        epoch = min(step, steps - 1) * recipe.epochs / steps
        period = math.floor(epoch / recipe.progression.period_epochs + 1e-9)
        return int(np.random.default_rng((seed, period)).integers(count))
    return min(count - 1, int(step * count // steps))  # Algorithm 1: a stage has N / M steps


def _value(recipe: Recipe, name: str, own: float, strength: float) -> float:
    """A regulariser at a strength from 0 (of the first size) to 1 (of the last)."""
    progression = recipe.progression
    given: tuple[float, float] | None = getattr(progression, name)
    fixed = progression.kind == "released" and name == "dropout"
    first, last = given or (own if fixed else min(own, FIRST.get(name, own)), own)
    return (1 - strength) * first + strength * last


def _batch_size(recipe: Recipe, size: int) -> int:
    """As many whole batches as have the pixels of one at the largest size (or 5 % more): they stay as divisible."""
    if not recipe.smaller_sizes_larger_batches or recipe.image_size is None:
        return recipe.batch_size
    return recipe.batch_size * max(1, int((recipe.image_size / size) ** 2 + 0.05))


def _check_range(name: str, given: Any) -> None:
    if given is None:
        return
    if not (isinstance(given, tuple) and len(given) == 2):
        raise ValueError(f"{name} of a progression must be (first, last), or None; got {given!r}")
    for value in given:
        if name in _MIXING:
            Augmentation(**{name: value})
        elif name == "dropout" and not 0 <= value < 1:
            raise ValueError(f"dropout must be at least 0 and below 1; got {value!r}")
        elif name == "survival" and not 0 < value <= 1:
            raise ValueError(f"survival must be above 0 and at most 1; got {value!r}")


def _read(part: str, name: str, text: str) -> int | float | tuple[float, float]:
    if name in ("stages", "smallest"):
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"{name} must have an integer, such as {name}:4; got {part!r}")
        return int(text)
    if name == "period_epochs":
        return _number(part, text)
    if name not in _REGULARISERS:
        known = ", ".join(("stages", "smallest", "period_epochs", *_REGULARISERS))
        raise ValueError(f"a progression must be its name and then some of {known}, separated by commas; got {part!r}")
    first, dots, last = text.partition("..")
    if not dots:
        raise ValueError(f"{name} must have a range, such as {name}:0.1..0.3; got {part!r}")
    return _number(part, first), _number(part, last)


def _number(part: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"a number must stand where {text!r} does in {part!r}") from None


def _short(value: float) -> str:
    return str(value).removesuffix(".0")
