"""How the search went: the best so far beside chance, and how its rewards are distributed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from results.analysis.comparability import random_run
from results.analysis.convergence import convergence, draws_of
from results.analysis.distribution import distribution
from results.report.blocks import Section, block, heading, prose
from results.report.front import axis_of, run_colours
from results.report.material import Group, Material, Run, numbers
from results.report.plot import Axis, Plot, axis
from results.report.wording import decimal, plural

_MOST_POINTS = 400
"""Corners of a curve; more could not be told apart on a screen."""

_MOST_DOTS = 1500

_ARMS = {
    "controller": ("ours", "the controller's"),
    "random": ("chance", "random"),
    "screened": ("good", "screened untrained"),
}


def course_section(material: Material) -> Section:
    """Two charts a group of runs: convergence, and the distribution of rewards."""
    anchor, title = "course", "How the search went"
    if not np.isfinite(numbers(material.networks, "reward")).any():
        return Section(anchor, title, (prose("No trial has a reward yet, so there is no curve to show."),))
    blocks: list[Markup] = []
    for group in material.groups:
        if np.isfinite(numbers(group.trials, "reward")).any():
            if len(material.groups) > 1:
                blocks.append(heading(group.name))
            blocks += _of_group(group)
    return Section(anchor, title, tuple(blocks))


def _of_group(group: Group) -> list[Markup]:
    chances = [_chance(group, run) for run in group.runs]
    parts = [convergence(run.trials, chance) for run, chance in zip(group.runs, chances, strict=True)]
    curves = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    if curves.empty:
        return [prose("No trial says when it ended, so there is no course to show.")]
    shares = distribution(group.trials, by="run" if group.several else "arm")
    figures = [_convergence(group, curves), _distribution(group, shares)]
    said = [_said(group, run, curves, chance) for run, chance in zip(group.runs, chances, strict=True)]
    return [*map(prose, filter(None, said)), block("grid", figures)]


def _chance(group: Group, run: Run) -> pd.DataFrame | None:
    """Another run whose random draws are what chance would have found in this one's place, where it has none."""
    if len(group.runs) == 1 or draws_of(run.trials).rewards.size:
        return None
    trials = {other.name: other.trials for other in group.runs}
    found = random_run(run.name, trials, {other.name: other.configuration for other in group.runs})
    return None if found is None else trials[found]


def _said(group: Group, run: Run, curves: pd.DataFrame, chance: pd.DataFrame | None) -> str:
    """What a run's curve ends with, beside chance; nothing of a run without a reward."""
    own = curves[curves["run"] == run.name]
    if not own["best"].notna().any():
        return ""
    last, known = own.iloc[-1], own.dropna(subset=["chance"])
    who = f"{run.name}: after" if group.several else "After"
    text = f"{who} {plural(len(own), 'candidate')} the best reward is {decimal(last['best'])}"
    drawn = draws_of(run.trials, chance)
    if not len(known):
        return f"{text}. There is no curve of chance: {drawn.said}."
    low, high = last["chance_low"], last["chance_high"]
    if not np.isnan(low + high):
        text += f"; 95 of 100 random searches of as many have theirs from {decimal(low)} to {decimal(high)}"
    at = known.iloc[-1]  # the last of as many candidates as there are random draws
    that = (
        "That" if len(known) == len(own) else f"After {int(at['evaluated']):,} it was {decimal(at['best'])}, and that"
    )
    return f"{text}. {that} of as many random draws is expected to be {decimal(at['chance'])}, by {drawn.said}."


def _upright(curves: pd.DataFrame) -> Axis:
    """An axis for rewards, with the range of chance as far as it does not squeeze them."""
    rewards = curves["reward"].to_numpy(np.float64)
    found = axis_of("reward", rewards)
    most = float(np.nan_to_num(curves["chance_high"].max(), nan=-np.inf))
    high = min(most, float(np.nanmax(rewards)) + 0.4 * (found.high - found.low))
    return axis_of("reward", np.append(rewards, high)) if high > found.high else found


def _longest(group: Group, curves: pd.DataFrame) -> pd.DataFrame:
    """The curve of the run with most candidates."""
    return max((curves[curves["run"] == run.name] for run in group.runs), key=len)


def _convergence(group: Group, curves: pd.DataFrame) -> Markup:
    rewards, count = curves["reward"].to_numpy(np.float64), int(curves["evaluated"].max())
    plot = Plot(axis("candidates evaluated", 0.0, float(count), room=0.0), _upright(curves))
    several, longest = group.several, _longest(group, curves)
    layers: list[Markup] = []
    entries: list[tuple[str, str]] = []
    if not several:
        some = _some(len(curves), _MOST_DOTS)
        layers.append(plot.dots(curves["evaluated"].iloc[some], rewards[some], "cloud small-dots"))
        entries.append(("cloud", "a candidate"))
    if longest["chance"].notna().any():
        thin = longest.iloc[_some(len(longest), _MOST_POINTS)]
        layers.append(plot.band(thin["evaluated"], thin["chance_low"], thin["chance_high"], "chance"))
        layers.append(plot.line(thin["evaluated"], thin["chance"], "chance"))
        entries.append(("chance flat", "best of as many random draws, with 95 %"))
    for colour, run in zip(run_colours(group), group.runs, strict=True):
        css = colour if several else "ours"
        own = curves[curves["run"] == run.name]
        corners = _corners(own["best"].to_numpy(np.float64))
        if not len(corners):
            continue
        layers.append(plot.line(own["evaluated"].iloc[corners], own["best"].iloc[corners], css, step=True))
        entries.append((f"{css} flat", run.name if several else "best so far"))
    svg = plot.svg(layers, f"The best reward so far of {count:,} candidates")
    beyond = longest["chance_high"].max() > plot.y.high
    caption = "The range of chance goes on above the upper edge." if beyond else ""
    return block("figure", "The best so far", svg, caption, entries)


def _distribution(group: Group, shares: pd.DataFrame) -> Markup:
    by = "run" if group.several else "arm"
    plot = Plot(
        axis_of("reward", shares["reward"].to_numpy(np.float64)),
        axis("share with at most this reward", 0.0, 1.0, room=0.0),
    )
    runs = {run.name: (css, run.name) for css, run in zip(run_colours(group), group.runs, strict=True)}
    layers: list[Markup] = []
    entries: list[tuple[str, str]] = []
    for value, rows in shares.groupby(by, sort=False):
        css, text = (_ARMS if by == "arm" else runs).get(str(value), ("c7", str(value)))
        thin = rows.iloc[_some(len(rows), _MOST_POINTS)]
        layers.insert(0, plot.band(thin["reward"], thin["low"], thin["high"], css, step=True))
        layers.append(plot.line(thin["reward"], thin["share"], css, step=True))
        entries.append((f"{css} flat", text))
    caption = (
        "Bands hold the whole true curve with 95 % (Dvoretzky, Kiefer and Wolfowitz). What failed or was stopped early "
        "counts as below any reward."
    )
    return block(
        "figure", "How rewards are distributed", plot.svg(layers, "Empirical distribution of rewards"), caption, entries
    )


def _some(count: int, most: int) -> NDArray[np.int64]:
    """Positions, evenly spread, with the first and the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)) if count else np.arange(0)


def _corners(best: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where a curve that only grows grows, and its last place."""
    known = np.flatnonzero(np.isfinite(best))
    grown = known[np.diff(best[known], prepend=-np.inf) != 0]
    return np.union1d(grown, known[-1:]).astype(np.int64)
