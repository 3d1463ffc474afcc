"""From a search to a trained network, on the 5,000 digits that come with the package.

1. A brief search of the small space: each candidate is trained for two epochs, and its training step is timed.
2. The best network is trained with progressive learning (arXiv 2104.00298, section 4): pictures grow from 24 to 32 px,
   and RandAugment and dropout with them.
3. Its best weights, chosen on the minival, are evaluated on test pictures that neither the search nor the training saw.

    python examples/train_found.py --out found     # two minutes on one core

It leaves what `nas search` and `nas train` leave: `nas pareto found/run`, `nas export found/training --to onnx`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from nas.config import SearchConfig
from nas.exports import find_exported
from nas.runs import RunSettings, make_session, note_start, start
from nas.search import run_serial
from nas.trainings import begin, evaluate, write_results
from trainers.augmentation import Augmentation
from trainers.progressive import Progression
from trainers.recipes import RECIPES
from trainers.task import TrainingTask


def search(folder: Path, budget: int) -> None:
    """Search the small space with one worker; the run is left in the folder."""
    found, store = start(SearchConfig(), folder)
    settings = RunSettings(budget=budget)
    note_start(store, settings)
    session = make_session(found, store, settings)
    run_serial(session, found.evaluate)
    store.close()
    if session.best is not None:
        print(f"{session.evaluated} candidates evaluated, the best with reward {session.best.reward:.4f}")


def train(run: Path, folder: Path, epochs: int) -> None:
    """Train the run's best network; weights, metrics and checkpoints are left in the folder."""
    best = find_exported(str(run))
    recipe = replace(
        RECIPES["small-cpu"](),
        epochs=epochs,
        warmup_epochs=epochs / 10,
        image_size=32,
        augmentation=Augmentation(randaugment=5, randaugment_layers=1),  # and no flips, of digits
        progression=Progression(kind="paper", smallest=24, stages=3, randaugment=(1, 5), dropout=(0.0, 0.2)),
    )
    task = TrainingTask(recipe=recipe, source="mnist5k", architecture=best.network.architecture)
    training = begin(task, folder, "auto", provenance=best.search)
    for epoch in training.run():
        write_results(training, folder)
        print(f"epoch {epoch.epoch}: {epoch.image_size} px, loss {epoch.loss:.3f}, minival {epoch.accuracy:.4f}")


def main() -> None:
    """Search, train, evaluate."""
    parser = argparse.ArgumentParser(description="Search on the embedded digits, and train what was found.")
    parser.add_argument("--out", type=Path, default=Path("found"), help="folder of the run and of the training")
    parser.add_argument("--budget", type=int, default=12, help="candidates of the search")
    parser.add_argument("--epochs", type=int, default=12, help="of the training")
    arguments = parser.parse_args()
    run, training = arguments.out / "run", arguments.out / "training"
    search(run, arguments.budget)
    train(run, training, arguments.epochs)
    for split in ("minival", "test"):
        found = evaluate(training, "auto", split=split)
        low, high = found["low"], found["high"]
        print(f"{split}: {found['accuracy']:.4f} ({low:.4f} to {high:.4f}) on {found['pictures']:,} pictures")


if __name__ == "__main__":
    main()
