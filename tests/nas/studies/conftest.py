"""What the tests of studies share: timings by a closed form, trainings in this process, and made-up pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_studies import one_by_one

from search_spaces import Architecture
from trainers.recipe import Recipe
from trainers.timing import StepTime

Seconds = Callable[[Architecture, int], float]
"""By a network and the side of its pictures, what its step is made to take."""

SPREAD = (0.96, 0.98, 1.0, 1.02, 1.04)
"""What the ratios of the pairs of blocks are over their median."""


@pytest.fixture
def timed_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Seconds], list[str]]:
    """Makes each step take what a function says, a forward pass half of it; gives the list of what was timed."""

    def set_up(seconds: Seconds) -> list[str]:
        timings: list[str] = []

        class Timer:
            def __init__(self, anchor: Architecture, size: int, recipe: Recipe, *, device: str, blocks: int) -> None:
                self._anchor_s = seconds(anchor, size)

            def __call__(self, network: Architecture, size: int, share: float = 1.0) -> StepTime:
                timings.append(str(network))
                taken, anchor_s = share * seconds(network, size), share * self._anchor_s
                ratio = taken / anchor_s
                return StepTime(
                    ratio, 0.97 * ratio, 1.03 * ratio, taken, anchor_s, tuple(ratio * one for one in SPREAD)
                )

            def latency(self, network: Architecture, size: int, batch_size: int) -> StepTime:
                return self(network, size, 0.5)

        monkeypatch.setattr("trainers.step_timer.StepTimer", Timer)
        monkeypatch.setattr(
            "trainers.step_timer.rough_step_s", lambda network, size, recipe, **given: seconds(network, size)
        )
        return timings

    return set_up


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains without further processes, which take longer to start than these trainings."""
    one_by_one(monkeypatch)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A file of 100 training and 40 test pictures of two classes, of 32 px."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {"names": np.array(["dark", "bright"])}
    for split, count in (("train", 100), ("test", 40)):
        labels = np.arange(count) % 2
        noise = rng.integers(0, 100, (count, 32, 32, 3))
        arrays |= {f"x_{split}": (noise + 100 * labels[:, None, None, None]).astype(np.uint8), f"y_{split}": labels}
    path = tmp_path / "pictures.npz"
    np.savez(path, **arrays)
    return path
