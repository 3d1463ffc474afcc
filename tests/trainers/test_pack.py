"""The proxy pack: made once, mapped by all, bounded, and never in the way where it cannot be made."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trainers import decode as decode_module
from trainers.cache import cache_folder
from trainers.data import Data, load_data
from trainers.pack import Mapped


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def decoded_pictures(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every picture that is decoded from now on."""
    seen: list[object] = []
    square = decode_module._square

    def noted(picture: Any, size: int) -> NDArray[np.uint8] | str:
        seen.append(picture)
        return square(picture, size)

    monkeypatch.setattr(decode_module, "_square", noted)
    return seen


def folder_of(root: Path, count: int = 6, *, grey: bool = False, side: int = 12) -> Path:
    rng = np.random.default_rng(0)
    for split, size in (("train", count), ("test", 2)):
        for name in ("ant", "bee"):
            (root / split / name).mkdir(parents=True)
            for number in range(size):
                shape = (side, side) if grey else (side, side, 3)
                Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(root / split / name / f"{number}.png")
    return root


def small(source: Path, **options: Any) -> Data:
    return load_data(str(source), **{"image_size": 8, "minival": 2, **options})


def packs() -> list[Path]:
    return sorted(path for path in (cache_folder() / "packs").glob("*") if path.is_dir())


def assert_same(one: Data, other: Data) -> None:
    for name in ("train", "minival", "test"):
        np.testing.assert_array_equal(getattr(one, name).images, getattr(other, name).images)
        np.testing.assert_array_equal(getattr(one, name).labels, getattr(other, name).labels)
    for name in ("class_names", "in_channels", "fingerprint", "unreadable"):
        assert getattr(one, name) == getattr(other, name)


def test_pictures_are_decoded_once(tmp_path: Path, decoded_pictures: list[object]) -> None:
    source = folder_of(tmp_path / "a")
    first = small(source)
    assert len(decoded_pictures) == 16
    again = small(source, seed=3)  # another minival of the same pack
    assert len(decoded_pictures) == 16
    assert_same(small(source), first)
    assert not np.array_equal(again.minival.images, first.minival.images)
    assert [path.name.endswith(".partial") for path in packs()] == [False]


@pytest.mark.parametrize("change", [{"image_size": 10}, {"max_unreadable": 0.5}])
def test_a_pack_is_of_its_settings(tmp_path: Path, decoded_pictures: list[object], change: dict[str, Any]) -> None:
    source = folder_of(tmp_path / "a")
    small(source)
    small(source, **change)
    assert len(decoded_pictures) == 32
    assert len(packs()) == 2


@pytest.mark.parametrize("grey", [False, True])
def test_it_holds_what_memory_would(tmp_path: Path, grey: bool) -> None:
    source = folder_of(tmp_path / "a", grey=grey)
    (source / "train" / "ant" / "bad.png").write_bytes(b"no picture")
    packed = small(source, max_unreadable=0.1)
    in_memory = small(source, max_unreadable=0.1, cache_limit_gb=0)
    assert_same(packed, in_memory)
    assert packed.unreadable == ("train/ant/bad.png",)
    assert packed.in_channels == (1 if grey else 3)
    assert isinstance(packed.train.stored, Mapped)
    assert not isinstance(in_memory.train.stored, Mapped)
    assert_same(small(source, max_unreadable=0.1), in_memory)  # opened again


def test_grey_pictures_before_one_in_colour(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", grey=True)
    Image.new("RGB", (12, 12), (200, 10, 90)).save(source / "train" / "bee" / "z.png")
    packed = small(source)
    assert_same(packed, small(source, cache_limit_gb=0))
    assert packed.in_channels == 3
    assert {path.name for path in packs()[0].iterdir()} == {
        "pack.json", "test-labels.npy", "test.npy", "train-labels.npy", "train.npy"
    }  # fmt: skip


def test_splits_share_what_is_stored(tmp_path: Path) -> None:
    data = small(folder_of(tmp_path / "a"))
    assert data.minival.stored is data.train.stored
    received = pickle.loads(pickle.dumps(data))
    assert received.minival.stored is received.train.stored
    assert_same(received, data)


def test_it_travels_as_a_name_and_its_parts_as_content(tmp_path: Path) -> None:
    data = small(folder_of(tmp_path / "a", count=200))
    assert data.train.stored.nbytes > 70_000
    assert len(pickle.dumps(data.train.stored)) < 1000
    part = data.train.stored[3:5]
    received = pickle.loads(pickle.dumps(part))
    np.testing.assert_array_equal(received, part)
    assert type(received) is np.ndarray


def test_writing_to_a_copy_changes_no_file(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a")
    first = small(source)
    before = first.train.images.copy()
    first.train.stored[:] = 7
    np.testing.assert_array_equal(small(source).train.images, before)


def test_another_machine_makes_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder_of(tmp_path / "a")
    data = small(source)
    sent, expected = pickle.dumps(data), data.train.images
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "elsewhere"))
    np.testing.assert_array_equal(pickle.loads(sent).train.images, expected)
    assert len(packs()) == 1
    shutil.rmtree(tmp_path / "elsewhere")
    (source / "train" / "ant" / "0.png").unlink()
    with pytest.raises(ValueError, match="must be the same on every machine"):
        pickle.loads(sent)
    shutil.rmtree(source)
    with pytest.raises(FileNotFoundError, match="must be a registered name"):
        pickle.loads(sent)


def test_data_that_changed_under_a_pack_are_packed_anew(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a")
    before = small(source)
    file = source / "train" / "ant" / "0.png"
    size = file.stat().st_size
    content = bytearray(file.read_bytes())
    Image.fromarray(np.full((12, 12, 3), 7, np.uint8)).save(file)
    changed = file.read_bytes().ljust(size, b"\0")
    assert len(changed) == size == len(content)
    file.write_bytes(changed)  # name and size are as before
    after = small(source)
    assert after.fingerprint == before.fingerprint
    assert_same(after, small(source, cache_limit_gb=0))
    everything = np.concatenate([after.train.images, after.minival.images])
    assert (everything == 7).all((1, 2, 3)).any()


def cut(folder: Path) -> None:
    with (folder / "train.npy").open("r+b") as file:
        file.truncate(300)


def emptied(folder: Path) -> None:
    size = (folder / "train.npy").stat().st_size
    with (folder / "train.npy").open("r+b") as file:
        file.seek(128)
        file.write(b"\0" * (size - 128))


def without_labels(folder: Path) -> None:
    (folder / "test-labels.npy").unlink()


def rubbish(folder: Path) -> None:
    (folder / "pack.json").write_text("{")


def of_another_form(folder: Path) -> None:
    (folder / "pack.json").write_text("[1]")


@pytest.mark.parametrize("damage", [cut, emptied, without_labels, rubbish, of_another_form])
def test_a_damaged_pack_is_made_anew(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    source = folder_of(tmp_path / "a")
    expected = small(source, cache_limit_gb=0)
    small(source)
    damage(packs()[0])
    assert_same(small(source), expected)
    assert "is damaged" in caplog.text
    caplog.clear()
    assert_same(small(source), expected)
    assert not caplog.text


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a")
    small(source)
    folder = packs()[0]
    folder.rename(folder.with_name(folder.name + ".partial"))
    (folder.with_name(folder.name + ".partial") / "train-3.npy").write_bytes(b"half")
    assert_same(small(source), small(source, cache_limit_gb=0))
    assert packs() == [folder]


CHILD = """
import sys, resource, time
from trainers.data import load_data
if sys.argv[2] != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    data = load_data(sys.argv[1], image_size=int(sys.argv[3]), minival=2)
    print(int(data.train.images.sum()), flush=True)
    sys.stdin.read()
except (OSError, ValueError) as error:
    print("error:", error)
"""


def child(source: Path, *, file_limit: int = 0, image_size: int = 8) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", CHILD, str(source), str(file_limit), str(image_size)]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ))


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", count=20)
    said, _ = child(source, file_limit=4000).communicate(timeout=60)
    assert said.startswith("error: there must be room for the decoded pictures in ")
    assert "NAS_CACHE" in said
    assert "--cache-limit 0" in said
    assert packs() == []
    assert_same(small(source), small(source, cache_limit_gb=0))


def test_two_processes_make_one_pack(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", count=150)
    expected = str(small(source, cache_limit_gb=0).train.images.sum(dtype=np.int64))
    both = [child(source) for _ in range(2)]
    for process in both:
        assert process.communicate(timeout=60)[0].strip() == expected
    assert len(packs()) == 1


def test_a_cache_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a")
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OSError, match=r"the cache must be a folder that can be written; .* Set NAS_CACHE"):
        small(source)
    assert small(source, cache_limit_gb=0).sizes["train"] == 10


def test_packs_used_longest_ago_make_room(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", count=300)
    for size in (8, 9, 10):
        small(source, image_size=size, minival=100)
        for number, path in enumerate(sorted(packs(), key=lambda p: (p / "pack.json").stat().st_mtime)):
            os.utime(path / "pack.json", (number, number))
    sizes = {side: 604 * 3 * side**2 for side in (8, 9, 10, 11)}
    small(source, image_size=8, minival=100)  # now the newest
    limit = (sizes[8] + sizes[11] + 50_000) / 1e9
    small(source, image_size=11, minival=100, cache_limit_gb=limit)
    left = {json.loads((path / "pack.json").read_text())["request"]["image_size"] for path in packs()}
    assert left == {8, 11}


def test_a_pack_in_use_is_not_removed(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", count=300)
    process = child(source, image_size=16)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()  # it holds its pack now
        used = packs()[0]
        limit = (604 * 3 * 64 + 50_000) / 1e9
        small(source, cache_limit_gb=limit)
        assert used in packs()
    finally:
        process.communicate(timeout=60)
    small(source, image_size=7, cache_limit_gb=limit)
    assert used not in packs()


def test_pictures_over_the_limit_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"limit of 1e-06 GB; they take .*raise --cache-limit"):
        small(folder_of(tmp_path / "a"), cache_limit_gb=1e-6)
    assert packs() == []


@pytest.mark.parametrize("limit", [-1.0, float("nan")])
def test_limits_without_sense(tmp_path: Path, limit: float) -> None:
    with pytest.raises(ValueError, match="cache_limit_gb must be at least 0"):
        small(folder_of(tmp_path / "a"), cache_limit_gb=limit)


def test_opening_a_pack_notes_that_it_was_used(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a")
    small(source)
    os.utime(packs()[0] / "pack.json", (1, 1))
    small(source)
    assert time.time() - (packs()[0] / "pack.json").stat().st_mtime < 60
