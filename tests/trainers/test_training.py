"""`Training`: that it learns, follows its schedule, goes on exactly where it was cut off, and is the same in parts."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing import spawn

from search_spaces import Architecture
from trainers import checkpoint, training
from trainers.augmentation import Augmentation
from trainers.blocks import NetworkSettings, StochasticDepth
from trainers.checkpoint import Checkpoints
from trainers.data import Data, Split
from trainers.epoch import Epoch
from trainers.group import Group, SyncedBatchNorm2d, synced
from trainers.network import build_network
from trainers.normalisation import Normalisation, normalisation_of
from trainers.pictures import Packed
from trainers.progressive import Progression, Settings
from trainers.recipe import Recipe
from trainers.regularise import regularise
from trainers.training import Training

CPU = torch.device("cpu")
SIZE, CLASSES = 16, 4
SMALL = Architecture.parse("stem_c8-fused_mbconv_k3_s2_e1_c8_n1-mbconv_k3_s2_e2_c16_n2_se0.25-head_c32")
OTHER = Architecture.parse("stem_c8-fused_mbconv_k3_s2_e1_c8_n1-mbconv_k3_s2_e2_c24_n2_se0.25-head_c32")
RECIPE = Recipe(
    epochs=3,
    batch_size=32,
    learning_rate=0.8,
    image_size=SIZE,
    dropout=0.2,
    survival=0.8,
    ema=0.9,
    augmentation=Augmentation(flip=False, randaugment=4, mixup=0.2),
    min_crop_area=0.8,
    progression=Progression(kind="paper", stages=3, smallest=8, randaugment=(1, 4), dropout=(0.0, 0.2)),
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def split(count: int, seed: int) -> Split:
    """Noise with one bright quadrant, whose number is the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    images = rng.normal(100, 30, size=(count, SIZE, SIZE, 1))
    for image, label in zip(images, labels, strict=True):
        row, column = (SIZE // 2 * part for part in divmod(label, 2))
        image[row : row + SIZE // 2, column : column + SIZE // 2] += 60
    return Split(images.clip(0, 255).astype(np.uint8), labels.astype(np.int64))


def pictures(train: int = 260) -> Packed:
    data = Data(
        train=split(train, 1),
        minival=split(100, 2),
        test=split(60, 3),
        class_names=tuple("abcd"),
        in_channels=1,
        image_size=SIZE,
        fingerprint="made up",
        unreadable=(),
    )
    return Packed(data, CPU)


def made(
    recipe: Recipe = RECIPE, *, folder: Path | None = None, architecture: Architecture = SMALL, **options: Any
) -> Training:
    network = build_network(
        architecture,
        CLASSES,
        1,
        settings=NetworkSettings(survival=recipe.survival),
        generator=torch.Generator().manual_seed(0),
    )
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    own = pictures()
    return Training(
        network,
        recipe,
        own,
        normalisation=normalisation_of(own, SIZE),
        seed=1,
        device=CPU,
        checkpoints=None if folder is None else Checkpoints(folder),
        **options,
    )


def weights(found: Training) -> dict[str, Tensor]:
    return {**found.network.state_dict(), **{f"ema.{k}": v for k, v in found.evaluated.state_dict().items()}}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def untimed(epochs: list[Epoch]) -> list[Epoch]:
    return [replace(epoch, images_per_s=0.0, waited_share=0.0, train_s=0.0) for epoch in epochs]


# What it does -----------------------------------------------------------------------------------------------------


def test_it_learns_and_says_how_far_it_is() -> None:
    found = made(replace(RECIPE, epochs=8, augmentation=Augmentation(), progression=Progression()))
    epochs = list(found.run())
    assert [epoch.epoch for epoch in epochs] == list(range(1, 9))
    assert epochs == found.told
    assert found.best == (max(e.accuracy for e in epochs), next(
        e.step for e in epochs if e.accuracy == max(e.accuracy for e in epochs)))  # fmt: skip
    assert found.best[0] > 0.9
    assert [epoch.step for epoch in epochs] == [8 * n for n in range(1, 9)]  # the last 4 of 260 are left out
    assert epochs[-1].loss < epochs[0].loss
    assert all(0 <= epoch.waited_share < 1 and epoch.images_per_s > 0 for epoch in epochs)
    assert found.evaluate("test") > 0.9


def test_pictures_and_regularisation_follow_the_schedule() -> None:
    seen: list[tuple[int, float, float]] = []
    shapes: list[tuple[int, ...]] = []
    found = made()
    found.network.stem.register_forward_pre_hook(
        lambda module, args: shapes.append(tuple(args[0].shape)) if module.training else None
    )

    def watch(settings: Settings, pictures: int) -> None:
        assert found.network.dropout.p == settings.dropout
        seen.append((settings.image_size, settings.augmentation.randaugment, settings.dropout))

    told = list(found.run(watch=watch))
    assert seen == [*[(8, 1.0, 0.0)] * 8, *[(12, 2.5, 0.1)] * 8, *[(16, 4.0, 0.2)] * 8]
    assert shapes == [(32, 1, side, side) for side in (8, 12, 16) for _ in range(8)], "they are small when computed"
    assert [(e.stage, e.image_size, e.randaugment, e.dropout) for e in told] == [
        (0, 8, 1.0, 0.0),
        (1, 12, 2.5, 0.1),
        (2, 16, 4.0, 0.2),
    ]


def test_stages_may_change_within_an_epoch_and_batches_grow() -> None:
    progression = Progression(kind="paper", stages=2, smallest=8, randaugment=(1, 4))
    recipe = replace(RECIPE, epochs=1, progression=progression, smaller_sizes_larger_batches=True)
    seen: list[tuple[int, int, float]] = []
    found = made(recipe)
    list(found.run(watch=lambda now, at: seen.append((at, now.image_size, now.batch_size))))
    assert seen == [(0, 8, 128), (128, 16, 32), (160, 16, 32), (192, 16, 32), (224, 16, 32)]
    assert found.told[0].step == 5
    told = [(part.begin, part.end, part.image_size, part.batch_size, part.randaugment) for part in found.told[0].parts]
    assert told == [(0, 0.5, 8, 128, 1), (0.5, 1, 16, 32, 4)], "each stage by its own begin and end"


def test_epochs_of_few_steps_are_told_and_saved_together(tmp_path: Path) -> None:
    recipe = replace(RECIPE, evaluate_epochs=2, epochs=5)
    evaluated: list[int] = []
    found, each = made(recipe, folder=tmp_path), made(replace(recipe, evaluate_epochs=1))
    found.evaluated.stem.register_forward_pre_hook(
        lambda module, args: None if module.training else evaluated.append(found.step)
    )
    told = list(found.run())
    assert [epoch.epoch for epoch in told] == [2, 4, 5], "the last, too"
    assert evaluated == [16, 32, 40]
    assert Checkpoints(tmp_path).steps()[-1] == 40
    begins = [[(part.begin, part.end, part.stage) for part in epoch.parts] for epoch in told]
    assert begins == [[(0, 1.75, 0), (1.75, 2, 1)], [(2, 3.375, 1), (3.375, 4, 2)], [(4, 5, 2)]]
    whole = list(each.run())
    assert_equal(weights(found), weights(each))
    pictures = [8 * 32 * count for count in (2, 2, 1)]
    sums = [sum(epoch.loss * 256 for epoch in whole[first:last]) for first, last in ((0, 2), (2, 4), (4, 5))]
    assert [epoch.loss for epoch in told] == pytest.approx(
        [total / of for total, of in zip(sums, pictures, strict=True)]
    )


def test_stochastic_depth_follows_too() -> None:
    network = build_network(SMALL, CLASSES, 1)
    regularise(network, dropout=0.3, survival=0.4)
    branches = [m.survival for m in network.modules() if isinstance(m, StochasticDepth)]
    built = build_network(SMALL, CLASSES, 1, settings=NetworkSettings(survival=0.4))
    assert branches == [m.survival for m in built.modules() if isinstance(m, StochasticDepth)]
    assert network.dropout.p == 0.3


def test_equal_seeds_give_equal_weights_and_others_do_not() -> None:
    one, same, other = made(), made(), made()
    other.seed = 2
    for found in (one, same, other):
        list(found.run())
    assert_equal(weights(one), weights(same))
    assert not torch.equal(weights(one)["classifier.weight"], weights(other)["classifier.weight"])


# Going on ---------------------------------------------------------------------------------------------------------


class Cut(Exception):
    """A training that is cut off."""


def cut_after(step: int) -> Callable[[Settings, int], None]:
    count = iter(range(step))

    def watch(settings: Settings, pictures: int) -> None:
        if next(count, None) is None:
            raise Cut

    return watch


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adamw"])
@pytest.mark.parametrize("steps", [1, 7, 8, 13, 23])
@pytest.mark.parametrize("evaluate_epochs", [1, 2])
def test_it_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, steps: int, evaluate_epochs: int
) -> None:
    monkeypatch.setattr(training, "LOOK_EVERY", 3)
    rate = 0.1 if optimizer == "sgd" else 0.01
    recipe = replace(RECIPE, optimizer=optimizer, learning_rate=rate, evaluate_epochs=evaluate_epochs)
    whole = made(recipe, folder=tmp_path / "whole")
    list(whole.run(save_every_s=0))
    with pytest.raises(Cut):
        list(made(recipe, folder=tmp_path / "cut").run(save_every_s=0, watch=cut_after(steps)))
    again = made(recipe, folder=tmp_path / "cut")
    if (last := Checkpoints(tmp_path / "cut").load()) is not None:
        looked_at = {1, *range(0, steps + 1, 3), *range(0, steps + 1, 8)}  # the first tells what a step takes
        assert last.step == max(looked_at)
        again.restore(last)
    list(again.run(save_every_s=0))
    assert_equal(weights(whole), weights(again))
    assert untimed(whole.told) == untimed(again.told)
    assert whole.best == again.best


def test_slow_steps_are_saved_as_often_as_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "LOOK_S", 0.0)  # as if a step took long
    saved: list[int] = []
    original = Checkpoints.save

    def save(own: Checkpoints, step: int, *arguments: Any, **options: Any) -> Path:
        saved.append(step)
        return original(own, step, *arguments, **options)

    monkeypatch.setattr(Checkpoints, "save", save)
    found = made(replace(RECIPE, epochs=1), folder=tmp_path)
    list(found.run(save_every_s=0))
    assert saved == list(range(1, 9)), "each once, the last with the epoch"
    found.save()
    assert len(saved) == 8, "what is saved is not saved again"


def test_the_loss_told_does_not_depend_on_when_it_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    for every in (1, 50):
        monkeypatch.setattr(training, "LOOK_EVERY", every)
        told.append([epoch.loss for epoch in made().run()])
    assert told[0] == told[1]


def test_the_best_and_the_last_checkpoint_are_kept(tmp_path: Path) -> None:
    found = made(folder=tmp_path)
    for number, _ in enumerate(found.run(), 1):
        assert found.best is not None
        found.best = (2.0, 8)  # the first stays the best
        assert Checkpoints(tmp_path).steps() == sorted({8, 8 * number})


def test_a_kill_at_any_moment_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each change of a name it is looked whether one is there to go on from; none is older than one before."""
    monkeypatch.setattr(training, "LOOK_EVERY", 4)  # of 8 steps an epoch: the last is saved twice
    steps: list[int] = []

    def looking(change: Callable[..., None]) -> Callable[..., None]:
        def changed(*arguments: Any, **options: Any) -> None:
            if (last := Checkpoints(tmp_path).load()) is not None or steps:
                assert last is not None
                steps.append(last.step)
            change(*arguments, **options)

        return changed

    for name in ("rename", "unlink", "rmdir"):
        monkeypatch.setattr(os, name, looking(getattr(os, name)))
    list(made(folder=tmp_path).run(save_every_s=0))
    assert steps == sorted(steps)
    assert set(steps) == {1, 4, 8, 12, 16, 20, 24}, "after the first step it is known how often to look"
    last = Checkpoints(tmp_path).load()
    assert last is not None
    assert (last.step, len(last.state["epochs"])) == (24, 3), "it is the one with the epoch that is over"


def test_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    list(made(folder=tmp_path).run())
    kept = Checkpoints(tmp_path).steps()
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial" / "network.safetensors").write_bytes(b"half")
    (tmp_path / "step-000000003").mkdir()
    (tmp_path / "step-of-mine").mkdir()
    Checkpoints(tmp_path).tidy(keep=kept[0])
    assert {path.name for path in tmp_path.iterdir()} == {"step-of-mine", *(f"step-{step:09d}" for step in kept)}


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made(folder=tmp_path)
    epochs = found.run()
    next(epochs)
    kept = Checkpoints(tmp_path).load()

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    with pytest.raises(OSError, match=r"checkpoint of step 16 could not be written .*the one of step 8 is good"):
        next(epochs)
    after = Checkpoints(tmp_path).load()
    assert kept is not None
    assert after is not None
    assert after.state == kept.state
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000008"]


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    list(made(folder=tmp_path).run())
    last = Checkpoints(tmp_path).load()
    assert last is not None
    with pytest.raises(ValueError, match=r"the first that differs is stages\.1\.0\.project\.conv\.weight: \(16, 16"):
        made(architecture=OTHER).restore(last)
    with pytest.raises(ValueError, match="must be of the same recipe: one of them has a moving average"):
        made(replace(RECIPE, ema=0.0)).restore(last)


def test_a_broken_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    found = made(folder=tmp_path)
    list(found.run())
    last = Checkpoints(tmp_path).steps()[-1]
    (tmp_path / f"step-{last:09d}" / "ema.safetensors").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match=r"the checkpoint .* cannot be read .*(remove it, and|begin again)"):
        Checkpoints(tmp_path).load()


def test_a_loss_that_is_not_finite_ends_it(tmp_path: Path) -> None:
    found = made(folder=tmp_path)
    epochs = found.run()
    next(epochs)
    with torch.no_grad():
        found.network.classifier.weight.fill_(math.nan)
    with pytest.raises(FloatingPointError, match=r"became nan before step \d+: try a lower learning rate"):
        next(epochs)
    last = Checkpoints(tmp_path).load()
    assert last is not None
    assert all(t.isfinite().all() for t in last.tensors["network"].values())


@pytest.mark.parametrize("training_itself", [True, False])
def test_too_little_memory_says_for_what(tmp_path: Path, training_itself: bool) -> None:
    found = made(folder=tmp_path)
    epochs = found.run()
    next(epochs)

    def greedy(module: nn.Module, args: object) -> None:
        if module.training == training_itself:
            torch.empty(2**60, dtype=torch.uint8)  # more than any machine has

    found.network.register_forward_pre_hook(greedy)
    found.evaluated.register_forward_pre_hook(greedy)
    what = "a step of 32 pictures at 12 px" if training_itself else "evaluation at 16 px"
    with pytest.raises(MemoryError, match=rf"must suffice for {what}, and does not \(.*memory.*--batch-size.*--accum"):
        next(epochs)
    assert Checkpoints(tmp_path).steps() == [8]


def test_errors_of_another_kind_stay_as_they_are() -> None:
    found = made()
    found.network.register_forward_pre_hook(lambda module, args: torch.zeros(2) + torch.zeros(3))
    with pytest.raises(RuntimeError, match="size of tensor a"):
        next(found.run())


def test_batches_that_cannot_be_shared_out() -> None:
    with pytest.raises(ValueError, match="batch_size must be at most the 260 training pictures; got 512"):
        made(replace(RECIPE, batch_size=512))
    with pytest.raises(ValueError, match="batches must be multiples of shards x accumulate"):
        made(shards=3)


def test_batches_that_grow_beyond_an_epoch() -> None:
    progression = Progression(kind="paper", stages=2, smallest=8)
    recipe = replace(RECIPE, batch_size=128, progression=progression, smaller_sizes_larger_batches=True)
    with pytest.raises(ValueError, match=r"at most the 256 pictures of an epoch; those of 128 grow to 512 for the"):
        made(recipe)
    assert made(replace(recipe, batch_size=64)).pictures_in_all == 3 * 256  # a step is a whole epoch, and fits


# Several processes ------------------------------------------------------------------------------------------------

TOGETHER = replace(RECIPE, epochs=1, learning_rate=0.1, accumulate=2)


@pytest.fixture
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """This file, by other processes."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])


def _member(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = made(TOGETHER, group=Group(rank, 2), shards=2, folder=Path(folder) / "checkpoints")
    list(found.run())
    if not rank:
        torch.save({**weights(found), "accuracy": torch.tensor(found.told[-1].accuracy)}, f"{folder}/together.pt")
    distributed.destroy_process_group()


@pytest.mark.usefixtures("_importable")
def test_two_processes_give_the_numbers_of_one(tmp_path: Path) -> None:
    alone = made(TOGETHER, shards=2)
    list(alone.run())
    spawn(_member, args=(str(tmp_path),), nprocs=2)
    together = torch.load(tmp_path / "together.pt", weights_only=True)
    assert float(together.pop("accuracy")) == pytest.approx(alone.told[-1].accuracy, abs=0.02)
    for name, tensor in weights(alone).items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    assert Checkpoints(tmp_path / "checkpoints").steps(), "the first process alone saves"


def _norm(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    layer = nn.BatchNorm2d(3).double()
    synced(layer)
    assert type(layer) is SyncedBatchNorm2d
    x = torch.randn(8, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    own = x.chunk(2)[rank].clone().requires_grad_()
    (layer(own) * torch.arange(8.0).view(8, 1, 1, 1).chunk(2)[rank]).square().sum().backward()
    torch.save({"gradient": own.grad, **layer.state_dict()}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.usefixtures("_importable")
def test_batch_norm_over_two_processes_is_that_of_their_pictures_together(tmp_path: Path) -> None:
    spawn(_norm, args=(str(tmp_path),), nprocs=2)
    layer = nn.BatchNorm2d(3).double()
    x = torch.randn(8, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (layer(x) * torch.arange(8.0).view(8, 1, 1, 1)).square().sum().backward()
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    torch.testing.assert_close(torch.cat([part.pop("gradient") for part in parts]), x.grad)
    for part in parts:
        torch.testing.assert_close(part, dict(layer.state_dict()))


def test_normalisation_is_that_of_the_pixels() -> None:
    values = torch.tensor([[[[0, 255]], [[51, 102]]]], dtype=torch.uint8)
    found = Normalisation((51.0, 0.0), (2.0, 51.0))(values)
    assert found.tolist() == [[[[-25.5, 102.0]], [[1.0, 2.0]]]]
    assert Normalisation.of((0.5,), (0.25,)) == ((127.5,), (63.75,))
    assert Normalisation.of(None, (0.25,)) is None
