"""What a search is to do and what that costs beside its evaluations, as was measured; what is known once some ended."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from nas.config import Search
from nas.forecast import Work
from nas.leaders import CONFIRMATIONS
from nas.runs import RunSettings
from nas.search import EarlyStopping, Workers, on_tune
from results.trial import Trial

RAY_START_S = (8.0, 25.0)
"""From the start of Ray to the first trainings in workers: on a quiet machine, on a busy one (docs/benchmarks.md)."""

RAY_EACH_S = 0.026
"""What Ray Tune takes beside each candidate (docs/benchmarks.md)."""

CONTROLLER_S: Mapping[str, float] = {
    "random": 0.005,
    "evolution": 0.005,
    "local_search": 0.005,
    "predictor": 0.053,
    "ppo": 0.019,
    "optuna:tpe": 0.016,
    "optuna:nsga2": 0.008,
}
"""Seconds a proposal, its bookkeeping included, in searches of 1,000 candidates (docs/benchmarks.md)."""

RUN_BYTES, TRIAL_BYTES, EPOCH_BYTES = 60_000, 800, 375
"""Of a run's folder: as such, of a trial, and of each epoch measured of it; by runs of 8 and of 1,000 trials."""

CALIBRATION_COPIES = 4
"""How often a calibration's bytes are in a run's folder: in run.json, and in the parquet file's own encodings."""


def work_of(search: Search, settings: RunSettings, workers: Workers) -> Work:
    """What a search that has not begun is to do."""
    epochs = search.identity["task"].get("recipe", {}).get("epochs", 1)
    trials = settings.budget + settings.confirm * CONFIRMATIONS
    known = RUN_BYTES + (CALIBRATION_COPIES * len(json.dumps(search.calibration)) if search.calibration else 0)
    data: Any = getattr(search.evaluate, "data", None)
    ray = on_ray(search, settings, workers)
    return Work(
        candidates=min(settings.budget, search.problem.space.size),
        confirming=settings.confirm * CONFIRMATIONS,
        workers=workers.count,
        gpus=workers.gpus,
        start_s=RAY_START_S if ray else (0.0, 0.0),
        each_s=CONTROLLER_S.get(search.identity["controller"], 0.0) + (RAY_EACH_S if ray else 0.0),
        run_bytes=known + trials * (TRIAL_BYTES + EPOCH_BYTES * epochs),
        pack_bytes=None if search.splits is None else data.pack_bytes,
    )


def stopping_of(search: Search, settings: RunSettings) -> EarlyStopping | None:
    """When a search's candidates are stopped early, if ever."""
    return settings.stopping(search.epochs, within=hasattr(search.evaluate, "measure_at"))


def on_ray(search: Search, settings: RunSettings, workers: Workers) -> bool:
    """Whether candidates will be evaluated by workers of Ray's, which train with one thread each."""
    stopping = stopping_of(search, settings)
    return on_tune(workers, stopping if stopping is not None and stopping.can_stop else None)


def left_of(work: Work, trials: Iterable[Trial]) -> Work:
    """What is left of some work when these trials have been evaluated; those that run are begun anew."""
    over = [t for t in trials if t.state in ("complete", "failed", "stopped") and t.reused_from is None]
    confirmed = sum(1 for trial in over if trial.replicate)
    return replace(
        work,
        candidates=max(0, work.candidates - (len(over) - confirmed)),
        confirming=max(0, work.confirming - confirmed),
    )


def evaluation_seconds(trials: Iterable[Trial]) -> list[float]:
    """What the evaluations that ended took, without those that began while workers came up, or were begun again."""
    ended = [
        (t.asked_at, t.told_at)
        for t in trials
        if t.state in ("complete", "failed", "stopped") and t.reused_from is None and t.attempt == 1
        if t.asked_at is not None and t.told_at is not None
    ]
    first_told_at = min((told_at for _, told_at in ended), default=math.inf)
    return [told_at - asked_at for asked_at, told_at in ended if asked_at >= first_told_at]
