"""From the options of `nas train` to a network and a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from nas.exports import Exported
    from trainers.recipe import Recipe
    from trainers.task import TrainingTask

# Modules that load torch are imported inside the functions, so that --help is quick.

SMALL = "small-cpu"
"""The recipe where none is named."""

DIGITS_PX = 32
"""The side at which the embedded pictures are trained on: what a search of the small space has, too."""


CHANGES = {
    "epochs": "epochs",
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "image_size": "image_size",
    "eval_size": "eval_size",
    "progression": "progression",
    "augment": "augmentation",
    "warmup_epochs": "warmup_epochs",
    "accumulate": "accumulate",
    "larger_batches": "smaller_sizes_larger_batches",
}
"""The options that change a recipe, and the setting that each changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What `nas train` is asked to begin: its options, but for those that may change when it is gone on with.

    Args:
        network: architecture, file or run; None where `model` is.
        recipe: its name.
        changes: of the recipe's settings, by their names.
        out: the folder; None names it after the network.
    """

    network: str | None
    trial: int | None
    model: str | None
    weights: Path | None
    data: str | None
    test_data: str | None
    minival: int | None
    split_seed: int | None
    seed: int
    memory: str
    out: Path | None
    recipe: str
    changes: Mapping[str, Any]

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Asked:
        """What the options of the command, by their names, ask for."""
        given = {name: options[name] for name in CHANGES if options[name] is not None and options[name] is not False}
        changes = {CHANGES[name]: value for name, value in given.items()}
        own = {field.name: options[field.name] for field in fields(cls) if field.name != "changes"}
        return cls(**own, changes=changes)


def check_going_on(folder: Path, given: Mapping[str, str]) -> None:
    """That nothing is asked for which a training has had from its begin.

    Args:
        folder: of the training.
        given: the options that were given, by their names, as the command calls them.

    Raises:
        ValueError: something is (names the options).
    """
    fixed = {*CHANGES, *(field.name for field in fields(Asked))} - {"network"}
    if refused := [option for name, option in given.items() if name in fixed]:
        raise ValueError(
            f"{', '.join(refused)} cannot change while a training is gone on with: leave "
            f"{'it' if len(refused) == 1 else 'them'} out to go on with {folder}, or begin another training, of the "
            f"architecture, in another folder"
        )


class NewTraining(NamedTuple):
    """A training that is to begin.

    Attributes:
        task: what is trained, and how.
        folder: where to.
        provenance: of the network, where it was searched for.
    """

    task: TrainingTask
    folder: Path
    provenance: Mapping[str, Any]


def new_training(asked: Asked, *, shards: int) -> NewTraining:
    """What is asked for, made whole with what a run knows of its network.

    Args:
        shards: parts of a batch, as many as there are devices.

    Raises:
        ValueError: no network or recipe is of the name, or a setting is out of its range.
    """
    from trainers.task import TrainingTask

    found = network_named(asked.network, asked.trial, asked.model)
    provenance = {} if found is None else found.search
    searched, data = provenance.get("search", {}), asked.data
    weights = asked.weights or (None if found is None else found.weights)  # of a file that is named as the network
    task = TrainingTask(
        **network_fields(found, asked.model),
        recipe=recipe_for(asked.recipe, found, data, asked.changes),
        source=absolute(data) or searched.get("data") or "mnist5k",
        test_source=absolute(asked.test_data) or (searched.get("test_data") if data is None else None),
        minival=searched.get("minival") if asked.minival is None and data is None else asked.minival,
        split_seed=searched.get("split_seed", 0) if asked.split_seed is None else asked.split_seed,
        seed=asked.seed,
        shards=shards,
        weights=None if weights is None else str(weights.resolve()),
        memory=asked.memory,
    )
    name = str(asked.model).rpartition(":")[2] if found is None else found.network.name
    return NewTraining(task, asked.out or Path("trainings") / name, provenance)


def network_named(network: str | None, trial: int | None, model: str | None) -> Exported | None:
    """The network that is named; None where it is the user's own.

    Raises:
        ValueError: there is not one name.
    """
    if model is not None:
        if network is not None:
            raise ValueError(f"a training has one network: name an architecture or --model; got {network} and {model}")
        if trial is not None:
            raise ValueError(f"--trial must go with the run that it is a trial of; got --model {model}: leave one out")
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
    from trainers.weights import read_header

    name, settings = found.network.name, None
    if found.weights is not None:
        settings = read_header(found.weights).settings
    elif name in PUBLISHED:
        settings = published_settings(name)
    settings = settings or NetworkSettings()
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


def _least_size(largest: int, stride: int) -> int:
    """The side that sizes in proportion to a smaller largest one stop at.

    It leaves the last map two pixels wide, since one of one pixel learns little that larger pictures could use, or is
    three quarters of the largest where that is less.
    """
    return min(largest, max(stride, min(2 * stride, round(0.75 * largest))))


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
    given = {**_as_searched(name, found, data), **changes}
    for key, parse in (("progression", Progression.parse), ("augmentation", Augmentation.parse)):
        if key in given:
            given[key] = parse(given[key])
    recipe = RECIPES[name]()
    if "epochs" in given:
        recipe = recipe.for_epochs(given.pop("epochs"))
    if "progression" not in given:
        own = recipe.progression
        if "augmentation" in given:  # the strengths asked for, not the recipe's
            own = replace(own, randaugment=None, mixup=None, cutmix=None)
        if "image_size" in given and recipe.image_size:  # the others in proportion
            largest = given["image_size"]
            least = 1 if found is None else _least_size(largest, found.network.architecture.total_stride)
            own = replace(own, smallest=max(least, round(own.smallest * largest / recipe.image_size)))
            if recipe.eval_size and "eval_size" not in given:
                given["eval_size"] = round(recipe.eval_size * largest / recipe.image_size)
        given["progression"] = own
    return replace(recipe, **given)
