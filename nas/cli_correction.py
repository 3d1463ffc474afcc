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
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="Whose proxy a file's accuracies come from. Default: `proxy` beside the file, "
            "as in an audit's folder.",
        ),
    ] = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Fit a correction of brief trainings to longer ones, and say whether it ranks held-out networks better."""
    from nas.identity import measured_by
    from results.correction import Correction, read_trainings
    from results.store import TrialStore

    trainings = read_trainings(table)
    beside = table.with_name("proxy")
    measured_in = run or (table if table.is_dir() else beside if (beside / "run.json").exists() else None)
    proxy = None if measured_in is None else measured_by(TrialStore.open(measured_in).configuration)
    if proxy is None:
        typer.echo("which proxy the accuracies come from is not known, and cannot be checked: name its --run", err=True)
    correction = Correction.fit(trainings, measured_by=proxy)
    correction.write(out)
    row = {**asdict(correction), "helps": correction.helps, "file": str(out)}
    if format is Format.json:
        print_json(row)
    elif format is Format.csv:
        print_rows([row], format, columns=(), all_columns=list(row))
    else:
        typer.echo(correction.verdict)
        typer.echo(f"kept in {out}: nas trials RUN --correction {out}")
