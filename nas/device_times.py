"""`nas calibrate`: how long a training step of any network of a space takes on this device, before any training."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from search_spaces import SearchSpace

if TYPE_CHECKING:
    from trainers.expected import Calibration
    from trainers.recipe import Recipe

FORMATS = (".json", ".csv")

PRECISION = 0.02
"""How narrow the intervals of whole networks' times should be: what is compared should not be noise."""


class Check(NamedTuple):
    """A network's step time over the anchor's: as expected, and as measured with its interval."""

    architecture: str
    expected: float
    measured: float
    low: float
    high: float
    seconds: float


def check(
    calibration: Calibration,
    space: SearchSpace,
    recipe: Recipe,
    *,
    shape: Mapping[str, int],
    device: str,
    networks: int,
    say: Callable[[str], object] = lambda _: None,
) -> list[Check]:
    """Time some networks drawn from the space, whole, and compare.

    Args:
        shape: num_classes and in_channels.
        say: is told of each.
    """
    from trainers.step_timer import StepTimer  # loads torch

    size = calibration.about["image_size"]
    timer = StepTimer(
        space.backbone,
        size,
        recipe,
        device=device,
        num_classes=shape["num_classes"],
        in_channels=shape["in_channels"],
        precision=PRECISION,
    )
    rng, rows = np.random.default_rng(1), []  # 0 drew the networks whose blocks were timed
    for number in range(networks):
        architecture = space.decode(space.sample(rng))
        expected = calibration(architecture, **shape)
        found = timer(architecture, size)
        rows.append(Check(str(architecture), expected, found.ratio, found.low, found.high, found.seconds))
        say(f"{number + 1}/{networks}: expected {expected:.3f}, measured {found.ratio:.3f}")
    return rows


def summary(rows: list[Check]) -> dict[str, float]:
    """How well step times were expected: the mean relative error, and Spearman's rank correlation."""
    from scipy.stats import spearmanr

    expected, measured = np.array([(row.expected, row.measured) for row in rows]).T
    return {
        "networks": len(rows),
        "mean_error": float(np.abs(expected / measured - 1).mean()),
        "largest_error": float(np.abs(expected / measured - 1).max()),
        "spearman": float(spearmanr(expected, measured).statistic) if len(rows) > 1 else float("nan"),
    }


def check_export(path: Path | None) -> None:
    """Raise ValueError at once where a table could not be written to a file."""
    if path is not None and path.suffix not in FORMATS:
        raise ValueError(f"the exported file must end in {' or '.join(FORMATS)}; got {path}")
    if path is not None and not path.absolute().parent.is_dir():
        raise ValueError(f"the folder of the exported file must exist; {path.absolute().parent} does not: make it")


def export(calibration: Calibration, checks: list[Check], path: Path) -> list[Path]:
    """Write the table as data: JSON with all in it; or CSV, the networks that were timed whole in a second file."""
    blocks = [{**block._asdict(), **timed._asdict()} for block, timed in calibration.blocks.items()]
    if path.suffix == ".json":
        path.write_text(json.dumps({**calibration.to_json(), "checked": [row._asdict() for row in checks]}, indent=1))
        return [path]
    written = [path]
    about = {**calibration.about, "anchor_s": calibration.anchor_s}
    _write_csv(path, [{**about, **row} for row in blocks])
    if checks:
        written.append(path.with_name(f"{path.stem}-networks.csv"))
        _write_csv(written[1], [{**about, **row._asdict()} for row in checks])
    return written


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
