"""The figure of a study: every value, its interval and the paper's are drawn where they are."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.markers import CARETLEFT, CARETRIGHT

from results.analysis.claims import Interval
from results.analysis.panels import Mark, Panel
from results.plots import panels_figure, write_figure
from results.plots.style import OURS


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


def drawn(axes: Axes) -> list[list[float]]:
    """From where to where the intervals of a panel are drawn."""
    (spans,) = axes.collections
    return [segment[:, 0].tolist() for segment in spans.get_segments()]  # type: ignore[attr-defined]


def heads(axes: Axes) -> list[tuple[object, float, float]]:
    """Of the arrow-heads: the marker, the value and the row."""
    return [
        (line.get_marker(), float(np.asarray(line.get_xdata())[0]), float(np.asarray(line.get_ydata())[0]))
        for line in axes.lines
        if line.get_marker() in (CARETLEFT, CARETRIGHT)
    ]


def test_an_interval_that_would_press_all_else_together_ends_in_an_arrow_head() -> None:
    marks = [Mark("a", -4, -150, 143, paper=0.3), Mark("b", 2, -6, 9), Mark("c", 1, 0, 90)]
    figure = panels_figure([Panel("a", "points", marks, none=0.0)])
    axes, span = figure.axes[0], 2 - -4
    low, high = axes.get_xlim()
    assert (low, high) == pytest.approx((-4 - 3 * span - 0.05 * 7 * span, 2 + 3 * span + 0.05 * 7 * span))
    assert drawn(axes) == [[low, high], [-6, 9], [0, high]]
    assert heads(axes) == [(CARETLEFT, low, 0), (CARETRIGHT, high, 0), (CARETRIGHT, high, 2)]
    assert [text.get_text() for text in figure.legends[0].get_texts()][1] == "it goes on beyond the axis"


def test_on_a_logarithmic_axis_likewise() -> None:
    marks = [Mark("here", 2.0, 0.001, 5000.0), Mark("also", 1.5, 1.2, 4.0)]
    axes = panels_figure([Panel("speed", "times", marks, none=1.0, log=True)]).axes[0]
    margin = 2 ** (0.05 * 7)  # dots go from 1 to 2, and the axis on for three times that on either side
    assert axes.get_xlim() == pytest.approx((1 / 8 / margin, 16 * margin))
    assert [marker for marker, _, _ in heads(axes)] == [CARETLEFT, CARETRIGHT]
    assert drawn(axes)[1] == [1.2, 4.0]


def test_an_interval_is_not_drawn_where_the_quantity_cannot_be() -> None:
    marks = [Mark("a", 10, -20, 40), Mark("b", 95, 80, 130)]
    axes = panels_figure([Panel("a", "accuracy, %", marks, within=(0.0, 100.0))]).axes[0]
    assert drawn(axes) == [[0, 40], [80, 100]]
    assert not heads(axes)
    assert axes.get_xlim() == pytest.approx((-5, 105))


def test_panels_of_one_quantity_have_one_range() -> None:
    one = Panel("a", "r", [Mark("x", 0.9, 0.8, 1.0, paper=0.56)])
    two = Panel("b", "r", [Mark("x", 0.95, 0.94, 0.96)])
    other = Panel("c", "points", [Mark("x", 2.0, 1.0, 3.0)])
    limits = [axes.get_xlim() for axes in panels_figure([one, two, other]).axes[:3]]
    assert limits[0] == limits[1] == pytest.approx((0.56 - 0.022, 1.0 + 0.022))
    assert limits[2] == pytest.approx((0.9, 3.1))


def test_a_panel_without_any_number_has_an_axis() -> None:
    nothing = Mark("x", math.nan, math.nan, math.nan)
    for log, middle in ((False, 0.0), (True, 1.0)):
        low, high = panels_figure([Panel("a", "r", [nothing], log=log)]).axes[0].get_xlim()
        assert low < middle < high


def test_a_dot_is_seen_within_the_papers_diamond() -> None:
    dots, paper = panels_figure([panel()]).axes[0].lines[-2:]
    assert (paper.get_markerfacecolor(), dots.get_color()) == ("none", OURS)
    assert paper.get_markersize() > dots.get_markersize()


def test_legend_titles_and_labels_keep_clear_of_each_other() -> None:
    title = "training: here a step, in the paper whole trainings on TPUv3"
    figure = panels_figure([panel(title), panel(title), panel("accuracy"), panel(title)])
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    titles = [axes.title if axes.get_title() else axes._left_title for axes in figure.axes]  # type: ignore[attr-defined]
    boxes = [one.get_window_extent() for one in titles]
    line = boxes[2].height
    assert legend.y0 - max(box.y1 for box in boxes[:2]) > 0.5 * line
    assert titles[0].get_text().count("\n") == 1, "it is too long for a line"
    assert titles[0].get_text().replace("\n", " ") == title
    for box, axes in zip(boxes, figure.axes, strict=True):
        assert box.x1 <= axes.get_window_extent().x1 + 1
    labels = [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    assert min(box.y0 for box in labels[:2]) - max(box.y1 for box in boxes[2:]) > 0.3 * line
