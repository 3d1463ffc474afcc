"""What is searched for: a space, what counts as good in it, and what is out of bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.reward import Reward
from results.trial import Failure, Measurement
from search_spaces import Architecture, Cost, Genotype, SearchSpace, cost
from trainers.over_limit import over_memory

LIMITS = ("params", "macs", "activations", "step_time", "peak_memory_bytes")

OBJECTIVES = ("accuracy", "step_time", "params", "macs", "activations", "latency", "peak_memory")
"""What a search can look for the best trade-offs of; of accuracy more is better, of the others less."""

REFERENCE_COST = 2.0
"""Hypervolumes are told against this many times the anchor's cost and an accuracy of 0."""


@dataclass(frozen=True)
class Problem:
    """A search problem.

    Args:
        space: the networks to choose from; its backbone is the anchor of all relative costs.
        reward: what to maximise.
        image_size: side of the pictures that costs are counted for, in pixels.
        num_classes: outputs of the classifier.
        in_channels: 1 for grey pictures, 3 for colour.
        limits: the most `params`, `macs`, `activations` or `step_time` (over the anchor's) that a network may have, all
            known before training; and the most `peak_memory_bytes`, which are measured.
        objectives: of whose trade-offs the front is kept, among `OBJECTIVES`.
        step_time: what a network's step time over the anchor's is expected to be, before it is trained.
        step_time_is_feature: whether controllers are told it with the closed forms; it must be cheap then.

    Raises:
        ValueError: an unknown limit, one that is not positive, a limit of step time that nothing can tell before
            training, or objectives that are unknown, repeated or none.
    """

    space: SearchSpace
    reward: Reward
    image_size: int
    num_classes: int = 1000
    in_channels: int = 3
    limits: Mapping[str, float] = field(default_factory=dict)
    objectives: tuple[str, ...] = ("accuracy", "step_time", "params")
    step_time: Callable[[Architecture], float] | None = None
    step_time_is_feature: bool = False

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            if name not in LIMITS:
                raise ValueError(f"a limit must be one of {', '.join(LIMITS)}; got {name!r}")
            if not (limit > 0 and math.isfinite(limit)):
                raise ValueError(f"the limit of {name} must be positive and finite; got {limit}")
        if "step_time" in self.limits and self.step_time is None:
            raise ValueError(
                "a limit of step_time needs an evaluator that tells it before training: the proxy, a table or a "
                "surrogate with a step_time, or one with a method expected_step_time(architecture)"
            )
        if not self.objectives or any(name not in OBJECTIVES for name in self.objectives):
            raise ValueError(f"objectives must be among {', '.join(OBJECTIVES)}; got {', '.join(self.objectives)}")
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"each objective must be named once; got {', '.join(self.objectives)}")

    @cached_property
    def anchor(self) -> Cost:
        """The cost of the space's backbone."""
        return self.cost(self.space.backbone)

    def cost(self, architecture: Architecture) -> Cost:
        """Params, macs and activations of a network on this problem's pictures."""
        return cost(architecture, self.image_size, num_classes=self.num_classes, in_channels=self.in_channels)

    @cached_property
    def features(self) -> ClosedForm:
        """What is known of a genotype before any training."""
        return ClosedForm(self)

    def broken_limit(self, architecture: Architecture) -> str | None:
        """Which limit the network is over, in words; None where it is within all."""
        known = self.cost(architecture)
        for name, limit in self.limits.items():
            if name == "step_time":
                assert self.step_time is not None
                if (expected := self.step_time(architecture)) > limit:
                    return f"step_time {expected:.3f}, as expected before training, is over the limit of {limit:g}"
            elif name in Cost._fields and (value := getattr(known, name)) > limit:
                return f"{name} {value} is over the limit of {limit:g}"
        return None

    def broken_by(self, measurement: Measurement) -> Failure | None:
        """The limit that what was measured is over, or that cannot be told for want of it; None where it is within."""
        limit, found = self.limits.get("peak_memory_bytes"), measurement.peak_memory_bytes
        if limit is None:
            return None
        if found is None:
            return Failure(
                "error",
                "the limit of peak_memory_bytes needs an evaluator that measures it, and this one does not: leave the "
                "limit out, or choose another evaluator",
            )
        over = over_memory(found, limit)
        return None if over is None else Failure("over_limit", over)

    def gains(self, measurement: Measurement) -> tuple[float, ...] | None:
        """What a network gains in each objective, from 0 at the reference to 1; None where one was not measured.

        The accuracy itself, and the share of `REFERENCE_COST` times the anchor's cost that is saved.
        """
        values = []
        for name in self.objectives:
            value = getattr(measurement, name)
            if value is None:
                return None
            relative = value / getattr(self.anchor, name) if name in Cost._fields else value
            values.append(float(value) if name == "accuracy" else 1 - relative / REFERENCE_COST)
        return tuple(values)

    def completed(self, measurement: Measurement, architecture: Architecture) -> Measurement:
        """The measurement with params, macs and activations in closed form where it has none."""
        known = self.cost(architecture)._asdict()
        return replace(measurement, **{k: v for k, v in known.items() if getattr(measurement, k) is None})


def reference_point(identity: Mapping[str, Any]) -> dict[str, float]:
    """What the hypervolume of a search with this identity is told against: by objective, the value that gains 0."""
    shape = {name: identity["task"][name] for name in ("num_classes", "in_channels") if name in identity["task"]}
    anchor = cost(SearchSpace.from_json(identity["space"]).backbone, identity["image_size"], **shape)
    relative = dict.fromkeys(OBJECTIVES, REFERENCE_COST)
    return {**relative, **{k: REFERENCE_COST * v for k, v in anchor._asdict().items()}, "accuracy": 0.0}


class ClosedForm:
    """What a problem knows of a genotype before any training; what a controller is made with.

    Args:
        problem: gives the picture size that costs are counted for, and the limits.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._feasible = lru_cache(maxsize=2**15)(self._is_feasible)  # controllers look at a network many times
        self.objectives = problem.objectives

    def __call__(self, genotype: Genotype) -> NDArray[np.float64]:
        """Log params, log macs, log activations, layers; and log step time where the problem has it told."""
        problem = self._problem
        architecture = problem.space.decode(genotype)
        layers = sum(stage.layers for stage in architecture.stages)
        known = [*(math.log(value) for value in problem.cost(architecture)), layers]
        if problem.step_time_is_feature and problem.step_time is not None:
            known.append(math.log(problem.step_time(architecture)))
        return np.array(known, dtype=np.float64)

    def feasible(self, genotype: Genotype) -> bool:
        """Whether the network is within all limits."""
        return not self._problem.limits or self._feasible(genotype)

    def _is_feasible(self, genotype: Genotype) -> bool:
        return self._problem.broken_limit(self._problem.space.decode(genotype)) is None
