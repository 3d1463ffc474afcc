"""What each block of a network takes of its training step, measured where it is: in the network, while it trains.

A block timed by itself finds its maps in the cache, and one in a network does not; so the blocks are timed in whole
steps, between marks at their ends: on the way forward when a block gives its map, on the way back when that map's
gradient is known.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from search_spaces import Architecture, Stage
from trainers.step_timer import RandomStep


class Block(NamedTuple):
    """What decides the time of a part of a network, at one batch size, optimiser and device.

    Attributes:
        part: `stem`, `head`, `classifier` (with pooling and loss), or the op of a stage.
        in_channels: width of its input.
        channels: width of its output.
        side: of its input map, in pixels.
        kernel: side of the window; so the following are of a stage's block.
        stride: of this block.
        expand_ratio: as in `Stage`.
        se_ratio: as in `Stage`.
        group_width: as in `Stage`.
    """

    part: str
    in_channels: int
    channels: int
    side: int
    kernel: int = 0
    stride: int = 0
    expand_ratio: int = 0
    se_ratio: float = 0.0
    group_width: int = 0


def blocks_of(architecture: Architecture, image_size: int, *, num_classes: int, in_channels: int) -> list[Block]:
    """The parts of a network in the order they are computed, a repeated layer as often as it is there."""
    side, width = image_size, architecture.stem_channels
    blocks = [Block("stem", in_channels, width, side)]
    side = -(-side // 2)
    for stage in architecture.stages:
        for layer in range(stage.layers):
            stride = stage.stride if layer == 0 else 1
            blocks.append(_block(stage, width, side, stride))
            side, width = -(-side // stride), stage.channels
    if architecture.head_channels:
        blocks.append(Block("head", width, architecture.head_channels, side))
        width = architecture.head_channels
    blocks.append(Block("classifier", width, num_classes, side))
    return blocks


def _block(stage: Stage, in_channels: int, side: int, stride: int) -> Block:
    kind = (stage.kernel, stride, stage.expand_ratio, stage.se_ratio, stage.group_width)
    return Block(stage.op, in_channels, stage.channels, side, *kind)


class BlockTimes(NamedTuple):
    """Seconds of one training step.

    Attributes:
        blocks: of each part, forward and backward, in the order of `blocks_of`.
        optimizer: of the optimiser.
    """

    blocks: list[float]
    optimizer: float


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
