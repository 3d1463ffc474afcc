"""How many candidates an hour are evaluated, against a reference loop, and what each lever gives.

The networks are EfficientNetV2-B0 and eight drawn once from the small space. Both loops train the same networks on the
same pictures, as many epochs, at the same batch size, on Ray Tune's workers of one thread that are used again (or, with
`--no-ray`, one after the other in this process): the reference as `reference_loop.py` has it; ours as `nas search`
does, the timing of the step included. They take turns, and each pair gives a ratio. Early stopping is Ray Tune's ASHA
on the accuracies after each epoch, as in `nas search --scheduler asha`.

Prints one JSON object: seconds and final accuracies of each network by either loop, the ratios of the whole (median,
least, greatest), with early stopping too.

    python benchmarks/candidates_per_hour.py --data ../shared/data/cifar10_jpeg95_train.parquet > candidates.json
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from machine import machine, parser, spread
from reference_loop import Encoded, ReferenceTask

from search_spaces import PUBLISHED, SPACES, Architecture
from trainers.augmentation import Augmentation
from trainers.data import Data, load_data
from trainers.proxy import ProxyTask
from trainers.recipe import Recipe


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


def accuracies(task: Any, architecture: str) -> Iterator[float]:
    for given in task(Architecture.parse(architecture), 0):
        yield given if isinstance(given, float) else given.accuracy


def on_tune(task: Any, texts: list[str], workers: int, *, epochs: int, asha: bool) -> dict[str, dict[str, Any]]:
    """Every network evaluated on Ray Tune; by its text, the seconds it took in its worker and its accuracies."""
    import ray
    from ray import tune
    from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler

    class Candidate(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any], sent: tuple[Any]) -> None:
            torch.set_num_threads(1)
            self.task = ray.get(sent[0])
            self.reset_config(config)

        def reset_config(self, config: dict[str, Any]) -> bool:
            self.begun, self.text = time.perf_counter(), config["text"]
            self.curve = accuracies(self.task, self.text)
            self.epochs = 0
            return True

        def step(self) -> dict[str, Any]:
            found = next(self.curve)
            self.epochs += 1
            done = self.epochs == epochs
            taken = time.perf_counter() - self.begun
            return {"accuracy": found, "epochs": self.epochs, "text": self.text, "seconds": taken, "done": done}

    scheduler: Any = FIFOScheduler()
    if asha:
        scheduler = AsyncHyperBandScheduler(
            time_attr="epochs", metric="accuracy", mode="max", max_t=epochs, grace_period=1, reduction_factor=3
        )
    results = tune.run(
        tune.with_parameters(Candidate, sent=(ray.put(task),)),
        config={"text": tune.grid_search(texts)},
        max_concurrent_trials=workers,
        resources_per_trial={"cpu": 1},
        reuse_actors=True,
        scheduler=scheduler,
        verbose=0,
    )
    found = {}
    for trial in results.trials:
        last = trial.last_result
        found[last["text"]] = {k: last[k] for k in ("seconds", "accuracy", "epochs")}
    return found


def in_turn(task: Any, texts: list[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for text in texts:
        begun = time.perf_counter()
        curve = list(accuracies(task, text))
        found[text] = {"seconds": time.perf_counter() - begun, "accuracy": curve[-1], "epochs": len(curve)}
    return found


def main() -> None:
    options = parser("Candidates an hour against a reference loop; prints JSON.", n=2)
    options.add_argument("--data", default="../shared/data/cifar10_jpeg95_train.parquet", help="a parquet file")
    options.add_argument("--image-size", type=int, default=32)
    options.add_argument("--pictures", type=int, default=10_000, help="to train on")
    options.add_argument("--minival", type=int, default=2_000)
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--networks", type=int, default=8, help="drawn from the small space")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--no-ray", action="store_true", help="in this process, one network after the other")
    arguments = options.parse_args()
    if arguments.quick:
        arguments.pictures, arguments.minival, arguments.networks, arguments.n = 500, 100, 1, 1
    texts = networks(arguments.networks)
    about = machine()
    os.environ["OMP_NUM_THREADS"] = "1"
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    if not arguments.no_ray:
        import ray

        ray.init(num_cpus=arguments.workers, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        path = subset(arguments.data, arguments.pictures, arguments.minival, Path(folder))
        data = load_data(str(path), image_size=arguments.image_size, minival=arguments.minival)
        recipe = Recipe(epochs=arguments.epochs, augmentation=Augmentation.parse("crop,flip"))
        ours = ProxyTask(data, recipe, SPACES["small"].backbone)
        reference = ReferenceTask(encoded(path, data), recipe)
        passes: dict[str, list[dict[str, Any]]] = {"reference": [], "ours": [], "ours, early stopping": []}
        for _ in range(arguments.n):
            for name, task in (("reference", reference), ("ours", ours), ("ours, early stopping", ours)):
                asha = name.endswith("stopping")
                if arguments.no_ray and asha:
                    continue
                found = (
                    in_turn(task, list(texts.values()))
                    if arguments.no_ray
                    else on_tune(task, list(texts.values()), arguments.workers, epochs=arguments.epochs, asha=asha)
                )
                passes[name].append({label: found[text] for label, text in texts.items()})
                whole = sum(row["seconds"] for row in passes[name][-1].values())
                print(f"{name}: {whole:.1f} s of workers", file=sys.stderr, flush=True)
    wholes = {name: [sum(row["seconds"] for row in one.values()) for one in runs] for name, runs in passes.items()}
    result = {
        "benchmark": "candidates_per_hour",
        "machine": about,
        "settings": vars(arguments),
        "worker_seconds": {name: spread(values, 2) for name, values in wholes.items() if values},
        "times_as_many": {
            name: spread([a / b for a, b in zip(wholes["reference"], values, strict=True)])
            for name, values in wholes.items()
            if values and name != "reference"
        },
        "by_network": passes,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
