"""The commands about networks, without a search: `describe` and `scale`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.show import Format, print_json, print_rows, print_table

if TYPE_CHECKING:
    from nas.networks import NamedNetwork
    from nas.scaling.targets import Target
    from nas.scaling.uniform import Bases
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
_NumClasses = Annotated[
    int | None, typer.Option(min=1, help="Outputs of the classifier. Default: the run's or the file's, else 1000.")
]
_InChannels = Annotated[
    int | None, typer.Option(min=1, help="Channels of a picture. Default: the run's or the file's, else 3.")
]
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
    num_classes: _NumClasses = None,
    in_channels: _InChannels = None,
    format: _FormatOption = Format.table,
) -> None:
    """Show what an architecture is and costs, stage by stage."""
    from nas.networks import find_network
    from search_spaces import cost, part_costs

    found = find_network(network, trial)
    size = image_size or (found.image_sizes.eval if found.image_sizes else 224)
    shape = _shape(found, num_classes, in_channels)
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
    strategy: Annotated[
        str | None, typer.Option(help="Of the fast rule: d, w, r, dw, wr, dr, dwr or dWr (the default).")
    ] = None,
    bases: Annotated[
        str | None, typer.Option(help="Of the uniform rule: alpha,beta,gamma. Default: 1.2,1.1,1.15.")
    ] = None,
    guard: Annotated[
        bool | None,
        typer.Option(
            "--guard/--no-guard",
            help="Uniform rule: no width loses more than 10 % by rounding (V1's code, the default; V2's has no such).",
        ),
    ] = None,
    step_time: Annotated[bool, typer.Option("--step-time", help="Measure every member's training step.")] = False,
    batch_size: Annotated[int, typer.Option(min=2, help="Pictures in the step that is measured.")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda; where steps are measured.")] = "auto",
    num_classes: _NumClasses = None,
    in_channels: _InChannels = None,
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
    from nas.family import FamilyRequest, baseline_of, explanation, grow, member_file, off_target
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
    _say(line)
    if explain:
        _say("an entry on which the plain uniform rule and the non-uniform one differ reads uniform -> non-uniform")
        rows = explanation(base)
        print_rows(rows, format, columns=list(rows[0]), all_columns=list(rows[0]))
        return
    folder = out or Path("families") / f"{found.name}-{rule}"
    shape = _shape(found, num_classes, in_channels)
    prices = Prices(base, size, **shape, batch_size=batch_size, device=device, say=_say)
    rows = list(grow(base, size, request, prices, folder, step_time=step_time))
    names = list(dict.fromkeys(name for row in rows for name in row))
    print_rows(rows, format, columns=[c for c in _FAMILY_COLUMNS if c in names], all_columns=names)
    for row in rows[1:]:
        if format is Format.table:
            _say(f"{row['name']}: {'; '.join(row['rules'])}")
        _say(f"wrote {member_file(folder, row['name'])}")
    for line in off_target(rows[1:], request):
        _say(line)


_FAMILY_COLUMNS = (
    "name", "image_size", "train_image_size", "params", "macs", "activations", "step_time", "stages",
)  # fmt: skip


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _shape(network: NamedNetwork, num_classes: int | None, in_channels: int | None) -> dict[str, int]:
    """Classes and channels: those asked for, else those the network was searched or scaled for, else ImageNet's."""
    return {
        "num_classes": num_classes or network.num_classes or 1000,
        "in_channels": in_channels or network.in_channels or 3,
    }


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


def _bases(text: str | None) -> Bases | None:
    from nas.scaling.uniform import Bases

    if text is None:
        return None
    values = _numbers("bases", text)
    if len(values) != 3:
        raise ValueError(f"bases must be three numbers, alpha,beta,gamma; got {text!r}")
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
