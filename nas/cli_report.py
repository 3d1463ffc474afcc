"""`nas report`: what some runs found, as one page that opens from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, also while they go on.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The page.")] = Path("report.html"),
    seed: Annotated[int, typer.Option(help="Of the samples that charts and intervals are drawn from.")] = 0,
) -> None:
    """Write one self-contained HTML page of what runs found; it opens from disk, without a network."""
    import numpy as np

    from nas import __version__
    from results.report import write_report
    from results.report.wording import plural

    material = write_report(runs, out, version=__version__, rng=np.random.default_rng(seed))
    found = f"{plural(len(material.networks), 'network')} of {plural(len(runs), 'run')}"
    size = f", {out.stat().st_size / 1e6:.2f} MB" if out.is_file() else ""  # of a pipe there is none
    typer.echo(f"wrote {out}: {found}{size}", err=True)
