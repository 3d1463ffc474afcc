"""`nas study` on the command line."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import options
from nas.show import Format, print_json, print_rows, print_table

if TYPE_CHECKING:
    from nas.studies.study import Told

_MINUTES = 60.0
_Budget = typer.Option(
    "--budget", "-b", min=0.01, help="Minutes that it may take; it is as large as fits. Default: 60."
)
_Out = typer.Option(
    "--out", "-o", help="Folder of the study, which is gone on with where it is one. Default: studies/NAME."
)
_Model = typer.Option(help="A network of yours beside the others, module:function or path/to/file.py:function.")
_Plan = typer.Option("--plan", help="Say what it would do and how long that takes, and do nothing.")


def study(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which; without it, all are listed.")] = None,
    budget: Annotated[float | None, _Budget] = None,
    out: Annotated[Path | None, _Out] = None,
    data: Annotated[str | None, options.DataOption] = None,
    test_data: Annotated[str | None, options.TestData] = None,
    model: Annotated[str | None, _Model] = None,
    device: Annotated[str | None, options.Device] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The first of the seeds.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Trainings at a time. Default: one a core, or 1.")] = None,
    plan: Annotated[bool, _Plan] = False,
    format: options.FormatOption = Format.table,
    quiet: options.Quiet = False,
) -> None:
    """Take a finding of the papers again, at the scale of this machine.

    It prints the paper's numbers beside its own with intervals, and says what held here and what did not. It is as
    large as the budget lets it be. One that was interrupted goes on when it is asked for again.
    """
    from nas.conduct import INTERRUPTED
    from nas.plugins import absolute
    from nas.studies import STUDIES, conduct, load, report
    from nas.studies import folder as folders

    if name is None:
        rows = [{"name": key, "asks": asks} for key, asks in STUDIES.items()]
        print_rows(rows, format, columns=("name", "asks"), all_columns=("name", "asks"))
        return
    folder = out or Path("studies") / name
    model = None if model is None else absolute(model)
    given = {"data": data, "test_data": test_data, "model": model, "device": device, "seed": seed}
    say = _silent if quiet else _say
    with redirect_stdout(sys.stderr):  # what a user's file prints is no data
        load(name)  # which says where there is none of that name
        if folders.is_study(folder):
            conduct.check_same(folder, name, given, budget)
        else:
            made = conduct.conditions_of({key: value for key, value in given.items() if value is not None})
            count = conduct.workers_of(made.device, workers)
            minutes = _MINUTES if budget is None else budget
            found = conduct.planned(name, made, budget_s=60 * minutes, workers=count)
            for line in conduct.described(name, found, budget_s=60 * minutes):
                _say(line) if plan else say(line)
            if plan:
                return
            conduct.begin(name, made, found, folder, budget_min=minutes)
        try:
            results = conduct.go_on(folder, workers=workers, say=say, quiet=quiet)
        except KeyboardInterrupt:
            _say(f"interrupted; what is done is kept: go on with: nas study {name} -o {folder}")
            raise typer.Exit(INTERRUPTED) from None
        told = conduct.told(folder, results)
        written = report.write(folder, told)
    _print(folder, told, format)
    say("written: " + ", ".join(map(str, written)))
    if told.panels and folder / report.FIGURE not in written:
        say("no figure was drawn, which needs matplotlib: pip install 'training-aware-nas[plot]', and ask again")


def _print(folder: Path, told: Told, format: Format) -> None:
    from nas.studies.report import as_json

    if format is Format.json:
        print_json(as_json(folder, told))
        return
    rows: list[dict[str, Any]] = [dict(row) for row in told.table]
    if format is Format.csv:
        print_rows(rows, format, columns=(), all_columns=list(rows[0]))
        return
    print_table(list(rows[0]), rows)
    for claim in told.claims:
        print(claim)
    for note in told.notes:
        print(note)
    for line in told.changed:
        print(f"not as in the paper: {line}")


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _silent(text: str) -> None:
    del text
