"""From encoded pictures to square arrays, in a few threads (Pillow lets go of the interpreter's lock)."""

from __future__ import annotations

import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from trainers.crops import Box
from trainers.sources import PictureSet, Undecoded

DECODER = f"Pillow {PIL.__version__}"
"""What decodes and resizes: another release may do so a little differently."""

_THREADS = min(4, os.cpu_count() or 1)


Allocate = Callable[[tuple[int, ...]], NDArray[np.uint8]]
"""Gives an array of a shape, in memory or in a file."""


def in_memory(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An array in memory, its content undefined."""
    return np.empty(shape, np.uint8)


def decode(
    pictures: PictureSet, image_size: int, max_unreadable: float, *, allocate: Allocate = in_memory
) -> tuple[NDArray[np.uint8], list[int], list[tuple[str, str]]]:
    """Decode every picture that can be read.

    Args:
        pictures: of one split.
        image_size: side of the result, in pixels: the shorter side is resized to it, the rest cut off evenly.
        max_unreadable: the share of the pictures that may be unreadable.
        allocate: gives the array that the pictures are written to.

    Returns:
        (n, image_size, image_size, 1 or 3) uint8, the numbers of these pictures, and the name and the fault of
        each that cannot be read.

    Raises:
        ValueError: more are unreadable than may be (names the first).
    """
    total = len(pictures.labels)
    images: NDArray[np.uint8] | None = None
    read: list[int] = []
    skipped: list[tuple[str, str]] = []
    with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as pool:
        warnings.filterwarnings("ignore", module="PIL")  # of oddities in pictures that it does read
        for number, result in enumerate(_in_order(pool, pictures.batches(), image_size)):
            if isinstance(result, str):
                skipped.append((pictures.name_of(number), result))
                continue
            if images is None:
                images = allocate((total, *result.shape))
            images = with_channels(images, result.shape[2], filled=len(read), allocate=allocate)
            images[len(read)] = result
            read.append(number)
    if len(skipped) > max_unreadable * total:
        raise ValueError(
            f"at most {max_unreadable:.1%} of the pictures may be unreadable; in {pictures.origin} {len(skipped)} of "
            f"{total} are: {first_faults(skipped)}. Mend or remove them, or raise --max-unreadable"
        )
    if images is None:
        images = np.empty((0, image_size, image_size, 1), np.uint8)
    return images[: len(read)], read, skipped


def _in_order(
    pool: ThreadPoolExecutor, batches: Iterator[Sequence[Undecoded]], image_size: int
) -> Iterator[NDArray[np.uint8] | str]:
    """The square picture, or the fault, of each; only a few batches are in memory at a time."""
    waiting: deque[Future[list[NDArray[np.uint8] | str]]] = deque()
    for batch in batches:
        waiting.append(pool.submit(lambda some: [_square(one, image_size) for one in some], batch))
        if len(waiting) > 2 * _THREADS:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _square(picture: Undecoded, size: int) -> NDArray[np.uint8] | str:
    """The centre of a picture as (size, size, 1 or 3), or what is wrong with it."""
    if picture is None:
        return "there is no picture"
    try:
        if isinstance(picture, np.ndarray):
            if picture.shape[:2] == (size, size):
                return picture.reshape(size, size, -1)
            return _fitted(_opened(picture), size)
        with _opened(picture) as image:
            image.draft(None, (2 * size, 2 * size))  # a JPEG is decoded at 1/2, 1/4 or 1/8, but not below this
            ImageOps.exif_transpose(image, in_place=True)
            return _fitted(image, size)
    except Exception as error:  # noqa: BLE001 - Pillow's readers raise anything on broken files, AttributeError too
        return _fault(error)


def _fault(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # whose text is an address in memory
        return "not a picture that Pillow knows"
    return str(error) or type(error).__name__


def decode_part(
    fetch: Callable[[], Undecoded],
    part: Callable[[int, int], Box],
    size: int,
    channels: int,
    *,
    draft_size: int | None = None,
) -> NDArray[np.uint8] | str:
    """One part of a picture, or what is wrong with it; a JPEG is decoded no larger than the part needs.

    Args:
        fetch: gives the picture.
        part: of a picture of that width and height, upright, as shares of its sides.
        size: side of the result, in pixels, to which the part is resized.
        channels: of the result, 1 (grey) or 3 (RGB).
        draft_size: what the part must measure at least after a JPEG's reduced-size decoding (by 2, 4 or 8), where it
            does so at full size; None is `size`.

    Returns:
        (size, size, channels).
    """
    try:
        picture = fetch()
        if picture is None:
            return "there is no picture"
        with _opened(picture) as image:
            orientation = image.getexif().get(_ORIENTATION, 1)
            width, height = image.size if orientation < 5 else image.size[::-1]
            left, top, wide, tall = part(width, height)
            least = draft_size or size
            asked = (math.ceil(least / wide), math.ceil(least / tall))
            image.draft(None, asked if orientation < 5 else asked[::-1])
            if orientation != 1:
                ImageOps.exif_transpose(image, in_place=True)
            found = _plain(image)
            w, h = found.size
            box = (left * w, top * h, (left + wide) * w, (top + tall) * h)
            if found.size != (size, size) or (wide, tall) != (1, 1):
                found = found.resize((size, size), Image.Resampling.BILINEAR, box, reducing_gap=2.0)
            mode = "L" if channels == 1 else "RGB"
            return np.asarray(found if found.mode == mode else found.convert(mode)).reshape(size, size, channels)
    except Exception as error:  # noqa: BLE001 - as above
        return _fault(error)


def is_grey(fetch: Callable[[], Undecoded]) -> bool | None:
    """Whether the picture that `fetch` gives has one channel, by its header; None where it cannot be read."""
    try:
        with _opened(fetch()) as image:
            return image.mode in _GREY or image.mode.startswith("I")
    except Exception:  # noqa: BLE001 - as above
        return None


_ORIENTATION = 0x0112  # in Exif; from 5 on, the sides are exchanged
_GREY = ("1", "L", "LA")


def _opened(picture: Undecoded) -> Image.Image:
    if isinstance(picture, np.ndarray):
        return Image.fromarray(picture.squeeze(2) if picture.shape[2:] == (1,) else picture)
    return Image.open(BytesIO(picture) if isinstance(picture, bytes) else picture or "")


def _fitted(image: Image.Image, size: int) -> NDArray[np.uint8]:
    image = _plain(image)
    if image.size != (size, size):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = (left, top, left + side, top + side)
        image = image.resize((size, size), Image.Resampling.BILINEAR, square, reducing_gap=2.0)
    return np.asarray(image).reshape(size, size, -1)


def _plain(image: Image.Image) -> Image.Image:
    """A picture of 8 bits, grey or RGB."""
    if image.mode.startswith("I"):  # 16 bits, of which Pillow would keep the lower 8
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pictures have no known range")
    mode = "L" if image.mode in _GREY else "RGB"
    return image if image.mode == mode else image.convert(mode)  # to convert copies at any rate


def with_channels(
    images: NDArray[np.uint8], channels: int, *, filled: int | None = None, allocate: Allocate = in_memory
) -> NDArray[np.uint8]:
    """Grey pictures repeated to three channels where that is asked for; of the first `filled` alone, if given."""
    if images.shape[3] >= channels:
        return images
    repeated = allocate((*images.shape[:3], channels))
    repeated[:filled] = images[:filled]  # numpy repeats the one channel
    return repeated


def first_faults(skipped: list[tuple[str, str]]) -> str:
    """The first few unreadable pictures and their faults, in words."""
    some = "; ".join(f"{name} ({fault})" for name, fault in skipped[:3])
    return f"{some}; ..." if len(skipped) > 3 else some


def as_file(picture: Undecoded) -> bytes:
    """A picture as the bytes of a file: as they are where it is one, a PNG of an array.

    Raises:
        OSError: it is missing, or cannot be read.
    """
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, os.PathLike):
        return Path(picture).read_bytes()
    if picture is None:
        raise OSError("a picture is missing")
    file = BytesIO()
    Image.fromarray(picture.squeeze()).save(file, "PNG")
    return file.getvalue()


def side_of(picture: Undecoded) -> int:
    """The shorter side of a picture, in pixels.

    Raises:
        OSError: it cannot be read.
    """
    with Image.open(BytesIO(as_file(picture))) as opened:
        return min(opened.size)
