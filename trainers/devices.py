"""What this machine can train on."""

from __future__ import annotations

import torch


def count_gpus() -> int:
    """How many CUDA devices torch can use here (CUDA_VISIBLE_DEVICES is heeded)."""
    return torch.cuda.device_count()


def torch_device(name: str) -> torch.device:
    """The device that `cpu`, `cuda`, or `auto` (a GPU where there is one) stands for.

    Raises:
        ValueError: the name is another, or there is no such device here.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda; got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device must be there: torch finds no CUDA device here; choose cpu or auto")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
