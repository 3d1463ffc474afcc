"""An append-only file of JSON lines with one writer, durable line by line.

The write-ahead log of a run: whatever happened is a line before it has any effect, so that a process
killed at any moment leaves at most one torn last line, which is cut off when the file is next opened.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class Journal:
    """The writing end of a journal; holds the lock until closed.

    Args:
        path: the file; made where it does not exist.

    Raises:
        BlockingIOError: another process holds the lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()  # lines of two threads do not mix
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            _lock(self._fd)
        except BlockingIOError as error:
            os.close(self._fd)
            raise BlockingIOError(
                errno.EAGAIN, "another process is writing this run; wait for it, or stop it, then try again", str(path)
            ) from error
        self.size = _whole_lines(path)
        os.ftruncate(self._fd, self.size)
        self._synced_at, self._synced = time.monotonic(), True

    def append(self, event: Event, *, durable: bool = True) -> None:
        """Write one line, and make it durable, with all before it.

        Args:
            durable: False lets the line wait for the next durable one, or a second, or `sync`, whatever comes first
                to pass here; it outlives this process all the same, but perhaps not the machine.

        Raises:
            OSError: the disk would not take it; the file is as it was before.
        """
        line = (json.dumps(event, separators=(",", ":"), allow_nan=False) + "\n").encode()
        with self._lock:
            self._append(line, durable)

    def _append(self, line: bytes, durable: bool) -> None:
        written = 0
        try:
            while written < len(line):
                written += os.write(self._fd, line[written:])
            self._synced = False
            if durable or time.monotonic() - self._synced_at > 1.0:
                self._sync()
        except OSError as error:
            os.ftruncate(self._fd, self.size)
            raise OSError(
                error.errno,
                f"cannot write the journal ({error.strerror}); every line before is safe: "
                f"make room, then go on with `nas resume {self.path.parent}`",
                str(self.path),
            ) from error
        self.size += len(line)

    def sync(self) -> None:
        """Make every line durable that is not yet."""
        with self._lock:
            self._sync()

    def _sync(self) -> None:
        if not self._synced:
            os.fsync(self._fd)
            self._synced_at, self._synced = time.monotonic(), True

    def close(self) -> None:
        """Make every line durable, and let go of the file and its lock."""
        if self._fd >= 0:
            self.sync()
            os.close(self._fd)
            self._fd = -1


def _lock(fd: int) -> None:
    """Take the lock; not at the first try alone, since `is_written` holds it for an instant."""
    for pause_s in (0.02, 0.1):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause_s)
        else:
            return
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_written(path: Path) -> bool | None:
    """Whether a process holds a journal open for writing; None where the file system does not tell.

    A file system that is shared over a network may say no of a process on another machine.
    """
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # let go when the file is closed
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def read_events(path: Path, start: int = 0) -> Iterator[tuple[Event, int]]:
    """The events from byte `start` on, each with the byte after it; a torn last line is left out.

    Raises:
        ValueError: a line, other than a torn last one, is no event (names the line).
    """
    position = start
    with path.open("rb") as file:
        file.seek(start)
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            position += len(line)
            try:
                event = json.loads(line)
                if not isinstance(event, dict) or "event" not in event:
                    raise ValueError(f"it must be an object with an `event`; got {line[:80]!r}")
            except ValueError as error:
                whole = number + (_lines_before(path, start) if start else 0)
                raise ValueError(
                    f"{path}, line {whole}: not a journal line ({error}). The journal is append-only: restore the file "
                    f"from a copy, or cut it before that line to lose what came after"
                ) from error
            yield event, position


def read_kind(path: Path, kind: str) -> Iterator[Event]:
    """The events of one kind, by a look at the beginning of each line: the others are not parsed.

    Raises:
        ValueError: as `read_events`, where a line of the kind is broken.
    """
    begins = json.dumps({"event": kind}, separators=(",", ":"))[:-1].encode()  # as `Journal` writes it
    with path.open("rb") as file:
        for line in file:
            if line.startswith(begins) and line.endswith(b"\n"):
                try:
                    yield json.loads(line)
                except ValueError:
                    yield from (event for event, _ in read_events(path) if event["event"] == kind)  # names the line


def _lines_before(path: Path, end: int) -> int:
    with path.open("rb") as file:
        return file.read(end).count(b"\n")


def _whole_lines(path: Path) -> int:
    """The size of the file without a torn last line."""
    end = path.stat().st_size
    with path.open("rb") as file:
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0
