"""The nearest published network: the distance is one, and the differences say what it counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import PUBLISHED, SPACES, Architecture, Stage
from search_spaces.nearest import differences, distance, nearest_published

S = PUBLISHED["efficientnetv2-s"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_is_nearest_to_itself(name: str) -> None:
    found = nearest_published(PUBLISHED[name])
    assert PUBLISHED[found.name] == PUBLISHED[name]
    assert found.differences == []
    assert distance(PUBLISHED[name], PUBLISHED[name]) == 0


def with_stage(number: int, **values: object) -> Architecture:
    stages = list(S.stages)
    stages[number - 1] = replace(stages[number - 1], **values)  # type: ignore[arg-type]
    return replace(S, stages=tuple(stages))


def test_a_changed_stage_is_found_and_counted_by_its_layers() -> None:
    changed = with_stage(3, kernel=5, expand_ratio=6, layers=2)
    assert nearest_published(changed) == (
        "efficientnetv2-s",
        ["stage 3: kernel 5 (3), expand_ratio 6 (4), layers 2 (4)"],
    )
    assert distance(changed, S) == pytest.approx(2 + 2 * 2 / 7)


def test_a_width_counts_by_its_ratio_and_twice_is_wholly_another() -> None:
    layers = S.stages[3].layers
    assert distance(with_stage(4, channels=192), S) == pytest.approx(layers * np.log2(1.5) / 7)
    assert distance(with_stage(4, channels=512), S) == pytest.approx(layers / 7)
    assert differences(with_stage(4, channels=192), S) == ["stage 4: channels 192 (128)"]


def test_a_stride_counts_for_the_first_layer() -> None:
    assert distance(with_stage(5, stride=2), S) == pytest.approx(1 / 7)


def test_a_stage_that_one_network_lacks_counts_its_layers_and_is_named() -> None:
    shorter = replace(S, stages=(*S.stages[:2], *S.stages[3:]))
    assert distance(shorter, S) == S.stages[2].layers
    assert differences(shorter, S) == [f"after stage 2: no {S.stages[2]}"]
    assert differences(S, shorter) == [f"stage 3: {S.stages[2]} is not there"]


def test_stem_and_head() -> None:
    other = replace(S, stem_channels=48, head_channels=0)
    assert distance(other, S) == 2
    assert differences(other, S) == ["stem: channels 48 (24)", "head: channels 0 (1280)"]


def drawn(seed: int) -> Architecture:
    space = SPACES["small"]
    return space.decode(space.sample(np.random.default_rng(seed)))


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_the_distance_is_the_same_both_ways_and_0_for_equals_alone(one: int, other: int) -> None:
    a, b = drawn(one), drawn(other)
    assert distance(a, b) == pytest.approx(distance(b, a))
    assert (distance(a, b) == 0) == (a == b) == (differences(a, b) == [])


@given(st.integers(0, 2**32))
def test_nothing_published_is_nearer(seed: int) -> None:
    network = drawn(seed)
    found = nearest_published(network)
    assert distance(network, PUBLISHED[found.name]) == min(distance(network, other) for other in PUBLISHED.values())


@given(st.integers(0, 2**32), st.integers(0, 2**32), st.integers(0, 2**32))
def test_no_way_round_is_shorter(one: int, other: int, third: int) -> None:
    a, b, c = drawn(one), drawn(other), drawn(third)
    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-9


def test_stages_are_aligned_in_order() -> None:
    first, second = Stage("mbconv", 3, 2, 4, 16, 2), Stage("mbconv", 5, 2, 4, 32, 2)
    assert distance(Architecture(8, (first, second), 0), Architecture(8, (second, first), 0)) > 1
