"""How good a network every controller has found after so many evaluations, on two searches that others paid for.

Prints one JSON object, and draws the curves with `--plot`. Four problems:

- macro: NAS-Bench-Macro (CIFAR-10), a query gives the mean accuracy of three seeds;
- macro-noisy: the same, a query gives the accuracy of one of the three seeds;
- accel: a surrogate of Accel-NASBench (ImageNet), one fixed set of gradient-boosted trees fitted on all of its table;
  a query gives the accuracy with noise of sd .256 points, which two trainings there differ by;
- accel-reward: the same with the reward A·S^w·P^v, whose S is another set of trees fitted on the measured
  training times, and whose P is counted.

Told is, for every number of evaluations, the true value of the network that was observed to be best: the mean
accuracy on NAS-Bench-Macro, and the regret in points (a hundredth of accuracy or reward) against the best network
that 30 climbs of the surrogate itself found. Under `confirmed` the last 10 of the evaluations train the five leaders
twice more, and the true value is that of the highest mean. An evaluation that a sampler repeats counts. The peers are
Optuna's samplers as shipped, with the options they have by default, through a study's own ask and tell.

    python benchmarks/controllers.py --data ../shared/data --plot controllers.svg > controllers.json
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from machine import machine
from sklearn.ensemble import GradientBoostingRegressor

from nas.controllers import CONTROLLERS, Controller
from nas.leaders import CONFIRMATIONS
from nas.problem import Problem
from nas.reward import REWARDS, bind
from results.trial import Measurement, Trial
from search_spaces import Genotype, SearchSpace
from trainers.surrogate import SETTINGS

COUNTS = (20, 50, 100, 200, 500)
CONFIRMING = 5 * CONFIRMATIONS
"""Evaluations that `--confirm 5` takes."""
NOISE = 0.256
"""Standard deviation of Accel-NASBench's accuracies between two seeds, in points."""
MACRO_BEST = 93.127
"""The highest mean accuracy in NAS-Bench-Macro, in per cent, as rounded there."""
PEERS = {"TPE": "TPESampler", "NSGA-II": "NSGAIISampler", "GP": "GPSampler"}
SLOW = {"optuna:gp": 100, "peer:GP": 100}
"""The most evaluations of those that take minutes by then."""


@dataclass(frozen=True)
class Recorded:
    """A search problem whose evaluations are recorded.

    Args:
        space: the networks.
        problem: for the features.
        true: a genotype's value, without noise.
        query: a measurement and what the controller is told as its reward.
        best: the highest true value.
        regret: whether the distance to it is reported, and not the value.
    """

    space: SearchSpace
    problem: Problem
    true: Callable[[Genotype], float]
    query: Callable[[Genotype, np.random.Generator], tuple[Measurement, float]]
    best: float
    regret: bool

    def reported(self, true: float) -> float:
        """What is told of a network of this value."""
        return self.best - true if self.regret else true


def example(name: str) -> ModuleType:
    path = Path(__file__).parents[1] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def macro(data: Path, noisy: bool) -> Recorded:
    source = example("nasbench_macro")
    table = source.read_table(data / "nasbench_macro_cifar10.csv.gz")
    genotypes = [tuple(map(int, arch)) for arch in table["arch"]]
    mean = dict(zip(genotypes, table["mean_acc"].tolist(), strict=True))
    seeds = dict(zip(genotypes, table[["acc1", "acc2", "acc3"]].to_numpy().tolist(), strict=True))
    problem = Problem(
        source.space, bind(REWARDS["accuracy"], {}), source.IMAGE_SIZE, num_classes=10, objectives=("accuracy",)
    )

    def query(genotype: Genotype, rng: np.random.Generator) -> tuple[Measurement, float]:
        accuracy = (seeds[genotype][rng.integers(3)] if noisy else mean[genotype]) / 100
        return Measurement(accuracy=accuracy), accuracy

    return Recorded(source.space, problem, lambda g: mean[g], query, max(mean.values()), regret=False)


@cache
def accel(data: Path, rewarded: bool) -> Recorded:
    source = example("accel_nasbench")
    table = source.read_table(data / "accel_nasbench_public.csv.gz")
    table = table[table["train_time"] <= 8000]  # nine rows above are outliers
    space = source.space
    reward = bind(REWARDS["training-aware" if rewarded else "accuracy"], {})
    objectives = ("accuracy", "step_time", "params") if rewarded else ("accuracy",)
    problem = Problem(space, reward, source.IMAGE_SIZE, objectives=objectives)
    genotypes = np.array([space.encode(space.decode(g)) for g in map(tuple, indices(source, table))], dtype=float)

    def trees() -> GradientBoostingRegressor:
        return GradientBoostingRegressor(**SETTINGS)

    top1 = trees().fit(genotypes, table["val_top1"])
    log_time = trees().fit(genotypes, np.log(table["train_time"]))
    anchor = float(log_time.predict(np.array([space.encode(space.backbone)], dtype=float))[0])

    def measured(genotypes: list[Genotype]) -> list[Measurement]:
        rows = np.array(genotypes, dtype=float)
        times = np.exp(log_time.predict(rows) - anchor)
        return [
            Measurement(accuracy=float(a) / 100, step_time=float(s), **problem.cost(space.decode(g))._asdict())
            for g, a, s in zip(genotypes, top1.predict(rows), times, strict=True)
        ]

    def values(genotypes: list[Genotype]) -> np.ndarray:
        return 100 * np.array([reward(m, problem.anchor) for m in measured(genotypes)])

    def query(genotype: Genotype, rng: np.random.Generator) -> tuple[Measurement, float]:
        clean = measured([genotype])[0]
        noisy = Measurement(
            accuracy=clean.accuracy + NOISE / 100 * rng.standard_normal(),
            step_time=clean.step_time,
            params=clean.params,
        )
        return noisy, reward(noisy, problem.anchor)

    return Recorded(space, problem, lambda g: float(values([g])[0]), query, climbed(space, values), regret=True)


def indices(source: ModuleType, table: Any) -> np.ndarray:
    """The table's rows as genotypes."""
    columns = []
    for column, choice in zip(source.COLUMNS, source.space.choices, strict=True):
        options = (0, 1) if column.endswith("se") else [next(iter(option.values())) for option in choice.options]
        columns.append(table[column].map({value: index for index, value in enumerate(options)}).to_numpy())
    return np.column_stack(columns)


def climbed(space: SearchSpace, values: Callable[[list[Genotype]], np.ndarray], restarts: int = 30) -> float:
    """The highest value that climbs to the best neighbour reach from so many random networks."""
    rng, best = np.random.default_rng(0), -math.inf
    for _ in range(restarts):
        here = space.sample(rng)
        value = values([here])[0]
        while True:
            around = space.neighbours(here)
            reached = values(around)
            if reached.max() <= value:
                break
            value, here = reached.max(), around[int(reached.argmax())]
        best = max(best, value)
    return best


class Peer:
    """An Optuna sampler as shipped."""

    def __init__(self, space: SearchSpace, sampler: str, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=seed), direction="maximize")
        self._distributions = {
            choice.name: optuna.distributions.CategoricalDistribution(tuple(range(len(choice.options))))
            for choice in space.choices
        }
        self._names = [choice.name for choice in space.choices]

    def ask(self) -> Genotype | None:
        """What the sampler suggests, known or not."""
        self._asked = self._study.ask(self._distributions)
        return tuple(self._asked.params[name] for name in self._names)

    def tell(self, trial: Trial) -> None:
        """Pass the reward on."""
        assert trial.reward is not None
        self._study.tell(self._asked, trial.reward)


PROBLEMS: dict[str, Callable[[Path], Recorded]] = {
    "macro": lambda data: macro(data, False),
    "macro-noisy": lambda data: macro(data, True),
    "accel": lambda data: accel(data, False),
    "accel-reward": lambda data: accel(data, True),
}


class Run(NamedTuple):
    """What came of one search.

    Attributes:
        curve: after each evaluation, the true value of the network observed to be best.
        confirmed: after so many evaluations, the true value of the leader by the mean, where the last
            `CONFIRMING` of them went to training the leaders again.
        seconds: spent in the controller.
    """

    curve: list[float]
    confirmed: dict[int, float]
    seconds: float


def run(data: Path, problem: str, controller: str, seed: int, evaluations: int) -> Run:
    """One search."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    recorded = PROBLEMS[problem](data)
    made: Controller
    if controller.startswith("peer:"):
        made = Peer(recorded.space, PEERS[controller[5:]], seed)
    else:
        made = CONTROLLERS[controller](recorded.space, recorded.problem.features, seed)
    rng, observed, curve, spent = np.random.default_rng(10_000 + seed), -math.inf, [], 0.0
    readings: dict[Genotype, list[float]] = {}
    confirmed: dict[int, float] = {}
    for number in range(evaluations):
        begun = time.perf_counter()
        genotype = made.ask()
        spent += time.perf_counter() - begun
        if genotype is None:
            break
        measurement, reward = recorded.query(genotype, rng)
        readings.setdefault(recorded.space.canonical(genotype), []).append(reward)
        if reward > observed:
            observed, true = reward, recorded.true(genotype)
        curve.append(recorded.reported(true))
        if number + 1 + CONFIRMING in COUNTS:
            confirmed[number + 1 + CONFIRMING] = confirm(recorded, readings, np.random.default_rng(20_000 + seed))
        architecture = str(recorded.space.decode(genotype))
        begun = time.perf_counter()
        made.tell(
            Trial(
                number=number,
                genotype=genotype,
                architecture=architecture,
                seed=seed,
                state="complete",
                measurement=measurement,
                reward=reward,
            )
        )
        spent += time.perf_counter() - begun
    return Run(curve, confirmed, spent)


def confirm(recorded: Recorded, readings: dict[Genotype, list[float]], rng: np.random.Generator) -> float:
    """The true value of the best of five leaders by the mean, after two more trainings of each (`--confirm 5`)."""
    leaders = sorted(readings, key=lambda genotype: -float(np.mean(readings[genotype])))[: CONFIRMING // CONFIRMATIONS]
    means = [
        np.mean([*readings[leader], *(recorded.query(leader, rng)[1] for _ in range(CONFIRMATIONS))])
        for leader in leaders
    ]
    return recorded.reported(recorded.true(leaders[int(np.argmax(means))]))


def interval(values: np.ndarray) -> dict[str, float | int]:
    """Mean with a 95 % bootstrap interval."""
    drawn = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    low, high = np.quantile(values[drawn].mean(1), [0.025, 0.975])
    return {"mean": round(values.mean(), 4), "low": round(low, 4), "high": round(high, 4), "n": len(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare controllers; prints JSON.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the two tables are")
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument(
        "--controllers",
        default=",".join(
            [*(name for name in CONTROLLERS if name != "optuna:nsga3"), *(f"peer:{name}" for name in PEERS)]
        ),
    )
    parser.add_argument("--seeds", type=int, default=100, help="on NAS-Bench-Macro")
    parser.add_argument("--accel-seeds", type=int, default=20, help="on Accel-NASBench")
    parser.add_argument("--slow-seeds", type=int, default=10, help="of the Gaussian processes of Optuna")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--evaluations", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=2, help="searches at a time")
    parser.add_argument("--plot", type=Path, help="where to draw the curves")
    parser.add_argument("--add", type=Path, help="results of an earlier call, which this one's are added to")
    arguments = parser.parse_args()
    result: dict[str, Any] = json.loads(arguments.add.read_text()) if arguments.add else {"benchmark": "controllers"}
    result["machine"] = machine()
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for problem in arguments.problems.split(","):
            for controller in arguments.controllers.split(","):
                seeds = arguments.seeds if problem.startswith("macro") else arguments.accel_seeds
                length = min(arguments.evaluations, SLOW.get(controller, arguments.evaluations))
                seeds = min(seeds, arguments.slow_seeds) if controller in SLOW else seeds
                futures = [
                    pool.submit(run, arguments.data, problem, controller, s, length)
                    for s in range(arguments.first_seed, arguments.first_seed + seeds)
                ]
                summary = summed_up([future.result() for future in futures], problem)
                result.setdefault("problems", {}).setdefault(problem, {})[controller] = summary
                print(problem, controller, {k: v["mean"] for k, v in summary["at"].items()}, summary.get("optimum", ""),
                      "confirmed", {k: v["mean"] for k, v in summary["confirmed"].items()},
                      summary["seconds"]["mean"], file=sys.stderr, flush=True)  # fmt: skip
    if arguments.plot:
        draw(result["problems"], arguments.plot)
    print(json.dumps(result, indent=1))


def summed_up(runs: list[Run], problem: str) -> dict[str, Any]:
    """The table's row of one controller, and its curve."""
    curves = np.array([run.curve for run in runs])
    length = curves.shape[1]
    summary: dict[str, Any] = {"at": {str(n): interval(curves[:, n - 1]) for n in COUNTS if n <= length}}
    if problem.startswith("macro"):
        shares = (curves > MACRO_BEST - 5e-4).mean(0)
        summary["optimum"] = {str(n): round(float(shares[n - 1]), 3) for n in (100, 150, 200) if n <= length}
    summary["confirmed"] = {
        str(n): interval(np.array([run.confirmed[n] for run in runs])) for n in COUNTS if n in runs[0].confirmed
    }
    summary["seconds"] = {**interval(np.array([run.seconds for run in runs])), "evaluations": length}
    places = np.unique(np.geomspace(1, length, 60).round().astype(int))
    summary["curve"] = {str(n): round(float(curves[:, n - 1].mean()), 4) for n in places}
    return summary


def draw(problems: dict[str, Any], path: Path) -> None:
    """The curves, a panel a problem; full lines are this project's, broken ones Optuna's as shipped."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "controllers"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 8))
    names = list(dict.fromkeys(name for rows in problems.values() for name in rows))
    colours = dict(zip(names, plt.get_cmap("tab20").colors[::2] + plt.get_cmap("tab20").colors[1::2], strict=False))
    for axis, (problem, rows) in zip(axes.flat, problems.items(), strict=False):
        for name, row in rows.items():
            at = np.array([int(n) for n in row["curve"]])
            value = np.array(list(row["curve"].values()))
            if problem.startswith("macro"):
                value = MACRO_BEST - value
            wide = 2.6 if name == "predictor" else 1.3
            style = "--" if name.startswith("peer:") else "-"
            label = f"Optuna {name[5:]}, as shipped" if name.startswith("peer:") else name
            axis.plot(at, np.maximum(value, 1e-3), style, lw=wide, color=colours[name], label=label)
        axis.set(title=problem, xlabel="evaluations", ylabel="regret in points", xscale="log", yscale="log")
        axis.set_xlim(5, None)
        axis.grid(alpha=0.3, which="both")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=4, frameon=False)
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {})
    plt.close(figure)


if __name__ == "__main__":
    main()
