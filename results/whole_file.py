"""Writing a file whole or not at all: links are followed, and pipes and devices written into, not replaced."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    A pipe, or a device such as /dev/stdout, cannot be replaced by a file without taking it away from others: it is
    given the content as it is. Behind a link it is the file that the link names that is written.

    Args:
        path: of the file; its folder exists.
        content: all of it.

    Raises:
        OSError: the folder is none, the path is a folder, or the disk would not take it (names the path, and says what
            to do); a file that was there is as it was.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "this is a folder: name a file in it", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"{path.parent} is no folder: make it, or write elsewhere", str(path))
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            _replace(path.resolve(), content)
    except OSError as error:
        raise not_written(error, path) from error


def not_written(error: OSError, path: Path) -> OSError:
    """What to say of a file or a folder that an error kept from being written: its path, why, and what to do."""
    why = os.strerror(error.errno) if error.errno else str(error)
    remedy = "make room, or write elsewhere" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "write elsewhere"
    return OSError(error.errno, f"it was not written ({why}): {remedy}", str(path))


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".partial{os.getpid()}-{path.name}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
