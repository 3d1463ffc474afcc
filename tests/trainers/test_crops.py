"""Orders and crops of an epoch: pure functions, their distributions, and what is evaluated of a picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trainers.crops import ASPECT, box_within, crop_boxes, epoch_order, eval_box
from trainers.sources import Runs

GOLDEN_BOXES = [
    [0.03913538465579271, 0.1314126510067103, 0.9096854392655153, 0.8641848676603543],
    [0.03422096589485901, 0.4191689796025055, 0.3577855027420929, 0.42539453655002935],
    [0.03145275418453214, 0.04779495121939269, 0.6767192173835619, 0.5914678911706697],
]
GOLDEN_ORDER = [4, 6, 2, 7, 3, 5, 9, 0, 8, 1]


def boxes_of(order: object, *, seed: int = 1, epoch: int = 2, min_area: float = 0.1) -> np.ndarray:
    return crop_boxes(np.asarray(order), seed=seed, epoch=epoch, min_area=min_area)


def test_a_crop_is_a_function_of_seed_epoch_and_picture() -> None:
    whole = boxes_of(range(100))
    shuffled = np.random.default_rng(0).permutation(100)
    np.testing.assert_array_equal(boxes_of(shuffled), whole[shuffled])
    np.testing.assert_array_equal(boxes_of([99, 5, 5]), whole[[99, 5, 5]])
    for others in (boxes_of(range(100), seed=2), boxes_of(range(100), epoch=3)):
        assert (others != whole).any(1).mean() > 0.95


def test_crops_are_the_same_on_every_machine() -> None:
    np.testing.assert_allclose(boxes_of([0, 1, 1_281_166], seed=0, epoch=0), GOLDEN_BOXES, rtol=1e-12)


def test_crops_are_distributed_as_they_are_drawn_for_inception() -> None:
    boxes = boxes_of(range(20_000), min_area=0.05)
    left, top, wide, tall = boxes.T
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert (left + wide <= 1 + 1e-12).all()
    assert (top + tall <= 1 + 1e-12).all()
    small = wide * tall < 0.5  # every aspect fits there, so that nothing is drawn again
    assert stats.kstest((wide * tall)[small], stats.uniform(0.05, 0.45).cdf).pvalue > 0.001
    log_aspect = np.log(wide / tall)[small]
    low, high = map(math.log, ASPECT)
    assert stats.kstest(log_aspect, stats.uniform(low, high - low).cdf).pvalue > 0.001
    for place, extent in ((left, wide), (top, tall)):
        assert stats.kstest((place / (1 - extent))[small], "uniform").pvalue > 0.001
    assert abs(np.corrcoef(boxes[:-1, 0], boxes[1:, 0])[0, 1]) < 0.03  # neighbours have nothing in common


def test_a_least_area_of_one_takes_whole_pictures() -> None:
    np.testing.assert_array_equal(boxes_of(range(3), min_area=1), [[0, 0, 1, 1]] * 3)


@pytest.mark.parametrize("area", [0, -0.1, 1.5])
def test_a_least_area_out_of_range(area: float) -> None:
    with pytest.raises(ValueError, match="min_area must be a share above 0"):
        boxes_of([0], min_area=area)


def test_aspects_out_of_range() -> None:
    with pytest.raises(ValueError, match="the smaller first"):
        crop_boxes([0], seed=0, epoch=0, min_area=0.5, aspect=(2, 1))


def test_an_order_has_each_picture_once_and_is_another_every_epoch() -> None:
    orders = [epoch_order(50, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    for order in orders:
        assert sorted(order) == list(range(50))
    assert len({tuple(order) for order in orders}) == 4
    assert epoch_order(10, 0, 0).tolist() == GOLDEN_ORDER


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 60), st.integers(0, 100))
def test_pictures_of_a_group_stay_within_a_window(sizes: list[int], window: int, epoch: int) -> None:
    group_of = np.repeat(np.arange(len(sizes)), sizes)
    order = epoch_order(len(group_of), 3, epoch, runs=Runs(group_of, window))
    assert sorted(order) == list(range(len(group_of)))
    came = group_of[order]
    for group, size in enumerate(sizes):
        places = np.flatnonzero(came == group)
        assert places[-1] - places[0] < 2 * window + size


def test_groups_are_mixed_and_change_their_order() -> None:
    runs = Runs(np.repeat(np.arange(20), 50), 200)
    first, second = (epoch_order(1000, 0, epoch, runs=runs) for epoch in (0, 1))
    assert len(set(runs.group_of[first[300:400]])) >= 4
    assert np.abs(np.corrcoef(first, second)[0, 1]) < 0.9
    assert (first[:100] != second[:100]).any()


def test_runs_of_other_pictures() -> None:
    with pytest.raises(ValueError, match="runs must be those of the 3 pictures"):
        epoch_order(3, 0, 0, runs=Runs(np.zeros(4, np.int64), 5))


@given(st.integers(0, 1000), st.integers(1, 4000), st.integers(1, 4000))
def test_a_crop_keeps_its_aspect_and_its_area_where_it_fits(index: int, width: int, height: int) -> None:
    box = tuple(boxes_of([index])[0].tolist())
    left, top, wide, tall = box_within(box, width, height)
    assert min(left, top) >= 0
    assert left + wide <= 1 + 1e-9
    assert top + tall <= 1 + 1e-9
    assert wide * width / (tall * height) == pytest.approx(box[2] / box[3])
    assert wide * tall == pytest.approx(box[2] * box[3]) or max(wide, tall) == pytest.approx(1)
    if width == height:
        assert (left, top, wide, tall) == pytest.approx(box)


def test_the_whole_square_is_the_largest_one_in_the_middle() -> None:
    assert box_within((0, 0, 1, 1), 400, 300) == pytest.approx((0.125, 0, 0.75, 1))
    assert box_within((0, 0, 1, 1), 400, 300) == pytest.approx(eval_box("centre", 64, 400, 300))


@pytest.mark.parametrize(
    ("rule", "size", "box"),
    [
        ("centre", 224, (0.125, 0, 0.75, 1)),
        ("margin", 224, (0.171875, 0.0625, 0.65625, 0.875)),  # 224 / 256
        ("squash", 224, (0, 0, 1, 1)),
        ("released", 300, (0.125 + 0.375 * 32 / 332, 16 / 332, 0.75 * 300 / 332, 300 / 332)),
        ("released", 320, (0, 0, 1, 1)),
    ],
)
def test_what_is_evaluated(rule: str, size: int, box: tuple[float, ...]) -> None:
    assert eval_box(rule, size, 400, 300) == pytest.approx(box)


def test_a_rule_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="one of centre, margin, squash, released; got 'corner'"):
        eval_box("corner", 64, 1, 1)
