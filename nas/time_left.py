"""`TimeLeft`: how long a training still takes, where its later steps have larger pictures than those it has taken.

What is left is known, by the pure schedule: so many pictures of each size. What a pixel takes is measured: at a size
that was not trained yet, it takes what it does at the nearest one that was.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trainers.progressive import Settings
    from trainers.recipe import Recipe

_SLICES = 1000
_FORWARD = 1 / 3
"""Of a training step's work, what its forward pass is, which is all that an evaluation has."""


class TimeLeft:
    """The time left of a training that tells it of its steps and epochs.

    Args:
        recipe: of the training.
        pictures: that it is given in all.
        minival: pictures evaluated after each epoch.
        seed: of the training, which draws sizes.
        clock: seconds.

    Attributes:
        pictures: likewise.
        recipe: likewise.
    """

    def __init__(
        self,
        recipe: Recipe,
        pictures: int,
        *,
        minival: int,
        seed: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from trainers.progressive import settings_at

        self.recipe, self.pictures = recipe, pictures
        steps = pictures // recipe.batch_size
        count = min(steps, _SLICES)
        starts = np.arange(count) / count
        self._edges = np.append(starts, 1.0) * pictures
        self._sizes = np.array([settings_at(recipe, at * steps, steps, seed=seed).image_size for at in starts])
        self._evaluated_pixels = minival * (recipe.eval_size or recipe.image_size or 0) ** 2
        self._clock = clock
        self._seen = 0
        self._last: tuple[float, int] | None = None  # when the step that was told last began, and its size
        self._ended_at: float | None = None
        self._known: set[int] = set()  # sizes whose first step is over, which is slow
        self._measured: dict[int, tuple[float, int]] = {}  # seconds and pictures, by size
        self._between_s: list[float] = []  # of evaluation, checkpoint and what else is at an epoch's end

    def step(self, settings: Settings, seen: int) -> None:
        """A step begins that comes after so many pictures; not every one has to be told."""
        now = self._clock()
        if self._ended_at is not None:
            self._between_s[-1] += now - self._ended_at
            self._ended_at = None
        if self._last is not None:
            begun, size = self._last
            if size in self._known:
                took, of = self._measured.get(size, (0.0, 0))
                self._measured[size] = (took + now - begun, of + seen - self._seen)
            self._known.add(size)
        self._last, self._seen = (now, settings.image_size), seen

    def ended(self, seen: int) -> None:
        """An epoch is over, after so many pictures."""
        now = self._clock()
        if self._last is not None:  # its last step, and what came after
            begun, size = self._last
            pace = self._pixel_s(size) or 0.0
            self._between_s.append(max(0.0, now - begun - (seen - self._seen) * size**2 * pace))
            self._ended_at = now
        self._last, self._seen = None, seen

    @property
    def images_per_s(self) -> float | None:
        """Pictures trained on a second at the size of now; None where none was measured."""
        took, of = self._measured.get(self._last[1] if self._last else 0, (0.0, 0))
        return of / took if took else None

    def left_s(self) -> float | None:
        """Seconds until the end; None where nothing is known yet."""
        part = np.diff(self._edges.clip(min=self._seen))  # of each slice, the pictures to come
        sizes = {int(size): float(part[self._sizes == size].sum()) for size in np.unique(self._sizes[part > 0])}
        paces = {size: self._pixel_s(size) for size in sizes}
        if sizes and None in paces.values() and not self._between_s:
            return None
        steps_s = sum(count * size**2 * (paces[size] or 0.0) for size, count in sizes.items())
        epochs, every = self.recipe.epochs, self.recipe.evaluate_epochs
        over = math.floor(self._seen * epochs / self.pictures + 1e-9)
        return steps_s + (-(-epochs // every) - over // every) * self._epoch_end_s()

    def _epoch_end_s(self) -> float:
        if self._between_s:
            return statistics.median(self._between_s)  # the first may have a step in it
        size = self.recipe.eval_size or self.recipe.image_size or 0
        return _FORWARD * self._evaluated_pixels * (self._pixel_s(size) or 0.0)

    def _pixel_s(self, size: int) -> float | None:
        """Seconds that a pixel takes at a size, by the nearest that was measured."""
        if not self._measured:
            return None
        nearest = min(self._measured, key=lambda known: abs(known - size))
        took, pictures = self._measured[nearest]
        return took / (pictures * nearest**2)
