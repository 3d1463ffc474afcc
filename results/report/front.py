"""The front: which networks nothing beats in every objective, among all that were trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from results.networks import network_means
from results.noise import noise_of
from results.pareto import MAXIMISED, non_dominated
from results.pareto_table import front_table
from results.report.blocks import Cell, Section, block, heading, prose
from results.report.material import Group, Material, numbers
from results.report.plot import Axis, Plot, axis
from results.report.wording import NAMES, SHORT, count, decimal, listed, percent, plural, sort_key, value_of

RUN_COLOURS = 8
"""Classes of colours that the style has for runs; more begin anew."""

_LOG_FROM = 5.0
"""An axis is logarithmic where the greatest value is so many times the least."""


def front_of_group(
    group: Group, networks: pd.DataFrame, objectives: Sequence[str], rng: np.random.Generator
) -> tuple[pd.DataFrame, list[str]]:
    """What nothing dominates in a group of runs.

    Args:
        group: the runs.
        networks: of all runs, as `material.networks_of`.
        objectives: columns of the table.
        rng: draws what the noise may have hidden.

    Returns:
        a row a network of the front: its position in `networks`, its membership (NaN where no noise is known) and
        whether it is the knee; and where the noise is known from.
    """
    where = group.among(networks)
    if not any(np.isfinite(numbers(networks.iloc[where], name)).any() for name in objectives):
        return pd.DataFrame(
            {"position": np.zeros(0, np.int64), "membership": np.zeros(0), "knee": np.zeros(0, bool)}
        ), []
    minival = {run.name: run.identity.get("task", {}).get("pictures", {}).get("minival") for run in group.runs}
    noise = noise_of(group.trials, objectives, minival)
    means = network_means(group.trials)  # the same, by the trials' index, as the noise is
    table = front_table(means, objectives, most=1, noise=noise, rng=rng)
    known = table["membership"] if noise.said else np.nan
    return pd.DataFrame(
        {"position": where[means.index.get_indexer(table.index)], "membership": known, "knee": table["knee"].to_numpy()}
    ), noise.said


def front_section(material: Material) -> Section:
    """For each group of runs the charts of accuracy against each cost, and the front as a table."""
    if not len(material.networks):
        return Section("front", "The front", (prose("No trial has been completed, so there is no front."),))
    blocks = _thinned(material)
    for group, noise in zip(material.groups, material.noise, strict=True):
        where = group.among(material.networks)
        if len(where):
            if len(material.groups) > 1:
                blocks.append(heading(group.name))
            blocks += _of_group(_part(material, group, where), noise)
    return Section("front", "The front", tuple(blocks))


def _part(material: Material, group: Group, where: NDArray[np.int64]) -> _Part:
    return _Part(material, group, where, material.front[material.front["position"].isin(where)])


def _of_group(part: _Part, noise: Sequence[str]) -> list[Markup]:
    material, group, where, front = part.material, part.group, part.where, part.front
    objectives = material.objectives
    costs = objectives[1:] or tuple(c for c in ("params",) if c in material.networks and c != objectives[0])
    title = f"{SHORT.get(objectives[0], objectives[0])} against {{}}"
    entries = [(css, run.name) for css, run in zip(run_colours(group), group.runs, strict=True)]
    legend = [*(entries if group.several else [("cloud", "trained")]), ("front", "on the front")]
    figures = [
        block("figure", title.format(SHORT.get(c, c)).capitalize(), _chart(part, objectives[0], c), "", legend)
        for c in costs
    ]
    names = [SHORT.get(name, name) for name in objectives]
    text = (
        f"{plural(len(front), 'network')} of {len(where):,} {'is' if len(front) == 1 else 'are'} on the front: no "
        f"other is at least as good in {listed(names)}, and better in one. The line joins those that nothing beats in "
        "the two that a chart shows. Point at a network for its stages; click it to copy its text."
    )
    blocks = [prose(text)]
    if front["membership"].notna().any():
        sure = int((front["membership"] >= 0.5).sum())
        blocks.append(
            prose(
                f"What was measured is noisy: {'; '.join(map(_spelt, noise))}. Given that, {sure:,} of them "
                f"{'is' if sure == 1 else 'are'} on the front with a probability of a half or more; the fainter a "
                "ring, the less sure."
            )
        )
    folded = block("fold", f"The {plural(len(front), 'network')} of the front as a table", _table(part))
    return [*blocks, block("grid", figures), folded]


def _spelt(noise: str) -> str:
    """Where a column's noise comes from, which begins with its name, with the column as people call it."""
    name, _, rest = noise.partition(" ")
    return f"{SHORT.get(name, name)} {rest}"


@dataclass(frozen=True)
class _Part:
    """A group of runs with its part of the networks and of the front."""

    material: Material
    group: Group
    where: NDArray[np.int64]
    front: pd.DataFrame


def run_colours(group: Group) -> list[str]:
    """A class of colour for each run of a group."""
    return [f"c{n % RUN_COLOURS}" for n in range(len(group.runs))]


def _thinned(material: Material) -> list[Markup]:
    left = len(material.networks) - len(material.shown)
    if not left:
        return []
    return [
        prose(
            f"To keep this page small, charts show {len(material.shown):,} of the {len(material.networks):,} networks "
            "one by one: the front, the best by reward, and a random sample of the others. Every number and every "
            "curve is of all of them.",
            "aside",
        )
    ]


def axis_of(column: str, values: NDArray[np.float64], *, room: float = 0.04) -> Axis:
    """An axis for a column: logarithmic where it spans much; without the worst few where they would squeeze the rest.

    What lies beyond stands at the edge.
    """
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    label = NAMES.get(column, column)
    if column in MAXIMISED:
        cut = float(np.quantile(known, 0.03)) if len(known) else low
        if high - cut < 0.6 * (high - low):
            low, label = cut, f"{label} (the lowest 3 % at the edge)"
        return axis(label, low, high, room=room)
    wide = low > 0 and high > _LOG_FROM * low
    return axis(label, low, high, log=wide, room=room)


def _chart(part: _Part, upright: str, across: str) -> Markup:
    material, networks, where = part.material, part.material.networks, part.where
    x, y = numbers(networks, across), numbers(networks, upright)
    plot = Plot(axis_of(across, x[where]), axis_of(upright, y[where]))
    layers = []
    front = part.front.iloc[np.argsort(x[part.front["position"]], kind="stable")]
    members = front["position"].to_numpy(np.int64)
    apart = np.setdiff1d(np.intersect1d(material.shown, where), members)
    colours = _colours(part)
    for css in dict.fromkeys(colours.tolist()):
        some = apart[colours[apart] == css]
        layers.append(plot.dots(x[some], y[some], css, material.rows_shown(some)))
    flat = where[non_dominated(np.column_stack([x, y])[where], [across in MAXIMISED, upright in MAXIMISED])]
    order = flat[np.argsort(x[flat], kind="stable")]
    layers.append(plot.line(x[order], y[order], "front", step=True))
    texts = [_spoken(networks.iloc[n], material) for n in members]
    sure = front["membership"].fillna(1.0).to_numpy(np.float64)
    layers.append(plot.rings(x[members], y[members], sure, texts, material.rows_shown(members)))
    for position in front.loc[front["knee"], "position"]:
        layers.append(plot.note(x[position], y[position], "knee", "front"))
    title = f"{NAMES.get(upright, upright)} against {NAMES.get(across, across)} of {len(where):,} networks"
    return plot.svg(layers, title, css="points", reachable=True)


def _colours(part: _Part) -> NDArray[np.str_]:
    """The class of each network's dot: its run's where there are several."""
    networks, group = part.material.networks, part.group
    if not group.several:
        return np.full(len(networks), "cloud")
    names = dict(zip((run.name for run in group.runs), run_colours(group), strict=True))
    return np.asarray(networks["run"].map(names).fillna("").to_numpy(str))


def _spoken(network: pd.Series, material: Material) -> str:
    values = ", ".join(f"{SHORT.get(c, c)} {value_of(c, network[c])}" for c in material.objectives)
    of = f" of {network['run']}" if material.several else ""
    return f"trial {network['number']}{of}: {values}"


def _table(part: _Part) -> Markup:
    material = part.material
    names = [SHORT.get(c, c) for c in material.objectives]
    headers = [("trial", "number"), *(((n, "number")) for n in names), ("on the front, given the noise", "number"),
               ("reward", "number"), ("", "")]  # fmt: skip
    if part.group.several:
        headers.insert(0, ("run", ""))
    rows = []
    for front in part.front.to_dict("records"):
        network = material.networks.iloc[front["position"]]
        sure = front["membership"]
        row = [
            Cell(count(network["number"]), int(network["number"])),
            *(Cell(value_of(c, network[c]), sort_key(network[c])) for c in material.objectives),
            Cell(percent(sure), sort_key(sure)),
            Cell(decimal(network["reward"]), sort_key(network["reward"])),
            block("copy", network["architecture"], "copy text"),
        ]
        rows.append([network["run"], *row] if part.group.several else row)
    return block("table", headers, rows, True)
