"""One process at a time at a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(path: Path, otherwise: str) -> Iterator[None]:
    """While the block runs, no other process is in such a block with the same file.

    Args:
        path: a file that is never replaced, since a lock is on what it is now.
        otherwise: what the error says.

    Raises:
        BlockingIOError: another process is.
    """
    descriptor = os.open(path, os.O_RDWR)  # NFS locks no file that is opened to be read only
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise BlockingIOError(otherwise) from error
    try:
        yield
    finally:
        os.close(descriptor)
