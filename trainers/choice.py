"""Which of two ways to compute the same thing is faster here: measured once, and kept for this machine.

The first measurement is the one that counts, in this process and in every other on this machine: so a candidate that is
evaluated again is computed as it was before.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

from trainers.cache import cache_folder
from trainers.devices import processor_name

MARGIN = 1.1
"""As many times as fast as the usual way the other must be to be taken: one measurement is not the last word."""

REPETITIONS = 5
"""Of each way by turns; the fastest counts, since other processes can only slow one down."""

Case = tuple[str | int, ...]
"""What is computed: a name, and the sizes that its speed depends on."""


def is_faster(case: Case, ways: Callable[[], tuple[Callable[[], object], Callable[[], object]]]) -> bool:
    """Whether the second of two ways is clearly faster on this machine, with as many threads as torch now has.

    Args:
        case: what is computed.
        ways: makes the usual way and the other; called where the case is not known yet.
    """
    known = _measured(torch.get_num_threads())
    if case not in known.faster:
        known.note(case, *_seconds(*ways()))
    return known.faster[case]


class Measured:
    """What was measured, in a file that processes share: a line a case, of which the first counts.

    Args:
        path: of the file; where it cannot be read or written, what is measured is this process's own.
    """

    def __init__(self, path: Path) -> None:
        self.faster: dict[Case, bool] = {}
        self._path = path
        self._read()

    def note(self, case: Case, usual: float, other: float) -> None:
        """Note the seconds of both ways, unless another process noted some before."""
        line = json.dumps({"case": case, "usual": usual, "other": other}) + "\n"
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(file, line.encode())  # in one piece, so that the lines of two processes do not mix
            finally:
                os.close(file)
            self._read()
        self.faster.setdefault(case, usual > MARGIN * other)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            for line in self._path.read_text(errors="replace").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):  # a line that a full disk cut off
                    noted = json.loads(line)
                    self.faster.setdefault(tuple(noted["case"]), noted["usual"] > MARGIN * noted["other"])


@functools.cache
def _measured(threads: int) -> Measured:
    machine = [processor_name(), torch.backends.cpu.get_cpu_capability(), torch.__version__, threads]
    name = hashlib.blake2b(json.dumps(machine).encode(), digest_size=8).hexdigest()
    return Measured(cache_folder() / "faster" / f"{name}.jsonl")


def _seconds(usual: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    fastest = [float("inf"), float("inf")]
    for _ in range(REPETITIONS):
        for place, way in enumerate((usual, other)):
            begun = time.perf_counter()
            way()
            fastest[place] = min(fastest[place], time.perf_counter() - begun)
    return fastest[0], fastest[1]
