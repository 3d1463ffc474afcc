"""Evaluating one candidate: whatever happens comes back as a value, a measurement or a failure."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict

from results.trial import Failure, FailureKind, Measurement
from search_spaces import Architecture

Evaluate = Callable[[Architecture, int], Iterator[Measurement] | Measurement]
"""(architecture, seed) -> one measurement an epoch, the last of them final; or a single measurement."""


def evaluations(evaluate: Evaluate, architecture: str, seed: int) -> Iterator[Measurement | Failure]:
    """The measurements of an evaluation as they come; a failure, if one comes, is the last.

    Out of memory is told by the exception's name and text, since torch is not imported here. KeyboardInterrupt
    and SystemExit pass through.
    """
    try:
        result = evaluate(Architecture.parse(architecture), seed)
        for measurement in (result,) if isinstance(result, Measurement) else result:
            if not isinstance(measurement, Measurement):
                raise TypeError(f"an evaluator must give Measurements; got {type(measurement).__name__}")
            if bad := [k for k, v in asdict(measurement).items() if isinstance(v, float) and not math.isfinite(v)]:
                yield Failure("diverged", f"{bad[0]} is {getattr(measurement, bad[0])}")
                return
            yield measurement
    except Exception as error:  # noqa: BLE001 - a candidate may fail in any way; the failure is recorded
        yield failure_of(error)


def failure_of(error: BaseException) -> Failure:
    """The kind of failure that an exception is, and its last line."""
    kinds: dict[type[BaseException], FailureKind] = {
        MemoryError: "out_of_memory",
        FloatingPointError: "diverged",
        TimeoutError: "timeout",
    }
    kind: FailureKind = next((kind for cls, kind in kinds.items() if isinstance(error, cls)), "error")
    text = str(error).lower()
    if isinstance(error, RuntimeError) and any(
        sign in text
        for sign in ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
    ):
        kind = "out_of_memory"
    lines = "".join(traceback.format_exception_only(error)).strip().splitlines()
    return Failure(kind, lines[0] if kind != "error" or len(lines) == 1 else f"{lines[0]} ... {lines[-1]}")
