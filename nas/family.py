"""A family of networks from one baseline: which members a request asks for, what they cost, and their files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from nas.networks import NamedNetwork
from nas.prices import Prices
from nas.scaling.fast import STRATEGIES, fast
from nas.scaling.measured import MOST_GROWTH, Efficiencies, efficiencies, measured
from nas.scaling.nonuniform import MEMBERS, brought_down, nonuniform
from nas.scaling.scaled import Scaled, brief
from nas.scaling.targets import TOLERANCE, Price, Target, check_met, reach
from nas.scaling.uniform import PUBLISHED_BASES, Bases, compound, published_member
from search_spaces import Architecture, cost
from search_spaces.efficientnet import scale_uniformly

RULES = ("nonuniform", "uniform", "fast", "measured")
"""The scaling rules by name."""

SPACES_OF_S = ("efficientnetv2-s", "efficientnet-b4")
"""Spaces whose networks have the size of S; what is found in them is brought down before it is scaled up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRequest:
    """Which members, by which rule.

    Args:
        rule: one of `RULES`.
        members: in the rule's own terms: s, m, l (non-uniform), the same or b0 to b7 (uniform), growths in macs
            such as 4x (fast), or in step time (measured).
        phi: exponents of the uniform rule.
        targets: prices to meet.
        bases: α, β, γ of the uniform rule; None is the published ones.
        guard: whether no width loses more than 10 % by rounding in the uniform rule; None is True.
        strategy: of the fast rule, a name in `STRATEGIES`; None is dWr.

    Raises:
        ValueError: the rule or strategy is unknown, or the rule takes no such members.
    """

    rule: str = "nonuniform"
    members: tuple[str, ...] = ()
    phi: tuple[float, ...] = ()
    targets: tuple[Target, ...] = ()
    bases: Bases | None = None
    guard: bool | None = None
    strategy: str | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}; got {self.rule!r}")
        owners = {"phi": "uniform", "bases": "uniform", "guard": "uniform", "strategy": "fast"}
        for name, owner in owners.items():
            if getattr(self, name) not in (None, ()) and self.rule != owner:
                raise ValueError(f"{name} belongs to the {owner} rule; the {self.rule} rule takes {_TERMS[self.rule]}")
        if self.strategy is not None and self.strategy not in STRATEGIES:
            raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}; got {self.strategy!r}")
        if not (self.members or self.phi or self.targets):
            if self.rule != "nonuniform":
                raise ValueError(f"the {self.rule} rule needs to be told how large: {_TERMS[self.rule]}")
            object.__setattr__(self, "members", tuple(MEMBERS))

    @property
    def all_targets(self) -> tuple[Target, ...]:
        """The targets, those among them that the measured rule's members stand for."""
        if self.rule != "measured":
            return self.targets
        return (*(Target.parse("step_time", name) for name in self.members), *self.targets)


_TERMS = {
    "nonuniform": "targets s, m, l, or a target in params, macs, activations, memory or step time",
    "uniform": "targets s, m, l or b0 to b7, phi, or a target in params, macs, activations, memory or step time",
    "fast": "targets such as 4x (growth in macs), or a target in params, macs, activations, memory or step time",
    "measured": "targets such as 2x (growth in step time), or a target in params, macs, activations, memory or "
    "step time",
}
_AS_B = {"s": "b4", "m": "b5", "l": "b7"}  # google/automl's comments on S, M and L name these coefficients


def family_of(
    base: Architecture, image_size: int, request: FamilyRequest, price_of: Callable[[str], Price]
) -> Iterator[Scaled]:
    """The members asked for, one after the other, in the order asked for.

    Args:
        base: the baseline.
        image_size: of its pictures, in pixels.
        request: which members.
        price_of: metric -> its price, in the metric's unit; asked for where a target needs it.

    Raises:
        ValueError: a member is unknown, or a target cannot be met (says the nearest that can).
    """
    for name in request.members if request.rule != "measured" else ():
        yield _named(base, image_size, request, name)
    for phi in request.phi:
        yield _grower(base, image_size, request)(phi)
    tried: dict[str, Efficiencies] = {}
    for target in request.all_targets:
        price = price_of(target.metric)
        if request.rule == "measured" and target.metric not in tried and target.amount(1.0) > 1:
            tried[target.metric] = efficiencies(base, image_size, price)
        member = _targeted(base, image_size, request, target, price, tried.get(target.metric))
        yield replace(member, name=str(target))


def _named(base: Architecture, image_size: int, request: FamilyRequest, name: str) -> Scaled:
    if request.rule == "nonuniform":
        return nonuniform(base, name.lower(), image_size=image_size)
    if request.rule == "uniform":
        guard = request.guard is not False
        member = published_member(base, image_size, _AS_B.get(name.lower(), name.lower()), guard=guard)
        return replace(member, name=name.lower())
    growth = re.fullmatch(r"([0-9]*\.?[0-9]+)x", name)
    if growth is None:
        raise ValueError(f"a target of the fast rule must be a growth in macs such as 4x; got {name!r}")
    return fast(base, image_size, float(growth[1]), given=STRATEGIES[request.strategy or "dWr"])


def _grower(base: Architecture, image_size: int, request: FamilyRequest) -> Callable[[float], Scaled]:
    """The rule as a family of one parameter, whose 0 is the baseline: φ, or the logarithm of the macs."""
    if request.rule == "uniform":
        bases, guard = request.bases or PUBLISHED_BASES, request.guard is not False
        return partial(compound, base, image_size, bases=bases, guard=guard)
    given = STRATEGIES[request.strategy or "dWr"]
    return lambda growth: fast(base, image_size, math.exp(growth), given=given)


def _targeted(
    base: Architecture,
    image_size: int,
    request: FamilyRequest,
    target: Target,
    price: Price,
    efficiency: Efficiencies | None,
) -> Scaled:
    if request.rule == "measured":
        return measured(base, image_size, target, price, efficiency=efficiency)
    amount = target.amount(price(base, image_size))
    if request.rule == "nonuniform":
        members = [nonuniform(base, name, image_size=image_size) for name in MEMBERS]
        prices = [price(m.architecture, m.image_size) for m in members]
        check_met(target, amount, prices)
        return min(zip(prices, members, strict=True), key=lambda pair: abs(pair[0] / amount - 1))[1]
    return reach(_grower(base, image_size, request), price, target, amount, most=MOST_GROWTH)


def baseline_of(network: NamedNetwork, scale: str | None, image_size: int | None) -> tuple[Architecture, int, str]:
    """The architecture and the image size that a family grows from, and a line that says so.

    Args:
        network: what was named.
        scale: `s` brings a network of S's size down first, `base` takes it as it is; None is `s` for what was
            found in a space of S's size, and `base` otherwise.
        image_size: of the baseline's pictures; None is 224 for a network brought down, otherwise the size
            the network was published or searched with, otherwise 224.
    """
    scale = scale or ("s" if network.space in SPACES_OF_S else "base")
    if scale not in ("base", "s"):
        raise ValueError(f"baseline scale must be base or s; got {scale!r}")
    down = scale == "s"
    architecture = brought_down(network.architecture) if down else network.architecture
    known = None if down or network.image_sizes is None else network.image_sizes.eval
    size = image_size or known or 224
    how = "brought down from S's scale" if down else "as it is"
    return architecture, size, f"baseline: {network.name}, {how}, at {size} px (--baseline-scale, --image-size)"


def row_of(member: Scaled, *, num_classes: int, in_channels: int) -> dict[str, Any]:
    """What there is to say of a member: picture sizes, cost, stages, text, and the rules that acted."""
    found = cost(member.architecture, member.image_size, num_classes=num_classes, in_channels=in_channels)
    return {
        "name": member.name,
        "image_size": member.image_size,
        "train_image_size": member.train_image_size,
        **found._asdict(),
        "stages": brief(member.architecture),
        "num_classes": num_classes,
        "in_channels": in_channels,
        "architecture": str(member.architecture),
        "rules": list(member.rules),
    }


def grow(
    base: Architecture, image_size: int, request: FamilyRequest, prices: Prices, folder: Path, *, step_time: bool
) -> Iterator[dict[str, Any]]:
    """A row for the baseline and one for each member, whose file is written as soon as it is known.

    Args:
        base: the baseline.
        image_size: of its pictures, in pixels.
        request: which members.
        prices: what networks cost; of the same baseline.
        folder: for the files.
        step_time: whether to time every member.

    Raises:
        ValueError: as `family_of`.
        FileExistsError: a member's file holds another network.
        OSError: the folder cannot be written to.
    """
    timed = step_time or any(target.metric == "step_time" for target in request.all_targets)
    if timed or any(target.metric == "peak_memory" for target in request.all_targets):
        folder.mkdir(parents=True, exist_ok=True)  # before minutes are spent on measuring
        check_unmeasured(folder, request)
    shape = {"num_classes": prices.num_classes, "in_channels": prices.in_channels}
    baseline = row_of(Scaled("baseline", base, image_size, image_size), **shape)
    yield baseline | ({"step_time": 1.0} if timed else {})
    for member in family_of(base, image_size, request, prices):
        row = {"rule": request.rule, **row_of(member, **shape)}
        if timed:
            found = prices.step_time(member.architecture, member.image_size)
            row |= {"step_time": found.ratio, "step_time_low": found.low, "step_time_high": found.high}
            row["step_time_s"] = found.seconds
        write_member(folder, row)
        yield row


def explanation(base: Architecture) -> list[dict[str, Any]]:
    """Where the plain uniform rule and the non-uniform one differ, entry by entry, for S, M and L.

    From V2-B0 this is what uniform scaling gets right and wrong of the released networks: an entry both rules
    agree on is one value, another reads `uniform -> non-uniform`.
    """
    pairs = {}
    for name, member in MEMBERS.items():
        width = {"s": 1.4}.get(name, member.width)  # B4's; 1.36 is the non-uniform rule's own
        plain = scale_uniformly(base, width, member.depth, guard=False)
        pairs[name] = (plain, nonuniform(base, name).architecture)
    rows = [_row("stem", {n: (a.stem_channels, b.stem_channels) for n, (a, b) in pairs.items()})]
    for i in range(max(len(b.stages) for _, b in pairs.values())):
        for field in ("channels", "layers"):
            entries = {}
            for name, both in pairs.items():
                entries[name] = tuple(getattr(x.stages[i], field) if i < len(x.stages) else "none" for x in both)
            rows.append(_row(f"stage {i + 1} {field}", entries))
    rows.append(_row("head", {n: (a.head_channels, b.head_channels) for n, (a, b) in pairs.items()}))
    return rows


def _row(entry: str, values: dict[str, Any]) -> dict[str, Any]:
    return {"entry": entry} | {n: str(a) if a == b else f"{a} -> {b}" for n, (a, b) in values.items()}


def member_file(folder: Path, name: str) -> Path:
    """Where a member is written to."""
    return folder / f"{re.sub(r'[^A-Za-z0-9.+]+', '-', name).strip('-')}.json"


def off_target(rows: list[dict[str, Any]], request: FamilyRequest) -> list[str]:
    """A line for each member whose step time, measured once more, is off its target by more than is allowed.

    Args:
        rows: of the members, with `step_time` and `step_time_s`.
        request: what was asked for.
    """
    lines = []
    by_name = {row["name"]: row for row in rows}
    for target in request.all_targets:
        if target.metric != "step_time":
            continue
        row = by_name[str(target)]
        found = row["step_time"] if target.relative else row["step_time_s"]
        if abs(found / target.value - 1) > TOLERANCE:
            lines.append(
                f"{target}: measured once more it is {row['step_time']:.3f}x ({row['step_time_low']:.3f} to "
                f"{row['step_time_high']:.3f}); a quieter machine or a larger --batch-size would steady it"
            )
    return lines


def check_unmeasured(folder: Path, request: FamilyRequest) -> None:
    """Before minutes are spent on measuring a member: no file may be in its place, since two measurements differ.

    Raises:
        FileExistsError: there is one.
    """
    for target in request.all_targets:
        path = member_file(folder, str(target))
        if target.metric in ("step_time", "peak_memory") and path.exists():
            raise FileExistsError(f"{path} is there already; choose another folder with --out, or remove it")


def write_member(folder: Path, row: dict[str, Any]) -> None:
    """A JSON file that `nas describe` and the other commands take as input.

    Raises:
        FileExistsError: a file of that name holds another network.
        OSError: it cannot be written; nothing of it is left then.
    """
    path = member_file(folder, row["name"])
    if path.exists() and not _same(path, row):
        raise FileExistsError(f"{path} holds another network; choose another folder with --out, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".partial")
    try:
        unfinished.write_text(json.dumps(row, indent=2) + "\n")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def _same(path: Path, row: dict[str, Any]) -> bool:
    """Whether a file holds the network of a row; a step time may have been measured otherwise."""
    try:
        known = json.loads(path.read_text())
        return all(known[key] == row[key] for key in ("architecture", "image_size", "train_image_size"))
    except (ValueError, KeyError, TypeError):
        return False
