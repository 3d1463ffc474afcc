"""What a family is scaled to: a target in params, macs, activations, peak memory or step time, and meeting it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from nas.scaling.scaled import Scaled
from search_spaces import Architecture, cost

Price = Callable[[Architecture, int], float]
"""(architecture, image size) -> what is bounded, such as the step time measured on this device."""

TOLERANCE = 0.03
"""How far from its target a network may be and still count as meeting it, relatively."""

_UNITS: dict[str, dict[str, float]] = {
    "params": {"": 1, "K": 1e3, "M": 1e6, "G": 1e9},
    "macs": {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12},
    "activations": {"": 1, "K": 1e3, "M": 1e6, "G": 1e9},
    "peak_memory": {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    "step_time": {"s": 1, "ms": 1e-3},
}
METRICS = tuple(_UNITS)
"""What a target can be of: the closed-form costs, bytes of a training step, and seconds of one."""


@dataclass(frozen=True, slots=True)
class Target:
    """So much of a metric, or so many times the baseline's.

    Args:
        metric: one of `METRICS`.
        value: in the metric's unit (bytes, seconds), or the multiple.
        relative: whether it is a multiple of the baseline's.
    """

    metric: str
    value: float
    relative: bool

    def __str__(self) -> str:
        amount = f"{self.value:.10g}x" if self.relative else shown(self.metric, self.value, digits=10)
        return f"{self.metric} {amount}"

    @classmethod
    def parse(cls, metric: str, text: str) -> Target:
        """`2x` is a multiple of the baseline's; `20M`, `0.3s`, `250ms`, `4GiB` are absolute.

        Raises:
            ValueError: the text is no such thing, or not positive (lists the units).
        """
        units = _UNITS[metric]
        match = re.fullmatch(r"([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-z]*)", text.strip())
        value = float(match[1]) if match else math.nan
        if match is None or not 0 < value < math.inf or match[2] not in (*units, "x"):
            forms = ", ".join(["2x", *(f"{20 if unit != 's' else 0.2}{unit}" for unit in units)])
            raise ValueError(f"a target of {metric} must be a positive number like {forms}; got {text!r}")
        return cls(metric, value, True) if match[2] == "x" else cls(metric, value * units[match[2]], False)

    def amount(self, of_baseline: float) -> float:
        """The target in the metric's unit."""
        return self.value * of_baseline if self.relative else self.value


def shown(metric: str, value: float, *, digits: int = 4) -> str:
    """An amount for people, such as `21.5M` or `213ms`."""
    units = _UNITS[metric]
    unit, size = max(units.items(), key=lambda u: (u[1] <= value, u[1] if u[1] <= value else -u[1]))
    return f"{value / size:.{digits}g}{unit}"


def closed_form(metric: str, *, num_classes: int = 1000, in_channels: int = 3) -> Price:
    """The price that needs no measurement: params, macs or activations."""

    def price(architecture: Architecture, image_size: int) -> float:
        found = cost(architecture, image_size, num_classes=num_classes, in_channels=in_channels)
        return float(getattr(found, metric))

    return price


@dataclass(frozen=True, slots=True)
class Priced:
    """A member of a family, the parameter it comes of, and what it costs."""

    parameter: float
    member: Scaled
    price: float


def approach(
    grow: Callable[[float], Scaled],
    price: Price,
    amount: float,
    *,
    most: float,
    tolerance: float = TOLERANCE,
    tries: int = 20,
) -> list[Priced]:
    """Members of a one-parameter family ever nearer to a price, the nearest first.

    The parameter is doubled until the price is passed, so that a huge network is only built and timed where it
    is asked for; then the interval is halved. A member that seems to meet the amount is priced once more, and
    counts by the mean of both: the nearest of many noisy readings is near by chance.

    Args:
        grow: parameter from 0 (the baseline) -> member; larger parameters give larger members.
        price: what the amount is of.
        amount: wanted.
        most: the largest parameter.
        tolerance: relative; a member within it ends the search.
        tries: parameters to try, at the most.
    """
    seen: dict[tuple[Architecture, int], Priced] = {}
    low, high, parameter = 0.0, math.inf, 0.0
    for _ in range(tries):
        member = grow(parameter)
        key = (member.architecture, member.image_size)
        if key not in seen:
            seen[key] = Priced(parameter, member, confirmed(price, *key, amount, tolerance))
        found = seen[key]
        if abs(found.price / amount - 1) <= tolerance:
            break
        low, high = (low, parameter) if found.price > amount else (parameter, high)
        if high == 0 or low == most:
            break
        parameter = min(most, 2 * low or most / 64) if high == math.inf else (low + high) / 2
    return sorted(seen.values(), key=lambda p: abs(math.log(p.price / amount)))


def confirmed(price: Price, architecture: Architecture, image_size: int, amount: float, tolerance: float) -> float:
    """The price; where it meets the amount, the mean of two readings."""
    found = price(architecture, image_size)
    if abs(found / amount - 1) <= tolerance:
        found = (found + price(architecture, image_size)) / 2
    return found


def reach(grow: Callable[[float], Scaled], price: Price, target: Target, amount: float, *, most: float) -> Scaled:
    """The member of a one-parameter family whose price is the amount asked for, within `TOLERANCE`.

    Args:
        grow, price, amount, most: as `approach`.
        target: what was asked for, for the messages.

    Raises:
        ValueError: no member meets it; says the nearest below and above it.
    """
    seen = approach(grow, price, amount, most=most)
    check_met(target, amount, [p.price for p in seen])
    return seen[0].member


def check_met(target: Target, amount: float, reached: list[float]) -> None:
    """Raise ValueError where no price is within `TOLERANCE` of the amount; says the nearest below and above it."""
    if any(abs(p / amount - 1) <= TOLERANCE for p in reached):
        return
    below = max((p for p in reached if p <= amount), default=None)
    above = min((p for p in reached if p > amount), default=None)
    near = " and ".join(shown(target.metric, p) for p in (below, above) if p is not None)
    raise ValueError(
        f"the target must be one that the rule reaches within {TOLERANCE:.0%}: {target} is "
        f"{shown(target.metric, amount)}, and the nearest it reaches is {near}"
    )
