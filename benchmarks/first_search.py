"""The first thing a user does: `nas search --budget 16` in an empty folder, from the command to its last line.

Prints one JSON object: wall seconds, the seconds until the first candidate is asked for, and what was found. Every
repeat has a folder of its own. The bar is 3 minutes on two cores.

    python benchmarks/first_search.py > first_search.json
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import machine, parser, spread  # before the project

from results.store import TrialStore

NAS = str(Path(sys.executable).with_name("nas"))


def search(options: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [NAS, "search", *options, "--format", "json"]
        began_at, begun = time.time(), time.perf_counter()
        done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
        wall_s = time.perf_counter() - begun
        outcome = json.loads(done.stdout)
        frame = TrialStore.open(Path(folder, outcome["run"])).frame()
    return {
        "wall_s": wall_s,
        "until_first_ask_s": frame["asked_at"].min() - began_at,
        "after_last_tell_s": began_at + wall_s - frame["told_at"].max(),
        "train_s": float(frame["train_time_s"].sum()),
        "best_reward": outcome["best"]["reward"],
        "best_accuracy": outcome["best"]["accuracy"],
        "failed": outcome["failed"],
    }


def main() -> None:
    options = parser("Measure a first search; prints JSON.", n=3)
    options.add_argument("--budget", type=int, default=16, help="candidates")
    options.add_argument("--workers", type=int, help="candidates at a time; by default what `nas` chooses")
    arguments = options.parse_args()
    budget, n = (1, 1) if arguments.quick else (arguments.budget, arguments.n)
    given = ["--budget", str(budget)]
    if arguments.quick:
        given += ["--epochs", "1", "--image-size", "16"]
    if arguments.workers is not None:
        given += ["--workers", str(arguments.workers)]
    about = machine()
    runs = [search(given) for _ in range(n)]
    result = {
        "benchmark": "first_search",
        "machine": about,
        "command": " ".join(["nas", "search", *given]),
        **{name: spread([one[name] for one in runs], 4) for name in runs[0]},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
