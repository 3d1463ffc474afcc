"""Evaluating one candidate: whatever happens comes back as a value, a measurement or a failure."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import fields, replace
from typing import Any

from nas.problem import Problem
from results.trial import Failure, FailureKind, Measurement
from search_spaces import Architecture
from trainers.out_of_memory import is_out_of_memory
from trainers.over_limit import OverLimit

Evaluate = Callable[[Architecture, int], Iterator[Measurement] | Measurement]
"""(architecture, seed) -> one measurement an epoch, the last of them final; or a single measurement.

More than one an epoch say where they stand by `epoch`, such as 0.25."""


def evaluations(evaluate: Evaluate, architecture: str, seed: int) -> Generator[Measurement | Failure, None, None]:
    """The measurements of an evaluation as they come; a failure, if one comes, is the last.

    Out of memory is told by the exception's name and text, since torch is not imported here. KeyboardInterrupt
    and SystemExit pass through.
    """
    try:
        result = evaluate(Architecture.parse(architecture), seed)
        if not isinstance(result, Measurement | Iterable):
            raise TypeError(f"an evaluator must give Measurements; got {type(result).__name__}")
        before, whole = 0.0, epochs_of(evaluate)
        if isinstance(result, Measurement) and result.epoch is None and whole is not None:
            result = replace(result, epoch=whole)  # it measures once, at the end
        for given in (result,) if isinstance(result, Measurement) else result:
            if not isinstance(given, Measurement):
                raise TypeError(f"an evaluator must give Measurements; got {type(given).__name__}")
            measurement = _plain(given if given.epoch is not None else replace(given, epoch=before + 1))
            if bad := [f"{k} is {v}" for k, v in _numbers_in(measurement) if not math.isfinite(v)]:
                yield Failure("diverged", bad[0])
                return
            if not 0 <= measurement.accuracy <= 1:
                raise ValueError(f"an accuracy must be a fraction, from 0 to 1; got {measurement.accuracy:g}")
            assert measurement.epoch is not None
            if measurement.epoch <= before:
                raise ValueError(f"the epoch of a measurement must be above that before, {before:g}; got "
                                 f"{measurement.epoch:g}: leave it out, and they are counted")  # fmt: skip
            before = measurement.epoch
            yield measurement
    except Exception as error:  # noqa: BLE001 - a candidate may fail in any way; the failure is recorded
        yield failure_of(error)


def epochs_of(evaluate: Evaluate) -> int | None:
    """For how many epochs an evaluator trains a candidate, by its attribute `epochs`; None where it has none.

    Raises:
        ValueError: the attribute is no whole number of at least 1.
    """
    epochs = getattr(evaluate, "epochs", None)
    if epochs is not None and (not isinstance(epochs, int) or epochs < 1):
        raise ValueError(
            f"an evaluator's epochs must be a whole number of at least 1, for how many it trains a candidate; got "
            f"{epochs!r}"
        )
    return epochs


def _whole(value: Any) -> int:
    if int(value) != value:
        raise ValueError(f"not a whole number: {value!r}")
    return int(value)


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


_TYPES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "float": (float, "a number"),
    "int": (_whole, "a whole number"),
    "str": (str, "a text"),
    "tuple[float, ...]": (_numbers, "numbers"),
}
_FIELDS = {f.name: _TYPES[str(f.type).removesuffix(" | None")] for f in fields(Measurement)}


def _plain(measurement: Measurement) -> Measurement:
    """The measurement with numpy's and torch's numbers made Python's, which alone the store can keep.

    Raises:
        TypeError: a field holds something else.
    """
    values: dict[str, Any] = {}
    for name, (cast, expected) in _FIELDS.items():
        value = getattr(measurement, name)
        try:
            values[name] = None if value is None and name != "accuracy" else cast(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(f"{name} of a measurement must be {expected}; got {value!r}") from error
    return Measurement(**values)


def _numbers_in(measurement: Measurement) -> Iterator[tuple[str, float]]:
    for name in _FIELDS:
        value = getattr(measurement, name)
        yield from ((name, v) for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, float))


_DEVICE_LOST = (
    "cuda error",
    "device-side assert",
    "unspecified launch failure",
    "no cuda-capable device",
    "uncorrectable ecc",
    "device lost",
    "gpu is lost",  # NVML's
)

_OF_ONE_CALL = (  # after which the device goes on
    "invalid argument",
    "invalid configuration argument",
    "status_not_supported",
    "status_invalid_value",
)


def _device_is_lost(error: BaseException, text: str) -> bool:
    """Whether nothing more can be computed on a GPU in this process: a CUDA context does not outlive such an error."""
    told_by = isinstance(error, RuntimeError) or type(error).__name__.startswith(("AcceleratorError", "NVMLError"))
    return told_by and any(sign in text for sign in _DEVICE_LOST) and not any(sign in text for sign in _OF_ONE_CALL)


def failure_of(error: BaseException) -> Failure:
    """The kind of failure that an exception is, and its last line; `worker_lost` where its GPU is of no more use."""
    kinds: dict[type[BaseException], FailureKind] = {
        FloatingPointError: "diverged",
        TimeoutError: "timeout",
        OverLimit: "over_limit",
    }
    kind: FailureKind = next((kind for cls, kind in kinds.items() if isinstance(error, cls)), "error")
    text = str(error).lower()
    if is_out_of_memory(error):
        kind = "out_of_memory"
    elif _device_is_lost(error, text):
        kind = "worker_lost"
    if kind == "over_limit":
        return Failure(kind, str(error))
    lines = "".join(traceback.format_exception_only(error)).strip().splitlines()
    return Failure(kind, lines[0] if kind != "error" or len(lines) == 1 else f"{lines[0]} ... {lines[-1]}")


def rewarded(measurement: Measurement | None, problem: Problem) -> tuple[float | None, Failure | None]:
    """The reward of a measurement, or why it has none."""
    if measurement is None:
        return None, Failure("error", "the evaluator gave no measurement")
    if (broken := problem.broken_by(measurement)) is not None:
        return None, broken
    try:
        reward = problem.reward(measurement, problem.anchor)
    except ValueError as error:
        return None, Failure("error", f"reward: {error}")
    except Exception as error:  # noqa: BLE001 - a user's formula may fail in any way; the failure is recorded
        return None, Failure("error", f"reward: {failure_of(error).reason}")
    if not math.isfinite(reward):
        return None, Failure("error", f"reward: it must be finite; got {reward}")
    return reward, None
