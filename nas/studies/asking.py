"""What is asked of a study: on what, how many trainings at a time, and whether one that is there is the one meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.plugins import absolute
from nas.studies import STUDIES, load
from nas.studies import folder as folders
from nas.studies.study import Conditions
from trainers.cores import usable_cores


def conditions_of(given: Mapping[str, Any]) -> Conditions:
    """The conditions asked for, those that were not as they are by default, on a device that is there.

    Raises:
        ValueError: the device is unknown or not there.
    """
    from trainers.devices import torch_device

    made = Conditions(**given)
    return replace(made, device=torch_device(made.device).type)


def asked_for(
    name: str, *, data: str | None, test_data: str | None, model: str | None, device: str | None, seed: int | None
) -> dict[str, Any]:
    """The conditions of `conditions_of` that were asked for, those that name files by their absolute paths.

    Args:
        name: of the study.

    Raises:
        ValueError: there is no such study, or the study takes no pictures or no model.
    """
    study, places = load(name), {"data": data, "test_data": test_data}
    for key, place in places.items():
        if place is None:
            continue
        if not study.on_pictures:
            raise ValueError(f"the study {name} needs no pictures; got --{key.replace('_', '-')} {place}: leave it out")
        if not place.strip():
            raise ValueError(f"--{key.replace('_', '-')} must name pictures; got {place!r}")
        if Path(place).exists():
            places[key] = str(Path(place).resolve())
    if model is not None and not study.takes_model:
        takers = [other for other in STUDIES if load(other).takes_model]
        raise ValueError(f"a model (--model) can take part in {', '.join(takers)}; the study {name} takes none")
    own = None if model is None else absolute(model)
    given = {**places, "model": own, "device": device, "seed": seed}
    return {key: value for key, value in given.items() if value is not None}


def workers_of(device: str, count: int | None) -> int:
    """Trainings at a time: as many as asked for, else one a core, and one on a GPU; on a CPU at most one a core."""
    if device != "cpu":
        return count or 1
    return min(count or usable_cores(), usable_cores())


def check_same(folder: Path, name: str, given: Mapping[str, Any], budget: float | None) -> None:
    """That a study that is gone on with is the one that is asked for.

    Args:
        folder: of the study.
        name: of the one that is asked for.
        given: conditions that were asked for (`asked_for`).
        budget: in minutes; None where nothing was said.

    Raises:
        ValueError: it is another (says in what).
    """
    from trainers.devices import torch_device

    content = folders.read(folder)
    if content["study"] != name:
        raise ValueError(f"{folder} holds the study {content['study']}, and {name} was asked for: name another --out")
    for key, asked in given.items():
        value = torch_device(asked).type if key == "device" else asked
        if value != content["conditions"][key]:
            raise ValueError(
                f"a study that is gone on with must be the one it was; {folder} has {key} "
                f"{content['conditions'][key]}, and {value} was asked for: leave it out, or name another --out"
            )
    if budget is not None and budget != content["budget_min"]:
        raise ValueError(
            f"a study has the size that its first budget gave it; {folder} had {content['budget_min']:g} minutes, and "
            f"{budget:g} were asked for: leave --budget out to go on, or name another --out"
        )
