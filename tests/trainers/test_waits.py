"""What a device waits for pictures, on a clock of one's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trainers.waits import waited_for

LAUNCH_S, STEP_S, STEPS = 0.01, 1.0, 101


class Machine:
    """A device that works off what it is given, and a host that reads pictures ahead of it, two batches at most."""

    def __init__(self, read_s: float) -> None:
        self.now = self.busy_until = self.idle_s = 0.0
        self.read_s = read_s

    def clock(self) -> float:
        return self.now

    def settle(self) -> None:
        self.now = max(self.now, self.busy_until)

    def batches(self) -> Iterator[int]:
        ready = [0.0, 0.0]  # when the readers are free for another
        for number in range(STEPS):
            reader = number % len(ready)
            there = ready[reader] + len(ready) * self.read_s
            self.now = max(self.now, there)
            ready[reader] = self.now
            yield number

    def step(self) -> None:
        """Launched at once, where the device does not lag behind by more than thirty: then the host waits for it."""
        self.now = max(self.now + LAUNCH_S, self.busy_until - 30 * STEP_S)
        self.idle_s += max(0.0, self.now - self.busy_until)
        self.busy_until = max(self.now, self.busy_until) + STEP_S


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize("read_s", [0.05, 0.8, 1.5, 4.0])
def test_it_is_what_the_device_stands_idle(read_s: float, every: int) -> None:
    machine, waited_s, got = Machine(read_s), 0.0, []
    for number, wait_s in waited_for(machine.batches(), STEPS, settle=machine.settle, every=every, clock=machine.clock):
        machine.step()
        waited_s += wait_s
        got.append(number)
    machine.settle()
    assert got == list(range(STEPS))
    assert waited_s / machine.now == pytest.approx(machine.idle_s / machine.now, abs=0.06)
    if read_s < STEP_S:
        assert waited_s / machine.now < 0.05, "pictures come faster than they are needed"


def test_what_the_host_waits_while_the_device_computes_is_not_counted() -> None:
    machine = Machine(read_s=0.8)
    naive_s, batches = 0.0, machine.batches()
    for _ in range(STEPS):
        asked = machine.now
        next(batches)
        naive_s += machine.now - asked
        machine.step()
    assert naive_s > 0.5 * STEPS, "timed without waiting for the device, it would be"
