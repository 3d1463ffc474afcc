"""What a training step is expected to cost before any training: a few costs of a network, each with its price.

S = sum of price x cost, the costs counted in closed form, the prices fitted (not negative, least squares of the
relative error) on some networks whose step was timed on this device.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from search_spaces import Architecture, part_costs

COSTS = ("step", "params", "fused macs", "fused activations", "mbconv macs", "mbconv activations", "layers")
"""What is counted: 1 for the step itself, parameters (the optimiser), multiply-adds and activations by kind of stage
(stem, head and classifier are of the first kind), and layers (each starts some kernels)."""


def counted(architecture: Architecture, image_size: int, *, num_classes: int, in_channels: int) -> NDArray[np.float64]:
    """The costs of a network, in the order of `COSTS`; millions but for the step and the layers."""
    parts = part_costs(architecture, image_size, num_classes=num_classes, in_channels=in_channels)
    totals = {"step": 1.0, "params": sum(part.cost.params for part in parts) / 1e6}
    for kind in ("fused", "mbconv"):
        chosen = [p.cost for p in parts if (p.stage is not None and p.stage.op == "mbconv") == (kind == "mbconv")]
        totals[f"{kind} macs"] = sum(cost.macs for cost in chosen) / 1e6
        totals[f"{kind} activations"] = sum(cost.activations for cost in chosen) / 1e6
    totals["layers"] = sum(stage.layers for stage in architecture.stages)
    return np.array([totals[name] for name in COSTS])


def fitted_prices(costs: NDArray[np.float64], step_times: Sequence[float]) -> NDArray[np.float64]:
    """The prices that explain timed networks best.

    Args:
        costs: (n, len(COSTS)), a row a network.
        step_times: of these networks, over the anchor's.

    Returns:
        (len(COSTS),), none negative.
    """
    times = np.asarray(step_times, dtype=np.float64)
    scale = costs.max(axis=0)
    scale[scale == 0] = 1.0
    prices, _ = nnls(costs / scale / times[:, None], np.ones(len(times)))
    return np.asarray(prices / scale)


def left_out_error(costs: NDArray[np.float64], step_times: Sequence[float]) -> float:
    """The mean relative error at each timed network of prices fitted on the others."""
    times = np.asarray(step_times, dtype=np.float64)
    errors = []
    for left_out in range(len(times)):
        others = np.arange(len(times)) != left_out
        expected = costs[left_out] @ fitted_prices(costs[others], times[others])
        errors.append(abs(expected / times[left_out] - 1))
    return float(np.mean(errors))
