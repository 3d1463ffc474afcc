"""Stopping poor candidates early: Ray Tune's ASHA on the minival curves, with rungs that follow from the journal.

Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934, algorithm 2, in the variant of Ray Tune's that stops
and never pauses): at each rung, after so many epochs, a candidate goes on only if its accuracy is among the best
1/reduction_factor of those that were there before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import nas.ray_settings  # noqa: F401 - before Ray

# isort: split
from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from nas.search import EarlyStopping
from results.trial import Trial

ACCURACY = "accuracy"
"""What a step that measured reports to Tune beside its outcome; Tune itself counts these steps."""

UNBOUNDED = 10**6
"""Epochs, where the evaluator does not say how many it trains: the rungs go on."""


class SessionScheduler(FIFOScheduler):  # type: ignore[misc]
    """Ray Tune's ASHA on the candidates of a session, known by their numbers there.

    So its rungs are at any time what the store's curves make them: a candidate that was begun again is in them once,
    and those of a resumed search are those of the search that was cut off. Tune's names of candidates say nothing
    after a resume. Leaders that are trained again are neither stopped nor in a rung, and nothing is stopped when it
    has been trained to the end.

    Args:
        stopping: how.
        trials: the session's, as its store keeps them up to date; the rungs are filled from their curves.
    """

    def __init__(self, stopping: EarlyStopping, trials: Mapping[int, Trial]) -> None:
        super().__init__()
        self._trials, self._epochs = trials, stopping.epochs
        self._asha = AsyncHyperBandScheduler(
            time_attr=TRAINING_ITERATION,
            metric=ACCURACY,
            mode="max",
            max_t=stopping.epochs or UNBOUNDED,
            grace_period=stopping.grace_epochs,
            reduction_factor=stopping.reduction_factor,
        )
        for trial in trials.values():
            if trial.repeat_of is None and not trial.replicate:
                self._begin(trial.number)
                for epoch, accuracy in enumerate(trial.curve, 1):
                    self._decide(trial.number, epoch, accuracy)

    @property
    def rungs(self) -> dict[float, dict[int, float]]:
        """After how many epochs a candidate may be stopped, and with which accuracies they got there, by number."""
        return dict(self._asha._brackets[0]._rungs)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A candidate begins, or begins again."""
        self._begin(trial.config["number"])

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether a candidate goes on; what is no measurement decides nothing."""
        number = trial.config["number"]
        if ACCURACY not in result or self._trials[number].replicate:
            return str(TrialScheduler.CONTINUE)
        epoch = result[TRAINING_ITERATION]
        decision = self._decide(number, epoch, result[ACCURACY])
        if decision == TrialScheduler.STOP and epoch >= self._most_epochs():
            return str(TrialScheduler.CONTINUE)  # its next step says that it is complete
        return decision

    def _begin(self, number: int) -> None:
        for recorded in self.rungs.values():
            recorded.pop(number, None)
        self._asha.on_trial_add(None, _Known(number))

    def _decide(self, number: int, epoch: int, accuracy: float) -> str:
        return str(self._asha.on_trial_result(None, _Known(number), {TRAINING_ITERATION: epoch, ACCURACY: accuracy}))

    def _most_epochs(self) -> float:
        """For how long a candidate is trained, as the evaluator says or as the complete ones were."""
        if self._epochs is not None:
            return self._epochs
        return max((len(t.curve) for t in self._trials.values() if t.state == "complete"), default=float("inf"))


class _Known(NamedTuple):
    """What ASHA asks of a trial of Tune's: by what to know it."""

    trial_id: int
