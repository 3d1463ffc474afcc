"""Claims: intervals by hand, and a difference that is no finding until its whole interval says so."""

from __future__ import annotations

import math

import pytest

from results.analysis.claims import Claim, Interval, claims_frame, difference_interval, mean_interval, ratio_interval


def test_a_mean_has_students_interval() -> None:
    found = mean_interval([1.0, 2.0, 3.0])
    assert (found.mean, found.n) == (2.0, 3)
    half = 4.302653 / math.sqrt(3)  # t of 2 degrees of freedom, a standard deviation of 1
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))


def test_a_single_value_has_no_interval_and_claims_nothing() -> None:
    found = mean_interval([0.5])
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    claim = Claim("It is better", found, "points", "+1")
    assert claim.verdict == "not told apart"
    assert "+50.00 (one measurement)" in str(claim)


def test_ratios_are_averaged_by_their_logarithms() -> None:
    found = ratio_interval([0.5, 2.0])
    assert found.mean == pytest.approx(1.0)
    assert found.low == pytest.approx(1 / found.high)
    assert ratio_interval([2.0, 2.0, 2.0])[:3] == pytest.approx((2, 2, 2))


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_what_has_no_mean_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval(values)


@pytest.mark.parametrize("values", [[], [1.0, 0.0], [-1.0], [math.nan]])
def test_what_is_no_ratio_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        ratio_interval(values)


@pytest.mark.parametrize(
    ("low", "high", "unit", "verdict"),
    [
        (0.001, 0.02, "points", "holds"),
        (-0.02, -0.001, "points", "the opposite holds"),
        (-0.001, 0.02, "points", "not told apart"),
        (0.0, 0.02, "points", "not told apart"),
        (1.01, 1.2, "times", "holds"),
        (0.5, 0.99, "times", "the opposite holds"),
        (0.9, 1.2, "times", "not told apart"),
        (0.9, 1.2, "difference", "holds"),
        (0.6, 0.9, "probability", "holds"),
        (0.4, 0.6, "probability", "not told apart"),
        (0.1, 0.4, "probability", "the opposite holds"),
    ],
)
def test_a_difference_is_a_finding_where_its_interval_leaves_out_none(
    low: float, high: float, unit: str, verdict: str
) -> None:
    claim = Claim("It is so", Interval((low + high) / 2, low, high, 5), unit, "+0.7 points")
    assert claim.verdict == verdict
    said = {"holds": "this holds here", "the opposite holds": "the opposite", "not told apart": "cannot be told"}
    assert said[verdict] in str(claim)
    assert str(claim).endswith("n = 5. The paper: +0.7 points.")


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="points, times, difference, probability; got 'percent'"):
        Claim("It is so", Interval(0, 0, 0, 1), "percent", "")


def test_claims_as_a_table() -> None:
    frame = claims_frame([Claim("It is so", Interval(0.01, 0.005, 0.015, 3), "points", "+0.7 points")])
    assert frame.to_dict("records") == [
        {
            "statement": "It is so",
            "unit": "points",
            "mean": 1.0,
            "low": 0.5,
            "high": 1.5,
            "n": 3,
            "verdict": "holds",
            "paper": "+0.7 points",
        }
    ]


def test_values_that_are_all_the_same_show_nothing() -> None:
    """Two seeds of 300 pictures may well count the same; that is no certainty."""
    for values in ([0.0367, 0.0367], [0.75 - 0.71, 0.76 - 0.72, 0.77 - 0.73]):
        claim = Claim("It is better", mean_interval(values), "points", "+1 points")
        assert claim.found.low > 0.03
        assert claim.verdict == "not told apart"


@pytest.mark.parametrize(("bound", "verdict"), [(None, "holds"), (0.5, "not told apart"), (0.8, "the opposite holds")])
def test_a_claim_may_ask_for_more_than_none(bound: float | None, verdict: str) -> None:
    claim = Claim("Kendall's tau is high", Interval(0.5, 0.3, 0.7, 20), "difference", "not told", bound)
    assert claim.verdict == verdict
    assert "+0.500 (+0.300 to +0.700)" in str(claim)


def test_means_that_are_not_paired_have_welchs_interval() -> None:
    found = difference_interval([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    # by hand: variances 1 and 4, standard error sqrt(5 / 3), (5 / 3)^2 / (1 / 18 + 16 / 18) = 2.941 degrees of freedom
    half = 3.2196 * math.sqrt(5 / 3)
    assert found.mean == -2
    assert (found.low, found.high) == pytest.approx((-2 - half, -2 + half), rel=1e-3)
    assert found.n == 3
    assert math.isnan(difference_interval([1.0], [2.0, 3.0]).low)
    assert difference_interval([1.0, 1.0], [2.0, 2.0])[:3] == (-1, -1, -1)
