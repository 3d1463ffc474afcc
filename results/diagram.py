"""Block diagrams of networks: as SVG for a page, and as text for a terminal.

A box a part, from the picture down: the narrower the box, the smaller its map; a stack is several layers. Each box
names its op, so that nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from search_spaces import Architecture, PartCost, Stage, part_costs

OP_NAMES = {"mbconv": "MBConv", "fused_mbconv": "Fused-MBConv", "regnet_y": "RegNetY", "regnet_z": "RegNetZ"}
"""How people call the ops."""

OP_COLOURS = {"mbconv": "#3f8fd2", "fused_mbconv": "#e0861a", "regnet_y": "#1fa37a", "regnet_z": "#b06fc4"}
"""Told apart with all kinds of colour vision (after Okabe and Ito), and on white as on black; `--op-mbconv` and so on
in a page's style are taken in their place."""

_WIDTH, _LEFT, _RIGHT = 360, 54, 346  # of the drawing, and of the widest box, which are phone pixels
_INSET, _MOST_INSET = 4, 24  # of either side of a box for each halving of the map
_COLUMNS = 60  # of the widest box of text
_BOX, _GAP, _SHEET = 38, 18, 3  # height of a box, between two, and how far the sheets of a stack are apart

_STYLE = (
    f"""
.nas-diagram{{width:100%;max-width:{_WIDTH * 1.25:.0f}px;height:auto;font-family:system-ui,sans-serif}}
.nas-diagram text{{fill:currentColor;font-size:11px}}
.nas-diagram .name{{font-size:12.5px;font-weight:600}}
.nas-diagram .size,.nas-diagram .note{{fill-opacity:.75}}
.nas-diagram rect{{fill:var(--op,currentColor);fill-opacity:.16;stroke:var(--op,currentColor);stroke-width:1.2}}
.nas-diagram .plain rect{{fill-opacity:.06;stroke-opacity:.45}}
.nas-diagram path{{fill:none;stroke:currentColor;stroke-opacity:.55;stroke-width:1.2}}
""".replace("\n", "")
    + "".join(
        f".nas-diagram .{op}{{--op:var(--op-{op.replace('_', '-')},{colour})}}" for op, colour in OP_COLOURS.items()
    )
)


@dataclass(frozen=True, slots=True)
class Box:
    """A part as it is drawn.

    Args:
        name: what it is.
        design: its kernel and so on, in words.
        channels: width at its output.
        stride: of its first layer.
        layers: how many.
        output_size: side of its output map, in pixels.
        op: of a stage; None elsewhere.
        about: all of it in a line, with its cost.
    """

    name: str
    design: str
    channels: int
    stride: int
    layers: int
    output_size: int
    op: str | None
    about: str


def diagram_svg(architecture: Architecture, image_size: int, *, num_classes: int = 1000, in_channels: int = 3) -> str:
    """The network as an `<svg>` element for a page, or a file of its own.

    It takes its text colour from where it stands (`currentColor`), can be read where it is 360 pixels wide, and tells
    the cost of a part where the pointer rests on it.

    Args:
        architecture: the network.
        image_size: side of its pictures, in pixels.
        num_classes: outputs of the classifier.
        in_channels: of a picture.

    Raises:
        ValueError: as `search_spaces.cost`.
    """
    boxes = list(boxes_of(part_costs(architecture, image_size, num_classes=num_classes, in_channels=in_channels)))
    drawn = [
        f'<text x="{_LEFT - 8}" y="14" text-anchor="end" class="size">{image_size} px</text>'
        f'<text x="{_WIDTH // 2 + 20}" y="14" text-anchor="middle">picture, {_counted(in_channels, "channel")}</text>'
    ]
    top, sheets_before = 20.0, 0
    for box in boxes:
        drawn.append(_arrow(top + sheets_before * _SHEET, box.stride))
        top += sheets_before * _SHEET + _GAP
        sheets_before = min(box.layers, 3) - 1
        drawn.append(_drawn(box, top, sheets_before, image_size))
        top += _BOX
    legend = _legend(boxes, top + 20)
    height = top + 20 + 16 * len(legend)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="nas-diagram" viewBox="0 0 {_WIDTH} {height:g}" role="img" '
        f'aria-label="Block diagram of {architecture}"><style>{_STYLE}</style>{"".join(drawn)}{"".join(legend)}</svg>'
    )


def diagram_text(architecture: Architecture, image_size: int, *, num_classes: int = 1000, in_channels: int = 3) -> str:
    """The network as lines of ASCII for a terminal of 80 columns; Args and Raises as `diagram_svg`."""
    picture = f"picture, {_counted(in_channels, 'channel')}"
    lines = [f"{image_size:>5} px  {picture:^{_COLUMNS}}".rstrip()]
    for box in boxes_of(part_costs(architecture, image_size, num_classes=num_classes, in_channels=in_channels)):
        inset = min(halvings(image_size, box.output_size), 6)
        inside = f"{f' {box.name} {box.design}':<{_COLUMNS - 9 - 2 * inset}}{box.channels:>6} "
        after = [f" x{box.layers}"] if box.layers > 1 else []
        after += [f" /{box.stride}"] if box.stride > 1 else []
        lines.append(f"{box.output_size:>5} px  {' ' * inset}|{inside}|{''.join(after)}")
    return "\n".join([*lines, "a line: map, op and its design, channels, xN: N layers, /2: stride 2"])


def boxes_of(parts: list[PartCost]) -> Iterator[Box]:
    """The parts of a network as they are drawn."""
    for part in parts:
        stage = part.stage
        cost = f"{part.cost.params:,} params, {part.cost.macs:,} macs, {part.cost.activations:,} activations"
        if stage is not None:
            name, design, stride, layers = OP_NAMES[stage.op], _design(stage), stage.stride, stage.layers
            op, about = stage.op, f"{part.name}: {stage}; {cost}"
        else:
            name, stride, layers = part.name, 2 if part.name == "stem" else 1, 1
            op, about = None, f"{part.name}: {cost}"
            design = {"stem": "3x3", "head": "1x1"}.get(part.name, "after pooling")
        yield Box(name, design, part.channels, stride, layers, part.output_size, op, about)


def _design(stage: Stage) -> str:
    said = [f"{stage.kernel}x{stage.kernel}", f"expand {stage.expand_ratio}"]
    said += [f"group {stage.group_width}"] if stage.group_width > 1 else []
    said += [f"SE {stage.se_ratio:.3g}"] if stage.se_ratio else []
    return ", ".join(said)


def halvings(image_size: int, output_size: int) -> int:
    """How often a map of the picture's size was halved."""
    return max(0, round(image_size / output_size).bit_length() - 1)


def _drawn(box: Box, top: float, sheets: int, image_size: int) -> str:
    """A box with its words, and the sheets of its stack behind it."""
    inset = min(_INSET * halvings(image_size, box.output_size), _MOST_INSET)
    left, width = _LEFT + inset, _RIGHT - _LEFT - 2 * inset
    edges = "".join(
        f'<path d="M{left + _SHEET * n} {top + _BOX + _SHEET * (n - 1) + 1.2:g}v{_SHEET - 1.2:g}h{width}v-{_BOX}h-'
        f'{_SHEET - 1.2:g}" style="stroke:var(--op,currentColor)"/>'
        for n in range(1, sheets + 1)
    )
    times = f" \u00d7 {box.layers}" if box.layers > 1 else ""
    told = "classes" if box.name == "classifier" else "ch"
    return (
        f'<g class="{box.op or "plain"}"><title>{box.about}</title>{edges}'
        f'<rect x="{left}" y="{top:g}" width="{width}" height="{_BOX}" rx="5"/>'
        f'<text x="{_LEFT - 8}" y="{top + 23:g}" text-anchor="end" class="size">{box.output_size} px</text>'
        f'<text x="{left + 9}" y="{top + 16:g}" class="name">{box.name}</text>'
        f'<text x="{left + width - 9}" y="{top + 16:g}" text-anchor="end" class="name">'
        f"{box.channels:,} {told}{times}</text>"
        f'<text x="{left + 9}" y="{top + 31:g}">{_with_sign(box.design)}</text></g>'
    )


def _arrow(top: float, stride: int) -> str:
    """From one box to the next, saying where the map gets smaller."""
    middle, end = (_LEFT + _RIGHT) // 2, top + _GAP - 3
    said = f'<text x="{middle + 9}" y="{end - 1:g}" class="note">stride {stride}</text>' if stride > 1 else ""
    return f'<path d="M{middle} {top + 2:g}V{end:g}m-3.5-3.5l3.5 3.5l3.5-3.5"/>{said}'


def _legend(boxes: list[Box], top: float) -> list[str]:
    """What the colours and the shapes say: a line of ops, and one of the rest."""
    lines, x = [], 8.0
    for op in dict.fromkeys(box.op for box in boxes if box.op is not None):
        lines.append(
            f'<g class="{op}"><rect x="{x:g}" y="{top - 9:g}" width="10" height="10" rx="2"/>'
            f'<text x="{x + 15:g}" y="{top:g}">{OP_NAMES[op]}</text></g>'
        )
        x += 30 + 7 * len(OP_NAMES[op])
    said = ["SE: squeeze-excite"] * any("SE" in box.design for box in boxes) + ["ch: channels out"]
    said += ["\u00d7 3: three layers"] * any(box.layers > 1 for box in boxes)
    note = " \u00b7 ".join(said)
    return ["".join(lines), f'<text x="8" y="{top + 16:g}" class="note">{note}</text>']


def _with_sign(design: str) -> str:
    """3x3 with the sign for times."""
    return design.replace("x", "\u00d7", 1) if design[:1].isdigit() else design


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
