"""Uniform compound scaling: the published coefficients, φ, and the grid search."""

from __future__ import annotations

import math

import pytest

from nas.scaling.uniform import PUBLISHED_BASES, Bases, compound, grid_search, macs_of, published_member
from search_spaces import IMAGE_SIZES, PUBLISHED, Architecture, cost

V1, V2 = PUBLISHED["efficientnet-b0"], PUBLISHED["efficientnetv2-b0"]


@pytest.mark.parametrize("name", [f"b{i}" for i in range(8)])
def test_the_coefficients_give_the_published_v1(name: str) -> None:
    member = published_member(V1, 224, name)
    assert member.architecture == PUBLISHED[f"efficientnet-{name}"]
    assert member.image_size == IMAGE_SIZES[f"efficientnet-{name}"].eval


@pytest.mark.parametrize("name", ["b0", "b1", "b2", "b3"])
def test_without_the_guard_they_give_the_published_v2(name: str) -> None:
    assert published_member(V2, 224, name, guard=False).architecture == PUBLISHED[f"efficientnetv2-{name}"]


@pytest.mark.parametrize(
    ("name", "params_m", "macs_g", "size"),
    [("b4", 24.08, 8.88, 384), ("b5", 35.56, 20.55, 480), ("b7", 77.63, 47.81, 480)],
)
def test_plain_uniform_scaling_does_not_give_s_m_and_l(name: str, params_m: float, macs_g: float, size: int) -> None:
    found = cost(published_member(V2, 224, name, guard=False).architecture, size)
    assert (round(found.params / 1e6, 2), round(found.macs / 1e9, 2)) == (params_m, macs_g)


def test_each_doubling_doubles_the_macs_about() -> None:
    growth = [macs_of(*_of(V1, phi)) / macs_of(V1, 224) for phi in (1, 2, 3, 4)]
    # 1.92 a doubling, and layers are rounded up
    assert all(1.9**phi < g < 2.35**phi for phi, g in zip((1, 2, 3, 4), growth, strict=True))


def _of(base: Architecture, phi: float) -> tuple[Architecture, int]:
    member = compound(base, 224, phi)
    return member.architecture, member.image_size


def test_the_grid_holds_the_published_point_and_only_points_of_its_budget() -> None:
    found = grid_search(V1, 224, lambda a, s: -cost(a, s).activations)
    assert PUBLISHED_BASES in [point.bases for point in found]
    for point in found:
        alpha, beta, gamma = point.bases
        assert point.growth == pytest.approx(alpha * beta**2 * gamma**2)
        assert abs(point.growth / 2 - 1) <= 0.05
    assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)
    # activations grow least by width alone
    assert found[0].bases == Bases(1.0, 1.4, 1.0)


def test_the_budget_may_be_of_macs_as_they_are_after_rounding() -> None:
    found = grid_search(V1, 224, lambda a, s: cost(a, s).params, measure=macs_of, budget=3.0, tolerance=0.02)
    for point in found:
        member = compound(V1, 224, 1.0, bases=point.bases)
        assert macs_of(member.architecture, member.image_size) / macs_of(V1, 224) == point.growth
        assert abs(point.growth / 3 - 1) <= 0.02


def test_the_score_is_asked_once_for_every_point() -> None:
    asked: list[tuple[Architecture, int]] = []

    def score(architecture: Architecture, image_size: int) -> float:
        asked.append((architecture, image_size))
        return float(len(asked))

    found = grid_search(V1, 224, score, step=0.1)
    assert len(asked) == len(found)
    assert found[0].score == len(asked)


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ValueError, match=r"phi must be a number from 0 to 32; got -1"):
        compound(V1, 224, -1)
    with pytest.raises(ValueError, match=r"phi must be a number from 0 to 32; got inf"):
        compound(V1, 224, math.inf)
    with pytest.raises(ValueError, match=r"one of b0, .*, b7.*; got 'b9'"):
        published_member(V1, 224, "b9")
    with pytest.raises(ValueError, match=r"no point of the grid costs 2 times"):
        grid_search(V1, 224, lambda a, s: 0.0, step=0.45, tolerance=0.001)
    with pytest.raises(ValueError, match=r"budget must be a finite number of at least 1; got 0.5"):
        grid_search(V1, 224, lambda a, s: 0.0, budget=0.5)
