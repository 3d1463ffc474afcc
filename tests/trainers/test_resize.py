"""Crops resized by batches: against torch's own resizing in floats, and Pillow's; the same by products of matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from trainers import resize
from trainers.crops import crop_boxes
from trainers.resize import resized_crops


def drawn(side: int, channels: int, n: int = 9) -> torch.Tensor:
    return torch.randint(
        256, (n, side, side, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(side)
    )


BOXES = crop_boxes(range(9), seed=1, epoch=0, min_area=0.05)


def expected(pixels: torch.Tensor, boxes: np.ndarray, size: int) -> torch.Tensor:
    side, found = pixels.shape[1], []
    for picture, box in zip(pixels, boxes, strict=True):
        left, top, wide, tall = np.rint(box * side).astype(int).tolist()
        part = picture[top : top + max(1, tall), left : left + max(1, wide)].permute(2, 0, 1)[None].double()
        found.append(F.interpolate(part, (size, size), mode="bilinear", antialias=True)[0].permute(1, 2, 0))
    return torch.stack(found)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("side", "size"), [(48, 16), (48, 41), (28, 32), (32, 32), (7, 64)])
def test_each_crop_is_resized_as_alone(side: int, size: int, channels: int) -> None:
    pixels = drawn(side, channels)
    found = resized_crops(pixels, BOXES, size)
    assert (found.shape, found.dtype) == ((9, size, size, channels), torch.uint8)
    assert (found - expected(pixels, BOXES, size)).abs().max() <= 1.01


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("side", "size"), [(48, 16), (28, 32), (32, 32)])
def test_what_a_gpu_does_gives_the_same(side: int, size: int, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resize, "_AT_ONCE", 4)
    pixels = drawn(side, channels)
    edges = np.rint(BOXES * side).astype(np.int64)
    found = resize._by_weights(pixels, edges[:, :2], edges[:, 2:].clip(1), size)
    assert found.is_contiguous()
    assert (found - expected(pixels, BOXES, size)).abs().max() <= 0.51


def test_one_box_for_all_is_the_same_as_one_each() -> None:
    pixels, box = drawn(40, 3), np.tile([0.1, 0.2, 0.5, 0.6], (9, 1))
    at_once = resized_crops(pixels, box, 24)
    each = torch.cat([resized_crops(one[None], box[:1], 24) for one in pixels])
    assert torch.equal(at_once, each)


def test_it_resizes_as_pillow() -> None:
    picture = np.asarray(Image.effect_mandelbrot((64, 64), (-2, -1, 1, 1), 50).convert("RGB"))
    found = resized_crops(torch.from_numpy(picture.copy())[None], np.array([[0.0, 0, 1, 1]]), 24)[0].numpy()
    pillow = np.asarray(Image.fromarray(picture).resize((24, 24), Image.Resampling.BILINEAR))
    assert np.abs(found.astype(int) - pillow.astype(int)).max() <= 1


def test_whole_pictures_of_that_size_are_not_copied() -> None:
    pixels = drawn(16, 3)
    assert resized_crops(pixels, np.tile([0.0, 0, 1, 1], (9, 1)), 16) is pixels


def test_a_box_smaller_than_a_pixel_takes_one() -> None:
    pixels = drawn(8, 3, 1)
    found = resized_crops(pixels, np.array([[0.999, 0.999, 1e-4, 1e-4]]), 4)
    assert torch.equal(found, pixels[:, 7:, 7:].expand(1, 4, 4, 3))
