"""Progressive schedules: the published tables, what each kind does, the text form, and which sizes are refused."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import PUBLISHED
from trainers.augmentation import Augmentation
from trainers.progressive import FIRST, KINDS, Progression, Settings, check_sizes, settings_at, sizes_of, sizes_reached
from trainers.recipe import Recipe
from trainers.recipes import RECIPES

ADAPTIVE = ("paper", "released", "random-adaptive")


def stages(recipe: Recipe, steps: int = 1000) -> list[Settings]:
    """What the first step of each quarter has."""
    return [settings_at(recipe, quarter * steps // 4, steps) for quarter in range(4)]


# (sizes, RandAugment, mixup, CutMix, dropout) of the four stages. Of the paper: Table 6 (arXiv 2104.00298v1) through
# Algorithm 1. Of the code: google/automl efficientnetv2, `int(128 + (T - 128) * (k + 1) / 4)`, `linspace(5, ram, 4)`
# and `linspace(0, alpha, 4)`, with a dropout that does not change.
GOLDEN = {
    "imagenet-paper-s": ([128, 185, 243, 300], [5, 8.33, 11.67, 15], [0] * 4, [0] * 4, [0.1, 0.167, 0.233, 0.3]),
    "imagenet-paper-m": ([128, 212, 296, 380], [5, 10, 15, 20], [0, 0.067, 0.133, 0.2], [0] * 4, [0.1, 0.2, 0.3, 0.4]),
    "imagenet-paper-l": (
        [128, 212, 296, 380],
        [5, 11.67, 18.33, 25],
        [0, 0.133, 0.267, 0.4],
        [0] * 4,
        [0.1, 0.233, 0.367, 0.5],
    ),
    "imagenet-released-s": ([171, 214, 257, 300], [5, 6.67, 8.33, 10], [0] * 4, [0] * 4, [0.2] * 4),
    "imagenet-released-m": (
        [192, 256, 320, 384],
        [5, 8.33, 11.67, 15],
        [0, 0.067, 0.133, 0.2],
        [0, 0.067, 0.133, 0.2],
        [0.3] * 4,
    ),
    "imagenet-released-l": (
        [192, 256, 320, 384],
        [5, 10, 15, 20],
        [0, 0.167, 0.333, 0.5],
        [0, 0.167, 0.333, 0.5],
        [0.4] * 4,
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_published_schedules(name: str) -> None:
    sizes, randaugment, mixup, cutmix, dropout = GOLDEN[name]
    recipe = RECIPES[name]()
    found = stages(recipe)
    assert [s.stage for s in found] == [0, 1, 2, 3]
    assert [s.image_size for s in found] == sizes == list(sizes_of(recipe))
    assert [s.augmentation.randaugment for s in found] == pytest.approx(randaugment, abs=0.005)
    assert [s.augmentation.mixup for s in found] == pytest.approx(mixup, abs=0.0005)
    assert [s.augmentation.cutmix for s in found] == pytest.approx(cutmix, abs=0.0005)
    assert [s.dropout for s in found] == pytest.approx(dropout, abs=0.0005)
    assert {s.survival for s in found} == {0.8}
    assert {(s.augmentation.flip, s.augmentation.randaugment_layers) for s in found} == {(True, 2)}


@pytest.mark.parametrize(
    ("largest", "sizes"),
    [(192, [144, 160, 176, 192]), (208, [148, 168, 188, 208]), (240, [156, 184, 212, 240])],  # B0 and B1, B2, B3
)
def test_the_released_sizes_of_the_small_networks(largest: int, sizes: list[int]) -> None:
    assert list(Progression(kind="released").sizes(largest)) == sizes


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("imagenet-released-s", 0.642),
        ("imagenet-paper-s", 0.554),
        ("imagenet-released-m", 0.597),
        ("imagenet-paper-m", 0.51),
    ],
)
def test_the_share_of_the_pixels_that_a_schedule_computes(name: str, share: float) -> None:
    recipe = RECIPES[name]()
    assert recipe.image_size is not None
    sizes = sizes_of(recipe)
    assert sum(size**2 for size in sizes) / len(sizes) / recipe.image_size**2 == pytest.approx(share, abs=0.006)


def test_a_stage_has_an_equal_part_of_the_steps() -> None:
    recipe = RECIPES["imagenet-paper-s"]()
    steps = 350 * 306
    counted = Counter(settings_at(recipe, step, steps).stage for step in range(0, steps, 9))
    assert max(counted.values()) - min(counted.values()) <= 1
    starts = [min(s for s in range(steps) if s * 4 // steps == stage) for stage in range(4)]
    assert [round(start * 350 / steps) for start in starts] == [0, 88, 175, 262]  # some 87 epochs each
    for start in starts[1:]:
        before, after = (settings_at(recipe, step, steps) for step in (start - 1, start))
        assert after.stage == before.stage + 1


def own() -> Recipe:
    """A recipe with everything on."""
    return Recipe(
        epochs=40,
        image_size=96,
        augmentation=Augmentation(flip=True, randaugment=12, mixup=0.4, cutmix=1, cutout=0.5),
        dropout=0.4,
        survival=0.8,
    )


def with_kind(kind: str, **settings: Any) -> Recipe:
    return replace(own(), progression=Progression(kind=kind, smallest=48, **settings))


@pytest.mark.parametrize("kind", KINDS)
def test_where_regularisation_does_not_adapt_it_is_the_recipes_own_throughout(kind: str) -> None:
    recipe = with_kind(kind)
    found = [settings_at(recipe, step, 400, seed=3) for step in range(0, 400, 7)]
    last = [s for s in found if s.stage == len(sizes_of(recipe)) - 1]
    others = [s for s in found if s not in last]
    assert last
    assert all((s.augmentation, s.dropout, s.survival) == (recipe.augmentation, 0.4, 0.8) for s in last)
    changed = [s for s in others if s.augmentation != recipe.augmentation]
    assert len(changed) == (len(others) if kind in ADAPTIVE else 0)
    assert {s.dropout for s in found} == {0.4} or kind in ("paper", "random-adaptive")
    assert bool(others) == (kind not in ("constant", "fixres"))


@pytest.mark.parametrize("kind", ADAPTIVE)
def test_ranges_that_are_not_given_begin_as_in_the_papers_table(kind: str) -> None:
    found = {s.stage: s for s in (settings_at(with_kind(kind), step, 400, seed=3) for step in range(400))}
    first = found[0].augmentation
    assert (first.randaugment, first.mixup, first.cutmix) == (FIRST["randaugment"], 0, 0)
    assert first.cutout == 0.5  # not a part of any schedule
    assert found[0].dropout == (0.4 if kind == "released" else FIRST["dropout"])
    weak = replace(with_kind(kind), augmentation=Augmentation(randaugment=3), dropout=0.05)
    early = settings_at(weak, 0, 400, seed=3)
    assert (early.augmentation.randaugment, early.dropout) == (3, 0.05)  # never stronger than in the end


def test_every_regulariser_may_have_a_range() -> None:
    ranges = {
        "randaugment": (1, 9),
        "mixup": (0.1, 0.3),
        "cutmix": (0.2, 0.8),
        "dropout": (0.05, 0.5),
        "survival": (1, 0.7),
    }
    found = stages(with_kind("paper", **ranges))

    def values(settings: Settings) -> tuple[float, ...]:
        varied = settings.augmentation
        return varied.randaugment, varied.mixup, varied.cutmix, settings.dropout, settings.survival

    assert values(found[0]) == tuple(first for first, _ in ranges.values())
    assert values(found[3]) == tuple(last for _, last in ranges.values())
    assert values(found[1]) == pytest.approx([first + (last - first) / 3 for first, last in ranges.values()])
    constant = stages(with_kind("resize", **ranges))
    assert {values(s) for s in constant} == {values(found[3])}


def test_resizing_has_the_papers_sizes() -> None:
    assert [s.image_size for s in stages(with_kind("resize"))] == [48, 64, 80, 96]
    assert [s.image_size for s in stages(with_kind("paper"))] == [48, 64, 80, 96]


def test_fixres_and_constant_have_one_size() -> None:
    assert {s.image_size for s in stages(replace(own(), progression=Progression.parse("fixres:0.75")))} == {72}
    assert {s.image_size for s in stages(own())} == {96}


@pytest.mark.parametrize("kind", ["random", "random-adaptive"])
def test_a_random_size_holds_for_its_period_and_is_the_seeds(kind: str) -> None:
    recipe = replace(with_kind(kind, period_epochs=8), epochs=4000)
    steps = recipe.epochs * 2

    def drawn(seed: int) -> list[int]:
        return [settings_at(recipe, step, steps, seed=seed).image_size for step in range(steps)]

    sizes = drawn(5)
    periods = [set(sizes[at : at + 16]) for at in range(0, steps, 16)]
    assert all(len(period) == 1 for period in periods)
    counted = Counter(next(iter(period)) for period in periods)
    assert set(counted) == {48, 64, 80, 96}
    assert all(0.15 < count / len(periods) < 0.35 for count in counted.values())
    assert drawn(5) == sizes
    assert drawn(6) != sizes


def test_larger_batches_of_smaller_pictures() -> None:
    recipe = replace(RECIPES["imagenet-released-s"](), smaller_sizes_larger_batches=True)
    found = stages(recipe, 1_000_000)
    assert [s.batch_size // 4096 for s in found] == [3, 2, 1, 1]  # 3.08, 1.97, 1.36, 1 by the pixels
    rates = [recipe.learning_rate_at(quarter * 250_000, 1_000_000) for quarter in range(4)]
    assert [s.learning_rate for s in found] == pytest.approx([r * n for r, n in zip(rates, [3, 2, 1, 1], strict=True)])
    usual = stages(replace(recipe, smaller_sizes_larger_batches=False), 1_000_000)
    assert [s.batch_size for s in usual] == [4096] * 4
    assert [s.learning_rate for s in usual] == rates


PROGRESSIONS = st.builds(
    Progression,
    kind=st.sampled_from(list(KINDS)),
    stages=st.integers(1, 9),
    smallest=st.integers(1, 128),
    period_epochs=st.floats(0.1, 50),
    share=st.just(0.8),
    randaugment=st.none() | st.tuples(st.integers(0, 30), st.floats(0, 30)),
    mixup=st.none() | st.tuples(st.floats(0, 100), st.floats(0, 100)),
    cutmix=st.none() | st.tuples(st.just(0), st.floats(0, 1)),
    dropout=st.none() | st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)),
    survival=st.none() | st.tuples(st.just(1), st.floats(0.1, 1)),
)


@given(PROGRESSIONS)
def test_the_text_names_the_progression(progression: Progression) -> None:
    assert Progression.parse(str(progression)) == progression


@given(PROGRESSIONS, st.integers(128, 600), st.integers(1, 500), st.data())
def test_settings_are_within_their_bounds(
    progression: Progression, largest: int, steps: int, data: st.DataObject
) -> None:
    recipe = replace(own(), image_size=largest, progression=progression)
    sizes = sizes_of(recipe)
    assert list(sizes) == sorted(sizes)
    assert sizes[-1] == (round(0.8 * largest) if progression.kind == "fixres" else largest)
    if progression.kind not in ("constant", "fixres"):
        assert len(sizes) == progression.stages
        assert sizes[0] >= progression.smallest
    step, seed = data.draw(st.integers(0, steps)), data.draw(st.integers(0, 2**32))
    found = settings_at(recipe, step, steps, seed=seed)
    assert found == settings_at(recipe, step, steps, seed=seed)
    assert found.image_size == sizes[found.stage]
    if not progression.kind.startswith("random"):
        later = settings_at(recipe, min(step + 1, steps), steps)
        assert later.image_size >= found.image_size


@pytest.mark.parametrize(
    ("text", "progression", "written"),
    [
        ("constant", Progression(), "constant"),
        ("fixres", Progression(kind="fixres"), "fixres:0.8"),
        (" fixres : 0.75 ", Progression(kind="fixres", share=0.75), "fixres:0.75"),
        ("random,period_epochs:4", Progression(kind="random", period_epochs=4), "random,period_epochs:4"),
        (
            "paper, dropout:0.1 .. 0.3,smallest:64,stages:3,randaugment:5..15",
            Progression(kind="paper", stages=3, smallest=64, randaugment=(5, 15), dropout=(0.1, 0.3)),
            "paper,stages:3,smallest:64,randaugment:5..15,dropout:0.1..0.3",
        ),
    ],
)
def test_texts(text: str, progression: Progression, written: str) -> None:
    assert Progression.parse(text) == progression
    assert str(progression) == written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("linear", "a progression must be one of constant, paper, .*; got 'linear'"),
        ("", "a progression must be one of .*; got ''"),
        ("paper:4", "fixres alone has a share; got 'paper:4'"),
        ("stages:4,paper", "must begin with its name"),
        ("fixres:much", "a number must stand where 'much' does in 'fixres:much'"),
        ("fixres:1.2", "share must be above 0 and at most 1; got 1.2"),
        ("paper,share:0.5", "then some of stages, smallest, .*; got 'share:0.5'"),
        ("paper,noise:0..1", "then some of stages, smallest, .*; got 'noise:0..1'"),
        ("paper,stages:4,stages:5", "must name each setting once; got stages twice"),
        ("paper,stages:0", "stages must be an integer of at least 1; got 0"),
        ("paper,stages", "stages must have an integer, such as stages:4; got 'stages'"),
        ("paper,smallest:6.5", "smallest must have an integer"),
        ("paper,dropout:0.3", "dropout must have a range, such as dropout:0.1..0.3; got 'dropout:0.3'"),
        ("paper,dropout:0.3..", "a number must stand where '' does in 'dropout:0.3..'"),
        ("paper,dropout:0..1", "dropout must be at least 0 and below 1; got 1.0"),
        ("paper,survival:0..1", "survival must be above 0 and at most 1; got 0.0"),
        ("paper,mixup:0..200", "mixup must be a number from 0 .off. to 100; got 200.0"),
        ("random,period_epochs:0", "period_epochs must be positive and finite; got 0.0"),
        ("random,period_epochs:nan", "period_epochs must be positive and finite; got nan"),
    ],
)
def test_a_text_that_names_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Progression.parse(text)


def test_sizes_below_the_networks_stride_are_refused() -> None:
    network = PUBLISHED["efficientnetv2-s"]  # a total stride of 32
    check_sizes(RECIPES["imagenet-paper-s"](), network)
    check_sizes(replace(own(), progression=Progression(kind="paper", smallest=32)), network)
    low = replace(own(), progression=Progression(kind="paper", smallest=24))
    with pytest.raises(ValueError, match=r"network's total stride as their side, 32 px; .* 24, 48, 72, 96 px: .*small"):
        check_sizes(low, network)
    with pytest.raises(ValueError, match=r"32 px; the progression fixres:0.25 trains at 24 px: take a larger image_s"):
        check_sizes(replace(own(), progression=Progression.parse("fixres:0.25")), network)
    with pytest.raises(ValueError, match=r"eval_size, .*, must be at least the network's total stride, 32 px; got 31"):
        check_sizes(replace(own(), eval_size=31), network)


def test_what_has_no_settings_says_so() -> None:
    with pytest.raises(ValueError, match="must have an image_size"):
        settings_at(Recipe(), 0, 10)
    for step, steps in ((-1, 10), (11, 10), (0, 0), (math.nan, 10)):
        with pytest.raises(ValueError, match="step must be from 0 to steps"):
            settings_at(own(), step, steps)


@pytest.mark.parametrize(
    ("steps", "reached"), [(1, (16,)), (3, (16, 21, 27)), (4, (16, 21, 27, 32)), (100_000, (16, 21, 27, 32))]
)
def test_few_steps_do_not_reach_all_sizes(steps: int, reached: tuple[int, ...]) -> None:
    recipe = Recipe(image_size=32, progression=Progression(kind="paper", smallest=16))
    assert sizes_reached(recipe, steps) == reached
    last = settings_at(recipe, steps - 1, steps).image_size
    assert reached[-1] == last


def test_steps_of_grown_batches_are_fewer_and_reach_fewer_sizes() -> None:
    recipe = Recipe(
        image_size=32, progression=Progression(kind="resize", smallest=8), smaller_sizes_larger_batches=True
    )
    assert sizes_reached(recipe, 20) == (8, 32), "the first step takes as many pictures as sixteen"
