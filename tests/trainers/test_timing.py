"""Step times as ratios: exact under a clock of our own, within wide bounds under a real one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from trainers.timing import PairedTiming, StepTime, median_interval, time_steps


class Clock:
    """A clock that only steps advance; the machine may slow down."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slowdown: Callable[[float], float] = lambda now_s: 1.0
        self.calls: list[str] = []

    def step(self, name: str, *costs_s: float) -> Callable[[], None]:
        """A step that costs this much; with several costs, each call the next of them, the last for good."""
        left: Iterator[float] = iter(costs_s[:-1])

        def call() -> None:
            self.calls.append(name)
            self.now_s += next(left, costs_s[-1]) * self.slowdown(self.now_s)

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("trainers.timing.time", SimpleNamespace(perf_counter=lambda: made.now_s))
    return made


def nothing() -> None:
    """No device to wait for."""


def test_the_ratio_of_two_steady_steps_is_exact(clock: Clock) -> None:
    timed = time_steps(clock.step("a", 0.02), clock.step("b", 0.01), wait=nothing)
    assert timed[:5] == pytest.approx((2.0, 2.0, 2.0, 0.02, 0.01))


def test_a_slow_first_step_does_not_count(clock: Clock) -> None:
    timed = time_steps(clock.step("a", 5.0, 0.5, 0.02), clock.step("b", 3.0, 0.01), wait=nothing)
    assert timed[:5] == pytest.approx((2.0, 2.0, 2.0, 0.02, 0.01))


def test_what_slows_the_machine_slows_both(clock: Clock) -> None:
    clock.slowdown = lambda now_s: 1.0 + now_s  # hotter and hotter
    timed = time_steps(clock.step("a", 0.002), clock.step("b", 0.001), wait=nothing)
    assert timed.ratio == pytest.approx(2.0, rel=0.1)
    assert timed.seconds > 0.0025  # the time itself did move


def test_a_neighbour_in_a_few_blocks_does_not_move_the_median(clock: Clock) -> None:
    clock.slowdown = lambda now_s: 10.0 if 0.30 < now_s < 0.36 else 1.0
    timed = time_steps(clock.step("a", 0.02), clock.step("b", 0.01), wait=nothing)
    assert timed.ratio == pytest.approx(2.0)
    assert timed.low <= 2.0 <= timed.high


def test_a_block_is_as_long_as_asked_and_blocks_alternate(clock: Clock) -> None:
    time_steps(clock.step("a", 0.02), clock.step("b", 0.005), wait=nothing, blocks=4, block_s=0.1)
    text = "".join(clock.calls)
    a, b = "a" * 5, "b" * 20
    assert text.endswith(a + b + b + a + a + b + b + a)
    assert len(text) <= 4 * (5 + 20) + 2 * 8  # beside at most eight of each to warm up


def test_a_step_longer_than_a_block_is_a_block(clock: Clock) -> None:
    timed = time_steps(clock.step("a", 0.9), clock.step("b", 0.3), wait=nothing, blocks=3)
    assert timed.ratio == pytest.approx(3.0)
    assert clock.calls.count("a") <= 3 + 8  # the blocks, and at most eight to warm up


def test_the_device_is_waited_for_inside_what_is_timed(clock: Clock) -> None:
    pending_s = [0.0]

    def launch(cost_s: float) -> Callable[[], None]:
        def call() -> None:
            pending_s[0] += cost_s

        return call

    def wait() -> None:
        clock.now_s += pending_s[0]
        pending_s[0] = 0.0

    timed = time_steps(launch(0.03), launch(0.01), wait=wait)
    assert timed[:5] == pytest.approx((3.0, 3.0, 3.0, 0.03, 0.01))


def test_real_steps() -> None:
    def busy(rounds: int) -> Callable[[], int]:
        return lambda: sum(range(rounds))

    timed = time_steps(busy(40_000), busy(20_000), wait=nothing, blocks=15, block_s=0.01)
    assert 1.3 < timed.ratio < 3.0
    assert timed.low <= timed.ratio <= timed.high
    assert 1e-5 < timed.anchor_seconds < timed.seconds < 1.0


def test_timing_does_not_take_long() -> None:
    begun = time.perf_counter()
    time_steps(nothing, nothing, wait=nothing, blocks=3, block_s=0.001)
    assert time.perf_counter() - begun < 5


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    intervals = [median_interval(rng.lognormal(sigma=0.3, size=25)) for _ in range(300)]
    covered = np.mean([low <= 1.0 <= high for low, high in intervals])  # whose true median is 1
    assert 0.9 <= covered <= 0.99
    assert np.mean([high - low for low, high in intervals]) < 0.5


def test_the_interval_is_a_function_of_the_samples() -> None:
    samples = np.random.default_rng(1).normal(size=9)
    low, high = median_interval(samples)
    assert (low, high) == median_interval(samples)
    assert samples.min() <= low <= np.median(samples) <= high <= samples.max()
    assert median_interval(np.full(9, 1.5)) == (1.5, 1.5)


def test_pairs_are_added_until_the_interval_is_narrow(clock: Clock) -> None:
    def timed(precision: float | None, *costs_s: float) -> tuple[int, StepTime]:
        clock.calls.clear()
        found = time_steps(
            clock.step("a", *costs_s), clock.step("b", 0.1), wait=nothing, blocks=5, block_s=0.1, precision=precision
        )
        return clock.calls.count("b"), found

    noisy = [0.2, 0.2, 0.2, *(0.1 + 0.2 * (i % 2) for i in range(8)), 0.2]  # settles after 11 calls
    without, rough = timed(None, *noisy)
    with_precision, fine = timed(0.01, *noisy)
    assert with_precision > without
    assert fine.high - fine.low <= 0.01 * fine.ratio < rough.high - rough.low
    forever, _ = timed(0.01, *(0.1 + 0.2 * (i % 2) for i in range(1000)))
    assert forever <= without + 4 * 5  # five times as many pairs, and no more


def test_steps_are_timed_as_they_are_taken(clock: Clock) -> None:
    timing = PairedTiming(clock.step("b", 0.01), wait=nothing, blocks=4, block_s=0.04)
    step, given = clock.step("a", 0.02), []
    while timing.result is None:
        given.append(timing(lambda: (step(), len(given))[1]))
        clock.now_s += 3.0  # what a training does between two steps does not count
    assert timing.result is not None
    assert timing.result[:5] == pytest.approx((2.0, 2.0, 2.0, 0.02, 0.01))
    assert timing.result.samples == pytest.approx((2.0,) * 4)
    assert given == list(range(len(given))), "each step is taken once, and gives what it gives"
    clock.calls.clear()
    assert timing(lambda: "later") == "later"
    assert clock.calls == [], "the anchor's steps are over"


def test_what_it_is_so_far(clock: Clock) -> None:
    timing = PairedTiming(clock.step("b", 0.01), wait=nothing, blocks=9, block_s=0.02, precision=0.1)
    step, pairs = clock.step("a", 0.02), 0
    while timing.result is None:
        told = timing.so_far()
        assert (told is not None) == (pairs >= 9)
        if told is not None:
            assert told[:5] == pytest.approx((2.0, 2.0, 2.0, 0.02, 0.01))
            assert len(told.samples) == pairs
        timing(step)
        pairs = max(0, clock.calls.count("a") - 3)  # that settle
    assert timing.so_far() is timing.result


def test_steps_that_fail_are_the_trainings_failures(clock: Clock) -> None:
    timing = PairedTiming(clock.step("b", 0.01), wait=nothing)

    def fails() -> None:
        raise FloatingPointError("diverged")

    with pytest.raises(FloatingPointError, match="diverged"):
        timing(fails)
