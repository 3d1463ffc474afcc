"""What a study wrote: its table, its claims, its figure, and a page with all of them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.studies import STUDIES
from nas.studies import folder as folders
from nas.studies.study import Told, in_words
from results.analysis.claims import claims_frame
from results.whole_file import write_whole

TABLE, CLAIMS, FIGURE, PAGE = "table.csv", "claims.csv", "figure.svg", "findings.md"


def as_json(folder: Path, told: Told) -> dict[str, Any]:
    """All that a study says, as plain data."""
    return {
        **folders.read(folder),
        "table": [dict(row) for row in told.table],
        "claims": claims_frame(told.claims).to_dict("records"),
        "sentences": [str(claim) for claim in told.claims],
        "changed": list(told.changed),
        "notes": list(told.notes),
    }


def write(folder: Path, told: Told) -> list[Path]:
    """Write what a study says into its folder; without matplotlib, no figure.

    Returns:
        the files.

    Raises:
        OSError: the disk would not take one; what was there of it is as it was.
    """
    files = {
        TABLE: _csv(told.table),
        CLAIMS: _csv(claims_frame(told.claims).to_dict("records")),
    }
    written = [folder / name for name in (TABLE, CLAIMS)]
    try:
        from results.plots import panels_figure, write_figure
    except ImportError:
        pass
    else:
        if told.panels:
            write_figure(panels_figure(told.panels), folder / FIGURE)
            written.append(folder / FIGURE)
    files[PAGE] = page(folder, told)
    for name, text in files.items():
        write_whole(folder / name, text.encode())
    return [*written, folder / PAGE]


def _csv(rows: Sequence[Mapping[Any, Any]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def page(folder: Path, told: Told) -> str:
    """A study as Markdown."""
    about = folders.read(folder)
    name = about["study"]
    parts = [
        f"# {name}: {STUDIES[name]}",
        f"{about['source']}. Taken again on {about['begun']} on {about['device']}, with nas {about['versions']['nas']} "
        f"and torch {about['versions']['torch']}; size: {in_words(about['size'])}.",
        _markdown(told.table),
        "\n".join(f"- {claim}" for claim in told.claims),
        "\n".join(f"- {note}" for note in told.notes),
        "Not as in the paper:\n\n" + "\n".join(f"- {line}" for line in told.changed) if told.changed else "",
        f"![what was measured]({FIGURE})" if (folder / FIGURE).is_file() else "",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(rows[0])
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [" | ".join(_cell(row.get(name)) for name in names) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value if isinstance(value, str) else json.dumps(value)
