"""Rewards: one number for an accuracy and what it costs.

A reward is a function whose positional arguments are names of measured quantities and whose keyword-only
arguments are its weights, so that a formula stands as the paper prints it; `bind` makes it answer for a
measurement. Costs are relative to the anchor's (the space's backbone): a constant factor in a cost only
rescales all rewards.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping

from results.trial import Measurement
from search_spaces import Cost

Reward = Callable[[Measurement, Cost], float]
"""The reward of a measurement, given the cost of the anchor."""


def training_aware(accuracy: float, step_time: float, params: float, *, w: float = -0.07, v: float = -0.05) -> float:
    """A·S^w·P^v: accuracy, training step time, parameters (EfficientNetV2, arXiv 2104.00298, section 3.2)."""
    _check_positive(accuracy=accuracy, step_time=step_time, params=params)
    return float(accuracy * step_time**w * params**v)


def efficientnet(accuracy: float, macs: float, *, target: float = 1.0, w: float = -0.07) -> float:
    """A·(macs/T)^w (EfficientNet, arXiv 1905.11946, section 4)."""
    _check_positive(accuracy=accuracy, macs=macs, target=target)
    return float(accuracy * (macs / target) ** w)


def mnasnet_soft(accuracy: float, step_time: float, *, target: float = 1.0, w: float = -0.07) -> float:
    """A·(LAT/T)^w, with the step time as LAT (MnasNet, arXiv 1807.11626, equation 2 with α = β = w)."""
    _check_positive(accuracy=accuracy, step_time=step_time, target=target)
    return float(accuracy * (step_time / target) ** w)


def mnasnet_hard(accuracy: float, step_time: float, *, target: float = 1.0, beta: float = -1.0) -> float:
    """A, or A·(LAT/T)^β past the target (MnasNet, arXiv 1807.11626, equation 2 with α = 0)."""
    _check_positive(accuracy=accuracy, step_time=step_time, target=target)
    return float(accuracy * (step_time / target) ** (beta if step_time > target else 0.0))


def accuracy(accuracy: float) -> float:
    """A alone."""
    _check_positive(accuracy=accuracy)
    return accuracy


REWARDS: dict[str, Callable[..., float]] = {
    "training-aware": training_aware,
    "efficientnet": efficientnet,
    "mnasnet-soft": mnasnet_soft,
    "mnasnet-hard": mnasnet_hard,
    "accuracy": accuracy,
}
"""The rewards by name."""

_QUANTITIES = (
    *("accuracy", "step_time", "params", "macs", "activations", "latency", "peak_memory"),
    *("peak_memory_bytes", "step_time_s", "latency_s"),
)


def bind(formula: Callable[..., float], weights: Mapping[str, float]) -> Reward:
    """The reward that a formula gives a measurement.

    Args:
        formula: its positional arguments are among accuracy, step_time, params, macs, activations (the last
            three arrive divided by the anchor's; step_time is so already), latency and peak_memory (over the anchor's
            too), peak_memory_bytes, step_time_s, latency_s.
        weights: values for its keyword-only arguments.

    Raises:
        ValueError: the formula asks for something else, has no such weight (lists those it has), or needs one
            that is not given.
    """
    names = quantities(formula)
    parameters = inspect.signature(formula).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    if strange := [q for q in names if q not in _QUANTITIES]:
        raise ValueError(
            f"a reward's positional arguments must be among {', '.join(_QUANTITIES)} "
            f"(weights are keyword-only); got {', '.join(strange)}"
        )
    if unknown := [name for name in weights if name not in known]:
        raise ValueError(f"this reward has the weights {', '.join(known) or '(none)'}; got {', '.join(unknown)}")
    needed = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if lacking := [name for name in needed if name not in weights]:
        raise ValueError(f"this reward needs the weights {', '.join(needed)}; {', '.join(lacking)} is not given")

    def reward(measurement: Measurement, anchor: Cost) -> float:
        return float(formula(*(_relative(measurement, q, anchor) for q in names), **weights))

    return reward


def quantities(formula: Callable[..., float]) -> list[str]:
    """The names of a formula's positional arguments: the measured quantities that it needs.

    Raises:
        ValueError: it cannot be called.
    """
    if not callable(formula):
        raise ValueError(f"a reward must be a function; got {formula!r}")
    parameters = inspect.signature(formula).parameters.values()
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _relative(measurement: Measurement, quantity: str, anchor: Cost) -> float:
    value = getattr(measurement, quantity)
    if value is None:
        raise ValueError(
            f"the reward needs {quantity}, and the evaluator did not measure it: have the evaluator return it, "
            f"or choose another reward ({', '.join(REWARDS)})"
        )
    return float(value / getattr(anchor, quantity)) if quantity in Cost._fields else float(value)


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive and finite; got {value}")
