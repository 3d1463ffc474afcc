"""Step times without data, and the memory of a step."""

from __future__ import annotations

import pytest
import torch

from search_spaces import Architecture
from trainers.devices import torch_device
from trainers.recipe import Recipe
from trainers.step_timer import RandomStep, StepTimer, peak_memory_bytes
from trainers.timing import StepTime

SMALL = Architecture.parse("stem_c8-fused_mbconv_k3_s1_e1_c8_n1-mbconv_k3_s2_e4_c16_n2_se0.25-head_c32")
CPU = torch.device("cpu")


def step(architecture: Architecture = SMALL, *, batch_size: int = 4, image_size: int = 16) -> RandomStep:
    recipe = Recipe(batch_size=batch_size)
    return RandomStep(architecture, image_size, recipe, num_classes=10, in_channels=3, device=CPU)


def test_a_step_over_and_over_moves_no_weight() -> None:
    made = step()
    before = [p.detach().clone() for p in made.network.parameters()]
    for _ in range(3):
        assert torch.isfinite(made())
    assert all(torch.equal(a, b) for a, b in zip(before, made.network.parameters(), strict=True))
    assert all(p.grad is not None for p in made.network.parameters())


def test_the_pictures_have_the_size_asked_for_whatever_the_anchors(monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[int] = []

    def note(timed: RandomStep, anchor: RandomStep, **options: object) -> StepTime:
        for made in (timed, anchor):
            made.network.register_forward_pre_hook(lambda _, args: sides.append(args[0].shape[-1]))
            made()
        return StepTime(1.0, 1.0, 1.0, 0.1, 0.1)

    monkeypatch.setattr("trainers.step_timer.time_steps", note)
    StepTimer(SMALL, 16, Recipe(batch_size=2), num_classes=10)(SMALL, 24)
    assert sides == [24, 16]


def test_a_larger_network_takes_longer() -> None:
    large = Architecture.parse("stem_c64-fused_mbconv_k3_s1_e4_c64_n3-head_c32")
    timed = StepTimer(SMALL, 16, Recipe(batch_size=4), num_classes=10, blocks=3)(large, 32)
    assert timed.low > 2  # some 200 times the macs


def test_memory_grows_with_the_batch_and_holds_at_least_weights_gradients_and_momentum() -> None:
    small, large = (peak_memory_bytes(step(batch_size=n), CPU) for n in (4, 32))
    weights = 4 * sum(p.numel() for p in step().network.parameters())
    assert small > 3 * weights
    maps = large - small  # 28 pictures more; what does not grow cancels
    assert maps > 28 * 4 * 8 * 8 * 8  # at least the stem's output, in float32


def test_memory_is_that_of_a_step_and_not_of_many() -> None:
    made = step()
    first = peak_memory_bytes(made, CPU)
    for _ in range(3):
        made()
    assert peak_memory_bytes(made, CPU) == pytest.approx(first, rel=0.02)


def test_memory_agrees_with_a_count_of_what_the_backward_pass_keeps() -> None:
    made = step(batch_size=64)
    made()  # what is measured in the first step is no part of it
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        made()
    saved = sum(kept.values())
    assert saved < peak_memory_bytes(made, CPU) < 2 * saved


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_memory_on_cuda_is_near_that_on_the_cpu() -> None:
    cuda = torch.device("cuda")
    made = RandomStep(SMALL, 64, Recipe(batch_size=64), num_classes=10, in_channels=3, device=cuda)
    assert peak_memory_bytes(made, cuda) > 0


def test_devices() -> None:
    assert torch_device("cpu") == CPU
    assert torch_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ValueError, match="device must be auto, cpu or cuda; got 'tpu'"):
        torch_device("tpu")
    with pytest.raises(ValueError, match="device must be auto, cpu or cuda; got 'gpu'"):
        StepTimer(SMALL, 16, Recipe(batch_size=2), device="gpu")
