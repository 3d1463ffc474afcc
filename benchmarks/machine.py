"""What the benchmarks share: the machine they ran on, and the median of repeats with their spread."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


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
