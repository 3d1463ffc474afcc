"""What untrained scores tell of trained networks, and what a search gains when they choose its first proposals.

Prints one JSON object. Networks of Accel-NASBench's table (ImageNet) are scored untrained, on 16 pictures of Imagenette
at 64 px. Then

- tau: Kendall's tau of each score, and of their rank-sum, with the accuracy and with the reward A·S^w·P^v, whose A and
  S were measured by training the network and whose P is counted;
- first: the mean and the best measured reward of 8 networks: drawn at random, screened as `nas search --zero-cost` does
  (`nas/screening.py`), and of the highest rank-sum, out of 256 of the scored ones;
- search: the regret of the reward after so many evaluations on a surrogate (`controllers.py`, `accel-reward`), with and
  without the screened first draw; the same seeds in both.

    python benchmarks/zero_cost.py --data ../shared/data > zero_cost.json
"""

from __future__ import annotations

import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from controllers import PROBLEMS, example, interval
from machine import machine, parser, spread
from scipy.stats import kendalltau

from nas.controllers import CONTROLLERS
from nas.screening import FIRST, SCORED, best_of_each_part, rank_sum
from results.trial import Arm, Trial
from search_spaces import Architecture, Genotype, cost
from trainers import ProxyTask, Recipe, load_data

IMAGE_SIZE = 64
COUNTS = (8, 16, 20, 30, 50, 100)


def scored(data: Path, networks: int, kept: Path | None) -> pd.DataFrame:
    """Some networks of the table with their scores, and what was measured of them."""
    source = example("accel_nasbench")
    table = source.read_table(data / "accel_nasbench_public.csv.gz")
    table = table[table["train_time"] <= source.OUTLIER_S].drop_duplicates("architecture")
    table = table.sample(networks, random_state=0).reset_index(drop=True)
    if kept is not None and kept.exists():
        scores = pd.read_csv(kept)
    else:
        scores = untrained(data, table["architecture"], source.space.backbone)
        if kept is not None:
            scores.to_csv(kept, index=False)
    costs = pd.DataFrame([cost(Architecture.parse(text), source.IMAGE_SIZE) for text in table["architecture"]])
    size, macs, seconds = (v / v.median() for v in (costs["params"], costs["macs"], table["train_time"]))
    accuracy = table["val_top1"] / 100
    return (
        table[["architecture"]]
        .merge(scores, on="architecture")
        .assign(
            params=costs["params"],
            macs=costs["macs"],
            accuracy=accuracy,
            reward=accuracy * seconds**-0.07 * size**-0.05,
            worth=macs**-0.07 * size**-0.05,
        )
    )


def untrained(data: Path, architectures: pd.Series, anchor: Architecture) -> pd.DataFrame:
    """The scores of networks, and the seconds that each took on one core."""
    torch.set_num_threads(1)
    pictures = load_data(str(data / "imagenette128_train.parquet"), image_size=IMAGE_SIZE)
    task = ProxyTask(pictures, Recipe(), anchor, device="cpu")
    rows = []
    for text in architectures:
        begun = time.perf_counter()
        scores = task.zero_cost(Architecture.parse(text))
        rows.append({"architecture": text, **scores, "seconds": time.perf_counter() - begun})
    return pd.DataFrame(rows)


def merits(frame: pd.DataFrame) -> np.ndarray:
    """The rank-sum of the scores, as a search takes it."""
    return rank_sum(frame[["snip", "synflow", "params"]].to_dict("records"))


def agreement(frame: pd.DataFrame) -> dict[str, Any]:
    """Kendall's tau of each score with what training told, each with a 95 % bootstrap interval."""
    scores = {name: frame[name].to_numpy(float) for name in ("snip", "synflow", "params", "macs")}
    scores["rank-sum"] = merits(frame)
    samples = np.random.default_rng(0).integers(len(frame), size=(200, len(frame)))
    found: dict[str, Any] = {}
    for told in ("accuracy", "reward"):
        truth = frame[told].to_numpy()
        for name, score in scores.items():
            drawn = [kendalltau(score[s], truth[s]).statistic for s in samples]
            low, high = np.quantile(drawn, [0.025, 0.975])
            tau = kendalltau(score, truth).statistic
            found.setdefault(told, {})[name] = {"tau": round(tau, 3), "low": round(low, 3), "high": round(high, 3)}
    return found


def drawn(frame: pd.DataFrame, seed: int) -> dict[str, list[int]]:
    """The first 8 in three ways, as rows of the frame, out of 256."""
    pool = np.random.default_rng(seed).choice(len(frame), min(SCORED, len(frame)), replace=False)
    merit = merits(frame.iloc[pool])
    screened = best_of_each_part(frame["worth"].to_numpy()[pool], merit, FIRST)
    ways = {"random": range(FIRST), "screened": screened, "highest": np.argsort(-merit)[:FIRST]}
    return {way: [int(pool[place]) for place in places] for way, places in ways.items()}


def first(frame: pd.DataFrame, repeats: int) -> dict[str, Any]:
    """What the first 8 are worth, in points of reward and of accuracy."""
    draws = [drawn(frame, seed) for seed in range(repeats)]
    return {
        told: {
            way: {
                name: interval(np.array([100 * pick(frame[told].to_numpy()[draw[way]]) for draw in draws]))
                for name, pick in (("mean", np.mean), ("best", np.max))
            }
            for way in draws[0]
        }
        for told in ("reward", "accuracy")
    }


def search(data: Path, controller: str, seed: int, begin: list[Genotype]) -> list[float]:
    """The regret of the network observed to be best, after each of `COUNTS` evaluations."""
    torch.set_num_threads(1)
    recorded = PROBLEMS["accel-reward"](data)
    made = CONTROLLERS[controller](recorded.space, recorded.problem.features, seed)
    rng, observed, curve = np.random.default_rng(10_000 + seed), -math.inf, []
    for number in range(max(COUNTS)):
        arm: Arm = "screened" if number < len(begin) else "controller"
        genotype = begin[number] if arm == "screened" else made.ask()
        assert genotype is not None
        measurement, reward = recorded.query(genotype, rng)
        if reward > observed:
            observed, true = reward, recorded.true(genotype)
        curve.append(recorded.reported(true))
        trial = Trial(
            number=number,
            genotype=genotype,
            architecture=str(recorded.space.decode(genotype)),
            seed=seed,
            arm=arm,
            state="complete",
            measurement=measurement,
            reward=reward,
        )
        made.tell(trial)
    return [curve[count - 1] for count in COUNTS]


def searches(data: Path, frame: pd.DataFrame, controller: str, repeats: int, workers: int) -> dict[str, Any]:
    """The regret with the controller's own first proposals and with screened ones."""
    space = example("accel_nasbench").space
    found: dict[str, Any] = {}
    with ProcessPoolExecutor(workers) as pool:
        for way in ("own", "screened"):
            begins: list[list[Genotype]] = [[] for _ in range(repeats)]
            if way == "screened":
                texts = [frame["architecture"].iloc[drawn(frame, seed)[way]] for seed in range(repeats)]
                begins = [[space.encode(Architecture.parse(text)) for text in each] for each in texts]
            arguments = [data] * repeats, [controller] * repeats, range(repeats), begins
            curves = np.array(list(pool.map(search, *arguments)))
            found[way] = {count: interval(curves[:, place]) for place, count in enumerate(COUNTS)}
    return found


def main() -> None:
    made = parser("Measure zero-cost scores; prints JSON.", n=20)
    made.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the table and Imagenette are")
    made.add_argument("--scores", type=Path, help="CSV file that keeps the scores, which take minutes")
    made.add_argument("--controllers", default="predictor,evolution,local_search,optuna:tpe,random")
    made.add_argument("--workers", type=int, default=1, help="processes for the searches")
    arguments = made.parse_args()
    networks, repeats = (2 * FIRST, 2) if arguments.quick else (1200, arguments.n)
    frame = scored(arguments.data, networks, arguments.scores)
    result: dict[str, Any] = {"machine": machine(), "networks": len(frame), "n": repeats}
    if "seconds" in frame:
        result["seconds_a_network"] = spread(frame["seconds"].tolist())
    result |= {"tau": agreement(frame), "first": first(frame, 10 * repeats)}
    result["search"] = {
        controller: searches(arguments.data, frame, controller, repeats, arguments.workers)
        for controller in filter(None, arguments.controllers.split(","))
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
