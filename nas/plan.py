"""`nas plan`: what a search is expected to take before it starts, from a few candidates that are timed here."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.config import Search
from nas.evaluation import evaluations, failure_of
from nas.evaluators import recorded_in
from nas.forecast import Forecast, forecast
from nas.problem import Problem
from nas.runs import RunSettings
from nas.search import Workers
from nas.work import CONTROLLER_S, evaluation_seconds, left_of, on_ray, stopping_of, work_of
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

    Raises:
        ValueError: the limits leave no candidate, or the anchor cannot be trained.
    """
    rng = np.random.default_rng(0)
    pool = draw(search.problem, rng)
    if not pool:
        raise ValueError("a candidate must be within the limits, and none of many that were drawn is: raise the limits")
    chosen = spread(pool, max(NETWORKS, _side_by_side(workers)))
    notes = list(_notes(search, settings, workers))
    if search.identity["evaluator"] != "proxy":
        timed = _evaluated(search, chosen)
        seconds = [_share(search, settings) * one.seconds for one in timed if one.seconds is not None]
        basis, off = f"from {len(timed)} candidates that were evaluated", 0.0
    else:
        timer, threads = _timer(search, settings), 1 if on_ray(search, settings, workers) else None
        found = _times(timer, [search.problem.space.backbone, *chosen], workers, threads)
        timed, seconds, basis, off = _trained(search, timer, pool, chosen, found)
    notes += [f"failed: {one.architecture} ({one.failure.kind}): {one.failure.reason}" for one in timed if one.failure]
    if all(one.failure for one in timed):
        return Plan(tuple(timed), None, (*notes, "no forecast: all candidates that were timed failed"))
    if (steps := _off_calibration(timed)) is not None:
        notes.append(f"steps of those timed are {steps:.0%} off what the calibration expects, in the mean")
    seconds = _within(settings.trial_timeout_s, seconds)
    made = forecast(seconds, work_of(search, settings, workers), basis=basis, rng=rng, off=off)
    return Plan(tuple(timed), made, tuple(notes))


def draw(problem: Problem, rng: np.random.Generator, count: int = DRAWN) -> list[Architecture]:
    """Networks of the space within the limits, at random, the fewest macs first; few or none where limits leave few."""
    found: list[Architecture] = []
    for _ in range(20 * count):
        genotype = problem.space.sample(rng)
        if problem.features.feasible(genotype):
            found.append(problem.space.decode(genotype))
        if len(found) == count:
            break
    return sorted(found, key=lambda architecture: problem.cost(architecture).macs)


def spread(pool: Sequence[Architecture], count: int) -> list[Architecture]:
    """So many networks of a sorted pool, from the middles of equal parts of it."""
    count = min(count, len(pool))
    return [pool[int((place + 0.5) * len(pool) / count)] for place in range(count)]


def at_start(search: Search, settings: RunSettings, workers: Workers, trials: Iterable[Trial]) -> Forecast | None:
    """What can be expected of a search at its start without training anything; None where that is nothing.

    Made of the candidates that ended before, of a search that is resumed; else of what records take to answer; else of
    what a calibration expects.

    Args:
        trials: of the search, asked so far.
    """
    rng, before = np.random.default_rng(0), list(trials)
    ended = evaluation_seconds(before)
    work = left_of(work_of(search, settings, workers), before)
    if len(ended) >= ENDED:
        return forecast(ended, work, basis=f"from {len(ended)} candidates that ended before", rng=rng)
    if recorded_in(search.identity["evaluator"]) is not None:
        timed = _evaluated(search, draw(search.problem, rng, NETWORKS))
        seconds, basis = [one.seconds or 0.0 for one in timed], "from answers of the records"
    else:
        seconds, basis = (
            _by_calibration(search, settings, workers, rng),
            "by the calibration and the anchor timed alone",
        )
    seconds = _within(settings.trial_timeout_s, seconds)
    return forecast(seconds, work, basis=basis, rng=rng) if seconds else None


def _within(timeout_s: float | None, seconds: Sequence[float]) -> list[float]:
    return [min(one, timeout_s or math.inf) for one in seconds]


def _share(search: Search, settings: RunSettings) -> float:
    """Of their epochs, what candidates are expected to be trained for."""
    stopping = stopping_of(search, settings)
    return 1.0 if stopping is None else stopping.expected_share


def _timer(search: Search, settings: RunSettings) -> TrainingTimer:
    from trainers.training_time import TrainingTimer  # loads torch

    task: Any = search.evaluate
    return TrainingTimer(task, share=_share(search, settings))


def _by_calibration(search: Search, settings: RunSettings, workers: Workers, rng: np.random.Generator) -> list[float]:
    """Seconds of drawn candidates, by a calibration of the proxy and some steps of the anchor that are timed now.

    A calibration's own seconds are of another day. None where there is none; nor where workers are elsewhere, or on
    GPUs, of which this process is to hold nothing.
    """
    ray = on_ray(search, settings, workers)
    if search.calibration is None or workers.address is not None or (ray and workers.gpus):
        return []
    task: Any = search.evaluate
    timer = _timer(search, settings)
    anchor = _time(timer, search.problem.space.backbone, 1 if ray else None)
    if isinstance(anchor, Failure):
        return []  # candidates will say so
    return [timer.scaled(task.expected_step_time(architecture), anchor) for architecture in draw(search.problem, rng)]


def _notes(search: Search, settings: RunSettings, workers: Workers) -> Iterable[str]:
    if (share := _share(search, settings)) < 1:
        yield (
            f"asha is expected to leave {share:.0%} of the epochs; a controller whose candidates get better has more "
            f"of them trained on"
        )
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
    search: Search,
    timer: TrainingTimer,
    pool: Sequence[Architecture],
    chosen: Sequence[Architecture],
    times: Sequence[TrainingTime | Failure],
) -> tuple[list[Timed], list[float], str, float]:
    """Candidates of the proxy: those timed; the seconds of them, or of all drawn, what these are and how far off.

    Args:
        times: of the anchor, and of those chosen.
    """
    from trainers.training_time import TrainingTime

    task: Any = search.evaluate
    anchor, *found = times
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
        return timed, seconds, basis, 0.0
    ratios = np.array(seconds) / [timer.scaled(one.expected_step or 0.0, anchor) for one in known]
    scale, off = float(ratios.mean()), float(ratios.std() / ratios.mean() / math.sqrt(len(ratios)))
    all_drawn = [scale * timer.scaled(task.expected_step_time(architecture), anchor) for architecture in pool]
    return timed, all_drawn, f"{basis}, and {len(pool)} by the calibration", off


def _off_calibration(timed: Sequence[Timed]) -> float | None:
    """How far the steps of those timed are off a calibration's ratios, in the mean; None where there is none."""
    ratios = [one.step_s / one.expected_step for one in timed if one.step_s and one.expected_step]
    return float(np.abs(np.array(ratios) / np.median(ratios) - 1).mean()) if ratios else None


def _side_by_side(workers: Workers) -> int:
    """How many workers share one device, this machine's processor or a GPU."""
    if workers.address is not None:
        return 1
    fit = workers.count if workers.gpus == 0 else math.floor(1 / workers.gpus + 1e-9)
    return max(1, min(workers.count, fit, PROCESSES))


def _times(
    timer: TrainingTimer, networks: Sequence[Architecture], workers: Workers, threads: int | None
) -> list[TrainingTime | Failure]:
    """What the training of networks takes; side by side, so that workers that wait for each other do so here."""
    count = _side_by_side(workers)
    if workers.count == 1 and workers.address is None:
        return [_time(timer, network, threads) for network in networks]
    context = multiprocessing.get_context("spawn")  # CUDA and threads do not outlive a fork
    with ProcessPoolExecutor(count, context) as processes:
        pending = [processes.submit(_time, timer, network, threads) for network in networks]
        return [_result(one) for one in pending]


def _time(timer: TrainingTimer, network: Architecture, threads: int | None) -> TrainingTime | Failure:
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
