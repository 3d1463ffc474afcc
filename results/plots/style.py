"""How figures look in print: the widths of a column and of a page, text legible there, colours that all eyes can tell.

Colours are those of Okabe and Ito (2008, "Color Universal Design"); where several runs are drawn, markers and dashes
tell them apart too, so that nothing is told by colour alone.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from results.whole_file import write_whole

Width = Literal["column", "double"]
WIDTHS: dict[Width, float] = {"column": 3.25, "double": 6.75}
"""Inches: one of two columns, and both with the space between them, as conferences on machine learning print them."""

FORMATS = ("png", "svg", "pdf")
OURS, CHANCE, INK, QUIET, GRID = "#0072B2", "#6E6E6E", "#222222", "#8C8C8C", "#DADADA"
COLOURS = (OURS, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", (0, (5, 1.2)), (0, (1.2, 1)), (0, (5, 1, 1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (2, 2)))
SMALL = 6.5
"""Points, of the smallest text."""

_MOST_VECTOR_DOTS = 3000
"""Of more, dots are a picture within the figure, so that a file of vectors stays small; lines and text stay vectors."""

_LETTER, _HANDLE = 0.56 * SMALL, 4 * SMALL
"""Points: how wide a letter is on average, and what stands beside the text of an entry of a legend."""

_DPI = 300
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],  # the first comes with matplotlib
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "legend.fontsize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "text.parse_math": False,  # a run's name may hold a $
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "training-aware-nas",  # the same figure is the same file
    "pdf.fonttype": 42,
    "figure.dpi": _DPI / 2,  # as a notebook shows it
    "savefig.dpi": _DPI,
}
_UNDATED: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


@contextmanager
def printed() -> Iterator[None]:
    """In the block, what is drawn has this style, whatever the user's own settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        with mpl.rc_context(_STYLE):
            yield


def new_figure(width: Width, height_in: float) -> Figure:
    """An empty figure of a printed width; within `printed`."""
    if width not in WIDTHS:
        raise ValueError(f"the width of a figure must be one of {', '.join(WIDTHS)}; got {width!r}")
    figure = Figure(figsize=(WIDTHS[width], height_in), layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02))
    FigureCanvasAgg(figure)
    return figure


def plain_axes(axes: Axes, *, grid: Literal["x", "y", "both"] = "both") -> None:
    """Thin ticks and a faint grid."""
    axes.tick_params(width=0.6, length=2.5, pad=2, labelsize=SMALL)
    axes.tick_params(which="minor", width=0.4, length=1.5, labelsize=SMALL)
    axes.grid(axis=grid, color=GRID, linewidth=0.5)


def legend_above(figure: Figure, entries: Sequence[Artist]) -> None:
    """A legend above all axes, in as many columns as there is room for; `entries` have labels."""
    room = 72 * figure.get_figwidth()
    longest = int((room - _HANDLE) / _LETTER)
    for entry in entries:
        entry.set_label(textwrap.fill(str(entry.get_label()), longest))
    letters = max((len(line) for entry in entries for line in str(entry.get_label()).split("\n")), default=1)
    figure.legend(
        handles=list(entries), loc="outside upper left", ncols=max(1, int(room / (_HANDLE + _LETTER * letters))),
        handlelength=1.8, columnspacing=1.2, borderpad=0.1, handletextpad=0.6, labelspacing=0.3,
    )  # fmt: skip


def finished(figure: Figure) -> Figure:
    """The figure, laid out once for all: to write it in one format does not move what another shows."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def as_pixels(count: int) -> bool:
    """Whether so many dots are drawn as a picture."""
    return count > _MOST_VECTOR_DOTS


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Positions, evenly spread, with the first and the last: what is drawn of a long curve."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)) if count else np.arange(0)


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all.

    The same figure gives the same SVG and the same PNG, byte by byte. Text in SVG and PDF is text, and none of these
    has a date. A PNG has 300 dots an inch.

    Args:
        figure: of any function of this package, or of yours.
        path: ends in .png, .svg or .pdf.

    Raises:
        ValueError: it has another ending.
        OSError: the disk would not take it; a file that was there is as it was.
    """
    form = checked_format(path)
    with printed():
        save_figure(figure, path, format=form, dpi=_DPI, metadata=_UNDATED[form])


def save_figure(
    figure: Figure, path: Path, *, format: str | None = None, dpi: float | None = None, metadata: Any = None
) -> None:
    """Write a figure as `Figure.savefig` does, but whole or not at all.

    Raises:
        OSError: the disk would not take it; a file that was there is as it was.
    """
    file = io.BytesIO()
    form = format or path.suffix.removeprefix(".") or "png"  # matplotlib's own rule
    figure.savefig(file, format=form, dpi=dpi or figure.dpi, metadata=metadata)
    write_whole(path, file.getvalue())


def checked_format(path: Path) -> str:
    """The format that a path's ending names.

    Raises:
        ValueError: it names none that figures are written in.
    """
    form = path.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise ValueError(f"a figure's file must end in .{', .'.join(FORMATS[:-1])} or .{FORMATS[-1]}; got {path.name}")
    return form
