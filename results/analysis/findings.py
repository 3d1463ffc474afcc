"""Whether the best networks of a run are as EfficientNetV2's search found them: its four findings, put to the test.

Source: arXiv 2104.00298, section 3.2 (what distinguishes the network that was found from EfficientNet) and Table 4.
There the findings are trends, told in a sentence each; what a network must be like to show one is defined here, so that
a quarter to a half of the random networks of the paper's space show it (of the last, a thirtieth).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.analysis.enrichment import enriched, evaluated, is_top, ratio_to
from search_spaces.space import Choice, SearchSpace

EARLY = 3
"""Stages 1 to 3 are the early ones: those that are fused in the paper's Table 4."""
_DRAWS = 2000
_COLUMNS = (
    *("in_top", "in_all", "enrichment", "low", "high", "verdict"),
    *("in_space", "space_ratio", "space_low", "space_high", "space_verdict", "top_networks", "networks"),
)
_NOT_ASKED, _NOTHING = "not asked by this space", "nothing to tell"
_FUSED, _SMALL, _KERNELS, _LAST = (
    "fused early, MBConv late",
    "small expansion ratios",
    "3x3 kernels with more layers",
    "no last stride-1 stage",
)

Floats = NDArray[np.float64]


class _Said(NamedTuple):
    """What is said of networks, and of which it holds."""

    finding: str
    statement: str
    holds: Floats | None  # 1 or 0 by network, NaN where it cannot be said of it; None where the space does not ask
    stage: int = 0
    choice: str = ""


def findings(frame: pd.DataFrame, space: SearchSpace, *, top: float = 0.05, seed: int = 0) -> pd.DataFrame:
    """Test the four findings of EfficientNetV2's search on the best networks of a run.

    A finding is asked by the choices that set its field and no other but squeeze-excite: where kernel and expansion
    only come together, neither can be told from the other. With the stages of the space, in its numbers:

    1. *fused early, MBConv late*: the share of fused stages is greater among stages 1 to 3 than among the later ones
       (of those that are there and may be either). Table 4 has stages 1 to 3 fused, the others MBConv.
    2. *small expansion ratios*: the mean over the MBConv stages of (expansion ratio less the mean of the options) is
       under 0. The paper compares with EfficientNet's 6; V2-S itself, with 4, 6 and 6 of {1, 4, 6}, is not under 0.
    3. *3x3 kernels with more layers*: over half of the stages that are there have kernel 3, and the layers of the
       stages that are always there are more than the mean of what the space offers them.
    4. *no last stride-1 stage*: the last stage of the space, which has stride 1, is left out.

    A statement that makes no sense of a network (no MBConv stage) leaves it out of its counts. What the whole and the
    top are, and what the interval holds for: see `evaluated` and `enriched` of `results.analysis.enrichment`.

    A controller that has learned a finding proposes little else, and then the top cannot have more of it than the
    whole. So the top is compared with random networks of the space as well, all distinct ones equally likely: that
    comparison counts what the controller has learned, but also what it was merely inclined to.

    Args:
        frame: a trial table, of one run or of several of one space with rewards that can be compared.
        space: what the networks were drawn from.
        top: the share of the networks that are the best.
        seed: of the random networks of `in_space`.

    Returns:
        a row a finding: finding, statement; in_top and in_all (shares of the networks for which it holds), enrichment
        (their ratio) with low and high (95 %), verdict (`shown`, `opposite`, `not told apart`, `nothing to tell`
        where it can be said of none of the top, or `not asked by this space`); in_space (the share of 2,000 random
        networks), space_ratio (in_top / in_space) with space_low and space_high, which are of both shares' intervals,
        space_verdict; top_networks and networks (of which it can be said).

    Raises:
        ValueError: the table lacks a choice of the space.
    """
    return _tested(frame, space, top, seed, _of_network)[["finding", "statement", *_COLUMNS]]


def findings_by_stage(frame: pd.DataFrame, space: SearchSpace, *, top: float = 0.05, seed: int = 0) -> pd.DataFrame:
    """Test what the four findings say of each stage, choice by choice.

    Args:
        frame: as for `findings`.
        space: as for `findings`.
        top: as for `findings`.
        seed: as for `findings`.

    Returns:
        a row a finding and a choice that asks for it: finding, stage, choice, statement, and the columns of `findings`.
        What no choice of the space asks for has no row.

    Raises:
        ValueError: the table lacks a choice of the space.
    """
    return _tested(frame, space, top, seed, _of_stages)[["finding", "stage", "choice", "statement", *_COLUMNS]]


def findings_of(networks: pd.DataFrame, space: SearchSpace) -> dict[str, Floats]:
    """For which networks each of the four findings holds that the space asks for.

    Args:
        networks: a row a network, with the choices of the space as columns.
        space: what they were drawn from.

    Returns:
        by finding: 1 or 0 by network, NaN where it cannot be said of it.
    """
    return {said.finding: said.holds for said in _of_network(space, networks) if said.holds is not None}


def _tested(
    frame: pd.DataFrame, space: SearchSpace, top: float, seed: int, said_of: Callable[..., Iterator[_Said]]
) -> pd.DataFrame:
    networks = evaluated(frame, [choice.name for choice in space.choices])
    best = is_top(networks["reward"], top)
    rng = np.random.default_rng(seed)
    chance = pd.DataFrame([space.labels(space.sample(rng)) for _ in range(_DRAWS)])
    rows = []
    for said, by_chance in zip(said_of(space, networks), said_of(space, chance), strict=True):
        row = {**said._asdict(), "verdict": _NOT_ASKED, "space_verdict": _NOT_ASKED, "top_networks": 0, "networks": 0}
        if said.holds is not None:
            found = enriched(said.holds, best)
            in_space = float(pd.Series(by_chance.holds).mean())
            ratios = _to_chance(by_chance.holds, said.holds[best & ~np.isnan(said.holds)])
            row |= found._asdict() | {"enrichment": found.ratio, "in_space": in_space}
            row |= {"verdict": _NOTHING, "space_verdict": _NOTHING}
            if found.top_networks:
                row |= {"verdict": _verdict(found.low, found.high), "space_verdict": _verdict(*ratios[1:])}
            row |= dict(zip(("space_ratio", "space_low", "space_high"), ratios, strict=True))
        rows.append(row)
    return pd.DataFrame(rows, columns=[*_Said._fields, *_COLUMNS])


def _to_chance(chance: Floats | None, top: Floats) -> tuple[float, float, float]:
    """As `ratio_to`, of a share that random networks tell: its interval widens the other, which is on the safe side."""
    from scipy.stats import binomtest

    said = np.array([]) if chance is None else chance[~np.isnan(chance)]
    if not len(said) or not said.any():
        return math.nan, math.nan, math.nan
    interval = binomtest(int(said.sum()), len(said)).proportion_ci(method="exact")
    (ratio, *_), (_, low, _), (*_, high) = (
        ratio_to(share, top) for share in (said.mean(), interval.high, interval.low)
    )
    return ratio, low, high


def _verdict(low: float, high: float) -> str:
    if low > 1:
        return "shown"
    return "opposite" if high < 1 else "not told apart"


def _of_network(space: SearchSpace, networks: pd.DataFrame) -> Iterator[_Said]:
    """The four findings, as statements on a whole network."""
    fused = {c.stage: _numbers(networks, c, _is_fused) for c in _asking_op(space)}
    early, late = [v for s, v in fused.items() if s <= EARLY], [v for s, v in fused.items() if s > EARLY]
    text = f"a greater share of stages 1 to {EARLY} is fused than of the later ones"
    yield _Said(_FUSED, text, _where(_mean(early) - _mean(late), above=0) if early and late else None)

    over = [_expansion(space, networks, c) for c in _asking_expansion(space)]
    text = "the expansion ratios of its MBConv stages are under the mean of the options, on average"
    yield _Said(_SMALL, text, _where(-_mean(over), above=0) if over else None)

    kernels = [_numbers(networks, c, lambda o: o["kernel"] == 3) for c in _asking_kernel(space)]
    layers = [_numbers(networks, c, lambda o: o["layers"]) - _mean_option(c, "layers") for c in _asking_layers(space)]
    text = "most stages have kernel 3, and the layers of the stages that stay are more than the mean of the options"
    both = [_where(_mean(kernels), above=0.5), _where(np.sum(layers, axis=0), above=0)] if kernels and layers else []
    yield _Said(_KERNELS, text, np.minimum(*both) if both else None)

    last = _dropping_last(space)
    text = f"stage {len(space.backbone.stages)}, the last one, is left out"
    yield _Said(_LAST, text, _numbers(networks, last, lambda o: o["layers"] == 0) if last else None)


def _of_stages(space: SearchSpace, networks: pd.DataFrame) -> Iterator[_Said]:
    """What the findings say of each stage."""
    for c in _asking_op(space):
        fused, early = _numbers(networks, c, _is_fused), c.stage <= EARLY
        text = f"stage {c.stage} is {'fused' if early else 'MBConv'}"
        yield _Said(_FUSED, text, fused if early else 1 - fused, c.stage, c.name)
    for c in _asking_expansion(space):
        text = (
            f"stage {c.stage}, where it is MBConv, has an expansion ratio under {_mean_option(c, 'expand_ratio'):.3g}"
        )
        yield _Said(_SMALL, text, _where(-_expansion(space, networks, c), above=0), c.stage, c.name)
    for c in _asking_kernel(space):
        holds = _numbers(networks, c, lambda o: o["kernel"] == 3)
        yield _Said(_KERNELS, f"stage {c.stage} has kernel 3", holds, c.stage, c.name)
    for c in _asking_layers(space):
        mean = _mean_option(c, "layers")
        holds = _where(_numbers(networks, c, lambda o: o["layers"]), above=mean)
        yield _Said(_KERNELS, f"stage {c.stage} has over {mean:.3g} layers", holds, c.stage, c.name)
    if last := _dropping_last(space):
        holds = _numbers(networks, last, lambda o: o["layers"] == 0)
        yield _Said(_LAST, f"stage {last.stage} is left out", holds, last.stage, last.name)


def _asking(space: SearchSpace, field: str) -> Iterator[Choice]:
    """The choices that set a field, with more than one value, and no other but squeeze-excite."""
    for choice in space.choices:
        alone = all(set(option) - {"se_ratio"} == {field} for option in choice.options)
        if alone and len({option[field] for option in choice.options}) > 1:
            yield choice


def _asking_op(space: SearchSpace) -> list[Choice]:
    return [c for c in _asking(space, "op") if {"mbconv", "fused_mbconv"} <= {o["op"] for o in c.options}]


def _asking_expansion(space: SearchSpace) -> list[Choice]:
    return [c for c in _asking(space, "expand_ratio") if "mbconv" in _ops(space, c.stage)]


def _asking_kernel(space: SearchSpace) -> list[Choice]:
    return [c for c in _asking(space, "kernel") if min(o["kernel"] for o in c.options) == 3]


def _asking_layers(space: SearchSpace) -> list[Choice]:
    """Of the stages that are always there."""
    return [c for c in _asking(space, "layers") if all(o["layers"] for o in c.options)]


def _dropping_last(space: SearchSpace) -> Choice | None:
    """The choice that may leave out the last stage, where that has stride 1."""
    number, stage = len(space.backbone.stages), space.backbone.stages[-1]
    strided = any("stride" in option for c in space.choices if c.stage == number for option in c.options)
    found = [c for c in _asking(space, "layers") if c.stage == number and any(o["layers"] == 0 for o in c.options)]
    return found[0] if found and stage.stride == 1 and not strided else None


def _ops(space: SearchSpace, stage: int) -> set[str]:
    """What a stage may be."""
    fixed = space.backbone.stages[stage - 1].op
    setting = [c for c in space.choices if c.stage == stage and any("op" in o for o in c.options)]
    return {o.get("op", fixed) for c in setting for o in c.options} or {fixed}


def _expansion(space: SearchSpace, networks: pd.DataFrame, choice: Choice) -> Floats:
    """Of each network's stage, how far the expansion ratio is over the mean of the options; NaN unless it is MBConv."""
    over = _numbers(networks, choice, lambda o: o["expand_ratio"]) - _mean_option(choice, "expand_ratio")
    fixed = space.backbone.stages[choice.stage - 1].op
    for other in space.choices:
        if other.stage == choice.stage and any("op" in option for option in other.options):
            mbconv = _numbers(networks, other, lambda o: o.get("op", fixed) == "mbconv")
            return np.where(mbconv == 1, over, math.nan)
    return over


def _is_fused(option: Mapping[str, Any]) -> bool:
    return bool(option["op"] == "fused_mbconv")


def _mean_option(choice: Choice, field: str) -> float:
    return fmean(option[field] for option in choice.options)


def _numbers(networks: pd.DataFrame, choice: Choice, of: Callable[[Mapping[str, Any]], float]) -> Floats:
    """Of each network, a number of the option that it took; NaN where the choice does not matter."""
    by_label = {choice.label(i): float(of(option)) for i, option in enumerate(choice.options)}
    return networks[choice.name].map(by_label).to_numpy(np.float64, na_value=np.nan)


def _mean(columns: Sequence[Floats]) -> Floats:
    """Of each network, the mean of the numbers that it has; NaN where it has none."""
    together = np.array(columns)
    said = (~np.isnan(together)).sum(axis=0)
    return np.where(said > 0, np.nansum(together, axis=0) / np.maximum(said, 1), math.nan)


def _where(numbers: Floats, *, above: float) -> Floats:
    """1 and 0; NaN stays. Means of options are not exact, so what is next to the border is on it."""
    return np.where(np.isnan(numbers), math.nan, numbers > above + 1e-9)
