"""`Calibration`: what a training step of any network of a space is expected to take, from the times of its blocks.

A step's time is nearly the sum of what its blocks take in a network (`block_times`), and a space has few different
blocks: an op with its kernel, expansion and squeeze-excite, at a stage, as a first or a repeated layer. Such a table
gave inference times within 1 % (Accel-NASBench, arXiv 2404.08005, has the networks); this one is of training.

No torch is loaded here: to expect a time takes the table alone. `trainers/calibration.py` makes one.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search_spaces import Architecture, Stage, part_costs

VERSION = 1
"""Of what is kept in a file."""


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


def sums_by_part(architecture: Architecture, values: Sequence[float]) -> dict[str, float]:
    """What the parts of a network have together: `stem`, `stage1` and so on, `head` where there is one, `classifier`.

    Args:
        architecture: the network.
        values: one a block, in the order of `blocks_of`.
    """
    layers = {f"stage{number}": stage.layers for number, stage in enumerate(architecture.stages, 1)}
    counts = {"stem": 1, **layers, **({"head": 1} if architecture.head_channels else {}), "classifier": 1}
    left = iter(values)
    return {part: sum(itertools.islice(left, count)) for part, count in counts.items()}


class Timed(NamedTuple):
    """A block's share of a training step, over the whole step of the anchor.

    Attributes:
        ratio: the median over the networks in which it was timed.
        low: the least of them.
        high: the greatest.
        networks: how many they were.
    """

    ratio: float
    low: float
    high: float
    networks: int


@dataclass(frozen=True)
class Calibration:
    """Expected step times of a space's networks; call it with one.

    Args:
        about: what was timed: space, anchor, image_size, batch_size, device, torch.
        anchor_s: the anchor's step time, in seconds.
        blocks: those that were timed.
        optimizer: the optimiser's step over the anchor's whole step: for itself, and for a million parameters.
        took_s: how long the timing took.
    """

    about: Mapping[str, Any]
    anchor_s: float
    blocks: Mapping[Block, Timed]
    optimizer: tuple[float, float]
    took_s: float

    def __call__(self, architecture: Architecture, *, num_classes: int = 1000, in_channels: int = 3) -> float:
        """The step time over the anchor's, as the sum of what its parts take.

        A block that was not timed is judged by the multiply-adds and activations of those of its kind that were.
        """
        size = self.about["image_size"]
        shape = {"num_classes": num_classes, "in_channels": in_channels}
        params = sum(part.cost.params for part in part_costs(architecture, size, **shape))
        total = self.optimizer[0] + self.optimizer[1] * params / 1e6
        return total + sum(self._ratio(block) for block in blocks_of(architecture, size, **shape))

    def by_part(self, architecture: Architecture, *, num_classes: int = 1000, in_channels: int = 3) -> dict[str, float]:
        """The same, part by part as `part_costs` names them, and the `optimizer`, each over the anchor's whole step."""
        size = self.about["image_size"]
        shape = {"num_classes": num_classes, "in_channels": in_channels}
        params = sum(part.cost.params for part in part_costs(architecture, size, **shape))
        ratios = [self._ratio(block) for block in blocks_of(architecture, size, **shape)]
        return {**sums_by_part(architecture, ratios), "optimizer": self.optimizer[0] + self.optimizer[1] * params / 1e6}

    def timed_share(self, architecture: Architecture, *, num_classes: int = 1000, in_channels: int = 3) -> float:
        """Of the network's blocks, which share was timed; the others are judged by those."""
        shape = {"num_classes": num_classes, "in_channels": in_channels}
        found = [block in self.blocks for block in blocks_of(architecture, self.about["image_size"], **shape)]
        return sum(found) / len(found)

    def _ratio(self, block: Block) -> float:
        if block not in self._known:
            self._known[block] = float(_costs(block) @ self._prices[block.part if block.part in self._prices else ""])
        return self._known[block]

    @cached_property
    def _known(self) -> dict[Block, float]:
        return {block: timed.ratio for block, timed in self.blocks.items()}

    @cached_property
    def _prices(self) -> dict[str, NDArray[np.float64]]:
        """By part, and of all blocks together: the price of a block as such, of its multiply-adds, its activations."""
        kinds = {"": list(self.blocks)}
        for block in self.blocks:
            kinds.setdefault(block.part, []).append(block)
        return {kind: _fitted([(_costs(b), self.blocks[b].ratio) for b in blocks]) for kind, blocks in kinds.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` makes an equal calibration of it."""
        blocks = [{**block._asdict(), **timed._asdict()} for block, timed in self.blocks.items()]
        return {
            "version": VERSION,
            **asdict(replace(self, blocks={})),
            "optimizer": list(self.optimizer),
            "blocks": blocks,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Calibration:
        """Of what `to_json` gave.

        Raises:
            ValueError: it is of another version, or not a calibration.
        """
        try:
            if data["version"] != VERSION:
                raise ValueError(f"it has version {data['version']}, this release reads {VERSION}")
            blocks = {
                Block(*(row[n] for n in Block._fields)): Timed(*(row[n] for n in Timed._fields))
                for row in data["blocks"]
            }
            step, params = data["optimizer"]
            return cls(dict(data["about"]), data["anchor_s"], blocks, (step, params), data["took_s"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a calibration that can be read ({error}); calibrate anew: nas calibrate") from error


def _costs(block: Block) -> NDArray[np.float64]:
    """1, millions of multiply-adds, and thousands of activations of the block, for one picture."""
    if block.kernel:
        kind = (block.kernel, block.stride, block.expand_ratio, block.channels, 1, block.se_ratio, block.group_width)
        alone = Architecture(block.in_channels, (Stage(block.part, *kind),), 0)
        known = part_costs(alone, 2 * block.side)[1].cost  # behind a stem, which halves the picture
        return np.array([1.0, known.macs / 1e6, known.activations / 1e3])
    window, side = {"stem": (9, -(-block.side // 2)), "head": (1, block.side)}.get(block.part, (1, 1))
    activations = block.channels * side**2
    return np.array([1.0, window * block.in_channels * activations / 1e6, activations / 1e3])


def _fitted(rows: Sequence[tuple[NDArray[np.float64], float]]) -> NDArray[np.float64]:
    """Prices, none negative, with the least relative errors."""
    from scipy.optimize import nnls  # slow to load, and not needed where all blocks were timed

    costs, ratios = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    prices, _ = nnls(costs / ratios[:, None], np.ones(len(rows)))
    return np.asarray(prices)
