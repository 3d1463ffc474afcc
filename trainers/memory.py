"""The most memory that a training step takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn
from torch.autograd.profiler import profile

T = TypeVar("T")


def with_peak(step: Callable[[], T], network: nn.Module, device: torch.device) -> tuple[T, int]:
    """Take a training step, and tell the most bytes that tensors took during it: weights, momentum, gradients, maps.

    On CUDA that is what the allocator counts. On a CPU it is added up from the allocations that torch reports to its
    profiler: what the process itself takes, and what libraries allocate past torch, are not in it. The pictures are in
    neither.

    Args:
        step: not the first of its optimiser, whose state comes into being then.
        network: what is trained; its gradients are let go before.
        device: where it runs.
    """
    held = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    held += sum(p.numel() * p.element_size() for p in network.parameters())  # momentum
    for parameter in network.parameters():
        parameter.grad = None
    if device.type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        given = step()
        torch.cuda.synchronize()
        return given, int(held + torch.cuda.max_memory_allocated() - before)
    # without Kineto, which takes seconds to begin with
    with profile(use_kineto=False, use_cpu=True, profile_memory=True) as profiled:
        given = step()
    most, allocated = 0, 0
    events = [e for e in profiled.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        allocated += int(event.nbytes())
        most = max(most, allocated)
    return given, int(held) + most
