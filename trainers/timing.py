"""Step time as a ratio to an anchor, with its interval.

A candidate's step and the anchor's are timed in alternation, block by block, so that whatever slows the
machine (clocks, heat, a neighbour) slows both, and the ratio S is a property of the network.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Step = Callable[[], object]


class StepTime(NamedTuple):
    """A step time over the anchor's.

    Attributes:
        ratio: median over the pairs of blocks.
        low: lower end of the median's 95 % bootstrap interval.
        high: upper end.
        seconds: the median step time itself.
        anchor_seconds: the anchor's.
    """

    ratio: float
    low: float
    high: float
    seconds: float
    anchor_seconds: float


def time_steps(
    step: Step,
    anchor: Step,
    *,
    wait: Callable[[], object],
    blocks: int = 9,
    block_s: float = 0.04,
    precision: float | None = None,
) -> StepTime:
    """Time one step against another.

    Args:
        step: what to time.
        anchor: what to compare it to.
        wait: returns when the device is done with all that was asked of it.
        blocks: pairs of blocks; each pair gives one ratio.
        block_s: a block takes at least this long, one step or several.
        precision: go on with more pairs until the interval is this narrow, relative to the ratio, or five times as
            many have been timed.
    """
    counts = [_settle(s, wait, block_s) for s in (step, anchor)]
    pairs: list[list[float]] = []
    while True:
        for block in range(blocks):
            pair = [0.0, 0.0]
            order = (0, 1) if block % 2 == 0 else (1, 0)  # neither always follows the other
            for which in order:
                pair[which] = _block((step, anchor)[which], counts[which], wait) / counts[which]
            pairs.append(pair)
        timed = np.array(pairs)
        ratios = timed[:, 0] / timed[:, 1]
        ratio = float(np.median(ratios))
        low, high = median_interval(ratios)
        if precision is None or high - low <= precision * ratio or len(pairs) >= 5 * blocks:
            break
    seconds, anchor_seconds = np.median(timed, axis=0)
    return StepTime(ratio, low, high, float(seconds), float(anchor_seconds))


def median_interval(samples: np.ndarray, *, draws: int = 1000) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median (Efron 1979); the same for the same samples."""
    chosen = np.random.default_rng(0).integers(len(samples), size=(draws, len(samples)))
    low, high = np.quantile(np.median(samples[chosen], axis=1), [0.025, 0.975])
    return float(low), float(high)


def _settle(step: Step, wait: Callable[[], object], block_s: float, *, at_most: int = 8) -> int:
    """Warm up until a step is no faster than the ones before; how many steps make a block."""
    taken: list[float] = []
    while len(taken) < at_most:
        taken.append(_block(step, 1, wait))
        if len(taken) > 2 and taken[-1] > 0.9 * statistics.median(taken[-3:-1]):
            break
    return max(1, round(block_s / min(taken)))


def _block(step: Step, count: int, wait: Callable[[], object]) -> float:
    begun = time.perf_counter()
    for _ in range(count):
        step()
    wait()
    return time.perf_counter() - begun
