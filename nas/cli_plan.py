"""`nas plan` on the command line: the forecast as a short table, and what it was made of."""

from __future__ import annotations

import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import typer

from nas.config import SearchConfig, build
from nas.forecast import Forecast, size
from nas.plan import Plan, make_plan
from nas.progress import duration
from nas.runs import RunSettings
from nas.search import Workers
from nas.show import Format, print_json, print_rows


def plan(
    config: SearchConfig, settings: RunSettings, workers: Workers, *, folder: Path | None, format: Format, quiet: bool
) -> int:
    """Make a plan of a search and print it: the forecast on stdout, what it was made of on stderr.

    Args:
        folder: where the run would be; None for the default.

    Returns:
        the exit code: 1 where every candidate that was timed failed, so that nothing can be forecast.
    """
    with redirect_stdout(sys.stderr):  # what a user's file prints is no data
        search = build(config.with_absolute_paths())
        made = make_plan(search, settings, workers)
    for line in [] if quiet else (*search.notes, *_timed_lines(made), *made.notes):
        typer.echo(line, err=True)
    if made.forecast is not None and made.forecast.work.run_bytes is not None:
        _warn_of_space(made.forecast.work.run_bytes, folder or Path("runs"))
    if format is Format.json:
        print_json(made.to_json())
    elif made.forecast is not None:
        rows = _rows(made.forecast)
        if format is Format.table:
            rows = [_for_people(row) for row in rows]
        shown = ("what", "expected", "low", "high")
        print_rows(rows, format, columns=shown, all_columns=(*shown, "unit"))
    return int(made.forecast is None)


def _rows(made: Forecast) -> list[dict[str, Any]]:
    work = made.work
    trainings = f"{work.candidates} candidates" + (f" and {work.confirming} trainings more" if work.confirming else "")
    count = work.candidates + work.confirming
    rows: list[dict[str, Any]] = [
        {"what": "one candidate", **made.candidate_s._asdict(), "unit": "s"},
        {"what": f"{trainings}, {work.workers} at a time", **made.wall_s._asdict(), "unit": "s"},
        {
            "what": "- of it workers coming up",
            "expected": sum(work.start_s) / 2,
            "low": work.start_s[0],
            "high": work.start_s[1],
            "unit": "s",
        },
        {"what": "- of it proposals and bookkeeping", "expected": count * work.each_s, "unit": "s"},
        {"what": made.unit, **made.device_hours._asdict(), "unit": "h"},
        {"what": "the run's folder", "expected": work.run_bytes, "unit": "bytes"},
    ]
    if work.pack_bytes is not None:
        rows.append({"what": "decoded pictures, kept", "expected": work.pack_bytes, "unit": "bytes"})
    return rows


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    says = {"s": duration, "h": lambda hours: f"{hours:.3g}", "bytes": size}[row["unit"]]
    return {k: says(v) if k in ("expected", "low", "high") and v is not None else v for k, v in row.items()}


def _timed_lines(made: Plan) -> list[str]:
    return [
        f"timed: {one.macs:,} macs: {duration(one.seconds)} a candidate"
        + ("" if one.step_s is None else f", {1000 * one.step_s:.1f} ms a step")
        for one in made.timed
        if one.seconds is not None and one.failure is None
    ]


def _warn_of_space(wanted: int, folder: Path) -> None:
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if wanted > free:
        typer.echo(f"the run's folder needs {size(wanted)}, and {there} has {size(free)} left", err=True)
