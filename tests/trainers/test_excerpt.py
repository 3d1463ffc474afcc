"""Excerpts: pictures as they are, no one twice, and none of the test in the training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainers.datasets import read_dataset
from trainers.decode import as_file, side_of
from trainers.excerpt import write_excerpt


def source(path: Path, *, test: bool) -> str:
    """60 pictures of 3 classes, each of one colour that is its number; with or without 20 for the test."""
    images = np.repeat(np.arange(80, dtype=np.uint8), 8 * 8 * 3).reshape(80, 8, 8, 3)
    labels = np.arange(80) % 3
    parts = {"x_train": images[:60], "y_train": labels[:60]}
    if test:
        parts |= {"x_test": images[60:], "y_test": labels[60:]}
    np.savez(path, **parts)
    return str(path)


def numbers(path: Path) -> list[tuple[int, int]]:
    """Of each picture its number and its class."""
    there = read_dataset(str(path)).train
    first = [
        np.asarray(Image.open(__import__("io").BytesIO(as_file(there.at(i)))))[0, 0, 0]
        for i in range(len(there.labels))
    ]
    return [(int(number), int(label)) for number, label in zip(first, there.labels, strict=True)]


@pytest.mark.parametrize("test", [True, False])
def test_an_excerpt_is_of_the_source_and_its_parts_are_apart(tmp_path: Path, test: bool) -> None:
    dataset = read_dataset(source(tmp_path / "all.npz", test=test))
    files = write_excerpt(dataset, tmp_path / "few", train=30, test=10, seed=4)
    train, kept = (numbers(path) for path in files)
    assert (len(set(train)), len(set(kept))) == (30, 10)
    assert all(label == number % 3 for number, label in train + kept), "a picture keeps its class"
    assert not set(train) & set(kept)
    assert all((number >= 60) == test for number, _ in kept)
    assert all(number < 60 for number, _ in train)
    assert [number for number, _ in train] != sorted(number for number, _ in train), "in no order"


def test_the_seed_decides_and_files_that_are_there_are_left(tmp_path: Path) -> None:
    dataset = read_dataset(source(tmp_path / "all.npz", test=True))
    found = [
        numbers(write_excerpt(dataset, tmp_path / name, train=30, test=10, seed=seed)[0])
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert found[0] == found[1] != found[2]
    assert numbers(write_excerpt(dataset, tmp_path / "a", train=30, test=10, seed=2)[0]) == found[0]


@pytest.mark.parametrize(("train", "test"), [(61, 10), (30, 21), (0, 10), (30, 0)])
def test_more_than_there_are_is_refused(tmp_path: Path, train: int, test: int) -> None:
    dataset = read_dataset(source(tmp_path / "all.npz", test=True))
    with pytest.raises(ValueError, match="an excerpt must have from 1 to"):
        write_excerpt(dataset, tmp_path / "few", train=train, test=test, seed=0)
    assert not (tmp_path / "few").exists()


def test_files_stay_the_files_they_are(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (12, 10), (i, 0, 0)).save(tmp_path / "photos" / name / f"{i}.jpg")
    dataset = read_dataset(str(tmp_path / "photos"))
    train, test = write_excerpt(dataset, tmp_path / "few", train=6, test=2, seed=0)
    files = {path.read_bytes() for path in (tmp_path / "photos").rglob("*.jpg")}
    excerpt = read_dataset(str(train), str(test))
    assert excerpt.class_names == ("cat", "dog")
    assert all(excerpt.train.at(i) in files for i in range(6))
    assert side_of(excerpt.train.at(0)) == 10
