"""Limits that nothing tells before a network is built: what is said, and raised, where one is broken."""

from __future__ import annotations


class OverLimit(Exception):
    """A network is over a limit of the search; the text names the limit, and what was measured."""


def check_memory(found_bytes: int, limit_bytes: float | None) -> None:
    """Raise OverLimit where a training step takes more memory than it may; None is no limit."""
    if limit_bytes is not None and (said := over_memory(found_bytes, limit_bytes)) is not None:
        raise OverLimit(said)


def over_memory(found_bytes: int, limit_bytes: float) -> str | None:
    """That a training step takes more memory than it may, in words; None where it does not."""
    if found_bytes <= limit_bytes:
        return None
    return f"peak_memory_bytes {found_bytes:,} is over the limit of {limit_bytes:,.0f}"
