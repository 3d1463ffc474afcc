"""Batch norm over processes: the statistics' type under autocast, and what of torch's own it keeps to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

from trainers.group import SyncedBatchNorm2d, synced


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path) -> Iterator[None]:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def trained(layer: nn.BatchNorm2d, batches: int) -> list[torch.Tensor]:
    """Outputs and gradients of a few batches, which autocast has as bf16."""
    chance, found = torch.Generator().manual_seed(0), []
    conv = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.eye(3)[:, :, None, None])
    for _ in range(batches):
        x = torch.randn(8, 3, 6, 6, generator=chance).mul(2).add(5).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(conv(x))
        y.float().square().mul(torch.arange(8.0).view(8, 1, 1, 1)).sum().backward()
        assert x.grad is not None
        found += [y, x.grad]
    return found


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
def test_under_autocast_it_is_torchs_own(momentum: float | None, affine: bool) -> None:
    ours, theirs = (nn.BatchNorm2d(3, momentum=momentum, affine=affine) for _ in range(2))
    synced(ours)
    assert type(ours) is SyncedBatchNorm2d
    torch.manual_seed(0)
    found = trained(ours, 3)
    torch.manual_seed(0)
    expected = trained(theirs, 3)
    assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in expected]
    assert found[0].dtype == torch.bfloat16
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)
    for name, kept in theirs.state_dict().items():  # of the same bf16 pictures, so to float32's rounding
        torch.testing.assert_close(
            ours.state_dict()[name], kept, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )
