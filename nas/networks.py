"""Which network a text on the command line stands for: a published one, an architecture text, a file, or a trial."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces import IMAGE_SIZES, PUBLISHED, Architecture, ImageSizes, read_architecture


@dataclass(frozen=True, slots=True)
class NamedNetwork:
    """A network and what is known of it.

    Args:
        name: to call it and its files by.
        architecture: the network.
        image_sizes: it is trained and evaluated on; None where nothing says so.
        space: name of the search space it was found in; None where it was not.
    """

    name: str
    architecture: Architecture
    image_sizes: ImageSizes | None = None
    space: str | None = None


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
    elif path.is_dir():
        return _of_run(path, trial)
    elif not text.startswith("stem_") and path.is_file():
        found = _of_file(path)
    else:
        found = NamedNetwork("network", read_architecture(text, PUBLISHED))
    if trial is not None:
        raise ValueError(f"--trial must go with the folder of a run; got {text!r}")
    return found


def _of_file(path: Path) -> NamedNetwork:
    try:
        content = path.read_text().strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must hold an architecture as text or JSON; it is no text: {error}") from error
    if not content.startswith("{"):
        return NamedNetwork(path.stem, read_architecture(content, PUBLISHED), IMAGE_SIZES.get(content))
    try:
        data = json.loads(content)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} must hold an architecture as text or JSON; it is no JSON: {error}") from error
    if "architecture" not in data:
        return NamedNetwork(path.stem, Architecture.from_json(data))
    try:
        return _of_member(path.stem, data)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} must be as `nas scale` writes it: {error}") from error


def _of_member(name: str, data: Mapping[str, Any]) -> NamedNetwork:
    missing = [key for key in ("image_size", "train_image_size") if not isinstance(data.get(key), int)]
    if missing or not isinstance(data["architecture"], str):
        raise ValueError(f"architecture must be a text, and {', '.join(missing) or 'image sizes'} whole numbers")
    sizes = ImageSizes(data["train_image_size"], data["image_size"])
    if min(sizes) < 1:
        raise ValueError(f"image sizes must be at least 1; got {min(sizes)}")
    return NamedNetwork(name, Architecture.parse(data["architecture"]), sizes)


def _of_run(folder: Path, trial: int | None) -> NamedNetwork:
    from results.store import TrialStore  # loads pandas

    store = TrialStore.open(folder)
    frame = store.frame()
    if trial is None:
        complete = frame[frame["state"] == "complete"].dropna(subset=["reward"])
        if complete.empty:
            raise ValueError(f"{folder} has no completed trial yet; let the search go on, or name one with --trial")
        trial = int(complete["number"].to_numpy()[complete["reward"].to_numpy().argmax()])
    rows = frame[frame["number"] == trial]
    if rows.empty:
        raise ValueError(f"--trial must be one of the {len(frame)} trials of {folder}; got {trial}")
    name = f"{folder.resolve().name}-trial{trial}"
    architecture = Architecture.parse(str(rows["architecture"].iloc[0]))
    size = store.configuration.get("columns", {}).get("image_size")  # a store written from Python may not say
    sizes = None if size is None else ImageSizes(int(size), int(size))
    return NamedNetwork(name, architecture, sizes, str(store.configuration["space"]["name"]))
