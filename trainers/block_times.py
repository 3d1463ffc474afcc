"""What each block of a network takes of its training step, measured where it is: in the network, while it trains.

A block timed by itself finds its maps in the cache, and one in a network does not; so the blocks are timed in whole
steps, between marks at their ends: on the way forward when a block gives its map, on the way back when that map's
gradient is known.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from search_spaces import Architecture
from trainers.devices import torch_device
from trainers.network import Network
from trainers.recipe import Recipe
from trainers.step_timer import RandomStep, one_thread
from trainers.watch import watch_of


class BlockTimes(NamedTuple):
    """Seconds of one training step.

    Attributes:
        blocks: of each part, forward and backward, in the order of `blocks_of`.
        optimizer: of the optimiser.
    """

    blocks: list[float]
    optimizer: float


_WARM_UP_STEPS = 3
_STEPS = 9
_TIME_LIMIT_S = 60.0  # after which no further step is timed


def typical_times(
    architecture: Architecture, image_size: int, recipe: Recipe, *, shape: Mapping[str, int], device: str
) -> BlockTimes:
    """What each part of a step takes, in the median of some steps; on a CPU on one thread, as step times are measured.

    Args:
        architecture: the network.
        image_size: side of its pictures, in pixels.
        recipe: its batch size, optimiser and loss.
        shape: num_classes and in_channels.
        device: `"cpu"`, `"cuda"`, or `"auto"` for a GPU where there is one.

    Raises:
        ValueError: the device is unknown or not there.
        torch.OutOfMemoryError: the device's memory did not suffice.
    """
    where, begun = torch_device(device), time.monotonic()
    found: list[BlockTimes] = []
    with one_thread() if where.type == "cpu" else nullcontext(), watch_of(where):
        step = RandomStep(architecture, image_size, recipe, **shape, device=where)
        for _ in range(_WARM_UP_STEPS):
            step()
        while len(found) < _STEPS and (not found or time.monotonic() - begun < _TIME_LIMIT_S):
            found.append(time_blocks(step, where))
    blocks = [statistics.median(times) for times in zip(*(one.blocks for one in found), strict=True)]
    return BlockTimes(blocks, statistics.median(one.optimizer for one in found))


@dataclass
class _Marks:
    """Moments of one step: on the way forward, on the way back, and around both."""

    now: Callable[[], Any]
    forward: list[Any] = field(default_factory=list)
    backward: list[Any] = field(default_factory=list)
    ends: list[Any] = field(default_factory=list)

    def passed(self, module: object, inputs: object, output: Tensor) -> None:
        """A forward hook."""
        self.forward.append(self.now())
        output.register_hook(lambda gradient: self.backward.append(self.now()))  # type: ignore[no-untyped-call]


def time_blocks(step: RandomStep, device: torch.device) -> BlockTimes:
    """Take a step, and tell what its parts took.

    Args:
        step: warmed up.
        device: where it runs.
    """
    on_gpu = device.type == "cuda"
    marks = _Marks(_event if on_gpu else time.perf_counter)
    with _marked(step, marks):
        marks.ends.append(marks.now())
        step()
        marks.ends.append(marks.now())
    if on_gpu:
        torch.cuda.synchronize()
    begun, before_optimizer, over = marks.ends
    forward, backward = [begun, *marks.forward], [*marks.backward, before_optimizer]
    # The last mark of the way forward, and the first of the way back, are those of the logits: what lies between them
    # is the loss, and counts for the classifier.
    there = [_between(a, b) for a, b in itertools.pairwise(forward)]
    back = [_between(a, b) for a, b in itertools.pairwise(backward)][::-1]
    loss = _between(forward[-1], backward[0])
    seconds = [a + b for a, b in zip(there, back, strict=True)]
    return BlockTimes([*seconds[:-1], seconds[-1] + loss], _between(before_optimizer, over))


@contextmanager
def _marked(step: RandomStep, marks: _Marks) -> Iterator[None]:
    network = step.network
    assert isinstance(network, Network)  # of an architecture
    parts = [network.stem, *(block for stage in network.stages.children() for block in stage.children())]
    parts += [network.head] if network.architecture.head_channels else []
    with ExitStack() as hooks:
        for part in (*parts, network):
            hooks.callback(part.register_forward_hook(marks.passed).remove)
        handle = step.optimizer.register_step_pre_hook(lambda *_: marks.ends.append(marks.now()))
        hooks.callback(handle.remove)
        yield


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _between(first: Any, second: Any) -> float:
    """Seconds from one mark to another."""
    if isinstance(first, float):
        return float(second - first)
    return float(first.elapsed_time(second)) / 1000
