"""What `nas describe` tells of a network beside its costs: where a step's time goes, and what it is like.

The parts' shares of the step time come from a calibration, which knows what each block takes in a training, or are
measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from search_spaces import PUBLISHED, Architecture
from search_spaces.nearest import distance, nearest_published
from trainers.cache import calibrations_folder
from trainers.expected import Calibration, sums_by_part

_LEAST_TIMED = 0.5
"""Of a network's blocks, what a calibration that was not asked for must have timed."""


class StepShares(NamedTuple):
    """Where the time of a network's training step goes.

    Attributes:
        by_part: of each part, and of the `optimizer`, its share; they sum to 1.
        step_s: the step, in seconds.
        source: how they are known, in words.
    """

    by_part: dict[str, float]
    step_s: float
    source: str


def expected_shares(
    architecture: Architecture, image_size: int, shape: Mapping[str, int], calibration: Calibration, whose: str
) -> StepShares:
    """The shares by a calibration.

    Args:
        architecture: the network.
        image_size: side of its pictures, in pixels.
        shape: num_classes and in_channels.
        calibration: at that size.
        whose: it is, in words.

    Raises:
        ValueError: it is of another size.
    """
    about = calibration.about
    if about["image_size"] != image_size:
        raise ValueError(
            f"a calibration must be of the pictures' size, {image_size} px; {whose} is of {about['image_size']} px: "
            f"describe the network with --image-size {about['image_size']}, or calibrate at that size"
        )
    ratios = calibration.by_part(architecture, **shape)
    total = sum(ratios.values())
    timed = calibration.timed_share(architecture, **shape)
    judged = "" if timed == 1 else f"; {1 - timed:.0%} of the blocks were not timed and are judged by others"
    source = f"expected by {whose}: space {about['space']}, batches of {about['batch_size']}, {about['device']}{judged}"
    return StepShares({part: r / total for part, r in ratios.items()}, total * calibration.anchor_s, source)


def measured_shares(
    architecture: Architecture, image_size: int, shape: Mapping[str, int], *, batch_size: int, device: str
) -> StepShares:
    """The shares as measured now, on this device.

    Raises:
        ValueError: the device is not there, or its memory does not suffice.
    """
    from nas.prices import out_of_memory_said
    from trainers.block_times import typical_times  # these load torch
    from trainers.devices import device_name, torch_device
    from trainers.recipe import Recipe

    with out_of_memory_said(architecture, image_size, batch_size):
        found = typical_times(architecture, image_size, Recipe(batch_size=batch_size), shape=shape, device=device)
    seconds = {**sums_by_part(architecture, found.blocks), "optimizer": found.optimizer}
    total = sum(seconds.values())
    source = f"measured: batches of {batch_size}, {device_name(torch_device(device))}"
    return StepShares({part: s / total for part, s in seconds.items()}, total, source)


def known_shares(
    architecture: Architecture, image_size: int, shape: Mapping[str, int], own: Mapping[str, Any] | None
) -> StepShares | None:
    """The shares by a run's own calibration, else by one of this device in the user's cache; None where there is none.

    Args:
        architecture: the network.
        image_size: side of its pictures, in pixels; a calibration of another size is none.
        shape: num_classes and in_channels.
        own: the run's calibration as plain data, where there is one.

    Returns:
        by the one that timed most of the network's blocks, where there are several in the cache.
    """
    if own is not None and own["about"]["image_size"] == image_size:
        return expected_shares(architecture, image_size, shape, Calibration.from_json(own), "the run's calibration")
    fitting = []
    for path in sorted(calibrations_folder().glob("*.json")):
        try:
            found = read_calibration(path)
        except (OSError, ValueError):
            continue
        if found.about["image_size"] == image_size and found.timed_share(architecture, **shape) >= _LEAST_TIMED:
            fitting.append(found)
    if not fitting:
        return None
    from trainers.calibration import made_here  # loads torch

    best = max(filter(made_here, fitting), key=lambda c: c.timed_share(architecture, **shape), default=None)
    if best is None:
        return None
    return expected_shares(architecture, image_size, shape, best, "the calibration of this device")


def read_calibration(path: Path) -> Calibration:
    """A calibration that `nas calibrate` kept, or exported as JSON.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds none.
    """
    try:
        found = Calibration.from_json(json.loads(path.read_text()))
        if missing := {"space", "image_size", "batch_size", "device"} - set(found.about):
            raise ValueError(f"it does not say its {', '.join(sorted(missing))}")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} must hold what `nas calibrate --export FILE.json` writes: {error}") from error
    return found


def nearest(architecture: Architecture) -> dict[str, Any]:
    """The nearest published network: its name, the distance in layers, and the differences from it."""
    name, differences = nearest_published(architecture)
    return {"name": name, "distance": distance(architecture, PUBLISHED[name]), "differences": differences}


def trial_lines(facts: Mapping[str, Any]) -> list[str]:
    """What is known of a trial (`results.analysis.trial_facts`) for people, a line each."""
    lines = []
    for name, value in facts.items():
        if name in _WITH_ANOTHER:
            continue
        text = _shown(value)
        if f"{name}_low" in facts:
            text += f" ({_shown(facts[f'{name}_low'])} to {_shown(facts[f'{name}_high'])})"
        if name == "rank":
            text += f" of {facts['ranked']}, by reward"
        lines.append(f"  {name:<20}{text}")
    return lines


_WITH_ANOTHER = ("step_time_low", "step_time_high", "latency_low", "latency_high", "ranked")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_shown, value))
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
