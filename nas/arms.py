"""Whose turn it is to propose: the controller's, or the random arm's, which it is compared with."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

from nas.controllers import Controller
from results.trial import Arm
from search_spaces import Genotype


class Arms:
    """A controller and random search, in turns.

    Args:
        controller: proposes what random search does not.
        chance: random search.
        share: of all proposals that random search makes.
        first_draw: what is proposed in the controller's place at first.

    Raises:
        ValueError: share is none.
    """

    def __init__(
        self, controller: Controller, chance: Controller, share: float, first_draw: Sequence[Genotype] = ()
    ) -> None:
        if not 0 <= share < 1:
            raise ValueError(f"random_arm must be a share of the proposals, from 0 to under 1; got {share}")
        self._controller, self._chance, self._share = controller, chance, share
        self._first_draw = list(reversed(first_draw))  # the next is the last

    def propose(self, number: int) -> tuple[Genotype | None, Arm]:
        """A proposal for a trial and whose it is; where random search finds nothing, it is the controller's turn."""
        arm = self._turn(number)
        genotype = self._chance.ask() if arm == "random" else None
        if genotype is None and self._first_draw:
            return self._first_draw.pop(), "screened"
        if genotype is None:
            genotype, arm = self._controller.ask(), "controller"
        return None if genotype is None else tuple(operator.index(i) for i in genotype), arm  # numpy's are no JSON

    def _turn(self, number: int) -> Arm:
        """Trial n is the random arm's where the whole part of its share of n + 1 grows."""
        return "random" if math.floor(self._share * (number + 1)) > math.floor(self._share * number) else "controller"
