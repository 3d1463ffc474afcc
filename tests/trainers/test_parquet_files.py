"""Parquet: shards and their splits, several classes a picture, row groups held for a while, fingerprints."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainers import parquet_files
from trainers.data import load_data
from trainers.datasets import read_dataset, read_source
from trainers.row_groups import Kept, RowGroups


def picture(value: int, side: int = 8) -> bytes:
    """Of one colour, which tells its number."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (value % 256, value // 256, 7)).save(file, "PNG")
    return file.getvalue()


def write(path: Path, numbers: Sequence[int], labels: Sequence[Any] | None = None, **options: Any) -> Path:
    """Pictures of these numbers, as Hugging Face writes them; by default number n is of class n % 2."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": picture(n), "path": f"{n}.png"} for n in numbers]
    images = pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"image": images, "label": [n % 2 for n in numbers] if labels is None else labels})
    names = options.pop("names", ["ant", "bee"])
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata if names else None), path, **options)
    return path


def number_of(encoded: Any) -> int:
    red, green, _ = Image.open(io.BytesIO(encoded)).getpixel((0, 0))
    return red + 256 * green


def test_a_folder_as_hugging_face_lays_it_out(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train-00000-of-00002.parquet", range(6))
    write(tmp_path / "data" / "train-00001-of-00002.parquet", range(6, 10), row_group_size=2)
    write(tmp_path / "data" / "validation-00000-of-00001.parquet", [3, 20])
    write(tmp_path / "data" / "test-00000-of-00001.parquet", [30, 31], labels=[-1, -1])  # kept back
    dataset = read_dataset(str(tmp_path))
    assert dataset.class_names == ("ant", "bee")
    assert dataset.classes.tolist() == [0, 1] * 5
    assert dataset.test_classes.tolist() == [1, 0]
    assert [number_of(dataset.train.at(i)) for i in (9, 0, 6, 5)] == [9, 0, 6, 5]
    assert [number_of(dataset.test.at(i)) for i in (0, 1)] == [3, 20] if dataset.test else False
    assert [number_of(one) for batch in dataset.train.batches() for one in batch] == list(range(10))
    assert dataset.train.name_of(7) == "train-00001-of-00002.parquet row 1"
    data = load_data(str(tmp_path), image_size=8, minival=2)
    assert data.sizes == {"train": 8, "minival": 2, "test": 2}


@pytest.mark.parametrize(
    ("names", "train", "test"),
    [
        (["a.parquet", "b.parquet"], 4, 0),
        (["train/0000.parquet", "validation/0000.parquet"], 2, 2),
        (["pets_train.parquet", "pets_test.parquet", "pets_val.parquet"], 2, 2),
        (["train-1.parquet", "train-2.parquet", "dev.parquet"], 4, 2),
    ],
)
def test_names_tell_the_split(tmp_path: Path, names: list[str], train: int, test: int) -> None:
    for name in names:
        write(tmp_path / name, range(2))
    dataset = read_dataset(str(tmp_path))
    assert (len(dataset.classes), len(dataset.test_classes)) == (train, test)


def test_a_parquet_file_beside_pictures_is_none_of_them(tmp_path: Path) -> None:
    write(tmp_path / "labels.parquet", range(2))
    for name in ("train/ant", "train/bee"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "0.png").write_bytes(picture(0))
    assert read_dataset(str(tmp_path)).train.name_of(0) == "train/ant/0.png"


def test_a_file_of_no_split(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", range(2))
    write(tmp_path / "more.parquet", range(2))
    with pytest.raises(ValueError, match=r"train, validation or test in its name, or none.*more\.parquet has not"):
        read_source(str(tmp_path))


def test_shards_without_training_pictures(tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", range(2))
    with pytest.raises(ValueError, match="must have parquet files for training"):
        read_source(str(tmp_path))


def test_shards_of_other_classes(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", range(2))
    write(tmp_path / "b.parquet", range(2), names=["bee", "ant"])
    with pytest.raises(ValueError, match=r"same columns and class names; .*b\.parquet has others"):
        read_source(str(tmp_path))


def test_several_classes_a_picture(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", range(3), labels=[[0, 2], [1], [2, 1, 0]], names=["x", "y", "z"])
    write(tmp_path / "b.parquet", range(2), labels=[[2], [0, 1]], names=["x", "y", "z"])
    dataset = read_dataset(str(tmp_path))
    assert dataset.class_names == ("x", "y", "z")
    assert dataset.train.lists is not None
    shares = dataset.train.lists.shares(np.array([4, 0, 2, 0]), 3)
    np.testing.assert_allclose(shares, [[0.5, 0.5, 0], [0.5, 0, 0.5], [1 / 3] * 3, [0.5, 0, 0.5]])
    assert shares.dtype == np.float32
    with pytest.raises(ValueError, match="one label to be packed"):
        load_data(str(tmp_path), image_size=8, minival=1)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0], None], "1 of 2 labels are null or empty, the first in row 1"),
        ([[], [1]], "1 of 2 labels are null or empty, the first in row 0"),
        ([[0, 5], [1]], r"below the number of class names, 2; .* has 5 at .* row 0"),
        ([[0], [1, -1]], r"0 or more; .* has -1 at .* row 1"),
    ],
)
def test_lists_of_labels_that_are_wrong(tmp_path: Path, labels: list[Any], message: str) -> None:
    path = write(tmp_path / "a.parquet", range(2), labels=pa.array(labels, pa.list_(pa.int64())))
    with pytest.raises(ValueError, match=message):
        read_source(str(path))


def test_lists_in_training_and_test_have_the_same_classes(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", range(2), labels=[[0], [1]])
    write(tmp_path / "test.parquet", range(2))
    with pytest.raises(ValueError, match="must have the same class names"):
        read_dataset(str(tmp_path))


# ---- what is read


def test_opening_shards_reads_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "train.parquet", range(10))

    def refuse(*_: Any) -> Any:
        raise AssertionError("it is read")

    monkeypatch.setattr(RowGroups, "_read", refuse)
    monkeypatch.setattr(parquet_files, "file_fingerprint", refuse)
    read_source(str(tmp_path))
    monkeypatch.setattr(parquet_files, "HASHED_BYTES", 100)
    read_source(str(path))


def test_the_fingerprint_of_shards(tmp_path: Path) -> None:
    write(tmp_path / "one" / "a.parquet", range(10))
    write(tmp_path / "moved" / "b.parquet", range(10))
    write(tmp_path / "labels" / "a.parquet", range(10), labels=[0, 1, 0, 1, 0, 1, 0, 1, 1, 0])
    write(tmp_path / "pictures" / "a.parquet", range(1000, 1010))
    write(tmp_path / "more" / "a.parquet", range(12))
    prints = [read_source(str(tmp_path / name)).fingerprint for name in ("one", "labels", "pictures", "more")]
    assert len(set(prints)) == 4
    assert read_source(str(tmp_path / "moved")).fingerprint == prints[0]


def groups_of(path: Path, held_bytes: int) -> tuple[RowGroups, list[int]]:
    """Row groups that note which of them is read."""
    with pq.ParquetFile(path) as file:
        groups = RowGroups([(path, file.metadata)], "image.bytes", held_bytes=held_bytes)
    reads: list[int] = []
    real = groups._read

    def noted(group: int) -> Any:
        reads.append(group)
        return real(group)

    groups._read = noted  # type: ignore[method-assign]
    return groups, reads


def test_row_groups_are_read_when_asked_for_and_few_are_held(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", range(400), row_group_size=10)
    groups, reads = groups_of(path, held_bytes=1)  # then four are held
    assert groups.runs is not None
    for row in (399, 0, 1, 12, 25, 8, 391):
        assert number_of(groups.at(row)) == row
        assert len(groups._held) <= 5
    assert reads == [39, 0, 1, 2]
    groups.at(35)
    groups.at(45)
    groups.at(15)
    assert reads[4:] == [3, 4, 1], "that used longest ago is read again"


def test_threads_that_want_the_same_row_group_read_it_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", range(300), row_group_size=30)
    groups, reads = groups_of(path, held_bytes=2**20)
    assert groups.runs is None, "all fit, so that any order is as cheap"
    with ThreadPoolExecutor(8) as pool:
        assert [number_of(one) for one in pool.map(groups.at, range(300))] == list(range(300))
    assert sorted(reads) == list(range(10))


def test_a_row_group_that_cannot_be_read_is_told_to_all_who_ask(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", range(20), row_group_size=10)
    groups, _ = groups_of(path, held_bytes=2**20)
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    for row in (0, 3):
        with pytest.raises(ValueError, match="must be a whole parquet file"):
            groups.at(row)
    assert number_of(groups.at(15)) == 15


def test_what_was_read_before_is_kept_in_a_file_of_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    asked: list[int] = []

    def at(row: int) -> bytes | None:
        asked.append(row)
        return None if row == 2 else bytes([row]) * (row + 1)

    kept = Kept(at)
    for _ in range(2):
        assert [kept.at(row) for row in (3, 0, 2, 7)] == [b"\3" * 4, b"\0", None, b"\7" * 8]
    assert asked == [3, 0, 2, 7, 2]
    assert list((tmp_path / "cache").iterdir()) == []


def test_where_nothing_can_be_kept_it_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "file" / "cache"))
    kept = Kept(lambda row: bytes([row]))
    assert [kept.at(5), kept.at(5)] == [b"\5", b"\5"]
