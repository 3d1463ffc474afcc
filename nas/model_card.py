"""A model card in markdown: what a network is, what it costs, how it was searched for and trained, how to use it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import nas
from nas.exports import Exported
from search_spaces import PartCost, cost, part_costs

_FRONT = """---
library_name: training-aware-nas
pipeline_tag: image-classification
tags:
- image-classification
- neural-architecture-search
---
"""

_USE = """```python
from pathlib import Path
from trainers.weights import saved_network

network = saved_network(Path("model.safetensors"))  # as `nas export ... --to safetensors` writes it
logits = network(pictures)  # (batch, {in_channels}, {image_size}, {image_size}), normalised as in training
```
"""


def model_card(
    exported: Exported, image_size: int, *, num_classes: int, in_channels: int, about: Mapping[str, str]
) -> str:
    """The card of a network.

    Args:
        exported: the network and what is known of it.
        image_size: side of the pictures that costs are told for, in pixels.
        num_classes: of the classifier.
        in_channels: of a picture.
        about: what the weights' file tells besides; of it, `mean` and `std` of the pictures as JSON.

    Returns:
        Markdown that begins with the YAML that model hubs read.
    """
    architecture = exported.network.architecture
    shape = {"num_classes": num_classes, "in_channels": in_channels}
    total = cost(architecture, image_size, **shape)
    sizes = exported.network.image_sizes
    facts: dict[str, Any] = {
        "architecture": f"`{architecture}`",
        "classes": num_classes,
        "channels of a picture": in_channels,
        **({"trained on, px": sizes.train, "evaluated on, px": sizes.eval} if sizes else {}),
        f"params, macs and activations at {image_size} px": ", ".join(f"{n:,}" for n in total),
        **{f"{key} of the pictures, whose values are 0 to 1": about[key] for key in ("mean", "std") if key in about},
        "written by": f"training-aware-nas {nas.__version__}",
    }
    parts = [
        f"{_FRONT}\n# {exported.network.name}\n",
        _table(("", ""), facts.items()),
        "## Network\n",
        _stages(part_costs(architecture, image_size, **shape)),
        "A multiply-add counts once (papers print macs as FLOPs); a bias addition counts as one.\n",
        "## Results\n",
        _section(exported.results, "No accuracy is recorded.\n"),
        "## Training\n",
        _section(exported.training, _untrained(exported)),
        "## Search\n",
        _section(exported.search, "Not found by a search of this software, or nothing is recorded of it.\n"),
        "## Use\n",
        _USE.format(in_channels=in_channels, image_size=image_size),
    ]
    return "\n".join(parts)


def _untrained(exported: Exported) -> str:
    if exported.weights is None:
        return "Not trained: this is the network alone.\n"
    return f"Weights from `{exported.weights.name}`; nothing is recorded of their training.\n"


def _section(known: Mapping[str, Any], otherwise: str) -> str:
    return _table(("field", "value"), _flat(known)) if known else otherwise


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested fields with dots between their names."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value


def _stages(parts: Sequence[PartCost]) -> str:
    columns = ("part", "op", "kernel", "stride", "expansion", "squeeze-excite", "channels", "layers", "output", "macs")
    rows = []
    for part in parts:
        names = ("op", "kernel", "stride", "expand_ratio", "se_ratio")
        design = [getattr(part.stage, name, "") for name in names]
        layers = getattr(part.stage, "layers", "")
        rows.append([part.name, *design, part.channels, layers, part.output_size, f"{part.cost.macs:,}"])
    return _table(columns, rows)


def _table(columns: Sequence[str], rows: Iterator[Sequence[Any]] | Any) -> str:
    lines = [" | ".join(columns), " | ".join("---" for _ in columns), *(" | ".join(map(_cell, row)) for row in rows)]
    return "".join(f"| {line} |\n" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return _cell(json.dumps(value) if len(value) <= 20 else f"{len(value)} values")
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).replace("|", "\\|").split())
