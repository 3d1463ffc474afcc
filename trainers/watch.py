"""`Watch`: a timing that is alone on its GPU, or says that it was not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import torch

from trainers.gpu_state import GpuState, disturbance, gpu_state
from trainers.lane import Lane, lane_of
from trainers.timing import PairedTiming, StepTime

T = TypeVar("T")


class Watch:
    """Holds the lane while its `with` block runs, and tells what disturbed a timing in it.

    Args:
        lane: that candidates on this device share; None where each has cores of its own.
        state: tells the device's state; None where nothing can.

    Attributes:
        waited_s: for how long others were waited for between steps.
    """

    def __init__(self, lane: Lane | None, state: Callable[[], GpuState | None] = lambda: None) -> None:
        self._lane, self._state = lane, state
        self._before: GpuState | None = None
        self._after: GpuState | None = None
        self._crowded = False
        self._disturbed: list[str] = []
        self._tries = 0
        self.waited_s = 0.0

    @property
    def is_shared(self) -> bool:
        """Whether others wait while something is timed."""
        return self._lane is not None

    def pause(self) -> None:
        """Between two steps of a training: where another process times on the device, wait until it is done."""
        if self._lane is not None:
            begun = time.perf_counter()
            self._lane.step()
            self.waited_s += time.perf_counter() - begun

    def leave(self) -> None:
        """Let others time at once: nothing is computed for a while, or any more."""
        if self._lane is not None:
            self._lane.leave()

    def __enter__(self) -> Watch:
        try:
            self._crowded = self._lane is not None and not self._lane.take()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._disturbed, self._tries = [], 0
        self._before = self._state()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lane is not None:
            self._lane.give_back()

    def accepts(self) -> bool:
        """Whether the timing that has just been made is to be kept: a disturbed one is made again, once."""
        self._after = self._state()
        self._tries += 1
        found = None
        if self._before is not None and self._after is not None:
            ours = {os.getpid()} if self._lane is None else self._lane.members()
            found = disturbance(self._before, self._after, ours)
        self._before = self._after
        if found is not None:
            self._disturbed.append(found)
        return found is None or self._tries > 1

    def noted(self, found: StepTime) -> StepTime:
        """The timing that was kept, with the device's state and with what disturbed it."""
        said = ["others trained on the GPU meanwhile: they did not pause in time"] if self._crowded else []
        if self._disturbed:
            said.append(f"measured again, since {self._disturbed[0]}")
            said += [f"the second time too, {other}" for other in self._disturbed[1:]]
        return found._replace(note="; ".join(said) or None, gpu=self._after)


class WatchedTiming:
    """A `PairedTiming` under watch: begins at its first step, and is made again, once, where it was disturbed.

    Args:
        make: a fresh timing.
        watch: of the device.

    Attributes:
        result: as of `PairedTiming`.
    """

    def __init__(self, make: Callable[[], PairedTiming], watch: Watch) -> None:
        self._make, self._watch = make, watch
        self._timing: PairedTiming | None = None
        self.result: StepTime | None = None

    def __call__(self, step: Callable[[], T]) -> T:
        """Take a step, and give what it gives."""
        if self.result is not None:
            return step()
        if self._timing is None:
            self._watch.__enter__()
            self._timing = self._make()
        given = self._timing(step)
        if (found := self._timing.result) is not None:
            if self._watch.accepts():
                self._watch.__exit__(None, None, None)
                self.result = self._watch.noted(found)
            else:
                self._timing = self._make()
        return given

    def so_far(self) -> StepTime | None:
        """The result, or what it is by the blocks so far; None where those are few, or others wait for its end."""
        if self.result is not None or self._timing is None or self._watch.is_shared:
            return self.result
        return self._timing.so_far()


def watch_of(device: torch.device) -> Watch:
    """The watch of a device: on a CPU there is nothing to watch."""
    if device.type != "cuda":
        return Watch(None)
    gpu = str(torch.cuda.get_device_properties(device).uuid).removeprefix("GPU-")
    return Watch(lane_of(gpu, torch.cuda.synchronize), lambda: gpu_state(gpu))
