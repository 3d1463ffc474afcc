"""Studies in the process of the tests: their trainings one after the other, and steps of a known time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from nas.studies import conduct
from nas.studies.pace import Pace

STEP_S = 0.05
"""What a training step is said to take, of whatever network."""


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Spares the processes that studies train in.

    Returns:
        the names of the steps, as they are done.
    """
    done: list[str] = []

    def in_turn(
        calls: Mapping[str, Callable[[], Mapping[str, Any]]], *, device: str, workers: int
    ) -> Iterator[tuple[str, dict[str, Any], float]]:
        for name, call in calls.items():
            begun = time.perf_counter()
            gave = dict(call())
            done.append(name)
            yield name, gave, time.perf_counter() - begun

    monkeypatch.setattr(conduct, "side_by_side", in_turn)
    return done


def in_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As `one_by_one`, and spares the timing of steps."""
    monkeypatch.setattr(Pace, "step_s", lambda *_: STEP_S)
    return one_by_one(monkeypatch)
