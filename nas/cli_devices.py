"""The commands that measure this device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nas import options
from nas.show import Format, print_json, print_rows

_TimeLimit = typer.Option(min=1, help="Seconds after which no network is begun; blocks not timed are judged by others.")
_Check = typer.Option(min=0, help="Networks to draw and time whole afterwards, to tell how far off it is.")
_Export = typer.Option(help="Write the table here: FILE.csv (and FILE-networks.csv of those checked) or FILE.json.")


def calibrate(
    space: Annotated[str, options.Space] = "small",
    image_size: Annotated[int | None, options.ImageSize] = None,
    batch_size: Annotated[int, options.BatchSize] = 128,
    num_classes: Annotated[int, typer.Option(min=1, help="Width of the classifiers.")] = 10,
    in_channels: Annotated[int, typer.Option(min=1, help="Channels of a picture: 1 for grey, 3 for colour.")] = 3,
    device: Annotated[str, options.Device] = "auto",
    time_limit: Annotated[float, _TimeLimit] = 100.0,
    check: Annotated[int, _Check] = 0,
    export: Annotated[Path | None, _Export] = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Time the blocks of a space on this device, so that step times are known before training.

    Searches with the same space, image size and batch size use it: for --max-step-time, and the predictor knows it.
    """
    from nas import device_times  # loads numpy
    from nas.plugins import resolve
    from search_spaces import SPACES

    device_times.check_export(export)
    searched = resolve("space", space, SPACES)

    from trainers import calibration as calibrations  # loads torch
    from trainers.recipe import Recipe

    size, recipe = image_size or (32 if space == "small" else 128), Recipe(batch_size=batch_size)
    shape = {"num_classes": num_classes, "in_channels": in_channels}

    def say(text: str) -> None:
        typer.echo(text, err=True)

    found = calibrations.calibrate(searched, size, recipe, device=device, time_limit_s=time_limit, **shape)
    kept = calibrations.keep(found)
    say(f"{len(found.blocks)} blocks timed in {found.took_s:.0f} s on {found.about['device']}; kept in {kept}")
    checks = device_times.check(found, searched, recipe, shape=shape, device=device, networks=check, say=say)
    if export is not None:
        say("written: " + ", ".join(map(str, device_times.export(found, checks, export))))
    told = {
        **found.about,
        "anchor_s": found.anchor_s,
        "took_s": found.took_s,
        "optimizer": found.optimizer,
        **({"check": device_times.summary(checks)} if checks else {}),
    }
    rows: list[dict[str, Any]] = [{**b._asdict(), **t._asdict()} for b, t in found.blocks.items()]
    if format is Format.json:
        print_json({**told, "blocks": rows})
        return
    rows.sort(key=lambda row: -row["ratio"])
    print_rows(rows, format, columns=list(rows[0]), all_columns=list(rows[0]))
    if checks:
        off = told["check"]
        say(
            f"{off['networks']} networks timed whole: expected step times are {off['mean_error']:.1%} off in the mean, "
            f"{off['largest_error']:.1%} at most; Spearman {off['spearman']:.4f}"
        )
