"""What a network is: `Stage` and `Architecture`, and the one text that names each network.

The stage-factorised description is MnasNet's (arXiv 1807.11626, section 4.1): a network is a stem,
a list of stages of identical layers, of which only the first may stride, and a head.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

OPS = ("mbconv", "fused_mbconv", "regnet_y", "regnet_z")
"""The layer designs a stage can repeat: MBConv (MobileNetV2), Fused-MBConv (EfficientNet-EdgeTPU), the bottleneck
of RegNetY (arXiv 2003.13678) and the inverted bottleneck of RegNetZ (arXiv 2103.06877, section 5)."""


@dataclass(frozen=True, slots=True)
class Stage:
    """`layers` equal layers, of which only the first strides and changes the width.

    Args:
        op: one of `OPS`.
        kernel: side of the spatial convolution, odd.
        stride: stride of the first layer; the others have stride 1.
        expand_ratio: width inside a layer over the width at its input; in RegNets, over that at its output.
        channels: width at the output of every layer.
        layers: how many layers, at least 1.
        se_ratio: squeeze width of squeeze-and-excitation over the *block input* width; 0 is none.
        group_width: channels in a group of the spatial convolution of a RegNet; it must divide the width
            inside. 1 in the others, whose convolution is depthwise (MBConv) or full (Fused-MBConv).

    Raises:
        ValueError: a field is out of its range.
    """

    op: str
    kernel: int
    stride: int
    expand_ratio: int
    channels: int
    layers: int
    se_ratio: float = 0.0
    group_width: int = 1

    def __post_init__(self) -> None:
        if self.op not in OPS:
            raise ValueError(f"op must be one of {', '.join(OPS)}; got {self.op!r}")
        for name in ("kernel", "stride", "expand_ratio", "channels", "layers", "group_width"):
            object.__setattr__(self, name, checked_count(name, getattr(self, name)))
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, so that a layer keeps its map centred; got {self.kernel}")
        if self.group_width != 1 and not self.op.startswith("regnet"):
            raise ValueError(f"group_width of a {self.op} must be 1: only RegNets have groups; got {self.group_width}")
        if self.channels * self.expand_ratio % self.group_width:
            raise ValueError(
                f"group_width must divide the width inside, {self.channels * self.expand_ratio}; got {self.group_width}"
            )
        ratio = self.se_ratio
        if isinstance(ratio, bool) or not isinstance(ratio, int | float | np.number) or not 0 <= ratio <= 1:
            raise ValueError(f"se_ratio must be between 0 (none) and 1; got {ratio!r}")
        object.__setattr__(self, "se_ratio", float(ratio))  # 0 and 0.0 are one value

    def __str__(self) -> str:
        text = f"{self.op}_k{self.kernel}_s{self.stride}_e{self.expand_ratio}_c{self.channels}_n{self.layers}"
        text += f"_g{self.group_width}" if self.group_width != 1 else ""
        return f"{text}_se{np.format_float_positional(self.se_ratio, trim='-')}" if self.se_ratio else text


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network: a stem (3x3, stride 2), stages, and a head (1x1), before pooling and classifier.

    Equal networks are equal values with equal texts: where a stage merely goes on with the layers of
    the stage before it (the same design and width, stride 1), the two are joined into one.

    Args:
        stem_channels: width of the stem.
        stages: at least one `Stage`.
        head_channels: width of the head; 0 is none, as in RegNetY.

    Raises:
        ValueError: a width is not a positive integer, or there is no stage.
    """

    stem_channels: int
    stages: tuple[Stage, ...]
    head_channels: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "stem_channels", checked_count("stem_channels", self.stem_channels))
        object.__setattr__(self, "head_channels", checked_count("head_channels", self.head_channels, least=0))
        if not self.stages:
            raise ValueError("an architecture must have at least one stage; got none")
        object.__setattr__(self, "stages", _joined(self.stages))

    def __str__(self) -> str:
        return "-".join([f"stem_c{self.stem_channels}", *map(str, self.stages), f"head_c{self.head_channels}"])

    @classmethod
    def parse(cls, text: str) -> Architecture:
        """The architecture a text names, such as `stem_c8-mbconv_k3_s2_e4_c16_n2_se0.25-head_c64`.

        Raises:
            ValueError: a part is not as the form demands (says which, where and what is allowed), or
                the text is not the canonical one of its network (says the canonical one).
        """
        parts = text.split("-")
        starts = [sum(len(p) + 1 for p in parts[:i]) for i in range(len(parts))]
        if len(parts) < 3:
            raise ValueError(
                f"an architecture text must read stem_c<width>-<stage>-...-head_c<width>; got {text!r} ({_FORM})"
            )
        stem = _parse_part("stem", parts[0], 1, 0)
        stages = tuple(_parse_stage(p, i + 2, starts[i + 1]) for i, p in enumerate(parts[1:-1]))
        head = _parse_part("head", parts[-1], len(parts), starts[-1])
        architecture = cls(stem, stages, head)
        if str(architecture) != text:
            raise ValueError(f"not the canonical text of its network: got {text!r}, write {str(architecture)!r}")
        return architecture

    @property
    def total_stride(self) -> int:
        """How many pixels of a picture's side the last map makes one of."""
        return 2 * math.prod(stage.stride for stage in self.stages)  # the stem strides too

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `json.dumps`."""
        return {
            "stem_channels": self.stem_channels,
            "stages": [asdict(stage) for stage in self.stages],
            "head_channels": self.head_channels,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | str) -> Architecture:
        """The inverse of `to_json`, from its dict or from JSON text.

        Raises:
            ValueError: a field is missing, unknown, or out of its range.
        """
        try:
            value = json.loads(data) if isinstance(data, str) else data
        except json.JSONDecodeError as error:
            raise ValueError(f"not JSON: {error}") from error
        _check_fields("an architecture", value, [f.name for f in fields(cls)], optional=())
        if not isinstance(value["stages"], list | tuple):
            raise ValueError(f"stages must be a list; got {value['stages']!r}")
        names = [f.name for f in fields(Stage)]
        for number, stage in enumerate(value["stages"], 1):
            _check_fields(f"stage {number}", stage, names, optional=("se_ratio", "group_width"))
        return cls(value["stem_channels"], tuple(Stage(**s) for s in value["stages"]), value["head_channels"])


def read_architecture(text: str, published: Mapping[str, Architecture]) -> Architecture:
    """The architecture that a published name, or an architecture text, stands for.

    Raises:
        ValueError: neither a name in `published` nor an architecture text; names close matches.
    """
    if text in published:
        return published[text]
    if text.startswith("stem_"):
        return Architecture.parse(text)
    close = difflib.get_close_matches(text, published, n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise ValueError(
        f"an architecture must be a published name or an architecture text; got {text!r}. {hint}"
        f"Published: {', '.join(published)}. Text form: {_FORM}"
    )


_FORM = (
    "stem_c24-mbconv_k3_s2_e4_c48_n2_se0.25-...-head_c1280; a stage is op_k_s_e_c_n and, where it has them, "
    "_g (group width) and _se"
)
_LETTERS = {
    "k": "kernel",
    "s": "stride",
    "e": "expand_ratio",
    "c": "channels",
    "n": "layers",
    "g": "group_width",
    "se": "se_ratio",
}


def _joined(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    result: list[Stage] = []
    for stage in stages:
        last = result[-1] if result else None
        if last is not None and stage.stride == 1 and _design(stage) == _design(last):
            result[-1] = replace(last, layers=last.layers + stage.layers)
        else:
            result.append(stage)
    return tuple(result)


def _design(stage: Stage) -> tuple[Any, ...]:
    return stage.op, stage.kernel, stage.expand_ratio, stage.channels, stage.se_ratio, stage.group_width


def checked_count(name: str, value: object, *, least: int = 1) -> int:
    """The value as a plain int (numpy's overflow, and are no JSON).

    Raises:
        ValueError: it is not an integer, or below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}")
    return int(value)


def _check_fields(what: str, value: object, names: list[str], optional: tuple[str, ...]) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} must be an object with the fields {', '.join(names)}; got {value!r}")
    missing = [n for n in names if n not in value and n not in optional]
    unknown = [n for n in value if n not in names]
    if missing or unknown:
        raise ValueError(
            f"{what} must have the fields {', '.join(names)}; "
            f"missing: {missing or 'none'}, unknown: {unknown or 'none'}"
        )


def _parse_part(what: str, part: str, number: int, start: int) -> int:
    number_form = "0|[1-9][0-9]*" if what == "head" else "[1-9][0-9]*"
    match = re.fullmatch(rf"{what}_c({number_form})", part)
    if match is None:
        allowed = "a positive integer without leading zeros" + (", or 0 for none" if what == "head" else "")
        raise ValueError(
            f"part {number} of the architecture text (character {start + 1}) must be {what}_c<width>, "
            f"{allowed}; got {part!r}"
        )
    return int(match[1])


def _parse_stage(part: str, number: int, start: int) -> Stage:
    where = f"part {number} of the architecture text (character {start + 1}), {part!r}"
    op = next((o for o in OPS if part.startswith(o + "_")), None)
    if op is None:
        raise ValueError(f"{where}: must begin with {' or '.join(o + '_' for o in OPS)}")
    tokens = part[len(op) + 1 :].split("_")
    values: dict[str, Any] = {}
    position = start + len(op) + 1
    for letter, field in _LETTERS.items():
        optional = letter in ("g", "se")
        match = re.fullmatch(letter + _NUMBERS.get(letter, r"([1-9][0-9]*)"), tokens[0]) if tokens else None
        if match is None and optional:
            continue
        if match is None:
            found = f"got {tokens[0]!r}" if tokens else "the part ends here"
            raise ValueError(
                f"{where}: character {position + 1} must be {letter}<{field}>, {_allowed(letter)}, "
                f"in the order {' '.join(_LETTERS)}; {found}"
            )
        values[field] = float(match[1]) if letter == "se" else int(match[1])
        position += len(tokens.pop(0)) + 1
    if tokens:
        raise ValueError(
            f"{where}: character {position + 1} must be the end, or one of {_OPTIONAL} that has not been yet, "
            f"in the order {' '.join(_LETTERS)}; got {'_'.join(tokens)!r}"
        )
    try:
        return Stage(op, **values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


_OPTIONAL = "g<group_width> (a positive integer) and se<se_ratio> (a number over 0 and up to 1)"
_NUMBERS = {"se": r"(0?\.[0-9]+|1)"}


def _allowed(letter: str) -> str:
    return "a number over 0 and up to 1" if letter == "se" else "a positive integer without leading zeros"
