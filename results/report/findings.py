"""Whether the best networks are as EfficientNetV2's search found them, and what else they have more often than all."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from results.analysis.enrichment import enrichment
from results.analysis.findings import findings
from results.report.blocks import Cell, Section, block, heading, prose
from results.report.choices import choice_names, spoken
from results.report.material import Group, Material
from results.report.wording import decimal, listed, missing, option_text, percent, plural, sort_key

TOP = 0.05
"""Share of the networks that findings and enrichment call the best."""

_VERDICTS = {"shown": "good", "opposite": "bad"}


def findings_section(material: Material) -> Section:
    """For each group of runs: which of the paper's findings its best networks show, and each option's enrichment."""
    blocks: list[Markup] = []
    for group in material.groups:
        if len(material.groups) > 1:
            blocks.append(heading(group.name))
        blocks += _findings(group)
    return Section("findings", "Is it V2-like?", tuple(blocks))


def _findings(group: Group) -> list[Markup]:
    table = findings(group.trials, group.space, top=TOP)
    lead = (
        "EfficientNetV2's paper names four traits of the networks its search found. Each is compared between the best "
        f"{percent(TOP)} by reward and all networks that were tried: above 1, the best have it more often. A "
        "controller that has learned a trait proposes little else; how common it is in the space shows that."
    )
    headers = [("finding", "wide"), ("beside all", ""), ("beside the space", ""), ("in the best", "number"),
               ("in all", "number"), ("in the space", "number"), ("enrichment", "number"), ("95 %", "quiet"),
               ("¼ to 4", "ratio")]  # fmt: skip
    records = table.to_dict("records")
    blocks = [prose(_answer(records)), prose(lead), block("table", headers, [_finding(row) for row in records])]
    return [*blocks, *_enrichment(group)]


def _answer(rows: list[dict[Any, Any]]) -> str:
    """How many of the findings the best networks show, and beside what."""
    best, networks = (max(int(row[name]) for row in rows) for name in ("top_networks", "networks"))
    asked = [row for row in rows if row["verdict"] != "not asked by this space"]
    if not asked:
        return "This space asks for none of the four findings."
    if not best:
        return "No network has a reward, so there is nothing to tell."
    shown = []
    for row in asked:
        beside = [what for what, name in (("all", "verdict"), ("the space", "space_verdict")) if row[name] == "shown"]
        shown += [f"{row['finding']} (beside {listed(beside)})"] if beside else []
    who = f"The best {best:,} of {plural(networks, 'network')} {'shows' if best == 1 else 'show'}"
    which = f": {'; '.join(shown)}" if shown else ""
    return f"{who} {len(shown) or 'none'} of the {len(asked)} findings that the space asks for{which}."


def _finding(row: dict[Any, Any]) -> list[object]:
    return [
        Markup("<strong>{}</strong><br>{}").format(row["finding"], row["statement"]),
        *(_verdict(str(row[c])) for c in ("verdict", "space_verdict")),
        *(percent(row[c]) for c in ("in_top", "in_all", "in_space")),
        decimal(row["enrichment"], 2),
        _between(row),
        _forest(row["enrichment"], row["low"], row["high"]),
    ]


def _verdict(text: str) -> Markup:
    return Markup('<span class="verdict {}">{}</span>').format(_VERDICTS.get(text, ""), text)


def _between(row: dict[Any, Any]) -> str:
    return (
        "" if missing(row["low"]) or missing(row["high"]) else f"{decimal(row['low'], 2)} to {decimal(row['high'], 2)}"
    )


def _forest(ratio: Any, low: Any, high: Any) -> Markup:
    """A ratio and its interval on a logarithmic line from 1/4 to 4; nothing where it is missing."""
    if missing(ratio):
        return Markup("")
    known = [v for v in (ratio, low, high) if not missing(v)]
    at = [50 + 50 * max(-1.0, min(1.0, math.log(max(float(v), 1e-9)) / math.log(4))) for v in known]
    whisker = f'<path class="whisker" d="M{min(at):.1f} 5H{max(at):.1f}"/>' if len(at) == 3 else ""
    return Markup(
        '<svg class="bar forest" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="one" d="M50 0V10"/>{whisker}<path class="dots solid ours" d="M{at[0]:.1f} 5h0"/></svg>'
    )


def _enrichment(group: Group) -> list[Markup]:
    table = enrichment(group.trials, choice_names(group.space), top=TOP)
    if table.empty:
        return []
    headers = [("choice", ""), ("option", ""), ("in the best", "number"), ("in all", "number"),
               ("enrichment", "number"), ("95 %", "quiet"), ("¼ to 4", "ratio")]  # fmt: skip
    rows = [
        [
            spoken(group.space, str(row["choice"])),
            option_text(row["option"]),
            Cell(percent(row["in_top"]), sort_key(row["in_top"])),
            Cell(percent(row["in_all"]), sort_key(row["in_all"])),
            Cell(decimal(row["ratio"], 2), sort_key(row["ratio"])),
            _between(row),
            _forest(row["ratio"], row["low"], row["high"]),
        ]
        for row in table.to_dict("records")
    ]
    return [block("fold", "Every option of every choice, in the best and in all", block("table", headers, rows, True))]
