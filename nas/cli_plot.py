"""`nas plot`: figures of what runs found, for print."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from results.plots import Width


class Kind(StrEnum):
    """What is drawn."""

    pareto = "pareto"
    convergence = "convergence"
    importance = "importance"
    edf = "edf"
    drift = "drift"
    architecture = "architecture"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was asked for.

    Args:
        runs: folders.
        objectives: of a front; None for the first run's.
        trial: of an architecture; None for the best.
        target: of importance.
        width: of the figure.
    """

    runs: list[Path]
    objectives: list[str] | None
    trial: int | None
    target: str | None
    width: Width


def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders; pareto, convergence and edf draw several runs together."),
    ],
    kind: Annotated[
        Kind,
        typer.Option(
            help="pareto: the front. convergence: the best so far, beside chance. importance: which choices matter. "
            "edf: the distribution of rewards. drift: of the device's speed. architecture: a network's blocks."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Ends in .svg, .pdf or .png (300 dpi).")],
    double: Annotated[
        bool, typer.Option("--double", help="As wide as a page (6.75 inches), not as one of two columns (3.25).")
    ] = False,
    objectives: Annotated[
        str | None, typer.Option(help="Of pareto; the first is drawn against each other. Default: the first run's.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Of importance: the column that is explained. Default: reward.")
    ] = None,
    trial: Annotated[
        int | None, typer.Option(min=0, help="Of architecture: which trial. Default: the one of the highest reward.")
    ] = None,
) -> None:
    """Draw a figure for print: legible at its width, in colours that all eyes tell apart, text as text.

    The same run and versions give the same SVG and PNG, byte by byte.
    """
    for name, value, its in (
        ("--objectives", objectives, Kind.pareto),
        ("--target", target, Kind.importance),
        ("--trial", trial, Kind.architecture),
    ):
        if value is not None and kind is not its:
            raise ValueError(f"{name} goes with --kind {its.value}; got --kind {kind.value}")
    try:
        from results.plots import WIDTHS, checked_format, write_figure
    except ImportError as error:
        raise ValueError(str(error)) from error
    checked_format(out)
    draw, most = _DRAWN[kind]
    if len(runs) > most:
        count = "one run" if most == 1 else f"up to {most} runs"
        raise ValueError(f"--kind {kind.value} draws {count}; got {len(runs)}")
    width: Width = "double" if double else "column"
    wanted = _Wanted(runs, objectives.split(",") if objectives else None, trial, target, width)
    write_figure(draw(wanted), out)
    typer.echo(f"{out}: {kind.value}, {WIDTHS[width]:g} inches wide", err=True)


def _pareto(wanted: _Wanted) -> Figure:
    """Of several runs the front of each."""
    import numpy as np
    import pandas as pd

    from nas.cli_pareto import left_out_for_want, usual_objectives
    from results.networks import network_means
    from results.noise import noise_of
    from results.pareto import directions
    from results.pareto_table import front_table
    from results.plots import pareto_figure
    from results.several import minivals_of

    read = _read(wanted.runs)
    configurations = list(read.configurations.values())
    objectives, left_out = (
        (wanted.objectives, []) if wanted.objectives else usual_objectives(configurations[0], read.frame)
    )
    names, _ = directions(objectives)
    apart = {name: name for name in read.frames}
    noise = noise_of(read.frame, objectives, minivals_of(wanted.runs, configurations), alike=apart)
    networks = network_means(read.frame, names, alike=apart)
    for line in [*left_out, *left_out_for_want(networks, names)]:
        typer.echo(line, err=True)
    fronts = [
        front_table(part, objectives, most=1, noise=noise, rng=np.random.default_rng(0))
        for _, part in networks.groupby("run", sort=False)
    ]
    front = pd.concat([part for part in fronts if len(part)] or [networks])
    return pareto_figure(networks, front, objectives, noise=noise, width=wanted.width)


def _convergence(wanted: _Wanted) -> Figure:
    """Chance by the random draws of the longest run or, where it has none, of another that is like it."""
    from results.analysis import convergence, draws_of, random_run
    from results.plots import convergence_figure

    read = _read(wanted.runs)
    curves = convergence(read.frame)
    longest = max(read.frames, key=lambda name: int((curves["run"] == name).sum()))
    if not draws_of(read.frames[longest]).rewards.size:
        like = random_run(longest, read.frames, read.configurations)
        chance = None if like is None else read.frames[like]
        curves = convergence(read.frame, chance)
        typer.echo(f"{longest}: {draws_of(read.frames[longest], chance).said}", err=True)
    return convergence_figure(curves, width=wanted.width)


def _importance(wanted: _Wanted) -> Figure:
    from results.analysis import importance
    from results.plots import importance_figure
    from search_spaces import SearchSpace

    read = _read(wanted.runs)
    (configuration,) = read.configurations.values()
    space, target = SearchSpace.from_json(configuration["space"]), wanted.target or "reward"
    found = importance(read.frame, [choice.name for choice in space.choices], target=target)
    return importance_figure(found, target=target, width=wanted.width)


def _edf(wanted: _Wanted) -> Figure:
    """By arm or, of several runs, by run in the order in which they were named."""
    from results.analysis import distribution
    from results.plots import distribution_figure

    read = _read(wanted.runs)
    if len(read.frames) == 1:
        return distribution_figure(distribution(read.frame.drop(columns="run")), width=wanted.width)
    order = {name: place for place, name in enumerate(read.frames)}
    shares = distribution(read.frame, by="run").sort_values("run", key=lambda runs: runs.map(order), kind="stable")
    return distribution_figure(shares, width=wanted.width)


def _drift(wanted: _Wanted) -> Figure:
    from results.analysis import drift
    from results.plots import drift_figure

    return drift_figure(drift(_read(wanted.runs).frame.drop(columns="run")), width=wanted.width)


def _architecture(wanted: _Wanted) -> Figure:
    from nas.networks import find_network, shape_of
    from results.plots import architecture_figure

    (run,) = wanted.runs
    if not run.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no run in this folder", str(run))
    found = find_network(str(run), wanted.trial)
    size = 224 if found.image_sizes is None else found.image_sizes.eval
    return architecture_figure(found.architecture, size, **shape_of(found, None, None), width=wanted.width)


class _Read(NamedTuple):
    """Some runs: one table, and by their names each run's own and its configuration."""

    frame: pd.DataFrame
    frames: dict[str, pd.DataFrame]
    configurations: dict[str, dict[str, Any]]


def _read(runs: Sequence[Path]) -> _Read:
    """The runs; of several, what speaks against comparing them is told."""
    from nas.cli_compare import up_to_date
    from results.analysis import doubts
    from results.several import names_of, read_runs

    frame, each = read_runs(runs)
    frames = {name: frame[frame["run"] == name] for name in names_of(runs)}
    configurations = {name: up_to_date(one) for name, one in zip(frames, each, strict=True)}
    for doubt in doubts(frames, configurations):
        typer.echo(f"note: {doubt.said}", err=True)
    return _Read(frame, frames, configurations)


_ALONE, _TOGETHER = 1, 7
_DRAWN: dict[Kind, tuple[Callable[[_Wanted], Figure], int]] = {
    Kind.pareto: (_pareto, _TOGETHER),
    Kind.convergence: (_convergence, _TOGETHER),
    Kind.importance: (_importance, _ALONE),
    Kind.edf: (_edf, _TOGETHER),
    Kind.drift: (_drift, _ALONE),
    Kind.architecture: (_architecture, _ALONE),
}
"""Who draws what, and of how many runs at most: of more the colours would be the same."""
