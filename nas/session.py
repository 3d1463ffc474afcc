"""`SearchSession`: the bookkeeping of a search, between a controller, an evaluator and a store.

Two verbs, as of a controller: `ask` gives a trial to evaluate, `tell` takes what came of it. Every ask and
every tell is in the store before it has any effect, so that a session replayed from its store is the session.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace

from nas.arms import Arms
from nas.controllers import Controller
from nas.controllers.random_search import RandomSearch
from nas.evaluation import rewarded
from nas.front import Front
from nas.leaders import CONFIRMATIONS, to_confirm
from nas.problem import Problem
from nas.reuse import Trainings, reused
from results.store import TrialStore
from results.trial import Arm, Failure, Measurement, State, Trial
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
        random_arm: the share of all proposals that random search makes instead of the controller.
        confirm: how many leaders are trained again, beyond the budget, when it is used up.
        earlier: what earlier runs measured, which is not evaluated again and counts in no budget.
        first_draw: what is proposed in the controller's place at first.
        fork: go on where the controller proposes something else than the store says it did.

    Raises:
        ValueError: budget is under 1, confirm under 0, random_arm no share, or the controller does not repeat what
            the store says (names the trial).
    """

    def __init__(
        self,
        problem: Problem,
        controller: Controller,
        store: TrialStore,
        *,
        budget: int,
        seed: int,
        random_arm: float = 0.0,
        confirm: int = 0,
        earlier: Trainings | None = None,
        first_draw: Sequence[Genotype] = (),
        fork: bool = False,
    ) -> None:
        if budget < 1:
            raise ValueError(f"budget must be at least 1 candidate; got {budget}")
        if confirm < 0:
            raise ValueError(f"confirm must be at least 0 leaders; got {confirm}")
        self.problem, self.store, self.budget, self.confirm = problem, store, budget, confirm
        self._stopped: str | None = None
        self._exhausted: str | None = None
        self._controller, self._seed, self._earlier = controller, seed, earlier or {}
        chance = RandomSearch(problem.space, problem.features, trial_seed(seed, "random arm", 0))
        self._arms = Arms(controller, chance, random_arm, first_draw)
        self._front = Front()
        self._first: dict[tuple[str, int], int] = {}  # (architecture, replicate) -> the trial that evaluates it
        self._open: set[int] = set()  # asked and not told
        self._asked = 0
        self._known_in_a_row = 0
        self._failures: list[str] = []
        self.evaluated = 0
        self.confirmed = 0
        self.running: set[int] = set()
        self.best: Trial | None = None
        self._replay(fork)
        self._again = sorted(self.running)  # asked for by a session that was killed: evaluated again
        for number in self._answerable():
            self._answer(number)

    @property
    def stopped_because(self) -> str | None:
        """Why no more trials are given out although the budget is not used up."""
        return self._stopped or self._exhausted

    @property
    def planned(self) -> int:
        """How many evaluations there will be, if nothing ends the search early; of confirming ones, at the most."""
        to_come = len(self._unconfirmed()) if self._searched else self.confirm * CONFIRMATIONS
        return (self.budget if self._exhausted is None else self.evaluated) + self.confirmed + to_come

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped is not None

    @property
    def over(self) -> bool:
        """Whether no more trials will be given out."""
        if self._stopped is not None:
            return True
        return self._searched and (not self.confirm or (not self.running and not self._unconfirmed()))

    @property
    def finished(self) -> bool:
        """Whether no more trials will be given out and none is running."""
        return not self.running and self.over

    def stop(self, reason: str) -> None:
        """Give out no more trials."""
        self._stopped = self._stopped or reason

    def ask(self) -> Trial | None:
        """The next trial to evaluate; None when there is none now (see `finished`)."""
        trial = self._interrupted() or self._new() or self._confirming()
        if trial is None:
            self.store.sync()  # no ask will follow soon
        return trial

    def _interrupted(self) -> Trial | None:
        """A trial that was asked for before and never told."""
        while self._again and self._stopped is None:
            number = self._again.pop(0)
            if self.store.trials[number].attempt < MAX_ATTEMPTS:
                self.store.attempted(number, "the search was interrupted")
                return self.store.trials[number]
            self.tell(number, Failure("worker_lost", f"begun {MAX_ATTEMPTS} times and never ended"))
        return None

    def _new(self) -> Trial | None:
        """A trial that the controller proposes; on the way, those that need no evaluation are answered."""
        while self._stopped is None and self._exhausted is None and self.evaluated < self.budget:
            if self._known_in_a_row >= MAX_KNOWN_IN_A_ROW:
                if not self.running:  # otherwise the tells to come may bring the controller on
                    self._exhausted = f"the controller proposed nothing new {MAX_KNOWN_IN_A_ROW} times in a row"
                return None
            genotype, arm = self._arms.propose(self._asked)
            if genotype is None:
                if not self.running:
                    within = " within the limits" if self.problem.limits else ""
                    self._exhausted = f"the controller has nothing more to propose: the space is exhausted{within}"
                return None
            trial = self._admit(genotype, arm)
            self._give_out(trial)
            if trial.number in self.running:
                return trial
            if trial.repeat_of not in self.running:
                self._answer(trial.number)
        return None

    def _confirming(self) -> Trial | None:
        """A leader to train once more, when the search itself is over."""
        if self._stopped is not None or not self._searched or self._deciding:
            return None
        for leader, replicate in self._unconfirmed():
            trial = self._reused(self._trial(leader.genotype, leader.architecture, "confirm", replicate))
            self._give_out(trial)
            if trial.number in self.running:
                return trial
            self._answer(trial.number)
        return None

    def _give_out(self, trial: Trial) -> None:
        self.store.asked(trial)
        self._note_asked(trial)

    @property
    def _searched(self) -> bool:
        """Whether the search itself is over, and leaders may be trained again."""
        return self.evaluated >= self.budget or self._exhausted is not None

    @property
    def _deciding(self) -> bool:
        """Whether a trial is running whose reward decides who the leaders are."""
        return any(not self.store.trials[number].replicate for number in self.running)

    def _unconfirmed(self) -> list[tuple[Trial, int]]:
        """The leaders and replicates that have not been given out."""
        wanted = to_confirm(list(self.store.trials.values()), self.confirm) if self.confirm else []
        return [(leader, r) for leader, r in wanted if (leader.architecture, r) not in self._first]

    def measured(self, number: int, measurement: Measurement) -> None:
        """Record a measurement of a running trial."""
        architecture = self.problem.space.decode(self.store.trials[number].genotype)
        self.store.measured(number, self.problem.completed(measurement, architecture))

    def reward_so_far(self, number: int, measurement: Measurement) -> float | None:
        """The reward of a trial if this measurement were its last; None where it would have none."""
        architecture = self.problem.space.decode(self.store.trials[number].genotype)
        return rewarded(self.problem.completed(measurement, architecture), self.problem)[0]

    def attempt_lost(self, number: int, reason: str) -> None:
        """Record that a trial's worker was lost and that it is begun again."""
        self.store.attempted(number, reason)

    def tell(self, number: int, failure: Failure | None = None, *, stopped: bool = False) -> Trial:
        """Record that a trial is over: measured to its end, stopped early, failed, or found to be over a limit.

        Returns:
            the trial as it stands in the store.
        """
        trial = self.store.trials[number]
        reward = None
        if failure is None and not stopped:
            reward, failure = rewarded(trial.measurement, self.problem)
        state: State = "failed" if failure is not None else "stopped" if stopped else "complete"
        if over := failure is not None and failure.kind == "over_limit":
            state = "infeasible"
        self._record(
            replace(
                trial,
                state=state,
                failure=None if failure is None or over else failure.kind,
                reason=None if failure is None else failure.reason,
                reward=reward,
                hypervolume=None if reward is None else self._hypervolume(trial),
            )
        )
        for repeat in self._answerable():
            self._answer(repeat)
        return self.store.trials[number]

    def _admit(self, genotype: Genotype, arm: Arm) -> Trial:
        """The trial for a proposal: to be evaluated, a repeat, infeasible, or reused from an earlier run."""
        architecture = self.problem.space.decode(genotype)
        trial = self._trial(genotype, str(architecture), arm)
        if (original := self._first.get((trial.architecture, 0))) is not None:
            return replace(trial, state="repeat", repeat_of=original)
        if (limit := self.problem.broken_limit(architecture)) is not None:
            return replace(trial, state="infeasible", reason=limit)
        return self._reused(trial)

    def _reused(self, trial: Trial) -> Trial:
        """The trial with what an earlier run measured; as it is where none did.

        No training is taken twice, nor one whose seed a later replicate would train with.
        """
        network = trial.architecture
        before = (self._first.get((network, replicate)) for replicate in range(trial.replicate))
        seeds = {self.store.trials[number].seed for number in before if number is not None}
        later = {trial_seed(self._seed, network, r) for r in range(trial.replicate + 1, CONFIRMATIONS + 1)}
        return reused(trial, self._earlier, seeds | later)

    def _trial(self, genotype: Genotype, architecture: str, arm: Arm, replicate: int = 0) -> Trial:
        return Trial(
            number=self._asked,
            genotype=genotype,
            architecture=architecture,
            seed=trial_seed(self._seed, architecture, replicate),
            replicate=replicate,
            arm=arm,
            features=tuple(self.problem.features(genotype).tolist()),
            asked_at=time.time(),
        )

    def _answer(self, number: int) -> None:
        """Tell a trial that needs no evaluation: a repeat of one that is over, an infeasible or a reused one."""
        trial = self.store.trials[number]
        if trial.reused_from is not None:
            self.tell(number)
            return
        original = trial if trial.repeat_of is None else self.store.trials[trial.repeat_of]
        self._record(replace(trial, failure=original.failure, reason=original.reason, reward=original.reward))

    def _hypervolume(self, trial: Trial) -> float | None:
        """Of the front with this trial on it; a leader trained again is no point of its own."""
        gains = None if trial.measurement is None or trial.replicate else self.problem.gains(trial.measurement)
        return None if gains is None else self._front.volume_with(gains)

    def _record(self, trial: Trial) -> None:
        """Store first, tell second."""
        self.store.told(replace(trial, told_at=time.time()))
        self._note_told(self.store.trials[trial.number])
        self._controller.tell(self.store.trials[trial.number])

    def _note_asked(self, trial: Trial) -> None:
        self._asked = trial.number + 1
        self._open.add(trial.number)
        if trial.state != "running":
            self._known_in_a_row += 1
            return
        self._first[trial.architecture, trial.replicate] = trial.number
        self._known_in_a_row = 0
        if trial.reused_from is None:
            self.running.add(trial.number)
            self.evaluated += not trial.replicate
            self.confirmed += bool(trial.replicate)

    def _note_told(self, trial: Trial) -> None:
        self._open.discard(trial.number)
        self.running.discard(trial.number)
        if trial.state in ("repeat", "infeasible"):
            return
        if trial.hypervolume is not None and trial.measurement is not None:
            self._front.add(self.problem.gains(trial.measurement) or ())
        if (
            trial.reward is not None
            and not trial.replicate  # what leads is confirmed afterwards, by the mean
            and (self.best is None or self.best.reward is None or trial.reward > self.best.reward)
        ):
            self.best = trial
        if trial.reused_from is not None and trial.failure is None:
            return  # says nothing of whether evaluations work
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
                proposed = trial.genotype if trial.replicate else self._arms.propose(self._asked)[0]
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
        self._stopped = None


def trial_seed(run_seed: int, architecture: str, replicate: int) -> int:
    """The seed of a trial's training: the same whenever, wherever and in whatever order it is evaluated."""
    key = f"{run_seed}|{architecture}|{replicate}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) >> 1  # fits a signed 64-bit column
