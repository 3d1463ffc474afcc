"""`regularise`: dropout and stochastic depth of a network in training, set as a schedule has them."""

from __future__ import annotations

from torch import nn

from trainers.blocks import StochasticDepth


def regularise(network: nn.Module, *, dropout: float, survival: float) -> None:
    """Set a network's dropout, and its stochastic depth: that of the last branch, and of those before in proportion.

    Block i of n, counted from 0, keeps its branch with 1 - (1 - survival) i / n.
    """
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    branches = [module for module in network.modules() if isinstance(module, StochasticDepth)]
    for number, branch in enumerate(branches):
        branch.survival = 1.0 - (1.0 - survival) * number / len(branches)
