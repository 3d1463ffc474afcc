"""Which choices matter: the importance of each choice of each stage, and what each option does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from results.analysis.importance import Importance, importance
from results.report.blocks import Cell, Section, block, heading, prose
from results.report.material import Group, Material
from results.report.plot import Axis, Plot, axis
from results.report.wording import MISSING, decimal, missing, option_text, percent, sort_key
from search_spaces import Choice, SearchSpace

_EFFECTS, _TABLE, _PAIRS = 12, 10, 5
_MOST_LABELS = 6  # of options under a small chart
_MOST_KINDS = 8  # columns of the overview
_WIDE = 0.5  # of the interval of the largest share
_WEAK, _FAIR = 0.25, 0.6  # R² below which a fit says little, and above which it says much


def choices_section(material: Material) -> Section:
    """For each group of runs: an overview, the choices that matter most, and what their options do."""
    blocks: list[Markup] = []
    for group in material.groups:
        if len(material.groups) > 1:
            blocks.append(heading(group.name))
        blocks += _of_group(group, importance(group.trials, choice_names(group.space)))
    return Section("choices", "Which choices matter", tuple(blocks))


def choice_names(space: SearchSpace) -> list[str]:
    """The choices of a space that leave something to choose."""
    return [choice.name for choice in space.choices if len(choice.options) > 1]


def _of_group(group: Group, found: Importance) -> list[Markup]:
    if not found.fitted:
        return [prose(f"{found.verdict[:1].upper()}{found.verdict[1:]}.")]
    shares = {str(row["choice"]): row for row in found.table.to_dict("records")}
    blocks = [prose(_quality(found)), *_overview(group.space, shares)]
    blocks.append(heading("The choices that matter most"))
    blocks.append(_ranking(group.space, found))
    if len(found.pairs):
        blocks.append(prose(_pairs(group.space, found), "aside"))
    return [*blocks, *_effects(group.space, found)]


def _quality(found: Importance) -> str:
    if found.r2_low <= 0:
        worth = "That is no better than their mean: believe none of the shares below."
    elif found.r2 >= _FAIR:
        worth = "It knows much of what makes a reward, so the shares below can be taken seriously."
    elif found.r2 >= _WEAK:
        worth = "It knows part of what makes a reward: trust the large shares below, and not the order of the small."
    else:
        worth = "It knows little of what makes a reward, so the shares below say little too."
    top = found.table.iloc[0]
    if found.r2_low > 0 and float(top["high"] - top["low"]) > _WIDE:
        worth += " Their intervals are wide: the trials hold too little of some options to tell the shares apart well."
    fitted = f" ({found.fitted:,} of them drawn to fit it)" if found.fitted < found.networks else ""
    return (
        f"A random forest learned the reward of {found.networks:,} networks{fitted} from their choices. Of networks "
        f"that it has not seen it explains R² = {decimal(found.r2, 2)} of the variance (95 % interval "
        f"{decimal(found.r2_low, 2)} to {decimal(found.r2_high, 2)}). {worth} A share is what a choice explains alone "
        "of the forest's variance over the whole space (functional ANOVA)."
    )


def _overview(space: SearchSpace, shares: dict[str, dict[Any, Any]]) -> list[Markup]:
    """Stages by kinds of choices, each cell as dark as its share; nothing where the choices are of too many kinds."""
    kinds: dict[str, None] = {}
    cells: dict[tuple[int, str], Choice] = {}
    for choice in space.choices:
        kind = _kind(choice)
        kinds[kind] = None
        cells[choice.stage, kind] = choice
    if len(kinds) > _MOST_KINDS:
        return []
    most = max((float(row["share"]) for row in shares.values() if not missing(row["share"])), default=0.0) or 1.0
    rows = []
    for stage in sorted({choice.stage for choice in space.choices}):
        row: list[object] = [f"stage {stage}"]
        for kind in kinds:
            found = shares.get(cells[stage, kind].name) if (stage, kind) in cells else None
            row.append("" if found is None or missing(found["share"]) else _heat(float(found["share"]), most))
        rows.append(row)
    headers = [("", ""), *((kind, "") for kind in kinds)]
    return [block("table", headers, rows, False, "heat")]


def _heat(share: float, most: float) -> Markup:
    text = percent(share, 1) if share >= 0.0005 else "0"
    return Markup('<i style="--share:{}">{}</i>').format(f"{0.6 * max(share, 0.0) / most:.3f}", text)


def _kind(choice: Choice) -> str:
    return choice.name.removeprefix(f"stage{choice.stage}_").replace("_", " ")


def spoken(space: SearchSpace, name: str) -> str:
    """`stage3_kernel` as people say it."""
    choice = next((c for c in space.choices if c.name == name), None)
    if choice is None or not choice.name.startswith(f"stage{choice.stage}_"):
        return name
    return f"stage {choice.stage}, {_kind(choice)}"


def _ranking(space: SearchSpace, found: Importance) -> Markup:
    headers = [("choice", ""), ("share of variance", "number"), ("95 %", "quiet"), ("", "bars"),
               ("R² lost when shuffled", "number"), ("95 %", "quiet")]  # fmt: skip
    rows = [
        [
            spoken(space, str(row["choice"])),
            Cell(percent(row["share"], 1), sort_key(row["share"])),
            _ends(percent(row["low"], 1), percent(row["high"], 1)),
            Markup("")
            if missing(row["share"])
            else block("bar", *(min(1.0, max(0.0, float(row[c]))) for c in ("share", "low", "high"))),
            Cell(decimal(row["permutation"], 3), sort_key(row["permutation"])),
            _ends(decimal(row["permutation_low"], 3), decimal(row["permutation_high"], 3)),
        ]
        for row in found.table.to_dict("records")
    ]
    first, rest = rows[:_TABLE], rows[_TABLE:]
    table = block("table", headers, first, True)
    return (
        table + block("fold", f"The other {len(rest)} choices", block("table", headers, rest, True)) if rest else table
    )


def _ends(low: str, high: str) -> str:
    return "" if MISSING in (low, high) else f"{low} to {high}"


def _pairs(space: SearchSpace, found: Importance) -> str:
    some = found.pairs.head(_PAIRS).to_dict("records")
    told = "; ".join(
        f"{' and '.join(spoken(space, str(pair[c])).replace(',', '') for c in ('choice', 'other'))} "
        f"({percent(pair['share'], 1)})"
        for pair in some
    )
    return f"The strongest pairs, with what the two explain together beyond what each explains alone: {told}."


def _effects(space: SearchSpace, found: Importance) -> list[Markup]:
    effects = found.effects
    known = effects[["low", "high"]].to_numpy(np.float64)
    if not np.isfinite(known).any():
        return []
    upright = axis("", float(np.nanmin(known)), float(np.nanmax(known)))
    order = [str(name) for name in found.table.dropna(subset=["share"])["choice"]]
    charts = [_effect(spoken(space, name), effects[effects["choice"] == name], upright) for name in order]
    blocks = [
        heading("What each option does"),
        prose(
            "The mean prediction with the option, less the mean over the whole space, in units of reward, with its "
            "95 % interval. All of these charts have one scale."
        ),
        block("grid", charts[:_EFFECTS], "small"),
    ]
    if charts[_EFFECTS:]:
        blocks.append(
            block("fold", f"The other {len(charts) - _EFFECTS} choices", block("grid", charts[_EFFECTS:], "small"))
        )
    return blocks


def _effect(name: str, rows: pd.DataFrame, upright: Axis) -> Markup:
    places = np.arange(len(rows), dtype=np.float64)
    every = -(-len(rows) // _MOST_LABELS)
    texts = tuple((float(n), option_text(o)) for n, o in enumerate(rows["option"]) if n % every == 0)
    plot = Plot(
        Axis("", -0.6, len(rows) - 0.4, texts), upright, width=190, height=130, left=54, bottom=24, top=6, right=4
    )
    values = [rows[c].to_numpy(np.float64) for c in ("effect", "low", "high")]
    layers = [
        plot.rule(0.0),
        plot.whiskers(places, values[1], values[2], "ours"),
        plot.dots(places, values[0], "ours solid"),
    ]
    told = ", ".join(
        f"{option_text(o)} {decimal(e, 3)} ({int(n):,} networks)"
        for o, e, n in zip(rows["option"], rows["effect"], rows["count"], strict=True)
    )
    return block("figure", name, plot.svg(layers, f"{name}: {told}", css="tiny"), "", ())
