"""What is searched for: a space, what counts as good in it, and what is out of bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nas.reward import Reward
from results.trial import Measurement
from search_spaces import Architecture, Cost, Genotype, SearchSpace, cost

LIMITS = ("params", "macs", "activations")


@dataclass(frozen=True)
class Problem:
    """A search problem.

    Args:
        space: the networks to choose from; its backbone is the anchor of all relative costs.
        reward: what to maximise.
        image_size: side of the pictures that costs are counted for, in pixels.
        num_classes: outputs of the classifier.
        in_channels: 1 for grey pictures, 3 for colour.
        limits: the most `params`, `macs` or `activations` that a network may have.

    Raises:
        ValueError: an unknown limit, or one that is not positive.
    """

    space: SearchSpace
    reward: Reward
    image_size: int
    num_classes: int = 1000
    in_channels: int = 3
    limits: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            if name not in LIMITS:
                raise ValueError(f"a limit must be one of {', '.join(LIMITS)}; got {name!r}")
            if not limit > 0:
                raise ValueError(f"the limit of {name} must be positive; got {limit}")

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
            if (value := getattr(known, name)) > limit:
                return f"{name} {value} is over the limit of {limit:g}"
        return None

    def completed(self, measurement: Measurement, architecture: Architecture) -> Measurement:
        """The measurement with params, macs and activations in closed form where it has none."""
        known = self.cost(architecture)._asdict()
        return replace(measurement, **{k: v for k, v in known.items() if getattr(measurement, k) is None})


class ClosedForm:
    """What a problem knows of a genotype before any training; what a controller is made with.

    Args:
        problem: gives the picture size that costs are counted for, and the limits.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def __call__(self, genotype: Genotype) -> NDArray[np.float64]:
        """Log params, log macs, log activations and the number of layers."""
        architecture = self._problem.space.decode(genotype)
        layers = sum(stage.layers for stage in architecture.stages)
        return np.array([*(math.log(value) for value in self._problem.cost(architecture)), layers], dtype=np.float64)

    def feasible(self, genotype: Genotype) -> bool:
        """Whether the network is within all limits."""
        problem = self._problem
        return not problem.limits or problem.broken_limit(problem.space.decode(genotype)) is None
