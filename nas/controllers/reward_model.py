"""What a search has learnt of its rewards: log reward = log accuracy + the rest, a Gaussian process each.

A reward is an accuracy, which only training tells, times a rest, which parameters and step time decide: so the two
are learnt apart. The rest is all but free of noise, and near a straight line in log params, log macs and log
activations, so that a few trials settle it. Of the accuracy the logarithm of the error is modelled, which falls about
evenly with size where the accuracy itself saturates; its prior mean grows with size and cost. A reward of another form,
which may be negative, is modelled as it is, by the first process alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nas.controllers.gaussian_process import Array, Constants, GaussianProcess, Inputs, Likeness, fitted

PRIOR_TREND = np.array([0.5, 0.2, 0.0, 0.1])
"""Prior mean of the accuracy's score, for a standard deviation of log params, log macs, log activations and layers:
about half of the rank correlations known of ImageNet-trained networks of such spaces (.69, .51, -, .27), since these
features go together."""

QUIET = Constants(
    single=math.log(0.03), joint=math.log(0.03), trend=math.log(0.1), linear=math.log(1.0), noise=math.log(0.003)
)
"""Medians of the second process's constants: costs are about linear in log costs, with little noise."""

REFIT = 1.2
"""The constants are chosen again whenever there are so many times the trials of the last choice."""

SMALLEST_ERROR = 1e-3
"""An accuracy above 99.9 % counts as that, so that its error has a logarithm."""

SMALLEST_SPREAD = 0.02
"""Scores are not stretched beyond this: two per cent of the error is what a seed makes of it."""


class Observed(NamedTuple):
    """What came of n networks.

    Attributes:
        inputs: what was known of them.
        accuracies: (n,) mean log accuracy; where there are no rests, the mean reward itself.
        rests: (n,) mean log of reward over accuracy; None where rewards are no accuracy times something positive.
        trainings: (n,) how often each was trained.
    """

    inputs: Inputs
    accuracies: Array
    rests: Array | None
    trainings: Array


class Believed(NamedTuple):
    """Networks whose accuracy is not known, and what is taken for it.

    Attributes:
        inputs: what is known of n networks.
        ceilings: (n,) quantile of the observed scores that each is at most; 1 for one that is only out.
    """

    inputs: Inputs
    ceilings: Array


class RewardModel:
    """The two processes, and the constants of their kernels."""

    def __init__(self) -> None:
        self._constants = (Constants(), QUIET)
        self._chosen_at = 0
        self._accuracy: GaussianProcess | None = None
        self._rest: GaussianProcess | None = None
        self._centre, self._spread = 0.0, 1.0
        self._rest_centre, self._rest_spread = 0.0, 0.0
        self._factors = True  # whether a reward is an accuracy times a rest
        self._inputs = Inputs(np.empty((0, 0)), np.empty((0, 0)))
        self._observed = slice(0)  # which of the inputs were

    def is_due(self, count: int) -> bool:
        """Whether the constants should be chosen anew, with so many networks observed."""
        return count >= max(4, REFIT * self._chosen_at)

    def choose_constants(self, observed: Observed, count: int) -> None:
        """Choose the kernels' constants by what was observed, which may be a part of so many networks."""
        self._chosen_at = count
        scores, rests = self._standardised(observed)
        inputs, trainings = observed.inputs, observed.trainings
        likeness = Likeness.of(inputs, inputs)
        first, second = self._constants
        first = fitted(scores, self._prior(inputs), first, Constants(), trainings, likeness)
        if self._rest_spread:
            second = fitted(rests, 0.0 * rests, second, QUIET, trainings, likeness)
        self._constants = first, second

    def learn(self, observed: Observed, believed: Believed) -> None:
        """Fit both processes anew; at least one network must have been observed."""
        scores, rests = self._standardised(observed)
        self._inputs = Inputs.joined([observed.inputs, believed.inputs])
        self._observed = slice(len(scores))
        likeness = Likeness.of(self._inputs, self._inputs)
        self._accuracy = self._believing(scores, observed.trainings, believed, likeness)
        self._rest = None
        if self._rest_spread:
            likeness = likeness.part(self._observed, self._observed)
            self._rest = GaussianProcess(rests, 0.0 * rests, self._constants[1], observed.trainings, likeness)

    def _standardised(self, observed: Observed) -> tuple[Array, Array]:
        """The targets of both processes; the second's are 0 where the rest is the same for all, or there is none."""
        self._factors = observed.rests is not None
        if observed.rests is None:
            rewards = observed.accuracies
            self._centre, self._spread, self._rest_spread = float(rewards.mean()), float(rewards.std()) or 1.0, 0.0
            return (rewards - self._centre) / self._spread, 0.0 * rewards
        errors = -np.log(np.maximum(SMALLEST_ERROR, -np.expm1(observed.accuracies)))
        self._centre, self._spread = float(errors.mean()), max(float(errors.std()), SMALLEST_SPREAD)
        self._rest_centre, self._rest_spread = float(observed.rests.mean()), float(observed.rests.std())
        if self._rest_spread < 1e-12:
            self._rest_spread = 0.0
        rests = (observed.rests - self._rest_centre) / (self._rest_spread or 1.0)
        return (errors - self._centre) / self._spread, rests

    def upper(self, inputs: Inputs, kappa: float) -> Array:
        """(n,) upper bounds of the log reward, `kappa` standard deviations above the mean (Srinivas et al. 2010).

        Where rewards do not factor, of the reward; before anything was learnt, of the prior.
        """
        prior = self._prior(inputs)
        if self._accuracy is None:
            return prior
        likeness = Likeness.of(self._inputs, inputs)
        mean, deviation = self._accuracy.predict(inputs, prior, likeness)
        first = self._centre + self._spread * (mean + kappa * deviation)
        if not self._factors:
            return first
        bound: Array = np.log(-np.expm1(-np.maximum(first, SMALLEST_ERROR)))
        if self._rest is not None:
            likeness = likeness.part(self._observed, slice(None))
            mean, deviation = self._rest.predict(inputs, np.zeros(len(prior)), likeness)
            bound = bound + self._rest_centre + self._rest_spread * (mean + kappa * deviation)
        return bound

    def _prior(self, inputs: Inputs) -> Array:
        """(n,) prior means of the first process: what is known of accuracies says nothing of any other reward."""
        return trend(inputs) if self._factors else np.zeros(len(inputs.features))

    def _believing(self, scores: Array, trainings: Array, believed: Believed, likeness: Likeness) -> GaussianProcess:
        """The accuracy's process, as if what is not known were as expected (Ginsbourger et al. 2010)."""
        constants, prior = self._constants[0], self._prior(self._inputs)
        known, unknown = self._observed, slice(len(scores), None)
        made = GaussianProcess(scores, prior[known], constants, trainings, likeness.part(known, known))
        if not len(believed.ceilings):
            return made
        mean, _ = made.predict(believed.inputs, prior[unknown], likeness.part(known, unknown))
        ceilings = np.where(believed.ceilings < 1, np.quantile(scores, believed.ceilings), np.inf)
        scores = np.concatenate([scores, np.minimum(mean, ceilings)])
        trainings = np.concatenate([trainings, np.ones(len(mean))])
        return GaussianProcess(scores, prior, constants, trainings, likeness)


def trend(inputs: Inputs) -> Array:
    """(n,) prior means of the accuracy's score."""
    known = min(len(PRIOR_TREND), inputs.features.shape[1])
    result: Array = inputs.features[:, :known] @ PRIOR_TREND[:known]
    return result
