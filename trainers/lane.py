"""`Lane`: candidates that share a GPU take turns for timing. Who times is alone; the others pause between two steps.

Two locked files a GPU, in the machine's folder for temporary files. Who trains holds `steps` shared. Who wants to time
holds `turn`, which the others see at their next step: they let go of `steps`, and go on when `turn` is free again. The
locks are the kernel's (flock), so that they end with the process that holds them, however it ends.
"""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 20.0
"""How long who wants to time waits for the others, at the most: some timings, an evaluation."""

_POLL_S = 0.002

log = logging.getLogger(__name__)


class Lane:
    """One process's part in a GPU's lane.

    Args:
        folder: of the GPU's lane, which all that share it name; made where it is not there.
        wait: returns when the device is done with all that this process asked of it.
        patience_s: how long `take` waits, at the most.

    Raises:
        OSError: the folder cannot be made or locked in.
    """

    def __init__(
        self, folder: Path, *, wait: Callable[[], object] = lambda: None, patience_s: float = PATIENCE_S
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder, self._wait, self._patience_s = folder, wait, patience_s
        self._steps = os.open(folder / "steps", os.O_RDWR | os.O_CREAT, 0o600)
        self._turn = os.open(folder / "turn", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._turn, fcntl.LOCK_SH)  # who times now clears the files of members that have ended
        self._member = os.open(folder / f"{os.getpid()}.member", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._member, fcntl.LOCK_SH)
        fcntl.flock(self._turn, fcntl.LOCK_UN)
        self._training = self._timing = self._alone = False

    def step(self) -> None:
        """Between two steps of a training: go on at once, or when nobody times any more. Costs a microsecond."""
        if self._timing:
            return
        if self._training:
            if _locked(self._turn, fcntl.LOCK_SH):
                fcntl.flock(self._turn, fcntl.LOCK_UN)
                return
            self.leave()
        try:  # an interrupt may come while it waits
            fcntl.flock(self._turn, fcntl.LOCK_SH)  # waits for who times
            fcntl.flock(self._steps, fcntl.LOCK_SH)
            self._training = True
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Hold nothing any more: for when this process computes nothing on the GPU for a while."""
        if self._timing:
            self.give_back()
        if self._training:
            try:
                self._wait()
            finally:
                fcntl.flock(self._steps, fcntl.LOCK_UN)
                self._training = False

    def take(self) -> bool:
        """Be alone, until `give_back`: waits for others that time, and for all others to pause.

        Returns:
            whether this process is alone; if not, others did not pause in time, and it may time all the same.
        """
        self.leave()  # before it waits, or two that want to time would wait for each other
        self._timing = True
        until = time.monotonic() + self._patience_s
        self._alone = _locked(self._turn, fcntl.LOCK_EX, until) and _locked(self._steps, fcntl.LOCK_EX, until)
        return self._alone

    def give_back(self) -> None:
        """Let the others go on."""
        fcntl.flock(self._steps, fcntl.LOCK_UN)  # first: who has the turn may count on the steps
        fcntl.flock(self._turn, fcntl.LOCK_UN)
        self._timing = self._alone = False

    def members(self) -> set[int]:
        """The ids of all processes that take part, this one among them."""
        found = set()
        for path in self._folder.glob("*.member"):
            try:
                file = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue
            try:
                if path.stem == str(os.getpid()) or not _locked(file, fcntl.LOCK_EX):
                    found.add(int(path.stem))
                elif self._alone:
                    path.unlink(missing_ok=True)  # of a process that has ended
            finally:
                os.close(file)
        return found

    def close(self) -> None:
        """Take part no more."""
        for file in (self._steps, self._turn, self._member):
            os.close(file)


def _locked(file: int, kind: int, until: float = 0.0) -> bool:
    """Whether the lock could be had, at once or until a moment of the monotonic clock."""
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_POLL_S)
        else:
            return True


@functools.cache
def lane_of(gpu: str, wait: Callable[[], object]) -> Lane | None:
    """This process's part in the lane of a GPU; None, after a warning, where files cannot be locked.

    Args:
        gpu: the GPU's UUID.
        wait: as in `Lane`.
    """
    folder = Path(tempfile.gettempdir()) / f"training-aware-nas-lanes-{os.getuid()}" / gpu
    try:
        return Lane(folder, wait=wait)
    except OSError as error:
        log.warning("candidates that share a GPU cannot take turns for timing: %s cannot be used (%s)", folder, error)
        return None
