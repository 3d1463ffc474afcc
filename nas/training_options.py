"""From the options of `nas train` to a network and a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.exports import Exported
    from trainers.recipe import Recipe

# Modules that load torch are imported inside the functions, so that --help is quick.

SMALL = "small-cpu"
"""The recipe where none is named."""

DIGITS_PX = 32
"""The side at which the embedded pictures are trained on: what a search of the small space has, too."""


def network_named(network: str | None, trial: int | None, model: str | None) -> Exported | None:
    """The network that is named; None where it is the user's own.

    Raises:
        ValueError: there is not one name.
    """
    if model is not None:
        if network is not None:
            raise ValueError(f"a training has one network: name an architecture or --model; got {network} and {model}")
        return None
    if network is None:
        raise ValueError("name what to train: an architecture, a file, a run's folder, or --model")
    from nas.exports import find_exported

    return find_exported(network, trial)


def network_fields(found: Exported | None, model: str | None) -> dict[str, Any]:
    """The fields of a `TrainingTask` that say which network it has."""
    if found is None:
        place, _, function = str(model).rpartition(":")
        return {"model": f"{absolute(place)}:{function}" if place.endswith(".py") else model}
    from search_spaces import PUBLISHED
    from trainers.blocks import NetworkSettings
    from trainers.network import published_settings

    name = found.network.name
    settings = published_settings(name) if name in PUBLISHED else NetworkSettings()
    return {"architecture": found.network.architecture, "settings": settings}


def absolute(path: str | None) -> str | None:
    """A path that holds wherever the training is gone on with; a name that is no path as it is."""
    return path if path is None or not Path(path).exists() else str(Path(path).resolve())


def _as_searched(recipe: str, found: Exported | None, data: str | None) -> dict[str, Any]:
    """Picture size and variation where no published recipe says them: as searched, or as suits the digits."""
    if recipe != SMALL:
        return {}
    searched = {} if found is None else found.search.get("search", {})
    if found is not None and searched and found.network.image_sizes is not None:
        return {"image_size": found.network.image_sizes.train, "augmentation": searched.get("augment", "none")}
    return {"image_size": DIGITS_PX, "augmentation": "none"} if data in (None, "mnist5k") else {}


def recipe_for(name: str, found: Exported | None, data: str | None, changes: Mapping[str, Any]) -> Recipe:
    """A recipe by its name, with some of its settings changed: to what is asked for, or else to what was searched.

    Raises:
        ValueError: there is none of that name, or a setting is out of its range.
    """
    from trainers.augmentation import Augmentation
    from trainers.progressive import Progression
    from trainers.recipes import RECIPES

    if name not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPES)}; got {name!r}")
    given = {**_as_searched(name, found, data), **{key: value for key, value in changes.items() if value is not None}}
    for key, parse in (("progression", Progression.parse), ("augmentation", Augmentation.parse)):
        if key in given:
            given[key] = parse(given[key])
    recipe = RECIPES[name]()
    if "epochs" in given and recipe.warmup_epochs is not None and "warmup_epochs" not in given:
        given["warmup_epochs"] = recipe.warmup_epochs * given["epochs"] / recipe.epochs
    if "progression" not in given:
        own = recipe.progression
        if "augmentation" in given:  # the strengths asked for, not the recipe's
            own = replace(own, randaugment=None, mixup=None, cutmix=None)
        if "image_size" in given and recipe.image_size:  # the others in proportion
            largest = given["image_size"]
            # a last map of one pixel learns little that larger pictures could use
            least = 1 if found is None else min(largest, 2 * found.network.architecture.total_stride)
            own = replace(own, smallest=max(least, round(own.smallest * largest / recipe.image_size)))
            if recipe.eval_size and "eval_size" not in given:
                given["eval_size"] = round(recipe.eval_size * largest / recipe.image_size)
        given["progression"] = own
    return replace(recipe, **given)
