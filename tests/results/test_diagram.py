"""Block diagrams: well-formed, whole, and nothing told by colour alone."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.diagram import OP_NAMES, diagram_svg, diagram_text
from search_spaces import PUBLISHED, SPACES, Architecture, part_costs

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(found.itertext()) for found in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_part_is_a_box_with_its_op_design_width_size_and_cost(name: str) -> None:
    architecture = PUBLISHED[name]
    root = ET.fromstring(diagram_svg(architecture, 224))
    boxes = [group for group in root.iter(f"{SVG}g") if group.find(f"{SVG}title") is not None]
    parts = part_costs(architecture, 224)
    assert len(boxes) == len(parts)
    for box, part in zip(boxes, parts, strict=True):
        size, title, out, design = ("".join(text.itertext()) for text in box.iter(f"{SVG}text"))
        assert size == f"{part.output_size} px"
        assert out.startswith(f"{part.channels:,} ")
        assert f"{part.cost.params:,} params" in box.findtext(f"{SVG}title", "")
        if part.stage is not None:
            assert title == OP_NAMES[part.stage.op]
            assert design.startswith(f"{part.stage.kernel}\u00d7{part.stage.kernel}, expand {part.stage.expand_ratio}")
            assert ("SE" in design) == bool(part.stage.se_ratio)
            assert out.endswith(f"\u00d7 {part.stage.layers}") == (part.stage.layers > 1)
    strides = [text for text in texts(diagram_svg(architecture, 224)) if text.startswith("stride")]
    assert len(strides) == 1 + sum(stage.stride > 1 for stage in architecture.stages)


def test_the_legend_explains_what_is_there_and_no_more() -> None:
    single = Architecture.parse("stem_c8-mbconv_k3_s2_e4_c16_n1-head_c32")
    assert "ch: channels out" in texts(diagram_svg(single, 32))
    assert any("three layers" in text for text in texts(diagram_svg(PUBLISHED["efficientnetv2-s"], 224)))


def test_the_legend_names_the_ops_that_are_there() -> None:
    svg = diagram_svg(PUBLISHED["efficientnet-b0"], 224)
    assert texts(svg).count("MBConv") == 8  # seven stages and the legend
    assert "Fused-MBConv" not in svg


def test_it_is_drawn_in_the_colours_of_its_page_and_needs_nothing_else() -> None:
    svg = diagram_svg(PUBLISHED["efficientnetv2-s"], 384)
    assert "currentColor" in svg
    assert "var(--op-mbconv,#" in svg
    assert "#000" not in svg
    assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert " id=" not in svg  # several stand on one page


@given(st.integers(0, 2**32), st.sampled_from(sorted(SPACES)), st.integers(1, 600), st.integers(1, 10**6))
def test_any_network_fits_the_drawing(seed: int, space: str, image_size: int, num_classes: int) -> None:
    searched = SPACES[space]
    architecture = searched.decode(searched.sample(np.random.default_rng(seed)))
    root = ET.fromstring(diagram_svg(architecture, image_size, num_classes=num_classes, in_channels=1))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for rect in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height
    lines = diagram_text(architecture, image_size, num_classes=num_classes, in_channels=1).splitlines()
    assert all(line.isascii() and len(line) <= 80 for line in lines)
    assert len(lines) == len(part_costs(architecture, image_size)) + 2


def test_text_says_what_the_drawing_does() -> None:
    architecture = Architecture.parse("stem_c8-fused_mbconv_k5_s2_e4_c16_n3-mbconv_k3_s1_e6_c24_n1_se0.25-head_c64")
    assert diagram_text(architecture, 32, num_classes=10, in_channels=1).splitlines() == [
        "   32 px                       picture, 1 channel",
        "   16 px   | stem 3x3                                             8 | /2",
        "    8 px    | Fused-MBConv 5x5, expand 4                        16 | x3 /2",
        "    8 px    | MBConv 3x3, expand 6, SE 0.25                     24 |",
        "    8 px    | head 1x1                                          64 |",
        "    1 px       | classifier after pooling                    10 |",
        "a line: map, op and its design, channels, xN: N layers, /2: stride 2",
    ]
