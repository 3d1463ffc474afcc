"""The first draw of a search, screened: of many networks drawn, those that promise most before any training.

SNIP, SynFlow and params rank networks better together than any of them alone (Kendall tau .73 with the accuracies of
Accel-NASBench, `docs/benchmarks.md`), but all three favour what is large, and a reward pays for size. So the networks
are sorted by what the reward makes of their costs, and the best is taken of each part of equal number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from nas.controllers.random_search import RandomSearch
from nas.problem import Problem
from results.trial import Measurement
from search_spaces import Architecture, Genotype

SCORED = 256
"""Networks that are drawn and scored."""

FIRST = 8
"""Networks that are trained first: half of the smallest budget that a search has by default."""

BRIEF_STEPS = 500
"""A training of fewer steps favours what learns fast, which these scores do not tell (`docs/zero_cost.md`)."""

Score = Callable[[Architecture], Mapping[str, float]]
"""The untrained network's scores by name; of each, more is better."""


class Screened(NamedTuple):
    """A first draw.

    Attributes:
        genotypes: to be proposed first, in this order.
        scored: how many networks they were chosen from.
        seconds: that it took.
    """

    genotypes: list[Genotype]
    scored: int
    seconds: float


def screen(problem: Problem, score: Score, seed: int, *, scored: int = SCORED, first: int = FIRST) -> Screened:
    """Draw networks within the limits, score them untrained, and choose the first proposals among them.

    Args:
        problem: its space is drawn from; its reward says what costs weigh.
        score: by which they are ranked, together with their params.
        seed: of the draw.
        scored: how many to draw.
        first: how many to choose.
    """
    begun = time.perf_counter()
    draw = RandomSearch(problem.space, problem.features, seed)
    genotypes = [genotype for _ in range(scored) if (genotype := draw.ask()) is not None]
    architectures = [problem.space.decode(genotype) for genotype in genotypes]
    costs = [problem.cost(architecture) for architecture in architectures]
    rows = [
        {**score(architecture), "params": known.params}
        for architecture, known in zip(architectures, costs, strict=True)
    ]
    prices = [_worth_of_costs(problem, architecture) for architecture in architectures]
    chosen = best_of_each_part(prices, rank_sum(rows), first)
    order = np.random.default_rng(seed).permutation(len(chosen))  # a search cut short has seen cheap and dear ones
    return Screened([genotypes[chosen[place]] for place in order], len(genotypes), time.perf_counter() - begun)


def first_draw(problem: Problem, evaluate: Any, seed: int) -> tuple[list[Genotype], str]:
    """What a search proposes first, and what to say of it.

    Raises:
        ValueError: the evaluator does not score untrained networks.
    """
    score = getattr(evaluate, "zero_cost", None)
    if not callable(score):
        raise ValueError(
            "--zero-cost needs an evaluator that scores untrained networks: the proxy, or one with a method "
            "zero_cost(architecture) that gives scores by name"
        )
    found = screen(problem, score, seed)
    return found.genotypes, (
        f"{found.scored} networks were scored untrained in {found.seconds:.0f} s; {len(found.genotypes)} of them, the "
        f"best of each class of cost, are trained first"
    )


def rank_sum(rows: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
    """Of each network, the sum of its ranks by every score; the more the better, and no number is the least.

    Args:
        rows: the scores of each network, by the same names.
    """
    total = np.zeros(len(rows))
    for name in rows[0] if rows else ():
        values = np.array([row[name] for row in rows], dtype=np.float64)
        total += rankdata(np.where(np.isnan(values), -np.inf, values))
    return total


def best_of_each_part(prices: ArrayLike, merits: ArrayLike, count: int) -> list[int]:
    """Sort by price, cut into so many parts of equal number, and take the place of the highest merit in each."""
    known = np.asarray(merits, dtype=np.float64)
    parts = np.array_split(np.argsort(np.asarray(prices, dtype=np.float64), kind="stable"), count)
    return [int(part[np.argmax(known[part])]) for part in parts if len(part)]


def _worth_of_costs(problem: Problem, architecture: Architecture) -> float:
    """The reward of a network at an accuracy that is the same for all; what only a device tells is stood in for.

    Step time and latency are taken for its macs over the anchor's (or the step time for what is expected of it),
    peak memory for its activations over the anchor's, seconds for those ratios, and bytes for the activations: a
    constant factor in a cost only rescales all rewards.
    """
    known = problem.cost(architecture)
    macs = known.macs / problem.anchor.macs
    step_time = macs if problem.step_time is None else problem.step_time(architecture)
    measurement = Measurement(
        accuracy=0.5,
        step_time=step_time,
        step_time_s=step_time,
        latency=macs,
        latency_s=macs,
        peak_memory=known.activations / problem.anchor.activations,
        peak_memory_bytes=known.activations,
        **known._asdict(),
    )
    return problem.reward(measurement, problem.anchor)
