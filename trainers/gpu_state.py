"""What NVML tells of a GPU: clocks, temperature, what slows it, who else computes on it.

Needs nvidia-ml-py (the extra `gpu`); without it, or without a GPU, nothing is told.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

SLOWED_BY = {
    0x2: "application clocks",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake",
    0x100: "display clocks",
    0x200: "board limit",
    0x400: "reliability limit",
}
"""nvmlClocksEventReason*: why clocks are lower than they could be; that the GPU is idle (0x1) is no such reason."""


class GpuState(NamedTuple):
    """A GPU at one moment; None where NVML cannot tell.

    Attributes:
        driver: its version.
        sm_clock_mhz: of the multiprocessors.
        memory_clock_mhz: of the memory.
        temperature_c: of the GPU.
        slowed_by: why clocks are lower than they could be.
        processes: ids of the processes that compute on it, as the machine has them.
    """

    driver: str | None
    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    temperature_c: int | None
    slowed_by: frozenset[str]
    processes: frozenset[int]


def gpu_state(gpu: str) -> GpuState | None:
    """The state of a GPU now; None where there is no NVML to tell it.

    Args:
        gpu: its UUID, as torch has it: without a prefix.
    """
    nvml = _nvml()
    if nvml is None:
        return None
    handle = _told(nvml, nvml.nvmlDeviceGetHandleByUUID, f"GPU-{gpu}")
    if handle is None:
        handle = _told(nvml, nvml.nvmlDeviceGetHandleByUUID, f"MIG-{gpu}")
    if handle is None:
        return None
    reasons = _told(nvml, nvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if reasons is None:  # of a driver from before these were called so
        reasons = _told(nvml, nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    return GpuState(
        driver=_told(nvml, nvml.nvmlSystemGetDriverVersion),
        sm_clock_mhz=_told(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
        memory_clock_mhz=_told(nvml, nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
        temperature_c=_told(nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        slowed_by=frozenset(name for bit, name in SLOWED_BY.items() if (reasons or 0) & bit),
        processes=frozenset(p.pid for p in _told(nvml, nvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()),
    )


def disturbance(before: GpuState, after: GpuState, ours: Collection[int]) -> str | None:
    """What may have disturbed a timing between two states, in words; None where nothing did.

    What slows a GPU all the time slows candidate and anchor alike; it is a change that does not.

    Args:
        ours: ids of the processes that do not count, since they pause. Where this process's own is not among the
            GPU's, as in a container, ids cannot be compared, and as many as there are of ours are left out.
    """
    found = []
    if changed := sorted(before.slowed_by ^ after.slowed_by):
        found.append(f"what slows the GPU changed ({', '.join(changed)})")
    seen = before.processes | after.processes
    comparable = os.getpid() in seen
    others = len(seen - set(ours)) if comparable else max(0, len(seen) - len(ours))
    if others:
        found.append(f"{others} other process{'es' if others > 1 else ''} on the GPU")
    return ", ".join(found) or None


@functools.cache
def _nvml() -> Any:
    """The module, with its library started; None where there is none."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError, OSError):  # no driver here
        return None
    return pynvml


def _told(nvml: Any, ask: Callable[..., Any], *arguments: Any) -> Any:
    """What NVML answers; None where this GPU, or its driver, cannot tell."""
    try:
        return ask(*arguments)
    except nvml.NVMLError:
        return None
