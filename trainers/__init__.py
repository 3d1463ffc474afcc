"""Training and timing a network; knows nothing of search."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# torch's profiler, which counts memory, prints two lines each time; it reads this when torch is loaded
os.environ.setdefault("KINETO_LOG_LEVEL", "6")

if TYPE_CHECKING:
    from trainers.blocks import NetworkSettings
    from trainers.data import Data, load_data
    from trainers.network import build_network, published_settings
    from trainers.progressive import Progression
    from trainers.proxy import ProxyTask
    from trainers.recipe import Recipe
    from trainers.recipes import RECIPES

__all__ = [
    "RECIPES",
    "Data",
    "NetworkSettings",
    "Progression",
    "ProxyTask",
    "Recipe",
    "build_network",
    "load_data",
    "published_settings",
]

_HOMES = {
    "Data": "trainers.data",
    "NetworkSettings": "trainers.blocks",
    "Progression": "trainers.progressive",
    "ProxyTask": "trainers.proxy",
    "RECIPES": "trainers.recipes",
    "Recipe": "trainers.recipe",
    "build_network": "trainers.network",
    "load_data": "trainers.data",
    "published_settings": "trainers.network",
}


def __getattr__(name: str) -> Any:
    """Load torch when something of it is first asked for, not when the package is imported."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trainers' has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
