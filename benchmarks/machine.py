"""What the benchmarks share: the machine they ran on, and the median of repeats with their spread.

Import it before the project: a script's own folder comes first on the path, where `search_spaces.py` would be found
as the package of that name, so that the package is loaded here.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent


def leave_folder() -> None:
    """Take the benchmarks' folder off the path, which Ray's workers are given too."""
    sys.path[:] = [p for p in sys.path if Path(p).resolve() != _HERE]


_path = list(sys.path)
leave_folder()
importlib.import_module("search_spaces")
sys.path[:] = _path  # for the scripts that import each other


def machine() -> dict[str, Any]:
    """The processor, its cores, and the versions of what matters."""
    info = Path("/proc/cpuinfo")
    models = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return {
        "cpu": models[0].split(":", 1)[1].strip() if models else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "ray", "numpy", "pandas", "pyarrow")},
    }


def spread(values: Sequence[float], digits: int = 3) -> dict[str, Any]:
    """The median of some measurements, the smallest, the largest and how many there are."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
        "n": len(values),
    }


def parser(description: str, *, n: int) -> argparse.ArgumentParser:
    """The options that every benchmark has.

    Args:
        n: the default number of repeats.
    """
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--n", type=int, default=n, help="repeats behind each median")
    made.add_argument("--quick", action="store_true", help="tiny settings, to see that the script runs")
    return made


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
