"""What NVML tells, by a stand-in with the functions of the real module; and what of it disturbs a timing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from trainers import gpu_state as module
from trainers.gpu_state import GpuState, disturbance, gpu_state

UUID = "1b2a3c4d-0000-1111-2222-333344445555"


class NVMLError(Exception):
    """As pynvml's: what a driver answers where it cannot tell."""


class StandIn(ModuleType):
    """A GPU at 1,980 MHz, with the functions and constants of nvidia-ml-py that are used."""

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.uuid, self.reasons, self.pids = f"GPU-{UUID}", 0x1, [os.getpid()]
        self.broken: set[str] = set()
        self.started = 0

    def _answer(self, name: str, value: Any) -> Any:
        if name in self.broken:
            raise NVMLError(name)
        return value

    def nvmlInit(self) -> None:
        self.started += 1
        self._answer("nvmlInit", None)

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != self.uuid:
            raise NVMLError("not found")
        return "handle"

    def nvmlSystemGetDriverVersion(self) -> str:
        return str(self._answer("nvmlSystemGetDriverVersion", "570.86.15"))

    def nvmlDeviceGetClockInfo(self, handle: str, type: int) -> int:
        return int(self._answer("nvmlDeviceGetClockInfo", {1: 1980, 2: 2619}[type]))

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        assert (handle, sensor) == ("handle", 0)
        return int(self._answer("nvmlDeviceGetTemperature", 45))

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:
        return int(self._answer("nvmlDeviceGetCurrentClocksEventReasons", self.reasons))

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        return int(self._answer("nvmlDeviceGetCurrentClocksThrottleReasons", self.reasons))

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:
        found = [SimpleNamespace(pid=pid, usedGpuMemory=1) for pid in self.pids]
        return list(self._answer("nvmlDeviceGetComputeRunningProcesses", found))


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    found = StandIn()
    monkeypatch.setitem(sys.modules, "pynvml", found)
    module._nvml.cache_clear()
    yield found
    module._nvml.cache_clear()


def test_the_state_of_a_gpu(nvml: StandIn) -> None:
    nvml.reasons, nvml.pids = 0x1 | 0x4 | 0x40, [os.getpid(), 7]
    slowed_by = frozenset({"power cap", "heat (hardware)"})
    expected = GpuState("570.86.15", 1980, 2619, 45, slowed_by, frozenset({os.getpid(), 7}))
    assert gpu_state(UUID) == expected
    nvml.uuid = f"MIG-{UUID}"
    assert gpu_state(UUID) == expected
    assert nvml.started == 1


@pytest.mark.parametrize(
    ("function", "field", "value"),
    [
        ("nvmlSystemGetDriverVersion", "driver", None),
        ("nvmlDeviceGetClockInfo", "sm_clock_mhz", None),
        ("nvmlDeviceGetClockInfo", "memory_clock_mhz", None),
        ("nvmlDeviceGetTemperature", "temperature_c", None),
        ("nvmlDeviceGetComputeRunningProcesses", "processes", frozenset()),
        ("nvmlDeviceGetCurrentClocksEventReasons", "slowed_by", frozenset({"power cap"})),  # by its former name
    ],
)
def test_what_a_driver_cannot_tell_is_left_out(nvml: StandIn, function: str, field: str, value: Any) -> None:
    nvml.reasons = 0x4
    nvml.broken = {function}
    state = gpu_state(UUID)
    assert state is not None
    assert getattr(state, field) == value


def test_without_nvml_a_driver_or_the_gpu_nothing_is_told(nvml: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_state("another") is None
    module._nvml.cache_clear()
    nvml.broken = {"nvmlInit"}
    assert gpu_state(UUID) is None
    module._nvml.cache_clear()
    monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it is an ImportError
    assert gpu_state(UUID) is None


def test_the_real_module_has_what_is_used() -> None:
    pynvml = pytest.importorskip("pynvml")
    used = [name for name in vars(StandIn) if name.startswith(("nvml", "NVML"))]
    assert len(used) == 12
    assert [name for name in used if not hasattr(pynvml, name)] == []
    for name in ("NVML_CLOCK_SM", "NVML_CLOCK_MEM", "NVML_TEMPERATURE_GPU"):
        assert getattr(pynvml, name) == getattr(StandIn, name)
    for name, bit in vars(pynvml).items():
        if name.startswith("nvmlClocksThrottleReason") and isinstance(bit, int) and bit.bit_count() == 1:
            assert (bit in module.SLOWED_BY) == (name != "nvmlClocksThrottleReasonGpuIdle"), name
    assert issubclass(pynvml.NVMLError, Exception)


def state(*slowed_by: str, pids: tuple[int, ...] = (os.getpid(),)) -> GpuState:
    return GpuState("1", 1, 1, 1, frozenset(slowed_by), frozenset(pids))


ME = os.getpid()


@pytest.mark.parametrize(
    ("before", "after", "ours", "expected"),
    [
        (state(), state(), {ME}, None),
        (state("power cap"), state("power cap"), {ME}, None),  # all the time: candidate and anchor alike
        (state(), state("power cap"), {ME}, "what slows the GPU changed (power cap)"),
        (state("power cap"), state("board limit"), {ME}, "what slows the GPU changed (board limit, power cap)"),
        (state(pids=(ME, 7)), state(), {ME}, "1 other process on the GPU"),
        (state(), state(pids=(ME, 7)), {ME, 7}, None),  # one of ours, which pauses
        (state(pids=(ME, 7)), state(pids=(ME, 8)), {ME, 9}, "2 other processes on the GPU"),
        (state(pids=(70,)), state(pids=(70,)), {ME}, None),  # in a container this process has another id there
        (state(pids=(70, 71)), state(pids=(70, 71)), {ME, 9}, None),
        (state(pids=(70, 71)), state(pids=(70, 71)), {ME}, "1 other process on the GPU"),
        (state(pids=()), state("sync boost", pids=()), {ME}, "what slows the GPU changed (sync boost)"),
    ],
)
def test_what_disturbs_a_timing(before: GpuState, after: GpuState, ours: set[int], expected: str | None) -> None:
    assert disturbance(before, after, ours) == expected
