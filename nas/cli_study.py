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
_Name = typer.Argument(metavar="[NAME]", help="Of a study; without it, all are listed with what they ask.")
_Seed = typer.Option(min=0, max=2**32 - 1, help="The first of the seeds.")
_Workers = typer.Option(min=1, help="Trainings at a time. Default: one a core; 1 on a GPU.")
_Plan = typer.Option("--plan", help="Say what it would do and how long that takes, and do nothing.")


def study(
    name: Annotated[str | None, _Name] = None,
    budget: Annotated[float | None, _Budget] = None,
    out: Annotated[Path | None, _Out] = None,
    data: Annotated[str | None, options.DataOption] = None,
    test_data: Annotated[str | None, options.TestData] = None,
    model: Annotated[str | None, _Model] = None,
    device: Annotated[str | None, options.Device] = None,
    seed: Annotated[int | None, _Seed] = None,
    workers: Annotated[int | None, _Workers] = None,
    plan: Annotated[bool, _Plan] = False,
    format: options.FormatOption = Format.table,
    quiet: options.Quiet = False,
) -> None:
    """Take a finding of the papers again, at the scale of this machine.

    It prints the paper's numbers beside its own with intervals, and says what held here and what did not. It is as
    large as the budget lets it be. One that was interrupted goes on when it is asked for again.
    """
    from nas.conduct import INTERRUPTED
    from nas.studies import STUDIES, asking, conduct, load, report
    from nas.studies import folder as folders

    if name is None:
        rows = [{"name": key, "asks": asks} for key, asks in STUDIES.items()]
        print_rows(rows, format, columns=("name", "asks"), all_columns=("name", "asks"))
        return
    folder = out or Path("studies") / name
    say = _silent if quiet else _say
    with redirect_stdout(sys.stderr):  # what a user's file prints is no data
        load(name)  # which says where there is none of that name
        given = asking.asked_for(name, data=data, test_data=test_data, model=model, device=device, seed=seed)
        if folders.is_study(folder):
            asking.check_same(folder, name, given, budget)
            if plan:
                _say(conduct.left(folder, workers=workers))
                return
        else:
            folders.check_new(folder)  # before minutes of measuring
            made = asking.conditions_of(given)
            count = asking.workers_of(made.device, workers)
            minutes = _MINUTES if budget is None else budget
            found = conduct.planned(name, made, budget_s=60 * minutes, workers=count)
            for line in conduct.described(name, found, budget_s=60 * minutes):
                _say(line) if plan else say(line)
            if workers is not None and count < workers:
                _say(f"{count} trainings at a time, not {workers}: there are no more cores")
            if plan:
                return
            conduct.begin(name, made, found, folder, budget_min=minutes)
        try:
            results = conduct.go_on(folder, workers=workers, say=say, quiet=quiet)
        except KeyboardInterrupt:
            _say(f"interrupted; what is done is kept: go on with: nas study {name} -o {folder}")
            raise typer.Exit(INTERRUPTED) from None
        told = conduct.told(folder, results)
    _print(folder, told, format)  # before the files, which a full disk would not take
    sys.stdout.flush()
    written = report.write(folder, told)
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
