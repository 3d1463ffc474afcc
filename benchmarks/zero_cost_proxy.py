r"""What untrained scores tell of a search's own proxy: networks of the small space, trained as briefly as in a search.

Prints one JSON object: Kendall's tau of each score, of their rank-sum, of macs and of depth with the minival accuracy
after the proxy's training, with 95 % bootstrap intervals; and the mean accuracy of all networks and of those that
screening would choose (the best rank-sum of each eighth by params and macs, as the reward weighs them).

    python benchmarks/zero_cost_proxy.py --kept mnist.csv > mnist.json
    python benchmarks/zero_cost_proxy.py --source ../shared/data/cifar10_jpeg95_train.parquet --pictures 6000 \
        --epochs 3 --minival 1000 --n 40 > cifar.json
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from controllers import interval
from machine import machine, parser
from scipy.stats import kendalltau

from nas.screening import FIRST, best_of_each_part, rank_sum
from search_spaces import SPACES, cost
from trainers import Data, ProxyTask, Recipe, load_data
from trainers.data import Split
from trainers.timing import StepTime


class Untimed(ProxyTask):
    """The proxy without its step time, which nothing is asked of here."""

    def time_step(self, architecture: object) -> StepTime:
        """No measurement at all."""
        return StepTime(1.0, 1.0, 1.0, 0.0, 0.0)


def trained(data: Data, recipe: Recipe, count: int, kept: Path | None) -> pd.DataFrame:
    """Networks drawn from the small space, with their scores, costs and accuracy; written down one by one."""
    torch.set_num_threads(1)
    space, rng, rows = SPACES["small"], np.random.default_rng(5), []
    task = Untimed(data, recipe, space.backbone, device="cpu")
    for number in range(count):
        architecture = space.decode(space.sample(rng))
        known = cost(architecture, data.image_size, num_classes=len(data.class_names), in_channels=data.in_channels)
        rows.append(
            {
                **task.zero_cost(architecture),
                "params": known.params,
                "macs": known.macs,
                "layers": sum(stage.layers for stage in architecture.stages),
                "acc": [measurement.accuracy for measurement in task(architecture, number)][-1],
            }
        )
        if kept is not None:
            pd.DataFrame(rows).to_csv(kept, index=False)
    return pd.DataFrame(rows)


def main() -> None:
    made = parser("Compare untrained scores with the proxy's accuracy; prints JSON.", n=48)
    made.add_argument("--source", default="mnist5k", help="the pictures, as of `nas search --data`")
    made.add_argument("--pictures", type=int, help="the first so many of the training pictures; all by default")
    made.add_argument("--minival", type=int, help="pictures of the minival; a search's own number by default")
    made.add_argument("--epochs", type=int, default=2)
    made.add_argument("--kept", type=Path, help="CSV file of the networks: read where it is there, else written")
    arguments = made.parse_args()
    if arguments.kept is not None and arguments.kept.exists():
        frame = pd.read_csv(arguments.kept)
    else:
        data = load_data(arguments.source, image_size=32, minival=arguments.minival)
        part = slice(arguments.pictures)
        data = replace(data, train=Split(data.train.images[part], data.train.labels[part]))
        count = 3 if arguments.quick else arguments.n
        frame = trained(data, Recipe(epochs=arguments.epochs), count, arguments.kept)
    scores = {name: frame[name].to_numpy(float) for name in ("snip", "synflow", "params", "macs", "layers")}
    scores["rank-sum"] = rank_sum(frame[["snip", "synflow", "params"]].to_dict("records"))
    accuracy, worth = frame["acc"].to_numpy(), frame["macs"] ** -0.07 * frame["params"] ** -0.05
    samples = np.random.default_rng(0).integers(len(frame), size=(1000, len(frame)))
    taus = {}
    for name, score in scores.items():
        low, high = np.nanquantile([kendalltau(score[s], accuracy[s]).statistic for s in samples], [0.025, 0.975])
        tau = kendalltau(score, accuracy).statistic
        taus[name] = {"tau": round(tau, 3), "low": round(low, 3), "high": round(high, 3)}
    screened = best_of_each_part(worth, scores["rank-sum"], FIRST)
    chosen = {"all": interval(accuracy), "screened": interval(accuracy[screened])}
    print(json.dumps({"machine": machine(), "networks": len(frame), "tau": taus, "accuracy": chosen}, indent=1))


if __name__ == "__main__":
    main()
