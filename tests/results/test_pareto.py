"""The front against the definition of dominance, worked out pair by pair."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.pareto import front_of, hypervolume, non_dominated

COORDINATES = st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.0, -1.0, math.inf, -math.inf, math.nan]) | st.floats()


def dominates(a: list[float], b: list[float], maximise: list[bool]) -> bool:
    no_worse = all(x >= y if more else x <= y for x, y, more in zip(a, b, maximise, strict=True))
    better = any(x > y if more else x < y for x, y, more in zip(a, b, maximise, strict=True))
    return no_worse and better


@st.composite
def point_sets(draw: st.DrawFn) -> tuple[list[list[float]], list[bool]]:
    objectives = draw(st.integers(1, 4))
    points = draw(st.lists(st.lists(COORDINATES, min_size=objectives, max_size=objectives), max_size=12))
    return points, draw(st.lists(st.booleans(), min_size=objectives, max_size=objectives))


@given(point_sets())
def test_front_is_what_no_other_point_dominates(drawn: tuple[list[list[float]], list[bool]]) -> None:
    points, maximise = drawn
    front = non_dominated(np.array(points, dtype=np.float64).reshape(-1, len(maximise)), maximise)
    known = [p for p in points if not any(map(math.isnan, p))]
    expected = [p in known and not any(dominates(other, p, maximise) for other in known) for p in points]
    assert front.tolist() == expected
    assert front.dtype == np.bool_


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_front_of_many_points_with_ties(objectives: int) -> None:
    points = np.random.default_rng(objectives).integers(0, 6, (300, objectives)).astype(np.float64)
    as_lists = points.tolist()
    expected = [not any(dominates(b, a, [False] * objectives) for b in as_lists) for a in as_lists]
    assert non_dominated(points).tolist() == expected
    assert non_dominated(-points, [True] * objectives).tolist() == expected


def test_front_of_nothing_is_nothing() -> None:
    assert non_dominated(np.empty((0, 2))).tolist() == []
    assert non_dominated(np.full((3, 2), np.nan)).tolist() == [False] * 3


def test_points_and_directions_must_fit() -> None:
    with pytest.raises(ValueError, match=r"points must have the shape \(n, objectives\); got \(3,\)"):
        non_dominated(np.zeros(3))
    with pytest.raises(ValueError, match="maximise must have 2 entries, one an objective; got 3"):
        non_dominated(np.zeros((1, 2)), [True, False, True])


TRIALS = pd.DataFrame(
    {
        "number": [0, 1, 2, 3, 4, 5, 6, 7],
        "architecture": list("abcdefgh"),
        "state": ["complete", "complete", "complete", "failed", "repeat", "complete", "complete", "stopped"],
        "accuracy": [0.5, 0.7, 0.6, 0.9, 0.7, 0.7, 0.4, 0.9],
        "params": pd.array([10, 30, 30, 1, 30, 30, None, 1], dtype="Int64"),
    }
)


def test_front_of_trials_counts_complete_ones_with_every_objective() -> None:
    front = front_of(TRIALS, ["accuracy", "params"])
    assert front["number"].tolist() == [1, 5, 0], "accuracy is maximised, params minimised; equals stay; best first"
    assert list(front.columns) == list(TRIALS.columns)
    assert front_of(TRIALS, ["params", "accuracy"])["number"].tolist() == [0, 1, 5]
    assert front_of(TRIALS, ["params"])["number"].tolist() == [0]
    assert front_of(TRIALS.iloc[:0], ["accuracy", "params"]).empty


@pytest.mark.parametrize(
    ("objectives", "got"), [(["accurcy"], "accurcy"), (["accuracy", "state"], "accuracy, state"), ([], "none")]
)
def test_objectives_must_be_columns_of_numbers(objectives: list[str], got: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"objectives must be among number, accuracy, params; got {got}")):
        front_of(TRIALS, objectives)


# The hypervolume ------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 4).flatmap(
        lambda k: st.lists(st.lists(st.integers(-1, 4), min_size=k, max_size=k), min_size=1, max_size=9)
    )
)
def test_the_hypervolume_counts_the_cells_below_the_points(points: list[list[int]]) -> None:
    cells = {
        cell
        for point in points
        if min(point) > 0
        for cell in itertools.product(*(range(coordinate) for coordinate in point))
    }
    assert hypervolume(np.array(points, dtype=float)) == pytest.approx(len(cells))


def test_the_hypervolume_of_nothing_is_nothing() -> None:
    assert hypervolume(np.zeros((0, 3))) == 0.0
