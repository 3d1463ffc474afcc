"""The commands that train what was found: `train` and `evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import closing, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from nas import options
from nas.show import Format, print_json
from nas.training_options import SMALL

if TYPE_CHECKING:
    from nas.training_output import Output
    from nas.trainings import Watch
    from trainers.epoch import Epoch
    from trainers.training import Training

# Modules that load torch are imported inside the commands, so that --help is quick.

_Network = typer.Argument(
    metavar="ARCH|FILE|RUN|DIR",
    help="A published name, an architecture text, a file with either, a run's folder; or the folder of a training, "
    "which is gone on with.",
)
_Data = typer.Option(
    help="A folder in ImageNet layout, a parquet file or a folder of them, an npz file, or mnist5k. Default: what the "
    "network was searched on, with the same minival; else mnist5k."
)
_Trial = typer.Option(min=0, help="Which trial of the run. Default: its best.")
_Model = typer.Option(help="Train your own network: module:function or path/to/file.py:function, given num_classes.")
_RecipeName = typer.Option(help="How to train: small-cpu, imagenet-paper-s, finetune, ... (`nas recipes` lists them).")
_Out = typer.Option("--out", "-o", metavar="DIR", help="Folder of the training; it must not hold anything yet.")
_Weights = typer.Option(metavar="FILE", help="Weights to begin with: this software's, timm's or torchvision's.")
_TestData = typer.Option(help="The test split, where it lies elsewhere; evaluated at the end, never chosen on.")
_Progression = typer.Option(
    help="How size and regularisation go on: constant, paper, released, resize, random, random-adaptive, fixres:0.8; "
    "with settings, as in paper,smallest:64,randaugment:2..10."
)
_ImageSize = typer.Option(
    min=1, help="Side of the largest training pictures. Default: the recipe's; small-cpu takes a run's."
)
_SaveEvery = typer.Option(min=0.0, help="Seconds between two checkpoints within an epoch.")
_Devices = typer.Option(
    min=1,
    help="GPUs, or cores, that train together, each on its part of every batch. Default: 1, or as many as a training "
    "began with; it goes on on a divisor of those, with the same numbers.",
)
_Address = typer.Option(
    envvar="RAY_ADDRESS",
    help="Address of a Ray cluster; needs --devices. All its machines must see the training's folder and the data.",
)
_Memory = typer.Option(help="Pictures decoded once (packed) or during the training (streamed). Default: by their size.")
_Split = typer.Option(help="minival or test.")
_Tensorboard = typer.Option("--tensorboard", help="Write TensorBoard's event files too, into DIR/tensorboard.")
_Plot = typer.Option("--plot", help="Draw the curves, stages shaded: DIR/curves.png. Also of a training that is over.")


def train(
    network: Annotated[str | None, _Network] = None,
    data: Annotated[str | None, _Data] = None,
    recipe: Annotated[str, _RecipeName] = SMALL,
    out: Annotated[Path | None, _Out] = None,
    trial: Annotated[int | None, _Trial] = None,
    model: Annotated[str | None, _Model] = None,
    weights: Annotated[Path | None, _Weights] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Default: the recipe's; so are the following.")] = None,
    batch_size: Annotated[int | None, options.BatchSize] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest, for a batch of 256.")] = None,
    image_size: Annotated[int | None, _ImageSize] = None,
    eval_size: Annotated[int | None, typer.Option(min=1, help="Side of the pictures in evaluation.")] = None,
    progression: Annotated[str | None, _Progression] = None,
    augment: Annotated[
        str | None, typer.Option(help="As of `nas search`: crop, flip, randaugment, ... Default: likewise.")
    ] = None,
    test_data: Annotated[str | None, _TestData] = None,
    minival: Annotated[int | None, options.Minival] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order and variation.")] = 0,
    split_seed: Annotated[int | None, options.SplitSeed] = None,
    device: Annotated[str, options.Device] = "auto",
    devices: Annotated[int | None, _Devices] = None,
    address: Annotated[str | None, _Address] = None,
    memory: Annotated[str, _Memory] = "auto",
    save_every: Annotated[float, _SaveEvery] = 300.0,
    tensorboard: Annotated[bool, _Tensorboard] = False,
    plot: Annotated[bool, _Plot] = False,
    format: options.FormatOption = Format.table,
    quiet: options.Quiet = False,
) -> None:
    """Train a network, with pictures and regularisation that grow as the recipe has it.

    It goes on where it was cut off, to the same weights: `nas train DIR`. The weights kept are those of the best epoch
    on the minival.
    """
    from nas.training_devices import check_batch, choose_devices
    from nas.training_options import absolute, network_fields, network_named, recipe_for
    from nas.training_output import Output, is_over
    from nas.trainings import begin, epochs_here, is_training, read, reopen
    from trainers.task import TrainingTask

    output = Output(tensorboard, plot)
    output.check()

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    if network is not None and is_training(Path(network)):
        folder = Path(network)
        if (tensorboard or plot) and is_over(folder):  # its pictures need not be there any more
            with output.kept_up(folder):
                pass
            say(f"{folder} is over; what was asked for is written")
            return
        output = output.of(folder)
        output.check()
        workers = choose_devices(devices, shards=read(folder)["shards"], device=device, address=address)
        with redirect_stdout(sys.stderr):
            training = reopen(folder, "cpu" if workers else device)
        say(f"training {folder}: {len(training.told)} of {training.recipe.epochs} epochs are done")
    else:
        found = network_named(network, trial, model)
        chosen = recipe_for(
            recipe,
            found,
            data,
            {
                "epochs": epochs,
                "batch_size": batch_size,
                "learning_rate": learning_rate,
                "image_size": image_size,
                "eval_size": eval_size,
                "progression": progression,
                "augmentation": augment,
            },
        )
        workers = choose_devices(devices, shards=None, device=device, address=address)
        check_batch(chosen, devices or 1)
        provenance = {} if found is None else found.search
        searched = provenance.get("search", {})
        task = TrainingTask(
            **network_fields(found, model),
            recipe=chosen,
            source=absolute(data) or searched.get("data") or "mnist5k",
            test_source=absolute(test_data) or (searched.get("test_data") if data is None else None),
            minival=searched.get("minival") if minival is None and data is None else minival,
            split_seed=searched.get("split_seed", 0) if split_seed is None else split_seed,
            seed=seed,
            shards=devices or 1,
            weights=None if weights is None else str(weights.resolve()),
            memory=memory,
        )
        folder = out or Path("trainings") / (str(model).rpartition(":")[2] if found is None else found.network.name)
        with redirect_stdout(sys.stderr):
            training = begin(task, folder, "cpu" if workers else device, provenance=provenance)
        say(_opening(training, folder, training.device.type if workers is None else f"on {workers.count} devices"))
    aside: TextIO = sys.stderr
    if workers is None or training.seen == training.pictures_in_all:
        running: Callable[[Watch], Generator[Epoch]] = partial(epochs_here, training, folder, save_every_s=save_every)
    else:
        from nas.distributed import epochs_on  # loads Ray

        aside = StringIO()  # Ray's own words on lost workers, where ours suffice
        running = partial(epochs_on, training, folder, workers, device=device, save_every_s=save_every, say=say)
    with redirect_stdout(aside):
        _conduct(training, folder, running, output=output, quiet=quiet)
    _tell(training, folder, format=format, say=say)


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a training.")],
    split: Annotated[str, _Split] = "test",
    data: Annotated[str | None, typer.Option(help="Other pictures of the same classes.")] = None,
    device: Annotated[str, options.Device] = "auto",
    format: options.FormatOption = Format.table,
) -> None:
    """Tell the accuracy of a training's best weights, with its 95 % interval."""
    from nas.trainings import evaluate as evaluated

    if split not in ("minival", "test"):
        raise ValueError(f"split must be minival or test; got {split!r}")
    with redirect_stdout(sys.stderr):
        found = evaluated(folder, device, split=split, source=data)
    if format is Format.json:
        print_json(found)
    else:
        print(
            f"{found['split']}: accuracy {found['accuracy']:.4f} ({found['low']:.4f} to {found['high']:.4f}) on "
            f"{found['pictures']:,} pictures at {found['image_size']} px"
        )


def recipes() -> None:
    """List the recipes of `nas train`, and what each is from."""
    from trainers.recipes import RECIPES

    for name, make in RECIPES.items():
        print(f"{name:<22}{(make.__doc__ or '').strip().splitlines()[0]}")


def _opening(training: Training, folder: Path, where: str) -> str:
    sizes, recipe = training.pictures.sizes, training.recipe
    from trainers.progressive import sizes_of

    pixels = ", ".join(map(str, sizes_of(recipe)))
    return (
        f"training {folder}: {recipe.epochs} epochs of {sizes['train']:,} pictures in batches of {recipe.batch_size}, "
        f"{where}\n"
        f"minival {sizes['minival']:,}, which the best epoch is chosen on; test {sizes['test']:,}\n"
        f"{recipe.progression}: pictures at {pixels} px, evaluated at {recipe.eval_size or recipe.image_size}"
    )


def _conduct(
    training: Training, folder: Path, running: Callable[[Watch], Generator[Epoch]], *, output: Output, quiet: bool
) -> None:
    """Train to the end, and show how far it is."""
    from nas.time_left import TimeLeft
    from nas.training_progress import TrainingProgress
    from nas.trainings import catch_up

    left = TimeLeft(
        training.recipe, training.pictures_in_all, minival=training.pictures.sizes["minival"], seed=training.seed
    )
    before = training.told[-1].accuracy if training.told else None
    try:
        catch_up(training, folder)
        with (
            TrainingProgress(left, accuracy=before, quiet=quiet) as progress,
            output.kept_up(folder) as told,
            closing(running(progress.step)) as epochs,  # whatever happens meanwhile, workers are ended
        ):
            for epoch in epochs:
                told(epoch)
                progress.ended(epoch, training.pictures_in_all // training.recipe.epochs * epoch.epoch)
    except KeyboardInterrupt:
        print(f"stopped; go on with: nas train {folder}", file=sys.stderr)
        raise typer.Exit(130) from None
    except OSError:
        print(f"what was saved is kept; go on with: nas train {folder}", file=sys.stderr)
        raise
    except FloatingPointError as error:
        raise FloatingPointError(f"{error}. {_kept(training, folder)}") from error


def _kept(training: Training, folder: Path) -> str:
    """What there is of a training that diverged; gone on with, it would diverge again."""
    from nas.trainings import CHECKPOINTS, WEIGHTS

    steps = training.checkpoints.steps() if training.checkpoints else []
    if not steps:
        return f"No checkpoint came before: begin another training, and remove {folder}"
    text = f"The last good checkpoint, of step {steps[-1]}, is kept in {folder / CHECKPOINTS}"
    if not (folder / WEIGHTS).is_file():
        return f"{text}: begin another training"
    return f"{text}: begin another training, if you like with --weights {folder / WEIGHTS}, those of the best epoch"


def _tell(training: Training, folder: Path, *, format: Format, say: Callable[[str], None]) -> None:
    """What came of a training that is over."""
    from nas.progress import duration
    from nas.trainings import WEIGHTS

    best, unreadable = training.best, training.pictures.unreadable
    assert best is not None
    told: dict[str, Any] = {"folder": str(folder), "accuracy": best[0], "epochs": len(training.told)}
    told["train_s"] = training.told[-1].train_s
    told["unreadable"] = len(unreadable)
    if format is Format.json:
        print_json(told)
    else:
        print(
            f"accuracy {best[0]:.4f} on the minival, after {duration(told['train_s'])} of training: {folder / WEIGHTS}"
        )
    if unreadable:
        some = "; ".join(f"{name} ({fault})" for name, fault in list(unreadable.items())[:5])
        more = ", ..." if len(unreadable) > 5 else ""
        say(f"{len(unreadable):,} pictures could not be read, and were left out or replaced by others: {some}{more}")
    if training.pictures.sizes["test"]:
        say(f"on the test split: nas evaluate {folder}")
