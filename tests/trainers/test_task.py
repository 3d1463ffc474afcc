"""`TrainingTask`: what its recipe says of pictures reaches them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from search_spaces import Architecture
from trainers.recipe import Recipe
from trainers.task import TrainingTask

SMALL = Architecture.parse("stem_c8-fused_mbconv_k3_s2_e1_c8_n1-head_c16")
SIZE = 16


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Pictures twice as wide as high, black but for a white left quarter and a grey frame above and below."""
    for number in range(24):
        pixels = np.zeros((64, 128, 3), np.uint8)
        pixels[:, :32] = 255
        pixels[[0, 1, -2, -1]] = 100
        name = tmp_path / "pictures" / ("ant", "bee")[number % 2]
        name.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(name / f"{number:02}.png")
    return tmp_path / "pictures"


def task(source: Path, memory: str = "streamed", **changes: Any) -> TrainingTask:
    recipe = Recipe(epochs=1, batch_size=4, image_size=SIZE, **changes)
    return TrainingTask(recipe=recipe, source=str(source), architecture=SMALL, minival=4, memory=memory)


@pytest.mark.parametrize(
    ("eval_crop", "memory", "left", "top"),
    [
        ("centre", "streamed", 0, 60),
        ("centre", "packed", 0, 60),
        ("squash", "streamed", 255, 60),
        ("released", "streamed", 0, 0),  # below 320 px the margin is cut off
        ("margin", "packed", 0, 0),
    ],
)
def test_the_recipe_says_what_is_evaluated_of_a_picture(
    source: Path, eval_crop: str, memory: str, left: int, top: int
) -> None:
    pictures = task(source, memory, eval_crop=eval_crop).training("cpu").pictures
    images, _ = next(pictures.batches("minival", [0], batch_size=1, image_size=SIZE, boxes=None))
    assert float(images[0, :, SIZE // 2, 1].float().mean()) == pytest.approx(left, abs=12)
    assert float(images[0, :, 0, SIZE // 2].float().mean()) == pytest.approx(top, abs=40)
    assert (float(images[0, :, 0, SIZE // 2].float().mean()) > 10) == (top > 0)


def test_the_recipe_says_what_pixels_are_brought_to(source: Path) -> None:
    assert task(source, normalisation="released").training("cpu").normalisation == ((128.0,) * 3, (128.0,) * 3)
    own = task(source).training("cpu").normalisation
    assert own.mean == pytest.approx((own.mean[0],) * 3)
    assert own.mean[0] < 60, "mostly black"
