"""How long the commands that train nothing take, each as a process of its own.

Prints one JSON object: seconds of `nas --help` (the bar is 0.4 s), `nas describe efficientnetv2-s`, and
`nas trials RUN` and `nas pareto RUN` on a run of 1,000 trials. A first call of each, which may have to read the
files from the disk and to compile them, is not counted.

    python benchmarks/command_line.py > command_line.json
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine, parser, spread
from session_overhead import SPACE, session_of, table_of

from nas.search import run_serial
from results.store import TrialStore

NAS = str(Path(sys.executable).with_name("nas"))


def make_run(folder: Path, trials: int) -> None:
    store = TrialStore.create(folder, {"space": SPACE.to_json(), "columns": {"controller": "random"}})
    run_serial(session_of(store, trials), table_of(trials))
    store.close()


def seconds(command: list[str], n: int) -> list[float]:
    times = []
    for _ in range(n + 1):
        begun = time.perf_counter()
        subprocess.run([NAS, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(time.perf_counter() - begun)
    return times[1:]


def main() -> None:
    options = parser("Measure the command line; prints JSON.", n=11)
    options.add_argument("--trials", type=int, default=1000, help="trials of the run that is listed")
    arguments = options.parse_args()
    trials, n = (20, 2) if arguments.quick else (arguments.trials, arguments.n)
    about = machine()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        make_run(run, trials)
        commands = {
            "nas --help": ["--help"],
            "nas describe efficientnetv2-s": ["describe", "efficientnetv2-s"],
            "nas trials RUN": ["trials", str(run)],
            "nas trials RUN --format json": ["trials", str(run), "--format", "json"],
            "nas pareto RUN": ["pareto", str(run)],
        }
        result = {
            "benchmark": "command_line",
            "machine": about,
            "trials": trials,
            "seconds": {name: spread(seconds(command, n)) for name, command in commands.items()},
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
