"""Which of several runs found better networks with the same budget, and how sure that is.

Intervals are of the bootstrap with half as many draws as there are candidates (Bickel, Götze and van Zwet 1997,
Statistica Sinica 7): the plain one is wrong of a maximum, which it hits in 63 % of its draws. Of two runs that are
alike the plain one called one better in 13 % of simulated cases, and this one in 2 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.analysis.candidates import candidates, standing
from results.analysis.comparability import Doubt, differing, doubts, reward_noise
from results.analysis.hypervolumes import Volumes, gains_of, reference_point

DRAWS = 1000
TOP = 0.05
"""The share of the candidates whose mean reward is compared beside the best."""

MEASURES = {"best": "best reward", "top": "mean reward of the top 5 %", "hypervolume": "hypervolume"}
UNTOLD = "not told apart"

Floats = NDArray[np.float64]


class Comparison(NamedTuple):
    """Runs at the same budget.

    Attributes:
        budget: candidates of each run that are compared, the first to be told.
        runs: a row a run: run, evaluated (all its candidates); of those compared: rewarded, stopped, failed, best, top,
            hypervolume (NaN where it has none), number (of the best), reused (from earlier runs).
        differences: a row a pair of runs and measure: measure, run, against, difference (of the first less the second),
            low, high (what it is in 95 of 100 draws of half the candidates), verdict.
        differing: a row a field of the configurations that differs, a column a run.
        reference: the value of each objective that hypervolumes are told against; empty where none are told.
        warnings: why the comparison may be wrong, and what it does not tell.
    """

    budget: int
    runs: pd.DataFrame
    differences: pd.DataFrame
    differing: pd.DataFrame
    reference: dict[str, float]
    warnings: tuple[str, ...]


def compare(
    frames: Mapping[str, pd.DataFrame],
    configurations: Mapping[str, Mapping[str, Any]],
    *,
    rng: np.random.Generator,
    budget: int | None = None,
    objectives: Sequence[str] | None = None,
) -> Comparison:
    """Compare runs at the same budget.

    Candidates are counted as `candidates` does: failed and stopped ones take their place and have no reward; repeats
    and replicates are left out. A pair's verdict names the better run where the interval of their difference does not
    hold zero; otherwise, or where the numbers are not of one kind (`doubts`), it names none.

    The intervals are of the candidates that a run drew. They do not tell what another seed would have done with a
    controller that learns: for that compare several runs of each.

    Args:
        frames: the trial table of each run, by its name.
        configurations: of each run, by the same names; as `run.json` has it, perhaps with its last `settings`.
        rng: draws the bootstrap.
        budget: how many candidates to compare; by default as many as the run with the fewest has.
        objectives: whose hypervolume is compared; by default those of all runs.

    Raises:
        ValueError: there are fewer than two runs, or the budget is more than a run has evaluated.
    """
    if len(frames) < 2:
        raise ValueError(f"at least two runs can be compared; got {len(frames)}")
    told = {name: candidates(frame) for name, frame in frames.items()}
    budget = _checked(budget, {name: len(rows) for name, rows in told.items()})
    cut = {name: rows.iloc[:budget] for name, rows in told.items()}
    names = _objectives(configurations.values()) if objectives is None else tuple(objectives)
    reference, missing = reference_point(cut, configurations, names)
    drawn = {name: _Drawn(rows, gains_of(rows, reference), rng) for name, rows in cut.items()}
    found = doubts(frames, configurations)
    return Comparison(
        budget,
        pd.DataFrame([_row(name, rows, len(told[name]), drawn[name]) for name, rows in cut.items()]),
        _differences(drawn, found),
        differing(configurations),
        reference,
        (*(doubt.said for doubt in found), *missing, *_reservations(frames, cut, drawn)),
    )


class _Drawn:
    """What a run's candidates measure, as they are (`found`) and in each draw of half of them (`draws`)."""

    def __init__(self, rows: pd.DataFrame, gains: Floats | None, rng: np.random.Generator) -> None:
        rewards = standing(rows)
        rewards[rewards == np.finfo(np.float64).min] = -np.inf  # a mean with it would be no number
        volumes = None if gains is None else Volumes(gains)
        self.found = _measured(np.arange(len(rows)), rewards, volumes)
        half = math.ceil(len(rows) / 2)
        empty: list[Floats] = [_measured(np.arange(0), rewards, volumes)] * DRAWS
        self.draws = np.array(
            [_measured(rng.integers(len(rows), size=half), rewards, volumes) for _ in range(DRAWS)] if half else empty
        )


def _measured(of: NDArray[np.int64], rewards: Floats, volumes: Volumes | None) -> Floats:
    """The measures of some candidates, in the order of `MEASURES`; -inf where none has a reward."""
    if not len(of):
        return np.array([-np.inf, -np.inf, np.nan if volumes is None else 0.0])
    drawn, top = rewards[of], math.ceil(TOP * len(of))
    best = np.partition(drawn, len(drawn) - top)[len(drawn) - top :]
    return np.array([best.max(), best.mean(), np.nan if volumes is None else volumes.of(of)])


def _checked(budget: int | None, evaluated: Mapping[str, int]) -> int:
    fewest = min(evaluated, key=lambda name: evaluated[name])
    if budget is None:
        return evaluated[fewest]
    if not 1 <= budget <= evaluated[fewest]:
        raise ValueError(
            f"budget must be from 1 to the candidates that every run has evaluated; got {budget}, and {fewest} has "
            f"{evaluated[fewest]}"
        )
    return budget


def _objectives(configurations: Any) -> tuple[str, ...]:
    """The objectives that all runs have, in the first one's order."""
    each = [c.get("identity", {}).get("objectives", ("accuracy", "step_time", "params")) for c in configurations]
    return tuple(name for name in each[0] if all(name in other for other in each))


def _row(name: str, rows: pd.DataFrame, evaluated: int, drawn: _Drawn) -> dict[str, Any]:
    rewards = rows["reward"].to_numpy(np.float64, na_value=np.nan)
    best, top, volume = (float(value) if np.isfinite(value) else math.nan for value in drawn.found)
    number = None if np.isnan(rewards).all() else int(rows["number"].iloc[int(np.nanargmax(rewards))])
    return {
        "run": name,
        "evaluated": evaluated,
        "rewarded": int((~np.isnan(rewards)).sum()),
        "stopped": int((rows["state"] == "stopped").sum()),
        "failed": int(rows["state"].isin(["failed", "infeasible"]).sum()),
        "best": best,
        "top": top,
        "hypervolume": volume,
        "number": number,
        "reused": int(rows["reused_from"].notna().sum()),
    }


def _differences(drawn: Mapping[str, _Drawn], found: Sequence[Doubt]) -> pd.DataFrame:
    rows = []
    for one, other in combinations(drawn, 2):
        difference = _less(drawn[one].found, drawn[other].found)
        draws = _less(drawn[one].draws, drawn[other].draws)
        ends = np.quantile(draws, [0.025, 0.975], axis=0, method="inverted_cdf")  # which takes infinite ones too
        spoilt = {name for doubt in found if doubt.between(one, other) for name in doubt.spoils}
        for n, name in enumerate(MEASURES):
            low, high = ends[:, n]
            verdict = UNTOLD
            if np.isnan(difference[n]):
                verdict = "not measured"
            elif name in spoilt:
                verdict = "not comparable"
            elif low > 0 or high < 0:
                verdict = f"{one if low > 0 else other} is better"
            rows.append((name, one, other, difference[n], low, high, verdict))
    return pd.DataFrame(rows, columns=["measure", "run", "against", "difference", "low", "high", "verdict"])


def _less(one: Floats, other: Floats) -> Floats:
    """Their difference; of two that have no reward, none."""
    both = np.isneginf(one) & np.isneginf(other)
    return np.where(both, 0.0, np.where(both, 0.0, one) - np.where(both, 0.0, other))


def _reservations(
    frames: Mapping[str, pd.DataFrame], cut: Mapping[str, pd.DataFrame], drawn: Mapping[str, _Drawn]
) -> list[str]:
    """What the intervals do not tell."""
    said = []
    for name, rows in cut.items():
        if reused := int(rows["reused_from"].notna().sum()):
            said.append(f"{reused} candidates of {name} were taken from earlier runs: they count here and cost nothing")
        if not np.isfinite(drawn[name].found[0]):
            said.append(f"{name} has no candidate with a reward" + ("" if len(rows) else ", nor any that has ended"))
    noise = {name: known[0] for name, frame in frames.items() if (known := reward_noise(frame)) is not None}
    if not noise:
        said.append(
            "no network was trained twice (--confirm): how far a best reward is its training's luck is not known"
        )
        return said
    most = max(noise.values())
    for one, other in combinations(drawn, 2):
        apart = abs(float(_less(drawn[one].found, drawn[other].found)[0]))
        within = 1.96 * math.hypot(noise.get(one, most), noise.get(other, most))
        if apart < within:
            said.append(
                f"the best rewards of {one} and {other} are {apart:.4f} apart, and two trainings of one network differ "
                f"by up to {within:.4f} in 95 of 100 cases"
            )
    return said
