"""How fast networks train here: the time of a step, from a few of them, so that a study knows how long it takes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from search_spaces import Architecture, cost

if TYPE_CHECKING:
    from trainers.recipe import Recipe
    from trainers.task import TrainingTask

# Modules that load torch are imported inside the functions, so that `nas study --help` is quick.

SAFETY = 1.3
"""What a training takes beside others, and besides its steps, over what its steps alone take."""

PASS = 1 / 3
"""Of a training step's time, a forward pass."""

_FEW_PIXELS = 40_000
"""Of a step on a CPU that larger ones are told by before they are taken; it has at least one picture."""

_BYTES = 16
"""Of memory in a training step on a CPU, for each of the network's activations: the outputs of convolution, batch norm
and activation are kept, and one gradient is there, in 4 bytes each."""

_MEMORY_SHARE = 0.6
"""Of the machine's memory, what a training step may take."""

_LOOKS = 24
"""Places of a training at which its picture size is looked at."""


class Pace:
    """The time of training steps on a device; each is measured once.

    Args:
        device: `cpu` or `cuda`.
        classes: of the pictures.
        channels: of a picture.
    """

    def __init__(self, device: str, *, classes: int = 10, channels: int = 3) -> None:
        self.device, self._classes, self._channels = device, classes, channels
        self._known: dict[tuple[str, int, int], float] = {}
        self._tried: set[tuple[str, int]] = set()

    def step_s(self, network: Architecture | str, recipe: Recipe, image_size: int) -> float:
        """Seconds of a training step; infinitely many where memory does not suffice for it.

        Args:
            network: an architecture, or the name of a network of the user's.
            recipe: of the training.
            image_size: side of the pictures, in pixels.
        """
        key = (str(network), image_size, recipe.batch_size)
        if key not in self._known:
            self._known[key] = self._measured_s(network, recipe, image_size)
        return self._known[key]

    def long_step_s(self, network: Architecture, recipe: Recipe, image_size: int) -> float:
        """The same of a step that may take long: on a CPU by a few of its pictures, since the others take as long."""
        few = recipe.batch_size
        if self.device == "cpu":
            few = max(1, min(few, _FEW_PIXELS // image_size**2))
        if self.device == "cpu" and not _bearable(network, image_size, recipe.batch_size):
            return math.inf
        return self.step_s(network, replace(recipe, batch_size=few), image_size) * recipe.batch_size / few

    def _measured_s(self, network: Architecture | str, recipe: Recipe, image_size: int) -> float:
        from trainers.devices import torch_device
        from trainers.out_of_memory import is_out_of_memory
        from trainers.own_model import own_model
        from trainers.step_timer import rough_step_s

        if self.device == "cpu" and not _bearable(network, image_size, recipe.batch_size):
            return math.inf  # the system would end the process
        try:
            return rough_step_s(
                own_model(network, self._classes) if isinstance(network, str) else network,
                image_size,
                recipe,
                num_classes=self._classes,
                in_channels=self._channels,
                device=torch_device(self.device),
            )
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return math.inf

    def training_s(self, task: TrainingTask, pictures: int) -> float:
        """Seconds of a whole training, with its evaluations.

        Args:
            task: the training.
            pictures: of its source, those of the minival among them.

        Raises:
            ValueError: a network of the user's cannot be made, or does not take such pictures.
        """
        from trainers.progressive import settings_at

        recipe, minival = task.recipe, task.minival or pictures // 10
        steps = max(1, recipe.epochs * ((pictures - minival) // recipe.batch_size))
        places = [steps * (look + 0.5) / _LOOKS for look in range(_LOOKS)]
        sizes = [settings_at(recipe, place, steps, seed=task.seed).image_size for place in places]
        if task.model is not None:
            self._try(task.model, {min(sizes), max(sizes)})
        step_s = self._by_size(task, min(sizes), max(sizes))
        evaluated = recipe.epochs * minival / recipe.batch_size
        evaluation_s = evaluated * PASS * step_s(recipe.eval_size or recipe.image_size or max(sizes))
        return SAFETY * (steps * sum(map(step_s, sizes)) / len(sizes) + evaluation_s)

    def _try(self, model: str, sizes: set[int]) -> None:
        from trainers.own_model import check_model, own_model

        asked = {(model, size) for size in sizes}
        if not asked <= self._tried:
            made = own_model(model, self._classes)
            check_model(made, model, sizes=sorted(sizes), in_channels=self._channels, num_classes=self._classes)
            self._tried |= asked

    def _by_size(self, task: TrainingTask, smallest: int, largest: int) -> Callable[[int], float]:
        """Seconds of a step by image size: a part that is there at any size, and one that grows with the pixels."""
        network = task.architecture or task.model
        assert network is not None
        low, high = (self.step_s(network, task.recipe, size) for size in (smallest, largest))
        grows = (high - low) / (largest**2 - smallest**2) if largest > smallest else low / smallest**2
        return lambda size: max(low / 2, low + grows * (size**2 - smallest**2))


def _bearable(network: Architecture | str, image_size: int, batch_size: int) -> bool:
    """Whether the machine's memory suffices for a training step; of a network of the user's that is not known."""
    if isinstance(network, str):
        return True
    return _BYTES * batch_size * cost(network, image_size).activations < _MEMORY_SHARE * _machine_bytes()


def _machine_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
