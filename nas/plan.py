"""`nas plan`: what a search is expected to take before it starts, from a few candidates that are timed here."""

from __future__ import annotations

import json
import math
import multiprocessing
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.config import Search, recorded_in
from nas.evaluation import evaluations, failure_of
from nas.forecast import Forecast, Work, forecast
from nas.leaders import CONFIRMATIONS
from nas.problem import Problem
from nas.runs import RunSettings
from nas.search import Workers
from results.trial import Failure, Trial
from search_spaces import Architecture

if TYPE_CHECKING:
    from trainers.training_time import TrainingTime, TrainingTimer

NETWORKS = 5
"""Candidates that are timed, at the least."""

DRAWN = 200
"""Candidates that are drawn, for the timed ones to be spread over their macs, and for a calibration to expect."""

EVALUATIONS_S = 60.0
"""After this long no candidate is begun of those that a user's own evaluator evaluates whole."""

PROCESSES = 16
"""That time candidates side by side, at the most."""

ENDED = 3
"""Candidates of an earlier part of a search that a forecast can be made of."""

RAY_START_S = (8.0, 25.0)
"""From the start of Ray to the first candidates in their workers, an idle machine and a busy one; the end included."""

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

RUN_BYTES, TRIAL_BYTES, EPOCH_BYTES = 50_000, 1100, 375
"""Of a run's folder: as such, of a trial, and of each epoch measured of it."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A candidate that was timed for a plan.

    Args:
        architecture: its text.
        macs: multiply-adds of one picture.
        seconds: of a whole evaluation; None where it failed.
        step_s: of a training step, where one was timed.
        expected_step: the step time over the anchor's, as a calibration has it.
        failure: why it failed.
    """

    architecture: str
    macs: int
    seconds: float | None = None
    step_s: float | None = None
    expected_step: float | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a search is expected to take, and what that was made of.

    Args:
        timed: candidates, by their macs.
        forecast: None where all of them failed.
        notes: what the user should know, a line each.
    """

    timed: tuple[Timed, ...]
    forecast: Forecast | None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        made = None if self.forecast is None else self.forecast.to_json()
        return {"forecast": made, "timed": [asdict(one) for one in self.timed], "notes": list(self.notes)}


def make_plan(search: Search, settings: RunSettings, workers: Workers) -> Plan:
    """Time a few candidates of a search that has not begun, as its workers would train them, and forecast it.

    Candidates of the proxy are timed by a few steps, side by side where workers share a device; records answer; a
    user's own evaluator evaluates them whole.
    """
    rng = np.random.default_rng(0)
    pool = draw(search.problem, rng)
    chosen = spread(pool, max(NETWORKS, _side_by_side(workers)))
    notes = [*_notes(search, workers)]
    if search.identity["evaluator"] != "proxy":
        timed = _evaluated(search, chosen)
        seconds = [one.seconds for one in timed if one.seconds is not None]
        basis = f"from {len(timed)} candidates that were evaluated"
    else:
        timed, seconds, basis, more = _trained(search, pool, chosen, workers)
        notes += more
    notes += [f"failed: {one.architecture} ({one.failure.kind}): {one.failure.reason}" for one in timed if one.failure]
    if not seconds:
        return Plan(tuple(timed), None, (*notes, "no forecast: all candidates that were timed failed"))
    work = work_of(search, settings, workers)
    return Plan(tuple(timed), forecast(seconds, work, basis=basis, rng=rng), tuple(notes))


def draw(problem: Problem, rng: np.random.Generator, count: int = DRAWN) -> list[Architecture]:
    """Networks of the space within the limits, at random, the fewest macs first.

    Raises:
        ValueError: none of many is within the limits.
    """
    found: list[Architecture] = []
    for _ in range(20 * count):
        genotype = problem.space.sample(rng)
        if problem.features.feasible(genotype):
            found.append(problem.space.decode(genotype))
        if len(found) == count:
            break
    if not found:
        raise ValueError(f"candidates must be within the limits; none of {20 * count} drawn is: raise the limits")
    return sorted(found, key=lambda architecture: problem.cost(architecture).macs)


def spread(pool: Sequence[Architecture], count: int) -> list[Architecture]:
    """So many networks of a sorted pool, from the middles of equal parts of it."""
    count = min(count, len(pool))
    return [pool[int((place + 0.5) * len(pool) / count)] for place in range(count)]


def work_of(search: Search, settings: RunSettings, workers: Workers) -> Work:
    """What a search that has not begun is to do."""
    epochs = search.identity["task"].get("recipe", {}).get("epochs", 1)
    trials = settings.budget + settings.confirm * CONFIRMATIONS
    known = RUN_BYTES + 5 * len(json.dumps(search.calibration)) if search.calibration else RUN_BYTES
    data: Any = getattr(search.evaluate, "data", None)
    on_ray = workers.count > 1 or workers.address is not None
    return Work(
        candidates=settings.budget,
        confirming=settings.confirm * CONFIRMATIONS,
        workers=workers.count,
        gpus=workers.gpus,
        start_s=RAY_START_S if on_ray else (0.0, 0.0),
        each_s=CONTROLLER_S.get(search.identity["controller"], 0.0) + (RAY_EACH_S if on_ray else 0.0),
        run_bytes=known + trials * (TRIAL_BYTES + EPOCH_BYTES * epochs),
        pack_bytes=None if search.splits is None else data.pack_bytes,
    )


def at_start(search: Search, settings: RunSettings, workers: Workers, trials: Iterable[Trial]) -> Forecast | None:
    """What can be expected of a search at its start without training anything; None where that is nothing.

    Made of the candidates that ended before, of a search that is resumed; else of what records take to answer; else of
    what a calibration expects, where workers have one thread each as it had.

    Args:
        trials: of the search, asked so far.
    """
    rng = np.random.default_rng(0)
    before = list(trials)
    ended = evaluation_seconds(before)
    work = left_of(work_of(search, settings, workers), before)
    if not work.candidates + work.confirming:
        return None
    if len(ended) >= ENDED:
        return forecast(ended, work, basis=f"from {len(ended)} candidates that ended before", rng=rng)
    if recorded_in(search.identity["evaluator"]) is not None:
        timed = _evaluated(search, spread(draw(search.problem, rng), NETWORKS))
        return forecast([one.seconds or 0.0 for one in timed], work, basis="from answers of the records", rng=rng)
    task: Any = search.evaluate
    if search.calibration is None or workers.address is not None or not _one_thread_each(workers, task.device):
        return None
    from trainers.training_time import TrainingTimer

    timer, anchor_s = TrainingTimer(task), task.calibration.anchor_s
    seconds = [timer.expected_s(task.expected_step_time(a) * anchor_s, anchor_s) for a in draw(search.problem, rng)]
    return forecast(seconds, work, basis="by the calibration of this device", rng=rng)


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
    over = [t for t in trials if t.told_at and t.asked_at and t.state in ("complete", "failed", "stopped")]
    over = [t for t in over if t.reused_from is None and t.attempt == 1]
    first = min((t.told_at for t in over if t.told_at), default=math.inf)
    return [t.told_at - t.asked_at for t in over if t.told_at and t.asked_at and t.asked_at >= first]


def _one_thread_each(workers: Workers, device: str) -> bool:
    from trainers.training_time import training_threads  # loads torch

    on_ray = workers.count > 1 or workers.address is not None
    return on_ray or training_threads(device) == 1


def _notes(search: Search, workers: Workers) -> Iterable[str]:
    if search.identity["controller"] not in CONTROLLER_S:
        yield f"what {search.identity['controller']} takes to propose is not known, and not in the forecast"
    if workers.address is not None:
        yield "timed on this machine; those of the cluster may be faster or slower"
    if search.identity["reward"] != "accuracy":
        yield "candidates were drawn at random; a controller comes to propose those that train faster"


def _evaluated(search: Search, chosen: Sequence[Architecture]) -> list[Timed]:
    """Candidates evaluated whole, as long as there is time."""
    timed, began = [], time.monotonic()
    for architecture in chosen:
        begun = time.monotonic()
        if begun - began > EVALUATIONS_S:
            break
        failure = None
        for outcome in evaluations(search.evaluate, str(architecture), 0):
            failure = outcome if isinstance(outcome, Failure) else None
        macs, seconds = search.problem.cost(architecture).macs, time.monotonic() - begun
        timed.append(Timed(str(architecture), macs, seconds, failure=failure))  # one that fails takes its time, too
    return timed


def _trained(
    search: Search, pool: Sequence[Architecture], chosen: Sequence[Architecture], workers: Workers
) -> tuple[list[Timed], list[float], str, list[str]]:
    """Candidates of the proxy: those timed, the seconds of them (or of all drawn), what these are, what was noticed."""
    from trainers.training_time import TrainingTime, TrainingTimer

    task: Any = search.evaluate
    timer = TrainingTimer(task)
    anchor, *found = _times(timer, [search.problem.space.backbone, *chosen], workers)
    if isinstance(anchor, Failure):
        raise ValueError(f"the anchor, which each step is timed against, could not be trained: {anchor.reason}")
    timed = []
    for architecture, one in zip(chosen, found, strict=True):
        macs = search.problem.cost(architecture).macs
        expected = task.expected_step_time(architecture) if task.has_step_time else None
        if isinstance(one, TrainingTime):
            timed.append(Timed(str(architecture), macs, timer.seconds(one, anchor), one.step_s, expected))
        else:
            timed.append(Timed(str(architecture), macs, expected_step=expected, failure=one))
    known = [one for one in timed if one.seconds is not None]
    seconds = [one.seconds for one in known if one.seconds is not None]
    basis = f"from {len(known)} candidates timed by a few steps"
    if not known or not task.has_step_time:
        return timed, seconds, basis, []
    ratios = np.array([(one.step_s or 0.0) / (one.expected_step or 1.0) for one in known])  # the anchor's, as expected
    anchor_s = float(np.median(ratios))
    off = float(np.abs(ratios / anchor_s - 1).mean())
    scale = sum(seconds) / sum(timer.expected_s((one.expected_step or 0.0) * anchor_s, anchor_s) for one in known)
    all_drawn = [scale * timer.expected_s(task.expected_step_time(a) * anchor_s, anchor_s) for a in pool]
    note = f"steps of those timed are {off:.0%} off what the calibration expects, in the mean"
    return timed, all_drawn, f"{basis}, and {len(pool)} by the calibration", [note]


def _side_by_side(workers: Workers) -> int:
    """How many workers share one device, this machine's processor or a GPU."""
    if workers.address is not None:
        return 1
    fit = workers.count if workers.gpus == 0 else math.floor(1 / workers.gpus + 1e-9)
    return max(1, min(workers.count, fit, PROCESSES))


def _times(timer: TrainingTimer, networks: Sequence[Architecture], workers: Workers) -> list[TrainingTime | Failure]:
    """What the training of networks takes; side by side, so that workers that wait for each other do so here."""
    count = _side_by_side(workers)
    if workers.count == 1 and workers.address is None:
        return [_time(timer, network) for network in networks]
    context = multiprocessing.get_context("spawn")  # CUDA and threads do not outlive a fork
    with ProcessPoolExecutor(count, context) as processes:
        pending = [processes.submit(_time, timer, network, 1) for network in networks]  # Ray gives a worker one thread
        return [_result(one) for one in pending]


def _time(timer: TrainingTimer, network: Architecture, threads: int | None = None) -> TrainingTime | Failure:
    try:
        return timer(network, threads=threads)
    except Exception as error:  # noqa: BLE001 - a candidate may fail in any way; it is a part of the plan
        return failure_of(error)


def _result(pending: Future[TrainingTime | Failure]) -> TrainingTime | Failure:
    try:
        return pending.result()
    except BrokenProcessPool:
        return Failure(
            "worker_lost", "the process that timed it was lost, as when the machine's memory does not suffice"
        )
