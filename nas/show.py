"""Printing data on stdout: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class Format(StrEnum):
    """How data are printed."""

    table = "table"
    json = "json"
    csv = "csv"


def print_frame(frame: pd.DataFrame, form: Format, *, columns: Sequence[str]) -> None:
    """A frame: the chosen columns as a table, or all of it as JSON lines (an object a row) or CSV."""
    shown = frame[[name for name in columns if name in frame]] if form is Format.table else frame
    rows = [{str(k): v for k, v in row.items()} for row in shown.to_dict("records")]
    print_rows(rows, form, columns=columns, all_columns=[str(name) for name in frame.columns])


def print_rows(
    rows: Sequence[Mapping[str, Any]], form: Format, *, columns: Sequence[str], all_columns: Sequence[str]
) -> None:
    """Rows: the chosen columns as a table, or all of them as JSON lines (an object a row) or CSV (lists as JSON)."""
    if form is Format.json:
        for row in rows:
            print_json(row)
    elif form is Format.csv:
        writer = csv.DictWriter(sys.stdout, all_columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            values = {name: plain(value) for name, value in row.items()}
            writer.writerow({k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in values.items()})
    else:
        print_table(columns, rows)


def print_json(value: Mapping[str, Any], *, indent: int | None = None) -> None:
    """One object; what is missing is null."""
    sys.stdout.write(json.dumps(plain(value), indent=indent) + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """A table for people; long texts fold on a terminal and stay whole in a pipe."""
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    right = [all(not isinstance(row.get(name), str) for row in rows) for name in columns]  # numbers
    if sys.stdout.isatty():
        _print_on_a_terminal(columns, cells, right)
        return
    lines = [[" ".join(cell.splitlines()) for cell in line] for line in [list(columns), *cells]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = [
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(line, widths, right, strict=True)
        ]
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _print_on_a_terminal(columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    from rich.console import Console  # slow to load and to draw; nobody waits for it in a pipe
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, numeric in zip(columns, right, strict=True):
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for line in cells:
        table.add_row(*line)
    console = Console(markup=False, emoji=False)  # a failure's reason may hold brackets
    console.print(table, highlight=False)


def _cell(value: Any) -> str:
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    value = plain(value)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value)


def plain(value: Any) -> Any:
    """A value as JSON has it, what is missing as None.

    numpy's and pandas' values are told by what they offer, so that neither is loaded here.
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value
