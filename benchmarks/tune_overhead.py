"""What Ray Tune costs beside the candidates: its driver with a table lookup as evaluator.

Prints one JSON object: milliseconds per trial in the steady state (from the first tell to the last), milliseconds per
trial of the whole, the start of Ray and of the workers and its end included, and the seconds until the first tell.
The bar is 60 ms a trial at 1,000 trials on two cores.

    python benchmarks/tune_overhead.py > tune_overhead.json
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from machine import machine, parser, spread
from session_overhead import SPACE, session_of, table_of

from nas.search import choose_workers
from nas.tune import run_tune
from results.store import TrialStore


def measure(trials: int, workers: int, folder: Path) -> dict[str, float]:
    store = TrialStore.create(folder / "run", {"space": SPACE.to_json(), "columns": {"controller": "random"}})
    session, evaluate = session_of(store, trials), table_of(trials)
    began_at, begun = time.time(), time.perf_counter()
    run_tune(session, evaluate, choose_workers(workers, gpus_per_trial=0))
    whole_s = time.perf_counter() - begun
    told = sorted(t.told_at for t in store.trials.values() if t.state == "complete" and t.told_at is not None)
    assert len(told) == trials
    store.close()
    return {
        "steady_ms_per_trial": 1e3 * (told[-1] - told[0]) / (trials - 1),
        "second_half_ms_per_trial": 1e3 * (told[-1] - told[trials // 2]) / (trials - 1 - trials // 2),
        "whole_ms_per_trial": 1e3 * whole_s / trials,
        "first_tell_s": told[0] - began_at,
        "whole_s": whole_s,
    }


def main() -> None:
    options = parser("Measure the Ray Tune driver; prints JSON.", n=3)
    options.add_argument("--trials", type=int, default=1000, help="trials of a search")
    options.add_argument("--workers", type=int, default=2, help="candidates at a time")
    arguments = options.parse_args()
    trials, n = (30, 1) if arguments.quick else (arguments.trials, arguments.n)
    runs = []
    about = machine()
    for _ in range(n):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(measure(trials, arguments.workers, Path(folder)))
    result = {
        "benchmark": "tune_overhead",
        "machine": about,
        "trials": trials,
        "workers": arguments.workers,
        **{name: spread([one[name] for one in runs]) for name in runs[0]},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
