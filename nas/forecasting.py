"""What a running search is expected to take: told at its start and after its first candidates, compared at its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np

from nas.forecast import Forecast, Work, forecast
from nas.plan import ENDED
from nas.session import SearchSession
from nas.work import evaluation_seconds, left_of
from results.trial import Trial

_LOOK_S = 0.2


class Forecasts:
    """The forecasts of a search that runs while its `with` block does; each is a line and an event in the journal.

    It looks at the session a few times a second and is never called by it.

    Args:
        session: what to look at.
        work: what the session is to do, had it not begun.
        at_start: a forecast from before; None where there is none.
        say: is told each line.

    Attributes:
        made: the forecasts, the first first.
        took_s: how long the block ran; None while it does.
    """

    def __init__(
        self, session: SearchSession, work: Work, *, at_start: Forecast | None, say: Callable[[str], None]
    ) -> None:
        self._session, self._work, self._say = session, work, say
        self._before = set(session.store.trials)
        self._left = left_of(work, session.store.trials.values())
        self._begun, self._begun_at = time.monotonic(), time.time()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.made: list[Forecast] = []
        self.took_s: float | None = None
        if at_start is not None:
            self._tell(at_start)

    def __enter__(self) -> Forecasts:
        self._begun, self._begun_at = time.monotonic(), time.time()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.took_s = time.monotonic() - self._begun

    @property
    def as_expected(self) -> bool:
        """Whether all that was expected came to pass, so that times can be compared."""
        return self._session.finished and self._session.stopped_because is None

    def compared(self) -> list[str]:
        """How far off each forecast was, a line each; none where the search ended before its end."""
        if not self.as_expected or self.took_s is None:
            return []
        return [made.compared(self.took_s) for made in self.made]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain data: the forecasts, how long the search took, and how much longer that was, relative to each."""
        off = [made.error(self.took_s) if self.as_expected and self.took_s else None for made in self.made]
        return [{**m.to_json(), "took_s": self.took_s, "error": o} for m, o in zip(self.made, off, strict=True)]

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S):
            made = self.after_some()
            if made is not None:
                with suppress(OSError):  # a full disk is for the search to say
                    self._tell(made)
                return

    def after_some(self) -> Forecast | None:
        """What the candidates that have ended let expect; None where they are too few, or all."""
        trials = [t for t in list(self._session.store.trials.values()) if t.number not in self._before]
        seconds = evaluation_seconds(trials)
        left = left_of(self._left, trials)
        if len(seconds) < ENDED or not left.candidates + left.confirming:
            return None
        now = time.time()
        running = [now - t.asked_at for t in trials if t.state == "running" and t.asked_at is not None]
        mean_s = sum(seconds) / len(seconds)
        work = replace(
            left,
            start_s=(0.0, 0.0),
            begun_s=sum(min(ran_s, mean_s) for ran_s in running),
            elapsed_s=now - self._begun_at,
        )
        basis = f"after {sum(_is_over(trial) for trial in trials)} candidates"
        return forecast(seconds, work, basis=basis, rng=np.random.default_rng(0))

    def _tell(self, made: Forecast) -> None:
        self._session.store.record({"event": "forecast", **made.to_json()}, durable=False)
        self.made.append(made)
        self._say(made.line)


def _is_over(trial: Trial) -> bool:
    return trial.state in ("complete", "failed", "stopped") and trial.reused_from is None
