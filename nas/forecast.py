"""What a search is expected to take, from what some of its candidates took: hours of devices, wall-clock, disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas.progress import duration

DRAWS = 2000
"""Of the bootstrap behind an interval."""


class Span(NamedTuple):
    """An expected value and its 90 % interval."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be done.

    Args:
        candidates: that are still to be evaluated, those that run included.
        confirming: trainings of leaders that follow, when all candidates are over.
        workers: how many at a time.
        gpus: of each worker (may be a fraction); 0 where workers are counted instead.
        start_s: the least and the most that workers take to come up.
        each_s: what a candidate costs beside its evaluation, such as the controller's proposal.
        begun_s: how long the candidates that run have been running, together.
        elapsed_s: how long the search has been running.
        run_bytes: of the run's folder at its end.
        pack_bytes: of the decoded pictures on the disk; None where no pictures are read.
    """

    candidates: int
    confirming: int = 0
    workers: int = 1
    gpus: float = 0.0
    start_s: tuple[float, float] = (0.0, 0.0)
    each_s: float = 0.0
    begun_s: float = 0.0
    elapsed_s: float = 0.0
    run_bytes: int | None = None
    pack_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a search is expected to take. Intervals come from the spread among the candidates it is made of.

    Args:
        basis: what it is made of, in words.
        work: what is to be done.
        candidate_s: seconds of one evaluation; the interval is that of single candidates.
        device_hours: of all workers' GPUs together, or of the workers, for what is to be done.
        wall_s: of the whole search, from its start.
    """

    basis: str
    work: Work
    candidate_s: Span
    device_hours: Span
    wall_s: Span

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        spans = {name: getattr(self, name)._asdict() for name in ("candidate_s", "device_hours", "wall_s")}
        return {"basis": self.basis, **spans, **asdict(self.work)}

    @property
    def line(self) -> str:
        """The forecast in a line."""
        expected, low, high = (duration(seconds) for seconds in self.wall_s)
        disk = "" if self.work.run_bytes is None else f", {size(self.work.run_bytes)} in the run's folder"
        return (
            f"forecast {self.basis}: {expected} ({low} to {high}), {self.device_hours.expected:.3g} {self.unit}{disk}"
        )

    @property
    def unit(self) -> str:
        """What `device_hours` are hours of."""
        return "GPU-hours" if self.work.gpus else "worker-hours"

    def error(self, took_s: float) -> float:
        """How much longer the search took than expected, relative to that."""
        return took_s / self.wall_s.expected - 1

    def compared(self, took_s: float) -> str:
        """How far off it was, in a line."""
        off = round(100 * self.error(took_s))
        said = f"{abs(off)} % {'more' if off > 0 else 'less'}" if off else "as it was"
        return f"forecast {self.basis}: {duration(self.wall_s.expected)}, took {duration(took_s)} ({said})"


def forecast(
    candidate_s: Sequence[float], work: Work, *, basis: str, rng: np.random.Generator, off: float = 0.0
) -> Forecast:
    """Expect what some candidates took of all.

    Each draw of the bootstrap takes as many of them, with replacement (which ones are known is chance), and then as
    many candidates as there are from those; workers are busy until there is nothing left for them, and in the mean
    wait for half a candidate then.

    Args:
        candidate_s: seconds of some candidates; at least one.
        basis: what these are, in words.
        off: standard error, relative, of what all these seconds were scaled by.

    Raises:
        ValueError: no candidate is known.
    """
    if not len(candidate_s):
        raise ValueError("a forecast needs at least one candidate's seconds; got none")
    known = np.asarray(candidate_s, dtype=np.float64)
    drawn = rng.choice(known, (DRAWS, len(known)))
    scale = np.maximum(1 + off * rng.standard_normal(DRAWS), 0.0)
    mean, deviation = scale * drawn.mean(1), scale * drawn.std(1)
    busy, wall = np.zeros(DRAWS), work.elapsed_s + rng.uniform(*work.start_s, DRAWS)
    begun_s = work.begun_s
    for count in (work.candidates, work.confirming):
        if count:
            total = count * mean + np.sqrt(count) * deviation * rng.standard_normal(DRAWS)
            total = np.maximum(np.maximum(total, count * scale * known.min()) - begun_s, 0.0)
            workers, begun_s = min(work.workers, count), 0.0
            wall += total / workers + mean * (workers - 1) / (2 * workers) + count * work.each_s
            busy += total
    return Forecast(
        basis=basis,
        work=work,
        candidate_s=Span(float(known.mean()), *_interval(known)),
        device_hours=_span(busy * (work.gpus or 1.0) / 3600),
        wall_s=_span(wall),
    )


def _span(draws: NDArray[np.float64]) -> Span:
    return Span(float(draws.mean()), *_interval(draws))


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.05, 0.95])
    return float(low), float(high)


def size(count: float) -> str:
    """Bytes as people say them: 640 kB, 1.2 MB."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= one:
            return f"{count / one:.3g} {unit}"
    return f"{count:.0f} bytes"
