"""Zero-cost scores: what an untrained network promises, from one backward pass.

SNIP's connection sensitivity (Lee et al. 2019, arXiv 1810.02340) and SynFlow's synaptic flow (Tanaka et al. 2020, arXiv
2006.05467), both summed over a network's weights, which makes scores of networks of what were scores of weights
(Abdelfattah et al. 2021, arXiv 2101.08134, section 3.1). All scores are natural logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.blocks import ACTIVATIONS, BLOCKS, SqueezeExcite, StochasticDepth
from trainers.data import Data

PICTURES = 16
"""Training pictures that SNIP looks at."""

_NEUTRAL = (nn.BatchNorm2d, nn.Dropout, SqueezeExcite, StochasticDepth, *(type(a()) for a in ACTIVATIONS.values()))
"""What SynFlow passes by: of maps without negative values ReLU is the identity, and an open gate is one."""


def sample_pictures(data: Data, seed: int, *, count: int = PICTURES) -> tuple[Tensor, Tensor]:
    """A few training pictures, drawn without replacement; the minival and the test split are not looked at.

    Args:
        data: where from.
        seed: of the draw.
        count: how many, at the most.

    Returns:
        (count, channels, side, side) float32 with mean 0 and standard deviation 1 a channel, and (count,) labels.
    """
    labels, rows = data.train.labels, data.train.rows
    chosen = np.random.default_rng(seed).choice(len(labels), min(count, len(labels)), replace=False)
    stored = data.train.stored[chosen if rows is None else rows[chosen]]  # these alone are read
    pictures = torch.tensor(stored, dtype=torch.float32).permute(0, 3, 1, 2)
    std, mean = torch.std_mean(pictures, (0, 2, 3), correction=0, keepdim=True)
    return (pictures - mean) / std.clamp(min=1.0), torch.tensor(labels[chosen])  # 1: for pictures of one colour


def snip(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Log of the sum over all weights w of |w · dL/dw| (SNIP, equation 6, not normalised).

    L is the cross-entropy of one batch, in training mode; the running statistics of batch norm move with it.

    Args:
        network: its convolutions and linear layers count; with the weights as they were drawn.
        images: (N, channels, height, width), on the network's device.
        labels: (N,).
    """
    weights = _weights(network.train())
    loss = F.cross_entropy(network(images).float(), labels)
    return _log_sum(weights, torch.autograd.grad(loss, weights))


def synflow(network: nn.Module, image_shape: tuple[int, int, int]) -> float:
    """Log of the sum over all weights w of |w| · dR/d|w| (SynFlow, equation 2), which no picture is needed for.

    R is the sum of the outputs for a picture of ones where all weights are positive, and batch norm, activations,
    biases and squeeze-excite are left out, so that it is a sum of products of weights. In float64, and every block's
    output is scaled to 1 at the most, since that of a deep network may pass 10^300. What is left out is taken out of
    the network, which is of no other use afterwards (copying it would take longer than all the rest).

    Args:
        network: its convolutions and linear layers count; with the weights as they were drawn.
        image_shape: (channels, height, width).
    """
    _make_linear(network)
    weights = _weights(network)
    for weight in weights:
        weight.data = weight.data.double().abs().contiguous()
    scales: list[Tensor] = []

    def rescale(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        scales.append(output.detach().amax().clamp(min=torch.finfo(torch.float64).tiny))
        return output / scales[-1]  # all that follows is linear, so the score is divided by this, whichever the weight

    for module in network.modules():
        if isinstance(module, tuple(BLOCKS.values())):
            module.register_forward_hook(rescale)
    picture = torch.ones(1, *image_shape, dtype=torch.float64, device=weights[0].device)
    score = _log_sum(weights, torch.autograd.grad(network(picture).sum(), weights))
    return score + sum(math.log(scale) for scale in scales)


def _make_linear(network: nn.Module) -> None:
    """Take out what is not linear, and the biases."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _NEUTRAL):
                setattr(parent, name, nn.Identity())
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.bias = None


def _weights(network: nn.Module) -> list[Tensor]:
    return [module.weight for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


@torch.no_grad()
def _log_sum(weights: Iterable[Tensor], gradients: Iterable[Tensor]) -> float:
    parts = [(w.double() * g.double()).abs().sum() for w, g in zip(weights, gradients, strict=True)]
    total = float(torch.stack(parts).sum())
    return math.log(total) if total else -math.inf
