"""Driving a session with Ray Tune: the same session, many workers, on this machine or a cluster.

Tune places the workers, packs them on GPUs by fraction and restarts lost ones. The session stays in this
process: its `ask` is the searcher's `suggest`, its `tell` `on_trial_complete`. Tune's own restore is not
used, since the store is the truth; what Tune writes goes to a scratch folder that is removed at the end.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nas.evaluation import Evaluate, evaluations
from nas.search import Workers, timeout_failure
from nas.session import MAX_ATTEMPTS, SearchSession
from results.trial import Failure, Measurement

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported anywhere
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a worker without a GPU keeps CUDA_VISIBLE_DEVICES as it is
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no log files per trial
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would not let running trials end; ours does
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # its own state is not used
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}

_SCRATCH_PREFIX = "nas-tune-"

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

log = logging.getLogger(__name__)


def run_tune(
    session: SearchSession, evaluate: Evaluate, workers: Workers, *, trial_timeout_s: float | None = None
) -> None:
    """Evaluate the session's candidates on Ray Tune's workers until it is finished.

    Args:
        evaluate: sent to the workers once; its arrays are shared by those of one machine.
        trial_timeout_s: the longest that one candidate may take; its worker is replaced, not tried again.

    Raises:
        ValueError: the cluster has fewer GPUs or cores than the workers ask for together.
        OSError: the store would not take an outcome.
    """
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH_PREFIX))
    _sweep(keep=scratch)
    searcher = _SessionSearcher(session)
    try:
        with _ray(workers), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about Tune's own settings, which are set above
            _share_module(evaluate)
            tune.run(
                tune.with_parameters(_Candidate, evaluate=evaluate, timeout_s=trial_timeout_s),
                name="search",
                search_alg=searcher,
                num_samples=-1,
                max_concurrent_trials=workers.count,
                resources_per_trial={"cpu": workers.cpus, "gpu": workers.gpus},
                reuse_actors=True,
                max_failures=MAX_ATTEMPTS - 1,
                raise_on_failed_trial=False,
                callbacks=[_LostWorkers(searcher)],
                storage_path=str(scratch),
                verbose=0,
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if searcher.error is not None:
        raise searcher.error
    session.store.write_view()


class _SessionSearcher(Searcher):  # type: ignore[misc]
    """Tune's Searcher around a session.

    An exception inside `on_trial_complete` would make Tune train the trial again, so the session's own
    errors are kept, and raised when Tune has ended.
    """

    def __init__(self, session: SearchSession) -> None:
        super().__init__()
        self.session = session
        self.error: Exception | None = None
        self.numbers: dict[str, int] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self.error is not None:
            return Searcher.FINISHED  # type: ignore[no-any-return]
        try:
            trial = self.session.ask()
        except Exception as error:  # noqa: BLE001 - raised by run_tune
            self.error = error
            return Searcher.FINISHED  # type: ignore[no-any-return]
        if trial is None:
            over = self.session.stopped_because is not None or self.session.evaluated >= self.session.budget
            return Searcher.FINISHED if over else None
        self.numbers[trial_id] = trial.number
        return {"number": trial.number, "architecture": trial.architecture, "seed": trial.seed}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if self.error is None:
            try:
                self.session.measured(self.numbers[trial_id], result["outcome"])
            except Exception as held:  # noqa: BLE001 - raised by run_tune
                self.error = held

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        number = self.numbers.pop(trial_id)
        if self.error is not None:
            return
        try:
            if error or result is None:
                self.session.tell(number, Failure("worker_lost", f"lost {MAX_ATTEMPTS} times"))
                return
            outcome = result["outcome"]
            if isinstance(outcome, Measurement):
                self.session.measured(number, outcome)
            self.session.tell(number, outcome if isinstance(outcome, Failure) else None)
        except Exception as held:  # noqa: BLE001 - raised by run_tune
            self.error = held

    def lost(self, trial_id: str, reason: str) -> None:
        """A worker was lost; Tune begins its trial again."""
        if self.error is None and trial_id in self.numbers:
            self.session.attempt_lost(self.numbers[trial_id], reason)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the store is the truth."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the store is the truth."""


class _LostWorkers(tune.Callback):  # type: ignore[misc]
    """Tells the searcher of a lost worker, of which Tune tells callbacks alone."""

    def __init__(self, searcher: _SessionSearcher) -> None:
        self._searcher = searcher

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: object) -> None:
        self._searcher.lost(trial.trial_id, "the worker was lost")


class _Candidate(tune.Trainable):  # type: ignore[misc]
    """A worker that evaluates one candidate after the other, a measurement a step.

    Whatever goes wrong with a candidate is a result, so that Tune's retries are for lost workers alone.
    """

    def setup(self, config: dict[str, Any], evaluate: Evaluate, timeout_s: float | None) -> None:
        self._evaluate, self._timeout_s = evaluate, timeout_s
        self._stuck = False
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        if self._stuck:  # its thread is still in the candidate that ran out of time: Tune makes a new worker
            return False
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        left = None if self._timeout_s is None else self._timeout_s - self._used_s
        future = self._thread.submit(self._next)
        try:
            outcome, over = future.result(left)
        except FutureTimeoutError:
            self._stuck = True
            outcome, over = timeout_failure(self._timeout_s), True
        return {"done": over, "outcome": outcome}  # as an object: Tune flattens dicts

    def _begin(self, config: dict[str, Any]) -> None:
        self._used_s = 0.0
        self._outcomes: Iterator[Measurement | Failure] = evaluations(
            self._evaluate, config["architecture"], config["seed"]
        )

    def _next(self) -> tuple[Measurement | Failure | None, bool]:
        outcome = next(self._outcomes, None)
        return outcome, outcome is None or isinstance(outcome, Failure)


@contextmanager
def _ray(workers: Workers) -> Iterator[None]:
    """Ray, started or joined; ended afterwards where it was started here."""
    os.environ.update({k: v for k, v in _SETTINGS.items() if k not in os.environ})
    address = workers.address or os.environ.get("RAY_ADDRESS")
    started = not ray.is_initialized()
    if started:
        sizes: dict[str, Any] = {} if address else {"num_cpus": workers.count * workers.cpus}
        ray.init(address=address, include_dashboard=False, logging_level="ERROR", log_to_driver=False, **sizes)
    try:
        has = ray.cluster_resources()
        for name, wanted in (("GPU", workers.gpus), ("CPU", workers.cpus)):
            if wanted * workers.count > has.get(name, 0.0) + 1e-9:
                raise ValueError(
                    f"{workers.count} workers of {wanted:g} {name} each need {wanted * workers.count:g}; the cluster "
                    f"has {has.get(name, 0.0):g}: ask for fewer workers or a smaller share"
                )
        yield
    finally:
        if started:
            ray.shutdown()


def _share_module(evaluate: Evaluate) -> None:
    """Have an evaluator from a user's file travel as code, since workers cannot import that file by name."""
    function = evaluate if hasattr(evaluate, "__qualname__") else type(evaluate)
    module = sys.modules.get(function.__module__)
    if module is not None and module.__name__.startswith("nas_plugin_"):
        ray.cloudpickle.register_pickle_by_value(module)


def _sweep(keep: Path) -> None:
    """Remove the scratch folders of searches that were killed, a day or more old."""
    for folder in keep.parent.glob(f"{_SCRATCH_PREFIX}*"):
        if folder != keep and keep.stat().st_mtime - folder.stat().st_mtime > 86400:
            shutil.rmtree(folder, ignore_errors=True)
