"""Step times expected before training: blocks timed in their networks, and what is made of them."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import PUBLISHED, SPACES, Architecture, Stage, part_costs
from search_spaces.efficientnet import training_aware_space
from search_spaces.space import SearchSpace
from trainers import calibration as module
from trainers.block_times import BlockTimes, time_blocks, typical_times
from trainers.calibration import calibrate, keep, kept_calibration, made_here
from trainers.expected import Block, Calibration, Timed, _costs, blocks_of, sums_by_part
from trainers.recipe import Recipe
from trainers.step_timer import RandomStep

CPU = torch.device("cpu")
SMALL = SPACES["small"]
RECIPE = Recipe(batch_size=8)
SHAPE = {"num_classes": 10, "in_channels": 1}
TINY = training_aware_space(
    "tiny",
    Architecture(8, (Stage("fused_mbconv", 3, 1, 1, 8, 1), Stage("mbconv", 3, 2, 4, 16, 2, 0.25)), 32),
    ((1, 2), (0, 1, 3)),
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))


def drawn(seed: int, space: SearchSpace = SMALL) -> Architecture:
    return space.decode(space.sample(np.random.default_rng(seed)))


@pytest.mark.parametrize(
    "name", ["efficientnet-b0", "efficientnetv2-s", "mnasnet-a1", "regnety-400mf", "regnetz-500mf"]
)
def test_a_network_is_its_blocks(name: str) -> None:
    architecture = PUBLISHED[name]
    blocks = blocks_of(architecture, 96, num_classes=10, in_channels=3)
    layers = sum(stage.layers for stage in architecture.stages)
    assert len(blocks) == layers + 2 + bool(architecture.head_channels)
    assert [(b.in_channels, b.side) for b in blocks[:2]] == [(3, 96), (architecture.stem_channels, 48)]
    assert blocks[-1].channels == 10
    for before, after in itertools.pairwise(blocks):
        assert after.in_channels == before.channels


@given(st.integers(0, 10**6))
def test_their_costs_are_the_networks(seed: int) -> None:
    architecture = drawn(seed)
    parts = part_costs(architecture, 32, **SHAPE)
    counted = sum(_costs(block)[1:] for block in blocks_of(architecture, 32, **SHAPE))
    classifier = parts[-1].cost  # its biases are multiply-adds in `part_costs`
    macs = sum(part.cost.macs for part in parts) - classifier.macs + (classifier.macs - 10)
    assert counted == pytest.approx([macs / 1e6, sum(part.cost.activations for part in parts) / 1e3])


@pytest.mark.parametrize("seed", range(4))
def test_the_parts_of_a_step_are_the_whole_of_it(seed: int) -> None:
    architecture = drawn(seed)
    step = RandomStep(architecture, 16, RECIPE, device=CPU, **SHAPE)
    step()
    begun = time.perf_counter()
    found = time_blocks(step, CPU)
    whole = time.perf_counter() - begun
    assert len(found.blocks) == len(blocks_of(architecture, 16, **SHAPE))
    assert all(seconds > 0 for seconds in (*found.blocks, found.optimizer))
    assert 0.3 * whole < sum(found.blocks) + found.optimizer <= whole


def test_no_hook_stays_behind() -> None:
    step = RandomStep(drawn(0), 16, RECIPE, device=CPU, **SHAPE)
    for _ in range(2):
        assert len(time_blocks(step, CPU).blocks) == len(blocks_of(drawn(0), 16, **SHAPE))
    assert not any(part._forward_hooks for part in step.network.modules())
    assert not step.optimizer._optimizer_step_pre_hooks


def test_a_slow_block_is_told_from_the_others() -> None:
    architecture = drawn(3)
    step = RandomStep(architecture, 16, RECIPE, device=CPU, **SHAPE)
    step()
    slow = next(iter(step.network.stages[1].children()))
    forward = slow.forward

    def slower(x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.2)
        return forward(x)

    slow.forward = slower  # type: ignore[method-assign]
    place = 1 + architecture.stages[0].layers
    found = time_blocks(step, CPU).blocks
    assert found[place] > 0.2
    assert sum(found) - found[place] < 0.2


class Paced:
    """Stands for a device on which every block has a known time, and nothing else takes any."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, drift: float = 0.0) -> None:
        self.speed, self.drift, self.steps = 1.0, drift, 0
        monkeypatch.setattr(module, "time_blocks", self._time_blocks)
        monkeypatch.setattr(module, "_seconds", lambda step, device: self._of(step.network.architecture))
        monkeypatch.setattr(module, "_warmed", lambda step: step)

    def _of(self, architecture: Architecture) -> float:
        self.speed *= 1 + self.drift
        return self.speed * (sum(map(self.block, blocks_of(architecture, 16, **SHAPE))) + self.optimizer(architecture))

    def _time_blocks(self, step: RandomStep, device: torch.device) -> BlockTimes:
        self.steps += 1
        architecture = step.network.architecture
        blocks = [self.speed * self.block(block) for block in blocks_of(architecture, 16, **SHAPE)]
        return BlockTimes(blocks, self.speed * self.optimizer(architecture))

    @staticmethod
    def block(block: Block) -> float:
        return 1e-3 * (1 + hash(block) % 50)

    @staticmethod
    def optimizer(architecture: Architecture) -> float:
        return 1e-3 + 2e-3 * sum(part.cost.params for part in part_costs(architecture, 16, **SHAPE)) / 1e6

    def truth(self, architecture: Architecture, anchor: Architecture) -> float:
        def whole(one: Architecture) -> float:
            return sum(map(self.block, blocks_of(one, 16, **SHAPE))) + self.optimizer(one)

        return whole(architecture) / whole(anchor)


def test_sums_of_blocks_are_exact_where_blocks_are(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Paced(monkeypatch)
    found = calibrate(SMALL, 16, RECIPE, device="cpu", **SHAPE)
    for seed in range(30):
        architecture = drawn(seed)
        assert found(architecture, **SHAPE) == pytest.approx(device.truth(architecture, SMALL.backbone), rel=1e-6)
    assert found(SMALL.backbone, **SHAPE) == pytest.approx(1.0, rel=1e-6)


def test_the_parts_of_an_expected_step_are_the_whole_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Paced(monkeypatch)
    found = calibrate(SMALL, 16, RECIPE, device="cpu", **SHAPE)
    for seed in range(10):
        architecture = drawn(seed)
        parts = found.by_part(architecture, **SHAPE)
        assert list(parts) == [*(part.name for part in part_costs(architecture, 16, **SHAPE)), "optimizer"]
        assert sum(parts.values()) == pytest.approx(found(architecture, **SHAPE))
    whole = sum(map(device.block, blocks_of(SMALL.backbone, 16, **SHAPE))) + device.optimizer(SMALL.backbone)
    stem = Block("stem", 1, 8, 16)
    assert found.by_part(SMALL.backbone, **SHAPE)["stem"] == pytest.approx(device.block(stem) / whole)


def test_which_share_of_the_blocks_was_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    Paced(monkeypatch)
    whole = calibrate(SMALL, 16, RECIPE, device="cpu", **SHAPE)
    assert whole.timed_share(SMALL.backbone, **SHAPE) == 1
    some = blocks_of(SMALL.backbone, 16, **SHAPE)[:4]
    part = Calibration(whole.about, 1.0, {block: whole.blocks[block] for block in some}, (0.0, 0.0), 1.0)
    found = [block in some for block in blocks_of(SMALL.backbone, 16, **SHAPE)]
    assert part.timed_share(SMALL.backbone, **SHAPE) == sum(found) / len(found) < 1


@given(st.integers(0, 10**6))
def test_sums_by_part_count_each_block_once(seed: int) -> None:
    architecture = drawn(seed)
    sums = sums_by_part(architecture, [1.0] * len(blocks_of(architecture, 32, **SHAPE)))
    layers = [stage.layers for stage in architecture.stages]
    assert list(sums.values()) == [1, *layers, 1, 1]


def test_typical_times_are_of_the_networks_own_blocks() -> None:
    architecture = drawn(1)
    found = typical_times(architecture, 16, RECIPE, shape=SHAPE, device="cpu")
    assert len(found.blocks) == len(blocks_of(architecture, 16, **SHAPE))
    assert all(0 < seconds < 1 for seconds in (*found.blocks, found.optimizer))
    headless = PUBLISHED["regnety-200mf"]
    found = typical_times(headless, 16, RECIPE, shape=SHAPE, device="cpu")
    assert list(sums_by_part(headless, found.blocks)) == [part.name for part in part_costs(headless, 16)]


def test_a_calibration_knows_where_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    Paced(monkeypatch)
    found = calibrate(TINY, 16, RECIPE, device="cpu", **SHAPE)
    assert made_here(found, device="cpu")
    for name in ("device", "torch"):
        other = Calibration({**found.about, name: "another"}, 1.0, found.blocks, (0.0, 0.0), 1.0)
        assert not made_here(other, device="cpu")


def test_a_device_that_becomes_slower_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Paced(monkeypatch, drift=0.002)
    found = calibrate(SMALL, 16, RECIPE, device="cpu", **SHAPE)
    assert device.speed > 1.3
    for seed in range(10):
        architecture = drawn(seed)
        assert found(architecture, **SHAPE) == pytest.approx(device.truth(architecture, SMALL.backbone), rel=0.01)


def test_each_block_is_timed_in_several_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    Paced(monkeypatch)
    found = calibrate(SMALL, 16, RECIPE, device="cpu", **SHAPE)
    counts = Counter(min(timed.networks, module.NETWORKS_A_BLOCK) for timed in found.blocks.values())
    assert counts[module.NETWORKS_A_BLOCK] / len(found.blocks) > 0.9
    assert len(found.blocks) > 140


def test_blocks_that_were_not_timed_are_judged_by_their_like(monkeypatch: pytest.MonkeyPatch) -> None:
    Paced(monkeypatch)
    costly = lambda block: 1e-4 + 1e-3 * _costs(block)[1] + 1e-4 * _costs(block)[2]  # noqa: E731
    monkeypatch.setattr(Paced, "block", staticmethod(costly))
    device = Paced(monkeypatch)
    found = calibrate(SMALL, 16, RECIPE, device="cpu", time_limit_s=0.0, **SHAPE)
    assert device.steps == module.STEPS, "one network"
    errors = []
    for seed in range(20):
        architecture = drawn(seed)
        errors.append(found(architecture, **SHAPE) / device.truth(architecture, SMALL.backbone) - 1)
    assert np.abs(errors).mean() < 0.1


def test_a_real_one_is_kept_and_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "NETWORKS_A_BLOCK", 1)
    assert kept_calibration(TINY, 8, RECIPE, device="cpu") is None
    found = calibrate(TINY, 8, RECIPE, device="cpu", **SHAPE)
    assert found.anchor_s > 0
    assert all(timed.low <= timed.ratio <= timed.high for timed in found.blocks.values())
    path = keep(found)
    again = kept_calibration(TINY, 8, RECIPE, device="cpu")
    assert again is not None
    assert again.to_json() == found.to_json() == json.loads(path.read_text())
    architecture = drawn(1, TINY)
    assert again(architecture) == found(architecture) > 0
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    for other in ((TINY, 9, RECIPE), (TINY, 8, Recipe(batch_size=9)), (SMALL, 8, RECIPE)):
        assert kept_calibration(*other, device="cpu") is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": 0}', '{"version": 1}', '{"version": 1, "blocks": [3]}']
)
def test_what_cannot_be_read_is_as_if_it_were_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    Paced(monkeypatch)
    found = calibrate(SMALL, 16, RECIPE, device="cpu", **SHAPE)
    keep(found).write_text(content)
    assert kept_calibration(SMALL, 16, RECIPE, device="cpu") is None


def test_it_says_why_it_cannot_be_read() -> None:
    with pytest.raises(ValueError, match=r"version 9, this release reads 1\); calibrate anew"):
        Calibration.from_json({"version": 9})


def test_another_number_of_classes_is_close() -> None:
    about = {"image_size": 32}
    blocks = {b: Timed(0.1, 0.1, 0.1, 1) for b in blocks_of(SMALL.backbone, 32, num_classes=10, in_channels=3)}
    known = Calibration(about, 1.0, blocks, (0.01, 0.001), 1.0)
    ten, hundred = (known(SMALL.backbone, num_classes=n, in_channels=3) for n in (10, 100))
    assert math.isfinite(hundred)
    assert hundred >= ten


def test_an_unknown_device_is_an_error() -> None:
    with pytest.raises(ValueError, match="device must be auto, cpu or cuda"):
        calibrate(SMALL, 16, RECIPE, device="tpu")
