"""A network drawn as a strip of blocks: from left to right in the width of a page, downwards in that of a column."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from results.diagram import OP_COLOURS, Box, boxes_of, halvings
from results.plots.style import INK, QUIET, SMALL, WIDTHS, Width, finished, new_figure, printed
from search_spaces import Architecture, cost, part_costs

_PLAIN = "#8C8C8C"
_SHEET_IN = 0.035  # how far the layers of a stack are apart
_ROW_IN, _ROW_GAP_IN = 0.31, 0.125
_TALLEST_IN, _LOWEST_IN = 1.3, 0.72
_LINE_IN = 0.115  # from line to line of the smallest text


def architecture_figure(
    architecture: Architecture,
    image_size: int,
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    width: Width = "double",
) -> Figure:
    """Draw a network: a box a part, the smaller the smaller its map, with a stack for several layers.

    Args:
        architecture: the network.
        image_size: side of its pictures, in pixels.
        num_classes: outputs of the classifier.
        in_channels: of a picture.
        width: of the figure in print.

    Raises:
        ValueError: as `search_spaces.cost`.
    """
    shape = {"num_classes": num_classes, "in_channels": in_channels}
    parts = list(boxes_of(part_costs(architecture, image_size, **shape)))
    whole = cost(architecture, image_size, **shape)
    between = "\n" if width == "column" else " "
    said = f"{image_size} px pictures: {_short(whole.params)} parameters,{between}{_short(whole.macs)} multiply-adds"
    draw = _downwards if width == "column" else _rightwards
    with printed():
        return finished(draw(parts, image_size, said, width))


def _downwards(parts: list[Box], image_size: int, said: str, width: Width) -> Figure:
    across, pitch = WIDTHS[width], _ROW_IN + _ROW_GAP_IN
    down = len(parts) * pitch + 0.32
    figure, axes = _canvas(width, down)
    top, left = down - 0.34, 0.4
    axes.text(0.02, down - 0.15, said, fontsize=SMALL, color=INK, va="center")
    for place, box in enumerate(parts):
        inset = 0.04 * min(halvings(image_size, box.output_size), 5)
        begin, end = left + inset, across - 0.1 - inset
        bottom = top - _ROW_IN
        middle, upper, lower = (bottom + share * _ROW_IN for share in (0.5, 0.71, 0.27))
        sheets = min(box.layers, 3) - 1
        _draw_box(axes, box, (begin, bottom, end - begin, _ROW_IN))
        axes.text(left - 0.05, middle, f"{box.output_size} px", fontsize=SMALL, color=QUIET, ha="right", va="center")
        axes.text(begin + 0.06, upper, box.name, fontsize=SMALL, weight="bold", va="center")
        axes.text(begin + 0.06, lower, _design(box), fontsize=SMALL, va="center")
        axes.text(end - 0.06, upper, _channels(box, " "), fontsize=SMALL, ha="right", va="center")
        if place:
            centre = (begin + end) / 2
            _arrow(axes, (centre, top + _ROW_GAP_IN), (centre, top + sheets * _SHEET_IN))
        top -= pitch
    return figure


def _rightwards(parts: list[Box], image_size: int, said: str, width: Width) -> Figure:
    across, gap = WIDTHS[width], 0.15
    down = _TALLEST_IN + 0.72
    figure, axes = _canvas(width, down)
    pitch = (across - 0.04 + gap) / len(parts)
    most = max(halvings(image_size, box.output_size) for box in parts) or 1
    middle = 0.38 + _TALLEST_IN / 2
    axes.text(0.02, down - 0.08, said, fontsize=SMALL, color=INK, va="center")
    for place, box in enumerate(parts):
        share = halvings(image_size, box.output_size) / most
        height = _TALLEST_IN - share * (_TALLEST_IN - _LOWEST_IN)
        begin, bottom = 0.02 + place * pitch, middle - height / 2
        _draw_box(axes, box, (begin, bottom, pitch - gap, height))
        centre = begin + (pitch - gap) / 2
        lines = [*_wrapped(box.name), *(part for word in _design(box).split(", ") for part in _wrapped(word))]
        names = len(_wrapped(box.name))
        first = middle + (len(lines) - 1) / 2 * _LINE_IN
        for n, line in enumerate(lines):
            weight = "bold" if n < names else "normal"
            axes.text(centre, first - n * _LINE_IN, line, fontsize=SMALL - 0.5, weight=weight, ha="center", va="center")
        sheets = min(box.layers, 3) - 1
        axes.text(
            centre, bottom + height + 0.09 + sheets * _SHEET_IN, f"{box.output_size} px", fontsize=SMALL, color=QUIET,
            ha="center", va="center",
        )  # fmt: skip
        for n, line in enumerate(_channels(box, "\n").split("\n")):
            axes.text(centre, bottom - 0.1 - n * _LINE_IN, line, fontsize=SMALL, ha="center", va="center")
        if place:
            before = min(parts[place - 1].layers, 3) - 1
            _arrow(axes, (begin - gap + before * _SHEET_IN, middle), (begin, middle))
    return figure


def _canvas(width: Width, height_in: float) -> tuple[Figure, Axes]:
    """Axes that fill a figure, with inches as their coordinates."""
    figure = new_figure(width, height_in)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTHS[width]), ylim=(0, height_in))
    axes.set_axis_off()
    return figure, axes


def _draw_box(axes: Axes, box: Box, place: tuple[float, float, float, float]) -> None:
    """A box in the colour of its op, with the sheets of its stack behind it."""
    colour = to_rgb(OP_COLOURS[box.op] if box.op else _PLAIN)
    face = tuple(1 - 0.2 * (1 - part) for part in colour)
    left, bottom, wide, high = place
    for sheet in reversed(range(min(box.layers, 3))):
        patch = FancyBboxPatch(
            (left + sheet * _SHEET_IN, bottom + sheet * _SHEET_IN), wide, high, facecolor=face, edgecolor=colour,
            linewidth=0.7, boxstyle="round,pad=0,rounding_size=0.03",
        )  # fmt: skip
        axes.add_patch(patch)


def _arrow(axes: Axes, begin: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>,head_length=0.16,head_width=0.08", "linewidth": 0.6, "color": QUIET}
    axes.annotate("", end, begin, arrowprops={**style, "shrinkA": 0.5, "shrinkB": 0.5})


def _design(box: Box) -> str:
    return box.design.replace("x", "\u00d7", 1) if box.design[:1].isdigit() else box.design


def _wrapped(word: str) -> list[str]:
    return textwrap.wrap(word, 10, break_long_words=False)


def _channels(box: Box, between: str) -> str:
    if box.name == "classifier":
        return f"{box.channels:,}{between}classes"
    times = f"{between}\u00d7 {box.layers}" if box.layers > 1 else ""
    return f"{box.channels:,} ch{times}"


def _short(count: int) -> str:
    """Three digits and a word."""
    for size, word in ((10**9, " billion"), (10**6, " million"), (10**3, " thousand")):
        if count >= size:
            return f"{count / size:.3g}{word}"
    return str(count)
