"""What a training step frees stays with the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource, torch
from trainers.allocator import keep_freed_memory
torch.set_num_threads(1)
if {kept}:
    assert keep_freed_memory()
def step():
    return [torch.ones(12_000_000) for _ in range(4)]
for _ in range(5):
    step()  # the heap grows in the first steps
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc's allocator")
def test_a_step_no_longer_asks_the_system_for_its_memory() -> None:
    def faults(*, kept: bool) -> int:
        ended = subprocess.run(
            [sys.executable, "-c", CODE.format(kept=kept)], capture_output=True, text=True, check=True
        )
        return int(ended.stdout)

    assert faults(kept=True) < 0.05 * faults(kept=False)
