"""Parallel coordinates: which options the best networks take, stage by stage, and what they then measure."""

from __future__ import annotations

import math
from itertools import groupby

import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from numpy.typing import NDArray

from results.pareto import MAXIMISED
from results.report.blocks import Section, block, prose
from results.report.front import axis_of
from results.report.material import Group, Material, networks_of, numbers
from results.report.wording import SHORT, option_text, value_of
from search_spaces import Choice, SearchSpace

_BEST, _OTHERS = 24, 200
"""Lines that are drawn: at most so many of the highest rewards, and so many of the rest."""

_TENTH = 10
"""One of so many networks is among the best, rounded up: where all are, none stands out."""

_WIDE = 78  # between the axes of what was measured
_SPACING, _TOP, _BOTTOM, _HEIGHT, _SIDE = 46, 62, 26, 440, 40
_LABEL = 24
"""Height of an option's label, which stands under its lines."""

_GAP = 4
"""Between the lines of an option and the label above."""


def paths_section(material: Material) -> Section:
    """A chart a group of runs."""
    title, anchor = "Paths through the space", "paths"
    if not len(material.networks):
        return Section(anchor, title, (prose("No trial has been completed."),))
    rows = {key: row for row, key in enumerate(_keys(material.shown_networks))}
    lead = (
        "Each line is a network: what was measured of it, then its option for every choice. The tenth of the highest "
        f"reward, at most {_BEST}, stands out from at most {_OTHERS} others, spread evenly over the rest. Higher is "
        "better on the first axes, and within an option. Point at a line to see its network, click an option to see "
        "who takes it."
    )
    blocks = [prose(lead)]
    for group in material.groups:
        chosen = _chosen(networks_of(group.trials), rows)
        if len(chosen):
            name = group.name if len(material.groups) > 1 else f"Space {group.space.name}"
            svg = _chart(group, chosen, [rows[key] for key in _keys(chosen)], material.objectives)
            legend = [("best", f"best {chosen['best'].sum()}"), ("cloud", "others")]
            blocks.append(block("figure", name, svg, "", legend, "wide"))
    return Section(anchor, title, tuple(blocks))


def _keys(networks: pd.DataFrame) -> list[tuple[str, int]]:
    return list(zip(networks["run"], networks["number"].astype(int), strict=True))


def _chosen(networks: pd.DataFrame, rows: dict[tuple[str, int], int]) -> pd.DataFrame:
    """The networks that get a line, those of the highest reward (`best`) last, so that they lie on top."""
    shown = networks[[key in rows for key in _keys(networks)]].dropna(subset=["reward"])
    ordered = shown.sort_values("reward", ascending=False, kind="stable")
    best = min(_BEST, math.ceil(len(ordered) / _TENTH))
    ordered = ordered.assign(best=np.arange(len(ordered)) < best)
    others = ordered.iloc[best:]
    every = max(1, len(others) / _OTHERS)  # evenly by rank, so that all of the range is there
    kept = others.iloc[np.unique((np.arange(0, len(others), every)).astype(int))] if len(others) else others
    return pd.concat([ordered.iloc[:best], kept]).iloc[::-1].reset_index(drop=True)


def _chart(group: Group, networks: pd.DataFrame, rows: list[int], objectives: tuple[str, ...]) -> Markup:
    choices = [c for c in group.space.choices if len(c.options) > 1]
    measured = [c for c in ("reward", *objectives) if np.isfinite(numbers(networks, c)).any()]
    begin = [_SIDE + n * _WIDE for n in range(len(measured))]  # what was measured comes first, and is seen on a phone
    across = [_SIDE + len(measured) * _WIDE + n * _SPACING for n in range(len(choices))]
    options = _options(group.space, networks)[:, [group.space.choices.index(c) for c in choices]]
    scales = [_scale(name, numbers(networks, name)) for name in measured]
    heights = [high for high, *_ in scales]
    heights += [_height_of_options(c, options[:, n], networks) for n, c in enumerate(choices)]
    width = (begin + across)[-1] + _SIDE
    parts = [
        f'<svg class="paths" viewBox="0 0 {width} {_HEIGHT}" style="--width:{width}px" role="group" '
        'aria-label="Parallel coordinates of the choices and what was measured">',
        _lines(networks, rows, options, np.column_stack(heights), begin + across),
        *(_option_axis(n, x, c, options[:, n]) for n, (x, c) in enumerate(zip(across, choices, strict=True))),
        *(_number_axis(begin[n], name, *scales[n][1:]) for n, name in enumerate(measured)),
        _stages(choices, across),
        "</svg>",
    ]
    return Markup("".join(parts))


def _options(space: SearchSpace, networks: pd.DataFrame) -> NDArray[np.int64]:
    """The option of each choice, shape (networks, choices); -1 where its stage is absent."""
    taken = [np.where(space.present(genes), genes, -1) for genes in (tuple(map(int, g)) for g in networks["genotype"])]
    return np.array(taken, dtype=np.int64)


def _places(choice: Choice, taken: NDArray[np.int64]) -> int:
    """How many places an axis has: its options, and one for a stage that is absent."""
    return len(choice.options) + int((taken < 0).any())


def _height_of_options(choice: Choice, taken: NDArray[np.int64], networks: pd.DataFrame) -> NDArray[np.float64]:
    places = _places(choice, taken)
    room = (_HEIGHT - _TOP - _BOTTOM) / places
    standing = np.where(taken < 0, 0, taken + places - len(choice.options))  # absent is the lowest
    rank = pd.Series(numbers(networks, "reward")).rank(pct=True).to_numpy()
    return _HEIGHT - _BOTTOM - room * standing - _LABEL - rank * (room - _LABEL - _GAP)


def _scale(column: str, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, float]:
    """Heights of values, the better the higher, and the values at the foot and at the head of the axis."""
    scale = axis_of(column, values, room=0.0)
    shares = scale.shares(values)
    foot, head = scale.low, scale.high
    if column not in MAXIMISED:
        shares, foot, head = 1 - shares, head, foot
    return _HEIGHT - _BOTTOM - shares * (_HEIGHT - _TOP - _BOTTOM), foot, head


def _lines(
    networks: pd.DataFrame,
    rows: list[int],
    options: NDArray[np.int64],
    heights: NDArray[np.float64],
    across: list[int],
) -> str:
    found = []
    for best, row, taken, line in zip(networks["best"], rows, options.tolist(), heights.tolist(), strict=True):
        css = "best" if best else "cloud"
        points = "L".join(f"{x} {y:.0f}" for x, y in zip(across, line, strict=True) if y == y)
        found.append(
            f'<path class="path {css}" data-row="{row}" data-options="{" ".join(map(str, taken))}" d="M{points}"/>'
        )
    return f'<g class="lines">{"".join(found)}</g>'


def _option_axis(number: int, x: int, choice: Choice, taken: NDArray[np.int64]) -> str:
    places = _places(choice, taken)
    room = (_HEIGHT - _TOP - _BOTTOM) / places
    absent = places - len(choice.options)
    parts = []
    for option in range(-absent, len(choice.options)):
        floor = _HEIGHT - _BOTTOM - room * (option + absent)
        text = "absent" if option < 0 else option_text(choice.label(option))[:7]
        parts.append(
            f'<g class="option" tabindex="0" role="button" data-axis="{number}" data-option="{option}" '
            f'aria-label="{escape(choice.name)}: {escape(text)}">'
            f'<path class="stem" d="M{x} {floor - room + _GAP:.0f}V{floor - _LABEL:.0f}"/>'
            f'<rect x="{x - 20}" y="{floor - _LABEL + 4:.0f}" width="40" height="17" rx="8.5"/>'
            f'<text x="{x}" y="{floor - _LABEL + 12.5:.1f}" dy=".35em" text-anchor="middle">{escape(text)}</text></g>'
        )
    title = choice.name.removeprefix(f"stage{choice.stage}_").replace("_ratio", "")
    parts.append(f'<text class="axis" x="{x}" y="{_TOP - 14}" text-anchor="middle">{escape(title[:8])}</text>')
    return "".join(parts)


def _number_axis(x: int, column: str, foot: float, head: float) -> str:
    name = SHORT.get(column, column)
    return (
        f'<g class="number"><path class="stem" d="M{x} {_TOP}V{_HEIGHT - _BOTTOM}"/>'
        f'<text class="axis" x="{x}" y="{_TOP - 30}" text-anchor="middle">{escape(name)}</text>'
        f'<text class="tick" x="{x}" y="{_TOP - 12}" text-anchor="middle">{escape(value_of(column, head))}</text>'
        f'<text class="tick" x="{x}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">'
        f"{escape(value_of(column, foot))}</text></g>"
    )


def _stages(choices: list[Choice], across: list[int]) -> str:
    """The stages' numbers above their axes."""
    parts, begin = [], 0
    for stage, some in groupby(choices, key=lambda choice: choice.stage):
        end = begin + len(list(some))
        left, right = across[begin] - 16, across[end - 1] + 16
        parts.append(f'<path class="stage" d="M{left} {_TOP - 32}H{right}"/>')
        middle = (left + right) / 2
        parts.append(f'<text class="axis" x="{middle:.0f}" y="{_TOP - 40}" text-anchor="middle">stage {stage}</text>')
        begin = end
    return "".join(parts)
