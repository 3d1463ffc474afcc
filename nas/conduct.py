"""Taking a search to its end on the command line: what is said on the way, what it found, how to go on."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from rich.console import Console

from nas.config import Search, optimises_objectives
from nas.evaluators import recorded_in
from nas.forecasting import Forecasts
from nas.plan import at_start
from nas.progress import SearchProgress, duration
from nas.runs import RunSettings, finish, graceful_interrupts, make_session, note_start
from nas.search import EarlyStopping, Workers, choose_workers, on_tune
from nas.session import SearchSession
from nas.show import Format, print_json, print_rows, print_table
from nas.work import stopping_of, work_of
from results.analysis import Best, against_chance, best_network, confirmed, saving
from results.store import TrialStore

Say = Callable[[str], None]

INTERRUPTED = 130
"""The exit code of a search that was interrupted and can be resumed, as shells have it for Ctrl-C."""


def check_workers(settings: RunSettings, evaluator: str) -> Workers:
    """The workers that the settings ask for; says at once where the machine cannot give them."""
    gpus, count = 0, settings.workers
    if count is None and settings.address is None and recorded_in(evaluator) is not None:
        count = 1  # records answer faster than another process is asked
    alone = count == 1 and settings.gpus_per_trial is None  # takes whatever device the evaluator takes
    if settings.address is None and settings.gpus_per_trial != 0 and not alone:
        from trainers.devices import count_gpus  # loads torch

        gpus = count_gpus()
    return choose_workers(count, gpus_per_trial=settings.gpus_per_trial, address=settings.address, gpus=gpus)


def check_storage(url: str | None) -> None:
    """Say at once where the storage of a mirror cannot be opened."""
    if url is not None:
        from nas.optuna_storage import let_go, open_storage  # loads Optuna

        let_go(open_storage(url))


def conduct(
    search: Search, store: TrialStore, settings: RunSettings, *, format: Format, quiet: bool, fork: bool = False
) -> int:
    """Take a search to its end, then say what was found and how to go on.

    Returns:
        the exit code: 0, 1 where no candidate got a reward, or `INTERRUPTED`.
    """
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)  # reasons and paths as they are
    resume = f"nas resume {store.folder}"

    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    try:
        workers = check_workers(settings, search.identity["evaluator"])
        note_start(store, settings)
        session = make_session(search, store, settings, fork=fork)
        asked = stopping_of(search, settings)
        stopping = asked if asked is not None and asked.can_stop else None
        if stopping is not None and stopping.within:
            search.evaluate.measure_at = stopping.rungs  # type: ignore[attr-defined]
        for line in [] if quiet else _opening_lines(search, store, settings, workers):
            say(line)
        forecasts = _forecasts(search, session, settings, workers, lambda text: None if quiet else say(text))
        if session.finished:
            say(f"nothing to do: {session.evaluated} of {settings.budget} candidates are done; --budget asks for more")
        with (
            redirect_stdout(sys.stderr),  # what evaluators and Ray print is no data
            graceful_interrupts(session, say),
            SearchProgress(
                session, workers.count, console=console, quiet=quiet or session.finished, epochs=search.epochs
            ),
            _mirror(session, search, settings, say),
            forecasts,
        ):
            finish(session, search, workers, timeout_s=settings.trial_timeout_s, stopping=stopping)
    except KeyboardInterrupt:
        say(f"stopped at once; go on with: {resume}")
        return INTERRUPTED
    except BaseException:
        say(f"nothing told is lost; go on with: {resume}")
        raise
    finally:
        store.close()
    for line in [] if quiet else forecasts.compared():
        say(line)
    _print_outcome(session, forecasts, format, search.identity["random_arm"], search.epochs)
    if stopping is not None and not quiet:
        complete = [t for t in store.trials.values() if t.state == "complete" and not t.replicate]
        longest = max((t.epochs for t in complete), default=math.inf)
        if longest <= stopping.grace_epochs:
            say(f"--scheduler asha could stop nothing: {_too_short(longest, stopping)}")
        elif complete and not any(epoch in stopping.rungs for t in complete for epoch in t.curve_epochs[:-1]):
            say("--scheduler asha could stop nothing: no candidate was measured where it decides")
    return _closing_lines(session, resume, say, quiet)


def run_through(
    search: Search, store: TrialStore, settings: RunSettings, workers: Workers, *, title: str, say: Say, quiet: bool
) -> SearchSession | None:
    """Take a search that is a part of something larger to its end, with its progress and nothing else.

    Args:
        search: what is run.
        store: of its run; it is closed at the end.
        settings: of this run.
        workers: to train with.
        title: what it is called.
        say: tells that it begins, and of an interrupt.
        quiet: whether to show no progress.

    Returns:
        its session; None where it was interrupted.

    Raises:
        ValueError: something else stopped it (says what).
    """
    try:
        note_start(store, settings)
        session = make_session(search, store, settings)
        console = Console(stderr=True, markup=False, emoji=False, highlight=False)
        if not session.finished:
            say(title)
        with (
            graceful_interrupts(session, say),
            SearchProgress(session, workers.count, console=console, quiet=quiet or session.finished),
        ):
            finish(session, search, workers, timeout_s=settings.trial_timeout_s, stopping=None)
    finally:
        store.close()
    if session.stopped_because == "interrupted":
        return None
    if session.stopping:
        raise ValueError(f"{title} was stopped: {session.stopped_because}; see to it, and ask for the same again")
    return session


def _forecasts(search: Search, session: SearchSession, settings: RunSettings, workers: Workers, say: Say) -> Forecasts:
    """What the search is expected to take, as far as that can be told at its start."""
    trials = session.store.trials.values()
    with redirect_stdout(sys.stderr):  # of evaluators
        made = None if session.finished else at_start(search, settings, workers, trials)
    return Forecasts(session, work_of(search, settings, workers), at_start=made, say=say)


@contextmanager
def _mirror(session: SearchSession, search: Search, settings: RunSettings, say: Say) -> Iterator[None]:
    """The run in Optuna's storage, where one was asked for, while the block runs."""
    if settings.optuna_storage is None:
        yield
        return
    from nas.optuna_mirror import OptunaMirror  # loads Optuna
    from nas.optuna_storage import open_storage

    mirror = OptunaMirror(
        session.store,
        open_storage(settings.optuna_storage),
        space=search.problem.space,
        objectives=search.problem.objectives if optimises_objectives(search.controller) else None,
        say=say,
    )
    with mirror:
        yield


def _closing_lines(session: SearchSession, resume: str, say: Say, quiet: bool) -> int:
    if session.stopped_because == "interrupted":
        say(f"interrupted; go on with: {resume}")
        return INTERRUPTED
    if session.stopped_because is not None:
        say(f"stopped early: {session.stopped_because}" + (f"\ngo on with: {resume}" if session.stopping else ""))
    found = [t.measurement for t in session.store.trials.values() if t.measurement is not None]
    if disturbed := sum(m.timing_note is not None for m in found):
        say(f"the timings of {disturbed} trials were disturbed: see timing_note in the trial table")
    if session.best is None:
        return 1
    if not quiet:
        folder = session.store.folder
        say(f"all trials: nas trials {folder}   what nothing dominates: nas pareto {folder}")
    return 0


def _too_short(epochs: float, stopping: EarlyStopping) -> str:
    return (
        f"a candidate is trained for {epochs:g} epoch{'s' * (epochs != 1)} and may be stopped after "
        f"{stopping.grace_epochs:g} (--grace-epochs) or more, while it still has epochs to train"
    )


def _opening_lines(search: Search, store: TrialStore, settings: RunSettings, workers: Workers) -> list[str]:
    space = search.problem.space
    lines = [f"run {store.folder}: {settings.budget} candidates of {space.size:,} in space {space.name}"]
    if search.splits is not None:
        train, minival, test = (f"{search.splits[name]:,}" for name in ("train", "minival", "test"))
        lines.append(
            f"pictures at {search.problem.image_size} px: {train} to train on, {minival} minival for the reward, "
            f"{test} test, which no reward sees"
        )
    lines += search.notes
    if settings.confirm and getattr(search.evaluate, "noiseless", False):
        lines.append("--confirm: these records answer the same whenever they are asked; a leader's mean is its reward")
    done = sum(t.state in ("complete", "failed", "stopped") for t in store.trials.values())
    if done:
        lines.append(f"{done} candidates are done")
    stopping = stopping_of(search, settings)
    if stopping is not None and not stopping.can_stop:
        lines.append(f"--scheduler asha can stop nothing: {_too_short(search.epochs or 0, stopping)}")
        stopping = None
    elif stopping is not None:
        lines.append(str(stopping))
    if not on_tune(workers, stopping):
        lines.append(f"{workers.count} at a time, in this process")
    else:
        why = ", which asha needs" if not on_tune(workers, None) else ""
        lines.append(f"{workers.count} at a time on Ray Tune{why}")
    return lines


def _print_outcome(
    session: SearchSession, forecasts: Forecasts, format: Format, random_arm: float, epochs: int | None
) -> None:
    """The best trial, what was confirmed, and where the results are, on stdout."""
    frame = session.store.frame()
    leaders, chance = confirmed(frame), against_chance(frame)
    best = _described(session, best_network(frame))
    states = [t.state for t in session.store.trials.values()]
    counts = {s: states.count(s) for s in ("complete", "stopped", "failed", "infeasible", "repeat")}
    reused = [t for t in session.store.trials.values() if t.reused_from is not None]
    saved_s = [t.measurement.train_time_s for t in reused if t.measurement is not None]
    saved = saving(frame, epochs)
    volumes = frame["hypervolume"].dropna()  # of trials as they were told, which need not be in their order
    outcome: dict[str, Any] = {
        "run": str(session.store.folder),
        "trials": session.evaluated,
        **counts,
        "reused": len(reused),
        "train_time_saved_s": sum(s for s in saved_s if s is not None),
        "hypervolume": float(volumes.max()) if len(volumes) else None,
        "early_stopping": saved._asdict() if saved.stopped else None,
        "random_arm": None if chance is None else {**chance._asdict(), "verdict": chance.verdict},
        "confirmed": leaders.to_dict("records"),
        "forecasts": forecasts.to_json(),
        "best": best,
    }
    if format is Format.json:
        print_json(outcome)
    elif format is Format.csv:
        rows = [outcome["best"]] if outcome["best"] else []
        print_rows(rows, format, columns=(), all_columns=list(rows[0]) if rows else ())
    else:
        _print_for_people(outcome, session.problem.objectives)
        if random_arm and chance is None:
            print("whether the controller beats chance cannot be told yet: each arm must have two outcomes")


def _described(session: SearchSession, best: Best | None) -> dict[str, Any] | None:
    """What is told of a network: of one that was trained several times, the means."""
    if best is None:
        return None
    trial = session.store.trials[best.number]
    shown = ["accuracy", "step_time", "params", "macs", "activations"]
    shown += [n for n in ("peak_memory_bytes", "latency") if getattr(trial.measurement, n, None) is not None]
    return {
        "number": best.number,
        "architecture": trial.architecture,
        "reward": best.reward,
        **{name: getattr(trial.measurement, name) for name in shown},
        "accuracy": best.accuracy,
        "step_time": best.step_time,
        "trainings": best.trainings,
    }


def _print_for_people(outcome: Mapping[str, Any], objectives: Sequence[str]) -> None:
    print(f"{outcome['trials']} candidates evaluated, {outcome['failed']} failed; results in {outcome['run']}")
    if outcome["reused"]:
        saved_s = outcome["train_time_saved_s"]
        saved = f", which saved {duration(saved_s)} of training" if saved_s else ""
        print(f"{outcome['reused']} trainings reused from earlier runs{saved}")
    if outcome["best"] is not None:
        print("best:")
        for name, value in outcome["best"].items():
            print(f"  {name:<18}{value:,.4f}" if isinstance(value, float) else f"  {name:<18}{value}")
    if (saved := outcome["early_stopping"]) is not None:
        took = "" if saved["saved_s"] is None else f", some {duration(saved['saved_s'])} of training saved"
        print(
            f"candidates stopped early: {saved['stopped']} of {outcome['trials']}; {saved['epochs']:,.5g} epochs "
            f"trained of {saved['epochs_without']:,.5g}{took}"
        )
    if outcome["confirmed"]:
        print("leaders trained again, by their mean reward (fresh: without the training they were chosen by):")
        print_table(list(outcome["confirmed"][0]), outcome["confirmed"])
    if outcome["hypervolume"] is not None:
        print(f"hypervolume of the front in {', '.join(objectives)}: {outcome['hypervolume']:.4f} of 1")
    elif outcome["complete"]:
        print(f"no front is kept: not all of {', '.join(objectives)} were measured (name others with --objectives)")
    if (chance := outcome["random_arm"]) is not None:
        print(
            f"a network of the controller has a higher reward than a random one with probability "
            f"{chance['probability']:.2f} ({chance['low']:.2f} to {chance['high']:.2f}; {chance['controller']} "
            f"against {chance['random']}): {chance['verdict']}"
        )
