"""Numbers, times and lists as a report words them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pandas as pd

MISSING = "–"

NAMES = {
    "reward": "reward",
    "accuracy": "accuracy on the minival",
    "step_time": "training step time, over the anchor's",
    "params": "parameters",
    "macs": "multiply-adds",
    "activations": "activations",
    "latency": "latency, over the anchor's",
    "peak_memory": "peak memory, over the anchor's",
}
"""What a report calls the columns that are objectives."""

SHORT = {"step_time": "step time", "params": "parameters", "macs": "multiply-adds", "peak_memory": "peak memory"}

_COUNTED = frozenset({"params", "macs", "activations", "peak_memory_bytes"})
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def missing(value: Any) -> bool:
    """Whether a cell of a frame holds nothing, or nothing finite."""
    return value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value))


def count(value: Any) -> str:
    """A whole number: 12,345."""
    return MISSING if missing(value) else f"{int(value):,}"


def decimal(value: Any, digits: int = 4) -> str:
    """A number with so many digits after the point."""
    return MISSING if missing(value) else f"{float(value):.{digits}f}".replace("-", "−")


def percent(value: Any, digits: int = 0) -> str:
    """A share: 12 %."""
    return MISSING if missing(value) else f"{100 * float(value):.{digits}f} %".replace("-", "−")


def short(value: Any) -> str:
    """Three significant digits with a letter for the thousands: 34.0k, 1.58M."""
    if missing(value):
        return MISSING
    number = float(value)
    for letter, unit in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= 0.9995 * unit:
            return f"{_significant(number / unit)}{letter}"
    return _significant(number)


def _significant(number: float) -> str:
    number = float(f"{number:.3g}")
    if number == 0 or abs(number) >= 100:
        return f"{number:.0f}"
    places = max(0, 2 - math.floor(math.log10(abs(number))))
    return f"{number:.{min(places, 6)}f}"


def value_of(column: str, value: Any) -> str:
    """A value of a column of the trial table, as people read it."""
    if column in _COUNTED:
        return short(value)
    return decimal(value, 3 if column in ("step_time", "latency", "peak_memory") else 4)


def large(value: int) -> str:
    """A whole number of any size: as it is up to a million, else as 3.6 × 10¹⁰."""
    if value < 10**6:
        return f"{value:,}"
    exponent = len(str(value)) - 1
    lead = int(str(value)[:3]) / 100
    return f"{lead:.1f} × 10{str(exponent).translate(_SUPERSCRIPTS)}"


def duration(seconds: Any) -> str:
    """A time of any length: 12 s, 4 min 10 s, 3 h 20 min, 5 d 3 h."""
    if missing(seconds):
        return MISSING
    whole = float(seconds)
    if whole < 9.95:
        return f"{whole:.1f} s"
    for (unit, size), (smaller, part) in pairwise(_UNITS):
        if whole >= size:
            n, rest = divmod(round(whole / part), size // part)
            return f"{n} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole:.0f} s"


_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def device_hours(hours: Any) -> str:
    """Hours of a device."""
    if not missing(hours) and float(hours) == 0:
        return "0"
    return MISSING if missing(hours) else f"{float(hours):,.{1 if hours >= 10 else 2 if hours >= 0.1 else 4}f}"


def sort_key(value: Any) -> float:
    """What a cell is sorted by; missing ones come last of the highest first."""
    return -1e300 if missing(value) else float(value)


def option_text(option: Any) -> str:
    """An option of a choice in few letters."""
    if missing(option):
        return "absent"
    if isinstance(option, float) and option.is_integer():
        return str(int(option))  # a column of whole numbers with some missing holds floats
    return _OPTIONS.get(str(option), str(option))


_OPTIONS = {"mbconv": "MB", "fused_mbconv": "fused", "regnet_y": "Y", "regnet_z": "Z"}


def listed(words: Sequence[str]) -> str:
    """Words with commas, the last with "and"."""
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words)


def plural(number: int, noun: str, more: str | None = None) -> str:
    """`1 network`, `2,000 networks`."""
    return f"{number:,} {noun if number == 1 else more or noun + 's'}"


def moment(seconds: Any) -> str:
    """A point in time, in UTC."""
    return MISSING if missing(seconds) else datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%d %H:%M UTC")
