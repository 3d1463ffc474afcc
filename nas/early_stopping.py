"""Stopping poor candidates early: Ray Tune's ASHA on the minival curves, with rungs that follow from the journal.

Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934, algorithm 2, in the variant of Ray Tune's that stops
and never pauses): at each rung, after so many epochs, a candidate goes on only if its score is among the best
1/reduction_factor of those that were there before it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import nas.ray_settings  # noqa: F401 - before Ray

# isort: split
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from nas.search import EarlyStopping
from nas.session import SearchSession
from results.trial import Measurement

UNBOUNDED = 10**6
"""Epochs, where the evaluator does not say how many it trains: the rungs go on."""


class SessionScheduler(FIFOScheduler):  # type: ignore[misc]
    """Ray Tune's ASHA on the candidates of a session, known by their numbers there.

    So its rungs are at any time what the journal makes them: a candidate that was begun again is in them once, and
    those of a resumed search are those of the search that was cut off. Tune's names of candidates say nothing after a
    resume. Leaders that are trained again are neither stopped nor in a rung, and nothing is stopped when it has been
    trained to the end.

    Args:
        session: whose candidates are stopped; the rungs are filled from its store's journal.
        stopping: when.
    """

    def __init__(self, session: SearchSession, stopping: EarlyStopping) -> None:
        super().__init__()
        self._session, self._stopping = session, stopping
        self._trials = session.store.trials  # kept up to date by the store
        self._asha = AsyncHyperBandScheduler(
            time_attr=_EPOCH,
            metric=_SCORE,
            mode="max",
            max_t=stopping.epochs or UNBOUNDED,
            grace_period=stopping.grace_epochs,
            reduction_factor=stopping.reduction_factor,
        )
        for event in session.store.events():
            if event["event"] in ("asked", "attempted"):
                self._begin(event["number"])
            elif event["event"] == "measured":
                self._decide(event["number"], Measurement(**event["measurement"]))

    @property
    def rungs(self) -> dict[float, dict[int, float]]:
        """After how many epochs a candidate may be stopped, and with which scores they got there, by number."""
        return dict(self._asha._brackets[0]._rungs)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A candidate begins, or begins again."""
        self._begin(trial.config["number"])

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether a candidate goes on; what is no measurement decides nothing."""
        measurement = result["outcome"]
        if not isinstance(measurement, Measurement):
            return _GO_ON
        decision = self._decide(trial.config["number"], measurement)
        if decision == TrialScheduler.STOP and (measurement.epoch or 0) >= self._most_epochs():
            return _GO_ON  # its next step says that it is complete
        return decision

    def _begin(self, number: int) -> None:
        for recorded in self.rungs.values():
            recorded.pop(number, None)
        self._asha.on_trial_add(None, _Known(number))

    def _decide(self, number: int, measurement: Measurement) -> str:
        if self._trials[number].replicate:
            return _GO_ON
        by_reward = self._stopping.stop_by == "reward"
        score = self._session.reward_so_far(number, measurement) if by_reward else measurement.accuracy
        if score is None:  # it has no reward, which its end will say
            return _GO_ON
        if measurement.epoch not in self._stopping.rungs:  # Ray would compare it at an earlier rung
            return _GO_ON
        return str(self._asha.on_trial_result(None, _Known(number), {_EPOCH: measurement.epoch, _SCORE: score}))

    def _most_epochs(self) -> float:
        """For how long a candidate is trained, as the evaluator says or as the complete ones were."""
        if self._stopping.epochs is not None:
            return self._stopping.epochs
        complete = (t.epochs for t in self._trials.values() if t.state == "complete")
        return max(complete, default=float("inf"))


class _Known(NamedTuple):
    """What ASHA asks of a trial of Tune's: by what to know it."""

    trial_id: int


_EPOCH, _SCORE = "epoch", "score"
_GO_ON = str(TrialScheduler.CONTINUE)
