"""`TrainingTimer`: the parts of a training's time, from few pictures, and what they add up to."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from search_spaces import Architecture
from search_spaces.efficientnet import scale_uniformly
from trainers import proxy, training_time
from trainers.data import Data, Split
from trainers.network import Network
from trainers.proxy import ProxyTask
from trainers.recipe import Recipe
from trainers.training_time import TrainingTime, TrainingTimer, timing_s

SMALL = Architecture.parse("stem_c8-fused_mbconv_k3_s2_e1_c8_n1-mbconv_k3_s2_e2_c16_n1_se0.25-head_c32")
LARGE = Architecture.parse("stem_c32-fused_mbconv_k3_s1_e4_c32_n3-mbconv_k5_s2_e6_c64_n3_se0.25-head_c64")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def split(count: int, side: int = 12) -> Split:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, side, side, 1), dtype=np.uint8)
    return Split(images, np.arange(count) % 4)


def task(train: int = 330, minival: int = 200, width: float = 1.0, **recipe: int) -> ProxyTask:
    data = Data(split(train), split(minival), split(8), tuple("abcd"), 1, 12, "made up", ())
    return ProxyTask(data, Recipe(**{"epochs": 3, "batch_size": 32, **recipe}), SMALL, device="cpu", width=width)


def test_larger_networks_take_longer_and_the_parts_are_positive() -> None:
    timer = TrainingTimer(task())
    small, large = timer(SMALL), timer(LARGE)
    assert min(small[:3]) > 0
    assert large.step_s > 2 * small.step_s
    assert large.evaluation_s > small.evaluation_s
    assert small.one_thread_step_s is None
    assert timer.seconds(large, small) > timer.seconds(small, small)


def test_narrower_networks_are_timed_where_narrower_ones_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Architecture] = []
    build = training_time.build_network

    def noting(architecture: Architecture, *arguments: int, generator: torch.Generator) -> Network:
        built.append(architecture)
        return build(architecture, *arguments, generator=generator)

    monkeypatch.setattr(training_time, "build_network", noting)
    whole, half = task(), task(width=0.5)
    for timed in (whole, half):
        TrainingTimer(timed)(LARGE)
    monkeypatch.setattr(proxy, "build_network", noting)
    for trained in (whole, half):
        trained.zero_cost(LARGE, names=())
    assert built == [LARGE, scale_uniformly(LARGE, 0.5, 1.0, guard=False)] * 2, "as the proxy trains them"


def test_several_threads_are_timed_beside_one_and_left_as_they_were() -> None:
    found = TrainingTimer(task())(SMALL, threads=2)
    assert found.one_thread_step_s is not None
    assert found.one_thread_step_s > 0
    assert torch.get_num_threads() == 1


def test_a_candidate_is_steps_evaluations_and_the_timing() -> None:
    timer = TrainingTimer(task())
    assert (timer.steps, timer.epochs) == (30, 3)
    anchor = TrainingTime(9.0, 0.05, 9.0, None)
    assert timer.seconds(TrainingTime(1.0, 0.1, 0.2, None), anchor) == pytest.approx(1 + 3 + 0.6 + 19 * 0.05)
    slow = TrainingTime(9.0, 0.03, 9.0, 0.05)
    timed = timer.seconds(TrainingTime(1.0, 0.1, 0.2, 0.15), slow)
    assert timed == pytest.approx(1 + 3 + 0.6 + 19 * 0.05 + 19 * 0.15), "with several threads both are timed"
    assert timer.scaled(2.0, anchor) == pytest.approx(9 + 3 + 54 + 19 * 0.05)
    assert timer.scaled(2.0, slow) == pytest.approx(9 + 1.8 + 54 + 19 * 0.05 + 19 * 0.1)


def test_blocks_of_quick_steps_have_a_least_length() -> None:
    assert timing_s(None, 0.001) == pytest.approx(4 * 0.001 + 15 * 0.04)


def test_a_few_pictures_travel() -> None:
    whole = task(train=5000, minival=3000)
    assert len(pickle.dumps(TrainingTimer(whole))) < len(pickle.dumps(whole)) / 4
    timer = pickle.loads(pickle.dumps(TrainingTimer(whole)))
    assert timer(SMALL).step_s > 0


def test_a_part_of_a_large_minival_stands_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_time, "EVALUATED", 50)
    seen: list[int] = []
    evaluate = training_time.accuracy

    def counted(network: torch.nn.Module, minival: training_time.DeviceSplit, data: training_time.DeviceData) -> float:
        seen.append(len(minival.labels))
        return evaluate(network, minival, data)

    monkeypatch.setattr(training_time, "accuracy", counted)
    TrainingTimer(task())(SMALL)
    assert seen == [50]


def test_one_batch_is_enough() -> None:
    timer = TrainingTimer(task(train=40))
    assert timer.steps == 3
    assert timer(SMALL).step_s > 0


def test_pictures_are_varied_as_in_the_training() -> None:
    data = Data(split(330), split(200), split(8), tuple("abcd"), 1, 12, "made up", ())
    from trainers.augmentation import Augmentation

    recipe = Recipe(epochs=1, batch_size=32, augmentation=Augmentation.parse("crop,cutmix"))
    assert TrainingTimer(ProxyTask(data, recipe, SMALL, device="cpu"))(SMALL).step_s > 0
