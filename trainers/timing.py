"""Step time as a ratio to an anchor, with its interval.

A candidate's step and the anchor's are timed in alternation, block by block, so that whatever slows the
machine (clocks, heat, a neighbour) slows both, and the ratio S is a property of the network.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from trainers.gpu_state import GpuState

Step = Callable[[], object]

T = TypeVar("T")

BLOCK_S = 0.04
"""How long a block of steps takes at least."""


class StepTime(NamedTuple):
    """A step time over the anchor's.

    Attributes:
        ratio: median over the pairs of blocks.
        low: lower end of the median's 95 % bootstrap interval.
        high: upper end.
        seconds: the median step time itself.
        anchor_seconds: the anchor's.
        samples: the ratio of each pair of blocks.
        note: what disturbed it, in words; None where nothing is known to have.
        gpu: its state when the last block was over; None of a CPU, or where nothing tells it.
    """

    ratio: float
    low: float
    high: float
    seconds: float
    anchor_seconds: float
    samples: tuple[float, ...] = ()
    note: str | None = None
    gpu: GpuState | None = None


class PairedTiming:
    """Times steps as they are taken, in alternation with an anchor's; call it with each until there is a `result`.

    So the steps of a training are timed, and nothing is computed for the timing alone but the anchor's steps.

    Args:
        anchor: what to compare to.
        wait: returns when the device is done with all that was asked of it.
        blocks: pairs of blocks; each pair gives one ratio.
        block_s: a block takes at least this long, one step or several.
        precision: go on with more pairs until the interval is this narrow, relative to the ratio, or five times as
            many have been timed.

    Attributes:
        result: the step time, when enough steps were taken; None before.
    """

    def __init__(
        self,
        anchor: Step,
        *,
        wait: Callable[[], object],
        blocks: int = 9,
        block_s: float = BLOCK_S,
        precision: float | None = None,
    ) -> None:
        self._anchor, self._wait = anchor, wait
        self._blocks, self._block_s, self._precision = blocks, block_s, precision
        self._settling: list[float] = []
        self._counts: tuple[int, int] | None = None  # steps in a block: of what is timed, of the anchor
        self._block: list[float] = []
        self._anchor_s = 0.0
        self._pairs: list[tuple[float, float]] = []
        self.result: StepTime | None = None

    def __call__(self, step: Callable[[], T]) -> T:
        """Take a step, and give what it gives."""
        if self.result is not None:
            return step()
        if self._counts is not None and not self._block and len(self._pairs) % 2:
            self._anchor_s = self._anchor_block()  # by turns before and after, so that neither always follows
        given, seconds = self._timed(step)
        if self._counts is None:
            self._settle(seconds)
            return given
        self._block.append(seconds)
        if len(self._block) == self._counts[0]:
            if not len(self._pairs) % 2:
                self._anchor_s = self._anchor_block()
            self._pairs.append((sum(self._block) / len(self._block), self._anchor_s))
            self._block = []
            self._conclude()
        return given

    def so_far(self) -> StepTime | None:
        """The step time by the pairs there are, however precise; None where they are fewer than `blocks`."""
        return self.result if self.result is not None or len(self._pairs) < self._blocks else self._estimate()

    def _settle(self, seconds: float) -> None:
        """Warm up; when the step is no faster than before, the anchor is warmed up, and blocks can begin."""
        self._settling.append(seconds)
        if not _is_settled(self._settling):
            return
        anchors: list[float] = []
        while not _is_settled(anchors):
            anchors.append(self._timed(self._anchor)[1])
        count, anchor_count = (max(1, round(self._block_s / min(taken))) for taken in (self._settling, anchors))
        self._counts = (count, anchor_count)

    def _anchor_block(self) -> float:
        assert self._counts is not None
        return statistics.fmean(self._timed(self._anchor)[1] for _ in range(self._counts[1]))

    def _timed(self, step: Callable[[], T]) -> tuple[T, float]:
        self._wait()
        begun = time.perf_counter()
        given = step()
        self._wait()
        return given, time.perf_counter() - begun

    def _conclude(self) -> None:
        """Set the result when there are enough pairs."""
        done = len(self._pairs)
        if done % self._blocks:
            return
        found = self._estimate()
        precise = self._precision is None or found.high - found.low <= self._precision * found.ratio
        if precise or done >= 5 * self._blocks:
            self.result = found

    def _estimate(self) -> StepTime:
        timed = np.array(self._pairs)
        ratios = timed[:, 0] / timed[:, 1]
        seconds, anchor_seconds = np.median(timed, axis=0)
        return StepTime(
            float(np.median(ratios)),
            *median_interval(ratios),
            float(seconds),
            float(anchor_seconds),
            tuple(ratios.tolist()),
        )


def time_steps(
    step: Step,
    anchor: Step,
    *,
    wait: Callable[[], object],
    blocks: int = 9,
    block_s: float = BLOCK_S,
    precision: float | None = None,
) -> StepTime:
    """Time one step against another; the arguments are those of `PairedTiming`."""
    timing = PairedTiming(anchor, wait=wait, blocks=blocks, block_s=block_s, precision=precision)
    while timing.result is None:
        timing(step)
    return timing.result


def median_interval(samples: np.ndarray, *, draws: int = 1000) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median (Efron 1979); the same for the same samples."""
    chosen = np.random.default_rng(0).integers(len(samples), size=(draws, len(samples)))
    low, high = np.quantile(np.median(samples[chosen], axis=1), [0.025, 0.975])
    return float(low), float(high)


def _is_settled(taken: list[float], *, at_most: int = 8) -> bool:
    """Whether the last step was no faster than the ones before, or there were enough."""
    return len(taken) >= at_most or (len(taken) > 2 and taken[-1] > 0.9 * statistics.median(taken[-3:-1]))
