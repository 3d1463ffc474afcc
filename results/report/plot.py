"""Charts as inline SVG: axes with round ticks, and the marks drawn on them.

Colours, widths and the size of letters are classes of the page's style, so that they follow light, dark and phone.
Everything here is a value; text is escaped by `markupsafe`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike, NDArray

_MOST_TICKS = 6


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows.

    Args:
        label: what stands at it.
        low: value at its beginning.
        high: value at its end, above `low`.
        ticks: values and their texts.
        log: whether equal ratios are equally far apart.
    """

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def shares(self, values: ArrayLike) -> NDArray[np.float64]:
        """Where values stand, from 0 at the beginning to 1 at the end; those beyond stand at the edge."""
        given = np.asarray(values, dtype=np.float64)
        if self.log:
            given = np.log(np.maximum(given, self.low))
            low, high = math.log(self.low), math.log(self.high)
        else:
            low, high = self.low, self.high
        with np.errstate(over="ignore"):  # far beyond a tiny range is infinitely far, which is clipped too
            return np.asarray(np.clip((given - low) / (high - low), 0.0, 1.0))


def axis(
    label: str,
    low: float,
    high: float,
    *,
    log: bool = False,
    room: float = 0.04,
) -> Axis:
    """An axis over a range of values, with some room at both ends and round ticks.

    Args:
        label: what stands at it.
        low: the least value.
        high: the greatest value; one that is not above `low` is given room around it.
        log: whether equal ratios are equally far apart; needs a `low` above 0.
        room: share of the range that is added at each end.
    """
    if log and low > 0:
        spread = max(math.log(max(high, low) / low), 0.02)
        low, high = low * math.exp(-room * spread), max(high, low) * math.exp(room * spread)
        values = _log_ticks(low, high)
    else:
        log = False
        spread = high - low if high - low > _LEAST else max(abs(low) * 0.1, 0.1)
        middle = (high + low) / 2
        low, high = middle - spread * (0.5 + room), middle + spread * (0.5 + room)
        values = ticks(low, high)
    return Axis(label, low, high, tuple(zip(values, _texts(values), strict=True)), log)


def ticks(low: float, high: float) -> list[float]:
    """At most six round values in a range: multiples of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / (_MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{n * step:.12g}") for n in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    for leads in ((1,), (1, 3), (1, 2, 5)):
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [lead * 10.0**power for power in powers for lead in leads if low <= lead * 10.0**power <= high]
        if len(found) >= 3:
            return found[:: math.ceil(len(found) / _MOST_TICKS)]
    return ticks(low, high)


_LEAST = 1e-300
"""A range below this is none: parts of it could not be told as numbers."""

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def _texts(values: Sequence[float]) -> list[str]:
    """Values with as few decimals as they need, and with letters for thousands where there are any."""
    parts = []
    for value in values:
        unit, letter = next((u for u in _UNITS if abs(value) >= u[0] * (1 - 1e-9)), (1.0, ""))
        parts.append((value / unit, letter if value else ""))
    decimals = next(
        (d for d in range(7) if all(abs(round(part, d) - part) < 1e-9 * max(1.0, abs(part)) for part, _ in parts)), 6
    )
    if any(letter for _, letter in parts):  # 500k and 1M, not 1.0M
        return [f"{part:.{decimals}f}".rstrip("0").rstrip(".").replace("-", "−") + letter if decimals
                else f"{part:.0f}".replace("-", "−") + letter for part, letter in parts]  # fmt: skip
    return [f"{part:.{decimals}f}".replace("-", "−") for part, _ in parts]


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart's two axes and its size in units of its own view box.

    Args:
        x: the axis from left to right.
        y: the axis from bottom to top.
        width: of the whole.
        height: of the whole.
        left: room for the ticks of `y`.
        bottom: room for the ticks and the label of `x`.
        top: room for the label of `y`.
        right: room at the right edge.
    """

    x: Axis
    y: Axis
    width: int = 480
    height: int = 340
    left: int = 50
    bottom: int = 46
    top: int = 30
    right: int = 12

    def points(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Positions in the view box, shape (n, 2); NaN where a value is."""
        across = self.left + self.x.shares(x) * (self.width - self.left - self.right)
        up = self.height - self.bottom - self.y.shares(y) * (self.height - self.bottom - self.top)
        return np.column_stack([np.atleast_1d(across), np.atleast_1d(up)])

    def line(self, x: ArrayLike, y: ArrayLike, css: str, *, step: bool = False) -> Markup:
        """A line through points in their order, broken where one is NaN; `step` keeps a value until the next."""
        points = self.points(x, y)
        if step and len(points) > 1:
            points = np.repeat(points, 2, axis=0)[1:]
            points[1::2, 1] = points[0:-1:2, 1]
        return Markup(f'<path class="line {css}" d="{_path(points)}"/>')

    def band(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, css: str, *, step: bool = False) -> Markup:
        """The area between two lines; points where either is NaN are left out."""
        below, above = self.points(x, low), self.points(x, high)
        known = ~(np.isnan(below).any(axis=1) | np.isnan(above).any(axis=1))
        below, above = below[known], above[known]
        if not len(below):
            return Markup("")
        if step:
            below, above = _stepped(below), _stepped(above)
        return Markup(f'<path class="band {css}" d="{_path(np.concatenate([above, below[::-1]]))}Z"/>')

    def dots(self, x: ArrayLike, y: ArrayLike, css: str, rows: Sequence[int] | None = None) -> Markup:
        """Many points as one path; those with a NaN are left out.

        Args:
            x: values.
            y: values.
            css: classes.
            rows: of the page's table of trials, one a point, for the script to show where one points.
        """
        points = self.points(x, y)
        known = ~np.isnan(points).any(axis=1)
        drawn = "".join(f"M{_short(a)} {_short(b)}h0" for a, b in points[known].tolist())
        given = "" if rows is None else f' data-rows="{" ".join(str(r) for r in np.asarray(rows)[known].tolist())}"'
        return Markup(f'<path class="dots {css}"{given} d="{drawn}"/>')

    def rings(self, x: ArrayLike, y: ArrayLike, sure: ArrayLike, texts: Sequence[str], rows: Sequence[int]) -> Markup:
        """Points that can be reached by keyboard, each with a text; those with a NaN are left out.

        Args:
            x: values.
            y: values.
            sure: from 0 to 1, how dark a ring is.
            texts: what a point is.
            rows: of the page's table of trials.
        """
        found: list[str] = []
        shades = (0.3 + 0.7 * np.asarray(sure, dtype=np.float64)).tolist()
        for (across, up), shade, text, row in zip(self.points(x, y).tolist(), shades, texts, rows, strict=True):
            if not (math.isnan(across) or math.isnan(up)):
                tab = "-1" if found else "0"
                place = f'cx="{_short(across)}" cy="{_short(up)}"'
                found.append(
                    f'<circle class="ring front" style="--sure:{shade:.2f}" {place} r="4.5" tabindex="{tab}" '
                    f'role="button" data-row="{row}" aria-label="{escape(text)}"/>'
                )
        return Markup("".join(found))

    def whiskers(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, css: str) -> Markup:
        """An upright line at each x, between two values; those with a NaN are left out."""
        ends = np.column_stack([self.points(x, low), self.points(x, high)[:, 1]])
        known = ends[~np.isnan(ends).any(axis=1)].tolist()
        drawn = "".join(f"M{_short(a)} {_short(b)}V{_short(c)}" for a, b, c in known)
        return Markup(f'<path class="whisker {css}" d="{drawn}"/>')

    def note(self, x: float, y: float, text: str, css: str = "") -> Markup:
        """A text above a point or, where there is no room, below it."""
        across, height = self.points(x, y)[0].tolist()
        anchor = "end" if across > 0.75 * self.width else "start" if across < 0.3 * self.width else "middle"
        height += -12.0 if height > self.top + 26.0 else 24.0
        return Markup('<text class="note {}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
            css, _short(across), _short(height), anchor, text
        )

    def rule(self, y: float, css: str = "") -> Markup:
        """A level line."""
        height = self.points(self.x.low, y)[0, 1]
        end = self.width - self.right
        return Markup(f'<path class="rule {css}" d="M{self.left} {_short(height)}H{end}"/>')

    def svg(self, layers: Sequence[Markup], title: str, *, css: str = "", reachable: bool = False) -> Markup:
        """The chart.

        Args:
            layers: what is drawn on its axes, the lowest first.
            title: what it shows, for those who cannot see it.
            css: further classes.
            reachable: whether it holds points that the keyboard reaches.
        """
        role = "group" if reachable else "img"
        head = Markup('<svg class="plot {}" viewBox="0 0 {} {}" role="{}" aria-label="{}">').format(
            css, self.width, self.height, role, title
        )
        return head + self._axes() + Markup("").join(layers) + Markup("</svg>")

    def _axes(self) -> Markup:
        floor, end = self.height - self.bottom, self.width - self.right
        found: list[str] = []
        for value, text in self.y.ticks:
            height = _short(self.points(self.x.low, value)[0, 1])
            found.append(f'<path class="grid" d="M{self.left} {height}H{end}"/>')
            found.append(_text(self.left - 8, height, "tick", "end", text, 'dy=".35em"'))
        for value, text in self.x.ticks:
            across = _short(self.points(value, self.y.low)[0, 0])
            found.append(f'<path class="grid" d="M{across} {floor}v4"/>')
            found.append(_text(across, floor + 18, "tick", "middle", text))
        found.append(_text(0, 13, "axis", "start", self.y.label))
        found.append(_text(end, self.height - 5, "axis", "end", self.x.label))
        return Markup("".join(found))


def _text(x: Any, y: Any, css: str, anchor: str, text: str, more: str = "") -> str:
    return f'<text class="{css}" x="{x}" y="{y}" text-anchor="{anchor}" {more}>{escape(text)}</text>'


def _stepped(points: NDArray[np.float64]) -> NDArray[np.float64]:
    steps = np.repeat(points, 2, axis=0)[1:]
    steps[1::2, 1] = points[:-1, 1]
    return steps


def _path(points: NDArray[np.float64]) -> str:
    """The commands of a path through points; it begins anew after each that is NaN."""
    parts, begun = [], False
    for across, up in points.tolist():
        if math.isnan(across) or math.isnan(up):
            begun = False
            continue
        parts.append(f"{'L' if begun else 'M'}{_short(across)} {_short(up)}")
        begun = True
    return "".join(parts)


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
