"""`Features`: what a controller may know of a network before any training."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from search_spaces import Genotype


class Features(Protocol):
    """What is known before any training: of a network, and of what is asked for.

    Attributes:
        objectives: the names of the search's objectives, as fields of `Measurement`.
    """

    objectives: tuple[str, ...]

    def __call__(self, genotype: Genotype) -> NDArray[np.float64]:
        """Log params, log macs, log activations, layers; and log step time where it is expected before training."""

    def feasible(self, genotype: Genotype) -> bool:
        """Whether it is within the search's limits."""
