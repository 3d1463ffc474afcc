"""Driving a session to its end: how many workers, by which driver, and the serial driver itself."""

from __future__ import annotations

import math
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, pairwise, takewhile

from nas.evaluation import Evaluate, evaluations
from nas.session import SearchSession
from results.trial import Failure, Trial
from trainers.cores import usable_cores


@dataclass(frozen=True)
class Workers:
    """How many candidates are evaluated at a time, and what each worker is given.

    Args:
        count: how many workers.
        cpus: cores of each (may be a fraction).
        gpus: GPUs of each (may be a fraction).
        address: of an existing Ray cluster; None starts one on this machine and ends it afterwards.
    """

    count: int
    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None


@dataclass(frozen=True)
class EarlyStopping:
    """When candidates are stopped early (asynchronous successive halving, arXiv 1810.05934).

    Args:
        grace_epochs: the least epochs before a candidate may be stopped; a fraction of one, too.
        reduction_factor: of those that were trained for so long, one in how many goes on; the next decision comes
            after so many times the epochs.
        stop_by: what is compared: the `accuracy`, or the `reward` that a candidate has as it is.
        epochs: for how long the evaluator trains a candidate; None where it does not say.
        within: whether it measures within epochs where it is asked to; else rungs are the ends of epochs.

    Raises:
        ValueError: grace_epochs is not above 0, reduction_factor under `LEAST_REDUCTION` or not finite, stop_by is
            neither.
    """

    grace_epochs: float = 1
    reduction_factor: float = 3.0
    stop_by: str = "reward"
    epochs: int | None = None
    within: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.grace_epochs < math.inf:
            raise ValueError(f"grace_epochs must be above 0; got {self.grace_epochs}")
        if not LEAST_REDUCTION <= self.reduction_factor < math.inf:
            raise ValueError(
                f"reduction_factor must be a number of at least {LEAST_REDUCTION}; got {self.reduction_factor}"
            )
        if self.stop_by not in ("accuracy", "reward"):
            raise ValueError(f"stop_by must be accuracy or reward; got {self.stop_by}")

    @property
    def can_stop(self) -> bool:
        """Whether there is anything left to save when the first decision comes."""
        return bool(self.rungs)

    @property
    def rungs(self) -> tuple[float, ...]:
        """After how many epochs candidates are compared, as far as that is before the end, and no further than 100."""
        end = min(self.epochs or FURTHEST, FURTHEST)
        places = (float(self.grace_epochs) * self.reduction_factor**k for k in count())  # as Ray Tune computes them
        if not self.within:
            places = (float(math.ceil(place - 1e-9)) for place in places)
        return tuple(dict.fromkeys(takewhile(lambda place: place < end, places)))

    @property
    def expected_share(self) -> float:
        """Of its epochs, what a candidate is trained for in the mean if one in `reduction_factor` goes on each time."""
        if self.epochs is None or not self.can_stop:
            return 1.0
        bounds = (0.0, *self.rungs, float(self.epochs))
        parts = (b - a for a, b in pairwise(bounds))
        return sum(part / self.reduction_factor**k for k, part in enumerate(parts)) / self.epochs

    def __str__(self) -> str:
        """What it does, in words."""
        before_the_end = [f"{n:.4g}" for n in self.rungs[:4]]
        more = ", ..." if self.epochs is None or len(self.rungs) > 4 else ""
        return (
            f"asha stops a candidate after {', '.join(before_the_end)}{more} of {self.epochs or 'its'} epochs unless "
            f"its {self.stop_by} is among the best 1/{self.reduction_factor:g} of those trained for so long"
        )


FURTHEST = 100
"""Epochs, up to which the rungs of a training of unknown length are told."""

LEAST_REDUCTION = 1.1
"""Below it, next to nothing would be stopped at more decisions than there are epochs."""


def choose_workers(
    count: int | None = None, *, gpus_per_trial: float | None = None, address: str | None = None, gpus: int = 0
) -> Workers:
    """The workers asked for, or by default one for each GPU (or share of one), else one for each core.

    Args:
        count: how many; None for the default.
        gpus_per_trial: share of a GPU for each; None is a whole one where there are GPUs.
        address: of a Ray cluster, whose resources are checked when it is joined.
        gpus: how many GPUs this machine has.

    Raises:
        ValueError: more GPUs are asked for than there are, or a cluster that does not answer, or without saying
            how many workers.
    """
    cores = usable_cores()
    if count is not None and count < 1:
        raise ValueError(f"workers must be at least 1; got {count}")
    if gpus_per_trial is not None and not (
        0 <= gpus_per_trial <= 1 or (gpus_per_trial > 1 and float(gpus_per_trial).is_integer())
    ):
        raise ValueError(f"gpus_per_trial must be from 0 to 1, or a whole number of GPUs; got {gpus_per_trial}")
    if address is not None:
        if count is None:
            raise ValueError("workers must be given with the address of a cluster, such as --workers 8")
        check_reachable(address)
        return Workers(count, 1.0, gpus_per_trial or 0.0, address)
    share = gpus_per_trial
    if share is None:
        share = 1.0 / max(1, math.ceil((count or 1) / gpus)) if gpus else 0.0
    if share == 0:
        count = count or cores
        return Workers(count, min(1.0, cores / count))
    fit = gpus * math.floor(1 / share + 1e-9) if share <= 1 else gpus // int(share)  # a share lies on one GPU
    count = count or max(1, fit)
    if count > fit:
        raise ValueError(
            f"{count} workers with {share:g} GPUs each need {count * share:g} GPUs; this machine has {gpus}: "
            f"ask for at most {fit} workers or a smaller share"
            if gpus
            else f"GPUs must be there to be shared; this machine has none that torch can use, and {share:g} a trial "
            f"was asked for: leave --gpus-per-trial out"
        )
    return Workers(count, min(1.0, cores / count), share)


def check_reachable(address: str) -> None:
    """Ask at the address itself, since Ray tries for minutes before it says that nothing is there.

    Raises:
        ValueError: nothing answers.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:  # such as "auto", which Ray looks up
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"address must be host:port of a running Ray cluster; nothing answers at {address} ({error}): "
            f"start one with `ray start --head`, or leave the address out"
        ) from error


def run(
    session: SearchSession,
    evaluate: Evaluate,
    workers: Workers,
    *,
    trial_timeout_s: float | None = None,
    stopping: EarlyStopping | None = None,
) -> None:
    """Evaluate the session's candidates until it is finished, in this process or on Ray Tune (see `on_tune`)."""
    if not on_tune(workers, stopping):
        run_serial(session, evaluate, trial_timeout_s=trial_timeout_s)
        return
    from nas.tune import run_tune  # loads Ray

    run_tune(session, evaluate, workers, trial_timeout_s=trial_timeout_s, stopping=stopping)


def on_tune(workers: Workers, stopping: EarlyStopping | None) -> bool:
    """Whether Ray Tune is needed: for several workers, for a cluster, or to stop candidates early."""
    return workers.count > 1 or workers.address is not None or stopping is not None


def run_serial(session: SearchSession, evaluate: Evaluate, *, trial_timeout_s: float | None = None) -> None:
    """Ask, evaluate and tell until the session is finished.

    Args:
        evaluate: called in this thread, so that what it holds (data, a CUDA context) is made once.
        trial_timeout_s: the longest that one candidate may take. It interrupts between two operations of the
            interpreter, not inside one, and only in the main thread.

    Raises:
        OSError: the GPU is of no more use to this process. The candidate is left open, to be begun again on resume.
    """
    while (trial := session.ask()) is not None:
        failure = _evaluate(session, evaluate, trial, trial_timeout_s)
        if failure is not None and failure.kind == "worker_lost":
            raise OSError(f"the GPU must answer, and every candidate would fail as trial {trial.number} did, which "
                          f"will be begun again: {failure.reason}")  # fmt: skip
        session.tell(trial.number, failure)
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
