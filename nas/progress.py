"""What a running search shows on stderr: a bar on a terminal, plain lines elsewhere.

It looks at the session a few times a second and is never called by it.
"""

from __future__ import annotations

import statistics
import threading
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from nas.session import SearchSession
from results.trial import Trial

_LOOK_S = 0.2
_PLAIN_LINE_S = 2.0
_MAX_LINES_A_LOOK = 4


class SearchProgress:
    """Shows a session while the `with` block runs.

    Args:
        session: what to look at.
        workers: how many candidates run at a time.
        console: where to write; stderr by default.
        quiet: show nothing.
        epochs: for how long a candidate is trained that is not stopped early, where that is known.
    """

    def __init__(
        self,
        session: SearchSession,
        workers: int,
        *,
        console: Console,
        quiet: bool = False,
        epochs: int | None = None,
    ) -> None:
        self._session, self._workers, self._console, self._quiet = session, workers, console, quiet
        self._epochs = epochs
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._begun: dict[int, float] = {}  # when each running trial was first seen
        self._took: list[float] = []  # seconds, of those that ended
        self._next = len(session.store.trials)
        self._waiting = set(session.running)

    def __enter__(self) -> SearchProgress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        if self._quiet:
            return
        if not self._console.is_terminal:
            self._watch_plainly()
            return
        columns = (BarColumn(bar_width=30), MofNCompleteColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("", total=self._session.planned)
            over = False
            while not over:
                over = self._over.wait(_LOOK_S)
                for trial in self._ended()[-_MAX_LINES_A_LOOK:]:
                    bar.console.print(Text(trial_line(trial, self._epochs)))
                bar.update(task, total=self._session.planned, completed=self._done(), description=self._summary())

    def _watch_plainly(self) -> None:
        over, printed, ended = False, 0.0, []
        while not over:
            over = self._over.wait(_LOOK_S)
            ended += self._ended()
            if ended and (over or time.monotonic() - printed > _PLAIN_LINE_S):
                for trial in ended[-_MAX_LINES_A_LOOK:]:
                    self._print(trial_line(trial, self._epochs))
                self._print(f"{self._done()}/{self._session.planned} {self._summary()}")
                printed, ended = time.monotonic(), []

    def _print(self, line: str) -> None:  # as text, since a failure's reason may hold what rich takes for markup
        self._console.print(Text(line), soft_wrap=True)

    def _ended(self) -> list[Trial]:
        """The evaluated trials that have ended since the last look; also notes when running ones began."""
        now = time.monotonic()
        trials = self._session.store.trials
        while self._next in trials:
            if trials[self._next].state not in ("repeat", "infeasible"):
                self._waiting.add(self._next)
            self._next += 1
        ended = []
        for number in sorted(self._waiting):
            self._begun.setdefault(number, now)
            if trials[number].state != "running":
                self._waiting.discard(number)
                took = now - self._begun.pop(number)
                if trials[number].reused_from is None:
                    self._took.append(took)
                ended.append(trials[number])
        return ended

    def _done(self) -> int:
        return self._session.evaluated + self._session.confirmed - len(self._session.running)

    def _summary(self) -> str:
        states = [trial.state for trial in list(self._session.store.trials.values())]
        best, stopped = self._session.best, states.count("stopped")
        parts = [
            f"{states.count('failed')} failed",
            *([f"{stopped} stopped early"] if stopped else []),
            f"best reward {best.reward:.4f}" if best is not None else "no reward yet",
            time_left(self._remaining(), self._running_s(), self._took, self._workers),
        ]
        return ", ".join(parts)

    def _remaining(self) -> int:
        return self._session.planned - self._done()

    def _running_s(self) -> list[float]:
        now = time.monotonic()
        return [now - begun for begun in list(self._begun.values())]


def time_left(remaining: int, running_s: list[float], took_s: list[float], workers: int) -> str:
    """The time left in words, from what the candidates so far took; those that run count for what they have run.

    Args:
        remaining: candidates that are not over, running ones included.
        running_s: how long each running one has been running.
        took_s: how long each that is over took.
        workers: how many run at a time.
    """
    if not took_s:
        return "time left is known after the first candidate"
    mean = statistics.fmean(took_s[-50:])
    work = remaining * mean - sum(min(s, mean) for s in running_s)
    return f"about {duration(max(0.0, work) / min(workers, max(1, remaining)))} left"


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def trial_line(trial: Trial, epochs: int | None = None) -> str:
    """One trial in a line.

    Args:
        epochs: for how long it would have been trained, where that is known.
    """
    head = f"trial {trial.number}" + (" (reused)" if trial.reused_from is not None else "")
    if trial.state == "failed":
        return f"{head}: failed ({trial.failure}): {trial.reason}"
    if trial.state == "infeasible":
        return f"{head}: infeasible: {trial.reason}"
    m = trial.measurement
    if m is None:
        return f"{head}: {trial.state}"
    parts = [f"accuracy {m.accuracy:.4f}"]
    if trial.state == "stopped":
        whole = f" of {epochs}" if epochs else ""
        parts.insert(0, f"stopped after {trial.epochs:.4g}{whole} epoch{'s' * ((epochs or trial.epochs) != 1)}")
    if m.step_time is not None:
        parts.append(f"step time {m.step_time:.3f}")
    if m.params is not None:
        parts.append(f"params {m.params:,}")
    if trial.reward is not None:
        parts.append(f"reward {trial.reward:.4f}")
    return f"{head}: {', '.join(parts)}"
