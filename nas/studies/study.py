"""What a study is: a paper's finding taken again, in steps that fit the machine and the time at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from nas.studies.pace import Pace
from results.analysis.claims import Claim
from results.analysis.panels import Panel

Size = Mapping[str, Any]
"""How large a study is: its numbers by name (pictures, epochs, seeds, ...), as plain data."""


def in_words(size: Size) -> str:
    """`pictures 3,600, epochs 90`."""
    texts = {name: value if isinstance(value, str) else f"{value:,}" for name, value in size.items()}
    return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in texts.items())


Results = Mapping[str, Mapping[str, Any]]
"""By the name of each step, what it gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a study is made on.

    Args:
        data: a registered name, an image folder, a parquet or an npz file.
        test_data: of a test split that lies elsewhere.
        model: a network of the user's, `module:function`, for studies that take one.
        device: `cpu` or `cuda`.
        seed: the first of the seeds.
    """

    data: str = "mnist5k"
    test_data: str | None = None
    model: str | None = None
    device: str = "cpu"
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What there is to make a study of: pictures, and a device.

    Args:
        train: training pictures.
        test: test pictures; 0 where the source has no such split.
        side: of the first picture's longer side, in pixels.
        classes: how many.
        channels: of a picture.
        device: `cpu` or `cuda`.
    """

    train: int
    test: int
    side: int
    classes: int
    channels: int
    device: str = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a study is made, and with what.

    Args:
        folder: of the study.
        source: of its training pictures.
        test_source: of its test pictures.
        device: `cpu` or `cuda`.
        workers: trainings at a time.
        say: tells of progress.
        quiet: whether to show none of a search's progress.
    """

    folder: Path
    source: str
    test_source: str | None
    device: str
    workers: int
    say: Callable[[str], None]
    quiet: bool = False


class Step(Protocol):
    """A part of a study that is done whole or not at all; what it gives is plain data.

    Attributes:
        name: what it is known by.
        alone: whether nothing else may run meanwhile, as of what is timed; else it has a process of its own, beside
            those of the steps that follow it.
    """

    alone: ClassVar[bool]

    @property
    def name(self) -> str:
        """What it is known by."""

    def expected_s(self, pace: Pace) -> float:
        """Seconds that it takes, by what a few training steps take here; on one worker where it is not alone."""

    def run(self, place: Place) -> Mapping[str, Any]:
        """Do it; one that was interrupted goes on where it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a study says.

    Args:
        table: its rows, with the paper's numbers beside its own.
        claims: what the paper found, each with what was measured of it.
        panels: of the figure.
        changed: what is not as in the paper, a sentence each.
        notes: what a table cannot hold, such as a network, a line each.
    """

    table: Sequence[Mapping[str, Any]]
    claims: Sequence[Claim]
    panels: Sequence[Panel]
    changed: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A finding, and how it is taken again.

    Args:
        question: what is asked, in a line.
        source: the paper and its table.
        sizes: how large it may be on given pictures, the smallest first; each takes longer than the one before.
        steps: what is done at a size.
        told: what the steps' results say.
        on_pictures: whether it trains, so that pictures are needed.
        takes_model: whether a network of the user's may take part.
    """

    question: str
    source: str
    sizes: Callable[[Material], Sequence[Size]]
    steps: Callable[[Conditions, Size, Place], Sequence[Step]]
    told: Callable[[Conditions, Size, Results], Told]
    on_pictures: bool = True
    takes_model: bool = False
