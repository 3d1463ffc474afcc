"""`top1`: how many pictures a network classifies right."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from trainers.normalisation import Normalisation
from trainers.train import autocast


@torch.no_grad()
def top1(
    network: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], normalisation: Normalisation, device: torch.device
) -> Tensor:
    """How many pictures are classified right, a number on the device; the network is left in evaluation mode."""
    network.eval()
    right = torch.zeros((), dtype=torch.int64, device=device)
    for images, labels in batches:
        with autocast(device):
            chosen = network(normalisation(images)).argmax(1)
        right += (chosen == labels).sum() if labels.ndim == 1 else labels.gather(1, chosen[:, None]).gt(0).sum()
    return right
