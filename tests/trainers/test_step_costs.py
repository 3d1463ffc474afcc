"""Step times expected by prices: exact where they are sums of prices, and told apart by kind of stage."""

from __future__ import annotations

import numpy as np
import pytest

from search_spaces import SPACES, cost
from trainers.step_costs import COSTS, counted, fitted_prices, left_out_error


def costs_of(count: int, seed: int = 0) -> np.ndarray:
    space, rng = SPACES["small"], np.random.default_rng(seed)
    drawn = [space.decode(space.sample(rng)) for _ in range(count)]
    return np.array([counted(a, 32, num_classes=10, in_channels=1) for a in drawn])


def test_what_is_counted_is_the_cost() -> None:
    backbone = SPACES["small"].backbone
    row = dict(zip(COSTS, counted(backbone, 32, num_classes=10, in_channels=1), strict=True))
    known = cost(backbone, 32, num_classes=10, in_channels=1)
    assert row["step"] == 1
    assert row["params"] * 1e6 == pytest.approx(known.params)
    assert (row["fused macs"] + row["mbconv macs"]) * 1e6 == pytest.approx(known.macs)
    assert (row["fused activations"] + row["mbconv activations"]) * 1e6 == pytest.approx(known.activations)
    assert row["layers"] == sum(stage.layers for stage in backbone.stages)
    assert row["mbconv macs"] > 0 < row["fused macs"]


def test_prices_are_found_again() -> None:
    costs, prices = costs_of(24), np.array([0.2, 0.1, 0.0, 1.5, 0.03, 2.0, 0.05])
    found = fitted_prices(costs, costs @ prices)
    assert costs_of(50, seed=1) @ found == pytest.approx(costs_of(50, seed=1) @ prices, rel=1e-6)
    assert left_out_error(costs, costs @ prices) < 1e-6


def test_prices_are_never_negative_and_noise_stays_small() -> None:
    costs, rng = costs_of(24), np.random.default_rng(0)
    times = costs @ np.array([0.2, 0.1, 0.0, 1.5, 0.03, 2.0, 0.05]) * np.exp(0.02 * rng.normal(size=24))
    found = fitted_prices(costs, times)
    assert (found >= 0).all()
    assert left_out_error(costs, times) < 0.05
