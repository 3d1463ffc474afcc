"""The front against the definition of dominance, worked out pair by pair."""

from __future__ import annotations

import itertools
import math
import random
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.pareto import (
    crowding_distance,
    directions,
    front_of,
    hypervolume,
    hypervolume_of,
    knee,
    non_dominated,
    ranks,
)

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


# Properties, and moocore -------------------------------------------------------------------------------------------

SMALL = st.integers(1, 4).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 4).map(float), min_size=k, max_size=k), min_size=1, max_size=12)
)


def peeled(points: list[list[float]]) -> list[int]:
    """The ranks by their definition."""
    found, left, rank = [0] * len(points), set(range(len(points))), 1
    less = [False] * len(points[0])
    while left:
        front = {i for i in left if not any(dominates(points[j], points[i], less) for j in left)}
        for i in front:
            found[i] = rank
        left, rank = left - front, rank + 1
    return found


@given(SMALL, st.integers(1, 4))
def test_ranks_are_the_fronts_of_what_is_left(points: list[list[float]], most: int) -> None:
    expected = peeled(points)
    assert ranks(np.array(points)).tolist() == expected
    assert ranks(np.array(points), most=most).tolist() == [rank if rank <= most else 0 for rank in expected]


@given(SMALL, st.randoms(use_true_random=False))
def test_neither_order_nor_copies_nor_units_change_a_place(points: list[list[float]], random: random.Random) -> None:
    order = list(range(len(points)))
    random.shuffle(order)
    order += order[: len(order) // 2]
    values = np.array(points)
    more = np.array([random.random() < 0.5 for _ in points[0]])
    units = np.exp(values[order] * 0.7) * 1e6 - 3  # other numbers in the same order
    assert ranks(units, more).tolist() == ranks(values, more)[order].tolist()
    assert non_dominated(units, more).tolist() == non_dominated(values, more)[order].tolist()
    assert (non_dominated(values, more) == (ranks(values, more) == 1)).all()
    gains, more_gains = values, values[order]
    assert hypervolume(more_gains) == pytest.approx(hypervolume(gains))
    assert hypervolume(gains * 2.5) == pytest.approx(hypervolume(gains) * 2.5 ** values.shape[1])


def test_ranks_of_points_with_gaps() -> None:
    points = np.array([[1.0, 2.0], [math.nan, 0.0], [2.0, 3.0], [2.0, 1.0], [math.inf, -math.inf]])
    assert ranks(points).tolist() == [1, 0, 2, 1, 1]
    assert ranks(points, [True, True]).tolist() == [2, 0, 1, 2, 1]
    assert ranks(np.empty((0, 3))).tolist() == []
    assert ranks(np.zeros((3, 1))).tolist() == [1, 1, 1]


def many(kind: str, points: int, objectives: int) -> np.ndarray:
    rng = np.random.default_rng(points + objectives)
    if kind == "all on the front":
        free = np.abs(rng.normal(size=(points, objectives)))
        return 1 - free / np.linalg.norm(free, axis=1, keepdims=True)
    if kind == "two opposed":
        place = rng.permutation(points) / points
        return np.column_stack([place, 1 - place, *rng.random((objectives - 2, points))])
    if kind == "few values":
        return rng.integers(0, 7, (points, objectives)).astype(float)
    if kind == "a chain":
        return np.sort(rng.random(points))[rng.permutation(points)][:, None] * np.ones(objectives)
    return rng.random((points, objectives))


@pytest.mark.parametrize("objectives", [2, 3, 4])
@pytest.mark.parametrize("kind", ["all on the front", "two opposed", "few values", "a chain", "anywhere"])
def test_fronts_ranks_and_hypervolumes_are_those_of_moocore(kind: str, objectives: int) -> None:
    moocore = pytest.importorskip("moocore")
    for points in (1, 127, 129, 1500):  # about a leaf of the recursion, and more
        values = many(kind, points, objectives)
        more = [number % 2 == 1 for number in range(objectives)]
        front = moocore.is_nondominated(values, maximise=more, keep_weakly=True)
        assert (non_dominated(values, more) == front).all()
        if kind != "a chain" or objectives < 4:
            assert (ranks(values, more) == moocore.pareto_rank(values, maximise=more) + 1).all()
        if objectives < 4 or points < 130:
            reference = np.where(more, -1.0, 8.0)  # volumes of few values are whole numbers
            expected = moocore.hypervolume(values, ref=reference, maximise=more)
            exact = {"rel": 0, "abs": 0} if kind == "few values" else {"rel": 1e-12}
            assert hypervolume_of(values, reference, more) == pytest.approx(expected, **exact)


@pytest.mark.parametrize("kind", ["all on the front", "two opposed"])
def test_a_front_of_very_many_points_takes_no_pairs(kind: str) -> None:
    assert non_dominated(many(kind, 200_000, 3)).all()  # in a second; pair by pair, it would not end in time


# Places on a front --------------------------------------------------------------------------------------------------


def test_crowding_is_the_extent_between_the_neighbours() -> None:
    front = np.array([[0.0, 10.0], [1.0, 4.0], [2.0, 3.0], [10.0, 0.0]])
    expected = [math.inf, 2 / 10 + 7 / 10, 9 / 10 + 4 / 10, math.inf]
    assert crowding_distance(front).tolist() == pytest.approx(expected)
    order = [2, 0, 3, 1, 1]
    assert crowding_distance(front[order]).tolist() == pytest.approx([expected[n] for n in order]), "copies share it"
    assert crowding_distance(front * [1e6, -3]).tolist() == pytest.approx(expected), "whatever the unit"
    assert crowding_distance(np.column_stack([front, np.ones(4)])).tolist() == pytest.approx(expected)
    assert crowding_distance(np.ones((2, 2))).tolist() == [math.inf, math.inf], "alone, it is every extreme"
    assert crowding_distance(np.empty((0, 2))).tolist() == []


def test_the_knee_gives_up_least_of_each() -> None:
    front = np.array([[0.0, 10.0], [1.0, 2.0], [5.0, 1.0], [10.0, 0.0]])
    assert knee(front) == 1
    assert knee(front * [1e6, -3], [False, True]) == 1
    assert knee(front[::-1]) == 2
    assert knee(np.column_stack([front, np.ones(4)])) == 1
    assert knee(front[:1]) == 0
    with pytest.raises(ValueError, match="must have one at least; got none"):
        knee(np.empty((0, 2)))


def test_the_hypervolume_is_told_against_a_reference() -> None:
    points = np.array([[0.9, 2.0], [0.5, 1.0], [math.nan, 0.0], [0.95, 4.0]])
    assert hypervolume_of(points, [0.0, 3.0], [True, False]) == pytest.approx(0.9 * 1 + 0.5 * 1)
    assert hypervolume_of(points, [0.95, 4.0], [True, False]) == 0.0, "what is on its edge adds nothing"
    assert hypervolume_of(points[:0], [0.0, 3.0]) == 0.0
    for wrong in ([1.0], [1.0, math.inf]):
        with pytest.raises(ValueError, match=r"reference must have 2 finite values, one an objective; got 1\.0"):
            hypervolume_of(points, wrong)


def test_an_objective_may_go_the_other_way() -> None:
    assert directions(["accuracy", "max:params", " min:reward", "snip"]) == (
        ["accuracy", "params", "reward", "snip"],
        [True, True, False, False],
    )
    assert front_of(TRIALS, ["accuracy", "max:params"])["number"].tolist() == [1, 5]
    assert front_of(TRIALS, ["min:accuracy"])["number"].tolist() == [6]
    with pytest.raises(ValueError, match="a column, or max: or min: before one; got 'least:params'"):
        front_of(TRIALS, ["least:params"])
    with pytest.raises(ValueError, match="each objective must be named once; got params, params"):
        front_of(TRIALS, ["params", "max:params"])
