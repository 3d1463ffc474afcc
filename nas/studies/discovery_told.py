"""What the discovery study tells: a table of its searches and last trainings, its claims and its figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nas.studies.discovery_analysis import ABLATED, PAPERS, REWARDS, SEARCHED, value_by
from nas.studies.study import Conditions, Results, Size, Told
from results.analysis.claims import Claim, Interval, difference_interval, mean_interval
from results.analysis.panels import Mark, Panel
from search_spaces import SPACES

LONGER = 10
"""How many times as long the last trainings are as those of the search."""


def told(conditions: Conditions, size: Size, results: Results) -> Told:
    """The findings under each reward, where the V2-like network stands, and the last trainings."""
    analysis = results["analysis"]
    rows = [_finding_row(f"random networks by {row['reward']}", row) for row in analysis["findings"]]
    rows += [_finding_row(f"{SEARCHED} against the space", row, of="space_") for row in analysis["searched"]]
    rows += [
        _moved_row(f"the best by {PAPERS} against by {by}", row) for by in ABLATED for row in analysis["ablation"][by]
    ]
    claims = [
        Claim(
            f"{row['finding']}: more often in the best {row['top_networks']} of {row['networks']} random networks",
            Interval(row["enrichment"], row["low"], row["high"], row["networks"]),
            "times",
            "found by its search",
        )
        for row in analysis["findings"]
        if row["reward"] == PAPERS and row["enrichment"] is not None
    ]
    claims += _ablation_claims(analysis["ablation"]["A"])
    brief, longer = (_of_networks(results, size["seeds"], name) for name in ("as-searched", "longer"))
    rows += [_share_row(name, brief[name], by, analysis["values"][by]) for by in REWARDS for name in brief]
    everyone = [*analysis["values"][PAPERS], *analysis["searched_values"]]
    rows += [_rank_row(name, brief[name], everyone) for name in brief]
    for of, which, each in (
        (f"{size['epochs']} epochs", "minival", brief),
        (f"{LONGER * size['epochs']} epochs", "test", longer),
    ):
        rows += [
            _row(f"{name}, {of}", f"{which} {quantity}" if quantity == "accuracy" else quantity,
                 mean_interval([one[quantity] for one in each[name]]))
            for name in each
            for quantity in ("accuracy", "step_time", "reward")
        ]  # fmt: skip
    claims += _last_claims(longer)
    claims += [
        Claim(
            f"A network that the controller asked for has a higher reward than one of {whose}",
            Interval(one["probability"], one["low"], one["high"], one["controller"]),
            "probability",
            "not told; its first version searched at random, a later one by RL or at random",
        )
        for whose, one in analysis["chance"].items()
    ]
    notes = [f"{name}: {each[0]['params']:,} params, {each[0]['macs']:,} macs: {each[0]['architecture']}"
             for name, each in longer.items()]  # fmt: skip
    panels = _panels(analysis, brief, longer)
    return Told(table=rows, claims=claims, panels=panels, changed=_changed(conditions, size), notes=notes)


def _ablation_claims(rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
    """What heeding step time and params buys, and what it costs."""
    of = {row["quantity"]: row for row in rows}
    best = f"The best random networks by {PAPERS}"

    def other_way(row: Mapping[str, Any], unit: str) -> Interval:
        if unit == "times":
            return Interval(1 / row["found"], 1 / row["high"], 1 / row["low"], row["n"])
        return Interval(-row["found"], -row["high"], -row["low"], row["n"])

    return [
        Claim(f"{best} train faster than the best by accuracy alone", other_way(of["step_time"], "times"),
              "times", "not told"),
        Claim(f"{best} have fewer params than the best by accuracy alone", other_way(of["params"], "times"),
              "times", "not told"),
        Claim(f"{best} are less accurate than the best by accuracy alone", other_way(of["accuracy"], "points"),
              "points", "not told"),
    ]  # fmt: skip


def _last_claims(longer: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Claim]:
    def of(network: str, quantity: str) -> list[float]:
        return [one[quantity] for one in longer[network]]

    slower = difference_interval(*([math.log(s) for s in of(name, "step_time")] for name in ("v1-like", "v2-like")))
    faster = Interval(math.exp(slower.mean), math.exp(slower.low), math.exp(slower.high), slower.n)
    return [
        Claim(
            "The V2-like network has a higher reward than the best of the search, trained for longer",
            difference_interval(of("v2-like", "reward"), of("best", "reward")),
            "difference",
            "it is the best of its search",
        ),
        Claim(
            "The V2-like network has a higher reward than the V1-like one, trained for longer",
            difference_interval(of("v2-like", "reward"), of("v1-like", "reward")),
            "difference",
            "V2-S is .2 points more accurate than V1-B5, trained in a sixth of the hours (Table 7)",
        ),
        Claim("The V2-like network trains faster than the V1-like one", faster, "times",
              "6 times, in hours of the whole training (V2-S and V1-B5, Table 7)"),
    ]  # fmt: skip


def _of_networks(results: Results, seeds: int, name: str) -> dict[str, list[Mapping[str, Any]]]:
    return {
        network: [results[f"{name}-{network}-{replicate}"] for replicate in range(1, seeds + 1)]
        for network in ("best", "v2-like", "v1-like")
    }


def _row(part: str, what: str, found: Interval, paper: str = "") -> dict[str, Any]:
    return {"part": part, "what": what, "here": found.mean, "low": found.low, "high": found.high, "n": found.n,
            "verdict": "", "paper": paper}  # fmt: skip


def _finding_row(part: str, row: Mapping[str, Any], of: str = "") -> dict[str, Any]:
    """A finding: how many times as often it holds in the top as in the whole, or in the space."""
    names = ("space_ratio", "space_low", "space_high") if of else ("enrichment", "low", "high")
    ratio, low, high = (math.nan if row[name] is None else row[name] for name in names)
    said = row[f"{of}verdict"]
    return {
        **_row(part, row["finding"], Interval(ratio, low, high, row["networks"]), "found"),
        "verdict": {"shown": "holds", "opposite": "the opposite holds"}.get(said, said),
    }


def _moved_row(part: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """What the best by one reward are over the best by another one."""
    mean, low, high = (math.nan if row[name] is None else float(row[name]) for name in ("found", "low", "high"))
    found = Interval(mean, low, high, row["n"])
    return _row(part, f"{row['quantity']} ({row['comparison']})", found, "not told")


def _share_row(name: str, each: Sequence[Mapping[str, Any]], by: str, values: Sequence[float]) -> dict[str, Any]:
    best = "the best of all" if (name, by) == ("v2-like", PAPERS) else ""
    return _row(f"{name} among {len(values)} random networks", f"share that it beats by {by}",
                _share_beaten(each, by, values), best)  # fmt: skip


def _share_beaten(each: Sequence[Mapping[str, Any]], by: str, values: Sequence[float]) -> Interval:
    """The share of the random networks that a network is above by a reward, each as it was trained once."""
    own = [value_by(one, **REWARDS[by]) for one in each]
    return _within(mean_interval([sum(value < mine for value in values) / len(values) for mine in own]), 0, 1)


def _rank_row(name: str, each: Sequence[Mapping[str, Any]], values: Sequence[float]) -> dict[str, Any]:
    """The place that a network has beside those of both searches: one more than are above it."""
    own = [value_by(one, **REWARDS[PAPERS]) for one in each]
    ranks = [1.0 + sum(value > mine for value in values) for mine in own]
    best = "1" if name == "v2-like" else ""
    found = _within(mean_interval(ranks), 1, len(values) + 1)
    return _row(f"{name} beside all {len(values)} networks", f"rank by {PAPERS}", found, best)


def _within(found: Interval, least: float, most: float) -> Interval:
    """An interval of what cannot be beyond these."""
    return found._replace(low=max(least, found.low), high=min(most, found.high))


def _panels(
    analysis: Mapping[str, Any],
    brief: Mapping[str, Sequence[Mapping[str, Any]]],
    longer: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[Panel]:
    panels = []
    for name in REWARDS:
        rows = [row for row in analysis["findings"] if row["reward"] == name and row["enrichment"] is not None]
        if rows:
            marks = [Mark(row["finding"], row["enrichment"], row["low"], row["high"]) for row in rows]
            panels.append(Panel(f"the best by {name}", "times as often as in all", marks, none=1.0))
    moved = [row for row in analysis["ablation"]["A"] if row["comparison"] == "times"]
    marks = [Mark(row["quantity"].replace("_", " "), row["found"], row["low"], row["high"]) for row in moved]
    panels.append(Panel("the best by the reward", "over the best by accuracy alone", marks, none=1.0, log=True))
    values = analysis["values"][PAPERS]
    marks = [Mark.of(name, _share_beaten(each, PAPERS, values), scale=100) for name, each in brief.items()]
    panels.append(Panel("trained as in the search", "random networks that it beats, %", marks, within=(0, 100)))
    for quantity, scale, axis in (
        ("accuracy", 100, "test accuracy, %"),
        ("step_time", 1, "step time over the backbone's"),
    ):
        marks = [Mark.of(n, mean_interval([one[quantity] for one in longer[n]]), scale=scale) for n in longer]
        panels.append(Panel("trained for longer", axis, marks, within=(0, 100) if scale == 100 else None))
    return panels


def _changed(conditions: Conditions, size: Size) -> list[str]:
    space = SPACES[size["space"]]
    return [
        f"pictures: {size['pictures'] - size['minival']:,} of {conditions.data} at {size['image_size']} px, and a "
        f"minival of {size['minival']:,}; the paper searched on ImageNet at a reduced size that it does not tell, with "
        "a minival of about 25,000",
        f"space: {space.name}, {space.size:,} networks; the paper's has networks of EfficientNet-B4's size, and does "
        "not tell how many layers a stage may have",
        f"{size['candidates']} candidates for each search, each trained for {size['epochs']} epochs by the project's "
        "brief recipe; in the paper up to 1,000 for about 10",
        f"step times are of {conditions.device}, over those of the space's backbone",
        "by accuracy, step time or params alone the same random networks are ranked anew; no search was made for it",
        f"the last trainings are of {size['seeds']} seeds, on one excerpt of the pictures and one split; their "
        f"accuracy is of {size['test_pictures']:,} test pictures, that of the brief ones is of the minival on which "
        "the best was chosen",
        "one run of each search; each claim is judged at 5 % by itself",
    ]
