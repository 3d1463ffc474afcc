"""A Gaussian process on architectures: what kernel, how its constants are chosen, what it predicts.

Rasmussen and Williams 2006, chapters 2 and 5. Inputs are a network's choices, one-hot, and its closed-form
features; the kernel is a sum of what such spaces are made of: effects of single choices, their interplay, and
smooth trends in size and cost.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Inputs(NamedTuple):
    """What is known of some networks before training.

    Attributes:
        choices: (n, d) one-hot; an absent stage's are all 0.
        features: (n, f), standardised over the space.
    """

    choices: Array
    features: Array

    @staticmethod
    def joined(parts: list[Inputs]) -> Inputs:
        """The rows of all."""
        return Inputs(np.concatenate([p.choices for p in parts]), np.concatenate([p.features for p in parts]))


class Constants(NamedTuple):
    """The kernel's constants, as natural logarithms; targets have unit variance.

    Attributes:
        single: variance of the effects of single choices.
        joint: variance of their interplay.
        reach: how many differing choices the interplay reaches over.
        trend: variance of smooth trends in the features.
        scale: length scale of these, in standard deviations.
        noise: variance of what training adds.
    """

    single: float = math.log(0.3)
    joint: float = math.log(0.3)
    reach: float = math.log(5.0)
    trend: float = math.log(0.4)
    scale: float = math.log(2.0)
    noise: float = math.log(0.1)


PRIOR_WIDTH = Constants(1.5, 1.5, 1.0, 1.5, 0.7, 1.5)
"""Standard deviations of the constants' log-normal priors, whose medians are the defaults above."""


class GaussianProcess:
    """A posterior over functions of networks.

    Args:
        inputs: of the observed networks, n rows.
        targets: (n,) observed values, about standard normal.
        mean: (n,) prior mean at the inputs.
        constants: of the kernel.
    """

    def __init__(self, inputs: Inputs, targets: Array, mean: Array, constants: Constants) -> None:
        self._inputs, self.constants = inputs, constants
        covariance = kernel(inputs, inputs, constants)
        covariance[np.diag_indices_from(covariance)] += math.exp(constants.noise) + 1e-8
        self._lower = np.linalg.cholesky(covariance)
        self._inverse = np.linalg.inv(self._lower)
        residual = targets - mean
        self._weights = self._inverse.T @ (self._inverse @ residual)  # alpha, equation 2.25
        half = self._inverse @ residual
        self.log_likelihood = float(  # equation 2.30
            -0.5 * half @ half - np.log(np.diag(self._lower)).sum() - 0.5 * len(targets) * math.log(2 * math.pi)
        )

    def predict(self, inputs: Inputs, mean: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the function, without noise, at m networks (equations 2.25 and 2.26).

        Args:
            inputs: of the networks.
            mean: (m,) prior mean there.
        """
        cross = kernel(inputs, self._inputs, self.constants)
        half = cross @ self._inverse.T
        c = self.constants
        singles = inputs.choices.sum(1) / max(1, self._inputs.choices.sum(1).max())
        prior = math.exp(c.single) * np.minimum(1.0, singles) + math.exp(c.joint) + math.exp(c.trend)
        variance = np.maximum(prior - (half * half).sum(1), 1e-10)
        return mean + cross @ self._weights, np.sqrt(variance)


def kernel(a: Inputs, b: Inputs, c: Constants) -> Array:
    """(n, m) covariances."""
    alike = a.choices @ b.choices.T  # how many choices agree
    most = max(1.0, a.choices.sum(1).max(initial=0.0), b.choices.sum(1).max(initial=0.0))
    differing = np.maximum(a.choices.sum(1)[:, None], b.choices.sum(1)[None, :]) - alike
    squares = (a.features**2).sum(1)[:, None] + (b.features**2).sum(1)[None, :] - 2 * a.features @ b.features.T
    result: Array = math.exp(c.single) / most * alike
    result += math.exp(c.joint) * np.exp(differing / -math.exp(c.reach))
    result += math.exp(c.trend) * np.exp(np.maximum(squares, 0.0) / (-2 * math.exp(2 * c.scale)))
    return result


def fitted(inputs: Inputs, targets: Array, mean: Array, start: Constants) -> GaussianProcess:
    """The process whose constants have the highest posterior density, by a pattern search from `start`.

    Deterministic: every constant is tried up and down, by smaller and smaller steps.
    """

    def scored(constants: Constants) -> tuple[float, GaussianProcess]:
        made = GaussianProcess(inputs, targets, mean, constants)
        return made.log_likelihood + _log_prior(constants), made

    score, best = scored(start)
    for step in (0.8, 0.4, 0.2):
        before = -math.inf
        while score > before + 0.05:
            before = score
            for name in Constants._fields:
                for change in (step, -step):
                    value = getattr(best.constants, name) + change
                    other, made = scored(best.constants._replace(**{name: value}))
                    if other > score:
                        score, best = other, made
                        break
    return best


def _log_prior(constants: Constants) -> float:
    pairs = zip(constants, Constants(), PRIOR_WIDTH, strict=True)
    return -0.5 * sum(((value - median) / width) ** 2 for value, median, width in pairs)
