"""What a training reads: one contract for packed and streamed pictures, from every layout; what each does besides."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from trainers import decode as decode_module
from trainers import pictures as pictures_module
from trainers import row_groups, streamed
from trainers.crops import crop_boxes
from trainers.data import load_data
from trainers.pictures import Pictures, Streamed, open_pictures, statistics

CPU = torch.device("cpu")
COUNT, SIDE = 40, 24


def image_of(number: int, side: int = SIDE, *, grey: bool = False) -> Image.Image:
    """Of one colour, which tells its number."""
    red, green = number % 50 * 5, number // 50 * 50
    return Image.new("L", (side, side), red) if grey else Image.new("RGB", (side, side), (red, green, 200))


def bytes_of(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def folder(root: Path, count: int = COUNT, **options: Any) -> Path:
    for number in range(count):
        name = root / "train" / ("ant" if number < count // 2 else "bee")
        name.mkdir(parents=True, exist_ok=True)
        image_of(number, **options).save(name / f"{number:03}.png")
    for number in range(4):
        name = root / "test" / ("ant", "bee")[number % 2]
        name.mkdir(parents=True, exist_ok=True)
        image_of(number + 45, **options).save(name / f"{number}.png")
    return root


def parquet(root: Path, count: int = COUNT, **options: Any) -> Path:
    root.mkdir()
    for split, numbers in (("train", range(count)), ("test", range(45, 49))):
        images = [bytes_of(image_of(n)) for n in numbers]
        labels = [int(n >= count // 2) if split == "train" else n % 2 for n in numbers]
        table = pa.table({"image": pa.array(images, pa.binary()), "label": labels})
        pq.write_table(table.replace_schema_metadata({"class_names": "ant|bee"}), root / f"{split}.parquet", **options)
    return root


def npz(root: Path) -> Path:
    x = np.stack([np.asarray(image_of(n)) for n in range(COUNT)])
    test = np.stack([np.asarray(image_of(n)) for n in range(45, 49)])
    names = np.array(["ant", "bee"])
    labels = np.arange(COUNT) // (COUNT // 2)
    np.savez(root.with_suffix(".npz"), x_train=x, y_train=labels, x_test=test, y_test=[1, 0, 1, 0], names=names)
    return root.with_suffix(".npz")


SOURCES: dict[str, Callable[[Path], Path]] = {"folder": folder, "parquet": parquet, "npz": npz}


def opened(source: Path, memory: str = "streamed", **options: Any) -> Pictures:
    chosen = {"image_size": SIDE, "minival": 8, "split_seed": 0, "device": CPU, "memory": memory, **options}
    return open_pictures(str(source), **chosen)


@pytest.fixture(params=[(source, memory) for source in SOURCES for memory in ("packed", "streamed")], ids="-".join)
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Pictures:
    source, memory = request.param
    return opened(SOURCES[source](tmp_path / "data"), memory)


def batches(
    pictures: Pictures,
    order: Any,
    split: str = "train",
    *,
    batch_size: int = 5,
    image_size: int = SIDE,
    boxes: Any = None,
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(pictures.batches(split, order, batch_size=batch_size, image_size=image_size, boxes=boxes))


def numbers(found: list[tuple[torch.Tensor, torch.Tensor]]) -> list[int]:
    """Which pictures came."""
    colours = [one.float().mean((1, 2)).tolist() for images, _ in found for one in images]
    return [round(red / 5) + (round(more[0]) if more else 0) for red, *more in colours]


def assert_equal(some: list[tuple[torch.Tensor, ...]], others: list[tuple[torch.Tensor, ...]]) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# ---- the contract


def test_what_is_known_of_them(pictures: Pictures) -> None:
    assert pictures.class_names == ("ant", "bee")
    assert pictures.sizes == {"train": COUNT - 8, "minival": 8, "test": 4}
    assert (pictures.in_channels, pictures.unreadable) == (3, {})
    assert pictures.form in ("streamed", f"packed at {SIDE} px")


def test_batches_are_bytes_on_the_device_channels_last(pictures: Pictures) -> None:
    found = batches(pictures, range(12), image_size=16)
    assert [len(images) for images, _ in found] == [5, 5, 2]
    for images, labels in found:
        assert (images.dtype, images.shape[1:], images.device.type) == (torch.uint8, (3, 16, 16), "cpu")
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert (labels.dtype, labels.shape) == (torch.int64, (len(images),))


def test_the_splits_are_the_whole_source_and_labels_go_with_pictures(pictures: Pictures) -> None:
    came = {split: batches(pictures, range(size), split) for split, size in pictures.sizes.items()}
    assert sorted(numbers(came["train"]) + numbers(came["minival"])) == list(range(COUNT))
    assert sorted(numbers(came["test"])) == [45, 46, 47, 48]
    for split in ("train", "minival"):
        labels = [label for _, labels in came[split] for label in labels.tolist()]
        assert labels == [int(number >= COUNT // 2) for number in numbers(came[split])]


def test_pictures_come_in_the_order_asked_for(pictures: Pictures) -> None:
    plain = numbers(batches(pictures, range(32)))
    for order in ([31, 0, 0, 7, 3], pictures.training_order(seed=1, epoch=0), np.arange(32)[::-1]):
        assert numbers(batches(pictures, order)) == [plain[index] for index in order]


def test_what_is_left_of_an_order_gives_what_is_left_of_the_batches(pictures: Pictures) -> None:
    order = pictures.training_order(seed=3, epoch=1)
    boxes = crop_boxes(order, seed=3, epoch=1, min_area=0.2)
    whole = batches(pictures, order, image_size=16, boxes=boxes)
    assert_equal(whole[2:], batches(pictures, order[10:], image_size=16, boxes=boxes[10:]))


def test_nothing_asked_for_is_nothing(pictures: Pictures) -> None:
    assert batches(pictures, []) == []


def test_an_epoch_may_be_left_in_its_middle(pictures: Pictures) -> None:
    coming = pictures.batches("train", range(32), batch_size=2, image_size=16, boxes=None)
    next(coming)
    coming.close()
    assert numbers(batches(pictures, [0])) == numbers(batches(pictures, [0]))


def test_statistics_are_those_of_the_values(pictures: Pictures) -> None:
    mean, deviation = statistics(pictures, image_size=SIDE)
    red = 5.0 * np.array(numbers(batches(pictures, range(32))))
    assert mean.shape == deviation.shape == (1, 3, 1, 1)
    np.testing.assert_allclose(mean.flatten(), [red.mean(), 0, 200], rtol=1e-5)
    np.testing.assert_allclose(deviation.flatten(), [red.std(), 1, 1], rtol=1e-4)


@pytest.mark.parametrize("memory", ["packed", "streamed"])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_box_is_the_part_that_comes(tmp_path: Path, memory: str, form: str) -> None:
    quarters = np.zeros((64, 64, 3), np.uint8)
    quarters[:32, 32:] = 80
    quarters[32:, :32] = 160
    quarters[32:, 32:] = 240
    for name in ("ant", "bee"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            content = bytes_of(Image.fromarray(quarters), form, **({"quality": 95} if form == "JPEG" else {}))
            (tmp_path / "data" / name / f"{number}.{form.lower()}").write_bytes(content)
    pictures = opened(tmp_path / "data", memory, minival=2, image_size=64)
    corners = np.array([[left, top, 0.4, 0.4] for top in (0.05, 0.55) for left in (0.05, 0.55)])
    ((images, _),) = batches(pictures, range(4), boxes=corners, image_size=8)
    for value, image in zip((0, 80, 160, 240), images, strict=True):
        assert (image.int() - value).abs().max() <= 6


def test_both_hold_out_what_a_search_does(tmp_path: Path) -> None:
    source = folder(tmp_path / "data")
    held_out = load_data(str(source), image_size=SIDE, minival=8, seed=5).minival
    for memory in ("packed", "streamed"):
        found = batches(opened(source, memory, split_seed=5), range(8), "minival", batch_size=8)
        np.testing.assert_array_equal(found[0][0].permute(0, 2, 3, 1), held_out.images)
        np.testing.assert_array_equal(found[0][1], held_out.labels)


def test_the_fingerprint_is_that_of_the_source(tmp_path: Path) -> None:
    for layout in SOURCES.values():
        source = layout(tmp_path / layout.__name__)
        packed, streamed_ = (opened(source, memory) for memory in ("packed", "streamed"))
        assert packed.fingerprint == streamed_.fingerprint


def test_evaluation_is_the_same_packed_and_streamed_but_for_rounding(shared_data: Path) -> None:
    source = shared_data / "imagenette128_val.parquet"
    found = [
        batches(opened(source, memory, image_size=64, minival=100), range(40), "minival", batch_size=40, image_size=64)
        for memory in ("packed", "streamed")
    ]
    (packed, labels), (streamed_, others) = (one[0] for one in found)
    assert torch.equal(labels, others)
    assert (packed.int() - streamed_.int()).abs().max() <= 1


@pytest.mark.parametrize(("pixels", "form"), [(24, "packed at 24 px"), (10_000, "streamed")])
def test_auto_packs_what_is_small(tmp_path: Path, pixels: int, form: str) -> None:
    assert opened(folder(tmp_path / "data"), "auto", image_size=pixels).form == form


@pytest.mark.parametrize("option", [{"memory": "ram"}, {"eval_crop": "corner"}, {"workers": 0}, {"minival": -1}])
def test_options_that_are_wrong(tmp_path: Path, option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(option))} must be"):
        opened(folder(tmp_path / "data"), **option)


# ---- streamed


@pytest.mark.parametrize("layout", ["folder", "parquet"])
def test_the_number_of_workers_changes_nothing(tmp_path: Path, layout: str) -> None:
    source = SOURCES[layout](tmp_path / "data")
    runs = []
    for workers in (1, 2, 7):
        pictures = opened(source, workers=workers)
        order = pictures.training_order(seed=0, epoch=0)
        boxes = crop_boxes(order, seed=0, epoch=0, min_area=0.1)
        runs.append(batches(pictures, order, batch_size=12, image_size=16, boxes=boxes))
    assert_equal(runs[0], runs[1])
    assert_equal(runs[0], runs[2])


def break_file(source: Path, number: int) -> None:
    path = next((source / "train").rglob(f"{number:03}.png"))
    path.write_bytes(path.read_bytes()[:60])


def test_a_corrupt_picture_is_replaced_by_the_next_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = folder(tmp_path / "data")
    plain = numbers(batches(opened(source), range(32)))
    for number in (plain[19], plain[20], plain[31]):  # the last one is followed by the first
        break_file(source, number)
    pictures = opened(source)
    with caplog.at_level(logging.WARNING):
        found = batches(pictures, range(32))
        again = batches(pictures, range(10, 32))
    expected = plain.copy()
    expected[19] = expected[20] = plain[21]
    expected[31] = plain[0]
    assert numbers(found) == expected
    assert numbers(again) == expected[10:], "whatever the order"
    labels = [label for _, labels in found for label in labels.tolist()]
    assert labels == [int(number >= COUNT // 2) for number in expected]
    assert len(pictures.unreadable) == len(caplog.records) == 3, "each is told once"
    assert f"train/ant/{plain[19]:03}.png" in " ".join(pictures.unreadable) or plain[19] >= COUNT // 2
    assert all("the next picture takes its place" in record.message for record in caplog.records)


def test_a_picture_that_vanishes_is_replaced_too(tmp_path: Path) -> None:
    source = folder(tmp_path / "data")
    pictures = opened(source)
    plain = numbers(batches(pictures, range(32)))
    next((source / "train").rglob(f"{plain[4]:03}.png")).unlink()
    assert numbers(batches(pictures, range(6))) == [*plain[:4], plain[5], plain[5]]


def test_a_source_that_is_gone_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "ATTEMPTS", 5)
    source = folder(tmp_path / "data")
    pictures = opened(source)
    (source / "train").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="5 pictures one after the other cannot be read, from train/"):
        batches(pictures, range(32))


def test_pictures_are_read_in_row_groups_once_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = parquet(tmp_path / "data", 200, row_group_size=5)
    monkeypatch.setattr(row_groups, "HELD_BYTES", 4000)  # of some 20,000
    reads: list[int] = []
    real = row_groups.RowGroups._read
    monkeypatch.setattr(row_groups.RowGroups, "_read", lambda self, group: (reads.append(group), real(self, group))[1])
    pictures = opened(source, workers=2)
    reads.clear()
    order = pictures.training_order(seed=0, epoch=0)
    came = numbers(batches(pictures, order, batch_size=4))
    assert len(set(came)) == len(came) == pictures.sizes["train"]
    assert len(reads) <= 45, "there are 40"
    reads.clear()
    for _ in range(2):
        batches(pictures, range(8), "minival")
    assert 0 < len(reads) <= 8, "the second time they come from the file"


def test_grey_pictures_have_one_channel(tmp_path: Path) -> None:
    pictures = opened(folder(tmp_path / "data", grey=True))
    assert pictures.in_channels == 1
    assert sorted(numbers(batches(pictures, range(32)) + batches(pictures, range(8), "minival"))) == list(range(COUNT))


def test_one_colour_picture_makes_all_of_them_coloured(tmp_path: Path) -> None:
    source = folder(tmp_path / "data", grey=True)
    image_of(0).save(source / "train" / "ant" / "000.png")
    assert batches(opened(source), range(5))[0][0].shape[1] == 3


def test_a_large_jpeg_is_decoded_no_larger_than_its_part_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ant", "bee"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            Image.effect_mandelbrot((800, 400), (-2, -1, 1, 1), 50).save(tmp_path / "data" / name / f"{number}.jpg")
    sizes: list[tuple[int, int]] = []
    real = decode_module._plain
    monkeypatch.setattr(decode_module, "_plain", lambda image: (sizes.append(image.size), real(image))[1])
    pictures = opened(tmp_path / "data", minival=2)
    for box, image_size, decoded in [
        ((0, 0, 1, 1), 50, (100, 50)),
        ((0, 0, 1, 1), 51, (200, 100)),
        ((0.3, 0.1, 0.4, 0.4), 50, (200, 100)),
        ((0.3, 0.1, 0.4, 0.4), 60, (400, 200)),
        ((0, 0, 1, 1), 400, (800, 400)),
        (None, 50, (200, 100)),
    ]:
        sizes.clear()
        batches(pictures, [0], image_size=image_size, boxes=None if box is None else np.array([box], float))
        assert sizes == [decoded]


def test_a_crop_of_a_turned_picture_is_of_what_one_sees(tmp_path: Path) -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, 40:] = 250  # lying on its side: turned upright, this half is at the top or the bottom
    turned = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: what is at the right goes to the bottom
    for name in ("ant", "bee"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(2):
            turned.save(tmp_path / "data" / name / f"{number}.jpg", quality=95, exif=exif)
    pictures = opened(tmp_path / "data", minival=2)
    boxes = np.array([[0.3, 0, 0.2, 0.2], [0.3, 0.8, 0.2, 0.2]])
    ((images, _),) = batches(pictures, [0, 1], boxes=boxes, image_size=4)
    assert images[0].max() < 10
    assert images[1].min() > 240


def test_several_classes_are_shares(tmp_path: Path) -> None:
    images = [bytes_of(image_of(n)) for n in range(12)]
    labels = [[n % 3] if n % 2 else [n % 3, (n + 1) % 3] for n in range(12)]
    table = pa.table({"image": pa.array(images, pa.binary()), "label": labels})
    path = tmp_path / "many.parquet"
    pq.write_table(table.replace_schema_metadata({"class_names": "x|y|z"}), path)
    pictures = opened(path, "auto", minival=3)
    found = batches(pictures, range(9))
    for number, shares in zip(numbers(found), [one for _, labels in found for one in labels], strict=True):
        expected = [0.0, 0.0, 0.0]
        for label in labels[number]:
            expected[label] = 1 / len(labels[number])
        assert shares.tolist() == expected


def test_opening_a_folder_decodes_nothing_and_looks_at_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(tmp_path / "data", 120)
    opened_pictures: list[Any] = []
    real = decode_module._opened
    monkeypatch.setattr(decode_module, "_opened", lambda one: (opened_pictures.append(one), real(one))[1])
    monkeypatch.setattr(pictures_module, "load_data", lambda *_, **__: pytest.fail("it is packed"))
    pictures = opened(source, minival=20)
    assert isinstance(pictures, Streamed)
    assert len(opened_pictures) <= 64
