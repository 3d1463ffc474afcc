"""`nas correct`: from networks that were trained longer to a correction of the brief trainings' accuracies."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nas import options
from nas.show import Format, print_json, print_rows


def correct(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="Parquet or CSV file with the columns architecture, accuracy, reference_accuracy and any of params, "
            "macs, snip; or the folder of a run whose leaders were trained again.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to keep it.")] = Path(
        "correction.json"
    ),
    format: options.FormatOption = Format.table,
) -> None:
    """Fit a correction of brief trainings to longer ones, and say whether it ranks held-out networks better."""
    from results.correction import Correction, read_trainings

    correction = Correction.fit(read_trainings(table))
    correction.write(out)
    row = {**asdict(correction), "helps": correction.helps, "file": str(out)}
    if format is Format.json:
        print_json(row)
    elif format is Format.csv:
        print_rows([row], format, columns=(), all_columns=list(row))
    else:
        typer.echo(correction.verdict)
        typer.echo(f"kept in {out}: nas trials RUN --correction {out}")
