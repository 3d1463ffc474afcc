"""Fronts, ranks and hypervolumes next to moocore's where it is installed; `nas pareto`, `nas trials`, `nas report`.

Prints one JSON object: seconds of `results.pareto.non_dominated` on a million points with three objectives of several
kinds (the bar is 2 s), of `ranks` on 100,000, milliseconds of `hypervolume` and of a trial in a search's front, next to
moocore's, timed in turns; seconds of `nas pareto` and `nas trials`, as processes of their own, on a run of 16 trials
(the bar is 0.7 s) and on one of 100,000, and of reading the table of the latter (the bar is 1 s); seconds and size of
`nas report` of 1,000 trials (the bars are 5 s and 3 MB) and of 100,000 (30 s and 8 MB).

    python benchmarks/analysis.py > analysis.json
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from command_line import seconds
from machine import machine, parser, spread  # before the project
from numpy.typing import NDArray

from nas.front import Front
from results.events import asked, measured, told
from results.networks import network_means
from results.noise import noise_of
from results.pareto import hypervolume, non_dominated, ranks
from results.pareto_table import front_table
from results.several import read_runs
from results.store import TrialStore
from results.trial import Measurement, Trial
from search_spaces import SPACES, Genotype

try:
    import moocore
except ImportError:
    moocore = None

SPACE = SPACES["small"]
SEED = 0
Points = NDArray[np.float64]


def kinds(n: int, rng: np.random.Generator) -> dict[str, Points]:
    """Points of which few or all are on the front, with ties or without."""
    normal = np.abs(rng.normal(size=(n, 3)))
    sphere = 1 - normal / np.linalg.norm(normal, axis=1, keepdims=True)
    simplex = rng.dirichlet([1, 1, 1], n)
    mixed = rng.permutation(n) / n
    return {
        "uniform": rng.random((n, 3)),
        "correlated": np.sort(rng.random(n))[:, None] + 0.01 * rng.random((n, 3)),
        "near a plane": simplex + 0.02 * rng.random((n, 1)),
        "sphere": sphere,
        "plane": simplex,
        "two opposed, one free": np.column_stack([rng.random(n), mixed, 1 - mixed]),
        "thirty values": rng.integers(0, 30, (n, 3)).astype(float),
        "each a thousand times": rng.permutation(np.repeat(sphere[: max(1, n // 1000)], 1000, axis=0)),
    }


def in_turns(ours: Callable[[], Any], theirs: Callable[[], Any], n: int, unit_s: float = 1.0) -> dict[str, Any]:
    """Both timed in pairs; theirs only where moocore is installed. They must agree."""
    times: dict[str, list[float]] = {"ours": []} | ({} if moocore is None else {"moocore": []})
    for _ in range(n):
        found = []
        for name, function in zip(times, (ours, theirs), strict=False):
            begun = time.perf_counter()
            found.append(function())
            times[name].append((time.perf_counter() - begun) / unit_s)
        assert np.allclose(found[0], found[-1], rtol=1e-9)
    told_of = {name: spread(values) for name, values in times.items()}
    if moocore is not None:
        told_of["ours / moocore"] = spread([a / b for a, b in zip(*times.values(), strict=True)])
    return told_of


def fronts(points: int, n: int, rng: np.random.Generator) -> dict[str, Any]:
    found = {}
    for name, values in kinds(points, rng).items():
        timed = in_turns(
            lambda v=values: non_dominated(v), lambda v=values: moocore.is_nondominated(v, keep_weakly=True), n
        )
        found[name] = {"points": len(values), "on_front": int(non_dominated(values).sum()), **timed}
    return found


def all_ranks(points: int, n: int, rng: np.random.Generator) -> dict[str, Any]:
    return {
        name: {
            "ranks": int(ranks(values).max()),
            **in_turns(lambda v=values: ranks(v), lambda v=values: moocore.pareto_rank(v) + 1, n),
        }
        for name, values in kinds(points, rng).items()
        if name in ("uniform", "near a plane", "plane", "thirty values")
    }


def volumes(n: int, rng: np.random.Generator) -> dict[str, Any]:
    found = {}
    for points in (100, 1000, 10_000):
        gains = 1 - kinds(points, rng)["sphere"]
        found[f"{points:,} points, ms"] = in_turns(
            lambda g=gains: hypervolume(g), lambda g=gains: moocore.hypervolume(-g, ref=[0, 0, 0]), n, 1e-3
        )
    return found


def search_front_ms(trials: int, rng: np.random.Generator) -> float:
    """A trial's part in the hypervolume that a search keeps, where a twentieth is on the front."""
    front, points = Front(), 1 - kinds(trials, rng)["near a plane"]
    begun = time.perf_counter()
    for point in points.tolist():
        front.add(tuple(point))
    return 1e3 * (time.perf_counter() - begun) / trials


def make_run(folder: Path, trials: int, rng: np.random.Generator) -> None:
    """A run as a search leaves it, with costs and accuracies made up."""
    store = TrialStore.create(folder, {"space": SPACE.to_json(), "columns": {"controller": "random"}})
    store.close()
    with (folder / "journal.jsonl").open("a") as journal:
        networks: dict[str, Genotype] = {}
        while len(networks) < trials:
            genotype = SPACE.sample(rng)
            networks[str(SPACE.decode(genotype))] = genotype
        for number, (text, genotype) in enumerate(networks.items()):
            size = float(rng.normal())
            step_time = float(np.exp(0.5 * size + 0.3 * rng.normal()))
            accuracy = float(np.clip(0.9 + 0.02 * size + 0.02 * rng.normal(), 0, 1))
            trial = Trial(number=number, genotype=genotype, architecture=text, seed=number, features=(size, step_time))
            measurement = Measurement(
                accuracy=accuracy,
                step_time=step_time,
                step_time_low=0.97 * step_time,
                step_time_high=1.03 * step_time,
                step_time_s=0.05 * step_time,
                params=int(1e6 * np.exp(size)),
                train_time_s=3.0,
                device="cpu",
            )
            ended = replace(trial, state="complete", reward=accuracy, told_at=1e9 + 3 * number)
            for event in (asked(trial), measured(number, measurement), told(ended)):
                journal.write(json.dumps(event) + "\n")
    TrialStore.open(folder, writing=True).close()  # writes the view


def reading(run: Path, n: int) -> dict[str, Any]:
    """Seconds to read a run's table, and to make a front of it with its membership, in this process."""
    read, made = [], []
    for _ in range(n):
        begun = time.perf_counter()
        frame, _ = read_runs([run])
        read.append(time.perf_counter() - begun)
        noise = noise_of(frame, ["accuracy", "step_time", "params"], 1000)
        networks = network_means(frame)
        front_table(networks, ["accuracy", "step_time", "params"], most=1, noise=noise, rng=np.random.default_rng(SEED))
        made.append(time.perf_counter() - begun - read[-1])
    return {"table_s": spread(read), "front_and_membership_s": spread(made)}


def report(run: Path, n: int) -> dict[str, Any]:
    page = run.with_suffix(".html")
    took = seconds(["report", str(run), "-o", str(page)], n)
    return {"seconds": spread(took), "megabytes": round(page.stat().st_size / 1e6, 3)}


def main() -> None:
    arguments = parser("Measure fronts and the commands that show them; prints JSON.", n=5).parse_args()
    million, run_trials, n = (10_000, 1000, 2) if arguments.quick else (1_000_000, 100_000, arguments.n)
    about, rng = machine(), np.random.default_rng(SEED)
    result: dict[str, Any] = {
        "benchmark": "analysis",
        "machine": about,
        "moocore": getattr(moocore, "__version__", None),
    }
    result["non_dominated_s"] = fronts(million, n, rng)
    result["ranks_s"] = all_ranks(million // 10, n, rng)
    result["hypervolume"] = volumes(2 * n, rng)
    result["search_front_ms_per_trial"] = spread([search_front_ms(2000, rng) for _ in range(n)])
    with tempfile.TemporaryDirectory() as folder:
        small, middle, large = Path(folder, "small"), Path(folder, "middle"), Path(folder, "large")
        make_run(small, 16, rng)
        make_run(middle, 1000, rng)
        make_run(large, run_trials, rng)
        result["read"] = {"trials": run_trials, **reading(large, n)}
        result["commands_s"] = {
            f"nas {command} of {trials:,} trials": spread(seconds([command, str(run), *more], n))
            for command, more in (("pareto", []), ("trials", ["--top", "5"]))
            for run, trials in ((small, 16), (large, run_trials))
        }
        result["report"] = {
            f"{trials:,} trials": report(run, times)
            for run, trials, times in ((middle, 1000, n), (large, run_trials, 2))
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
