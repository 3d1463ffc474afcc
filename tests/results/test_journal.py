"""The journal: what was appended is there, whatever killed the writer; what is torn is cut off or named."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.journal import Event, Journal, read_events

EVENTS: list[Event] = [
    {"event": "asked", "number": 0, "text": "ä → ∞ \n \u2028"},
    {"event": "measured", "number": 0, "measurement": {"accuracy": 0.1 + 0.2, "step_time": 1e-300}},
    {"event": "told", "number": 0, "reward": 1 / 3},
]

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def write(path: Path, events: list[Event]) -> bytes:
    journal = Journal(path)
    for event in events:
        journal.append(event)
    journal.close()
    return path.read_bytes()


def events_of(path: Path, start: int = 0) -> list[Event]:
    return [event for event, _ in read_events(path, start)]


@settings(max_examples=30)
@given(st.lists(st.dictionaries(st.text(), PLAIN, max_size=3).map(lambda d: {**d, "event": "x"}), max_size=5))
def test_what_is_appended_is_read_back(events: list[Event]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "journal.jsonl")
        write(path, events)
        assert events_of(path) == events
        ends = [end for _, end in read_events(path)]
        assert [events_of(path, start) for start in (0, *ends)] == [events[n:] for n in range(len(events) + 1)]


def test_each_line_is_durable_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "journal.jsonl", []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(path.read_bytes()))
    whole = write(path, EVENTS)
    lines = whole.splitlines(keepends=True)
    assert synced == [b"".join(lines[: n + 1]) for n in range(len(EVENTS))]


def test_a_torn_last_line_is_cut_off_wherever_it_tore(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    whole = write(path, EVENTS)
    before = len(b"".join(whole.splitlines(keepends=True)[:-1]))
    for cut in range(before, len(whole)):
        path.write_bytes(whole[:cut])
        assert events_of(path) == EVENTS[:-1], "a reader leaves the torn line out, and the file as it is"
        assert path.stat().st_size == cut
        assert write(path, []) == whole[:before]
        assert write(path, EVENTS[-1:]) == whole


@pytest.mark.parametrize("whole_lines", [0, 1])
def test_a_torn_last_line_of_any_length_is_cut_off(tmp_path: Path, whole_lines: int) -> None:
    path = tmp_path / "journal.jsonl"
    whole = b'{"event":"x"}\n' * whole_lines
    for length in (1, 65535, 65536, 65537, 200_000):
        path.write_bytes(whole + b"x" * length)
        assert write(path, []) == whole


@pytest.mark.parametrize(
    "broken",
    [b"", b'{"event":"as', b"\x00\x00", b"\xff\xfe", b"3", b"[1]", b'{"number":3}'],
    ids=["empty", "torn", "zeros", "no text", "number", "list", "no event"],
)
def test_a_broken_line_that_is_not_the_last_is_named(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    lines = write(path, EVENTS).splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], broken + b"\n", lines[2]]))
    with pytest.raises(ValueError, match=r"line 3: not a journal line .* restore the file from a copy"):
        events_of(path)
    with pytest.raises(ValueError, match="line 3: not a journal line"):  # lines count from the start of the file
        events_of(path, len(lines[0]))


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append(EVENTS[0])
    with pytest.raises(BlockingIOError, match="another process is writing this run"):
        Journal(path)
    code = "import sys, pathlib; from results.journal import Journal; Journal(pathlib.Path(sys.argv[1]))"
    other = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "BlockingIOError" in other.stderr
    assert "another process is writing this run; wait for it, or stop it" in other.stderr
    assert events_of(path) == EVENTS[:1]
    journal.close()
    journal.close()  # twice does no harm
    write(path, EVENTS[1:])
    assert events_of(path) == EVENTS


def test_a_refused_writer_leaves_the_line_being_written_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    with path.open("ab") as file:
        file.write(b'{"event":"as')  # the other process is in the midst of a line
    with pytest.raises(BlockingIOError):
        Journal(path)
    assert path.read_bytes() == b'{"event":"as'
    journal.close()


def no_space_after(bytes_left: int, write: Any = os.write) -> Any:
    """An os.write of a disk on which so much is free."""

    def limited(fd: int, data: bytes) -> int:
        nonlocal bytes_left
        if not bytes_left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done: int = write(fd, data[:bytes_left])
        bytes_left -= done
        return done

    return limited


@pytest.mark.parametrize("free", [0, 1, 20])
def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    path = tmp_path / "journal.jsonl"
    before = write(path, EVENTS[:2])
    journal = Journal(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", no_space_after(free))
        with pytest.raises(OSError, match="No space left on device") as caught:
            journal.append(EVENTS[2])
    assert caught.value.errno == errno.ENOSPC
    assert re.search(r"every line before is safe: make room, then go on with `nas resume ", str(caught.value))
    assert path.read_bytes() == before
    journal.append(EVENTS[2])  # room was made
    journal.close()
    assert events_of(path) == EVENTS


def test_a_disk_that_fails_to_sync_leaves_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append(EVENTS[0])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="cannot write the journal"):
            journal.append(EVENTS[1])
    journal.close()
    assert events_of(path) == EVENTS[:1]


def test_a_line_that_takes_several_writes_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    whole = write(tmp_path / "journal.jsonl", EVENTS)
    assert [json.loads(line) for line in whole.splitlines()] == EVENTS


def test_what_is_no_json_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    with pytest.raises(ValueError, match="Out of range float"):
        journal.append({"event": "told", "reward": float("nan")})
    journal.close()
    assert journal.path.read_bytes() == b""
