"""Where what can be made again is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$NAS_CACHE`, else `training-aware-nas` in the user's cache (`$XDG_CACHE_HOME`, else `~/.cache`).

    It is not made here.
    """
    if own := os.environ.get("NAS_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "training-aware-nas"


def calibrations_folder() -> Path:
    """Where `nas calibrate` keeps its tables, a JSON file each."""
    return cache_folder() / "calibrations"
