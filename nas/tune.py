"""Driving a session with Ray Tune: the same session, many workers, on this machine or a cluster.

Tune places the workers, packs them on GPUs by fraction and restarts lost ones. The session stays in this
process: its `ask` is the searcher's `suggest`, its `tell` `on_trial_complete`. Tune's own restore is not
used, since the store is the truth; what Tune writes goes to a scratch folder that is removed at the end.
"""

from __future__ import annotations

import fcntl
import logging
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nas.ray_cluster import ray_started

# isort: split
import ray
from ray import tune
from ray.tune.search import Searcher

from nas.early_stopping import SessionScheduler
from nas.evaluation import Evaluate, evaluations
from nas.search import EarlyStopping, Workers, timeout_failure
from nas.session import MAX_ATTEMPTS, SearchSession
from results.trial import Failure, Measurement, Trial
from search_spaces import Architecture
from trainers.quiet import quieted

_SCRATCH_PREFIX = "nas-tune-"


def run_tune(
    session: SearchSession,
    evaluate: Evaluate,
    workers: Workers,
    *,
    trial_timeout_s: float | None = None,
    stopping: EarlyStopping | None = None,
) -> None:
    """Evaluate the session's candidates on Ray Tune's workers until it is finished.

    Args:
        evaluate: sent to the workers once; its arrays are shared by those of one machine.
        trial_timeout_s: the longest that one candidate may take; its worker is replaced, not tried again.
        stopping: when candidates are stopped early; None trains each to its end.

    Raises:
        ValueError: the cluster has fewer GPUs or cores than the workers ask for together.
        OSError: the store would not take an outcome.
    """
    searcher = _SessionSearcher(session)
    # Tune warns about settings that are on purpose, and tells errors that the journal has
    with (
        _scratch_folder() as scratch,
        ray_started(workers),
        quieted("ray.tune", logging.CRITICAL),
    ):
        _share_module(evaluate)
        tune.run(
            tune.with_parameters(_Candidate, sent=(ray.put(evaluate),), timeout_s=trial_timeout_s),
            name="search",
            search_alg=searcher,
            scheduler=None if stopping is None else SessionScheduler(session, stopping),
            num_samples=-1,
            max_concurrent_trials=workers.count,
            resources_per_trial={"cpu": workers.cpus, "gpu": workers.gpus},
            reuse_actors=True,
            max_failures=0,  # the searcher begins lost candidates again, and journals it
            raise_on_failed_trial=False,
            storage_path=str(scratch),
            verbose=0,
        )
    if searcher.error is not None:
        raise searcher.error
    session.store.write_view()


class _SessionSearcher(Searcher):  # type: ignore[misc]
    """Tune's Searcher around a session.

    An exception inside `on_trial_complete` would make Tune train the trial again, so the session's own
    errors are kept, and raised when Tune has ended. A candidate whose worker was lost is suggested again,
    as a new trial of Tune's.
    """

    def __init__(self, session: SearchSession) -> None:
        super().__init__()
        self.error: Exception | None = None
        self._session = session
        self._numbers: dict[str, int] = {}  # of the session's trials, by Tune's name of each that is running
        self._lost: list[tuple[int, str]] = []  # to be begun again, and why
        self._reasons: dict[str, str] = {}  # by Tune's name, what a worker said before its end

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        trial = self._unless_broken(self._next)
        session = self._session
        if trial is None:
            over = session.finished or session.stopping or self.error is not None
            return Searcher.FINISHED if over else None
        self._numbers[trial_id] = trial.number
        return {"number": trial.number, "architecture": trial.architecture, "seed": trial.seed}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        outcome = result["outcome"]
        if isinstance(outcome, Failure) and outcome.kind == "worker_lost":  # the worker's end will follow
            self._reasons[trial_id] = outcome.reason
        elif isinstance(outcome, Failure):  # out of time; so it will here
            self._unless_broken(self._session.tell, self._numbers.pop(trial_id), outcome)
        else:
            self._unless_broken(self._session.measured, self._numbers[trial_id], outcome)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        number, reason = self._numbers.pop(trial_id, None), self._reasons.pop(trial_id, "the worker was lost")
        if number is None:  # told before
            return
        if not error and result is not None:
            self._ended(number, result["outcome"])
        elif self._session.store.trials[number].attempt < MAX_ATTEMPTS:
            self._lost.append((number, reason))
        else:
            said = f"begun {MAX_ATTEMPTS} times, and lost each time; the last time: {reason}"
            failure = Failure("worker_lost", said)
            self._unless_broken(self._session.tell, number, failure)

    def _ended(self, number: int, outcome: Measurement | Failure | None) -> None:
        """A candidate is over. The last thing of one that ends by itself is a failure or nothing.

        Of one that the scheduler stops it is a measurement, which `on_trial_result` is not given.
        """
        if isinstance(outcome, Measurement):
            self._unless_broken(self._session.measured, number, outcome)
            self._unless_broken(lambda: self._session.tell(number, stopped=True))
        else:
            self._unless_broken(self._session.tell, number, outcome)

    def _next(self) -> Trial | None:
        if self._lost and not self._session.stopping:
            number, reason = self._lost.pop(0)
            self._session.attempt_lost(number, reason)
            return self._session.store.trials[number]
        return self._session.ask()

    def _unless_broken(self, call: Callable[..., Trial | None], *arguments: Any) -> Trial | None:
        """Call the session, unless a call before raised; an exception is kept."""
        if self.error is None:
            try:
                return call(*arguments)
            except Exception as error:  # noqa: BLE001 - raised by run_tune
                self.error = error
        return None

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the store is the truth."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the store is the truth."""


class _Candidate(tune.Trainable):  # type: ignore[misc]
    """A worker that evaluates one candidate after the other, a measurement a step.

    Whatever goes wrong with a candidate is a result, so that only a lost worker is an error to Tune. One that lost its
    GPU, or whose thread is still in a candidate, says so, and ends itself.
    """

    def setup(self, config: dict[str, Any], sent: tuple[Any], timeout_s: float | None) -> None:
        try:
            self._evaluate: Evaluate = ray.get(sent[0])
        except Exception as error:  # noqa: BLE001 - every candidate fails with it
            self._evaluate = _unloadable(str(error))
        self._timeout_s, self._spent = timeout_s, False
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """Close the candidate, which is not at its end where it was stopped, in the thread that it ran in."""
        try:
            self._thread.submit(self._outcomes.close).result(self._timeout_s)
        except FutureTimeoutError:
            self._spent = True

    def step(self) -> dict[str, Any]:
        if self._spent:  # nothing else ends a thread that is still in its candidate, or brings a GPU back
            ray.kill(ray.get_runtime_context().current_actor)
            threading.Event().wait()
        left = None if self._timeout_s is None else self._timeout_s - self._used_s
        begun = time.monotonic()
        future = self._thread.submit(self._next)
        try:
            outcome, over = future.result(left)
        except FutureTimeoutError:
            self._spent = True
            outcome, over = timeout_failure(self._timeout_s), False  # a worker that is done would be used again
        if isinstance(outcome, Failure) and outcome.kind == "worker_lost":
            self._spent, over = True, False
        self._used_s += time.monotonic() - begun
        return {"done": over, "outcome": outcome}  # as an object: Tune flattens dicts

    def _begin(self, config: dict[str, Any]) -> None:
        self._used_s = 0.0
        self._outcomes = evaluations(self._evaluate, config["architecture"], config["seed"])

    def _next(self) -> tuple[Measurement | Failure | None, bool]:
        outcome = next(self._outcomes, None)
        return outcome, outcome is None or isinstance(outcome, Failure)


def _unloadable(reason: str) -> Evaluate:
    """An evaluator that says why the one that was sent cannot be had: it is code that this worker cannot import."""

    def evaluate(architecture: Architecture, seed: int) -> Measurement:
        raise ValueError(f"the evaluator cannot be loaded in a worker: {reason.splitlines()[0]}")

    return evaluate


def _share_module(evaluate: Evaluate) -> None:
    """Have an evaluator from a user's file travel as code, since workers cannot import that file by name."""
    function = evaluate if hasattr(evaluate, "__qualname__") else type(evaluate)
    module = sys.modules.get(function.__module__)
    if module is not None and module.__name__.startswith("nas_plugin_"):
        ray.cloudpickle.register_pickle_by_value(module)


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """A folder for what Tune writes, removed afterwards; those of searches that were killed are removed now.

    A search holds a lock in its folder as long as it lives.
    """
    folder = Path(tempfile.mkdtemp(prefix=_SCRATCH_PREFIX))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for other in folder.parent.glob(f"{_SCRATCH_PREFIX}*"):
            _remove_unlocked(other)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_unlocked(folder: Path) -> None:
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # in use, another user's, or only just made
        return
