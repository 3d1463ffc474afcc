"""How well one reading of networks ranks them as another does."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, spearmanr

from results.agreement import agreement


def readings(*values: float, names: str = "abcdefghijklmnopqrstuvwxyz") -> pd.Series:
    return pd.Series(values, index=list(names[: len(values)]), dtype=float)


def test_equal_and_opposite_orders() -> None:
    up, down = readings(1, 2, 3, 4, 5, 6), readings(6, 5, 4, 3, 2, 1)
    same, other = agreement(up, 10 * up + 3, top=2), agreement(up, down, top=2)
    assert (same.tau, same.spearman, same.recall) == (pytest.approx(1), pytest.approx(1), 1.0)
    assert (other.tau, other.spearman, other.recall) == (pytest.approx(-1), pytest.approx(-1), 0.0)
    assert same.tau_low == pytest.approx(1)


def test_it_is_scipys_and_the_interval_holds_it() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=20)
    proxy, reference = readings(*truth), readings(*(truth + rng.normal(size=20)))
    found = agreement(proxy, reference, top=5)
    assert found.tau == pytest.approx(kendalltau(proxy, reference).statistic)
    assert found.spearman == pytest.approx(spearmanr(proxy, reference).statistic)
    assert found.tau_low < found.tau < found.tau_high
    assert 0.2 < found.tau_high - found.tau_low < 0.8
    assert agreement(proxy, reference, top=5) == found


def test_more_networks_narrow_the_interval() -> None:
    rng = np.random.default_rng(1)

    def width(count: int) -> float:
        truth = pd.Series(rng.normal(size=count))
        found = agreement(truth, truth + rng.normal(size=count), top=3)
        return found.tau_high - found.tau_low

    assert width(200) < 0.5 * width(15)


def test_networks_are_matched_by_name_and_those_without_a_pair_left_out() -> None:
    proxy = readings(1, 2, 3, 4, math.nan)
    reference = readings(4, 3, 2, 1, names="dcbx")
    found = agreement(proxy, reference, top=9)
    assert found.networks == 3
    assert found.tau == pytest.approx(1)
    assert (found.recall, found.top) == (1.0, 3)


def test_without_any_order_nothing_is_claimed() -> None:
    found = agreement(readings(1, 1, 1, 1), readings(1, 2, 3, 4), top=2)
    assert math.isnan(found.tau)
    assert math.isnan(found.spearman)


def test_of_several_trainings_the_mean_is_told() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=20)
    reference = readings(*truth)
    both = pd.concat([readings(*(truth + scale * rng.normal(size=20))) for scale in (0.3, 1.5)], axis=1)
    good, bad = (agreement(both.iloc[:, place], reference, top=5) for place in (0, 1))
    found = agreement(both, reference, top=5)
    for name in ("tau", "spearman", "recall"):
        assert getattr(found, name) == pytest.approx((getattr(good, name) + getattr(bad, name)) / 2)
    assert bad.tau < found.tau_low < found.tau < found.tau_high < good.tau_high
    assert agreement(both.iloc[:, [0, 0]], reference, top=5) == good


def test_too_few_networks_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least 3 networks must have been evaluated both ways; 2 have"):
        agreement(readings(1, 2), readings(2, 1), top=1)
