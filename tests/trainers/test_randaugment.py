"""RandAugment: each operation against Pillow's, on random and on real pictures; how they are drawn."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from scipy.stats import chisquare
from torch import Tensor

from trainers import colour, randaugment
from trainers.randaugment import OPERATIONS

Pixels = NDArray[np.uint8]
LEVELS = (1.0, 5.0, 6.67, 10.0, 15.0, 20.0)  # EfficientNetV2's code goes from 5 to 20
FACTORS = (0.1, 0.46, 0.9, 1.0, 1.9, 3.7)
CHANNELS = (1, 3)


def noise(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def random_pictures(channels: int) -> list[Pixels]:
    """Batches (N, height, width, channels): even and odd sizes, broad and narrow ranges, few colours, one colour."""
    flat = np.full((3, 9, 7, channels), 77, np.uint8)
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(channels, 3)
    few = 60 * noise(4, 6, 20, 20, channels) // 64  # values of four colours, most of them often
    return [
        noise(0, 6, 32, 32, channels),
        noise(1, 3, 33, 21, channels),
        noise(2, 1, 1, 1, channels),
        noise(3, 2, 2, 5, channels),
        few,
        noise(5, 5, 28, 28, channels) // 8 + 90,
        flat,
        ramp,
    ]


@cache
def real_pictures(folder: Path, channels: int) -> list[Pixels]:
    batches = []
    for name, count in (("cifar10_jpeg95_test", 24), ("imagenette128_val", 6)):
        rows = next(pq.ParquetFile(folder / f"{name}.parquet").iter_batches(batch_size=count, columns=["image"]))
        mode = "L" if channels == 1 else "RGB"
        images = [np.asarray(Image.open(io.BytesIO(row)).convert(mode)) for row in rows["image"].to_pylist()]
        batches.append(np.stack(images).reshape(len(images), *images[0].shape[:2], channels))
    return batches


@pytest.fixture(params=["random", "real"])
def pictures(request: pytest.FixtureRequest) -> Callable[[int], list[Pixels]]:
    """Batches of pictures by the number of channels."""
    if request.param == "random":
        return random_pictures
    folder: Path = request.getfixturevalue("shared_data")
    return lambda channels: real_pictures(folder, channels)


def by_pillow(pixels: Pixels, function: Callable[..., Image.Image], *arguments: Any) -> Pixels:
    """The same batch, picture by picture through Pillow."""
    images = [Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture) for picture in pixels]
    return np.stack([np.asarray(function(image, *arguments)) for image in images]).reshape(pixels.shape)


def ours(pixels: Pixels, function: Callable[..., Tensor], *arguments: Any) -> Pixels:
    given = torch.tensor(pixels)
    result = function(given, *arguments)
    assert result.dtype == torch.uint8
    np.testing.assert_array_equal(given.numpy(), pixels)  # nothing is written into what was given
    return result.numpy()


def fill(image: Image.Image) -> Any:
    return (128,) * len(image.getbands()) if len(image.getbands()) > 1 else 128


# ---- colours: integers, so exactly Pillow's


EXACT: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Image.Image], Image.Image]]] = {
    "autocontrast": (colour.autocontrast, ImageOps.autocontrast),
    "equalize": (colour.equalize, ImageOps.equalize),
    "invert": (colour.invert, ImageOps.invert),
    **{
        f"posterize {bits}": (lambda p, b=bits: colour.posterize(p, b), lambda i, b=bits: ImageOps.posterize(i, b))
        for bits in range(1, 9)
    },
    **{
        f"solarize {least}": (lambda p, t=least: colour.solarize(p, t), lambda i, t=least: ImageOps.solarize(i, t))
        for least in (0, 1, 128, 255, 256, 512)
    },
    **{
        f"solarize_add {more}": (
            lambda p, m=more: colour.solarize_add(p, m),
            lambda i, m=more: i.point([min(255, v + m) if v < 128 else v for v in range(256)] * len(i.getbands())),
        )
        for more in (0, 55, 110, 330)
    },
}


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("name", EXACT)
def test_colours_are_exactly_pillows(name: str, channels: int, pictures: Callable[[int], list[Pixels]]) -> None:
    function, reference = EXACT[name]
    for pixels in pictures(channels):
        np.testing.assert_array_equal(ours(pixels, function), by_pillow(pixels, reference))


# ---- blends: floats, cut to integers


BLENDS: dict[str, tuple[Callable[[Tensor, float], Tensor], Callable[[Image.Image], Any]]] = {
    "colour": (colour.colour, ImageEnhance.Color),
    "contrast": (colour.contrast, ImageEnhance.Contrast),
    "brightness": (colour.brightness, ImageEnhance.Brightness),
    "sharpness": (colour.sharpness, ImageEnhance.Sharpness),
}


def enhanced(image: Image.Image, enhancer: Callable[[Image.Image], Any], factor: float) -> Image.Image:
    result: Image.Image = enhancer(image).enhance(factor)
    return result


def assert_blended_alike(found: Pixels, expected: Pixels) -> None:
    """To within one level, where a machine fuses Pillow's multiplication and addition; else exactly."""
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.02


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", BLENDS)
def test_blends_are_pillows(name: str, factor: float, channels: int, pictures: Callable[[int], list[Pixels]]) -> None:
    function, enhancer = BLENDS[name]
    for pixels in pictures(channels):
        found = ours(pixels, function, factor)
        assert_blended_alike(found, by_pillow(pixels, enhanced, enhancer, factor))


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("name", BLENDS)
def test_what_blends_begin_with_is_exactly_pillows(name: str, channels: int) -> None:
    function, enhancer = BLENDS[name]
    for pixels in random_pictures(channels):
        found = ours(pixels, function, 0.0)
        np.testing.assert_array_equal(found, by_pillow(pixels, enhanced, enhancer, 0.0))


# ---- places: the nearest pixel, as in the source


def affine(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    """Pillow's, for a matrix that counts from pixels' middles; Pillow counts from their corners."""
    a, b, c, d, e, f = matrix
    moved = (a, b, c + 0.5 - (a + b) / 2, d, e, f + 0.5 - (d + e) / 2)
    return image.transform(image.size, Image.Transform.AFFINE, moved, Image.Resampling.NEAREST, fillcolor=fill(image))


def turn(degrees: float, height: int, width: int) -> tuple[float, ...]:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = (width - 1) / 2, (height - 1) / 2
    return (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y)


PLACES: dict[str, Callable[[float, int, int], tuple[float, ...]]] = {  # from level, height and width to the matrix
    "Rotate": lambda level, height, width: turn(3 * level, height, width),
    "ShearX": lambda level, height, width: (1, 0.03 * level, 0, 0, 1, 0),
    "ShearY": lambda level, height, width: (1, 0, 0, 0.03 * level, 1, 0),
    "TranslateX": lambda level, height, width: (1, 0, 10 * level * width / 300, 0, 1, 0),
    "TranslateY": lambda level, height, width: (1, 0, 0, 0, 1, 10 * level * height / 300),
}


def sure(matrix: tuple[float, ...], height: int, width: int) -> NDArray[np.bool_]:
    """Where it is clear which pixel is the nearest; Pillow computes with 16 bits after the point."""
    y, x = np.mgrid[:height, :width]
    a, b, c, d, e, f = matrix
    clear = [np.abs(place % 1 - 0.5) > 1 / 256 for place in (a * x + b * y + c, d * x + e * y + f)]
    return np.logical_and(*clear)


def test_the_rotation_of_these_tests_is_pillows() -> None:
    image = Image.fromarray(noise(0, 32, 32, 3))
    turned = np.asarray(image.rotate(17, Image.Resampling.NEAREST, fillcolor=(128, 128, 128)))
    np.testing.assert_array_equal(np.asarray(affine(image, turn(17, 32, 32))), turned)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("level", [*LEVELS, 3.3])
@pytest.mark.parametrize("name", PLACES)
def test_places_are_pillows(name: str, level: float, channels: int, pictures: Callable[[int], list[Pixels]]) -> None:
    compared = total = 0
    for pixels in pictures(channels):
        height, width = pixels.shape[1:3]
        for sign, drawn in ((-1.0, 0.49), (1.0, 0.5)):
            matrix = PLACES[name](sign * level, height, width)
            found = ours(pixels, OPERATIONS[name], level, torch.full((len(pixels), 2), drawn))
            expected, clear = by_pillow(pixels, affine, matrix), sure(matrix, height, width)
            np.testing.assert_array_equal(found[:, clear], expected[:, clear])
            compared, total = compared + int(clear.sum()), total + clear.size
    assert compared > 0.5 * total  # odd sides move by half pixels at levels 5 and 15


def test_a_translation_of_whole_pixels() -> None:
    pixels = noise(0, 1, 30, 60, 3)
    found = ours(pixels, OPERATIONS["TranslateX"], 10, torch.tensor([[0.7, 0.0]]))
    np.testing.assert_array_equal(found[:, :, :40], pixels[:, :, 20:])
    assert (found[:, :, 40:] == 128).all()
    found = ours(pixels, OPERATIONS["TranslateY"], 10, torch.tensor([[0.2, 0.0]]))
    np.testing.assert_array_equal(found[:, 10:], pixels[:, :20])
    assert (found[:, :10] == 128).all()


def pasted(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    image = image.copy()
    image.paste(fill(image), box)
    return image


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("size", [0, 1, 2, 5, 8, 60])
def test_what_is_cut_out_is_pasted_by_pillow(size: int, channels: int) -> None:
    for pixels in random_pictures(channels):
        height, width = pixels.shape[1:3]
        chance = torch.rand((len(pixels), 2), generator=torch.Generator().manual_seed(size))
        found = ours(pixels, randaugment.cut_out, size, chance)
        for picture, result, (down, across) in zip(pixels, found, chance.tolist(), strict=True):
            top, left = int(down * height) - size // 2, int(across * width) - size // 2
            box = (left, top, left + size, top + size)
            np.testing.assert_array_equal(result[None], by_pillow(picture[None], pasted, box))


# ---- levels


def test_there_are_the_sixteen_of_the_source() -> None:
    assert len(OPERATIONS) == 16


LEVELLED: dict[str, Callable[[Tensor, float], Tensor]] = {  # written out from the source
    "AutoContrast": lambda pixels, level: colour.autocontrast(pixels),
    "Equalize": lambda pixels, level: colour.equalize(pixels),
    "Invert": lambda pixels, level: colour.invert(pixels),
    "Color": lambda pixels, level: colour.colour(pixels, 0.18 * level + 0.1),
    "Contrast": lambda pixels, level: colour.contrast(pixels, 0.18 * level + 0.1),
    "Brightness": lambda pixels, level: colour.brightness(pixels, 0.18 * level + 0.1),
    "Sharpness": lambda pixels, level: colour.sharpness(pixels, 0.18 * level + 0.1),
    "Solarize": lambda pixels, level: colour.solarize(pixels, math.floor(25.6 * level)),
    "SolarizeAdd": lambda pixels, level: colour.solarize_add(pixels, math.floor(11 * level)),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", LEVELLED)
def test_the_level_of_an_operation_on_colours(name: str, level: float) -> None:
    pixels = torch.tensor(noise(0, 4, 16, 16, 3))
    found = OPERATIONS[name](pixels, level, torch.rand(4, 2))
    assert (found.int() - LEVELLED[name](pixels, level).int()).abs().max() <= 1  # the factor's last digit
    assert (found != LEVELLED[name](pixels, level)).float().mean() < 0.01


@pytest.mark.parametrize(("level", "bits"), [(1, 1), (5, 2), (6.67, 2), (8.33, 3), (10, 4), (15, 6), (20, 8), (30, 8)])
def test_posterize_keeps_more_bits_at_higher_levels(level: float, bits: int) -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1)
    found = OPERATIONS["Posterize"](pixels, level, torch.rand(1, 2))
    assert found.unique().numel() == 2**bits


def test_solarize_does_nothing_from_level_10() -> None:
    pixels = torch.tensor(noise(0, 2, 16, 16, 3))
    for level in (10, 15, 20):
        assert torch.equal(OPERATIONS["Solarize"](pixels, level, torch.rand(2, 2)), pixels)
    assert not torch.equal(OPERATIONS["Solarize"](pixels, 9.9, torch.rand(2, 2)), pixels)


@pytest.mark.parametrize(("level", "side", "cut"), [(10, 300, 80), (5, 300, 40), (10, 32, 8), (20, 64, 34), (1, 32, 0)])
def test_the_square_cut_out_goes_with_the_side(level: float, side: int, cut: int) -> None:
    pixels = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    found = OPERATIONS["Cutout"](pixels, level, torch.full((1, 2), 0.5))
    assert int((found == 128).sum()) == 3 * cut**2


# ---- drawing


def outcomes(pixels: Tensor, level: float) -> list[tuple[str, bytes]]:
    """What each operation makes of one picture; five go either of two ways, and Cutout has too many to list."""
    return [
        (f"{name} {drawn}", operation(pixels, level, torch.full((1, 2), drawn)).numpy().tobytes())
        for name, operation in OPERATIONS.items()
        if name != "Cutout"
        for drawn in ((0.25, 0.75) if name in PLACES else (0.25,))
    ]


def test_every_operation_is_as_likely_as_the_others() -> None:
    picture = torch.tensor(noise(7, 1, 20, 20, 3) // 4 * 3 + 20)
    names = {result: name for name, result in outcomes(picture, 7)}
    assert len(names) == 15 + 5  # all results are unlike one another
    pixels = picture.expand(8000, -1, -1, -1).contiguous()
    results = randaugment.randaugment(pixels, 7, layers=1, generator=torch.Generator().manual_seed(3))
    found = [names.get(result.tobytes(), "Cutout") for result in results.numpy()]
    counts = {name: found.count(name) for name in (*names.values(), "Cutout")}
    share = [0.5 if name.split()[0] in PLACES else 1 for name in counts]  # one of two ways
    assert chisquare(list(counts.values()), [8000 / 16 * part for part in share]).pvalue > 0.001


def test_layers_follow_one_another_and_are_drawn_apart() -> None:
    picture = torch.tensor(noise(7, 1, 20, 20, 3) // 4 * 3 + 20)
    pairs: dict[bytes, set[tuple[str, str]]] = {}
    for first, result in outcomes(picture, 7):
        between = torch.frombuffer(bytearray(result), dtype=torch.uint8).view(picture.shape)
        for second, after in outcomes(between, 7):
            pairs.setdefault(after, set()).add((first.split()[0], second.split()[0]))
    pixels = picture.expand(6000, -1, -1, -1).contiguous()
    results = randaugment.randaugment(pixels, 7, layers=2, generator=torch.Generator().manual_seed(4))
    found = [pairs.get(result.tobytes(), set()) for result in results.numpy()]
    assert np.mean([not ways for ways in found]) == pytest.approx(1 - (15 / 16) ** 2, abs=0.015)  # Cutout in one
    assert len(set().union(*found)) == 15**2  # each after each


def test_pictures_that_drew_an_operation_alone_or_all_pictures_masked() -> None:
    """The two ways of applying a layer, on a CPU and on a GPU, give the same."""
    generator = torch.Generator().manual_seed(0)
    for pixels in map(torch.tensor, (*random_pictures(1), *random_pictures(3), noise(9, 70, 11, 13, 3))):
        number = torch.randint(16, (len(pixels),), generator=generator)
        chance = torch.rand((len(pixels), 2), generator=generator)
        alone = randaugment._sorted(pixels, 9, number, chance)
        assert torch.equal(alone, randaugment._masked(pixels, 9, number, chance))
        assert len(pixels) < 70 or not torch.equal(alone, pixels)
