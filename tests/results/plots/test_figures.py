"""The figures: that they show what the tables say, are legible in print, and are the same file each time."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_run import make_run
from matplotlib.figure import Figure
from matplotlib.text import Text
from trial_tables import rewarded, table, together, trial

from results.analysis import convergence, distribution, drift, importance
from results.networks import network_means
from results.noise import noise_of
from results.pareto import non_dominated
from results.pareto_table import front_table
from results.plots import (
    WIDTHS,
    Width,
    architecture_figure,
    convergence_figure,
    distribution_figure,
    drift_figure,
    importance_figure,
    pareto_figure,
    write_figure,
)
from results.plots.quantities import limits
from results.plots.style import COLOURS
from results.store import TrialStore
from search_spaces import IMAGE_SIZES, PUBLISHED, SPACES

OBJECTIVES = ["accuracy", "step_time", "params"]
CHOICES = [choice.name for choice in SPACES["small"].choices]
Draw = Callable[[pd.DataFrame, Width], Figure]


def pareto(frame: pd.DataFrame, width: Width = "column") -> Figure:
    noise = noise_of(frame, OBJECTIVES, 1000)
    networks = network_means(frame, OBJECTIVES)
    front = front_table(networks, OBJECTIVES, most=1, noise=noise, rng=np.random.default_rng(0))
    return pareto_figure(networks, front, OBJECTIVES, noise=noise, width=width)


DRAWN: dict[str, Draw] = {
    "pareto": pareto,
    "convergence": lambda frame, width: convergence_figure(convergence(frame), width=width),
    "distribution": lambda frame, width: distribution_figure(distribution(frame), width=width),
    "drift": lambda frame, width: drift_figure(drift(frame), width=width),
    "importance": lambda frame, width: importance_figure(importance(frame, CHOICES), width=width),
}


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A run with failures, stopped ones, a random arm and a missing measurement."""
    outcomes = ("complete",) * 9 + ("failed", "stopped", "missing", "repeat")
    return TrialStore.open(make_run(tmp_path_factory.mktemp("runs") / "run", trials=78, outcomes=outcomes)).frame()


def texts(figure: Figure) -> list[Text]:
    """All that is drawn; an axis has labels for ticks beyond its limits, too, which are not."""
    beyond = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            beyond |= {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [text for text in shown if text not in beyond]


def lines(figure: Figure, **looks: Any) -> list[np.ndarray]:
    """The data of the lines of the first axes that look so, shape (points, 2) each."""
    found = []
    for line in figure.axes[0].lines:
        if all(getattr(line, f"get_{name}")() == value for name, value in looks.items()):
            found.append(np.column_stack(line.get_data()).astype(float))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", DRAWN)
def test_a_figure_is_legible_at_its_width_and_is_the_same_file_each_time(
    kind: str, width: Width, frame: pd.DataFrame, tmp_path: Path
) -> None:
    figure = DRAWN[kind](frame, width)
    assert figure.get_figwidth() == WIDTHS[width]
    assert min(text.get_fontsize() for text in texts(figure)) >= 6, "points, in print"
    within = figure.bbox.padded(1.5)
    for text in texts(figure):
        box = text.get_window_extent()
        assert within.contains(box.x0, box.y0), text
        assert within.contains(box.x1, box.y1), text
    write_figure(figure, tmp_path / "one.pdf")  # whose fonts have a date of their own
    assert b"CreationDate" not in (tmp_path / "one.pdf").read_bytes()
    for form in ("svg", "png"):
        paths = [tmp_path / f"{name}.{form}" for name in ("one", "two")]
        write_figure(figure, paths[0])
        write_figure(DRAWN[kind](frame, width), paths[1])
        assert paths[0].read_bytes() == paths[1].read_bytes(), form
    drawn = (tmp_path / "one.svg").read_text()
    assert f'width="{72 * WIDTHS[width]:g}pt"' in drawn
    assert "<dc:date>" not in drawn
    words = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", drawn))
    for axes in figure.axes:
        assert axes.get_xlabel() in words, "text is text"
        assert axes.get_xlabel(), "an axis says what it shows"


def test_the_front_is_marked_and_its_line_is_what_nothing_beats_in_the_panel(frame: pd.DataFrame) -> None:
    networks = network_means(frame)
    front = front_table(networks, OBJECTIVES, most=1)
    figure = pareto_figure(networks, front, OBJECTIVES)
    assert [axes.get_xlabel() for axes in figure.axes] == ["training step time (anchor = 1)", "parameters (thousands)"]
    assert figure.axes[0].get_ylabel() == "minival accuracy (%)"
    points = np.column_stack([front["step_time"], 100 * front["accuracy"]]).astype(float)
    (step,) = lines(figure, drawstyle="steps-post")
    expected = points[non_dominated(points, [False, True])]
    np.testing.assert_allclose(step, expected[np.argsort(expected[:, 0])])
    marked = np.concatenate(lines(figure, markersize=3.4))
    np.testing.assert_allclose(np.sort(marked, axis=0), np.sort(points, axis=0))


def test_points_that_the_noise_may_have_put_there_are_hollow(frame: pd.DataFrame) -> None:
    networks = network_means(frame)
    front = front_table(networks, OBJECTIVES, most=1).assign(membership=0.9)
    front.iloc[0, front.columns.get_loc("membership")] = 0.2
    figure = pareto_figure(networks, front, OBJECTIVES)
    hollow, filled = (lines(figure, markersize=3.4, markerfacecolor=face) for face in ("white", "#0072B2"))
    assert [len(points) for points in hollow] == [1]
    assert [len(points) for points in filled] == [len(front) - 1]
    assert "on the front, p < 0.5" in [text.get_text() for text in texts(figure)]
    sure = pareto_figure(networks, front.assign(membership=1.0), OBJECTIVES)
    assert "on the front, p < 0.5" not in [text.get_text() for text in texts(sure)]


def test_a_panel_says_how_many_networks_are_outside_of_it() -> None:
    trials = [trial(n, reward=1.0, accuracy=0.8 + n / 1000, step_time=1.0, params=1000 + n) for n in range(60)]
    trials.append(trial(60, reward=0.1, accuracy=0.1, step_time=1.0, params=5000))
    networks = network_means(table(*trials))
    front = front_table(networks, ["accuracy", "params"], most=1)
    figure = pareto_figure(networks, front, ["accuracy", "params"])
    axes = figure.axes[0]
    (cloud,) = lines(figure, markersize=2.2)
    inside = [all(low <= v <= high for v, (low, high) in zip(p, (axes.get_xlim(), axes.get_ylim()), strict=True))
              for p in cloud]  # fmt: skip
    outside = inside.count(False)
    assert 0 < outside <= 6
    assert axes.get_title(loc="right") == f"{outside} of 61 networks {'is' if outside == 1 else 'are'} outside", (
        "above the panel, on no point"
    )


@pytest.mark.parametrize(("pictures", "crosses"), [(100_000, 1), (30, 0)])
def test_a_cross_that_does_not_fit_is_told_in_words(pictures: int, crosses: int) -> None:
    trials = [trial(n, reward=1.0, accuracy=0.5 + n / 200, step_time=1.0, params=1000 + n) for n in range(9)]
    frame, objectives = table(*trials), ["accuracy", "params"]
    noise = noise_of(frame, objectives, pictures)
    networks = network_means(frame)
    figure = pareto_figure(networks, front_table(networks, objectives, most=1), objectives, noise=noise)
    assert sum(text.get_text() == "95 %" for text in texts(figure)) == crosses
    said = figure.axes[0].get_title(loc="right")
    assert said.startswith("95 %: \u00b1 18 upwards" if not crosses else "")
    assert bool(said) != bool(crosses)


@given(
    values=st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=40),
    share=st.floats(0, 1),
    maximise=st.booleans(),
)
def test_the_best_is_always_inside_the_limits(values: list[float], share: float, maximise: bool) -> None:
    every = np.array(values)
    low, high, log = limits(every, every[: round(share * len(every))], maximise=maximise)
    assert low < high
    assert low <= (every.max() if maximise else every.min()) <= high
    assert not log or low > 0


def test_several_runs_differ_in_more_than_colour_and_are_named(tmp_path: Path) -> None:
    runs = together(**{f"run${n}": rewarded([0.5 + n / 10, 0.6, None, 0.7]) for n in range(3)})
    figure = convergence_figure(convergence(runs))
    write_figure(figure, tmp_path / "runs.svg")
    drawn = (tmp_path / "runs.svg").read_text()
    curves = re.findall(
        r'style="fill: none; (?:stroke-dasharray: ([\d.,]+); stroke-dashoffset: 0; )?stroke: (#\w+)', drawn
    )
    best = {(dash, colour) for dash, colour in curves if colour.upper() in COLOURS}
    assert len(best) == len({dash for dash, _ in best}) == 3
    assert {text.get_text() for text in texts(figure)} >= {"run$0", "run$1", "run$2"}
    shares = distribution_figure(distribution(runs, by="run"))
    assert [text.get_text() for text in shares.legends[0].get_texts()] == ["run$0", "run$1", "run$2"]
    networks = network_means(runs.assign(params=runs["number"] + 1), alike={run: run for run in runs["run"]})
    front = front_table(networks, ["reward", "params"], most=1)
    both = pareto_figure(networks, front, ["reward", "params"])
    markers = {line.get_marker() for line in both.axes[0].lines if line.get_markersize() == 2.2}
    assert len(markers) == 3


def test_the_best_so_far_is_drawn_beside_chance(frame: pd.DataFrame) -> None:
    curves = convergence(frame)
    figure = convergence_figure(curves)
    (step,) = lines(figure, drawstyle="steps-post")
    at = np.searchsorted(step[:, 0], curves["evaluated"], side="right") - 1
    np.testing.assert_array_equal(np.where(at < 0, np.nan, step[at, 1]), curves["best"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *("a candidate", "best so far", "expected best of random draws", "95 % of random searches"),
    ]
    assert figure.axes[0].get_xticks().tolist() == [int(n) for n in figure.axes[0].get_xticks()], "whole candidates"
    short = convergence(frame).iloc[:9].assign(run="short", chance_high=50.0)
    several = convergence_figure(pd.concat([curves.assign(run="long"), short]))
    assert several.axes[0].get_ylim()[1] < 2, "a range of chance that is not drawn takes no room"
    alone = convergence_figure(convergence(frame[frame["arm"] == "controller"]))
    assert [text.get_text() for text in alone.legends[0].get_texts()] == ["a candidate", "best so far"]


def test_a_distribution_starts_at_the_share_that_failed() -> None:
    figure = distribution_figure(distribution(rewarded([None, 0.5, 0.6, 0.7])))
    (curve,) = lines(figure)
    np.testing.assert_allclose(curve[:, 1], [0.5, 0.75, 1.0, 1.0])
    np.testing.assert_allclose(curve[:3, 0], [0.5, 0.6, 0.7])
    assert curve[-1, 0] == figure.axes[0].get_xlim()[1], "to the edge"


def test_the_legend_says_how_a_device_drifted() -> None:
    timed = [
        trial(n, reward=1.0, told_at=1e9 + 600 * n, step_time=1.0, step_time_s=0.1 * (1 + n / 40), device=f"GPU {d}",
              host="a" * 70)
        for n in range(40) for d in range(1)
    ]  # fmt: skip
    figure = drift_figure(drift(table(*timed)))
    (said,) = (text.get_text() for text in figure.legends[0].get_texts())
    assert "became slower, +" in said.replace("\n", " ")
    assert max(map(len, said.split("\n"))) < 60, "it stays within the column"
    assert figure.axes[0].get_xlabel() == "hours since the first timing"


def test_importance_says_how_good_its_forest_is_and_draws_the_shares() -> None:
    rng = np.random.default_rng(0)
    space = SPACES["small"]
    drawn = [int(n) for n in rng.choice(space.size, 60, replace=False)]
    layers = [space.labels(space.genotype_at(n))["stage6_layers"] for n in drawn]
    frame = table(*(trial(n, reward=float(str(layer)), network=drawn[n]) for n, layer in enumerate(layers)))
    found = importance(frame, CHOICES)
    figure = importance_figure(found)
    said = figure.get_suptitle()
    assert said.startswith(f"R² = {found.r2:.2f} (")
    assert said.endswith("on networks left out of the fit")
    axes = figure.axes[0]
    assert axes.get_yticklabels()[0].get_text() == "stage 6, layers"
    bars = [patch.get_width() for patch in axes.patches]  # type: ignore[attr-defined]
    np.testing.assert_allclose(bars, 100 * found.table["share"].head(12))
    effects = importance_figure(found, width="double").axes[1]
    drawn_effects = np.concatenate([np.asarray(line.get_xdata()) for line in effects.lines if line.get_marker() == "o"])
    top = found.table["choice"].head(8)
    expected = pd.concat([found.effects[found.effects["choice"] == name] for name in top])["effect"]
    np.testing.assert_allclose(drawn_effects, expected)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "name", ["efficientnetv2-s", "efficientnetv2-xl", "efficientnet-b7", "regnety-32gf", "mnasnet-a1"]
)
def test_a_drawn_network_names_every_stage_and_no_text_covers_another(name: str, width: Width) -> None:
    architecture = PUBLISHED[name]
    figure = architecture_figure(architecture, IMAGE_SIZES[name].eval, width=width)
    said = " ".join(text.get_text() for text in texts(figure))
    for stage in architecture.stages:
        assert f"{stage.channels:,} ch" in said
        assert f"{stage.kernel}×{stage.kernel}" in said
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    for one, box in boxes:
        assert figure.bbox.padded(-3).containsx(box.x1), one
        assert figure.bbox.padded(1).containsy(box.y0), one
    for (one, box), (other, second) in combinations(boxes, 2):
        width_px = min(box.x1, second.x1) - max(box.x0, second.x0)
        height_px = min(box.y1, second.y1) - max(box.y0, second.y0)
        assert width_px <= 1 or height_px <= 3, (one, other)


@pytest.mark.parametrize("outcomes", [("running",), ("failed",), ("missing",)])
@pytest.mark.parametrize("kind", DRAWN)
def test_where_there_is_nothing_to_draw_it_says_so(kind: str, outcomes: tuple[str, ...], tmp_path: Path) -> None:
    frame = TrialStore.open(make_run(tmp_path / "run", trials=4, outcomes=outcomes)).frame()
    with pytest.raises(ValueError, match=r"there is no |nothing fitted|was in no trial"):
        DRAWN[kind](frame, "column")


@pytest.mark.parametrize("kind", ["pareto", "convergence", "distribution", "drift"])
def test_one_trial_is_enough_to_draw(kind: str, tmp_path: Path) -> None:
    frame = TrialStore.open(make_run(tmp_path / "run", trials=1)).frame()
    write_figure(DRAWN[kind](frame, "column"), tmp_path / "one.svg")
    assert (tmp_path / "one.svg").read_text().count("<text") > 4


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figure.svg"
    path.write_text("before")

    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:9])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device.*figure\.svg"):
        write_figure(Figure(), path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_users_own_settings_do_not_change_a_figure(frame: pd.DataFrame, tmp_path: Path) -> None:
    import matplotlib as mpl

    write_figure(DRAWN["convergence"](frame, "column"), tmp_path / "one.svg")
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "lines.linewidth": 9, "axes.grid": True}):
        write_figure(DRAWN["convergence"](frame, "column"), tmp_path / "two.svg")
        assert mpl.rcParams["font.size"] == 30, "and stay as they were"
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_a_figure_says_which_widths_and_which_endings_there_are(frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one of column, double; got 'page'"):
        convergence_figure(convergence(frame), width="page")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"must end in \.png, \.svg or \.pdf; got figure\.gif"):
        write_figure(Figure(), tmp_path / "figure.gif")


def test_of_very_many_dots_a_picture_is_made_within_the_vectors(tmp_path: Path) -> None:
    rewards = np.random.default_rng(0).normal(size=5000)
    number = np.arange(1, 5001)
    curves = pd.DataFrame({"evaluated": number, "number": number, "reward": rewards})
    curves["best"] = np.maximum.accumulate(rewards)
    for name in ("chance", "chance_low", "chance_high"):
        curves[name] = np.nan
    write_figure(convergence_figure(curves), tmp_path / "many.svg")
    assert "data:image/png" in (tmp_path / "many.svg").read_text()
    assert (tmp_path / "many.svg").stat().st_size < 300_000
