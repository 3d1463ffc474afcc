"""How many candidates an hour are evaluated, against a reference loop, without and with early stopping.

The networks are EfficientNetV2-B0 and some drawn once from the small space. Both loops train the same networks on the
same pictures, as many epochs, at the same batch size, on Ray Tune's workers of one thread that are used again (or, with
`--no-ray`, one after the other in this process): the reference as `reference_loop.py` has it; ours as `nas search`
does, the timing of the step included. They take turns, and each pair gives a ratio.

With early stopping, networks come in an order drawn anew for each pass, and Ray Tune's ASHA compares their rewards, as
`nas search --scheduler asha` does. Which network comes first decides much among so few, so the passes that were not
stopped are also stopped by simulation, in many orders: at the rungs of ASHA, with the rewards and seconds that were
measured there.

Where timm can be imported, its EfficientNetV2-B0 is trained by the reference loop too, beside ours.

Prints one JSON object: seconds and final accuracies of each network by either loop, the ratios of the whole (median,
least, greatest), with early stopping too, and what it cost of the best reward.

    python benchmarks/candidates_per_hour.py --data ../shared/data/cifar10_jpeg95_train.parquet > candidates.json
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from machine import machine, parser, spread
from reference_loop import Encoded, ReferenceTask

from nas.reward import training_aware
from nas.search import EarlyStopping
from results.trial import Measurement
from search_spaces import PUBLISHED, SPACES, Architecture
from trainers.augmentation import Augmentation
from trainers.data import Data, load_data
from trainers.proxy import ProxyTask
from trainers.recipe import Recipe

ORDERS = 1000
"""That candidates come in, in the simulation."""


def networks(count: int) -> dict[str, str]:
    space, rng = SPACES["small"], np.random.default_rng(0)
    drawn = {f"small {number}": str(space.decode(space.sample(rng))) for number in range(count)}
    return {"efficientnetv2-b0": str(PUBLISHED["efficientnetv2-b0"]), **drawn}


def subset(source: str, pictures: int, minival: int, folder: Path) -> Path:
    """The first pictures of a parquet file, in one of its own."""
    table = pq.read_table(source)
    path = folder / "subset.parquet"
    pq.write_table(table.slice(0, pictures + minival), path)
    return path


def encoded(path: Path, data: Data) -> Encoded:
    table = pq.read_table(path)
    images, labels = table.column("image").to_pylist(), table.column("label").to_pylist()
    train, minival = data.train.rows, data.minival.rows
    assert train is not None
    assert minival is not None
    pixels = data.train.images.reshape(-1, 3) / 255.0
    return Encoded(
        [images[i] for i in train],
        [labels[i] for i in train],
        [images[i] for i in minival],
        [labels[i] for i in minival],
        len(data.class_names),
        data.image_size,
        tuple(pixels.mean(0)),
        tuple(pixels.std(0)),
    )


class Told(NamedTuple):
    """What is told of a network at some point of its training."""

    epoch: float
    accuracy: float
    reward: float | None


def told(task: Any, architecture: str) -> Iterator[Told]:
    for epoch, given in enumerate(task(Architecture.parse(architecture), 0), 1):
        if isinstance(given, Measurement):
            assert given.epoch is not None
            assert given.step_time is not None
            assert given.params is not None
            accuracy = max(given.accuracy, 1e-9)
            yield Told(given.epoch, given.accuracy, training_aware(accuracy, given.step_time, given.params))
        else:
            yield Told(epoch, given, None)


Found = dict[str, dict[str, Any]]
"""By a network's text: `seconds`, `epochs`, `accuracy`, and its `curve`, (epoch, seconds, reward) each."""


def on_tune(task: Any, texts: Sequence[str], workers: int, *, epochs: int, asha: EarlyStopping | None = None) -> Found:
    """Every network evaluated on Ray Tune."""
    import ray
    from ray import tune
    from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler

    class Candidate(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any], sent: tuple[Any]) -> None:
            torch.set_num_threads(1)
            self.task = ray.get(sent[0])
            self.reset_config(config)

        def reset_config(self, config: dict[str, Any]) -> bool:
            self.begun, self.text, self.curve = time.perf_counter(), config["text"], []
            self.coming = told(self.task, self.text)
            return True

        def step(self) -> dict[str, Any]:
            found = next(self.coming)
            taken = time.perf_counter() - self.begun
            self.curve.append((found.epoch, taken, found.reward))
            result = {"accuracy": found.accuracy, "reward": found.reward, "epochs": found.epoch, "text": self.text}
            return {**result, "seconds": taken, "curve": tuple(self.curve), "done": found.epoch == epochs}

    scheduler: Any = FIFOScheduler()
    if asha is not None:
        scheduler = AsyncHyperBandScheduler(
            time_attr="epochs",
            metric="reward",
            mode="max",
            max_t=epochs,
            grace_period=asha.grace_epochs,
            reduction_factor=asha.reduction_factor,
        )
    with redirect_stdout(sys.stderr):  # Tune's own account
        results = tune.run(
            tune.with_parameters(Candidate, sent=(ray.put(task),)),
            config={"text": tune.grid_search(list(texts))},
            max_concurrent_trials=workers,
            resources_per_trial={"cpu": 1},
            reuse_actors=True,
            scheduler=scheduler,
            verbose=0,
        )
    kept = ("seconds", "accuracy", "epochs", "curve")
    return {trial.last_result["text"]: {k: trial.last_result[k] for k in kept} for trial in results.trials}


def in_turn(task: Any, texts: Sequence[str]) -> Found:
    found = {}
    for text in texts:
        begun, curve, accuracy = time.perf_counter(), [], 0.0
        for one in told(task, text):
            curve.append((one.epoch, time.perf_counter() - begun, one.reward))
            accuracy = one.accuracy
        found[text] = {"seconds": curve[-1][1], "accuracy": accuracy, "epochs": curve[-1][0], "curve": curve}
    return found


def stopped_in_turn(found: Found, order: Sequence[str], asha: EarlyStopping) -> tuple[float, float]:
    """Seconds of networks that come in this order and are stopped as ASHA does, and the best reward at an end."""
    rungs: dict[float, list[float]] = {rung: [] for rung in asha.rungs}
    seconds, best = 0.0, -np.inf
    for text in order:
        for epoch, taken, reward in found[text]["curve"]:
            spent, stopped = taken, False
            if (others := rungs.get(epoch)) is not None:
                stopped = bool(others) and reward < np.percentile(others, 100 * (1 - 1 / asha.reduction_factor))
                others.append(reward)
            if stopped:
                break
        seconds += spent
        best = best if stopped else max(best, reward)
    return seconds, best


def simulated(found: Found, asha: EarlyStopping, rng: np.random.Generator) -> dict[str, Any]:
    """Over many orders: the seconds left, relative to all, and how often and by how much the best reward is missed."""
    texts, whole = list(found), sum(row["seconds"] for row in found.values())
    best = max(row["curve"][-1][2] for row in found.values())
    outcomes = [stopped_in_turn(found, rng.permutation(texts).tolist(), asha) for _ in range(ORDERS)]
    return {
        "rungs": asha.rungs,
        "seconds_share": spread([seconds / whole for seconds, _ in outcomes]),
        "best_kept": float(np.mean([reward >= best for _, reward in outcomes])),
        "reward_share": float(np.mean([reward / best for _, reward in outcomes])),
    }


def total(found: Found) -> float:
    return float(sum(row["seconds"] for row in found.values()))


def main() -> None:
    options = parser("Candidates an hour against a reference loop; prints JSON.", n=2)
    options.add_argument("--data", default="../shared/data/cifar10_jpeg95_train.parquet", help="a parquet file")
    options.add_argument("--image-size", type=int, default=32)
    options.add_argument("--pictures", type=int, default=10_000, help="to train on")
    options.add_argument("--minival", type=int, default=2_000)
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--networks", type=int, default=8, help="drawn from the small space")
    options.add_argument("--grace-epochs", type=float, default=0.25)
    options.add_argument("--reduction-factor", type=float, default=3.0)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--no-ray", action="store_true", help="in this process, one network after the other")
    options.add_argument("--no-reference", action="store_true", help="early stopping alone")
    arguments = options.parse_args()
    if arguments.quick:
        arguments.pictures, arguments.minival, arguments.networks, arguments.n = 500, 100, 1, 1
    labels = networks(arguments.networks)
    texts = list(labels.values())
    about = machine()
    os.environ["OMP_NUM_THREADS"] = "1"
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    if not arguments.no_ray:
        import ray

        ray.init(num_cpus=arguments.workers, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    asha = EarlyStopping(arguments.grace_epochs, arguments.reduction_factor, epochs=arguments.epochs, within=True)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = subset(arguments.data, arguments.pictures, arguments.minival, Path(folder))
        data = load_data(str(path), image_size=arguments.image_size, minival=arguments.minival)
        recipe = Recipe(epochs=arguments.epochs, augmentation=Augmentation.parse("crop,flip"))
        ours, stoppable = (ProxyTask(data, recipe, SPACES["small"].backbone) for _ in range(2))
        stoppable.measure_at = asha.rungs
        reference = ReferenceTask(encoded(path, data), recipe)

        def evaluated(task: Any, order: Sequence[str] = texts, asha: EarlyStopping | None = None) -> Found:
            if arguments.no_ray:
                return in_turn(task, order)
            return on_tune(task, order, arguments.workers, epochs=arguments.epochs, asha=asha)

        ways: dict[str, Callable[[], Found]] = {
            "reference": lambda: evaluated(reference),
            "ours": lambda: evaluated(ours),
            "ours, early stopping": lambda: evaluated(stoppable, rng.permutation(texts).tolist(), asha),
        }
        has_timm = importlib.util.find_spec("timm") is not None
        timm_task = ReferenceTask(reference.data, recipe, timm="tf_efficientnetv2_b0")
        timm_seconds: list[float] = []
        if arguments.no_reference:
            del ways["reference"], ways["ours"]
        if arguments.no_ray:
            del ways["ours, early stopping"]
        passes: dict[str, list[Found]] = {name: [] for name in ways}
        for _ in range(arguments.n):
            for name, way in ways.items():
                passes[name].append(way())
                print(f"{name}: {total(passes[name][-1]):.1f} s of workers", file=sys.stderr, flush=True)
            if has_timm and "ours" in passes:
                timm_seconds.append(total(evaluated(timm_task, texts[:1])))
        whole = evaluated(stoppable)  # measured at the rungs, and none stopped
    stopping = simulated(whole, asha, rng)
    best = max(row["curve"][-1][2] for row in whole.values())
    seconds = {name: [total(one) for one in runs] for name, runs in passes.items()}
    ratios = {
        name: spread([a / b for a, b in zip(seconds["reference"], values, strict=True)])
        for name, values in seconds.items()
        if name != "reference" and "reference" in seconds
    }
    if "reference" in seconds:
        share = stopping["seconds_share"]["median"] * total(whole)
        ratios["ours, early stopping simulated"] = spread([a / share for a in seconds["reference"]])
    result = {
        "benchmark": "candidates_per_hour",
        "machine": about,
        "settings": vars(arguments),
        "worker_seconds": {
            **{name: spread(values, 2) for name, values in seconds.items()},
            "ours, measured at the rungs": total(whole),
        },
        "times_as_many": ratios,
        "timm_efficientnetv2_b0_over_ours": spread(
            [seconds / one[texts[0]]["seconds"] for seconds, one in zip(timm_seconds, passes["ours"], strict=True)]
        )
        if timm_seconds
        else "not measured: timm cannot be imported",
        "early_stopping": {
            **stopping,
            "best_reward_of_passes": [
                max(row["curve"][-1][2] for row in one.values() if row["epochs"] == arguments.epochs) / best
                for one in passes.get("ours, early stopping", [])
            ],
        },
        "by_network": {
            name: [{label: one[text] for label, text in labels.items()} for one in runs]
            for name, runs in {**passes, "ours, measured at the rungs": [whole]}.items()
        },
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
