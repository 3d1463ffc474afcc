"""Which network a text on the command line stands for: a published one, an architecture text, a file, or a trial."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces import IMAGE_SIZES, PUBLISHED, Architecture, ImageSizes, read_architecture
from search_spaces.architecture import checked_count


@dataclass(frozen=True, slots=True)
class NamedNetwork:
    """A network and what is known of it.

    Args:
        name: to call it and its files by.
        architecture: the network.
        image_sizes: it is trained and evaluated on; None where nothing says so.
        space: name of the search space it was found in; None where it was not.
        num_classes: of the task it was searched or scaled for; None where nothing says so.
        in_channels: of that task's pictures.
        trial: its number in the run it was found in; None where it comes from no run.
    """

    name: str
    architecture: Architecture
    image_sizes: ImageSizes | None = None
    space: str | None = None
    num_classes: int | None = None
    in_channels: int | None = None
    trial: int | None = None


def find_network(text: str, trial: int | None = None) -> NamedNetwork:
    """The network that a text stands for.

    Args:
        text: a published name, an architecture text, a file that holds either or that `nas scale` wrote, or the
            folder of a run.
        trial: which trial of the run; None is the one of the highest reward.

    Raises:
        ValueError: it stands for none, or a trial is asked of what is no run.
        OSError: the file or the run cannot be read.
    """
    path = Path(text)
    if text in PUBLISHED:
        found = NamedNetwork(text, PUBLISHED[text], IMAGE_SIZES[text])
    elif not text.strip() or text.startswith("stem_"):
        mark = hashlib.blake2b(text.encode(), digest_size=3).hexdigest()  # two texts' families have two folders
        found = NamedNetwork(f"network-{mark}", read_architecture(text, PUBLISHED))
    elif path.is_dir():
        return _of_run(path, trial)
    elif path.is_file():
        found = _of_file(path)
    else:
        found = NamedNetwork("network", read_architecture(text, PUBLISHED))
    if trial is not None:
        raise ValueError(f"--trial must go with the folder of a run; got {text!r}")
    return found


def shape_of(network: NamedNetwork, num_classes: int | None, in_channels: int | None) -> dict[str, int]:
    """Classes and channels: those asked for, else those the network was searched or scaled for, else ImageNet's."""
    return {
        "num_classes": num_classes or network.num_classes or 1000,
        "in_channels": in_channels or network.in_channels or 3,
    }


def _of_file(path: Path) -> NamedNetwork:
    try:
        content = path.read_text().strip()
        if not content.startswith("{"):
            return NamedNetwork(path.stem, read_architecture(content, PUBLISHED), IMAGE_SIZES.get(content))
        data = json.loads(content)
        if "architecture" in data:
            return _of_member(path.stem, data)
        return NamedNetwork(path.stem, Architecture.from_json(data))
    except (TypeError, ValueError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ValueError(
            f"{path} must hold a published name, an architecture as text or JSON, or what `nas scale` writes: {error}"
        ) from error


def _of_member(name: str, data: Mapping[str, Any]) -> NamedNetwork:
    if not isinstance(data["architecture"], str):
        raise ValueError(f"architecture must be a text; got {data['architecture']!r}")
    for key in ("image_size", "train_image_size"):
        checked_count(key, data.get(key))
    for key in ("num_classes", "in_channels"):
        if key in data:
            checked_count(key, data[key])
    sizes = ImageSizes(data["train_image_size"], data["image_size"])
    return NamedNetwork(
        name,
        Architecture.parse(data["architecture"]),
        sizes,
        num_classes=data.get("num_classes"),
        in_channels=data.get("in_channels"),
    )


def _of_run(folder: Path, trial: int | None) -> NamedNetwork:
    from results.analysis import best_network  # loads pandas
    from results.store import TrialStore

    store = TrialStore.open(folder)
    frame = store.frame()
    if trial is None:
        best = best_network(frame)
        if best is None:
            complete = int((frame["state"] == "complete").sum())
            why = f"none of its {complete:,} complete trials" if complete else "no trial is complete yet, so none"
            raise ValueError(f"of {folder}, {why} has a reward to choose the best by: name a trial with --trial")
        trial = best.number
    rows = frame[frame["number"] == trial]
    if rows.empty:
        raise ValueError(f"--trial must be one of the {len(frame)} trials of {folder}; got {trial}")
    name = f"{folder.resolve().name}-trial{trial}"
    architecture = Architecture.parse(str(rows["architecture"].iloc[0]))
    size = store.configuration.get("columns", {}).get("image_size")  # a store written from Python may not say
    sizes = None if size is None else ImageSizes(int(size), int(size))
    task = store.configuration.get("identity", {}).get("task", {})
    shape = {key: task.get(key) for key in ("num_classes", "in_channels")}
    return NamedNetwork(name, architecture, sizes, str(store.configuration["space"]["name"]), **shape, trial=trial)
