"""Uniform compound scaling (EfficientNet, arXiv 1905.11946, section 3.3): one φ for depth, width and resolution."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

from nas.scaling.fast import to_four
from nas.scaling.scaled import Scaled, check_factor
from search_spaces import Architecture, cost
from search_spaces.efficientnet import V1_COEFFICIENTS, scale_uniformly


class Bases(NamedTuple):
    """The factors at φ = 1.

    Attributes:
        alpha: of depth.
        beta: of width.
        gamma: of resolution.
    """

    alpha: float = 1.2
    beta: float = 1.1
    gamma: float = 1.15


PUBLISHED_BASES = Bases()
"""What EfficientNet's grid search found on B0: α = 1.2, β = 1.1, γ = 1.15 (α·β²·γ² = 1.92)."""


MOST_PHI = 32
"""2^32 times the resources; beyond lies only what cannot be written down."""

MOST_BASE = 4
"""The largest of α, β and γ that is taken: from 4 on, one doubling of the resources would be spent many times."""


def compound(
    base: Architecture, image_size: int, phi: float, *, bases: Bases = PUBLISHED_BASES, guard: bool = True
) -> Scaled:
    """Depth α^φ, width β^φ, resolution γ^φ; macs grow about 2^φ.

    Args:
        base: the baseline.
        image_size: its pictures' side, in pixels.
        phi: how many times the resources are doubled; 0 leaves the baseline as it is.
        guard: no width loses more than 10 % by rounding (V1's code; V2's has no such guard).

    Raises:
        ValueError: phi or one of the bases is out of its range.
    """
    if not 0 <= phi <= MOST_PHI:
        raise ValueError(f"phi must be a number from 0 to {MOST_PHI}; got {phi}")
    for name, base_of in bases._asdict().items():
        if not 1 <= base_of <= MOST_BASE:
            raise ValueError(f"{name} must be a number from 1 to {MOST_BASE}; got {base_of}")
    depth, width, resolution = bases.alpha**phi, bases.beta**phi, bases.gamma**phi
    rules = (f"depth x {depth:.3g}", f"width x {width:.3g}", f"image size x {resolution:.3g}")
    size = to_four(image_size, resolution)
    return Scaled(f"phi {phi:.10g}", scale_uniformly(base, width, depth, guard=guard), size, size, rules)


def published_member(base: Architecture, image_size: int, name: str, *, guard: bool = True) -> Scaled:
    """A baseline scaled by the published coefficients of B0 to B7, which are not α^φ.

    Args:
        name: `b0` to `b7`. The picture size is the published one over 224, times the baseline's.

    Raises:
        ValueError: there is no such member (lists them).
    """
    if name not in V1_COEFFICIENTS:
        raise ValueError(f"a target of the uniform rule must be one of {', '.join(V1_COEFFICIENTS)}; got {name!r}")
    width, depth, published = V1_COEFFICIENTS[name]
    size = round(published * image_size / 224)
    rules = (f"width x {width:g}", f"depth x {depth:g}", f"{published} px for a baseline of 224")
    return Scaled(name, scale_uniformly(base, width, depth, guard=guard), size, size, rules)


class GridPoint(NamedTuple):
    """One point of the grid.

    Attributes:
        bases: α, β, γ.
        growth: the cost of the scaled baseline over the baseline's.
        score: of the scaled baseline.
    """

    bases: Bases
    growth: float
    score: float


def grid_search(
    base: Architecture,
    image_size: int,
    score: Callable[[Architecture, int], float],
    *,
    budget: float = 2.0,
    tolerance: float = 0.05,
    step: float = 0.05,
    measure: Callable[[Architecture, int], float] | None = None,
) -> list[GridPoint]:
    """EfficientNet's step 1: every α, β, γ >= 1 that costs the budget at φ = 1, the best score first.

    The paper prints neither the grid nor its range; here each factor runs from 1 by `step` as far as the
    budget allows.

    Args:
        score: (architecture, image_size) -> what to maximise, such as the reward an evaluator measures.
        budget: how many times the baseline's cost.
        tolerance: relative, on the budget.
        measure: (architecture, image_size) -> the cost that the budget is of. None is the nominal
            α·β²·γ², which rounding does not touch; macs in closed form is `macs_of`.

    Raises:
        ValueError: no point of the grid meets the budget.
    """
    check_factor("budget", budget, least=1.0)
    ticks = [1 + step * i for i in range(round((budget * (1 + tolerance) - 1) / step) + 1)]
    points = []
    for alpha, beta, gamma in itertools.product(ticks, ticks, ticks):
        bases = Bases(round(alpha, 10), round(beta, 10), round(gamma, 10))
        nominal = alpha * beta**2 * gamma**2
        if nominal > 2 * budget:  # far off whatever rounding does
            continue
        growth = nominal
        scaled = compound(base, image_size, 1.0, bases=bases)
        if measure is not None:
            growth = measure(scaled.architecture, scaled.image_size) / measure(base, image_size)
        if abs(growth / budget - 1) <= tolerance:
            points.append(GridPoint(bases, growth, score(scaled.architecture, scaled.image_size)))
    if not points:
        raise ValueError(f"no point of the grid costs {budget:g} times the baseline within {tolerance:.0%}: widen it")
    return sorted(points, key=lambda p: p.score, reverse=True)


def macs_of(architecture: Architecture, image_size: int) -> float:
    """Multiply-adds in closed form, as a `measure` of the grid search."""
    return float(cost(architecture, image_size).macs)
