"""Trial tables with what the analysis reads, made from a few words a trial."""

from __future__ import annotations

from typing import Any

import pandas as pd

from results.table import TrialTable, to_frame
from results.trial import Arm, Failure, FailureKind, Measurement, State, Trial
from search_spaces import SPACES

SPACE = SPACES["small"]
CONSTANTS = {"space": "small", "controller": "predictor"}


def trial(number: int, state: State = "complete", reward: float | None = None, **values: Any) -> Trial:
    """A trial of a network of its own unless `network` names one; fields of `Measurement` make one."""
    measured = {k: values.pop(k) for k in list(values) if k in Measurement.__dataclass_fields__}
    genotype = SPACE.genotype_at(values.pop("network", number))
    if measured:
        values["measurement"] = Measurement(**{"accuracy": 0.5, **measured})
    return Trial(
        number=number,
        genotype=genotype,
        architecture=str(SPACE.decode(genotype)),
        seed=number,
        state=state,
        reward=reward,
        **{"told_at": None if state == "running" else 1000.0 + number, "asked_at": 999.0 + number, **values},
    )


def failed(number: int, kind: FailureKind = "error", reason: str = "it broke", **values: Any) -> Trial:
    failure = Failure(kind, reason)
    return trial(number, "failed", failure=failure.kind, reason=failure.reason, **values)


def table(*trials: Trial, controller: str = "predictor") -> pd.DataFrame:
    """The trial table as a store has it."""
    return to_frame(TrialTable(SPACE, {**CONSTANTS, "controller": controller}, {}).table(trials))


def rewarded(rewards: list[float | None], arm: Arm = "controller", controller: str = "predictor") -> pd.DataFrame:
    """Complete trials of these rewards; None is a failed one."""
    trials = [
        failed(n, arm=arm) if reward is None else trial(n, reward=reward, arm=arm) for n, reward in enumerate(rewards)
    ]
    return table(*trials, controller=controller)


def together(**frames: pd.DataFrame) -> pd.DataFrame:
    """Several runs as one table, each by its name."""
    parts = [frame.copy() for frame in frames.values()]
    for name, part in zip(frames, parts, strict=True):
        part.insert(0, "run", pd.Series([name] * len(part), index=part.index, dtype="str"))
    return pd.concat(parts, ignore_index=True)
