"""Which of several runs found better networks with the same budget, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.analysis.candidates import candidates
from results.analysis.comparability import Doubt, differing, doubts, reward_noise
from results.analysis.hypervolumes import gains_of, reference_point
from results.analysis.resampling import ALPHA, FEWEST, MEASURES, Candidates, candidates_of, interval, less, p_values

Floats = NDArray[np.float64]


class Comparison(NamedTuple):
    """Runs at the same budget.

    Attributes:
        budget: candidates of each run that are compared, the first to be told.
        runs: a row a run: run, evaluated (all its candidates); of those compared: rewarded, stopped, failed, best, top,
            hypervolume (NaN where it has none), number (of the best), reused (from earlier runs).
        differences: a row a pair of runs and measure: measure, run, against, difference (of the first less the second),
            low, high (of its 95 % interval), p_value (how often runs of one kind would be as far apart), verdict. Where
            candidates are too few the interval and the p-value are NaN.
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
    and replicates are left out. A pair's verdict names the better run where at most one in twenty random splits of
    their candidates is as far apart (`p_values`); otherwise, or where the numbers are not of one kind (`doubts`), it
    names none. The best reward alone says little: for a verdict all the five or six best of both
    must be one run's.

    All this is of the candidates that a run drew. It does not tell what another seed would have done with a controller
    that learns: for that compare several runs of each.

    Args:
        frames: the trial table of each run, by its name.
        configurations: of each run, by the same names; as `run.json` has it, perhaps with its last `settings`.
        rng: splits the candidates, and draws those of the intervals.
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
    measured = {name: candidates_of(rows, gains_of(rows, reference)) for name, rows in cut.items()}
    found = doubts(frames, configurations)
    return Comparison(
        budget,
        pd.DataFrame([_row(name, rows, len(told[name]), measured[name]) for name, rows in cut.items()]).astype(
            {"number": "Int64"}  # a whole number, also where a run has none
        ),
        _differences(measured, found, rng),
        differing(configurations),
        reference,
        (*(doubt.said for doubt in found), *missing, *_reservations(frames, cut, measured)),
    )


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


def _row(name: str, rows: pd.DataFrame, evaluated: int, measured: Candidates) -> dict[str, Any]:
    rewards = rows["reward"].to_numpy(np.float64, na_value=np.nan)
    best, top, volume = (float(value) if np.isfinite(value) else math.nan for value in measured.all_measured())
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


def _differences(runs: Mapping[str, Candidates], found: Sequence[Doubt], rng: np.random.Generator) -> pd.DataFrame:
    """A row a pair and measure. What is drawn does not depend on the order in which runs are named."""
    draws = {name: runs[name].drawn(rng) for name in sorted(runs)}
    chances = {(one, other): p_values(runs[one], runs[other], rng) for one, other in combinations(sorted(runs), 2)}
    rows = []
    for one, other in combinations(runs, 2):
        difference = less(runs[one].all_measured(), runs[other].all_measured())
        low, high = interval(difference, less(draws[one], draws[other]))
        chance = chances[min(one, other), max(one, other)]
        few = len(runs[one].rewards) < FEWEST
        spoilt = {name for doubt in found if doubt.between(one, other) for name in doubt.spoils}
        for n, name in enumerate(MEASURES):
            if np.isnan(difference[n]):
                verdict = "not measured"
            elif name in spoilt:
                verdict = "not comparable"
            elif few:
                verdict = "too few candidates"
            elif chance[n] > ALPHA:
                verdict = "not told apart"
            else:
                verdict = f"{one if difference[n] > 0 else other} is better"
            ends = (math.nan, math.nan) if few else (low[n], high[n])
            rows.append((name, one, other, difference[n], *ends, chance[n], verdict))
    columns = ["measure", "run", "against", "difference", "low", "high", "p_value", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def _reservations(
    frames: Mapping[str, pd.DataFrame], cut: Mapping[str, pd.DataFrame], runs: Mapping[str, Candidates]
) -> list[str]:
    """What the differences do not tell."""
    said, best = [], {name: runs[name].all_measured()[0] for name in runs}
    for name, rows in cut.items():
        if reused := int(rows["reused_from"].notna().sum()):
            said.append(f"{reused} candidates of {name} were taken from earlier runs: they count here and cost nothing")
        if not np.isfinite(best[name]):
            said.append(f"{name} has no candidate with a reward" + ("" if len(rows) else ", nor any that has ended"))
    noise = {name: known[0] for name, frame in frames.items() if (known := reward_noise(frame)) is not None}
    if not noise:
        said.append(
            "no network was trained twice (--confirm): how far a best reward is its training's luck is not known"
        )
        return said
    most = max(noise.values())
    for one, other in combinations(runs, 2):
        apart = abs(float(less(best[one], best[other])))
        within = 1.96 * math.hypot(noise.get(one, most), noise.get(other, most))
        if apart < within:
            said.append(
                f"the best rewards of {one} and {other} are {apart:.4f} apart, and two trainings of one network differ "
                f"by up to {within:.4f} in 95 of 100 cases"
            )
    return said
