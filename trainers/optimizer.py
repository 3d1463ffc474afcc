"""Optimisers of a recipe: `make_optimizer`, and RMSProp as TensorFlow computes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainers.recipe import Recipe

USUAL_EPSILON = {"rmsprop": 1e-3, "adamw": 1e-8}
"""google/automl efficientnetv2/utils.py, and torch's own."""


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser that a recipe asks for, on all parameters of a network where they now are.

    Vectors (biases, and batch norm's scales and shifts) are not decayed, as published. The learning rate is set for
    each step in the optimiser's groups.

    Args:
        network: on the device that it is trained on.
        recipe: optimiser, momentum and decay.
    """
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    rate, momentum = recipe.learning_rate, recipe.momentum
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0, fused=True)
    epsilon = USUAL_EPSILON[recipe.optimizer] if recipe.epsilon is None else recipe.epsilon
    if recipe.optimizer == "rmsprop":
        for group in groups:
            group["l2"] = recipe.l2
        return RMSprop(groups, lr=rate, decay=recipe.rms_decay, momentum=momentum, epsilon=epsilon)
    kind = torch.optim.Adam if recipe.l2 else torch.optim.AdamW
    return kind(groups, lr=rate, betas=(momentum, 0.999), eps=epsilon, fused=True)


class RMSprop(torch.optim.Optimizer):
    """RMSProp as TensorFlow 1's `RMSPropOptimizer`, with which EfficientNets were trained; torch's differs.

    s ← ρ s + (1 - ρ) g²; m ← μ m + η g / √(s + ε); w ← w - m. Epsilon stands inside the root, s begins at 1, not 0,
    and the learning rate of a step stays in the momentum.

    Args:
        params: tensors, or groups of them; a group may have a `weight_decay` (0 by default), and `l2`: whether it is
            the gradient of weight_decay · ½‖w‖² (the default), or shrinks the weights by learning rate times decay.
        lr: the learning rate, η.
        decay: of the mean square, ρ.
        momentum: μ.
        epsilon: ε.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        decay: float = 0.9,
        momentum: float = 0.9,
        epsilon: float = 1e-3,
    ) -> None:
        defaults = {"lr": lr, "decay": decay, "momentum": momentum, "epsilon": epsilon, "weight_decay": 0.0, "l2": True}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step with the gradients that are there.

        Args:
            closure: computes them anew and gives the loss, which is given on.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._update(group, params, [p.grad for p in params])
        return loss

    def _update(self, group: dict[str, Any], params: list[Tensor], gradients: list[Tensor]) -> None:
        """One step of a group, all tensors at once, as torch's own optimisers do on GPUs."""
        for param in params:
            if not self.state[param]:
                self.state[param] = {"square_avg": torch.ones_like(param), "momentum_buffer": torch.zeros_like(param)}
        squares = [self.state[param]["square_avg"] for param in params]
        moments = [self.state[param]["momentum_buffer"] for param in params]
        if group["weight_decay"]:
            if group["l2"]:
                gradients = list(torch._foreach_add(gradients, params, alpha=group["weight_decay"]))
            else:
                torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_mul_(squares, group["decay"])
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - group["decay"])
        roots = torch._foreach_add(squares, group["epsilon"])
        torch._foreach_sqrt_(roots)
        torch._foreach_mul_(moments, group["momentum"])
        torch._foreach_addcdiv_(moments, gradients, roots, value=group["lr"])
        torch._foreach_sub_(params, moments)
