"""What this machine can train on."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

import torch


def count_gpus() -> int:
    """How many CUDA devices torch can use here (CUDA_VISIBLE_DEVICES is heeded)."""
    return torch.cuda.device_count()


def torch_device(name: str) -> torch.device:
    """The device that `cpu`, `cuda`, `cuda:1` (of several), or `auto` (a GPU where there is one) stands for.

    Raises:
        ValueError: the name is another, or there is no such device here.
    """
    kind, colon, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (colon and not (kind == "cuda" and number.isdecimal())):
        raise ValueError(f"device must be auto, cpu or cuda; got {name!r}")
    if kind == "cuda" and int(number or 0) >= count_gpus():
        found = f"no CUDA device {name}" if number else "no CUDA device"
        raise ValueError(f"device must be there: torch finds {found} here; choose cpu or auto")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def use_one_core() -> None:
    """Have torch compute on one thread in this process, which shares the machine with others of its kind."""
    torch.set_num_threads(1)


def device_name(device: torch.device) -> str:
    """What the device is called by who made it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()


def processor_name() -> str:
    """The processor's model, or at least its kind."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
