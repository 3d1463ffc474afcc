"""The text is the identity of a network: it round-trips, is unique, and anything else is refused with a reason."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search_spaces import PUBLISHED, Architecture, Stage, read_architecture

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "architectures.json").read_text())
"""The stage tables of google/automl `efficientnetv2/` (V2), tensorflow/tpu `efficientnet/` (V1) and `mnasnet/`, the
widths, layers and group widths of arXiv 2003.13678 (RegNetY) and timm's (RegNetZ), typed anew."""

TEXT = "stem_c8-mbconv_k3_s2_e4_c16_n2_se0.25-fused_mbconv_k5_s1_e1_c16_n1-head_c64"
GROUPED = "stem_c8-regnet_y_k3_s2_e1_c16_n2_g8_se0.25-regnet_z_k3_s2_e4_c24_n1_g4-head_c0"

counts = st.integers(1, 4) | st.integers(1, 2000)
head_counts = st.just(0) | counts
ungrouped_stages = st.builds(
    Stage,
    op=st.sampled_from(["mbconv", "fused_mbconv", "regnet_y", "regnet_z"]),
    kernel=st.integers(0, 5).map(lambda n: 2 * n + 1),
    stride=st.integers(1, 3),
    expand_ratio=st.sampled_from([1, 2, 4, 6, 10]),
    channels=counts,
    layers=st.integers(1, 40),
    se_ratio=st.sampled_from([0, 0.25, 0.5, 1]) | st.floats(0, 1),
)


def grouped(stage: Stage, op: str, group_width: int) -> Stage:
    """The stage as a RegNet's, as wide as it takes for the groups to divide its inner width."""
    multiple = group_width // math.gcd(group_width, stage.expand_ratio)
    return replace(stage, op=op, channels=stage.channels * multiple, group_width=group_width)


stages = ungrouped_stages | st.builds(
    grouped, ungrouped_stages, st.sampled_from(["regnet_y", "regnet_z"]), st.sampled_from([1, 2, 8]) | counts
)
twins = st.lists(stages, min_size=1, max_size=3).flatmap(  # many equal neighbours
    lambda few: st.lists(st.sampled_from(few), min_size=1, max_size=6)
)
architectures = st.builds(
    Architecture, counts, st.lists(stages, min_size=1, max_size=8).map(tuple), head_counts
) | st.builds(Architecture, counts, twins.map(tuple), head_counts)


def layers(architecture: Architecture) -> list[tuple[object, ...]]:
    """What is built: layer by layer, with nothing of how stages are cut."""
    return [
        (s.op, s.kernel, s.stride if first else 1, s.expand_ratio, s.channels, s.se_ratio, s.group_width)
        for s in architecture.stages
        for first in [True] + [False] * (s.layers - 1)
    ]


@given(architectures)
@example(Architecture(1, (Stage("mbconv", 1, 1, 1, 1, 1, 5e-324),), 1))
@example(Architecture(1, (Stage("mbconv", 1, 1, 1, 1, 1, 1.0),), 1))
@example(Architecture(1, (Stage("regnet_z", 1, 1, 3, 4, 1, 0.0, 12),), 0))
def test_text_round_trips(architecture: Architecture) -> None:
    assert Architecture.parse(str(architecture)) == architecture
    assert str(Architecture.parse(str(architecture))) == str(architecture)


@given(architectures)
def test_json_round_trips_as_data_and_as_text(architecture: Architecture) -> None:
    data = architecture.to_json()
    assert Architecture.from_json(data) == architecture
    assert Architecture.from_json(json.dumps(data)) == architecture


@given(architectures, architectures)
def test_texts_values_hashes_and_layers_are_equal_together(a: Architecture, b: Architecture) -> None:
    same = (a.stem_channels, layers(a), a.head_channels) == (b.stem_channels, layers(b), b.head_channels)
    assert (str(a) == str(b)) == (a == b) == same
    assert not same or hash(a) == hash(b)


@given(architectures, st.data())
def test_cutting_a_stage_makes_no_other_network(architecture: Architecture, data: st.DataObject) -> None:
    i = data.draw(st.integers(0, len(architecture.stages) - 1))
    stage = architecture.stages[i]
    first = data.draw(st.integers(1, stage.layers))
    parts = [replace(stage, layers=first)]
    if first < stage.layers:
        parts.append(replace(stage, stride=1, layers=stage.layers - first))
    cut = (*architecture.stages[:i], *parts, *architecture.stages[i + 1 :])
    assert Architecture(architecture.stem_channels, cut, architecture.head_channels) == architecture


def test_equal_neighbours_join_only_at_stride_1() -> None:
    one, two = Stage("mbconv", 3, 1, 4, 16, 1), Stage("mbconv", 3, 2, 4, 16, 2)
    assert Architecture(8, (two, one, one), 64).stages == (Stage("mbconv", 3, 2, 4, 16, 4),)
    assert Architecture(8, (one, two, two), 64).stages == (one, two, two)
    assert Architecture(8, [one, one], 64).stages == (Stage("mbconv", 3, 1, 4, 16, 2),)  # type: ignore[arg-type]


def test_equal_neighbours_of_other_groups_do_not_join() -> None:
    one, two = Stage("regnet_y", 3, 1, 1, 16, 1, 0.25, 4), Stage("regnet_y", 3, 1, 1, 16, 1, 0.25, 8)
    assert Architecture(8, (one, two), 0).stages == (one, two)
    assert Architecture(8, (one, one), 0).stages == (replace(one, layers=2),)


def test_groups_and_a_missing_head_in_the_text() -> None:
    y, z = Stage("regnet_y", 3, 2, 1, 16, 2, 0.25, 8), Stage("regnet_z", 3, 2, 4, 24, 1, 0.0, 4)
    assert str(Architecture(8, (y, z), 0)) == GROUPED
    assert Architecture.parse(GROUPED) == Architecture(8, (y, z), 0)
    assert str(replace(y, group_width=1)) == "regnet_y_k3_s2_e1_c16_n2_se0.25"


def test_numpy_numbers_become_plain() -> None:
    numbers: list[Any] = [np.int64(3), np.int8(1), np.int32(6), np.uint16(40), np.int64(2), np.float64(0.25)]
    stage = Stage("regnet_y", *numbers, group_width=np.int16(8))  # type: ignore[arg-type]
    plain = Stage("regnet_y", 3, 1, 6, 40, 2, 0.25, 8)
    assert (stage, hash(stage), str(stage)) == (plain, hash(plain), str(plain))
    architecture = Architecture(numbers[0], (stage,), numbers[3])
    assert Architecture.from_json(json.dumps(architecture.to_json())) == architecture


def test_no_head_as_a_numpy_number_becomes_plain() -> None:
    architecture = Architecture(8, (Stage("regnet_y", 3, 2, 1, 16, 1),), np.int64(0))  # type: ignore[arg-type]
    assert type(architecture.head_channels) is int
    assert Architecture.from_json(json.dumps(architecture.to_json())) == architecture


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("op", "conv", "op must be one of mbconv, fused_mbconv, regnet_y, regnet_z; got 'conv'"),
        ("kernel", 4, "kernel must be odd, so that a layer keeps its map centred; got 4"),
        ("kernel", 0, "kernel must be an integer of at least 1; got 0"),
        ("stride", 1.0, "stride must be an integer of at least 1; got 1.0"),
        ("expand_ratio", True, "expand_ratio must be an integer of at least 1; got True"),
        ("channels", -8, "channels must be an integer of at least 1; got -8"),
        ("layers", 0, "layers must be an integer of at least 1; got 0"),
        ("layers", "2", "layers must be an integer of at least 1; got '2'"),
        ("se_ratio", 1.5, "se_ratio must be between 0 (none) and 1; got 1.5"),
        ("se_ratio", -0.25, "se_ratio must be between 0 (none) and 1; got -0.25"),
        ("se_ratio", float("nan"), "se_ratio must be between 0 (none) and 1; got nan"),
        ("se_ratio", True, "se_ratio must be between 0 (none) and 1; got True"),
        ("se_ratio", "0.25", "se_ratio must be between 0 (none) and 1; got '0.25'"),
        ("se_ratio", None, "se_ratio must be between 0 (none) and 1; got None"),
        ("group_width", 0, "group_width must be an integer of at least 1; got 0"),
        ("group_width", 2.0, "group_width must be an integer of at least 1; got 2.0"),
        ("group_width", True, "group_width must be an integer of at least 1; got True"),
        ("group_width", 8, "group_width of a mbconv must be 1: only RegNets have groups; got 8"),
    ],
)
def test_a_bad_field_is_refused(field: str, value: object, message: str) -> None:
    fields = {"op": "mbconv", "kernel": 3, "stride": 1, "expand_ratio": 4, "channels": 8, "layers": 1, "se_ratio": 0.25}
    with pytest.raises(ValueError, match=re.escape(message)):
        Stage(**{**fields, field: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=re.escape(message)):
        Architecture.from_json({"stem_channels": 8, "stages": [{**fields, field: value}], "head_channels": 64})


@pytest.mark.parametrize("op", ["regnet_y", "regnet_z"])
def test_groups_must_divide_the_width_inside(op: str) -> None:
    assert Stage(op, 3, 2, 4, 6, 1, group_width=8).group_width == 8  # of 24, though not of the 6 at its output
    for group_width in (5, 9, 16, 48):
        message = f"group_width must divide the width inside, 24; got {group_width}"
        with pytest.raises(ValueError, match=re.escape(message)):
            Stage(op, 3, 2, 4, 6, 1, group_width=group_width)


def test_only_regnets_have_groups() -> None:
    with pytest.raises(ValueError, match="group_width of a fused_mbconv must be 1: only RegNets have groups; got 2"):
        Stage("fused_mbconv", 3, 2, 4, 6, 1, group_width=2)


@pytest.mark.parametrize(
    ("stem", "stages", "head", "message"),
    [
        (0, TEXT, 64, "stem_channels must be an integer of at least 1; got 0"),
        (8, "", 64, "an architecture must have at least one stage; got none"),
    ],
)
def test_a_bad_architecture_is_refused(stem: int, stages: str, head: int, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Architecture(stem, Architecture.parse(stages).stages if stages else (), head)


@pytest.mark.parametrize("head", [64.5, -1, False, True, 0.0, -0.0, None, "0"])
def test_a_head_that_is_no_count_is_refused(head: Any) -> None:
    stages = Architecture.parse(TEXT).stages
    with pytest.raises(ValueError, match=rf"^head_channels must be an integer of at least .*; got {head!r}$"):
        Architecture(8, stages, head)


BEGINS = "must begin with mbconv_ or fused_mbconv_ or regnet_y_ or regnet_z_"
ENDS = "must be the end, or one of g<group_width> (a positive integer) and se<se_ratio> (a number over 0 and up to 1)"
ORDER = "in the order k s e c n g se"
PARSE_ERRORS = {
    # text: fragments of the message - where, what must hold, what came
    "": ["must read stem_c<width>-<stage>-...-head_c<width>", "got ''"],
    "stem_c8-head_c64": ["must read stem_c<width>-<stage>-...-head_c<width>", "got 'stem_c8-head_c64'"],
    "sten_c8-mbconv_k3_s2_e4_c16_n2-head_c64": ["part 1", "(character 1)", "stem_c<width>", "got 'sten_c8'"],
    "stem_c08-mbconv_k3_s2_e4_c16_n2-head_c64": ["part 1", "positive integer without leading zeros", "'stem_c08'"],
    "stem_c0-mbconv_k3_s2_e4_c16_n2-head_c64": ["part 1", "positive integer without leading zeros", "'stem_c0'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2-haed_c64": ["part 3", "(character 32)", "head_c<width>", "got 'haed_c64'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2-head_c": ["part 3", "(character 32)", "got 'head_c'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2-head_c64 ": ["part 3", "got 'head_c64 '"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2-head_c64\n": ["part 3", "got 'head_c64\\n'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2-head_c64-": ["part 3", "'head_c64'", BEGINS],
    "stem_c8-mbconv_k3_s2_e4_c16_n2": ["must read stem_c<width>-<stage>-...-head_c<width>"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2-mbconv_k3_s2_e4_c16_n2": ["part 3", "must be head_c<width>"],
    "stem_c8-conv_k3_s2_e4_c16_n2-head_c64": ["part 2", "(character 9)", BEGINS, "'conv_k3"],
    "stem_c8-MBConv_k3_s2_e4_c16_n2-head_c64": ["part 2", BEGINS],
    "stem_c8--head_c64": ["part 2", "(character 9)", "''", BEGINS],
    "stem_c8-mbconv-head_c64": ["part 2", "'mbconv'", BEGINS],
    "stem_c8-mbconv_-head_c64": ["character 16", "must be k<kernel>", "got ''"],
    "stem_c8-mbconv_k3_s2_e4_c16-head_c64": ["character 29", "must be n<layers>", ORDER, "the part ends here"],
    "stem_c8-mbconv_k3_s2_c16_n2-head_c64": ["character 22", "must be e<expand_ratio>", "got 'c16'"],
    "stem_c8-mbconv_s2_k3_e4_c16_n2-head_c64": ["character 16", "must be k<kernel>", "got 's2'"],
    "stem_c8-mbconv_k3_s2_e4_n2_c16-head_c64": ["character 25", "must be c<channels>", "got 'n2'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2_n2-head_c64": ["character 32", ENDS, "got 'n2'"],
    "stem_c8-mbconv_k3_s2_e4_c016_n2-head_c64": ["character 25", "without leading zeros", "got 'c016'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n0-head_c64": ["character 29", "n<layers>, a positive integer", "got 'n0'"],
    "stem_c8-mbconv_k3_s2_e4_c16.0_n2-head_c64": ["character 25", "must be c<channels>", "got 'c16.0'"],
    "stem_c8-mbconv_k3_s2_e+4_c16_n2-head_c64": ["character 22", "must be e<expand_ratio>", "got 'e+4'"],
    "stem_c8-mbconv_k3_s2_e4_c1\u0663_n2-head_c64": ["character 25", "must be c<channels>"],  # an Arabic 3
    "stem_c8-mbconv_k4_s2_e4_c16_n2-head_c64": ["part 2", "(character 9)", "kernel must be odd", "got 4"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2_se1.5-head_c64": ["character 32", "over 0 and up to 1", "got 'se1.5'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2_se0-head_c64": ["character 32", "over 0 and up to 1", "got 'se0'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2_se-head_c64": ["character 32", "over 0 and up to 1", "got 'se'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2_se0.2.5-head_c64": ["character 32", "got 'se0.2.5'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2_se1e-5-head_c64": ["character 32", "got 'se1e'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2_se0.25_x1-head_c64": ["part 2", "character 39", "must be the end", "got 'x1'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2_-head_c64": ["character 32", ENDS, "got ''"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2_se.25-head_c64": ["not the canonical text", "n2_se0.25-head_c64'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2_se0.250-head_c64": ["not the canonical text", "n2_se0.25-head_c64'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2_se0.0-head_c64": ["not the canonical text", "write", "_c16_n2-head_c64'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2-mbconv_k3_s1_e4_c16_n1-head_c64": ["not the canonical text", "_c16_n3-head_c64'"],
    # groups
    "stem_c8-regnet_k3_s2_e1_c16_n2_g8-head_c0": ["part 2", "(character 9)", BEGINS, "'regnet_k3_s2_e1_c16_n2_g8'"],
    "stem_c8-regnet_x_k3_s2_e1_c16_n2_g8-head_c0": ["part 2", "(character 9)", BEGINS],
    "stem_c8-regnet_y_k3_s2_e1_c16_g8_n2-head_c0": ["character 31", "must be n<layers>", ORDER, "got 'g8'"],
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_g0-head_c0": ["character 34", "g<group_width> (a positive integer)", "got 'g0'"],
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_g08-head_c0": ["character 34", "g<group_width>", "got 'g08'"],
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_g-head_c0": ["character 34", "g<group_width> (a positive integer)", "got 'g'"],
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_g8.0-head_c0": ["character 34", "g<group_width>", "got 'g8.0'"],
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_g+8-head_c0": ["character 34", "g<group_width>", "got 'g+8'"],
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_g\u0668-head_c0": ["character 34", "g<group_width>"],  # an Arabic 8
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_G8-head_c0": ["character 34", ENDS, "got 'G8'"],
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_g8_g8-head_c0": ["character 37", "must", ORDER, "got 'g8'"],
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_se0.25_g8-head_c0": ["character 41", "must", ORDER, "got 'g8'"],
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_g8_se2-head_c0": ["character 37", "over 0 and up to 1", "got 'se2'"],
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_g8_x-head_c0": ["character 37", "must be the end", "got 'x'"],
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_g5-head_c0": ["(character 9)", "must divide the width inside, 16; got 5"],
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_g1-head_c0": ["not the canonical text", "write", "_c16_n2-head_c0'"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2_g8-head_c64": ["part 2", "group_width of a mbconv must be 1", "got 8"],
    "stem_c8-mbconv_k3_s2_e4_c16_n2_g1-head_c64": ["not the canonical text", "write", "_c16_n2-head_c64'"],
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_g8-regnet_y_k3_s1_e1_c16_n1_g8-head_c0": ["not the canonical", "_c16_n3_g8-head"],
    # no head
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_g8-head_c00": ["part 3", "(character 37)", "or 0 for none", "got 'head_c00'"],
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_g8-head_c-0": ["part 3", "(character 37), 'head_c'", BEGINS],
    "stem_c8-regnet_y_k3_s2_e1_c16_n2_g8": ["must read stem_c<width>-<stage>-...-head_c<width>"],
    "stem_c0-regnet_y_k3_s2_e1_c16_n2_g8-head_c0": ["part 1", "without leading zeros; got 'stem_c0'"],
}


@pytest.mark.parametrize(("text", "fragments"), PARSE_ERRORS.items(), ids=range(len(PARSE_ERRORS)))
def test_a_bad_text_is_refused_with_the_place_and_the_remedy(text: str, fragments: list[str]) -> None:
    with pytest.raises(ValueError, match=r"must|canonical") as caught:
        Architecture.parse(text)
    missing = [f for f in fragments if f not in str(caught.value)]
    assert not missing, str(caught.value)


@pytest.mark.parametrize(
    ("text", "right", "wrong", "must"),
    [
        (TEXT, "k5", "k05", "be k<kernel>"),
        (TEXT, "se0.25", "se25", "be the end, or one of"),
        (GROUPED, "g4", "g04", "be the end, or one of"),
        (GROUPED, "n1_g4", "n1_h4", "be the end, or one of"),
    ],
)
def test_the_character_counts_from_1_in_the_whole_text(text: str, right: str, wrong: str, must: str) -> None:
    text = text.replace(right, wrong)
    with pytest.raises(ValueError, match=rf"part \d .*: character (\d+) must {must}") as caught:
        Architecture.parse(text)
    number = re.search(r": character (\d+)", str(caught.value))
    assert number is not None
    assert text[int(number[1]) - 1 :].startswith(wrong.removeprefix("n1_"))


signs = st.sampled_from(sorted(set(TEXT + GROUPED) | set("0123456789-_. +eE\n\u0663\u00b2zZ")))


@given(architectures, st.sampled_from(["replace", "insert", "delete"]), signs, st.data())
def test_one_wrong_character_is_refused_or_names_another_network(
    architecture: Architecture, how: str, sign: str, data: st.DataObject
) -> None:
    text = str(architecture)
    i = data.draw(st.integers(0, len(text) - 1))
    corrupted = text[:i] + ("" if how == "delete" else sign) + text[i if how == "insert" else i + 1 :]
    try:
        other = Architecture.parse(corrupted)
    except ValueError:
        return
    assert str(other) == corrupted
    assert (other == architecture) == (corrupted == text)


@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from(re.split("([-_])", f"{TEXT}-{GROUPED}")), max_size=20).map("".join)
    | st.lists(  # every order and every choice of a stage's tokens
        st.sampled_from(["k3", "s2", "e4", "c16", "n2", "g8", "g1", "se0.25", "se1"]), max_size=8
    ).map(lambda tokens: "_".join(["stem_c8-regnet_z", *tokens]) + "-head_c0")
)
def test_any_text_is_refused_or_canonical(text: str) -> None:
    try:
        architecture = Architecture.parse(text)
    except ValueError:
        return
    assert str(architecture) == text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "not JSON: "),
        ("[]", "an architecture must be an object with the fields stem_channels, stages, head_channels; got []"),
        ({"stem_channels": 8, "stages": []}, "missing: ['head_channels'], unknown: none"),
        ({"stem_channels": 8, "stages": [], "head_channels": 64, "x": 1}, "missing: none, unknown: ['x']"),
        ({"stem_channels": 8, "stages": {}, "head_channels": 64}, "stages must be a list; got {}"),
        ({"stem_channels": 8, "stages": [], "head_channels": 64}, "must have at least one stage; got none"),
        ({"stem_channels": 8, "stages": [7], "head_channels": 64}, "stage 1 must be an object with the fields op,"),
        ({"stem_channels": 8, "stages": [{"op": "mbconv"}], "head_channels": 64}, "stage 1 must have the fields op,"),
    ],
)
def test_bad_json_is_refused(data: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Architecture.from_json(data)  # type: ignore[arg-type]


def test_json_may_leave_out_the_squeeze_ratio_and_the_group_width_only() -> None:
    data = Architecture.parse("stem_c8-mbconv_k3_s2_e4_c16_n2-head_c64").to_json()
    del data["stages"][0]["se_ratio"]
    del data["stages"][0]["group_width"]
    assert Architecture.from_json(data) == Architecture.parse("stem_c8-mbconv_k3_s2_e4_c16_n2-head_c64")
    del data["stages"][0]["layers"]
    with pytest.raises(ValueError, match=re.escape("missing: ['layers']")):
        Architecture.from_json(data)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_are_those_of_the_papers_code(name: str) -> None:
    assert str(PUBLISHED[name]) == GOLDEN[name]
    assert read_architecture(name, PUBLISHED) == read_architecture(GOLDEN[name], PUBLISHED) == PUBLISHED[name]


def test_every_golden_network_is_published() -> None:
    assert PUBLISHED.keys() == GOLDEN.keys()


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("efficientnetv2-x", "efficientnetv2-xl"),
        ("efficientnet-v2-s", "efficientnetv2-s"),
        ("efficientnet_b4", "efficientnet-b4"),
        ("EfficientNet-b4", "efficientnet-b4"),
        ("efficientnetv2s", "efficientnetv2-s"),
        ("regnet-y-4.0gf", "regnety-4.0gf"),
        ("regnety-16", "regnety-16gf"),
        ("regnetz-500", "regnetz-500mf"),
        ("mnasnet_a1", "mnasnet-a1"),
    ],
)
def test_a_wrong_name_is_told_what_is_close(typo: str, meant: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"got {typo!r}. did you mean ")) as caught:
        read_architecture(typo, PUBLISHED)
    hint, _, rest = str(caught.value).partition("? Published: ")
    assert meant in hint.partition("did you mean ")[2].split(" or ")
    assert all(name in rest for name in PUBLISHED)


@pytest.mark.parametrize("text", ["", "?", "-", "mbconv_k3_s2_e4_c16_n2"])
def test_what_is_close_to_nothing_is_told_the_names_and_the_form(text: str) -> None:
    with pytest.raises(ValueError, match=r"Published: efficientnet-b0, .* Text form: stem_c24-mbconv") as caught:
        read_architecture(text, PUBLISHED)
    assert "did you mean" not in str(caught.value)


def test_a_text_with_an_error_is_told_the_place() -> None:
    with pytest.raises(ValueError, match=r"part 2 .* must be k<kernel>"):
        read_architecture("stem_c8-mbconv_kk_s2_e4_c16_n2-head_c64", PUBLISHED)
