"""Keeping the memory that a training step frees, so that the next step need not ask the system for it again.

glibc gives large blocks back at once, and the system then hands out zeroed pages one by one: thousands of page faults
a step, a few per cent of it, and more of a large network's step than of a small one's.
"""

from __future__ import annotations

import ctypes
import functools
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_NEVER = 2**31 - 1
_LARGEST = 2**30


@functools.cache
def keep_freed_memory() -> bool:
    """Have this process keep what it frees, blocks up to 1 GiB; says whether its C library could be told so."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library, which may not have this weakness
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
