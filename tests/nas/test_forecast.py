"""Forecasts: what some candidates took stands for all, the interval holds what comes, and it is said plainly."""

from __future__ import annotations

import heapq
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.forecast import Forecast, Work, forecast, size


def of(seconds: list[float], work: Work) -> Forecast:
    return forecast(seconds, work, basis="from some", rng=np.random.default_rng(0))


def test_candidates_that_all_take_the_same_are_counted() -> None:
    made = of([6.0] * 3, Work(candidates=20, each_s=0.5))
    assert made.wall_s == pytest.approx((130, 130, 130))
    assert made.device_hours == pytest.approx((1 / 30,) * 3)
    assert made.candidate_s == (6, 6, 6)


def test_workers_share_the_work_and_wait_for_the_last() -> None:
    assert of([6.0], Work(candidates=20, workers=2)).wall_s.expected == pytest.approx(60 + 1.5)
    assert of([6.0], Work(candidates=20, workers=2)).device_hours.expected == pytest.approx(120 / 3600)
    few = of([6.0], Work(candidates=2, workers=16)).wall_s.expected
    assert few == pytest.approx(7.5), "two cannot be shared among sixteen"


def test_leaders_are_trained_when_all_candidates_are_over() -> None:
    together, after = Work(candidates=14, workers=2), Work(candidates=10, confirming=4, workers=2)
    assert of([6.0], after).device_hours == pytest.approx(of([6.0], together).device_hours)
    assert of([6.0], after).wall_s.expected == pytest.approx(of([6.0], together).wall_s.expected + 1.5)


def test_what_has_run_already_counts() -> None:
    work = Work(candidates=10, workers=2, begun_s=4.0, elapsed_s=100.0)
    assert of([6.0], work).wall_s.expected == pytest.approx(100 + 56 / 2 + 1.5)
    assert of([6.0], Work(candidates=1, begun_s=60.0)).wall_s.expected == 0


def test_gpus_are_counted_by_their_share() -> None:
    made = of([36.0], Work(candidates=100, workers=4, gpus=0.25))
    assert made.device_hours.expected == pytest.approx(0.25)
    assert "0.25 GPU-hours" in made.line
    assert "worker-hours" in of([36.0], Work(candidates=1)).line


def test_workers_come_up_within_an_interval() -> None:
    made = of([1.0], Work(candidates=10, workers=2, start_s=(10.0, 20.0)))
    assert made.wall_s.expected == pytest.approx(5.25 + 15, abs=0.3)
    assert 15 < made.wall_s.low < 16.5 < 24 < made.wall_s.high < 25.3


def test_an_error_that_all_seconds_share_does_not_average_out() -> None:
    work = Work(candidates=1000)
    made = forecast([6.0], work, basis="scaled", rng=np.random.default_rng(0), off=0.1)
    assert made.wall_s.expected == pytest.approx(6000, rel=0.02)
    assert made.wall_s.low == pytest.approx(6000 * (1 - 0.1645), rel=0.03)
    assert made.wall_s.high == pytest.approx(6000 * (1 + 0.1645), rel=0.03)


seconds = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=10)


@given(seconds, st.integers(1, 10_000), st.integers(0, 50), st.integers(1, 64))
def test_what_is_expected_lies_in_its_interval(known: list[float], count: int, more: int, workers: int) -> None:
    made = of(known, Work(candidates=count, confirming=more, workers=workers))
    for span in (made.wall_s, made.device_hours):
        assert 0 <= span.low <= span.high
    total_s = made.device_hours.expected * 3600
    assert min(known) * 0.999 <= total_s / (count + more) <= max(known) * 1.5
    assert made.wall_s.expected >= total_s / workers * 0.999
    assert json.loads(json.dumps(made.to_json()))["wall_s"]["expected"] == made.wall_s.expected


def scheduled(taken: list[float], workers: int) -> float:
    """When the last of some candidates is over."""
    free = [0.0] * workers
    for one in taken:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


@pytest.mark.parametrize(("count", "workers"), [(16, 1), (16, 2), (100, 4), (1000, 8)])
def test_intervals_hold_what_searches_take(count: int, workers: int) -> None:
    rng = np.random.default_rng(1)
    within, errors = 0, []
    for _ in range(100):
        known = rng.lognormal(1.8, 0.4, 20).tolist()
        took_s = scheduled(rng.lognormal(1.8, 0.4, count).tolist(), workers)
        made = of(known, Work(candidates=count, workers=workers))
        within += made.wall_s.low <= took_s <= made.wall_s.high
        errors.append(made.error(took_s))
    assert 75 <= within <= 98, "of 100, at a level of 90 %"
    assert abs(np.mean(errors)) < 0.05


def test_a_forecast_needs_a_candidate() -> None:
    with pytest.raises(ValueError, match="at least one candidate's seconds"):
        of([], Work(candidates=1))


def test_it_is_said_how_far_off_a_forecast_was() -> None:
    made = of([6.0], Work(candidates=120, run_bytes=1_230_000))
    assert (
        made.line
        == "forecast from some: 12 min 0 s (12 min 0 s to 12 min 0 s), 0.2 worker-hours, 1.23 MB in the run's folder"
    )
    assert made.compared(14 * 60) == "forecast from some: 12 min 0 s, took 14 min 0 s (17 % more)"
    assert made.compared(9 * 60).endswith("took 9 min 0 s (25 % less)")
    assert made.compared(12 * 60 + 1).endswith("(as it was)")
    assert made.error(6 * 60) == -0.5


def test_sizes_read_as_people_say_them() -> None:
    assert [size(n) for n in (0, 999, 1000, 268_445, 5_120_000, 1.5e11)] == [
        "0 bytes", "999 bytes", "1 kB", "268 kB", "5.12 MB", "150 GB",
    ]  # fmt: skip
