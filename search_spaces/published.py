"""Every published network by name, with the picture sizes and the activation it was published with."""

from __future__ import annotations

from search_spaces.architecture import Architecture
from search_spaces.efficientnet import EFFICIENTNET_SIZES, EFFICIENTNETS, MNASNETS, ImageSizes
from search_spaces.regnet import REGNETS

PUBLISHED: dict[str, Architecture] = {**EFFICIENTNETS, **MNASNETS, **REGNETS}
"""The published networks by name."""

IMAGE_SIZES: dict[str, ImageSizes] = {
    **{name: ImageSizes(224, 224) for name in PUBLISHED},
    **EFFICIENTNET_SIZES,
    "regnetz-4.0gf": ImageSizes(256, 256),
}
"""Their picture sizes; RegNetZ-4GF's is not printed, 256 gives the macs that are."""

ACTIVATIONS: dict[str, str] = {
    name: "relu" if name.startswith(("mnasnet", "regnety")) else "silu" for name in PUBLISHED
}
"""Their activations, which an architecture does not say; `trainers.NetworkSettings` takes it."""
