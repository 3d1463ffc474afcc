"""Room for packs: the locks by which their users keep them, and the removal of those used longest ago."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import weakref
from pathlib import Path

GB = 10**9


class Lock:
    """The open lock of a pack, which is let go of when nothing refers to it any more.

    Args:
        folder: the pack's.
    """

    def __init__(self, folder: Path) -> None:
        self.file = os.open(folder.parent / f"{folder.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        weakref.finalize(self, os.close, self.file)


def make_room(packs: Path, limit_bytes: int, wanted_bytes: int, *, keep: str) -> None:
    """Remove the packs that were used longest ago, until what is there and what is wanted is within the limit.

    Those that some process uses stay.

    Args:
        keep: the key of the pack that is being made or opened.

    Raises:
        ValueError: what is wanted does not fit although all others are gone.
    """
    sizes = {path: size_of(path) for path in packs.iterdir() if path.is_dir()}
    own = sum(size for path, size in sizes.items() if path.name.startswith(keep)) + wanted_bytes
    if own > limit_bytes and wanted_bytes:
        raise ValueError(
            f"the decoded pictures must fit into the cache's limit of {limit_bytes / GB:g} GB; they take "
            f"{own / GB:.3g} GB: raise --cache-limit, choose a smaller image size, or keep them in memory "
            f"(--cache-limit 0)"
        )
    others = sorted((p for p in sizes if not p.name.startswith(keep)), key=_used_at)
    total = own + sum(sizes[path] for path in others)
    for path in others:
        if total <= limit_bytes:
            break
        with contextlib.suppress(BlockingIOError):
            lock = Lock(path.with_suffix(""))
            fcntl.flock(lock.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            total -= sizes[path]


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder; 0 where it cannot be read."""
    with contextlib.suppress(OSError):
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0


def _used_at(folder: Path) -> float:
    with contextlib.suppress(OSError):
        return (folder / "pack.json").stat().st_mtime
    return 0.0
