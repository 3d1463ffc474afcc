"""How many pictures of a split a network classifies right."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from trainers.group import ALONE, Group
from trainers.normalisation import Normalisation
from trainers.pictures import Pictures
from trainers.train import autocast

_BATCH = 250


@torch.no_grad()
def right_in(
    split: str,
    pictures: Pictures,
    network: nn.Module,
    *,
    image_size: int,
    normalisation: Normalisation,
    group: Group = ALONE,
) -> int:
    """How many pictures of a split are classified right, at the first guess; one of several labels is right, too.

    Args:
        split: `train`, `minival` or `test`.
        pictures: what of.
        network: on the device of the pictures; it is left in evaluation mode.
        image_size: side of the pictures, in pixels.
        normalisation: of their pixels.
        group: of the processes that have the same network and share the split out among them.
    """
    network.eval()
    device = next(network.parameters()).device
    right = torch.zeros((), dtype=torch.int64, device=device)
    order = np.array_split(np.arange(pictures.sizes[split]), group.size)[group.rank]
    for images, labels in pictures.batches(split, order, batch_size=_BATCH, image_size=image_size, boxes=None):
        with autocast(device):
            chosen = network(normalisation(images)).argmax(1)
        right += (chosen == labels).sum() if labels.ndim == 1 else labels.gather(1, chosen[:, None]).gt(0).sum()
    return int(group.sum(right).item())
