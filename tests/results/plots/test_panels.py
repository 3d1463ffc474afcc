"""The figure of a study: every value, its interval and the paper's are drawn where they are."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from results.analysis.claims import Interval
from results.analysis.panels import Mark, Panel
from results.plots import panels_figure, write_figure


def panel(title: str = "at 96 px", **given: object) -> Panel:
    marks = [
        Mark.of("magnitude 5", Interval(0.5, 0.4, 0.6, 3), scale=100, paper=0.783),
        Mark("magnitude 15", 52.0, math.nan, math.nan),
    ]
    return Panel(title, "test accuracy, %", marks, **given)  # type: ignore[arg-type]


def test_values_intervals_and_the_papers_stand_in_their_rows() -> None:
    axes = panels_figure([panel(none=50.0)]).axes[0]
    dots, paper = axes.lines[-2:]
    assert np.asarray(dots.get_xdata()).tolist() == [50, 52]
    assert np.asarray(paper.get_xdata())[0] == pytest.approx(78.3)
    assert np.isnan(np.asarray(paper.get_xdata())[1])
    (spans,) = axes.collections
    assert [segment[:, 0].tolist() for segment in spans.get_segments()] == [[40, 60]]  # type: ignore[attr-defined]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["magnitude 5", "magnitude 15"]
    assert axes.lines[0].get_xdata() == [50.0, 50.0]
    low, high = axes.get_ylim()
    assert low > high, "the first row is at the top"


def test_panels_stand_in_rows_and_what_is_over_is_empty(tmp_path: Path) -> None:
    figure = panels_figure([panel("a"), panel("b"), panel("c")])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b", "c", ""]
    assert not figure.axes[3].axison
    write_figure(figure, tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").read_text().count("magnitude 15") == 3


def test_the_paper_is_in_the_legend_only_where_it_has_a_value() -> None:
    without = Panel("a", "x", [Mark("one", 1.0, 0.5, 1.5)])
    texts = [[text.get_text() for text in panels_figure([p]).legends[0].get_texts()] for p in (panel(), without)]
    assert [len(each) for each in texts] == [2, 1]


def test_nothing_to_draw_is_refused() -> None:
    for panels in ([], [Panel("a", "x", [])]):
        with pytest.raises(ValueError, match="must have panels"):
            panels_figure(panels)


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
