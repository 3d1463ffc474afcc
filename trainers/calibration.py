"""Making and keeping a `Calibration`: the blocks of a space timed on this device, in networks that train."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from search_spaces import Architecture, SearchSpace
from trainers.block_times import time_blocks
from trainers.cache import calibrations_folder
from trainers.devices import device_name, torch_device
from trainers.expected import Block, Calibration, Timed, blocks_of
from trainers.recipe import Recipe
from trainers.step_timer import RandomStep, one_thread
from trainers.watch import watch_of

TIME_LIMIT_S = 100.0
"""How long the timing may take by default; large networks on a CPU take longer than that to time once each."""

DRAWN = 64
"""Networks of which the one with the most blocks that were seldom timed is timed next."""

NETWORKS_A_BLOCK = 5
"""In how many networks each block is timed."""

STEPS = 5
"""Timed of each network, each between two of the anchor's."""


def kept_calibration(space: SearchSpace, image_size: int, recipe: Recipe, *, device: str) -> Calibration | None:
    """The calibration of this device in the user's cache; None where there is none that can be read."""
    about = _about(space, image_size, recipe, torch_device(device))
    try:
        found = Calibration.from_json(json.loads(_path(about).read_text()))
    except (OSError, ValueError):
        return None
    return found if dict(found.about) == about else None


def made_here(calibration: Calibration, *, device: str = "auto") -> bool:
    """Whether a calibration is of this device and this torch."""
    here = {"device": device_name(torch_device(device)), "torch": torch.__version__}
    return all(calibration.about.get(name) == value for name, value in here.items())


def keep(calibration: Calibration) -> Path:
    """Put a calibration into the user's cache, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    path = _path(calibration.about)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        partial.write_text(json.dumps(calibration.to_json()))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def calibrate(
    space: SearchSpace,
    image_size: int,
    recipe: Recipe,
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    device: str = "auto",
    time_limit_s: float = TIME_LIMIT_S,
) -> Calibration:
    """Time the blocks of a space in networks drawn from it, which are cut to two layers a stage.

    Args:
        space: its backbone is the anchor.
        image_size: side of the pictures, in pixels.
        recipe: its batch size, optimiser and loss.
        num_classes: width of the classifiers.
        in_channels: channels of a picture.
        device: `"cpu"` (one thread), `"cuda"`, or `"auto"` for a GPU where there is one.
        time_limit_s: no network is begun after this; blocks not timed by then are judged by others.

    Raises:
        ValueError: the device is unknown or not there, or the time does not suffice for one network.
        torch.OutOfMemoryError: the device's memory did not suffice.
    """
    where, begun = torch_device(device), time.monotonic()
    watch = watch_of(where)

    def make(architecture: Architecture) -> RandomStep:
        return RandomStep(
            architecture, image_size, recipe, num_classes=num_classes, in_channels=in_channels, device=where
        )

    times: dict[Block, list[float]] = defaultdict(list)
    optimizers: list[tuple[float, float]] = []
    anchors: list[float] = []
    with one_thread() if where.type == "cpu" else nullcontext():
        anchor = _warmed(make(space.backbone))
        for architecture, blocks in _designs(space, image_size, num_classes, in_channels):
            step = _warmed(make(architecture))
            with watch:
                anchor_s, ratios, optimizer = _timed_beside(step, anchor, where)
            for block, ratio in _by_block(blocks, ratios).items():
                times[block].append(ratio)
            optimizers.append((sum(p.numel() for p in step.network.parameters()) / 1e6, optimizer))
            anchors.append(anchor_s)
            if time.monotonic() - begun > time_limit_s:
                break
    params, taken = np.array(optimizers).T
    prices, _ = nnls(np.stack([np.ones_like(params), params], axis=1), taken)
    return Calibration(
        _about(space, image_size, recipe, where),
        float(np.median(anchors)),
        {block: Timed(float(np.median(v)), min(v), max(v), len(v)) for block, v in times.items()},
        (float(prices[0]), float(prices[1])),
        time.monotonic() - begun,
    )


def _warmed(step: RandomStep) -> RandomStep:
    for _ in range(3):
        step()
    return step


def _timed_beside(
    step: RandomStep, anchor: RandomStep, device: torch.device
) -> tuple[float, NDArray[np.float64], float]:
    """The anchor's step in seconds; over it, the medians of the step's parts and of its optimiser."""
    parts, anchors = [], [_seconds(anchor, device)]
    for _ in range(STEPS):
        found = time_blocks(step, device)
        parts.append([*found.blocks, found.optimizer])
        anchors.append(_seconds(anchor, device))
    around = (np.array(anchors[1:]) + np.array(anchors[:-1])) / 2
    ratios = np.median(np.array(parts) / around[:, None], axis=0)
    return float(np.median(anchors)), ratios[:-1], float(ratios[-1])


def _seconds(step: RandomStep, device: torch.device) -> float:
    begun = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def _by_block(blocks: Sequence[Block], ratios: NDArray[np.float64]) -> dict[Block, float]:
    """The mean over the places where a network has a block."""
    found: dict[Block, list[float]] = defaultdict(list)
    for block, ratio in zip(blocks, ratios, strict=True):
        found[block].append(float(ratio))
    return {block: sum(values) / len(values) for block, values in found.items()}


def _designs(
    space: SearchSpace, image_size: int, num_classes: int, in_channels: int
) -> Iterator[tuple[Architecture, list[Block]]]:
    """Networks to time with their blocks, until each block of those drawn is in enough of them."""
    rng = np.random.default_rng(0)
    shape = {"num_classes": num_classes, "in_channels": in_channels}

    def drawn() -> tuple[Architecture, list[Block]]:
        whole = space.decode(space.sample(rng))
        stages = tuple(replace(stage, layers=min(2, stage.layers)) for stage in whole.stages)
        architecture = replace(whole, stages=stages)
        return architecture, blocks_of(architecture, image_size, **shape)

    seen: dict[Block, int] = defaultdict(int)

    def wanted(design: tuple[Architecture, list[Block]]) -> int:
        return sum(max(0, NETWORKS_A_BLOCK - seen[block]) for block in set(design[1]))

    while True:
        pool = [drawn() for _ in range(DRAWN)]
        best = max(pool, key=wanted)
        if not wanted(best):
            return
        for block in set(best[1]):
            seen[block] += 1
        yield best


def _about(space: SearchSpace, image_size: int, recipe: Recipe, device: torch.device) -> dict[str, Any]:
    return {
        "space": space.name,
        "choices": hashlib.blake2b(json.dumps(space.to_json(), sort_keys=True).encode(), digest_size=8).hexdigest(),
        "anchor": str(space.backbone),
        "image_size": image_size,
        "batch_size": recipe.batch_size,
        "device": device_name(device),
        "torch": torch.__version__,
    }


def _path(about: Mapping[str, Any]) -> Path:
    name = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=12).hexdigest()
    return calibrations_folder() / f"{name}.json"
