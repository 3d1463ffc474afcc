"""The convolutions with a second way of being trained: that both ways are one, and which one is taken."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces import PUBLISHED
from trainers import choice, convolution
from trainers.cache import cache_folder
from trainers.choice import Measured, is_faster
from trainers.convolution import Conv2d, ShiftedDepthwise, product, weight_product
from trainers.network import build_network


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in double precision, channels last."""
    made = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return made.to(memory_format=torch.channels_last).requires_grad_()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[choice.Case]:
    """Every case is decided for the other way; gives the cases asked about."""
    asked: list[choice.Case] = []

    def always(case: choice.Case, ways: object) -> bool:
        asked.append(case)
        return True

    monkeypatch.setattr(convolution, "is_faster", always)
    return asked


# Values and gradients ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_shifted_has_the_values_and_the_gradients_of_torch(kernel: int, stride: int) -> None:
    for height, width, padding in itertools.product((1, 2, 3, 4, 7), (1, 2, 4), {0, 1, kernel // 2}):
        if min(height, width) + 2 * padding < kernel:
            continue
        x, weight = drawn(3, 6, height, width), drawn(6, 1, kernel, kernel, seed=1)
        expected = F.conv2d(x, weight, None, stride, padding, groups=6)
        found: Tensor = ShiftedDepthwise.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
        assert torch.equal(found, expected)
        gradient = drawn(*expected.shape, seed=2).detach()
        theirs = torch.autograd.grad(expected, (x, weight), gradient)
        ours = torch.autograd.grad(found, (x, weight), gradient)
        for one, other in zip(ours, theirs, strict=True):
            assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)


def test_shifted_is_the_derivative() -> None:
    def both(x: Tensor, weight: Tensor) -> Tensor:
        y: Tensor = ShiftedDepthwise.apply(x, weight, 2, 1)  # type: ignore[no-untyped-call]
        return y

    assert torch.autograd.gradcheck(both, (drawn(2, 3, 4, 3), drawn(3, 1, 3, 3, seed=1)))
    weight_alone = drawn(3, 1, 3, 3, seed=1)
    assert torch.autograd.gradcheck(lambda w: both(drawn(2, 3, 4, 3).detach(), w), (weight_alone,))


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("way", [product, weight_product])
def test_a_product_has_the_values_and_the_gradients_of_torch(way: convolution.Way, biased: bool) -> None:
    for height, width in [(1, 1), (2, 3), (4, 4), (16, 9)]:
        x, weight = drawn(3, 6, height, width), drawn(5, 6, 1, 1, seed=1)
        bias = torch.randn(5, dtype=torch.float64).requires_grad_() if biased else None
        expected, found = F.conv2d(x, weight, bias), way(x, weight, bias)
        assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
        assert found.is_contiguous(memory_format=torch.channels_last)
        known = [t for t in (x, weight, bias) if t is not None]
        gradient = drawn(*expected.shape, seed=2).detach()
        theirs, ours = (torch.autograd.grad(y, known, gradient) for y in (expected, found))
        for one, other in zip(ours, theirs, strict=True):
            assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)


def test_a_weight_product_gives_what_is_asked_for() -> None:
    weight = drawn(2, 3, 1, 1, seed=1)
    assert torch.autograd.gradcheck(weight_product, (drawn(2, 3, 4, 2), weight, drawn(1, 2, 1, 1)[0, :, 0, 0]))
    assert torch.autograd.gradcheck(lambda w: weight_product(drawn(2, 3, 4, 2).detach(), w, None), (weight,))
    assert torch.autograd.gradcheck(lambda x: weight_product(x, weight.detach(), None), (drawn(2, 3, 4, 2),))


def test_a_network_has_the_same_gradients(taken: list[choice.Case], monkeypatch: pytest.MonkeyPatch) -> None:
    def gradients() -> dict[str, Tensor]:
        network = build_network(PUBLISHED["efficientnetv2-b0"], 10, generator=torch.Generator().manual_seed(0))
        network = network.double().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        loss = F.cross_entropy(network(drawn(16, 3, 48, 48).detach()), torch.arange(16) % 10)
        loss.backward()  # type: ignore[no-untyped-call]
        return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}

    ours = gradients()
    assert {case[0] for case in taken} == {"shifted", "product", "weights"}
    for case in taken:
        longest = max(side for side in case[4:6] if isinstance(side, int))
        assert (longest > convolution.LONGEST_SIDE) == (case[0] == "weights")
    monkeypatch.setattr(convolution, "is_faster", lambda case, ways: False)
    for name, value in gradients().items():
        assert (ours[name] - value).norm() <= 1e-8 * value.norm() + 1e-12, name


# When the other way is looked at ----------------------------------------------------------------------------------


def test_only_training_on_small_maps_asks(taken: list[choice.Case]) -> None:
    depthwise = Conv2d(4, 4, 3, padding=1, groups=4, bias=False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    small = torch.randn(2, 4, 4, 4).to(memory_format=torch.channels_last)
    depthwise(small)
    assert taken == [("shifted", "torch.float32", 2, 4, 4, 4, 4, 3, 3, 1, 1, 1)]
    taken.clear()
    with torch.no_grad():
        depthwise(small)
    depthwise(torch.randn(2, 4, 9, 4).to(memory_format=torch.channels_last))
    depthwise(torch.randn(2, 4, 4, 4))
    depthwise.requires_grad_(False)(small)
    for other in (
        Conv2d(4, 8, 3, padding=1, groups=4),
        Conv2d(4, 4, 3, padding=1),
        Conv2d(4, 4, 3, padding="same", groups=4),
        Conv2d(4, 4, 3, padding=2, dilation=2, groups=4, bias=False),
        Conv2d(4, 4, (3, 1), padding=(1, 0), groups=4, bias=False),
        Conv2d(4, 4, 3, padding=1, groups=4, bias=False, padding_mode="reflect"),
        Conv2d(4, 8, 1, stride=2),
    ):
        other(small)
    assert taken == []
    Conv2d(4, 8, 1)(small)
    Conv2d(4, 8, 1)(torch.randn(2, 4, 9, 4).to(memory_format=torch.channels_last))
    assert [case[0] for case in taken] == ["product", "weights"]


def test_a_product_of_weights_is_asked_for_where_a_whole_one_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def only_weights(case: choice.Case, ways: object) -> bool:
        asked.append(case[0])
        return case[0] == "weights"

    monkeypatch.setattr(convolution, "is_faster", only_weights)
    y = Conv2d(4, 8, 1)(torch.randn(2, 4, 4, 4).to(memory_format=torch.channels_last))
    assert asked == ["product", "weights"]
    assert y.grad_fn.name() == "WeightProductBackward"


def test_it_has_the_state_of_torchs_and_travels(taken: list[choice.Case]) -> None:
    theirs, ours = nn.Conv2d(4, 8, 1), Conv2d(4, 8, 1)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 4, 2, 2).to(memory_format=torch.channels_last)
    ours(x)
    for each in (ours, copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert torch.allclose(each(x), theirs(x), atol=1e-6)


def test_an_exported_network_has_torchs_convolutions(taken: list[choice.Case]) -> None:
    network = nn.Sequential(Conv2d(3, 4, 3, padding=1, groups=1), Conv2d(4, 4, 3, padding=1, groups=4, bias=False))
    program = torch.export.export(network, (torch.randn(2, 3, 4, 4),))
    assert taken == []
    assert any("conv2d" in str(node.target) for node in program.graph.nodes)


# What is measured, and kept ---------------------------------------------------------------------------------------


def test_the_faster_way_is_taken_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    choice._measured.cache_clear()
    seconds = iter([(3.0, 1.0), (1.0, 3.0), (1.05, 1.0)])
    monkeypatch.setattr(choice, "_seconds", lambda usual, other: next(seconds))

    def ways() -> tuple[None, None]:
        return None, None

    cases: list[choice.Case] = [("quick", 1), ("slow", 1), ("hardly", 1)]
    assert [is_faster(case, ways) for case in cases] == [True, False, False]  # type: ignore[arg-type]
    choice._measured.cache_clear()  # as another process
    assert [is_faster(case, ways) for case in cases] == [True, False, False]  # type: ignore[arg-type]
    assert len(list((tmp_path / "faster").iterdir())) == 1
    choice._measured.cache_clear()


def test_what_was_noted_first_counts_for_every_process(tmp_path: Path) -> None:
    first, second = Measured(tmp_path / "f" / "m.jsonl"), Measured(tmp_path / "f" / "m.jsonl")
    first.note(("a", 1), 2.0, 1.0)
    second.note(("a", 1), 1.0, 2.0)
    assert first.faster == second.faster == Measured(tmp_path / "f" / "m.jsonl").faster == {("a", 1): True}


def test_a_broken_file_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    Measured(path).note(("a", 1), 2.0, 1.0)
    path.write_bytes(path.read_bytes() + b'{"case": ["b"\xff\n[1]\n' + json.dumps({"case": ["c"]}).encode())
    known = Measured(path)
    assert known.faster == {("a", 1): True}
    known.note(("d", 1), 2.0, 1.0)
    assert known.faster[("d", 1)]


def test_where_nothing_can_be_kept_the_process_remembers(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    known = Measured(tmp_path / "file" / "m.jsonl")
    known.note(("a", 1), 2.0, 1.0)
    assert known.faster == {("a", 1): True}


def test_both_ways_are_timed_by_turns() -> None:
    calls: list[str] = []
    found = choice._seconds(lambda: calls.append("usual"), lambda: calls.append("other"))
    assert calls == ["usual", "other"] * choice.REPETITIONS
    assert all(0 <= seconds < 1 for seconds in found)


def test_a_real_question_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    choice._measured.cache_clear()
    network = nn.Sequential(Conv2d(8, 8, 3, padding=1, groups=8, bias=False), Conv2d(8, 4, 1))
    before = torch.random.get_rng_state()
    network(torch.ones(16, 8, 2, 2).to(memory_format=torch.channels_last)).sum().backward()
    (file,) = (tmp_path / "faster").iterdir()
    assert [json.loads(line)["case"][0] for line in file.read_text().splitlines()] == ["shifted", "product"]
    assert torch.equal(torch.random.get_rng_state(), before), "no random number is drawn"
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    choice._measured.cache_clear()


def test_the_cache_lies_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_CACHE", "/some/where")
    assert cache_folder() == Path("/some/where")
    monkeypatch.delenv("NAS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/else")
    assert cache_folder() == Path("/else/training-aware-nas")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "training-aware-nas"
