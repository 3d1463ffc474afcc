"""`nas describe`: what a network is and costs, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import options
from nas.show import Format, print_json, print_rows, print_table

if TYPE_CHECKING:
    from nas.description import StepShares
    from results.store import TrialStore
    from search_spaces import Architecture, PartCost


def describe(
    network: options.Network,
    trial: options.TrialOption = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=1, help="Pixels. Default: the size it was published, scaled or searched with, else 224."),
    ] = None,
    num_classes: options.NumClasses = None,
    in_channels: options.InChannels = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Tell each part's share of the step time by this file of `nas calibrate --export`. Default: by the "
            "run's calibration, else by one of this device that `nas calibrate` keeps.",
        ),
    ] = None,
    step_time: Annotated[bool, typer.Option("--step-time", help="Measure these shares on this device.")] = False,
    batch_size: Annotated[
        int | None, typer.Option(min=2, help="Pictures in the step that is measured. Default: the run's, else 32.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda; where that step is measured.")] = "auto",
    format: options.FormatOption = Format.table,
) -> None:
    """Show a network stage by stage: design, costs, share of the step time, a diagram, the published one nearest to it.

    Of a trial of a run, also what was measured of it.
    """
    from nas.description import measured_shares, nearest
    from nas.networks import find_network, shape_of
    from search_spaces import cost, part_costs

    if step_time and calibration is not None:
        raise ValueError("shares of the step time are measured, or told by a calibration; got both: drop one")
    found = find_network(network, trial)
    size, shape = image_size or _size_of(found.image_sizes), shape_of(found, num_classes, in_channels)
    parts = part_costs(found.architecture, size, **shape)
    store = None if found.trial is None else _store(network)
    if step_time:
        batch_size = batch_size or _batch_size(store)
        shares: StepShares | None = measured_shares(
            found.architecture, size, shape, batch_size=batch_size, device=device
        )
    else:
        shares = _told_shares(found.architecture, size, shape, store, calibration)
    about: dict[str, Any] = {
        "architecture": str(found.architecture),
        "image_size": size,
        **shape,
        **cost(found.architecture, size, **shape)._asdict(),
        "step_time": None if shares is None else shares._asdict(),
        "nearest": nearest(found.architecture),
        "trial": None if store is None or found.trial is None else _facts(store, found.trial),
    }
    rows = [_part_row(part, shares) for part in parts]
    if format is Format.json:
        print_json({**about, **_by_part(rows)})
    elif format is Format.csv:
        print_rows(rows, format, columns=list(rows[0]), all_columns=list(rows[0]))
    else:
        _print_for_people(about, rows, found.architecture)


def _size_of(sizes: Any) -> int:
    return 224 if sizes is None else int(sizes.eval)


def _store(folder: str) -> TrialStore:
    from results.store import TrialStore  # loads pandas

    return TrialStore.open(Path(folder))


def _facts(store: TrialStore, number: int) -> dict[str, Any]:
    from results.analysis import trial_facts

    return trial_facts(store.frame(), number)


def _batch_size(store: TrialStore | None) -> int:
    task = {} if store is None else store.configuration.get("identity", {}).get("task", {})
    return int(task.get("recipe", {}).get("batch_size", 32))


def _told_shares(
    architecture: Architecture, size: int, shape: Mapping[str, int], store: TrialStore | None, path: Path | None
) -> StepShares | None:
    from nas.description import expected_shares, known_shares, read_calibration

    if path is not None:
        return expected_shares(architecture, size, shape, read_calibration(path), str(path))
    return known_shares(architecture, size, shape, None if store is None else store.configuration.get("calibration"))


def _part_row(part: PartCost, shares: StepShares | None) -> dict[str, Any]:
    names = ("op", "kernel", "stride", "expand_ratio", "se_ratio", "group_width", "layers")
    design = {name: getattr(part.stage, name, None) for name in names}
    return {
        "part": part.name,
        **design,
        "channels": part.channels,
        **part.cost._asdict(),
        "output_size": part.output_size,
        "step_time_share": None if shares is None else shares.by_part[part.name],
    }


def _by_part(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The stages as a list, and the other parts by their names, without what is only said of stages."""
    outside = {row["part"]: {k: v for k, v in row.items() if v is not None} for row in rows if row["op"] is None}
    return {"stages": [row for row in rows if row["op"] is not None], **outside}


def _print_for_people(about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], architecture: Architecture) -> None:
    """The table, the diagram, the nearest published network and what was measured, on stdout; the rest on stderr."""
    from nas.description import trial_lines
    from results.diagram import diagram_text

    shape = {name: about[name] for name in ("num_classes", "in_channels")}
    shares, near, facts = about["step_time"], about["nearest"], about["trial"]
    idle = [
        name for name, usual in (("se_ratio", 0), ("group_width", 1)) if all(r[name] in (None, usual) for r in rows)
    ]
    columns = [name for name in rows[0] if name not in idle and (name != "step_time_share" or shares is not None)]
    rows = [{**row, "se_ratio": None if row["se_ratio"] is None else f"{row['se_ratio']:g}"} for row in rows]
    total = {"part": "total", **{name: about[name] for name in ("params", "macs", "activations")}}
    last = [{"part": "optimizer", "step_time_share": shares["by_part"]["optimizer"]}] if shares is not None else []
    print_table(columns, [*rows, *last, total])
    typer.echo(f"\n{diagram_text(architecture, about['image_size'], **shape)}\n")
    if near["distance"] == 0:
        typer.echo(f"this is {near['name']}, as published")
    else:
        far = f"{near['distance']:.1f} layers away"
        whole = sum(stage.layers for stage in architecture.stages) + 2  # the stem and the head
        which = (
            "nearest published network" if near["distance"] < whole else "no published network is near; the nearest is"
        )
        which += ":" if near["distance"] < whole else ""
        typer.echo(f"{which} {near['name']}, {far}. What differs, in brackets what that has:")
        for line in near["differences"]:
            typer.echo(f"  {line}")
    if facts is not None:
        typer.echo("\nmeasured in the run:")
        for line in trial_lines(facts):
            typer.echo(line)
    said = [
        f"{architecture}",
        f"at {about['image_size']} px; macs count a bias addition as one, and papers print them as FLOPs",
    ]
    if near["distance"]:
        said.append("a distance is of layers that would have to be made anew; one of another kernel, say, is a seventh")
    if shares is None:
        said.append(
            f"no calibration of this device at {about['image_size']} px: --step-time measures the parts' shares"
        )
    else:
        said.append(f"a training step takes {shares['step_s']:.3g} s: {shares['source']}")
    typer.echo("\n".join(said), err=True)
