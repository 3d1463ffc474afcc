"""A run folder with trials of every kind, made without training anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from results.store import TrialStore
from results.trial import Failure, Measurement, Trial
from search_spaces import SPACES, SearchSpace, cost

BEGUN = 1.8e9


def configuration(space: SearchSpace, **identity: Any) -> dict[str, Any]:
    """As `nas search` writes it, as far as a report looks at it."""
    known = {
        "space": space.to_json(),
        "controller": "evolution",
        "reward": "training-aware",
        "evaluator": "proxy",
        "image_size": 32,
        "objectives": ["accuracy", "step_time", "params"],
        "task": {"pictures": {"train": 3000, "minival": 1000}, "num_classes": 10, "in_channels": 1},
    }
    columns = {"space": space.name, "controller": "evolution", "evaluator": "proxy", "image_size": 32, "epochs": 2}
    options = {"space": space.name, "data": "mnist5k", "limits": {}, "epochs": None}
    return {"space": space.to_json(), "columns": columns, "options": options, "identity": {**known, **identity}}


def make_run(
    folder: Path,
    *,
    trials: int = 60,
    space: SearchSpace | None = None,
    outcomes: tuple[str, ...] = ("complete",) * 8 + ("failed", "stopped"),
    seed: int = 0,
    reason: str = "CUDA out of memory",
    **identity: Any,
) -> Path:
    """A run of so many trials, a third of them random, whose reward depends on the depth and on noise.

    Args:
        folder: a new one.
        trials: asked for.
        space: the networks come from; `small` by default.
        outcomes: states that follow each other, over and over; `running` ones are left as they are, `missing` is
            complete without a step time or a reward, and `repeat` repeats trial 0.
        seed: of the draws.
        reason: of the failures.
        identity: changes what the run says of itself.
    """
    space, rng = space or SPACES["small"], np.random.default_rng(seed)
    store = TrialStore.create(folder, configuration(space, **identity))
    store.record({"event": "started", "settings": {"budget": trials, "workers": 2}, "versions": {"nas": "0.1.0"},
                  "host": "here", "time": BEGUN})  # fmt: skip
    for number in range(trials):
        outcome = outcomes[number % len(outcomes)]
        _evaluate(store, _asked(store, space, number, outcome, rng), outcome, reason, rng)
    store.close()
    return folder


def _asked(store: TrialStore, space: SearchSpace, number: int, outcome: str, rng: np.random.Generator) -> Trial:
    repeat = outcome == "repeat" and number > 0
    genotype = store.trials[0].genotype if repeat else space.sample(rng)
    trial = Trial(
        number=number,
        genotype=genotype,
        architecture=str(space.decode(genotype)),
        seed=number,
        arm="random" if number % 3 == 2 else "controller",
        state="repeat" if repeat else "running",
        repeat_of=0 if repeat else None,
        asked_at=BEGUN + 60 * number,
    )
    store.asked(trial)
    return trial


def _evaluate(store: TrialStore, trial: Trial, outcome: str, reason: str, rng: np.random.Generator) -> None:
    if outcome == "running":
        return
    ended: dict[str, Any] = {
        "state": trial.state if outcome == "repeat" else outcome,
        "told_at": BEGUN + 60 * (trial.number + 1),
    }
    architecture = store_space(store).decode(trial.genotype)
    known = cost(architecture, 32, num_classes=10, in_channels=1)
    depth = sum(stage.layers for stage in architecture.stages)
    accuracy = 1 - 0.5 * float(np.exp(-depth / 9)) + rng.normal(0, 0.01)
    step_time = depth / 8 * float(rng.lognormal(0, 0.05))
    bare = outcome == "missing"
    drift = float(rng.lognormal(trial.number / 500, 0.02))
    epochs = {"failed": 0, "stopped": 1, "repeat": 0}.get(outcome, 2)
    for epoch in range(1, epochs + 1):
        measurement = Measurement(
            accuracy=accuracy - 0.05 * (2 - epoch),
            epoch=float(epoch),
            step_time=None if bare else step_time,
            step_time_low=None if bare else 0.95 * step_time,
            step_time_high=None if bare else 1.06 * step_time,
            step_time_s=None if bare else 0.06 * step_time * drift,
            train_time_s=7.5 * epoch,
            device="AMD EPYC",
            host="here",
            **known._asdict(),
        )
        store.measured(trial.number, measurement)
    if outcome in ("complete", "repeat"):
        ended["reward"] = accuracy * step_time**-0.07
    if bare:
        ended["state"] = "complete"
    failure = Failure("out_of_memory", reason) if outcome == "failed" else None
    if failure:
        ended |= {"failure": failure.kind, "reason": failure.reason}
    store.told(replace(trial, **ended))


def store_space(store: TrialStore) -> SearchSpace:
    """What a run searches."""
    return SearchSpace.from_json(store.configuration["space"])
