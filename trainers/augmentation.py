"""`Augmentation`: how training pictures are varied. A value with a text form; `trainers/augment.py` acts on it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

USUAL = {"crop": 0.125, "randaugment": 10.0, "cutout": 0.5, "mixup": 0.2, "cutmix": 1.0}
"""What a name alone stands for: 4 px at 32, EfficientNetV2-S's last magnitude, the papers' values of the others."""

_HIGHEST = {"crop": 0.5, "randaugment": 30, "cutout": 1, "mixup": 100, "cutmix": 100}


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How the pictures of a batch are varied; what is 0 or False is left out.

    Args:
        crop: pixels of zeros put on each side, as a share of the picture's side, before a random part of the
            picture's size is cut out.
        flip: whether half of the pictures, by chance, are mirrored left to right.
        randaugment: magnitude of RandAugment (arXiv 1909.13719), on the scale of EfficientNetV2's code: 5 to 20
            there, in steps as training goes on.
        randaugment_layers: operations of RandAugment applied one after the other to each picture.
        cutout: side of the square made grey at a random place (arXiv 1708.04552), as a share of the picture's
            shorter side.
        mixup: alpha of mixup (arXiv 1710.09412): shares of two pictures are drawn from Beta(alpha, alpha).
        cutmix: alpha of CutMix (arXiv 1905.04899): the same for shares of the area.

    Raises:
        ValueError: a value is out of its range.
    """

    crop: float = 0.0
    flip: bool = False
    randaugment: float = 0.0
    randaugment_layers: int = 2
    cutout: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name, highest in _HIGHEST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
                raise ValueError(f"{name} must be a number from 0 (off) to {highest}; got {value!r}")
        if not isinstance(self.flip, bool):
            raise ValueError(f"flip must be True or False; got {self.flip!r}")
        layers = self.randaugment_layers
        if isinstance(layers, bool) or not isinstance(layers, int) or layers < 1:
            raise ValueError(f"randaugment_layers must be an integer of at least 1; got {layers!r}")

    def __str__(self) -> str:
        parts = [(field.name, getattr(self, field.name), field.default) for field in fields(self)]
        changed = [(name, value) for name, value, default in parts if value != default]
        texts = [name if value is True else f"{name}:{str(value).removesuffix('.0')}" for name, value in changed]
        return ",".join(texts) or "none"

    @classmethod
    def parse(cls, text: str) -> Augmentation:
        """The augmentation that a text such as `crop,flip,randaugment:10,mixup:0.2` names.

        A name alone takes its usual value (`USUAL`); `none` or an empty text is no augmentation.

        Raises:
            ValueError: a name is unknown or there twice, or a value is not as it must be (says what is).
        """
        if text.strip() in ("", "none"):
            return cls()
        values: dict[str, Any] = {}
        for part in text.split(","):
            name, colon, value = (piece.strip() for piece in part.partition(":"))
            if name in values:
                raise ValueError(f"an augmentation must name each way once; got {name} twice in {text!r}")
            values[name] = _read(name, value if colon else None)
        return cls(**values)


def _read(name: str, text: str | None) -> bool | int | float:
    """The value of one part of an augmentation's text; `text` is None where there is a name alone."""
    got = name if text is None else f"{name}:{text}"
    if name == "flip":
        if text is not None:
            raise ValueError(f"flip must stand alone, without a value; got {got!r}")
        return True
    if name == "randaugment_layers":
        if text is None or not (text.isascii() and text.isdigit()):
            raise ValueError(f"randaugment_layers must have an integer, such as randaugment_layers:2; got {got!r}")
        return int(text)
    if name not in USUAL:
        known = ", ".join(field.name for field in fields(Augmentation))
        raise ValueError(f"an augmentation must be none, or some of {known}, separated by commas; got {got!r}")
    try:
        return USUAL[name] if text is None else float(text)
    except ValueError:
        raise ValueError(f"{name} must have a number, such as {name}:{USUAL[name]:g}; got {got!r}") from None
