"""`SearchSession`: the bookkeeping of a search, between a controller, an evaluator and a store.

Two verbs, as of a controller: `ask` gives a trial to evaluate, `tell` takes what came of it. Every ask and
every tell is in the store before it has any effect, so that a session replayed from its store is the session.
"""

from __future__ import annotations

import hashlib
import math
import operator
import time
from dataclasses import replace

from nas.controllers import Controller
from nas.evaluation import failure_of
from nas.problem import Problem
from results.store import TrialStore
from results.trial import Failure, Measurement, State, Trial
from search_spaces import Genotype

MAX_ATTEMPTS = 3
MAX_FAILURES_IN_A_ROW = 10
MAX_KNOWN_IN_A_ROW = 1000


class SearchSession:
    """One search. Make it, then `ask`, evaluate and `tell` until `finished`.

    Args:
        problem: the space, the reward and the limits.
        controller: a fresh one; a store that holds trials is replayed into it.
        store: open for writing.
        budget: how many candidates to evaluate, failed ones included.
        seed: the trials' seeds are a function of it.
        fork: go on where the controller proposes something else than the store says it did.

    Raises:
        ValueError: budget is under 1, or the controller does not repeat what the store says (names the trial).
    """

    def __init__(
        self, problem: Problem, controller: Controller, store: TrialStore, *, budget: int, seed: int, fork: bool = False
    ) -> None:
        if budget < 1:
            raise ValueError(f"budget must be at least 1 candidate; got {budget}")
        self.problem, self.store, self.budget = problem, store, budget
        self.stopped_because: str | None = None
        self._controller, self._seed = controller, seed
        self._first: dict[tuple[str, int], int] = {}  # (architecture, replicate) -> the trial that evaluates it
        self._open: set[int] = set()  # asked and not told
        self._asked = 0
        self._known_in_a_row = 0
        self._failures: list[str] = []
        self.evaluated = 0
        self.running: set[int] = set()
        self.best: Trial | None = None
        self._replay(fork)
        self._again = sorted(self.running)  # asked for by a session that was killed: evaluated again
        for number in self._answerable():
            self._answer(number)

    @property
    def finished(self) -> bool:
        """Whether no more trials will be given out and none is running."""
        return not self.running and (self.stopped_because is not None or self.evaluated >= self.budget)

    def stop(self, reason: str) -> None:
        """Give out no more trials."""
        self.stopped_because = self.stopped_because or reason

    def ask(self) -> Trial | None:
        """The next trial to evaluate; None when there is none now (see `finished`)."""
        trial = self._interrupted() or self._new()
        if trial is None:
            self.store.sync()  # no ask will follow soon
        return trial

    def _interrupted(self) -> Trial | None:
        """A trial that was asked for before and never told."""
        while self._again and self.stopped_because is None:
            number = self._again.pop(0)
            if self.store.trials[number].attempt < MAX_ATTEMPTS:
                self.store.attempted(number, "the search was interrupted")
                return self.store.trials[number]
            self.tell(number, Failure("worker_lost", f"begun {MAX_ATTEMPTS} times and never ended"))
        return None

    def _new(self) -> Trial | None:
        """A trial that the controller proposes; on the way, repeats and infeasible ones are answered."""
        while self.stopped_because is None and self.evaluated < self.budget:
            if self._known_in_a_row >= MAX_KNOWN_IN_A_ROW:
                if not self.running:  # otherwise the tells to come may bring the controller on
                    self.stop(f"the controller proposed nothing new {MAX_KNOWN_IN_A_ROW} times in a row")
                return None
            genotype = self._proposal()
            if genotype is None:
                if not self.running:
                    self.stop("the controller has nothing more to propose: the space is exhausted")
                return None
            trial = self._admit(genotype)
            self.store.asked(trial)
            self._note_asked(trial)
            if trial.state == "running":
                return trial
            if trial.repeat_of not in self.running:
                self._answer(trial.number)
        return None

    def measured(self, number: int, measurement: Measurement) -> None:
        """Record a measurement of a running trial."""
        architecture = self.problem.space.decode(self.store.trials[number].genotype)
        self.store.measured(number, self.problem.completed(measurement, architecture))

    def attempt_lost(self, number: int, reason: str) -> None:
        """Record that a trial's worker was lost and that it is begun again."""
        self.store.attempted(number, reason)

    def tell(self, number: int, failure: Failure | None = None, *, stopped: bool = False) -> Trial:
        """Record that a trial is over: measured to its end, stopped early, or failed.

        Returns:
            the trial as it stands in the store.
        """
        trial = self.store.trials[number]
        reward = None
        if failure is None and not stopped:
            reward, failure = self._reward(trial)
        state: State = "failed" if failure is not None else "stopped" if stopped else "complete"
        self._record(
            replace(
                trial,
                state=state,
                failure=None if failure is None else failure.kind,
                reason=None if failure is None else failure.reason,
                reward=reward,
            )
        )
        for repeat in self._answerable():
            self._answer(repeat)
        return self.store.trials[number]

    def _proposal(self) -> Genotype | None:
        genotype = self._controller.ask()
        return None if genotype is None else tuple(operator.index(i) for i in genotype)  # numpy's are no JSON

    def _admit(self, genotype: Genotype) -> Trial:
        """The trial for a proposal: to be evaluated, a repeat, or infeasible."""
        architecture = self.problem.space.decode(genotype)
        text, replicate = str(architecture), 0
        trial = Trial(
            number=self._asked,
            genotype=genotype,
            architecture=text,
            seed=trial_seed(self._seed, text, replicate),
            replicate=replicate,
            features=tuple(self.problem.features(genotype).tolist()),
            asked_at=time.time(),
        )
        if (text, replicate) in self._first:
            return replace(trial, state="repeat", repeat_of=self._first[text, replicate])
        if (limit := self.problem.broken_limit(architecture)) is not None:
            return replace(trial, state="infeasible", reason=limit)
        return trial

    def _answer(self, number: int) -> None:
        """Tell a trial that needs no evaluation: a repeat of one that is over, or an infeasible one."""
        trial = self.store.trials[number]
        original = trial if trial.repeat_of is None else self.store.trials[trial.repeat_of]
        self._record(replace(trial, failure=original.failure, reason=original.reason, reward=original.reward))

    def _reward(self, trial: Trial) -> tuple[float | None, Failure | None]:
        if trial.measurement is None:
            return None, Failure("error", "the evaluator gave no measurement")
        try:
            reward = self.problem.reward(trial.measurement, self.problem.anchor)
        except ValueError as error:
            return None, Failure("error", f"reward: {error}")
        except Exception as error:  # noqa: BLE001 - a user's formula may fail in any way; the failure is recorded
            return None, Failure("error", f"reward: {failure_of(error).reason}")
        if not math.isfinite(reward):
            return None, Failure("error", f"reward: it must be finite; got {reward}")
        return reward, None

    def _record(self, trial: Trial) -> None:
        """Store first, tell second."""
        self.store.told(replace(trial, told_at=time.time()))
        self._note_told(self.store.trials[trial.number])
        self._controller.tell(self.store.trials[trial.number])

    def _note_asked(self, trial: Trial) -> None:
        self._asked = trial.number + 1
        self._open.add(trial.number)
        if trial.state == "running":
            self._first[trial.architecture, trial.replicate] = trial.number
            self.running.add(trial.number)
            self.evaluated += 1
            self._known_in_a_row = 0
            return
        self._known_in_a_row += 1

    def _note_told(self, trial: Trial) -> None:
        self._open.discard(trial.number)
        if trial.state in ("repeat", "infeasible"):
            return
        self.running.discard(trial.number)
        if trial.reward is not None and (
            self.best is None or self.best.reward is None or trial.reward > self.best.reward
        ):
            self.best = trial
        self._failures.append(f"{trial.failure}: {(trial.reason or '').split(':')[0]}" if trial.failure else "")
        last = self._failures[-MAX_FAILURES_IN_A_ROW:]
        if len(last) == MAX_FAILURES_IN_A_ROW and last[0] and len(set(last)) == 1:
            self.stop(
                f"{MAX_FAILURES_IN_A_ROW} candidates in a row failed the same way ({trial.failure}: {trial.reason})"
            )
            self._failures = []  # a search that is resumed after this tries again

    def _answerable(self) -> list[int]:
        """The repeats and infeasible trials that wait for no running trial and have not been told."""
        known = (self.store.trials[number] for number in sorted(self._open - self.running))
        return [trial.number for trial in known if trial.repeat_of not in self.running]

    def _replay(self, fork: bool) -> None:
        """Put the controller and the tallies where the store says they were.

        Raises:
            ValueError: the controller proposes something else than the store says, and fork is not set.
        """
        events = list(self.store.events())
        forks = [place for place, event in enumerate(events) if event["event"] == "forked"]
        differs = None
        for place, event in enumerate(events):
            if event["event"] == "asked":
                trial = replace(self.store.trials[event["number"]], state=event["state"])
                proposed = self._proposal()
                if proposed != trial.genotype and place > max(forks, default=-1) and differs is None:
                    differs = trial.number
                    if not fork:
                        raise ValueError(
                            f"trial {differs}: the controller must propose {trial.genotype} again, as the journal "
                            f"has it; it proposed {proposed}. Another processor or library version can cause this: "
                            f"`--fork` goes on from here all the same, and records that it did"
                        )
                self._note_asked(trial)
            elif event["event"] == "told":
                self._note_told(self.store.trials[event["number"]])
                self._controller.tell(self.store.trials[event["number"]])
        if differs is not None:
            self.store.record({"event": "forked", "at_trial": differs})
        self.stopped_because = None


def trial_seed(run_seed: int, architecture: str, replicate: int) -> int:
    """The seed of a trial's training: the same whenever, wherever and in whatever order it is evaluated."""
    key = f"{run_seed}|{architecture}|{replicate}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) >> 1  # fits a signed 64-bit column
