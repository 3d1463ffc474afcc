"""Writing a file: whole or not at all, into pipes and through links without taking their place."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from results.whole_file import write_whole


def test_a_file_is_replaced_and_nothing_else_left(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("before")
    for name in ("x", "new"):
        write_whole(tmp_path / name, b"content")
        assert (tmp_path / name).read_bytes() == b"content"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "x"]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for target in ("there/kept", "there/new"):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(target)
        write_whole(tmp_path / "link", b"content")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / target).read_bytes() == b"content"


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_whole(pipe, b"content")
    reader.join(timeout=10)
    assert got == [b"content"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_what_cannot_be_is_said_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="this is a folder: name a file in it"):
        write_whole(tmp_path, b"")
    with pytest.raises(FileNotFoundError, match=r"none is no folder: make it, or write elsewhere.*none/x"):
        write_whole(tmp_path / "none" / "x", b"")
    assert list(tmp_path.iterdir()) == []
