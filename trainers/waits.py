"""How long a training's device waits for pictures, though the host runs ahead of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


def waited_for(
    batches: Iterator[T],
    count: int,
    *,
    settle: Callable[[], None],
    every: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[tuple[T, float]]:
    """Batches, each with the seconds that the device waited for it, or for it and those since one was timed last.

    A host that asks for a batch while the device still computes keeps nobody waiting. So before a wait is timed the
    device is let come to its end; as that costs a little, only the first, every so manieth and the last are timed, and
    each stands for those since the one before.

    Args:
        batches: at least `count`.
        count: how many are taken.
        settle: returns when the device has done all that it was given.
        every: of how many batches one is timed.
        clock: seconds.
    """
    since = 0
    for number in range(1, count + 1):
        since += 1
        timed = since == every or number in (1, count)
        if timed:
            settle()
        asked = clock()
        batch = next(batches)
        yield batch, since * (clock() - asked) if timed else 0.0
        since = 0 if timed else since
