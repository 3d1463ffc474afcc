"""What studies are made of: trainings, timings and costs, each a step that is done whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nas.studies.folder import TRAININGS
from nas.studies.pace import PASS, Pace
from nas.studies.study import Place
from nas.studies.trained import trained
from results.analysis.claims import Interval
from search_spaces import Architecture, cost

if TYPE_CHECKING:
    from trainers.recipe import Recipe
    from trainers.task import TrainingTask

_BLOCK_S = 0.05
"""Of a block of steps, at least."""

_SETTLING = 8
"""Steps at most until their time has settled."""


@dataclass(frozen=True, slots=True)
class Train:
    """A whole training; its test accuracy is of the weights that were best on the minival.

    Args:
        name: of the step, and of the training's folder.
        task: what is trained on what.
        pictures: of its source.
    """

    alone: ClassVar[bool] = False

    name: str
    task: TrainingTask
    pictures: int

    def expected_s(self, pace: Pace) -> float:
        """Seconds that it takes on one worker."""
        return pace.training_s(self.task, self.pictures)

    def run(self, place: Place) -> Mapping[str, Any]:
        """Train, or go on; gives what `trained` does."""
        return trained(place.folder / TRAININGS / self.name, self.task, place.device)


@dataclass(frozen=True, slots=True)
class Compare:
    """The training step of a network over another's, both timed in alternation, and the forward pass likewise.

    Args:
        name: of the step.
        network: what is timed.
        anchor: what it is compared with.
        recipe: batch size and optimiser.
        image_size: side of the network's pictures in training, in pixels.
        anchor_size: of the anchor's.
        pass_sizes: of both in evaluation, the network's first; None leaves the forward pass out.
        blocks: pairs of blocks of steps.
    """

    alone: ClassVar[bool] = True

    name: str
    network: Architecture
    anchor: Architecture
    recipe: Recipe
    image_size: int
    anchor_size: int
    pass_sizes: tuple[int, int] | None
    blocks: int

    def expected_s(self, pace: Pace) -> float:
        """Seconds that it takes: blocks of at least one step each, with what goes before until they have settled."""
        whole, both = 0.0, ((self.network, self.image_size), (self.anchor, self.anchor_size))
        for (network, size), pass_size in zip(both, self.pass_sizes or (0, 0), strict=True):
            step_s = pace.long_step_s(network, self.recipe, size)
            whole += max(step_s, _BLOCK_S)
            if pass_size:
                whole += max(PASS * step_s * (pass_size / size) ** 2, _BLOCK_S)
        return (self.blocks + _SETTLING) * whole

    def run(self, place: Place) -> Mapping[str, Any]:
        """Time them; gives `ratio`, `low`, `high`, `seconds`, `anchor_seconds`, `samples`; the pass's as `pass_...`."""
        from trainers.step_timer import StepTimer

        batch = self.recipe.batch_size
        timer = StepTimer(self.anchor, self.anchor_size, self.recipe, device=place.device, blocks=self.blocks)
        found = _told(timer(self.network, self.image_size))
        del timer  # its network, with the optimiser's state
        if self.pass_sizes is not None:
            timer = StepTimer(self.anchor, self.pass_sizes[1], self.recipe, device=place.device, blocks=self.blocks)
            timed = _told(timer.latency(self.network, self.pass_sizes[0], batch))
            found |= {f"pass_{name}": value for name, value in timed.items()}
        return found


def times_as_fast(gave: Mapping[str, Any], way: str = "") -> Interval:
    """How many times as fast as its anchor a network is, by what a `Compare` gave.

    Args:
        gave: by the step.
        way: `pass_` for the forward pass, else the training step.

    Returns:
        The median over the pairs of blocks with its 95 % bootstrap interval, which knows of this one run alone.
    """
    ratio, low, high = (gave[f"{way}{name}"] for name in ("ratio", "low", "high"))
    return Interval(1 / ratio, 1 / high, 1 / low, len(gave[f"{way}samples"]))


@dataclass(frozen=True, slots=True)
class Count:
    """A network's params, macs and activations in closed form.

    Args:
        name: of the step.
        network: what is counted.
        image_size: side of its pictures, in pixels.
    """

    alone: ClassVar[bool] = True

    name: str
    network: Architecture
    image_size: int

    def expected_s(self, pace: Pace) -> float:
        """None to speak of."""
        return 0.0

    def run(self, place: Place) -> Mapping[str, Any]:
        """Count; gives `params`, `macs`, `activations`."""
        return cost(self.network, self.image_size)._asdict()


def _told(timed: Any) -> dict[str, Any]:
    return {
        "ratio": timed.ratio,
        "low": timed.low,
        "high": timed.high,
        "seconds": timed.seconds,
        "anchor_seconds": timed.anchor_seconds,
        "samples": list(timed.samples),
    }
