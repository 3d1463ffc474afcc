"""`SearchSpace` against brute force on small spaces, and the same properties on the shipped ones."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import PUBLISHED, SPACES, Architecture, Choice, Genotype, SearchSpace, Stage, vary
from search_spaces.space import random_below

# What a stage of a drawn space may vary. Joint options, double options, absent stages; and enough equal
# designs next to each other that layers of different stages merge.
OPS = ({"op": "mbconv", "se_ratio": 0.25}, {"op": "fused_mbconv", "se_ratio": 0.0})
BLOCKS = [
    ({"layers": 0}, {"kernel": 3, "layers": 2}, {"kernel": 5, "layers": 1}),
    ({"kernel": 3}, {"kernel": 5, "expand_ratio": 1}, {"layers": 0}),
]
OPTIONS: dict[str, list[tuple[Any, ...]]] = {
    "kernel": [(3, 5), (5, 3), (3,), (5,), (3, 3)],
    "layers": [(1, 2), (0, 1), (2, 0, 1), (3, 1, 2)],
    "block": [*BLOCKS],
    "op": [OPS],
}
VARIED = [("kernel", "layers"), ("layers", "kernel"), ("block",), ("op", "layers"), ("block", "op"), ("kernel",), ()]
MOST_GENOTYPES = 600


@st.composite
def small_spaces(draw: st.DrawFn) -> SearchSpace:
    number = draw(st.integers(1, 4))
    widths, strides = draw(st.sampled_from([([8], [1]), ([8, 16], [1, 2])]))
    stages = tuple(
        # neighbours differ by their kernels, or the backbone itself would join them
        Stage("mbconv", 5 - 2 * (i % 2), draw(st.sampled_from(strides)), 4, draw(st.sampled_from(widths)), 1)
        for i in range(number)
    )
    stays = draw(st.integers(1, number))
    choices: list[Choice] = []
    for stage in range(1, number + 1):
        for name in draw(st.sampled_from(VARIED)):
            drawn = draw(st.sampled_from(OPTIONS[name]))
            options = tuple(o for o in drawn if stage != stays or (o != 0 and o != {"layers": 0}))
            if math.prod(len(c.options) for c in choices) * len(options) <= MOST_GENOTYPES:
                choices += vary(stage, **{name: options})
    return SearchSpace("drawn", Architecture(8, stages, 32), tuple(choices))


# Its networks have from 1 to 9 genotypes: layers merge across stages 1 to 3, of which the middle one may be absent.
UNEVEN = SearchSpace(
    "uneven",
    Architecture(
        8, (Stage("mbconv", 3, 2, 4, 8, 1), Stage("mbconv", 5, 1, 4, 8, 1), Stage("mbconv", 3, 1, 4, 8, 1)), 32
    ),
    (
        *vary(1, layers=(1, 2, 3)),
        *vary(2, kernel=(3, 5), layers=(0, 1, 2)),
        *vary(3, layers=(1, 2, 3)),
    ),
)


def networks(space: SearchSpace) -> dict[Architecture, list[Genotype]]:
    """Every network with all its genotypes, in lexicographic order."""
    found: dict[Architecture, list[Genotype]] = {}
    for genotype in itertools.product(*(range(len(c.options)) for c in space.choices)):
        found.setdefault(space.decode(genotype), []).append(genotype)
    return found


def genotypes(space: SearchSpace) -> st.SearchStrategy[Genotype]:
    return st.tuples(*(st.integers(0, len(c.options) - 1) for c in space.choices))


seeds = st.integers(0, 2**32 - 1)
any_space = st.sampled_from(list(SPACES.values())) | small_spaces()
space_and_two = any_space.flatmap(lambda space: st.tuples(st.just(space), genotypes(space), genotypes(space)))


@settings(max_examples=200)
@given(small_spaces())
def test_size_is_the_number_of_distinct_networks(space: SearchSpace) -> None:
    assert space.size == len(networks(space))


@settings(max_examples=200)
@given(small_spaces())
def test_numbers_and_canonical_genotypes_are_one_to_one(space: SearchSpace) -> None:
    smallest = [spellings[0] for spellings in networks(space).values()]
    assert sorted(space.genotype_at(i) for i in range(space.size)) == sorted(smallest)


@settings(max_examples=200)
@given(small_spaces())
def test_encode_gives_the_smallest_genotype_of_each_network(space: SearchSpace) -> None:
    for architecture, spellings in networks(space).items():
        assert space.contains(architecture)
        assert space.encode(architecture) == min(spellings)


@given(space_and_two)
def test_decode_and_encode_are_inverse(drawn: tuple[SearchSpace, Genotype, Genotype]) -> None:
    space, genotype, _ = drawn
    architecture = space.decode(genotype)
    canonical = space.encode(architecture)
    assert space.decode(canonical) == architecture
    assert canonical <= genotype
    assert space.encode(space.decode(canonical)) == canonical


@given(any_space, st.data())
def test_every_number_has_its_network(space: SearchSpace, data: st.DataObject) -> None:
    i, j = data.draw(st.integers(0, space.size - 1)), data.draw(st.integers(0, space.size - 1))
    genotype = space.genotype_at(i)
    assert space.encode(space.decode(genotype)) == genotype
    assert (space.decode(genotype) == space.decode(space.genotype_at(j))) == (i == j)


@given(any_space)
def test_a_number_out_of_range_is_refused(space: SearchSpace) -> None:
    for index in (-1, space.size):
        with pytest.raises(ValueError, match=f"index must be at least 0 and under {space.size}; got {index}"):
            space.genotype_at(index)


@given(any_space, seeds)
def test_sample_is_canonical_and_a_function_of_the_seed(space: SearchSpace, seed: int) -> None:
    genotype = space.sample(np.random.default_rng(seed))
    assert genotype == space.encode(space.decode(genotype))
    assert genotype == space.sample(np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("name", "genotype"),
    [
        ("small", (1, 0, 2, 1, 1, 1, 2, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 1, 0, 0, 1, 2, 1, 0, 1, 0, 1)),
        ("efficientnetv2-s", (1, 0, 0, 0, 0, 1, 1, 2, 0, 0, 1, 3, 0, 0, 1, 2, 1, 1, 0, 3, 1, 0, 0, 4, 0, 0, 1, 3)),
        ("efficientnet-b4", (1, 0, 0, 2, 1, 0, 0, 3, 0, 0, 0, 4, 0, 0, 1, 2, 0, 0, 1, 6, 0, 0, 0, 5, 0, 0, 1, 2)),
    ],
)
def test_what_a_seed_draws_stays_the_same_from_version_to_version(name: str, genotype: Genotype) -> None:
    assert SPACES[name].sample(np.random.default_rng(0)) == genotype


def chi_square(drawn: list[Architecture], space: SearchSpace) -> float:
    expected = len(drawn) / space.size
    counts = dict.fromkeys(networks(space), 0)
    for architecture in drawn:
        counts[architecture] += 1
    return sum((count - expected) ** 2 for count in counts.values()) / expected


def test_sample_is_uniform_over_networks_and_not_over_genotypes() -> None:
    spellings = [len(s) for s in networks(UNEVEN).values()]
    assert (min(spellings), max(spellings)) == (1, 9)
    rng, draws, freedom = np.random.default_rng(0), 20_000, UNEVEN.size - 1
    chi = chi_square([UNEVEN.decode(UNEVEN.sample(rng)) for _ in range(draws)], UNEVEN)
    assert abs(chi - freedom) < 4 * math.sqrt(2 * freedom)
    naive = [UNEVEN.decode(tuple(int(rng.integers(len(c.options))) for c in UNEVEN.choices)) for _ in range(draws)]
    assert chi_square(naive, UNEVEN) > 100 * freedom  # the test would see it


def test_random_below_is_uniform_and_in_range() -> None:
    rng = np.random.default_rng(0)
    counts = np.bincount([random_below(5, rng) for _ in range(10_000)], minlength=5)
    assert len(counts) == 5
    assert ((counts - 2000) ** 2 / 2000).sum() < 4 + 4 * math.sqrt(8)
    assert {random_below(1, rng) for _ in range(9)} == {0}
    wide = [random_below(2**70 + 1, rng) for _ in range(999)]
    assert 2**69 < max(wide) <= 2**70


@given(space_and_two, seeds)
def test_mutate_changes_one_index_and_the_network(drawn: tuple[SearchSpace, Genotype, Genotype], seed: int) -> None:
    space, genotype, _ = drawn
    neighbours = {
        (*genotype[:i], option, *genotype[i + 1 :])
        for i, choice in enumerate(space.choices)
        for option in range(len(choice.options))
        if option != genotype[i]
    }
    others = {n for n in neighbours if space.decode(n) != space.decode(genotype)}
    if others:
        assert space.mutate(genotype, np.random.default_rng(seed)) in others
        assert space.mutate(genotype, np.random.default_rng(seed)) == space.mutate(
            genotype, np.random.default_rng(seed)
        )
    else:
        with pytest.raises(ValueError, match=r"no single choice makes another network"):
            space.mutate(genotype, np.random.default_rng(seed))


def test_mutate_reaches_every_other_neighbour_and_skips_the_silent_ones() -> None:
    rng, genotype = np.random.default_rng(0), (0, 1, 0, 0)  # stage 2 is absent: its kernel is silent
    reached = {UNEVEN.mutate(genotype, rng) for _ in range(300)}
    assert reached == {(1, 1, 0, 0), (2, 1, 0, 0), (0, 1, 1, 0), (0, 1, 2, 0), (0, 1, 0, 1), (0, 1, 0, 2)}


def test_mutate_says_where_no_change_is_possible() -> None:
    space = SearchSpace("fixed", UNEVEN.backbone, vary(1, kernel=(3, 3)))
    with pytest.raises(ValueError, match=r"space fixed: no single choice makes another network of \(0,\)"):
        space.mutate((0,), np.random.default_rng(0))


@given(space_and_two, seeds)
def test_crossover_takes_each_choice_from_a_parent(drawn: tuple[SearchSpace, Genotype, Genotype], seed: int) -> None:
    space, a, b = drawn
    child = space.crossover(a, b, np.random.default_rng(seed))
    assert len(child) == len(a)
    assert all(gene in parents for gene, parents in zip(child, zip(a, b, strict=True), strict=True))
    assert child == space.crossover(a, b, np.random.default_rng(seed))


def test_crossover_mixes_in_every_way() -> None:
    rng = np.random.default_rng(0)
    children = [UNEVEN.crossover((0, 0, 0, 0), (1, 1, 1, 1), rng) for _ in range(800)]
    counts = [children.count(child) for child in itertools.product((0, 1), repeat=4)]
    assert sum(counts) == 800
    assert sum((n - 50) ** 2 / 50 for n in counts) < 15 + 4 * math.sqrt(30)


@given(any_space)
def test_json_round_trips(space: SearchSpace) -> None:
    again = SearchSpace.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space
    assert again.to_json() == space.to_json()
    assert again.size == space.size
    assert again.genotype_at(space.size // 2) == space.genotype_at(space.size // 2)


@given(space_and_two)
def test_labels_name_each_choice(drawn: tuple[SearchSpace, Genotype, Genotype]) -> None:
    space, genotype, _ = drawn
    labels = space.labels(genotype)
    assert list(labels) == [c.name for c in space.choices]
    assert json.loads(json.dumps(labels)) == labels
    chosen = [choice.options[index] for choice, index in zip(space.choices, genotype, strict=True)]
    absent = {c.stage for c, option in zip(space.choices, chosen, strict=True) if option.get("layers") == 0}
    for choice, index, option in zip(space.choices, genotype, chosen, strict=True):
        silent = choice.stage in absent and option.get("layers") != 0
        assert labels[choice.name] == (None if silent else choice.label(index))


def test_labels_of_an_absent_stage_are_none_but_for_what_made_it_absent() -> None:
    space = SPACES["small"]
    genotype = space.encode(space.backbone)
    labels = space.labels(genotype)
    assert labels["stage1_op"] == "fused_mbconv"
    assert labels["stage4_op"] == "mbconv"
    assert (labels["stage7_kernel"], labels["stage7_expand_ratio"], labels["stage7_layers"]) == (3, 4, 1)
    absent = space.labels((*genotype[:-1], 0))
    assert {n: v for n, v in absent.items() if n.startswith("stage7")} == {
        "stage7_op": None,
        "stage7_kernel": None,
        "stage7_expand_ratio": None,
        "stage7_layers": 0,
    }
    assert {n: v for n, v in absent.items() if v is not None} == {n: labels[n] for n in labels if n[5] != "7"} | {
        "stage7_layers": 0
    }


def test_a_label_is_a_value_where_one_field_tells_the_options_apart() -> None:
    op, block = Choice("op", 1, OPS), Choice("block", 1, BLOCKS[0])
    assert [op.label(i) for i in range(2)] == ["mbconv", "fused_mbconv"]
    assert [block.label(i) for i in range(3)] == [0, 2, 1]
    (mixed,) = vary(1, layer=({"layers": 0}, {"kernel": 3, "expand_ratio": 1}, {"kernel": 3, "expand_ratio": 4}))
    assert [mixed.label(i) for i in range(3)] == ["layers=0", "kernel=3,expand_ratio=1", "kernel=3,expand_ratio=4"]


@pytest.mark.parametrize(("name", "size"), [("small", 36_279_705_600), ("efficientnetv2-s", 2_900_136_960_000)])
def test_the_shipped_spaces_have_the_size_of_their_choices(name: str, size: int) -> None:
    # No neighbours of equal width, so that only an absent last stage folds: 12 designs times the layers, and it.
    *layers, last = (len(c.options) for c in SPACES[name].choices if c.name.endswith("layers"))
    assert SPACES[name].size == math.prod(12 * n for n in layers) * (12 * (last - 1) + 1) == size


@pytest.mark.parametrize("name", ["efficientnetv2-s", "efficientnet-b4"])
def test_the_spaces_hold_the_networks_they_are_named_after(name: str) -> None:
    space, network = SPACES[name], PUBLISHED[name]
    assert space.contains(network)
    assert space.decode(space.encode(network)) == network
    assert not space.contains(PUBLISHED["efficientnetv2-l"])


def test_v2_s_leaves_out_the_last_stage() -> None:
    labels = SPACES["efficientnetv2-s"].labels(SPACES["efficientnetv2-s"].encode(PUBLISHED["efficientnetv2-s"]))
    assert labels["stage7_layers"] == 0
    assert labels["stage6_layers"] == 15


@pytest.mark.parametrize("name", SPACES)
def test_the_shipped_spaces_are_training_aware(name: str) -> None:
    space = SPACES[name]
    assert space.name == name
    assert space.contains(space.backbone)
    for stage in range(1, 8):
        options = {c.name: c.options for c in space.choices if c.stage == stage}
        assert options[f"stage{stage}_op"] == OPS
        assert options[f"stage{stage}_kernel"] == ({"kernel": 3}, {"kernel": 5})
        assert options[f"stage{stage}_expand_ratio"] == ({"expand_ratio": 1}, {"expand_ratio": 4}, {"expand_ratio": 6})
        assert (options[f"stage{stage}_layers"][0] == {"layers": 0}) == (stage == 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("stem_c8", "stem_c16"), "has stem 8 and head 256; got 16 and 256"),
        (lambda t: t.replace("head_c256", "head_c64"), "has stem 8 and head 256; got 8 and 64"),
        (lambda t: t.replace("c40", "c48"), "space small does not hold this network"),
        (lambda t: t.replace("k3_s2_e4_c16", "k7_s2_e4_c16"), "space small does not hold this network"),
        (lambda t: t.replace("-mbconv_k3_s1_e4_c40_n2_se0.25", ""), "space small does not hold this network"),
        (lambda t: t.replace("c96_n1", "c96_n3"), "space small does not hold this network"),
    ],
)
def test_a_network_of_another_space_is_refused(change: Callable[[str], str], message: str) -> None:
    space, text = SPACES["small"], str(SPACES["small"].backbone)
    assert change(text) != text
    stranger = Architecture.parse(change(text))
    assert not space.contains(stranger)
    with pytest.raises(ValueError, match=re.escape(message)):
        space.encode(stranger)


def test_a_stage_without_choices_stays_as_in_the_backbone() -> None:
    space = SearchSpace("one", UNEVEN.backbone, vary(2, layers=(1, 2)))
    assert space.decode((0,)) == UNEVEN.backbone
    assert space.size == 2
    assert SearchSpace("none", UNEVEN.backbone, ()).size == 1
    assert SearchSpace("none", UNEVEN.backbone, ()).sample(np.random.default_rng(0)) == ()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (vary(4, kernel=(3, 5)), "choice stage4_kernel: stage must be 1 to 3, as the backbone has; got 4"),
        (vary(0, kernel=(3, 5)), "choice stage0_kernel: stage must be 1 to 3, as the backbone has; got 0"),
        (vary(1, width=(8, 16)), "choice stage1_width: 'width' is no field of a stage; it may set ('op', 'kernel',"),
        (vary(1, block=({"kernel": 3}, {"size": 5})), "choice stage1_block: 'size' is no field of a stage"),
        (vary(1, kernel=()), "choice stage1_kernel: must have at least one option; got none"),
        (vary(1, kernel=(3, 5)) * 2, "choice names must be unique; got ['stage1_kernel', 'stage1_kernel']"),
        (
            vary(1, kernel=(3, 5), block=({"kernel": 3, "layers": 2}, {"layers": 1})),
            "stage 1: a field may be set by one choice only; got ['kernel', 'kernel', 'layers']",
        ),
        (vary(2, kernel=(3, 5)) + vary(1, kernel=(3, 5)), "choices must be in the order of their stages; got [2, 1]"),
        (
            vary(1, layers=(0, 1)) + vary(2, layers=(1, 0)) + vary(3, block=({"layers": 0}, {"kernel": 3})),
            "at least one stage must always be present; here every stage may have 0 layers",
        ),
        (vary(1, kernel=(3, 4)), "choices ['stage1_kernel'] with options (1,): kernel must be odd"),
        (vary(1, layers=(1, -1)), "choices ['stage1_layers'] with options (1,): layers must be an integer of at least"),
        (vary(1, op=("mbconv", "conv")), "choices ['stage1_op'] with options (1,): op must be one of mbconv, fused_"),
        (vary(1, se_ratio=("0.25",)), "choices ['stage1_se_ratio'] with options (0,): se_ratio must be between 0"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(choices: tuple[Choice, ...], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        SearchSpace("bad", UNEVEN.backbone, choices)


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        ((0, 0, 0), "a genotype of space uneven must have 4 indices; got 3"),
        ((0, 0, 0, 0, 0), "a genotype of space uneven must have 4 indices; got 5"),
        ((), "a genotype of space uneven must have 4 indices; got 0"),
        ((3, 0, 0, 0), "genotype indices must be at least 0 and stage1_layers < 3; got (3,)"),
        ((0, 0, -1, 0), "genotype indices must be at least 0 and stage2_kernel < 2, stage2_layers < 3; got (0, -1)"),
    ],
)
def test_a_genotype_of_another_space_is_refused(genotype: Genotype, message: str) -> None:
    rng = np.random.default_rng(0)
    calls: list[Callable[[], object]] = [
        lambda: UNEVEN.decode(genotype),
        lambda: UNEVEN.labels(genotype),
        lambda: UNEVEN.mutate(genotype, rng),
        lambda: UNEVEN.crossover(genotype, (0, 0, 0, 0), rng),
        lambda: UNEVEN.crossover((0, 0, 0, 0), genotype, rng),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


@pytest.mark.parametrize("name", SPACES)
def test_a_canonical_genotype_is_that_of_the_network(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    for _ in range(200):
        genotype = tuple(int(rng.integers(len(choice.options))) for choice in space.choices)
        assert space.canonical(genotype) == space.encode(space.decode(genotype))
        labels = space.labels(genotype)
        assert space.present(genotype) == tuple(labels[choice.name] is not None for choice in space.choices)


def test_a_canonical_genotype_where_stages_may_be_taken_for_one_another() -> None:
    backbone = Architecture(8, tuple(Stage("mbconv", k, s, 4, 8, 1) for k, s in ((3, 2), (5, 1), (3, 1))), 32)
    choices = (*vary(1, layers=(1, 2)), *vary(2, kernel=(3, 5), layers=(0, 1)), *vary(3, layers=(1, 2)))
    space = SearchSpace("merging", backbone, choices)
    for genotype in itertools.product((0, 1), repeat=4):
        assert space.canonical(genotype) == space.encode(space.decode(genotype))
    with pytest.raises(ValueError, match="must have 4 indices; got 1"):
        space.canonical((0,))
