"""`nas trials`: what a run has found so far."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import options
from nas.show import Format, print_frame

if TYPE_CHECKING:
    import pandas as pd

    from results.correction import Correction


class TrialsFormat(StrEnum):
    """How a trial table is written."""

    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"


_TrialsFormat = typer.Option("--format", help="How to write. Default: by the ending of --out's file, else a table.")
_Out = typer.Option("--out", "-o", metavar="FILE", help="Write into this file, in the place of stdout.")
_TensorBoard = typer.Option(metavar="DIR", help="Write the trials for TensorBoard's HParams into this new folder.")
_Storage = typer.Option(
    help="Copy the trials into an Optuna study, as `nas search --optuna-storage` does: sqlite:///FILE.db, a URL or a "
    "journal."
)


def trials(
    run: options.Run,
    top: Annotated[int | None, typer.Option(min=1, help="Only the trials of the highest rewards.")] = None,
    correction: options.CorrectionOption = None,
    format: Annotated[TrialsFormat | None, _TrialsFormat] = None,
    out: Annotated[Path | None, _Out] = None,
    tensorboard: Annotated[Path | None, _TensorBoard] = None,
    optuna_storage: Annotated[str | None, _Storage] = None,
) -> None:
    """List the trials of a run, also while it runs, or write them for other software.

    With --tensorboard or --optuna-storage, and without --out, nothing is printed on stdout.
    """
    from results.store import TrialStore

    form = format or _format_of(out)
    if form is TrialsFormat.parquet and out is None and sys.stdout.isatty():
        raise ValueError("parquet must go into a file or a pipe, for it is no text: name a file with --out")
    store = TrialStore.open(run)
    frame = corrected(store.frame(), [store.configuration], correction)
    if top is not None:
        frame = frame[frame["state"] == "complete"].nlargest(top, "reward")
    if tensorboard is not None:
        from results.tensorboard import write_hparams

        written = write_hparams(frame, [c["name"] for c in store.configuration["space"]["choices"]], tensorboard)
        look = f"tensorboard --logdir {tensorboard}" if written else "none was measured yet"
        typer.echo(f"wrote {written} trials: {look}", err=True)
    if optuna_storage is not None:
        from nas.optuna_mirror import mirror  # loads Optuna

        missing = mirror(store, optuna_storage, say=lambda text: typer.echo(text, err=True))
        if missing:
            raise typer.Exit(1)
    if out is not None:
        _write(frame, form, out)
    elif tensorboard is None and optuna_storage is None:
        _print(frame, form)
        if frame.empty:
            typer.echo(f"{run} has no {'trial' if top is None else 'complete trial'} yet", err=True)


def _format_of(out: Path | None) -> TrialsFormat:
    """By a file's ending."""
    known = {".json": TrialsFormat.json, ".jsonl": TrialsFormat.json, ".csv": TrialsFormat.csv}
    known |= {".parquet": TrialsFormat.parquet, ".txt": TrialsFormat.table}
    if out is None:
        return TrialsFormat.table
    if out.suffix not in known:
        raise ValueError(f"the file must end in {', '.join(known)}, or --format be given; got {out}")
    return known[out.suffix]


def _print(frame: pd.DataFrame, form: TrialsFormat) -> None:
    if form is TrialsFormat.parquet:
        from results.table import parquet_bytes

        sys.stdout.buffer.write(parquet_bytes(frame))
    else:
        print_frame(frame, Format(form.value), columns=_columns(frame))


def _write(frame: pd.DataFrame, form: TrialsFormat, path: Path) -> None:
    """Into a file, whole or not at all."""
    from results.whole_file import write_whole

    with io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="", write_through=True) as file:
        with redirect_stdout(file):
            _print(frame, form)
        write_whole(path, file.buffer.getvalue())
    typer.echo(f"wrote {path}: {len(frame)} trials", err=True)


def compact(
    run: Annotated[Path, typer.Argument(metavar="RUN|STUDY", help="Folder of a run, or of a study.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where to; new or empty.")],
) -> None:
    """Copy a run into two files, run.json and trials.parquet, that every command reads; it cannot be resumed.

    A study is copied without pictures and weights; `nas study NAME -o FOLDER` tells of it as before.
    """
    from nas.studies import folder as studies
    from results.compact import compact as write
    from results.store import TrialStore

    if studies.is_study(run):
        from nas.studies.compact import compact as write_study

        write_study(run, out)
    else:
        write(TrialStore.open(run), out)
    before, after = (sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) for folder in (run, out))
    typer.echo(f"wrote {out}: {after / 1e6:.2f} MB, of {before / 1e6:.2f} MB", err=True)


def corrected(frame: pd.DataFrame, configurations: Sequence[Mapping[str, Any]], path: Path | None) -> pd.DataFrame:
    """A table of runs with the corrected accuracy beside the raw one, where a correction is given that helps."""
    if path is None:
        return frame
    from results.correction import Correction

    correction = Correction.read(path)
    typer.echo(correction.verdict, err=True)
    if correction.helps:
        for line in dict.fromkeys(line for about in configurations for line in _of_another_proxy(correction, about)):
            typer.echo(line, err=True)
        frame.insert(list(frame.columns).index("accuracy") + 1, "accuracy_corrected", correction.corrected(frame))
    return frame


def _of_another_proxy(correction: Correction, configuration: Mapping[str, Any]) -> list[str]:
    """A warning where a correction was fitted to other measurements than a run's, or where that is not known."""
    from nas.identity import differences, measured_by

    there, here = correction.measured_by, measured_by(configuration)
    if there is None or here is None:
        return ["warning: whether the correction was fitted to this run's proxy is not known"]
    found = differences(there, here)
    said = "warning: this correction was fitted to another proxy than the run's, and may be wrong of it. What differs:"
    return [said, *(f"  {line}" for line in found)] if found else []


def _columns(frame: pd.DataFrame) -> list[str]:
    """What a table for people shows of a trial table."""
    reused = ["reused_from"] if frame["reused_from"].notna().any() else []
    return [*(name for name in _COLUMNS if name in frame), *reused]


_COLUMNS = (
    *("number", "state", "reward", "accuracy", "accuracy_corrected", "step_time", "params", "macs"),
    *("failure", "reason", "architecture"),
)
