"""Too little memory: which errors say so, and what a user is told of it. Without torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_SIGNS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "status_alloc_failed",  # cuBLAS and cuDNN
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, of a device or the machine; torch's by its name and text."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError | OSError) and any(sign in text for sign in _SIGNS)


@contextmanager
def memory_for(what: str, remedy: str) -> Iterator[None]:
    """While the block runs, too little memory is an error that says for what, and what to do.

    Raises:
        MemoryError: it did not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise MemoryError(f"memory must suffice for {what}, and does not ({lines[0]}): {remedy}") from error
