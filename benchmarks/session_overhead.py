"""What a search costs beside its candidates: the serial driver with a table lookup as evaluator.

Prints one JSON object: milliseconds per trial (ask, decode, cost, three durable journal lines, reward, tell), seconds
to open the run again and replay it into a fresh controller, seconds of `frame()`, and the sizes of the run's files.
The bar is 2 ms a trial at 10,000 trials. The folder's disk matters: every journal line is synchronised.

    python benchmarks/session_overhead.py > session_overhead.json
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from machine import machine, parser, spread  # before the project

from nas.controllers.random_search import RandomSearch
from nas.problem import Problem
from nas.reward import REWARDS, bind
from nas.search import run_serial
from nas.session import SearchSession
from results.store import TrialStore
from results.trial import Measurement
from search_spaces import SPACES
from trainers.tabular import TabularTask

SPACE = SPACES["small"]
PROBLEM = Problem(SPACE, bind(REWARDS["training-aware"], {}), image_size=32, num_classes=10, in_channels=1)
SEED = 0


def table_of(trials: int) -> TabularTask:
    """What the random controller will propose, with accuracies made up."""
    controller, table = RandomSearch(SPACE, PROBLEM.features, SEED), {}
    for number in range(trials):
        genotype = controller.ask()
        assert genotype is not None
        table[str(SPACE.decode(genotype))] = Measurement(accuracy=0.5 + number % 100 / 250, step_time=1.0)
    return TabularTask(table)


def session_of(store: TrialStore, budget: int) -> SearchSession:
    controller = RandomSearch(SPACE, PROBLEM.features, SEED)
    return SearchSession(PROBLEM, controller, store, budget=budget, seed=SEED)


def measure(trials: int, folder: Path) -> dict[str, float]:
    evaluate = table_of(trials)
    store = TrialStore.create(folder / "run", {"space": SPACE.to_json(), "columns": {"controller": "random"}})
    session = session_of(store, trials)
    begun = time.perf_counter()
    run_serial(session, evaluate)
    ran = time.perf_counter()
    store.close()
    assert sum(t.state == "complete" for t in store.trials.values()) == trials
    opened = time.perf_counter()
    store = TrialStore.open(folder / "run", writing=True)
    read = time.perf_counter()
    session_of(store, trials)
    replayed = time.perf_counter()
    frame = store.frame()
    framed = time.perf_counter()
    assert len(frame) == trials
    store.close()
    return {
        "ms_per_trial": 1e3 * (ran - begun) / trials,
        "open_s": read - opened,
        "replay_s": replayed - read,
        "frame_s": framed - replayed,
        "journal_mb": (folder / "run" / "journal.jsonl").stat().st_size / 1e6,
        "parquet_mb": (folder / "run" / "trials.parquet").stat().st_size / 1e6,
    }


def main() -> None:
    options = parser("Measure the serial driver; prints JSON.", n=5)
    options.add_argument("--trials", type=int, default=10_000, help="trials of a search")
    options.add_argument("--folder", type=Path, help="where to make the runs; by default among the temporary files")
    arguments = options.parse_args()
    trials, n = (200, 1) if arguments.quick else (arguments.trials, arguments.n)
    runs = []
    about = machine()
    for _ in range(n):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            runs.append(measure(trials, Path(folder)))
    result = {
        "benchmark": "session_overhead",
        "machine": about,
        "trials": trials,
        **{name: spread([one[name] for one in runs]) for name in runs[0]},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
