"""The commands that train what was found: `train` and `evaluate`."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Generator
from contextlib import closing, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TextIO

import typer

from nas import options
from nas.show import Format, print_json
from nas.training_options import SMALL

if TYPE_CHECKING:
    from nas.search import Workers
    from nas.training_options import Asked
    from nas.training_output import Output
    from nas.trainings import Watch
    from trainers.epoch import Epoch
    from trainers.training import Training

    _Running = Callable[[Watch], Generator[Epoch]]
    _Say = Callable[[str], None]

# Modules that load torch are imported inside the commands, so that --help is quick.

_Network = typer.Argument(
    metavar="ARCH|FILE|RUN|DIR",
    help="A published name, an architecture text, a file with either, a run's folder, a .safetensors file of this "
    "software, whose weights it then begins with; or the folder of a training, "
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
_Weights = typer.Option(
    metavar="FILE",
    help="Weights to begin with: this software's (also named as the network alone), timm's or torchvision's.",
)
_TestData = typer.Option(help="The test split, where it lies elsewhere; evaluated at the end, never chosen on.")
_Progression = typer.Option(
    help="How size and regularisation go on: constant, paper, released, resize, random, random-adaptive, fixres:0.8; "
    "with settings, as in paper,smallest:64,randaugment:2..10."
)
_ImageSize = typer.Option(
    min=1, help="Side of the largest training pictures. Default: the recipe's; small-cpu takes a run's."
)
_Warmup = typer.Option(min=0.0, help="Epochs in which the learning rate rises, such as 0.5. Default: likewise.")
_Accumulate = typer.Option(
    min=1, help="Compute the gradient of a batch in so many equal parts, for want of memory. Default: likewise."
)
_LargerBatches = typer.Option(
    "--larger-batches", help="Let the batch, and the learning rate with it, grow where pictures are smaller."
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
_EvalSize = typer.Option(min=1, help="Side of the pictures. Default: that of the training's evaluation.")
_Split = typer.Option(help="minival or test. Default: test.")
_Others = typer.Option(help="Other pictures of the same classes: their test split, or all where they have none.")
_Tensorboard = typer.Option("--tensorboard", help="Write TensorBoard's event files too, into DIR/tensorboard.")
_Plot = typer.Option("--plot", help="Draw the curves, stages shaded: DIR/curves.png. Also of a training that is over.")


def train(
    context: typer.Context,
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
    warmup_epochs: Annotated[float | None, _Warmup] = None,
    accumulate: Annotated[int | None, _Accumulate] = None,
    larger_batches: Annotated[bool, _LargerBatches] = False,
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
    from nas.training_options import Asked, check_going_on
    from nas.training_output import Output, is_over
    from nas.training_texts import tell
    from nas.trainings import epochs_here, is_training

    output, where = Output(tensorboard, plot), _Where(device, devices, address)
    output.check()

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    if network is not None and is_training(Path(network)):
        folder = Path(network)
        check_going_on(folder, _given(context))
        if (tensorboard or plot) and is_over(folder):  # its pictures need not be there any more
            with output.kept_up(folder):
                pass
            say(f"{folder} is over; what was asked for is written")
            return
        output = output.of(folder)
        output.check()
        training, workers = _gone_on_with(folder, where, say)
    else:
        training, folder, workers = _begun(Asked.of(context.params), where, say)
    aside: TextIO = sys.stderr
    if workers is None or training.seen == training.pictures_in_all:
        running: _Running = partial(epochs_here, training, folder, save_every_s=save_every)
    else:
        from nas.distributed import epochs_on  # loads Ray

        aside = StringIO()  # Ray's own words on lost workers, where ours suffice
        running = partial(epochs_on, training, folder, workers, device=device, save_every_s=save_every, say=say)
    with redirect_stdout(aside):
        _conduct(training, folder, running, output=output, quiet=quiet)
    tell(training, folder, format=format, say=say)


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a training.")],
    split: Annotated[str | None, _Split] = None,
    data: Annotated[str | None, _Others] = None,
    image_size: Annotated[int | None, _EvalSize] = None,
    device: Annotated[str, options.Device] = "auto",
    format: options.FormatOption = Format.table,
) -> None:
    """Tell the accuracy of a training's best weights, with its 95 % interval, and note it in evaluations.json."""
    from nas.training_results import note_evaluation
    from nas.trainings import evaluate as evaluated

    if split not in (None, "minival", "test"):
        raise ValueError(f"split must be minival or test; got {split!r}")
    with redirect_stdout(sys.stderr):
        found = evaluated(folder, device, split=split, source=data, image_size=image_size)
    if format is Format.json:
        print_json(found)
    else:
        print(
            f"{found['split']}: accuracy {found['accuracy']:.4f} ({found['low']:.4f} to {found['high']:.4f}) on "
            f"{found['pictures']:,} pictures at {found['image_size']} px"
        )
    note_evaluation(folder, found)


def recipes() -> None:
    """List the recipes of `nas train`, and what each is from."""
    from trainers.recipes import RECIPES

    for name, make in RECIPES.items():
        print(f"{name:<22}{(make.__doc__ or '').strip().splitlines()[0]}")


def _given(context: typer.Context) -> dict[str, str]:
    """The parameters that stand on the command line, and what they are called there."""
    return {
        str(parameter.name): parameter.opts[0]
        for parameter in context.command.params
        if getattr(context.get_parameter_source(str(parameter.name)), "name", "") == "COMMANDLINE"
    }


class _Where(NamedTuple):
    """The options of `nas train` that say where it computes."""

    device: str
    devices: int | None
    address: str | None


def _gone_on_with(folder: Path, where: _Where, say: _Say) -> tuple[Training, Workers | None]:
    """A training at its last checkpoint, and the workers that train it; None is this process."""
    from nas.training_devices import choose_devices
    from nas.trainings import read, reopen

    device, devices, address = where
    workers = choose_devices(devices, shards=read(folder)["shards"], device=device, address=address)
    with redirect_stdout(sys.stderr):
        training = reopen(folder, "cpu" if workers else device)
    say(f"training {folder}: {training.over} of {training.recipe.epochs} epochs are done")
    return training, workers


def _begun(asked: Asked, where: _Where, say: _Say) -> tuple[Training, Path, Workers | None]:
    """A new training, its folder, and the workers that train it; None is this process."""
    from nas.training_devices import check_batch, choose_devices
    from nas.training_options import new_training
    from nas.training_texts import beginning, opening
    from nas.trainings import begin

    device, devices, address = where
    task, folder, provenance = new_training(asked, shards=devices or 1)
    workers = choose_devices(devices, shards=None, device=device, address=address)
    check_batch(task.recipe, devices or 1)
    with redirect_stdout(sys.stderr):
        training = begin(task, folder, "cpu" if workers else device, provenance=provenance)
    say(opening(training, folder, training.device.type if workers is None else f"on {workers.count} devices"))
    if training.began_with is not None:
        say(beginning(training.began_with, str(task.weights)))
    return training, folder, workers


def _conduct(training: Training, folder: Path, running: _Running, *, output: Output, quiet: bool) -> None:
    """Train to the end, and show how far it is."""
    from nas.time_left import TimeLeft
    from nas.training_progress import TrainingProgress
    from nas.training_texts import kept
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
    except (OSError, MemoryError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        room = "make room on the disk, and " if full else ""
        print(f"what was saved is kept; {room}go on with: nas train {folder}", file=sys.stderr)
        raise
    except FloatingPointError as error:
        raise FloatingPointError(f"{error}. {kept(training, folder)}") from error
