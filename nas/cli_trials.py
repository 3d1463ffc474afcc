"""`nas trials` and `nas pareto`: what a run has found so far."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import options
from nas.show import Format, print_frame

if TYPE_CHECKING:
    import pandas as pd

    from results.correction import Correction
    from results.store import TrialStore


def trials(
    run: options.Run,
    top: Annotated[int | None, typer.Option(min=1, help="Only the trials of the highest rewards.")] = None,
    correction: options.CorrectionOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """List the trials of a run, also while it runs."""
    from results.store import TrialStore

    store = TrialStore.open(run)
    frame = _corrected(store, correction)
    if top is not None:
        frame = frame[frame["state"] == "complete"].nlargest(top, "reward")
    print_frame(frame, format, columns=_columns(frame))


def pareto(
    run: options.Run,
    objectives: Annotated[
        str | None,
        typer.Option(help="Columns of the trial table; of accuracy and reward more is better. Default: the run's."),
    ] = None,
    correction: options.CorrectionOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """List the trials of a run that no other beats in every objective."""
    from results.pareto import front_of
    from results.store import TrialStore

    store = TrialStore.open(run)
    names = objectives.split(",") if objectives else _objectives_of(store.configuration)
    front = front_of(_corrected(store, correction), [name.strip() for name in names])
    print_frame(front, format, columns=_columns(front))


def _objectives_of(configuration: Mapping[str, Any]) -> list[str]:
    return list(configuration.get("identity", {}).get("objectives", ("accuracy", "step_time", "params")))


def _corrected(store: TrialStore, path: Path | None) -> pd.DataFrame:
    """A run's table with the corrected accuracy beside the raw one, where a correction is given that helps."""
    frame = store.frame()
    if path is None:
        return frame
    from results.correction import Correction

    correction = Correction.read(path)
    typer.echo(correction.verdict, err=True)
    if correction.helps:
        for line in _of_another_proxy(correction, store):
            typer.echo(line, err=True)
        frame.insert(list(frame.columns).index("accuracy") + 1, "accuracy_corrected", correction.corrected(frame))
    return frame


def _of_another_proxy(correction: Correction, store: TrialStore) -> list[str]:
    """A warning where a correction was fitted to other measurements than a run's, or where that is not known."""
    from nas.identity import differences, measured_by

    there, here = correction.measured_by, measured_by(store.configuration)
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
