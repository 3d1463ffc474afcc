"""`Training`: a network trained by a recipe, whose picture size and regularisation may follow a schedule.

Progressive learning (EfficientNetV2, arXiv 2104.00298, section 4 and algorithm 1): what a step does is a function of
its number (`progressive.settings_at`), and so is all its chance: order, crops, variation, dropout. A training that is
taken up again at a checkpoint therefore goes on to the same weights. Knows nothing of search, and writes no file but
checkpoints.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.checkpoint import Checkpoint, Checkpoints, optimizer_tensors, restore, restore_optimizer
from trainers.crops import crop_boxes
from trainers.devices import device_name
from trainers.ema import Ema
from trainers.epoch import Epoch, Step, in_stages, parts_of, schedule_of
from trainers.group import ALONE, Group
from trainers.normalisation import Normalisation
from trainers.out_of_memory import memory_for
from trainers.pictures import Pictures
from trainers.progressive import Settings, settings_at
from trainers.recipe import Recipe
from trainers.regularise import regularise
from trainers.sharded import joined, shard
from trainers.top1 import right_in
from trainers.train import TrainingStep
from trainers.variation import varied
from trainers.waits import waited_for
from trainers.weights import LoadedWeights

LOOK_EVERY = 50
"""Steps after which the loss is looked at, and a checkpoint may be due: it makes the host wait for the device."""

LOOK_S = 5.0
"""The same in seconds, where that many steps would take longer."""

TIME_EVERY = 7
"""Steps after which a wait for pictures is timed on a GPU, which has to end its work for that; no multiple of what
batches may come in, such as readers that take turns."""

_LESS_MEMORY = (
    "free some, or begin another training with smaller batches (--batch-size), with their gradient in parts "
    "(--accumulate), or with smaller pictures (--image-size, --eval-size)"
)
_REMEDY = (
    "try a lower learning rate (--learning-rate), a longer warm-up (--warmup-epochs), or a weaker augmentation "
    "(--augment)"
)


@dataclass(slots=True)
class _Sums:
    """Of the epoch that is running."""

    loss: float = 0.0
    pictures: int = 0
    train_s: float = 0.0
    waited_s: float = 0.0
    trained_before_s: float = 0.0


class Training:
    """A network in training.

    Args:
        network: trained in place, on the device; `nn.Dropout` and `StochasticDepth` in it follow the schedule.
        recipe: how, and for how long.
        pictures: what on.
        normalisation: of their pixels.
        seed: of order, crops, variation, dropout.
        device: where the network is.
        group: of the processes that train it together; each has a part of every batch.
        shards: parts of a batch that are varied on their own, each by its own chance (crops apart, which are a
            picture's): as many as there are devices, or, for the numbers of that many devices, more. It divides the
            batch, and the group's size divides it.
        checkpoints: where to save; None for nowhere.

    Attributes:
        step: steps taken so far.
        seen: pictures they were given; of an epoch that is over, all that a whole batch could be made of.
        pictures_in_all: that the training is given.
        best: the highest accuracy on the minival, and the step it was reached at.
        told: the epochs that are over and were evaluated; checkpoints hold them.
        loss: mean since the epoch told last, when it was looked at; None before.
        began_with: the weights that were loaded into the network; None where they were drawn.

    Raises:
        ValueError: the batch, or what it grows to, exceeds the pictures, or cannot be shared out.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        pictures: Pictures,
        *,
        normalisation: Normalisation,
        seed: int,
        device: torch.device,
        group: Group = ALONE,
        shards: int = 1,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        count, batch = pictures.sizes["train"], recipe.batch_size
        if batch > count:
            raise ValueError(f"batch_size must be at most the {count} training pictures; got {batch}")
        sizes = {batch, *(settings_at(recipe, at, 1000, seed=seed).batch_size for at in range(1000))}
        if shards % group.size or any(size % (shards * recipe.accumulate) for size in sizes):
            raise ValueError(
                f"batches must be multiples of shards x accumulate, and shards of the devices; got batches of "
                f"{', '.join(map(str, sorted(sizes)))}, {shards} shards, {recipe.accumulate} accumulated, "
                f"{group.size} devices"
            )
        if max(sizes) > count // batch * batch:
            raise ValueError(
                f"batches must be at most the {count // batch * batch} pictures of an epoch; those of {batch} grow to "
                f"{max(sizes)} for the smallest pictures: take a smaller batch_size, or batches that do not grow"
            )
        self.network, self.recipe, self.pictures = network, recipe, pictures
        self.normalisation, self.seed, self.device = normalisation, seed, device
        self.group, self.shards, self.checkpoints = group, shards, checkpoints
        self._per_epoch = count // batch * batch
        self.pictures_in_all = recipe.epochs * self._per_epoch
        self._ema = Ema(network, recipe.ema) if recipe.ema else None  # a copy of it as it is alone
        self._model = group.wrapped(network)
        self._step = TrainingStep(self._model, recipe, device)
        self._chance = torch.Generator(device)
        self._drops = [torch.Generator(device) for _ in range(shards // group.size)]
        if shards > 1:
            shard(network, self._drops)
        self._loss = torch.zeros((), dtype=torch.float64, device=device)  # exact, whenever it is looked at
        self._look_every = 1  # until it is known what a step takes
        self._sums = _Sums()
        self._saved: tuple[int, int] | None = None
        self.step, self.seen, self.told = 0, 0, list[Epoch]()
        self.best: tuple[float, int] | None = None
        self.loss: float | None = None
        self.began_with: LoadedWeights | None = None

    # Running --------------------------------------------------------------------------------------------------------

    def run(
        self, *, save_every_s: float = 300.0, watch: Callable[[Settings, int], None] = lambda settings, step: None
    ) -> Iterator[Epoch]:
        """Train to the end; gives each epoch that the recipe evaluates as it is over, when it has been saved.

        Args:
            save_every_s: seconds between two checkpoints (to about `LOOK_S`, or a step); there is one with each epoch
                that is given, too.
            watch: is told, before each step, what it has and how many pictures were seen; it may `save`.

        Raises:
            FloatingPointError: the loss or a weight is not finite (says what to try); the last checkpoint is of before.
            OSError: a checkpoint could not be written; the one before is good.
            MemoryError: it does not suffice for a step or an evaluation (says of which size); likewise.
        """
        saved_at = time.monotonic()
        while self.seen < self.pictures_in_all:
            number = self.seen // self._per_epoch + 1
            tells = number % self.recipe.evaluate_epochs == 0 or number == self.recipe.epochs
            order = self.pictures.training_order(seed=self.seed, epoch=number - 1)
            steps = [step for step in self._steps(number - 1) if step[0] >= self.seen]
            self._model.train()
            for part in in_stages(steps):
                for looked in self._trained(part, order, watch):
                    saved_soon = tells and self.seen > steps[-1][0]  # with what is told of the epoch
                    due = time.monotonic() - saved_at > save_every_s
                    if looked and not saved_soon and self.group.anyone(due, self.device):
                        self.save()
                        saved_at = time.monotonic()
            self.seen = number * self._per_epoch  # a last, smaller batch is left out
            if tells:
                self.told.append(self._ended())
                self.save()
                saved_at = time.monotonic()
                yield self.told[-1]

    @property
    def over(self) -> int:
        """The last epoch that was told; 0 before."""
        return self.told[-1].epoch if self.told else 0

    def settings(self, seen: int) -> Settings:
        """What a step has that comes after so many pictures."""
        size = self.recipe.batch_size
        return settings_at(self.recipe, seen / size, self.pictures_in_all // size, seed=self.seed)

    def _steps(self, epoch: int) -> list[Step]:
        """The steps of an epoch, counted from 0, each with the pictures seen before it."""
        steps, seen = [], epoch * self._per_epoch
        while seen + (settings := self.settings(seen)).batch_size <= (epoch + 1) * self._per_epoch:
            steps.append((seen, settings))
            seen += settings.batch_size
        return steps

    def _trained(
        self, part: list[Step], order: NDArray[np.int64], watch: Callable[[Settings, int], None]
    ) -> Iterator[bool]:
        """Take steps of one picture size and batch size, one at a time; gives whether the loss was looked at."""
        first, settings = part[0]
        at, count = first % self._per_epoch, len(part) * settings.batch_size
        regularise(self.network, dropout=settings.dropout, survival=settings.survival)
        on_gpu = self.device.type == "cuda"
        batches = waited_for(
            self._batches_of(order[at : at + count], settings),
            len(part),
            settle=partial(torch.cuda.synchronize, self.device) if on_gpu else lambda: None,
            every=TIME_EVERY if on_gpu else 1,
        )
        for number, (seen, now) in enumerate(part, 1):
            watch(now, seen)
            begun = time.perf_counter()
            with memory_for(f"a step of {now.batch_size} pictures at {now.image_size} px", _LESS_MEMORY):
                (images, labels), waited_s = next(batches)
                self._loss += now.batch_size * self._stepped(images, labels, now)
            self.step += 1
            self.seen = seen + now.batch_size
            self._sums.waited_s += waited_s
            self._sums.pictures += now.batch_size
            looks = self.step % self._look_every == 0 or number == len(part)
            if looks:
                self._look()
                self.loss = self._sums.loss / self._sums.pictures
            self._sums.train_s += time.perf_counter() - begun
            if looks:
                self._look_every = self._steps_in(LOOK_S, now.batch_size)
            yield looks

    def _steps_in(self, seconds: float, batch_size: int) -> int:
        """How many steps are taken in so long, up to `LOOK_EVERY`; the same number in all processes."""
        step_s = torch.tensor(self._sums.train_s * batch_size / self._sums.pictures, device=self.device)
        return max(1, min(LOOK_EVERY, int(seconds / self.group.mean(step_s).item())))

    def _batches_of(self, chosen: NDArray[np.int64], settings: Settings) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's part of batches of these pictures, cropped and of the settings' size."""
        whole, part = settings.batch_size, settings.batch_size // self.group.size
        mine = np.concatenate(
            [
                np.array_split(chosen[at : at + whole], self.group.size)[self.group.rank]
                for at in range(0, len(chosen), whole)
            ]
        )
        epoch = self.seen // self._per_epoch
        boxes = crop_boxes(mine, seed=self.seed, epoch=epoch, min_area=self.recipe.min_crop_area)
        return self.pictures.batches("train", mine, batch_size=part, image_size=settings.image_size, boxes=boxes)

    def _stepped(self, images: Tensor, labels: Tensor, now: Settings) -> Tensor:
        """One step on this process's part of a batch; gives the loss, on the device."""
        inputs, targets = [], []
        parts = self.shards // self.group.size
        for number, part in enumerate(zip(images.chunk(parts), labels.chunk(parts), strict=True)):
            place = self.group.rank * parts + number
            self._chance.manual_seed(_seed(self.seed, self.step, place))
            pixels, shares = varied(
                part,
                now.augmentation,
                normalisation=self.normalisation,
                num_classes=len(self.pictures.class_names),
                chance=self._chance,
            )
            self._drops[number].manual_seed(_seed(self.seed, self.step, self.shards + place))
            inputs.append(pixels)
            targets.append(shares)
        torch.manual_seed(_seed(self.seed, self.step, 2 * self.shards + self.group.rank))  # of layers of one's own
        among = self.recipe.accumulate
        loss = self._step(joined(inputs, among), joined(targets, among), now.learning_rate)
        if self._ema is not None:
            self._ema.update()
        return loss

    def _look(self) -> None:
        """Wait for the loss, and count it.

        Raises:
            FloatingPointError: it is not finite.
        """
        loss = self.group.mean(self._loss).item()
        if not math.isfinite(loss):
            raise FloatingPointError(f"the training loss became {loss} before step {self.step}: {_REMEDY}")
        self._sums.loss += loss
        self._loss.zero_()

    # What becomes of an epoch ---------------------------------------------------------------------------------------

    def _ended(self) -> Epoch:
        found = self.evaluate("minival")
        if self.best is None or found > self.best[0]:
            self.best = (found, self.step)
        sums, self._sums = self._sums, _Sums(trained_before_s=self._sums.trained_before_s + self._sums.train_s)
        number = self.seen // self._per_epoch
        steps = [step for epoch in range(self.over, number) for step in self._steps(epoch)]
        last, device = steps[-1][1], device_name(self.device)
        return Epoch(
            epoch=number,
            step=self.step,
            learning_rate=last.learning_rate,
            loss=sums.loss / sums.pictures,
            accuracy=found,
            images_per_s=sums.pictures / sums.train_s,
            waited_share=sums.waited_s / sums.train_s,
            train_s=self._sums.trained_before_s,
            device=device if self.group.size == 1 else f"{self.group.size} x {device}",
            parts=tuple(parts_of(steps, self._per_epoch, end=number)),
            **schedule_of(last),
        )

    def evaluate(self, split: str) -> float:
        """Top-1 accuracy on a split, as a fraction, of the weights' moving average where the recipe has one."""
        size = self.recipe.eval_size or self.recipe.image_size
        if size is None:
            raise ValueError("recipe must have an image_size; got None")
        with memory_for(f"evaluation at {size} px", _LESS_MEMORY):
            right = right_in(
                split,
                self.pictures,
                self.evaluated,
                image_size=size,
                normalisation=self.normalisation,
                group=self.group,
            )
        return right / self.pictures.sizes[split]

    # Saving and taking up again -------------------------------------------------------------------------------------

    def save(self) -> None:
        """Save where the training stands, unless that is done; not in the middle of a step.

        Raises:
            FloatingPointError, OSError: as of `run`.
        """
        if self._saved == (self.seen, len(self.told)):
            return
        self._look()  # a checkpoint is of a finite loss, and of weights whose next loss may be, too
        if not all(tensor.isfinite().all() for tensor in self.network.state_dict().values()):
            raise FloatingPointError(f"the weights became infinite or NaN by step {self.step}: {_REMEDY}")
        if self.checkpoints is not None and not self.group.rank:
            tensors = {"network": self.network.state_dict(), "optimizer": optimizer_tensors(self._step.optimizer)}
            if self._ema is not None:
                tensors["ema"] = self._ema.state_dict()
            state = {
                "seen": self.seen,
                "best": self.best,
                "epoch_so_far": asdict(self._sums),
                "epochs": [asdict(epoch) for epoch in self.told],
            }
            self.checkpoints.save(self.step, tensors, state, keep=None if self.best is None else self.best[1])
        self._saved = (self.seen, len(self.told))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: it is of another network (names the first key or shape that differs), or recipe.
        """
        tensors, state = checkpoint.tensors, checkpoint.state
        if ("ema" in tensors) != (self._ema is not None):
            raise ValueError(f"{checkpoint.folder} must be of the same recipe: one of them has a moving average")
        restore(self.network, tensors["network"], where=str(checkpoint.folder))
        if self._ema is not None:
            self._ema.load_state_dict(tensors["ema"])
        restore_optimizer(self._step.optimizer, tensors["optimizer"])
        self.step, self.seen, best = checkpoint.step, state["seen"], state["best"]
        self.best = None if best is None else (best[0], best[1])
        self._sums = _Sums(**state["epoch_so_far"])
        self.told = [Epoch.from_json(epoch) for epoch in state["epochs"]]
        self._saved = (self.seen, len(self.told))

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated: the weights' moving average where the recipe has one."""
        return self.network if self._ema is None else self._ema.network


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
