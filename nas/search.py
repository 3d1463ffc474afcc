"""Driving a session to its end in this process, one candidate after the other."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from nas.evaluation import Evaluate, evaluations
from nas.session import SearchSession
from results.trial import Failure, Trial


def run_serial(session: SearchSession, evaluate: Evaluate, *, trial_timeout_s: float | None = None) -> None:
    """Ask, evaluate and tell until the session is finished.

    Args:
        evaluate: called in this thread, so that what it holds (data, a CUDA context) is made once.
        trial_timeout_s: the longest that one candidate may take. It interrupts between two operations of the
            interpreter, not inside one, and only in the main thread.
    """
    while (trial := session.ask()) is not None:
        session.tell(trial.number, _evaluate(session, evaluate, trial, trial_timeout_s))
    session.store.write_view()


def _evaluate(session: SearchSession, evaluate: Evaluate, trial: Trial, timeout_s: float | None) -> Failure | None:
    outcomes = evaluations(evaluate, trial.architecture, trial.seed)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        try:
            with _time_limit(deadline):  # around the evaluator alone: the store is never interrupted
                outcome = next(outcomes, None)
        except _OutOfTime:
            return timeout_failure(timeout_s)
        if outcome is None or isinstance(outcome, Failure):
            return outcome
        session.measured(trial.number, outcome)


def timeout_failure(timeout_s: float | None) -> Failure:
    """The failure of a candidate that took too long."""
    return Failure("timeout", f"not done after {timeout_s:g} s" if timeout_s else "not done in time")


class _OutOfTime(BaseException):
    """Not an Exception, so that an evaluator that catches those is interrupted all the same."""


@contextmanager
def _time_limit(deadline: float | None) -> Iterator[None]:
    if deadline is None:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        raise ValueError("a trial timeout needs run_serial to be called in the main thread")

    def raise_out_of_time(*_: object) -> None:
        raise _OutOfTime

    previous = signal.signal(signal.SIGALRM, raise_out_of_time)
    signal.setitimer(signal.ITIMER_REAL, max(1e-6, deadline - time.monotonic()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
