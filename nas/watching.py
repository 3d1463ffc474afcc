"""`Watched`: a search seen from its folder alone, brought up to date as its journal grows.

It is what `nas watch` shows, in another terminal or on another machine that sees the folder. The journal is read once
and then on from where it ended; the search is not touched.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nas.leaders import CONFIRMATIONS, to_confirm
from nas.progress import time_left
from results.events import apply
from results.journal import Event, is_written, read_events
from results.pareto import MAXIMISED, non_dominated
from results.store import JOURNAL, TrialStore
from results.trial import Trial

Standing = Literal["running", "silent", "stopped", "finished"]
"""`silent`: no event for long, and nothing tells whether a process still writes; `stopped`: none does, and there are
candidates left."""

_QUIET_S = 60.0
_QUIET_AT_FIRST_S = 600.0  # before any candidate has ended, which tells how long they take
_QUIET_CANDIDATES = 5  # or as long as so many candidates take
_RECENT = 100  # candidates that tell the rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A candidate that is being evaluated.

    Args:
        number: of the trial.
        since_s: for how long, in seconds.
        epochs: trained so far, as far as was measured.
        accuracy: by then; None before the first measurement.
        architecture: its text.
    """

    number: int
    since_s: float
    epochs: float
    accuracy: float | None
    architecture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """The best network so far: of the highest reward, or of the highest mean among those that were trained again.

    Args:
        number: of the trial that trained it first.
        trainings: how often it was trained.
        reward: the mean over these.
        accuracy: likewise.
        step_time: likewise; None where it was not measured.
        params: its parameters; None where they were not counted.
        architecture: its text.
    """

    number: int
    trainings: int
    reward: float
    accuracy: float
    step_time: float | None
    params: int | None
    architecture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a search stands.

    Args:
        run: its folder.
        space: name of what is searched.
        controller: who proposes; None where the run does not say.
        standing: see `Standing`.
        note: what the standing means, in words; empty where it needs none.
        budget: candidates to evaluate; None where the run does not say.
        planned: evaluations that there will be, those that confirm leaders included; None likewise.
        done: of these, how many are over.
        states: trials by their state.
        failures: failed trials by their kind.
        last_failure: the reason of the latest.
        running: candidates that are being evaluated, the oldest first.
        per_hour: candidates an hour, of the latest ones; None before two have ended.
        left: the time left, in words; empty where nothing is left.
        best: the best network so far.
        rewards: the best reward after each candidate with a reward.
        objectives: whose front is kept.
        front: how many networks nothing dominates.
        hypervolume: of that front, against the search's reference; None where it is not kept.
        quiet_s: since the journal grew.
        host: where the search was begun; None where the run does not say.
    """

    run: str
    space: str
    controller: str | None
    standing: Standing
    note: str
    budget: int | None
    planned: int | None
    done: int
    states: Mapping[str, int]
    failures: Mapping[str, int]
    last_failure: str | None
    running: Sequence[Running]
    per_hour: float | None
    left: str
    best: Leader | None
    rewards: Sequence[float]
    objectives: Sequence[str]
    front: int
    hypervolume: float | None
    quiet_s: float
    host: str | None


class Watched:
    """A run, looked at now and then.

    Args:
        folder: of the run.

    Raises:
        FileNotFoundError: it holds no run.
        ValueError: its run.json cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._store = TrialStore.open(folder)
        configuration = self._store.configuration
        self._objectives = tuple(
            configuration.get("identity", {}).get("objectives", ("accuracy", "step_time", "params"))
        )
        self._path = folder / JOURNAL
        self._forget()

    def _forget(self) -> None:
        self._position = 0
        self._trials: dict[int, Trial] = {}
        self._settings: Mapping[str, Any] = {}
        self._host: str | None = None
        self._workers: int | None = None
        self._asked: set[tuple[str, int]] = set()  # networks and replicates
        self._begun: dict[int, float] = {}  # running candidates, and since when
        self._most_running = 1
        self._evaluated = self._confirming = 0
        self._took_s: list[float] = []
        self._ended_at: deque[float] = deque(maxlen=_RECENT)
        self._states: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._last_failure: str | None = None
        self._first: Trial | None = None  # of the highest reward among first trainings
        self._rewards: list[float] = []
        self._by_network: dict[str, list[Trial]] = {}  # complete trainings
        self._points: list[list[Any]] = []  # of the front, and those of later trials
        self._hypervolume: float | None = None

    def look(self) -> None:
        """Take in what the journal holds beyond the last look.

        Raises:
            ValueError: a line of it is broken.
        """
        if not self._path.exists():
            self._look_at_a_table()
            return
        if self._path.stat().st_size < self._position:  # it was restored from a copy
            self._forget()
        for event, position in read_events(self._path, self._position):
            try:
                apply(event, self._trials)
                self._take(event)
            except (KeyError, TypeError) as error:
                raise ValueError(
                    f"{self._path}: a line at byte {self._position} does not fit those before it ({error!r})"
                ) from error
            self._position = position

    def _look_at_a_table(self) -> None:
        """A run without its journal: nothing is added to it."""
        if self._trials:
            return
        for event in self._store.events():
            self._take(event)
        self._trials = dict(self._store.trials)
        for trial in self._trials.values():
            self._note_asked(trial, evaluated=trial.state not in ("repeat", "infeasible"))
        for trial in sorted(self._trials.values(), key=lambda trial: trial.told_at or 0.0):
            if trial.told_at is not None:
                self._note_told(trial)

    def _take(self, event: Event) -> None:
        kind = event["event"]
        if kind == "started":
            self._settings, self._host = event.get("settings", {}), event.get("host")
            self._workers = self._settings.get("workers")
            self._ended_at.clear()
        elif kind == "forecast":
            self._workers = event.get("workers", self._workers)
        elif kind == "asked":
            self._note_asked(self._trials[event["number"]], evaluated=event.get("state", "running") == "running")
        elif kind == "attempted":
            self._begun[event["number"]] = event["time"]
        elif kind == "told":
            self._note_told(self._trials[event["number"]])

    def _note_asked(self, trial: Trial, *, evaluated: bool) -> None:
        if not evaluated:
            return
        self._asked.add((trial.architecture, trial.replicate))
        if trial.reused_from is None:
            self._evaluated += not trial.replicate
            self._confirming += bool(trial.replicate)
            self._begun[trial.number] = trial.asked_at or time.time()
            self._most_running = max(self._most_running, len(self._begun))

    def _note_told(self, trial: Trial) -> None:
        begun = self._begun.pop(trial.number, None)
        if begun is not None and trial.told_at is not None:
            self._took_s.append(max(0.0, trial.told_at - begun))
            self._ended_at.append(trial.told_at)
        if trial.state == "failed" and trial.failure is not None:
            self._failures[trial.failure] += 1
            self._last_failure = trial.reason
        if trial.hypervolume is not None:
            self._hypervolume = max(self._hypervolume or 0.0, trial.hypervolume)
        if trial.state != "complete" or trial.reward is None:
            return
        self._by_network.setdefault(trial.architecture, []).append(trial)
        if trial.replicate:
            return
        if self._first is None or trial.reward > (self._first.reward or 0.0):
            self._first = trial
        self._rewards.append(max([trial.reward, *self._rewards[-1:]]))
        values = [getattr(trial.measurement, name, None) for name in self._objectives]
        if None not in values:
            self._points.append(values)

    def _front_size(self) -> int:
        """Of all points so far; those that were dominated before need not be looked at again."""
        points = np.array(self._points, np.float64).reshape(-1, len(self._objectives))
        front = points[non_dominated(points, [name in MAXIMISED for name in self._objectives])]
        self._points = front.tolist()
        return len(front)

    def status(self) -> Status:
        """How the search stands by what was taken in so far."""
        now = time.time()
        budget = self._settings.get("budget")
        to_come = self._to_confirm()
        over = budget is not None and self._evaluated >= budget and not self._begun and not to_come
        planned = None if budget is None else max(budget, self._evaluated) + self._confirming + to_come
        done = self._evaluated + self._confirming - len(self._begun)
        quiet_s = max(0.0, now - self._last_event_at())
        standing, note = self._standing(quiet_s, over=over)
        ended = standing in ("finished", "stopped")
        since_s = {number: max(0.0, now - begun) for number, begun in self._begun.items()}
        return Status(
            run=str(self._store.folder),
            space=str(self._store.configuration["space"]["name"]),
            controller=self._store.configuration.get("columns", {}).get("controller"),
            standing=standing,
            note=note,
            budget=budget,
            planned=planned,
            done=done,
            states=dict(Counter(trial.state for trial in self._trials.values())),  # `asdict` cannot take a Counter
            failures=dict(self._failures),
            last_failure=self._last_failure,
            running=[self._running(number, since) for number, since in since_s.items()],
            per_hour=self._per_hour(),
            left="" if ended or planned is None else self._left(planned - done, list(since_s.values())),
            best=self._best(),
            rewards=self._rewards,
            objectives=self._objectives,
            front=self._front_size(),
            hypervolume=self._hypervolume,
            quiet_s=quiet_s,
            host=self._host,
        )

    def _last_event_at(self) -> float:
        if self._path.exists():
            return self._path.stat().st_mtime
        return max((trial.told_at or 0.0 for trial in self._trials.values()), default=time.time())

    def _standing(self, quiet_s: float, *, over: bool) -> tuple[Standing, str]:
        if over:
            return "finished", ""
        if not self._path.exists():
            return "stopped", "this is a compact copy of a run, without its journal"
        written = is_written(self._path)
        resume = f"`nas resume {self._store.folder}` goes on with it"
        if written is False and self._host in (None, platform.node()):
            return "stopped", f"no process writes this run: it was interrupted or killed, or stopped early; {resume}"
        usual_s = max(self._took_s[-50:], default=_QUIET_AT_FIRST_S / _QUIET_CANDIDATES)
        if quiet_s <= max(_QUIET_S, _QUIET_CANDIDATES * usual_s):
            return "running", ""
        if written:
            return "running", "a process holds this run and has written nothing for long: a candidate may hang"
        return "silent", f"the search on {self._host} seems dead: nothing was written for long; {resume}"

    def _to_confirm(self) -> int:
        """How many trainings of leaders are still to be asked for."""
        confirm, budget = self._settings.get("confirm", 0), self._settings.get("budget")
        if not confirm or budget is None:
            return 0
        if self._evaluated < budget or any(not self._trials[number].replicate for number in self._begun):
            return max(0, int(confirm) * CONFIRMATIONS - self._confirming)
        wanted = to_confirm(self._trials.values(), confirm)
        return sum((leader.architecture, replicate) not in self._asked for leader, replicate in wanted)

    def _running(self, number: int, since_s: float) -> Running:
        trial = self._trials[number]
        accuracy = None if trial.measurement is None else trial.measurement.accuracy
        return Running(
            number=number, since_s=since_s, epochs=trial.epochs, accuracy=accuracy, architecture=trial.architecture
        )

    def _per_hour(self) -> float | None:
        if len(self._ended_at) < 2 or self._ended_at[-1] <= self._ended_at[0]:
            return None
        return 3600 * (len(self._ended_at) - 1) / (self._ended_at[-1] - self._ended_at[0])

    def _left(self, remaining: int, running_s: list[float]) -> str:
        return time_left(remaining, running_s, self._took_s, self._workers or self._most_running)

    def _best(self) -> Leader | None:
        if self._first is None:
            return None
        trainings = self._by_network[self._first.architecture]
        if len(trainings) > 1:
            again = [found for found in self._by_network.values() if len(found) > 1]
            trainings = max(again, key=_mean_reward)
        first = min(trainings, key=lambda trial: trial.number)
        assert first.measurement is not None
        measured = [trial.measurement for trial in trainings if trial.measurement is not None]
        timed = [one.step_time for one in measured if one.step_time is not None]
        return Leader(
            number=first.number,
            trainings=len(trainings),
            reward=_mean_reward(trainings),
            accuracy=statistics.fmean(one.accuracy for one in measured),
            step_time=statistics.fmean(timed) if timed else None,
            params=first.measurement.params,
            architecture=first.architecture,
        )


def _mean_reward(trainings: Sequence[Trial]) -> float:
    return statistics.fmean(trial.reward for trial in trainings if trial.reward is not None)
