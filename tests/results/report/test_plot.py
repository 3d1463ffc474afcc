"""Charts: round ticks within the range, marks where the values are, gaps where there are none."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from results.report.plot import Plot, axis, ticks
from results.report.wording import decimal, device_hours, duration, large, listed, percent, short

finite = st.floats(-1e9, 1e9)


@given(finite, st.floats(1e-6, 1e9))
def test_ticks_are_few_round_and_within(low: float, length: float) -> None:
    high = low + length
    if not high > low + 1e-9 * abs(low):
        return
    found = ticks(low, high)
    assert 2 <= len(found) <= 7
    slack = 1e-6 * (high - low) + 1e-9 * abs(low)
    assert all(low - slack <= value <= high + slack for value in found)
    assert np.ptp(np.diff(found)) <= 1e-6 * (high - low) + 1e-6 * abs(low)


@given(finite, finite)
@example(0.0, 1.4e-303)
@example(0.0, 5e-324)
@example(1e9, 1e9 + 1e-6)
def test_an_axis_holds_its_values_and_clips_others(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    scale = axis("x", low, high)
    shares = scale.shares([low, high, low - 1e12, high + 1e12])
    assert ((shares >= 0) & (shares <= 1)).all()
    assert shares[0] <= shares[1]
    assert (shares[2], shares[3]) == (0, 1)


@given(st.floats(1e-3, 1e6), st.floats(1, 1e6))
def test_equal_ratios_are_equally_far_apart_on_a_logarithmic_axis(low: float, ratio: float) -> None:
    scale = axis("x", low, low * ratio, log=True)
    first, second = np.diff(scale.shares([low, low * ratio**0.5, low * ratio]))
    assert first == pytest.approx(second, abs=1e-6)
    texts = [text for _, text in scale.ticks]
    assert len(texts) == len(set(texts)), "ticks can be told apart"


def plot() -> Plot:
    return Plot(
        axis("across", 0, 10, room=0), axis("up", 0, 1, room=0), left=0, right=0, top=0, bottom=0, width=100, height=10
    )


def test_marks_stand_where_the_values_are_and_a_missing_one_is_left_out() -> None:
    nan = float("nan")
    assert 'd="M0 10h0M100 0h0"' in plot().dots([0, 5, 10], [0, nan, 1], "a", rows=[7, 8, 9])
    assert 'data-rows="7 9"' in plot().dots([0, 5, 10], [0, nan, 1], "a", rows=[7, 8, 9])
    assert 'd="M0 10M50 5L100 0"' in plot().line([0, 2, 5, 10], [0, nan, 0.5, 1], "a")
    assert 'd="M0 10L50 10L50 5L100 5L100 0"' in plot().line([0, 5, 10], [0, 0.5, 1], "a", step=True)
    assert 'd="M0 10V0"' in plot().whiskers([0, 5], [0, nan], [1, 1], "a")
    assert plot().band([0, 1], [nan, nan], [1, 1], "a") == ""
    rings = plot().rings([0, nan, 10], [0, 0, 1], [1, 1, 0.5], ["<a>", "b", "c"], [4, 5, 6])
    assert re.findall(r'data-row="(\d)"', rings) == ["4", "6"]
    assert re.findall(r'tabindex="(-?\d)"', rings) == ["0", "-1"]
    assert "&lt;a&gt;" in rings


def test_a_note_stands_off_its_point_also_at_the_top() -> None:
    chart = Plot(axis("across", 0, 1, room=0), axis("up", 0, 1, room=0))
    for up, above in ((0.5, True), (1.0, False)):
        at = float(re.findall(r' y="([0-9.]+)"', chart.note(0.5, up, "knee"))[0])
        point = chart.points(0.5, up)[0, 1]
        assert (point - at >= 12) if above else (at - point >= 20), "a ring's radius and a line of text"


def test_texts_on_a_chart_are_escaped() -> None:
    drawn = Plot(axis("<x>", 0, 1), axis("&", 0, 1)).svg([], '"quoted" <b>')
    assert "<x>" not in drawn
    assert "&lt;x&gt;" in drawn
    assert "&#34;quoted&#34; &lt;b&gt;" in drawn


def test_numbers_as_people_read_them() -> None:
    assert [short(n) for n in (0, 7, 999, 999.9, 1000, 34026, 1_583_524, 9.995e8, None)] == [
        *("0", "7.00", "999", "1.00k", "1.00k", "34.0k", "1.58M", "1.00G", "–")
    ]  # fmt: skip
    assert [duration(s) for s in (0.42, 12, 119.6, 250, 12_000, 270_000, 86_400)] == [
        *("0.4 s", "12 s", "2 min", "4 min 10 s", "3 h 20 min", "3 d 3 h", "1 d")
    ]  # fmt: skip
    assert [large(n) for n in (5, 999_999, 36_279_705_600, 10**30)] == ["5", "999,999", "3.6 × 10¹⁰", "1.0 × 10³⁰"]
    assert (percent(-0.034, 1), decimal(-1.5, 1), decimal(float("nan"))) == ("−3.4 %", "−1.5", "–")
    assert [device_hours(h) for h in (0, 0.004, 0.5, 1234.56)] == ["0", "0.0040", "0.50", "1,234.6"]
    assert [listed(w) for w in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
