"""Scaling by measured cost: fast scaling, tilted by what this device charges for each way to grow.

Fast scaling (Dollar et al. 2021, arXiv 2103.06877) grows every stage alike, by exponents derived from how
macs and activations grow. Here each stage's depth, each stage's width and larger pictures are first tried
alone, and *priced*: measured, where the price is the training step time. How many macs a unit of the price
buys in each of them tilts the exponents; one number, the growth, is then solved for the target.

    log x_j = g e_j η_j,    η_j = (log macs ratio / log price ratio of trying j alone) / (their mean)

with e_j fast scaling's exponents (their equation 8). Pictures grow no further than the uniform rule's would,
and only to a size whose macs are cheaper than those of layers and widths: step times have steps of their own
there, which no exponent knows. What rounding leaves is spent on single layers and widths, where they cost
least for the macs they add. The method is ours; `docs/scaling.md` compares it with the uniform rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nas.scaling.fast import to_eight, to_four
from nas.scaling.scaled import Scaled
from nas.scaling.targets import TOLERANCE, Price, Priced, Target, approach, check_met, confirmed
from search_spaces import Architecture, cost
from search_spaces.regnet import resized

TRIAL_WIDTH = 1.5
"""How much wider a stage is made to see what width costs in it; its layers are doubled to see what depth does."""

TRIAL_SIZES = tuple(1 + i / 16 for i in range(1, 9))
"""How much larger pictures are made, up to half as large again."""

TILT = (0.5, 2.0)
"""The least and the largest η: beyond, a measurement's noise, or a free lunch, would run away with the network."""

LEAST_SURPLUS = 0.01
"""Of a picture size: below 1 % it is noise, and no reason to grow the pictures."""

MOST_GROWTH = math.log(1024)
"""The largest growth that is tried."""


MOST_STEPS = 40
"""How many single layers and widths may be added at the end."""


@dataclass(frozen=True, slots=True)
class Efficiencies:
    """Macs for the price, of each way to grow.

    Args:
        depth: η of each stage's depth, over the mean of all depths and widths.
        width: η of each stage's width, likewise.
        surplus: picture size -> by how much the logarithm of its macs exceeds what its price buys in layers and
            widths; sizes without a surplus are left out.
    """

    depth: tuple[float, ...]
    width: tuple[float, ...]
    surplus: Mapping[int, float]


def efficiencies(base: Architecture, image_size: int, price: Price) -> Efficiencies:
    """Try every way to grow alone: each stage twice as deep, each 1.5 times as wide, eight sizes of pictures.

    Args:
        base: the baseline.
        image_size: of its pictures, in pixels.
        price: asked for 2 x stages + 9 networks.
    """
    of_base = price(base, image_size)

    def tried(architecture: Architecture, size: int) -> tuple[float, float]:
        gain = math.log(_macs(architecture, size) / _macs(base, image_size))
        # what costs nothing, or seems to, is not worth more than ten times what it is
        return gain, max(math.log(max(price(architecture, size) / of_base, 1.0)), 0.1 * gain)

    count = len(base.stages)
    ones = [1.0] * count
    deep = [tried(_grown(base, _only(i, 2.0, count), ones), image_size) for i in range(count)]
    wide = [tried(_grown(base, ones, _only(i, TRIAL_WIDTH, count)), image_size) for i in range(count)]
    rates = [gain / paid if gain else 0.0 for gain, paid in (*deep, *wide)]  # rounding may leave a stage as it is
    mean = sum(rates) / len(rates)
    tilt = [min(TILT[1], max(TILT[0], rate / mean)) for rate in rates]
    surplus = {}
    for size in dict.fromkeys(to_four(image_size, factor) for factor in TRIAL_SIZES):
        gain, paid = tried(base, size)
        if size > image_size and gain > mean * paid + LEAST_SURPLUS:
            surplus[size] = gain - mean * paid
    return Efficiencies(tuple(tilt[:count]), tuple(tilt[count:]), surplus)


def tilted(
    base: Architecture, image_size: int, growth: float, efficiency: Efficiencies, *, alpha: float = 0.8
) -> Scaled:
    """The baseline grown by a number: 0 leaves it as it is.

    Args:
        base: the baseline.
        image_size: of its pictures, in pixels.
        growth: the logarithm of the macs that fast scaling would give it; at least 0.
        efficiency: of each way to grow.
        alpha: share of the growth that goes into width, as in `nas.scaling.fast`.
    """
    depth = [math.exp(growth * (1 - alpha) / 2 * η) for η in efficiency.depth]
    width = [math.exp(growth * alpha / 2 * η) for η in efficiency.width]
    largest = image_size * math.exp(growth / 6)  # the uniform rule's, of equation 8 with α = 1/3
    allowed = {size: gain for size, gain in efficiency.surplus.items() if size <= largest}
    size = max(allowed, key=lambda s: allowed[s], default=image_size)
    rules = [
        f"stage {i}: layers x {d:.3g}, width x {w:.3g}" for i, (d, w) in enumerate(zip(depth, width, strict=True), 1)
    ]
    if size > image_size:
        rules.append(f"pictures of {size} px, whose macs are cheaper than those of layers and widths")
    return Scaled(f"growth {growth:.3g}", _grown(base, depth, width), size, size, tuple(rules))


def measured(
    base: Architecture,
    image_size: int,
    target: Target,
    price: Price,
    *,
    efficiency: Efficiencies | None = None,
    alpha: float = 0.8,
) -> Scaled:
    """The baseline grown to a price, each stage by what it costs.

    Args:
        base: the baseline.
        image_size: of its pictures, in pixels.
        target: the price to meet within 3 %.
        price: what is paid, such as the training step time on this device.
        efficiency: None asks `efficiencies` for it.
        alpha: as in `tilted`.

    Raises:
        ValueError: the target is below the baseline, or cannot be met; says what can.
    """
    of_base = price(base, image_size)
    amount = target.amount(of_base)
    if amount < of_base * (1 - TOLERANCE):
        check_met(target, amount, [of_base])
    efficiency = efficiency or efficiencies(base, image_size, price)
    seen = approach(lambda g: tilted(base, image_size, g, efficiency, alpha=alpha), price, amount, most=MOST_GROWTH)
    below = [p for p in seen if amount / 2 < p.price <= amount]  # what is farther is more than rounding
    if abs(seen[0].price / amount - 1) > TOLERANCE and below:
        seen = _in_single_steps(below[0], base, efficiency, price, amount) + seen
    check_met(target, amount, [p.price for p in seen])
    return min(seen, key=lambda p: abs(p.price / amount - 1)).member


def _in_single_steps(
    start: Priced, base: Architecture, efficiency: Efficiencies, price: Price, amount: float
) -> list[Priced]:
    """A layer or eight channels more at a time, where they cost least for their capacity, until the amount is met.

    A step that overshoots is not tried again.
    """
    found, network = [start], start.member.architecture
    if len(network.stages) != len(base.stages):  # neighbours became alike, and are one stage now
        return found
    steps = [(field, i) for field in ("layers", "channels") for i in range(len(base.stages))]
    worths = {"layers": efficiency.depth, "channels": efficiency.width}

    def worth(step: tuple[str, int]) -> float:
        field, i = step  # what has grown already has less use for more
        grown = float(getattr(network.stages[i], field) / getattr(base.stages[i], field))
        return worths[field][i] / grown

    while steps and abs(found[-1].price / amount - 1) > TOLERANCE and len(found) <= MOST_STEPS:
        best = max(steps, key=worth)
        larger = _stepped(network, *best)
        size = start.member.image_size
        asked = math.inf if larger == network else confirmed(price, larger, size, amount, TOLERANCE)
        if asked > amount * (1 + TOLERANCE):
            steps.remove(best)
            continue
        more = "a layer more" if best[0] == "layers" else "8 channels more"
        rules = (*found[-1].member.rules, f"stage {best[1] + 1}: {more}, for what rounding left")
        found.append(Priced(start.parameter, replace(start.member, architecture=larger, rules=rules), asked))
        network = larger
    return found


def _stepped(network: Architecture, field: str, which: int) -> Architecture:
    stage = network.stages[which]
    layers, channels = stage.layers + (field == "layers"), stage.channels + 8 * (field == "channels")
    stages = (*network.stages[:which], resized(stage, channels, layers), *network.stages[which + 1 :])
    return Architecture(network.stem_channels, stages, network.head_channels)


def _macs(architecture: Architecture, image_size: int) -> int:
    return cost(architecture, image_size, num_classes=1).macs  # the classifier's are the task's, not the network's


def _only(which: int, factor: float, count: int) -> list[float]:
    return [factor if i == which else 1.0 for i in range(count)]


def _grown(base: Architecture, depth: Sequence[float], width: Sequence[float]) -> Architecture:
    """Each stage deeper and wider by its factors; the stem goes with the first stage, the head with the last."""
    stages = tuple(
        resized(s, to_eight(s.channels, w), max(s.layers, round(s.layers * d)))
        for s, d, w in zip(base.stages, depth, width, strict=True)
    )
    head = to_eight(base.head_channels, width[-1]) if base.head_channels else 0
    return Architecture(to_eight(base.stem_channels, width[0]), stages, head)
