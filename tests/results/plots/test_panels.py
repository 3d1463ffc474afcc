"""Panels drawn: what stands on an axis of ratios."""

from __future__ import annotations

import pytest

from results.analysis.panels import Mark, Panel
from results.plots import panels_figure


@pytest.mark.parametrize(("high", "ticks"), [(1.3, {1.0, 1.2}), (90.0, {1.0, 2.0, 5.0, 10.0, 20.0, 50.0})])
def test_ratios_have_plain_numbers_however_near(high: float, ticks: set[float]) -> None:
    marks = [Mark("near", 1.0, 0.95, 1.1), Mark("far", high, high, high)]
    figure = panels_figure([Panel("speed", "times", marks, none=1.0, log=True)])
    figure.canvas.draw()
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    labels = [label.get_text() for label in axes.get_xticklabels()]
    low, high = axes.get_xlim()
    assert ticks <= {float(label) for label in labels if low <= float(label) <= high}
