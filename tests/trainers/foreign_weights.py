"""Weights that are a function of their names and shapes alone, so that stored logits need no stored weights."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def drawn(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights and statistics that leave no part of a network without effect."""
    rng = np.random.default_rng(0)
    tensors = {}
    for key in sorted(shapes):
        shape, kind = shapes[key], key.rpartition(".")[2]
        if kind == "num_batches_tracked":
            tensors[key] = torch.tensor(0)
            continue
        values = rng.random(shape, dtype=np.float32)
        if len(shape) > 1:
            values = (2 * values - 1) * np.float32(math.sqrt(3 / math.prod(shape[1:])))
        else:
            values += np.float32(0.5 if kind in ("weight", "running_var") else -0.5)
        tensors[key] = torch.from_numpy(values)
    return tensors


def digest(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Tells one list of names and shapes from another."""
    lines = (f"{key} {'x'.join(map(str, shapes[key]))}" for key in sorted(shapes))
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=12).hexdigest()


def picture() -> Tensor:
    """One picture of 64 px with a pattern, in double precision: (1, 3, 64, 64)."""
    return torch.linspace(-2, 2, 3 * 64 * 64, dtype=torch.float64).mul(7.3).sin().reshape(1, 3, 64, 64)
