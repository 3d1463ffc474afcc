"""The contract of evaluators, run over every kind there is; and that whatever they do comes back as a value."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import pytest

from nas.evaluation import Evaluate, evaluations, failure_of
from results.trial import Failure, FailureKind, Measurement
from search_spaces import Architecture, Stage, cost

CHEAPEST = Architecture(8, (Stage("mbconv", 3, 2, 1, 8, 1),), 8)
OTHER = Architecture(8, (Stage("fused_mbconv", 3, 2, 1, 8, 1),), 8)


# The contract ---------------------------------------------------------------------------------------------------


def one_measurement(architecture: Architecture, seed: int) -> Measurement:
    return Measurement(accuracy=(seed % 7) / 7, step_time=float(len(str(architecture))))


def one_an_epoch(architecture: Architecture, seed: int) -> Iterator[Measurement]:
    for epoch in (1, 2, 3):
        yield Measurement(accuracy=epoch / 3, epoch=epoch)


def tabular_task() -> Evaluate:
    from trainers.tabular import TabularTask

    return TabularTask({str(a): Measurement(accuracy=0.5, params=7, device="T4") for a in (CHEAPEST, OTHER)})


def proxy_task() -> Evaluate:
    from trainers.data import Data, Split
    from trainers.proxy import ProxyTask
    from trainers.recipe import Recipe

    rng = np.random.default_rng(0)
    labels = np.arange(48) % 2
    images = (rng.integers(0, 100, (48, 8, 8, 1)) + 100 * labels.reshape(-1, 1, 1, 1)).astype(np.uint8)
    splits = [Split(images[part], labels[part]) for part in (slice(32), slice(32, 48), slice(0))]
    data = Data(*splits, class_names=("a", "b"), in_channels=1, image_size=8, fingerprint="x", unreadable=())
    return ProxyTask(data, Recipe(epochs=2, batch_size=16), OTHER, device="cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small wait longer for a second thread than they compute."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


EVALUATORS: dict[str, Callable[[], Evaluate]] = {
    "function": lambda: one_measurement,
    "generator": lambda: one_an_epoch,
    "table": tabular_task,
    "proxy": proxy_task,
}
made = cache(lambda name: EVALUATORS[name]())
WALL_CLOCK = ("step_time", "step_time_low", "step_time_high", "step_time_s", "step_time_samples", "train_time_s")


def measured(evaluate: Evaluate, seed: int = 3) -> list[Measurement]:
    found = list(evaluations(evaluate, str(CHEAPEST), seed))
    assert all(isinstance(m, Measurement) for m in found), found
    return [m for m in found if isinstance(m, Measurement)]


def unhurried(found: list[Measurement]) -> list[dict[str, Any]]:
    return [{k: v for k, v in asdict(m).items() if k not in WALL_CLOCK} for m in found]


@pytest.fixture(params=EVALUATORS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@cache
def before(name: str) -> list[Measurement]:
    """What the evaluator gives the first time."""
    return measured(made(name))


def test_an_evaluator_gives_measurements_epoch_by_epoch(name: str) -> None:
    found = before(name)
    assert [m.epoch for m in found] == list(range(1, len(found) + 1))
    for m in found:
        assert 0 <= m.accuracy <= 1
        assert m.step_time is None or m.step_time > 0
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(m).items()}
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain, "plain values, as the journal keeps them"


def test_an_evaluation_is_a_function_of_architecture_and_seed(name: str) -> None:
    expected = unhurried(before(name))
    assert unhurried(measured(made(name))) == expected


def test_an_evaluator_travels_to_other_processes(name: str) -> None:
    expected = unhurried(before(name))  # what it keeps after a first call must not hinder
    assert unhurried(measured(pickle.loads(pickle.dumps(made(name))))) == expected


def test_an_evaluation_may_be_left_off(name: str) -> None:
    expected = unhurried(before(name))
    stopped = evaluations(made(name), str(CHEAPEST), 3)
    assert isinstance(next(stopped), Measurement)
    stopped.close()
    assert unhurried(measured(made(name))) == expected


def test_a_proxy_task_measures_cost_beside_accuracy() -> None:
    last = before("proxy")[-1]
    assert (last.epoch, last.batch_size) == (2, 16)
    known = cost(CHEAPEST, 8, num_classes=2, in_channels=1)
    assert (last.params, last.macs, last.activations) == known
    assert last.step_time_low is not None
    assert last.step_time is not None
    assert last.step_time_high is not None
    assert last.step_time_low <= last.step_time <= last.step_time_high


# What an evaluator may do -----------------------------------------------------------------------------------------


def test_an_evaluator_is_given_the_architecture_and_the_seed() -> None:
    given: list[tuple[Architecture, int]] = []

    def evaluate(architecture: Architecture, seed: int) -> Measurement:
        given.append((architecture, seed))
        return Measurement(accuracy=0.5)

    assert list(evaluations(evaluate, str(CHEAPEST), 2**62)) == [Measurement(accuracy=0.5, epoch=1)]
    assert given == [(CHEAPEST, 2**62)]


def test_nothing_is_trained_ahead_of_what_is_asked_for() -> None:
    begun: list[int] = []

    def evaluate(architecture: Architecture, seed: int) -> Iterator[Measurement]:
        for epoch in range(5):
            begun.append(epoch)
            yield Measurement(accuracy=0.5)

    outcomes = evaluations(evaluate, str(CHEAPEST), 0)
    assert begun == []
    next(outcomes)
    next(outcomes)
    assert begun == [0, 1]


def test_epochs_are_counted_where_an_evaluator_does_not_say_them() -> None:
    def evaluate(architecture: Architecture, seed: int) -> Iterator[Measurement]:
        for epoch in (0.25, None, None, 1.5):
            yield Measurement(accuracy=0.5, epoch=epoch)

    *found, failure = evaluations(evaluate, str(CHEAPEST), 0)
    assert [m.epoch for m in found if isinstance(m, Measurement)] == [0.25, 1.25, 2.25]
    assert failure == Failure(
        "error",
        "ValueError: the epoch of a measurement must be above that before, 2.25; got 1.5: leave it out, and they are "
        "counted",
    )


def test_a_single_measurement_is_of_the_end_of_the_training() -> None:
    class Once:
        epochs = 10

        def __call__(self, architecture: Architecture, seed: int) -> Measurement:
            return Measurement(accuracy=0.5)

    assert list(evaluations(Once(), str(CHEAPEST), 0)) == [Measurement(accuracy=0.5, epoch=10)]


def raising(error: BaseException, after: int = 0) -> Evaluate:
    def evaluate(architecture: Architecture, seed: int) -> Iterator[Measurement]:
        for epoch in range(after):
            yield Measurement(accuracy=0.5, epoch=epoch + 1)
        raise error

    return evaluate


class OutOfMemoryError(RuntimeError):
    """As torch's, whose text may change."""


class NVMLError_GpuIsLost(Exception):
    """Of a GPU that fell off the bus."""


FAILURES: list[tuple[BaseException, FailureKind, str]] = [
    (MemoryError(), "out_of_memory", "MemoryError"),
    (MemoryError("3 GiB"), "out_of_memory", "MemoryError: 3 GiB"),
    (RuntimeError("CUDA out of memory. Tried"), "out_of_memory", "RuntimeError: CUDA out of memory. Tried"),
    (
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        "out_of_memory",
        "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried",
    ),
    (RuntimeError("DefaultCPUAllocator: not enough memory"), "out_of_memory", "RuntimeError: Default"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when"), "out_of_memory", "RuntimeError: CUDA error"),
    (OSError(12, "Cannot allocate memory"), "out_of_memory", "OSError: [Errno 12] Cannot allocate memory"),
    (OutOfMemoryError("Allocation on device"), "out_of_memory", f"{__name__}.OutOfMemoryError: Allocation on device"),
    (RuntimeError("CUDA error: out of memory"), "out_of_memory", "RuntimeError: CUDA error: out of memory"),
    (
        RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be"),
        "worker_lost",
        "RuntimeError: CUDA error: an illegal memory access was encountered",
    ),
    (RuntimeError("CUDA error: device-side assert triggered"), "worker_lost", "RuntimeError: CUDA error: device-side"),
    (RuntimeError("unspecified launch failure"), "worker_lost", "RuntimeError: unspecified launch failure"),
    (RuntimeError("no CUDA-capable device is detected"), "worker_lost", "RuntimeError: no CUDA-capable"),
    (RuntimeError("uncorrectable ECC error encountered"), "worker_lost", "RuntimeError: uncorrectable ECC"),
    (NVMLError_GpuIsLost("GPU is lost"), "worker_lost", f"{__name__}.NVMLError_GpuIsLost: GPU is lost"),
    (RuntimeError("CUDA error: invalid configuration argument"), "error", "RuntimeError: CUDA error: invalid"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when"), "error", "RuntimeError: CUDA error: CUBLAS"),
    (ValueError("CUDA error: so it was said"), "error", "ValueError: CUDA error: so it was said"),
    (FloatingPointError("the loss became nan"), "diverged", "FloatingPointError: the loss became nan"),
    (TimeoutError("too long"), "timeout", "TimeoutError: too long"),
    (RuntimeError("mat1 and mat2 cannot be multiplied"), "error", "RuntimeError: mat1 and mat2 cannot be multiplied"),
    (ValueError("first line\n\nmiddle\nlast line"), "error", "ValueError: first line ... last line"),
    (ValueError("out of memory"), "error", "ValueError: out of memory"),
    (AssertionError(), "error", "AssertionError"),
    (KeyError("stage"), "error", "KeyError: 'stage'"),
]


@pytest.mark.parametrize(("error", "kind", "reason"), FAILURES, ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("after", [0, 2])
def test_an_exception_is_the_failure_that_it_is(
    error: BaseException, kind: FailureKind, reason: str, after: int
) -> None:
    outcomes = list(evaluations(raising(error, after), str(CHEAPEST), 0))
    assert [type(o) for o in outcomes] == [Measurement] * after + [Failure]
    failure = outcomes[-1]
    assert isinstance(failure, Failure)
    assert failure.kind == kind
    assert failure.reason.startswith(reason)
    assert "\n" not in failure.reason


def test_torchs_own_error_is_out_of_memory() -> None:
    import torch

    assert failure_of(torch.OutOfMemoryError("CUDA out of memory.")).kind == "out_of_memory"
    assert failure_of(torch.OutOfMemoryError("")).kind == "out_of_memory"


def test_torchs_own_error_of_a_device_is_a_lost_one() -> None:
    import torch

    assert failure_of(torch.AcceleratorError("CUDA error: unknown error")).kind == "worker_lost"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_no_failure(error: type[BaseException]) -> None:
    with pytest.raises(error):
        list(evaluations(raising(error()), str(CHEAPEST), 0))


@pytest.mark.parametrize("field", ["accuracy", "step_time", "step_time_s", "train_time_s"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), np.float32("nan")])
def test_what_is_not_finite_is_a_divergence(field: str, bad: Any) -> None:
    values: dict[str, Any] = {"accuracy": 0.5, field: bad}

    def evaluate(architecture: Architecture, seed: int) -> Iterator[Measurement]:
        yield Measurement(accuracy=0.25)
        yield Measurement(**values)
        raise AssertionError("not asked for more")

    outcomes = list(evaluations(evaluate, str(CHEAPEST), 0))
    assert outcomes == [Measurement(accuracy=0.25, epoch=1), Failure("diverged", f"{field} is {float(bad)}")]


@pytest.mark.parametrize(
    ("result", "got"), [(None, "NoneType"), (0.5, "float"), ([0.5], "float"), ("good", "str"), ({"accuracy": 1}, "str")]
)
def test_what_is_no_measurement_is_an_error(result: Any, got: str) -> None:
    outcomes = list(evaluations(lambda architecture, seed: result, str(CHEAPEST), 0))
    assert outcomes == [Failure("error", f"TypeError: an evaluator must give Measurements; got {got}")]


def test_other_libraries_numbers_are_made_pythons() -> None:
    import torch

    given = Measurement(
        accuracy=np.float32(0.5),
        epoch=np.int64(2),
        step_time=torch.tensor(1.5),
        params=3e6,  # type: ignore[arg-type]
        macs=torch.tensor([7]),  # type: ignore[arg-type]
        train_time_s=3,
        host=np.str_("here"),
    )
    (found,) = evaluations(lambda architecture, seed: given, str(CHEAPEST), 0)
    assert isinstance(found, Measurement)
    assert found == Measurement(
        accuracy=0.5, epoch=2, step_time=1.5, params=3_000_000, macs=7, train_time_s=3.0, host="here"
    )
    assert {type(v) for v in asdict(found).values() if v not in (None, ())} == {float, int, str}


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("accuracy", None, "a number; got None"),
        ("accuracy", "high", "a number; got 'high'"),
        ("step_time", [1.0], r"a number; got \[1.0\]"),
        ("params", 3.5, "a whole number; got 3.5"),
        ("macs", float("nan"), "a whole number; got nan"),
        ("batch_size", float("inf"), "a whole number; got inf"),
    ],
)
def test_what_is_no_number_is_an_error_that_names_the_field(field: str, value: Any, expected: str) -> None:
    values: dict[str, Any] = {"accuracy": 0.5, field: value}
    (failure,) = evaluations(lambda architecture, seed: Measurement(**values), str(CHEAPEST), 0)
    assert isinstance(failure, Failure)
    assert failure.kind == "error"
    with pytest.raises(TypeError, match=f"^{field} of a measurement must be {expected}$"):
        raise TypeError(failure.reason.removeprefix("TypeError: "))


def test_a_table_without_the_architecture_says_so() -> None:
    (failure,) = evaluations(made("table"), str(Architecture(16, CHEAPEST.stages, 8)), 0)
    assert isinstance(failure, Failure)
    assert failure.kind == "error"
    assert failure.reason.startswith("ValueError: the table of 2 networks does not hold stem_c16-")
