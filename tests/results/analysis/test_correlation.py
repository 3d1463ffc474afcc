"""Pearson's r with intervals, and what one r is above another."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr

from results.analysis.correlation import DRAWS, Correlations


def test_r_is_pearsons_and_its_interval_is_of_resampled_networks() -> None:
    rng = np.random.default_rng(3)
    x, y, z = rng.standard_normal((3, 12))
    time = x + 0.5 * y
    found = Correlations(list(time), {"x": list(x), "z": list(z)})
    assert found.r("x").mean == pytest.approx(pearsonr(time, x).statistic)
    assert found.r("z").mean == pytest.approx(pearsonr(time, z).statistic)
    assert found.r("x").n == 12
    chosen = np.random.default_rng(0).integers(12, size=(DRAWS, 12))
    drawn = np.array([np.corrcoef([time[c], x[c], z[c]])[0, 1:] for c in chosen])
    assert found.r("z")[1:3] == pytest.approx(np.quantile(drawn[:, 1], [0.025, 0.975]))
    above = found.above("x", "z")
    assert above.mean == pytest.approx(found.r("x").mean - found.r("z").mean)
    assert above[1:3] == pytest.approx(np.quantile(drawn[:, 0] - drawn[:, 1], [0.025, 0.975]))


def test_draws_are_shared_so_that_equal_ones_do_not_differ() -> None:
    rng = np.random.default_rng(4)
    time, x = rng.standard_normal((2, 8))
    found = Correlations(list(time), {"x": list(x), "scaled": list(5 + 3 * x), "opposite": list(-x)})
    assert found.above("x", "scaled")[:3] == pytest.approx((0, 0, 0), abs=1e-12)
    assert found.r("opposite").low == pytest.approx(-found.r("x").high)


def test_a_draw_of_one_network_alone_has_no_r_and_is_left_out() -> None:
    found = Correlations([1, 2, 3], {"same": [2, 4, 6]})  # a ninth of the draws of three have but one network
    assert found.r("same")[:3] == pytest.approx((1, 1, 1))


@pytest.mark.parametrize(
    ("times", "other"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [2, 2, 2]), ([1, 2, np.inf], [1, 2, 3])]
)
def test_what_has_no_correlation_is_refused(times: list[float], other: list[float]) -> None:
    with pytest.raises(ValueError, match="at least three networks, with finite values that are not all the same"):
        Correlations(times, {"other": other})
