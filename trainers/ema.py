"""`Ema`: the exponential moving average of a network in training, batch norm's statistics included.

As EfficientNet's code has it (google/automl `efficientnetv2/utils.py`, `get_ema_vars`): the average is what is
evaluated, and its decay begins low, so that it does not keep the first weights.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

_UPDATES = "ema_updates"


class Ema:
    """The moving average of a network's weights and statistics.

    Args:
        network: the one that is trained, on its device already: its tensors are looked up once.
        decay: the highest, above 0 and below 1; update t, counted from 0, takes min(decay, (1 + t) / (10 + t)).

    Attributes:
        network: the average, a network to evaluate; in evaluation mode, without gradients.
        updates: taken so far.

    Raises:
        ValueError: the decay is out of its range.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"the decay of a moving average must be above 0 and below 1; got {decay}")
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.updates, self._decay = 0, decay
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._averages, self._trained = [a for a, _ in averaged], [b for _, b in averaged]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]  # of batches seen, by batch norm

    @torch.no_grad()
    def update(self) -> None:
        """Take in the network as it is now, after a step of the optimiser."""
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self._averages, self._trained, 1 - decay)
        for own, trained in self._counts:
            own.copy_(trained)
        self.updates += 1

    def state_dict(self) -> dict[str, Tensor]:
        """The average and the number of updates, as tensors by name."""
        return {**self.network.state_dict(), _UPDATES: torch.tensor(self.updates)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            ValueError: it is not of an average.
            RuntimeError: it is of another network.
        """
        if _UPDATES not in state:
            raise ValueError(
                f"the state of a moving average must have {_UPDATES}; it has {', '.join(list(state)[:3])}, ..."
            )
        self.network.load_state_dict({name: value for name, value in state.items() if name != _UPDATES})
        self.updates = int(state[_UPDATES])


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
