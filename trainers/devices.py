"""What this machine can train on."""

from __future__ import annotations

import torch


def count_gpus() -> int:
    """How many CUDA devices torch can use here (CUDA_VISIBLE_DEVICES is heeded)."""
    return torch.cuda.device_count()
