"""`nas scale`: from one network to a family."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas import options
from nas.show import Format, print_rows

if TYPE_CHECKING:
    from nas.scaling.targets import Target
    from nas.scaling.uniform import Bases

# Modules that load numpy, pandas or torch are imported inside the commands, so that --help is quick.

_Targets = typer.Option(
    help="Members, in the rule's terms: s,m,l (nonuniform, the default; uniform), b1,b4 (uniform), "
    "4x,16x the macs (fast), 2x the step time (measured)."
)


def scale(
    network: options.Network,
    trial: options.TrialOption = None,
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
    num_classes: options.NumClasses = None,
    in_channels: options.InChannels = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show where the plain uniform rule differs from S, M and L, and stop.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for a file a member. Default: families/<network>-<rule>."),
    ] = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Turn one network into a family: larger ones that cost what you say."""
    from nas.family import FamilyRequest, baseline_of, explanation, grow, member_file, off_target
    from nas.networks import find_network, shape_of
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
    shape = shape_of(found, num_classes, in_channels)
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
