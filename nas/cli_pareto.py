"""`nas pareto`: which networks of some runs no other beats, how good they are together, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import options
from nas.cli_trials import corrected
from nas.show import Format, print_frame

if TYPE_CHECKING:
    import pandas as pd

    from results.noise import Noise
    from results.pareto_table import Limits


def pareto(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    objectives: Annotated[
        str | None,
        typer.Option(
            help="Columns of the trial table; of accuracy and reward more is better, of others less, unless max: or "
            "min: stands before, as in accuracy,max:snip. Default: the first run's."
        ),
    ] = None,
    ranks: Annotated[
        int, typer.Option(min=1, help="So many fronts: the second is that of the networks left without the first, ...")
    ] = 1,
    reference: Annotated[
        str | None,
        typer.Option(
            help="What hypervolume is told against, as in accuracy=0,step_time=2,params=5e6. Default: the search's "
            "own, an accuracy of 0 and twice the anchor's costs; of other columns the worst of the networks."
        ),
    ] = None,
    max_step_time: Annotated[float | None, typer.Option(help="Only networks with this step time or less.")] = None,
    max_params: Annotated[float | None, typer.Option(help="Only networks with so many parameters or fewer.")] = None,
    max_macs: Annotated[float | None, typer.Option(help="Only networks with so many multiply-adds or fewer.")] = None,
    max_latency: Annotated[float | None, typer.Option(help="Only networks with this latency or less.")] = None,
    min_accuracy: Annotated[float | None, typer.Option(help="Only networks with this accuracy or more.")] = None,
    correction: options.CorrectionOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """List the networks of one run or several that no other beats in every objective.

    Of a network that was trained several times, also in several runs, these are the means. With the rank, the crowding
    distance, the knee of the front, and the probability (membership) that nothing beats a network, given how noisy
    accuracy and step time are. Below, on stderr with json and csv: the hypervolume, and the best within the limits.
    """
    import numpy as np

    from results.networks import network_means
    from results.noise import noise_of
    from results.pareto import directions
    from results.pareto_table import front_table, within
    from results.several import minivals_of, names_of, read_runs

    frame, configurations = read_runs(runs)
    for line in _unlike(runs, configurations):
        typer.echo(line, err=True)
    frame = corrected(frame, configurations, correction)
    wanted, left_out = (objectives.split(","), []) if objectives else usual_objectives(configurations[0], frame)
    names, _ = directions(wanted)
    against = _parse_reference(reference, names) if reference else _usual_reference(configurations[0], wanted)
    alike = _alike(names_of(runs), configurations)
    limits = {
        "step_time": (None, max_step_time),
        "params": (None, max_params),
        "macs": (None, max_macs),
        "latency": (None, max_latency),
        "accuracy": (min_accuracy, None),
    }
    limits = {name: limit for name, limit in limits.items() if limit != (None, None)}
    minivals = minivals_of(runs, configurations)
    noise = noise_of(frame, wanted, minivals, alike=alike)
    networks = network_means(frame, names, alike=alike)
    inside = within(networks, limits)
    table = front_table(inside, wanted, most=ranks, noise=noise, rng=np.random.default_rng(0))
    print_frame(table, format, columns=_columns(table, names, several=len(runs) > 1, ranked=ranks > 1))
    front = table[table["rank"] == 1]
    lines = [
        *left_out,
        *_counted(networks, inside, front, names, limits),
        *_volume(front, networks, wanted, against),
        *_picked(front, wanted, limits, several=len(runs) > 1),
        *_sure(front, limits, noise_of(frame, list(limits), minivals, alike=alike) if limits else noise),
    ]
    if noise.said and len(front):
        lines.append("membership by the noise of " + "; ".join(noise.said))
    for line in lines:
        typer.echo(line, err=format is not Format.table)


def _alike(names: Sequence[str], configurations: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """By the run's name, its kind: runs of one kind measured alike; one that does not say is of a kind of its own."""
    from nas.identity import measured_by

    found = [measured_by(configuration) for configuration in configurations]
    return {name: place if found[place] is None else found.index(found[place]) for place, name in enumerate(names)}


def _counted(
    networks: pd.DataFrame, inside: pd.DataFrame, front: pd.DataFrame, names: Sequence[str], limits: Limits
) -> Iterator[str]:
    """How many networks there are, were left out and are on the front."""
    if not len(inside):
        yield f"no network is {_in_words(limits)}: the front is empty" if len(networks) else "no trial is complete yet"
        return
    if limits:
        yield f"{len(inside):,} of {len(networks):,} networks are {_in_words(limits)}"
    yield from left_out_for_want(inside, names)
    yield f"{len(front):,} of {len(inside):,} networks are beaten by none in {', '.join(names)}"
    again = int((front["trainings"] > 1).sum())
    if again:
        yield f"{again:,} of these were trained more than once: what stands there are the means"


def left_out_for_want(networks: pd.DataFrame, names: Sequence[str]) -> Iterator[str]:
    """How many networks are no part of a front, since an objective was not measured."""
    for name in names:
        if count := int(networks[name].isna().sum()):
            yield f"left out for want of {name}: {count:,}"


def _volume(
    front: pd.DataFrame, networks: pd.DataFrame, objectives: Sequence[str], reference: Mapping[str, float]
) -> Iterator[str]:
    """The hypervolume of a front in two or three objectives, and against what; a value not given is the worst there is.

    With the usual objectives also its share of all that lies between the reference and an accuracy of 1 at no cost.
    """
    import numpy as np

    from nas.problem import OBJECTIVES
    from results.pareto import MAXIMISED, directions, hypervolume_of, points_of

    names, maximise = directions(objectives)
    if not len(front) or len(names) not in (2, 3):
        return
    signs = np.where(maximise, -1.0, 1.0)
    worst = dict(zip(names, np.nanmax(points_of(networks, names) * signs, axis=0) * signs, strict=True))
    corner = [float(reference.get(name, worst[name])) for name in names]
    volume = hypervolume_of(points_of(front, names), corner, maximise)
    against = ", ".join(f"{name} {_number(value)}" for name, value in zip(names, corner, strict=True))
    rest = [name for name in names if name not in reference]
    came = f" ({' and '.join(rest)}: the worst of the networks)" if rest else ""
    room = math.prod(1 - value if name == "accuracy" else value for name, value in zip(names, corner, strict=True))
    usual = all(name in OBJECTIVES and most == (name in MAXIMISED) for name, most in zip(names, maximise, strict=True))
    share = f"{volume / room:.4f} of 1, " if usual and room > 0 else ""
    yield f"hypervolume {share}{volume:.6g} against {against}{came}"


def _picked(front: pd.DataFrame, objectives: Sequence[str], limits: Limits, *, several: bool) -> Iterator[str]:
    """The knee, and the best in the first objective within the limits."""
    picks = [("knee", front[front["knee"]])]
    if limits:
        picks.append((f"the best {objectives[0].rpartition(':')[2]} {_in_words(limits)}", front.iloc[:1]))
    for title, rows in picks:
        for _, row in rows.iterrows():
            place = f" of {row['run']}" if several else ""
            values = ", ".join(f"{name} {_number(row[name])}" for name in (o.rpartition(":")[2] for o in objectives))
            yield f"{title}: trial {row['number']}{place}, {values}, membership {row['membership']:.2f}"


def _sure(front: pd.DataFrame, limits: Limits, noise: Noise) -> Iterator[str]:
    """How likely the best within the limits is within them, where they are not known exactly."""
    from results.pareto_table import chance_within

    if limits and len(front) and (noise.deviation.loc[front.index[0]] > 0).any():
        yield f"that it is {_in_words(limits)}, given the noise: {chance_within(noise, front.index[0], limits):.2f}"


def _usual_reference(configuration: Mapping[str, Any], objectives: Sequence[str]) -> dict[str, float]:
    """What the search itself tells its hypervolume against, as far as these objectives go its ways."""
    from nas.problem import reference_point
    from results.pareto import MAXIMISED, directions

    identity = configuration.get("identity", {})  # a run written from Python may not say
    known = reference_point(identity) if {"space", "task", "image_size"} <= set(identity) else {}
    ways = zip(*directions(objectives), strict=True)
    return {name: known[name] for name, most in ways if name in known and most == (name in MAXIMISED)}


def _in_words(limits: Limits) -> str:
    parts = [f"{name} >= {_number(least)}" for name, (least, _) in limits.items() if least is not None]
    parts += [f"{name} <= {_number(most)}" for name, (_, most) in limits.items() if most is not None]
    return f"within {', '.join(parts)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1000 else f"{value:.4g}"


def _parse_reference(text: str, names: Sequence[str]) -> dict[str, float]:
    """`accuracy=0,step_time=2` by name.

    Raises:
        ValueError: it does not give each of these names a number.
    """
    found = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            found[name.strip()] = math.nan
    if set(found) != set(names) or not all(map(math.isfinite, found.values())):
        example = ",".join(f"{name}=1" for name in names)
        raise ValueError(f"the reference must give each objective a number, as in {example}; got {text!r}")
    return found


def _unlike(runs: Sequence[Path], configurations: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A warning where runs were not measured as the first one was."""
    from nas.identity import differences, measured_by

    first = measured_by(configurations[0])
    for run, configuration in zip(runs[1:], configurations[1:], strict=True):
        other = measured_by(configuration)
        if first is None or other is None:
            yield f"warning: whether {run} was measured as {runs[0]} was is not known"
        elif found := differences(other, first):
            yield f"warning: {run} was measured otherwise than {runs[0]}, and may not compare. What differs:"
            yield from (f"  {line}" for line in found)


def _columns(table: pd.DataFrame, names: Sequence[str], *, several: bool, ranked: bool) -> list[str]:
    """What a table for people shows of a front."""
    shown = ["run"] * several + ["number"] + ["rank"] * ranked
    shown += ["also_in"] * ("also_in" in table and bool((table["also_in"] != "").any()))
    shown += ["trainings"] * bool((table["trainings"] > 1).any())
    shown += ["reward", "accuracy", "accuracy_corrected", "step_time", "params", "macs"]
    shown += [name for name in names if name not in shown]
    reused = ["reused_from"] if table["reused_from"].notna().any() else []
    return [name for name in [*shown, "membership", "crowding", "knee", "architecture"] if name in table] + reused


def usual_objectives(configuration: Mapping[str, Any], frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Of a run, whose front it kept, as far as a trial measured them; and of the others what to say, a line each."""
    named = list(configuration.get("identity", {}).get("objectives", ("accuracy", "step_time", "params")))
    complete = frame[frame["state"] == "complete"]
    missing = [name for name in named if name in frame and len(complete) and complete[name].isna().all()]
    if len(missing) == len(named):
        return named, []
    said = [f"{name} is no objective here: it was measured in no trial" for name in missing]
    return [name for name in named if name not in missing], said
