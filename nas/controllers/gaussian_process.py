"""A Gaussian process on architectures: what kernel, how its constants are chosen, what it predicts.

Rasmussen and Williams 2006, chapters 2 and 5. Inputs are a network's choices, one-hot, and its closed-form
features; the kernel is a sum of what such spaces are made of: effects of single choices, their interplay, and
straight and smooth trends in size and cost.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

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


class Likeness(NamedTuple):
    """What the kernel asks of n and m networks, whatever its constants.

    Attributes:
        alike: (n, m) how many choices agree, as a share of those that a network with all its stages makes.
        differing: (n, m) how many choices differ.
        inner: (n, m) inner products of the features.
        squares: (n, m) squared distances of the features.
    """

    alike: Array
    differing: Array
    inner: Array
    squares: Array

    @classmethod
    def of(cls, a: Inputs, b: Inputs) -> Likeness:
        """Of the rows of one with the rows of the other."""
        alike, inner = a.choices @ b.choices.T, a.features @ b.features.T
        differing = np.maximum(a.choices.sum(1)[:, None], b.choices.sum(1)[None, :])
        differing -= alike
        alike /= _choices(a, b)
        squares = -2 * inner
        squares += (a.features**2).sum(1)[:, None]
        squares += (b.features**2).sum(1)[None, :]
        return cls(alike, differing, inner, np.maximum(squares, 0.0, out=squares))

    def part(self, rows: slice, columns: slice) -> Likeness:
        """Of some of the n networks with some of the m."""
        return Likeness(*(values[rows, columns] for values in self))


class Constants(NamedTuple):
    """The kernel's constants, as natural logarithms; targets have unit variance.

    Attributes:
        single: variance of the effects of single choices.
        joint: variance of their interplay.
        reach: how many differing choices the interplay reaches over.
        trend: variance of smooth trends in the features.
        scale: length scale of these, in standard deviations.
        linear: variance of the slopes of straight trends in the features.
        noise: variance of what one training adds.
    """

    single: float = math.log(0.3)
    joint: float = math.log(0.3)
    reach: float = math.log(5.0)
    trend: float = math.log(0.4)
    scale: float = math.log(2.0)
    linear: float = math.log(0.1)
    noise: float = math.log(0.1)


PRIOR_WIDTH = Constants(0.75, 0.75, 0.5, 0.75, 0.35, 0.75, 0.75)
"""Standard deviations of the constants' log-normal priors: a factor of 2 either way is nothing unusual. They are
narrow because the trials of a search are not drawn at random: they gather, and what varies little among them alone
would be taken for what matters little."""


class GaussianProcess:
    """A posterior over functions of networks.

    Args:
        targets: (n,) observed values, about standard normal; of several trainings, their mean.
        mean: (n,) prior mean at the inputs.
        constants: of the kernel.
        trainings: (n,) how many each target is the mean of.
        likeness: of the inputs with themselves.
    """

    def __init__(self, targets: Array, mean: Array, constants: Constants, trainings: Array, likeness: Likeness) -> None:
        self.constants = constants
        covariance = kernel(likeness, constants)
        covariance[np.diag_indices_from(covariance)] += math.exp(constants.noise) / trainings + 1e-8
        self._lower = np.linalg.cholesky(covariance)
        half = solve_triangular(self._lower, targets - mean, lower=True, check_finite=False)
        self._weights = solve_triangular(self._lower, half, lower=True, trans=1, check_finite=False)  # equation 2.25
        self.log_likelihood = float(  # equation 2.30
            -0.5 * half @ half - np.log(np.diag(self._lower)).sum() - 0.5 * len(targets) * math.log(2 * math.pi)
        )

    def predict(self, inputs: Inputs, mean: Array, likeness: Likeness) -> tuple[Array, Array]:
        """Mean and standard deviation of the function, without noise, at m networks (equations 2.25 and 2.26).

        Args:
            inputs: of the networks.
            mean: (m,) prior mean there.
            likeness: of the observed networks with these.
        """
        cross = kernel(likeness, self.constants)
        half = solve_triangular(self._lower, cross, lower=True, check_finite=False, overwrite_b=False)
        half *= half
        variance = np.maximum(prior_variance(inputs, self.constants) - half.sum(0), 1e-10)
        return mean + self._weights @ cross, np.sqrt(variance)


def kernel(likeness: Likeness, c: Constants) -> Array:
    """(n, m) covariances."""
    result: Array = math.exp(c.single) * likeness.alike
    term = math.exp(c.linear) * likeness.inner
    result += term
    for values, rate, variance in (
        (likeness.differing, -math.exp(-c.reach), c.joint),
        (likeness.squares, -0.5 * math.exp(-2 * c.scale), c.trend),
    ):
        np.multiply(values, rate, out=term)  # in place: new memory costs more than the sums
        np.exp(term, out=term)
        term *= math.exp(variance)
        result += term
    return result


def prior_variance(inputs: Inputs, c: Constants) -> Array:
    """(n,) variances: the diagonal of the kernel."""
    single = math.exp(c.single) * inputs.choices.sum(1) / _choices(inputs, inputs)
    straight = math.exp(c.linear) * (inputs.features**2).sum(1)
    variance: Array = single + straight + math.exp(c.joint) + math.exp(c.trend)
    return variance


def _choices(a: Inputs, b: Inputs) -> float:
    """How many choices a network with all its stages makes."""
    return float(max(1.0, a.choices.sum(1).max(initial=0.0), b.choices.sum(1).max(initial=0.0)))


def fitted(
    targets: Array, mean: Array, start: Constants, medians: Constants, trainings: Array, likeness: Likeness
) -> Constants:
    """The constants of the highest posterior density, by a pattern search.

    Deterministic: every constant is tried up and down, by smaller and smaller steps.

    Args:
        targets: as `GaussianProcess`; so are mean, trainings and likeness.
        start: where the search begins.
        medians: of the constants' priors.
    """

    def density(constants: Constants) -> float:
        made = GaussianProcess(targets, mean, constants, trainings, likeness)
        return made.log_likelihood + _log_prior(constants, medians)

    best, score = start, density(start)
    for step in (0.8, 0.4, 0.2):
        before = -math.inf
        while score > before + 0.05:
            before = score
            for name in Constants._fields:
                for change in (step, -step):
                    other = best._replace(**{name: getattr(best, name) + change})
                    if (found := density(other)) > score:
                        best, score = other, found
                        break
    return best


def _log_prior(constants: Constants, medians: Constants) -> float:
    deviations: Array = (np.array(constants) - np.array(medians)) / np.array(PRIOR_WIDTH)
    return -0.5 * float(deviations @ deviations)
