"""The commands about networks, without a search: `describe` and `scale`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.show import Format, print_json, print_rows, print_table

if TYPE_CHECKING:
    from nas.scaling.targets import Target
    from search_spaces import PartCost

# Modules that load numpy, pandas or torch are imported inside the commands, so that --help is quick.

_Network = Annotated[
    str,
    typer.Argument(
        metavar="ARCH|RUN",
        help="A published name, an architecture text, a file with either, a file of `nas scale`, or a run's folder.",
    ),
]
_Trial = Annotated[
    int | None, typer.Option(min=0, help="Which trial of the run. Default: the one of the highest reward.")
]
_NumClasses = Annotated[int, typer.Option(min=1, help="Outputs of the classifier.")]
_InChannels = Annotated[int, typer.Option(min=1, help="Channels of a picture.")]
_FormatOption = Annotated[Format, typer.Option("--format", help="How to print on stdout.")]
_Targets = typer.Option(
    help="Members, in the rule's terms: s,m,l (nonuniform, the default; uniform), b1,b4 (uniform), "
    "4x,16x the macs (fast), 2x the step time (measured)."
)


def describe(
    network: _Network,
    trial: _Trial = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=1, help="Pixels. Default: the size it was published, scaled or searched with, else 224."),
    ] = None,
    num_classes: _NumClasses = 1000,
    in_channels: _InChannels = 3,
    format: _FormatOption = Format.table,
) -> None:
    """Show what an architecture is and costs, stage by stage."""
    from nas.networks import find_network
    from search_spaces import cost, part_costs

    found = find_network(network, trial)
    size = image_size or (found.image_sizes.eval if found.image_sizes else 224)
    shape = {"num_classes": num_classes, "in_channels": in_channels}
    rows = [_part_row(part) for part in part_costs(found.architecture, size, **shape)]
    total = cost(found.architecture, size, **shape)
    if format is Format.json:
        outside = {row["part"]: {k: v for k, v in row.items() if v is not None} for row in rows if row["op"] is None}
        stages = [row for row in rows if row["op"] is not None]
        head = {"architecture": str(found.architecture), "image_size": size, **shape, **total._asdict()}
        print_json({**head, "stages": stages, **outside})
    elif format is Format.csv:
        print_rows(rows, format, columns=list(rows[0]), all_columns=list(rows[0]))
    else:
        print_table(list(rows[0]), [*rows, {"part": "total", **total._asdict()}])
        note = "macs count a bias addition as one, and papers print them as FLOPs"
        typer.echo(f"{found.architecture}\nat {size} px; {note}", err=True)


def scale(
    network: _Network,
    trial: _Trial = None,
    rule: Annotated[str, typer.Option(help="nonuniform, uniform, fast or measured.")] = "nonuniform",
    targets: Annotated[str, _Targets] = "",
    phi: Annotated[str, typer.Option(help="Exponents of the uniform rule, such as 0.5,1,2.")] = "",
    target_step_time: Annotated[
        str, typer.Option(help="Measured on this device: 2x the baseline's, or 250ms; several by commas.")
    ] = "",
    target_params: Annotated[str, typer.Option(help="Such as 2x or 20M.")] = "",
    target_macs: Annotated[str, typer.Option(help="Such as 4x or 8.4G.")] = "",
    target_activations: Annotated[str, typer.Option(help="Such as 2x or 30M.")] = "",
    target_peak_memory: Annotated[
        str, typer.Option(help="Of a training step on this device, such as 2x or 4GiB.")
    ] = "",
    baseline_scale: Annotated[
        str | None,
        typer.Option(
            help="base: grow from the network as it is. s: it has S's size, bring it down first (widths / 1.36, "
            "layers / 1.8). Default: s for what was found in a space of S's size, else base."
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of the baseline's pictures. Default: what it was published, scaled or searched with; 224 if "
            "brought down, or not known.",
        ),
    ] = None,
    strategy: Annotated[str, typer.Option(help="Of the fast rule: d, w, r, dw, wr, dr, dwr or dWr.")] = "dWr",
    bases: Annotated[str, typer.Option(help="Of the uniform rule: alpha,beta,gamma.")] = "1.2,1.1,1.15",
    guard: Annotated[
        bool,
        typer.Option(help="Uniform rule: no width loses more than 10 % by rounding (V1's code; V2's has no such)."),
    ] = True,
    step_time: Annotated[bool, typer.Option("--step-time", help="Measure every member's training step.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures in the step that is measured.")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda; where steps are measured.")] = "auto",
    num_classes: _NumClasses = 1000,
    in_channels: _InChannels = 3,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show where the plain uniform rule differs from S, M and L, and stop.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for a file a member. Default: families/<network>-<rule>."),
    ] = None,
    format: _FormatOption = Format.table,
) -> None:
    """Turn one network into a family: larger ones that cost what you say."""
    from nas.family import (
        FamilyRequest,
        baseline_of,
        check_unmeasured,
        explanation,
        family_rows,
        make_family,
        off_target,
        write_members,
    )
    from nas.networks import find_network
    from nas.prices import Prices

    asked = {
        "step_time": target_step_time,
        "params": target_params,
        "macs": target_macs,
        "activations": target_activations,
        "peak_memory": target_peak_memory,
    }
    request = FamilyRequest(
        rule=rule,
        members=_split(targets),
        phi=_numbers("phi", phi),
        targets=_targets(asked),
        bases=_bases(bases),
        guard=guard,
        strategy=strategy,
    )
    found = find_network(network, trial)
    base, size, line = baseline_of(found, baseline_scale, image_size)
    typer.echo(line, err=True)
    if explain:
        rows = explanation(base)
        print_rows(rows, format, columns=list(rows[0]), all_columns=list(rows[0]))
        return
    folder = out or Path("families") / f"{found.name}-{rule}"
    check_unmeasured(folder, request)
    prices = Prices(
        base,
        size,
        num_classes=num_classes,
        in_channels=in_channels,
        batch_size=batch_size,
        device=device,
        say=lambda text: typer.echo(text, err=True),
    )
    family = make_family(base, size, request, prices)
    rows = family_rows(base, size, family, num_classes=num_classes, in_channels=in_channels)
    if step_time or target_step_time or (rule == "measured" and targets):
        for row, member in zip(rows[1:], family, strict=True):
            timed = prices.step_time(member.architecture, member.image_size)
            row |= {"step_time": timed.ratio, "step_time_low": timed.low, "step_time_high": timed.high}
            row["step_time_s"] = timed.seconds
        for line in off_target(rows[1:], request):
            typer.echo(line, err=True)
    columns = ["name", "image_size", "train_image_size", "params", "macs", "activations", "step_time", "stages"]
    names = list(dict.fromkeys(name for row in rows for name in row))
    print_rows(rows, format, columns=[c for c in columns if c in names], all_columns=names)
    if format is Format.table:
        for row in rows[1:]:
            typer.echo(f"{row['name']}: {'; '.join(row['rules'])}", err=True)
    for path in write_members(folder, rows[1:], rule=rule):
        typer.echo(f"wrote {path}", err=True)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in _split(text))
    except ValueError as error:
        raise ValueError(f"{name} must be numbers with commas between them; got {text!r}") from error


def _targets(asked: dict[str, str]) -> tuple[Target, ...]:
    from nas.scaling.targets import Target

    return tuple(Target.parse(metric, text) for metric, texts in asked.items() for text in _split(texts))


def _bases(text: str) -> Any:
    from nas.scaling.uniform import Bases

    values = _numbers("bases", text)
    if len(values) != 3 or min(values) < 1:
        raise ValueError(f"bases must be three numbers of at least 1, alpha,beta,gamma; got {text!r}")
    return Bases(*values)


def _part_row(part: PartCost) -> dict[str, Any]:
    names = ("op", "kernel", "stride", "expand_ratio", "se_ratio", "group_width", "layers")
    design = {name: getattr(part.stage, name, None) for name in names}
    return {
        "part": part.name,
        **design,
        "channels": part.channels,
        **part.cost._asdict(),
        "output_size": part.output_size,
    }
