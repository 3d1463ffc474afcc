"""Augmentation of batches: what is drawn and how often, determinism, memory formats, what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from scipy.stats import beta, chisquare, ks_2samp, kstest
from torch import Tensor
from torch._subclasses import FakeTensorMode

from trainers import randaugment
from trainers.augment import Augmentation, augmented, mixed

EVERYTHING = Augmentation(crop=0.125, flip=True, randaugment=9, cutout=0.3)
EACH = [
    Augmentation(crop=0.125),
    Augmentation(flip=True),
    Augmentation(randaugment=9),
    Augmentation(cutout=0.3),
    EVERYTHING,
]
BOTH = Augmentation(mixup=0.4, cutmix=0.8)
MIXES = [Augmentation(mixup=0.4), Augmentation(cutmix=0.8), BOTH]
FORMATS = [torch.channels_last, torch.contiguous_format]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=seeded(seed))


def places(number: int, height: int, width: int) -> Tensor:
    """Pictures in which each pixel tells its row and column, counted from 1, in its first two channels."""
    row = torch.arange(1, height + 1).view(1, 1, height, 1).expand(number, 1, height, width)
    column = torch.arange(1, width + 1).view(1, 1, 1, width).expand(number, 1, height, width)
    return torch.cat([row, column, torch.full_like(row, 200)], 1).to(torch.uint8)


def batch(number: int, *, classes: int = 10, side: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    images = torch.randn((number, 3, side, side), generator=seeded(seed)).to(memory_format=torch.channels_last)
    return images, torch.eye(classes)[torch.randint(classes, (number,), generator=seeded(seed))]


# ---- nothing, shapes, seeds


@pytest.mark.parametrize("seed", [0, 1])
def test_an_augmentation_of_nothing_changes_nothing(seed: int) -> None:
    images = noise(5, 3, 8, 8)
    generator = seeded(seed)
    before = generator.get_state()
    assert augmented(images, Augmentation(mixup=0.2, cutmix=0.2), generator) is images
    normal, targets = batch(5)
    assert mixed(normal, targets, EVERYTHING, generator) == (normal, targets)
    assert torch.equal(generator.get_state(), before)  # and draws nothing


@given(
    number=st.integers(1, 20),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    augmentation=st.builds(
        Augmentation,
        crop=st.floats(0, 0.5),
        flip=st.booleans(),
        randaugment=st.floats(0, 30),
        randaugment_layers=st.integers(1, 3),
        cutout=st.floats(0, 1),
    ),
    form=st.sampled_from(FORMATS),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=150)
def test_shape_type_and_memory_format_stay(
    number: int,
    channels: int,
    height: int,
    width: int,
    augmentation: Augmentation,
    form: torch.memory_format,
    seed: int,
) -> None:
    images = noise(number, channels, height, width).contiguous(memory_format=form)
    before = images.clone()
    found = augmented(images, augmentation, seeded(seed))
    assert (found.shape, found.dtype) == (images.shape, torch.uint8)
    assert found.is_contiguous(memory_format=form)
    assert torch.equal(images, before)  # nothing is written into what was given
    assert torch.equal(found, augmented(images, augmentation, seeded(seed)))


@pytest.mark.parametrize("augmentation", EACH, ids=str)
def test_pictures_are_the_same_by_the_seed_and_in_either_memory_format(augmentation: Augmentation) -> None:
    images = noise(40, 3, 21, 17)
    last = images.contiguous(memory_format=torch.channels_last)
    generator = seeded(1)
    found = augmented(images, augmentation, generator)
    assert torch.equal(augmented(last, augmentation, seeded(1)), found)
    assert not torch.equal(augmented(images, augmentation, seeded(2)), found)
    assert not torch.equal(augmented(images, augmentation, generator), found)  # it goes on drawing
    torch.rand(5)  # torch's own generator has no part in it
    assert torch.equal(augmented(images, augmentation, seeded(1)), found)


def test_pictures_of_memory_that_is_not_dense() -> None:
    images = noise(6, 3, 40, 40)[:, :, 3:35, ::2]
    found = augmented(images, EVERYTHING, seeded(0))
    assert torch.equal(found, augmented(images.contiguous(), EVERYTHING, seeded(0)))


def test_the_magnitude_may_change_from_call_to_call() -> None:
    images = noise(8, 3, 32, 32)
    stages = [Augmentation(crop=0.125, randaugment=magnitude) for magnitude in (5, 6.67, 8.33, 10)]
    alike = [augmented(images, stage, seeded(0)).numpy().tobytes() for stage in stages]
    assert len(set(alike)) == 4  # the same drawn, to another extent
    generator = seeded(0)
    in_turn = [augmented(images, stage, generator) for stage in stages]
    assert in_turn[0].numpy().tobytes() == alike[0]
    assert all(result.shape == images.shape for result in in_turn)


def test_grey_pictures_are_varied_as_coloured_ones_of_equal_channels() -> None:
    grey = noise(64, 1, 19, 19)
    coloured = grey.repeat(1, 3, 1, 1)
    for augmentation in EACH:
        found = augmented(coloured, augmentation, seeded(7))
        assert torch.equal(found, augmented(grey, augmentation, seeded(7)).repeat(1, 3, 1, 1))


# ---- crop, flip, cutout


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 12)])
def test_crops_are_uniform_and_padded_with_zeros(height: int, width: int) -> None:
    number, down, across = 4000, round(0.25 * height), round(0.25 * width)
    images = places(number, height, width)
    found = augmented(images, Augmentation(crop=0.25), seeded(11)).numpy()
    middle = found[:, :2, height // 2, width // 2].astype(int)  # never padding
    tops, lefts = middle[:, 0] - 1 - height // 2 + down, middle[:, 1] - 1 - width // 2 + across
    counts = np.zeros((2 * down + 1, 2 * across + 1), int)
    np.add.at(counts, (tops, lefts), 1)
    assert chisquare(counts.ravel()).pvalue > 0.001
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (down, down), (across, across)))
    for picture, whole, top, left in zip(found[:200], padded, tops, lefts, strict=False):
        np.testing.assert_array_equal(picture, whole[:, top : top + height, left : left + width])


def test_half_of_the_pictures_are_flipped() -> None:
    images = noise(4000, 3, 5, 7)
    found = augmented(images, Augmentation(flip=True), seeded(12))
    mirrored, same = ((found == other).flatten(1).all(1) for other in (images.flip(3), images))
    assert bool((mirrored ^ same).all())
    assert chisquare([int(mirrored.sum()), int(same.sum())]).pvalue > 0.001


def test_crops_and_flips_are_drawn_apart() -> None:
    found = augmented(places(5000, 8, 8), Augmentation(crop=0.25, flip=True), seeded(13)).numpy().astype(int)
    flipped = found[:, 1, 4, 4] < found[:, 1, 4, 3]
    column = np.where(flipped, found[:, 1, 4, 3], found[:, 1, 4, 4])
    table = np.zeros((2, 5), int)
    np.add.at(table, (flipped.astype(int), column - column.min()), 1)
    assert chisquare(table.ravel()).pvalue > 0.001


@pytest.mark.parametrize(("share", "side", "size"), [(0.5, 10, 5), (0.4, 10, 4), (1.0, 5, 5)])
def test_the_centre_of_the_cutout_is_uniform(share: float, side: int, size: int) -> None:
    images = torch.zeros(6000, 1, side, side, dtype=torch.uint8)
    found = augmented(images, Augmentation(cutout=share), seeded(14))[:, 0].numpy()
    assert set(np.unique(found)) == {0, 128}
    rows, columns = (found == 128).any(2), (found == 128).any(1)
    assert ((rows[:, :, None] & columns[:, None]) == (found == 128)).all()  # one rectangle
    centres = []
    for line in (rows, columns):
        first, last = line.argmax(1), side - 1 - line[:, ::-1].argmax(1)
        centre = np.where(first > 0, first + size // 2, last - size + 1 + size // 2)
        whole = (first > 0) & (last < side - 1)
        assert (last - first + 1 <= size).all()
        assert (last - first + 1 == size)[whole].all()
        centres.append(np.where((first == 0) & (last == side - 1), side // 2, centre))
    counts = np.zeros((side, side), int)
    np.add.at(counts, tuple(centres), 1)
    assert chisquare(counts.ravel()).pvalue > 0.001


# ---- mixup and CutMix


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.0, 30.0])
def test_the_own_share_of_mixup_is_the_larger_of_a_beta(alpha: float) -> None:
    number = 8000
    targets = torch.eye(2, dtype=torch.float64)[(torch.arange(number) >= number // 2).long()]  # unlike in each pair
    images = targets[:, 1].view(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()
    found, labels = mixed(images, targets, Augmentation(mixup=alpha), seeded(21))
    own = (labels * targets).sum(1)
    np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(found, labels[:, 1].view(-1, 1, 1, 1).expand_as(found), atol=1e-12)
    reference = beta(alpha, alpha)
    assert float(own.min()) >= 0.5
    assert kstest(own.numpy(), lambda x: np.where(x < 0.5, 0, reference.cdf(x) - reference.cdf(1 - x))).pvalue > 0.001
    mean = 0.5 + 2 ** (-2 * alpha) / (alpha * special.beta(alpha, alpha))  # 1/2 + the mean distance from 1/2
    assert float(own.mean()) == pytest.approx(mean, abs=0.005)


@pytest.mark.parametrize("alpha", [1e-300, 1e-3, 100.0])
def test_the_least_and_the_greatest_alpha(alpha: float) -> None:
    images, targets = batch(1000, side=4)
    for augmentation in (Augmentation(mixup=alpha), Augmentation(cutmix=alpha)):
        for result in mixed(images, targets, augmentation, seeded(25)):
            assert bool(result.isfinite().all())
    _, labels = mixed(images, torch.eye(1000), Augmentation(mixup=alpha), seeded(25))
    own = labels.diagonal()
    assert float(own.mean()) == pytest.approx(0.53 if alpha == 100 else 1, abs=0.01)
    assert 0.5 <= float(own.min()) <= float(own.max()) <= 1


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 21)])
def test_cutmix_pastes_a_rectangle_and_the_targets_follow_its_area(alpha: float, height: int, width: int) -> None:
    number = 500
    targets = torch.eye(number, dtype=torch.float64)
    images = torch.arange(number, dtype=torch.float64).view(-1, 1, 1, 1).expand(-1, 3, height, width).contiguous()
    found, labels = mixed(images, targets, Augmentation(cutmix=alpha), seeded(22))
    pasted = found == images.flip(0)
    assert bool((pasted | (found == images)).all())
    assert torch.equal(pasted[:, 0], pasted[:, 1])
    rows, columns = pasted[:, 0].any(2), pasted[:, 0].any(1)
    assert torch.equal(rows[:, :, None] & columns[:, None], pasted[:, 0])
    for line in (rows, columns):
        assert bool((line.int().diff(dim=1).abs().sum(1) <= 2).all())  # one stretch
    area = pasted[:, 0].flatten(1).double().mean(1)
    np.testing.assert_allclose(labels.diagonal(), 1 - area, atol=1e-12)
    np.testing.assert_allclose(labels.flip(1).diagonal(), area, atol=1e-12)


def rectangle_of_the_source(rng: np.random.Generator, alpha: float, height: int, width: int) -> tuple[int, ...]:
    """Top, left, bottom and right as google/automl draws them, for one picture."""
    x, y = rng.integers(width), rng.integers(height)
    ratio = np.sqrt(1 - rng.beta(alpha, alpha))
    across, down = int(ratio * width) // 2, int(ratio * height) // 2
    return max(y - down, 0), max(x - across, 0), min(y + down, height), min(x + across, width)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_rectangles_are_drawn_as_by_the_source(alpha: float) -> None:
    number, height, width = 5000, 24, 17
    images = torch.ones(number, 1, height, width)
    images[: number // 2] = 0
    found, _ = mixed(images, torch.zeros(number, 1), Augmentation(cutmix=alpha), seeded(23))
    pasted = (found != images)[:, 0].numpy()
    rng = np.random.default_rng(23)
    expected = np.zeros_like(pasted)
    for mask in expected:
        top, left, bottom, right = rectangle_of_the_source(rng, alpha, height, width)
        mask[top:bottom, left:right] = True
    for measure in (
        lambda masks: masks.mean((1, 2)),
        lambda masks: masks.any(2).sum(1),
        lambda masks: masks.any(1).sum(1),
        lambda masks: masks.any(2).argmax(1),
        lambda masks: masks.any(1).argmax(1),
    ):
        assert ks_2samp(measure(pasted), measure(expected)).pvalue > 0.001
    np.testing.assert_allclose(pasted.mean(0), expected.mean(0), atol=0.035)  # where rectangles lie


def test_both_halve_the_batch_each_mixed_within_itself() -> None:
    number = 11
    targets = torch.eye(number)
    images = torch.arange(number, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, 16, 16).contiguous()
    found, labels = mixed(images, targets, Augmentation(mixup=1, cutmix=1), seeded(24))
    flat = found.flatten(1)
    pairs = [*reversed(range(5)), *reversed(range(5, 11))]
    for i, pair in enumerate(pairs):
        assert set(labels[i].nonzero().flatten().tolist()) <= {i, pair}
        values = set(flat[i].tolist())
        if i < 5:
            assert len(values) == 1
            np.testing.assert_allclose(flat[i, 0], labels[i] @ torch.arange(number).float(), rtol=1e-5)
        else:
            assert values <= {float(i), float(pair)}
    np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-6)
    assert not torch.equal(found[:5], images[:5])
    assert not torch.equal(found[5:], images[5:])


@pytest.mark.parametrize("augmentation", MIXES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mixing_keeps_shape_type_and_memory_format_and_follows_the_seed(
    augmentation: Augmentation, dtype: torch.dtype
) -> None:
    images, targets = batch(33)
    images = images.to(dtype)
    before = images.clone(), targets.clone()
    found, labels = mixed(images, targets, augmentation, seeded(1))
    assert (found.shape, found.dtype, found.stride()) == (images.shape, dtype, images.stride())
    assert (labels.shape, labels.dtype) == (targets.shape, targets.dtype)
    again, other = (mixed(images, targets, augmentation, seeded(seed)) for seed in (1, 2))
    assert torch.equal(again[0], found)
    assert torch.equal(again[1], labels)
    assert not torch.equal(other[0], found)
    assert torch.equal(before[0], images)
    assert torch.equal(before[1], targets)


@pytest.mark.parametrize("augmentation", MIXES, ids=str)
def test_a_picture_alone_is_mixed_with_itself(augmentation: Augmentation) -> None:
    images, targets = batch(1)
    found, labels = mixed(images, targets, augmentation, seeded(0))
    torch.testing.assert_close(found, images)
    torch.testing.assert_close(labels, targets)


@pytest.mark.parametrize("augmentation", [*EACH, *MIXES], ids=str)
def test_an_empty_batch_stays_empty(augmentation: Augmentation) -> None:
    assert augmented(noise(0, 3, 8, 8), augmentation, seeded(0)).shape == (0, 3, 8, 8)
    found, labels = mixed(torch.empty(0, 3, 8, 8), torch.empty(0, 10), augmentation, seeded(0))
    assert (found.shape, labels.shape) == ((0, 3, 8, 8), (0, 10))


# ---- nothing waits for a GPU


@pytest.mark.parametrize("augmentation", [*EACH, *MIXES], ids=str)
def test_nothing_asks_for_a_value(augmentation: Augmentation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors without values, as on a GPU that has not come to them yet, refuse whatever would wait for one."""
    monkeypatch.setattr(randaugment, "_sorted", randaugment._masked)  # the way of a GPU
    generator = seeded(0)
    with FakeTensorMode():
        images = torch.empty(32, 3, 16, 16, dtype=torch.uint8)
        assert augmented(images, augmentation, generator).shape == images.shape
        found, _ = mixed(images.float(), torch.empty(32, 10), augmentation, generator)
        assert found.shape == images.shape


# ---- what is refused


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            torch.zeros(2, 3, 8, 8),
            r"must be \(N, 1 or 3, height, width\) of uint8; got \(2, 3, 8, 8\) of torch.float32",
        ),
        (noise(2, 8, 8, 3), r"got \(2, 8, 8, 3\) of torch.uint8"),
        (noise(3, 8, 8), r"got \(3, 8, 8\) of torch.uint8"),
    ],
)
def test_other_pictures_are_refused(images: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        augmented(images, EVERYTHING, seeded(0))


@pytest.mark.parametrize(
    ("images", "targets", "message"),
    [
        (noise(2, 3, 8, 8), torch.zeros(2, 5), "images must be .* of floats; got .* of torch.uint8"),
        (torch.zeros(3, 8, 8), torch.zeros(3, 5), r"images must be .*; got \(3, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(3, 5), r"targets must be \(2, classes\) of floats, .*; got \(3, 5\)"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(2).long(), r"targets must be .*; got \(2,\) of torch.int64"),
    ],
)
def test_other_batches_are_not_mixed(images: Tensor, targets: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mixed(images, targets, BOTH, seeded(0))


@pytest.mark.parametrize(
    "act",
    [
        lambda generator: augmented(torch.zeros(2, 3, 8, 8, dtype=torch.uint8, device="meta"), EVERYTHING, generator),
        lambda generator: mixed(torch.zeros(2, 3, 8, 8, device="meta"), torch.zeros(2, 5), BOTH, generator),
    ],
)
def test_a_generator_of_another_device_is_refused(act: Callable[[torch.Generator], object]) -> None:
    with pytest.raises(ValueError, match="the generator must be on the images' device, meta; it is on cpu: make it"):
        act(seeded(0))
