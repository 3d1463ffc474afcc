"""The command line: parse, one call, print. stdout carries data, stderr everything else."""

from __future__ import annotations

import math
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from nas import __version__, options
from nas.cli_compare import compare
from nas.cli_correction import correct
from nas.cli_describe import describe
from nas.cli_devices import calibrate
from nas.cli_export import export
from nas.cli_networks import scale
from nas.cli_pareto import pareto
from nas.cli_plot import plot
from nas.cli_proxy import proxy
from nas.cli_report import report
from nas.cli_study import study
from nas.cli_train import evaluate, recipes, train
from nas.cli_trials import compact, trials
from nas.cli_watch import watch
from nas.show import Format

# Modules that load numpy, pandas, torch or Ray are imported inside the commands, so that --help is quick.

app = typer.Typer(
    name="nas",
    help="Training-aware neural architecture search: find the network that reaches its accuracy soonest.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PLAN = """Forecast what `nas search` with the same options would take: hours of devices, wall-clock and disk.

It times a few candidates as workers would train them, starts no search and writes no run folder. Runs to reuse and
a storage to mirror into are not looked at.

"""


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("plan", help=_PLAN)
@app.command("search")
def search(
    context: typer.Context,
    budget: Annotated[int, options.Budget] = 16,
    space: Annotated[str, options.Space] = "small",
    controller: Annotated[str, options.Controller] = "predictor",
    reward: Annotated[str, options.RewardName] = "training-aware",
    reward_weights: Annotated[str, options.Weights] = "",
    evaluator: Annotated[str, options.Evaluator] = "proxy",
    data: Annotated[str, options.DataOption] = "mnist5k",
    test_data: Annotated[str | None, options.TestData] = None,
    image_size: Annotated[int | None, options.ImageSize] = None,
    epochs: Annotated[int | None, options.Epochs] = None,
    batch_size: Annotated[int | None, options.BatchSize] = None,
    augment: Annotated[str, options.Augment] = "none",
    minival: Annotated[int | None, options.Minival] = None,
    train_share: Annotated[float, options.TrainShare] = 1.0,
    width: Annotated[float, options.Width] = 1.0,
    max_unreadable: Annotated[float, typer.Option(help="Share of pictures that may be unreadable.")] = 0.01,
    cache_limit: Annotated[float, options.CacheLimit] = 100.0,
    gpu_data_share: Annotated[float, options.GpuDataShare] = 0.2,
    max_params: Annotated[float | None, typer.Option(help="The most parameters a candidate may have.")] = None,
    max_macs: Annotated[float | None, typer.Option(help="The most multiply-adds a candidate may take.")] = None,
    max_step_time: Annotated[float | None, options.MaxStepTime] = None,
    max_memory: Annotated[str | None, options.MaxMemory] = None,
    latency_batch: Annotated[int | None, options.LatencyBatch] = None,
    objectives: Annotated[str, options.Objectives] = "accuracy,step_time,params",
    random_arm: Annotated[float, options.RandomArm] = 0.0,
    zero_cost: Annotated[bool, options.ZeroCost] = False,
    confirm: Annotated[int, options.Confirm] = 0,
    optuna_storage: Annotated[str | None, options.OptunaStorage] = None,
    device: Annotated[str, options.Device] = "auto",
    seed: Annotated[int, options.Seed] = 0,
    split_seed: Annotated[int, options.SplitSeed] = 0,
    reuse: options.Reuse = None,
    workers: options.WorkersOption = None,
    gpus_per_trial: options.GpusPerTrial = None,
    address: options.Address = None,
    trial_timeout: options.Timeout = None,
    scheduler: Annotated[str, options.Scheduler] = "none",
    grace_epochs: Annotated[float, options.GraceEpochs] = 1,
    reduction_factor: Annotated[float, options.ReductionFactor] = 3.0,
    stop_by: Annotated[str, options.StopBy] = "reward",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder. Default: runs/<date>-<space>-<controller>.")
    ] = None,
    format: options.FormatOption = Format.table,
    quiet: options.Quiet = False,
) -> None:
    """Sample candidates, train each briefly, score them, keep everything in a run folder."""
    from nas.conduct import check_storage, check_workers, conduct
    from nas.config import SearchConfig
    from nas.runs import RunSettings, default_folder, start

    limits = {
        "params": max_params,
        "macs": max_macs,
        "step_time": max_step_time,
        "peak_memory_bytes": None if max_memory is None else parse_bytes(max_memory),
    }
    config = SearchConfig(
        space=space,
        controller=controller,
        reward=reward,
        reward_weights=parse_weights(reward_weights),
        evaluator=evaluator,
        data=data,
        test_data=test_data,
        image_size=image_size,
        epochs=epochs,
        batch_size=batch_size,
        augment=augment,
        minival=minival,
        train_share=train_share,
        width=width,
        max_unreadable=max_unreadable,
        cache_limit_gb=cache_limit,
        gpu_data_share=gpu_data_share,
        device=device,
        latency_batch=latency_batch,
        limits={name: limit for name, limit in limits.items() if limit is not None},
        objectives=tuple(name.strip() for name in objectives.split(",")),
        random_arm=random_arm,
        zero_cost=zero_cost,
        seed=seed,
        split_seed=split_seed,
    )
    settings = RunSettings(
        budget=budget,
        confirm=confirm,
        optuna_storage=optuna_storage,
        reuse=_absolute(reuse),
        workers=workers,
        gpus_per_trial=gpus_per_trial,
        address=address,
        trial_timeout_s=trial_timeout,
        scheduler=scheduler,
        grace_epochs=grace_epochs,
        reduction_factor=reduction_factor,
        stop_by=stop_by,
    )
    chosen = check_workers(settings, evaluator)
    if context.command.name == "plan":
        from nas.cli_plan import plan

        raise typer.Exit(plan(config, settings, chosen, folder=out, format=format, quiet=quiet))
    check_storage(optuna_storage)
    with redirect_stdout(sys.stderr):  # what a user's file prints is no data
        built, store = start(config, out or default_folder(config), settings.reuse)
    raise typer.Exit(conduct(built, store, settings, format=format, quiet=quiet))


@app.command()
def resume(
    run: options.Run,
    budget: Annotated[int | None, options.Budget] = None,
    confirm: Annotated[int | None, options.Confirm] = None,
    optuna_storage: Annotated[str | None, options.OptunaStorage] = None,
    reuse: options.Reuse = None,
    workers: options.WorkersOption = None,
    gpus_per_trial: options.GpusPerTrial = None,
    address: options.Address = None,
    trial_timeout: options.Timeout = None,
    scheduler: Annotated[str | None, options.Scheduler] = None,
    grace_epochs: Annotated[float | None, options.GraceEpochs] = None,
    reduction_factor: Annotated[float | None, options.ReductionFactor] = None,
    stop_by: Annotated[str | None, options.StopBy] = None,
    data: Annotated[str | None, typer.Option(help="Where the same pictures are now, if they were moved.")] = None,
    test_data: Annotated[str | None, typer.Option(help="The same, for the test split.")] = None,
    cache_limit: Annotated[float | None, options.CacheLimit] = None,
    space: Annotated[str | None, typer.Option(help="Checked against the run's.")] = None,
    controller: Annotated[str | None, typer.Option(help="Checked against the run's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Checked against the run's.")] = None,
    fork: Annotated[
        bool, typer.Option("--fork", help="Go on where the controller does not repeat its proposals.")
    ] = False,
    format: options.FormatOption = Format.table,
    quiet: options.Quiet = False,
) -> None:
    """Go on with a search that was interrupted, killed, or whose budget is raised."""
    from dataclasses import replace

    from nas.conduct import check_storage, conduct
    from nas.runs import reopen

    check_storage(optuna_storage)

    given = {
        "data": data,
        "test_data": test_data,
        "cache_limit_gb": cache_limit,
        "space": space,
        "controller": controller,
        "seed": seed,
    }
    with redirect_stdout(sys.stderr):  # what a user's file prints is no data
        built, store, before = reopen(run, {k: v for k, v in given.items() if v is not None}, _absolute(reuse))
    changes: dict[str, Any] = {
        "budget": budget,
        "confirm": confirm,
        "optuna_storage": optuna_storage,
        "workers": workers,
        "gpus_per_trial": gpus_per_trial,
        "address": address,
        "trial_timeout_s": trial_timeout,
        "scheduler": scheduler,
        "grace_epochs": grace_epochs,
        "reduction_factor": reduction_factor,
        "stop_by": stop_by,
    }
    try:
        settings = replace(before, **{k: v for k, v in changes.items() if v is not None})
    except ValueError:
        store.close()
        raise
    raise typer.Exit(conduct(built, store, settings, format=format, quiet=quiet, fork=fork))


app.command()(watch)
app.command()(trials)
app.command()(pareto)
app.command()(plot)
app.command()(report)
app.command()(compare)
app.command()(compact)
app.command()(correct)
app.command()(describe)
app.command()(scale)
app.command()(export)
app.command()(train)
app.command()(evaluate)
app.command()(recipes)
app.command()(calibrate)
app.add_typer(proxy)
app.command()(study)


def _absolute(folders: list[Path] | None) -> list[str]:
    return [str(folder.resolve()) for folder in folders or ()]


def parse_weights(text: str) -> dict[str, float]:
    """`w=-0.07,v=-0.05` as a dict.

    Raises:
        ValueError: a part is not name=number, or the number is not finite.
    """
    weights = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            weight = float(value)
        except ValueError:
            weight = math.nan
        if not math.isfinite(weight):
            raise ValueError(f"reward weights must read name=number,name=number; got {part!r}")
        weights[name.strip()] = weight
    return weights


_BYTES = {"": 1, "B": 1} | {f"{prefix}B": 1000**n for n, prefix in enumerate(("k", "M", "G", "T"), 1)}
_BYTES |= {f"{prefix}iB": 1024**n for n, prefix in enumerate(("K", "M", "G", "T"), 1)}


def parse_bytes(text: str) -> float:
    """`6GB` and `512MB` in decimal units, `512MiB` in binary ones, or a number of bytes.

    Raises:
        ValueError: the text is none of these, or not positive.
    """
    match = re.fullmatch(r"([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-z]*)", text.strip())
    size = _BYTES.get(match[2], 0) * float(match[1]) if match else 0.0
    if not 0 < size < math.inf:
        raise ValueError(f"an amount of memory must be a positive number like 6GB, 512MB, 512MiB or 6e9; got {text!r}")
    return size


def main() -> None:
    """The `nas` command. Bad input is one clear line and exit code 1; a traceback would be a defect."""
    try:
        app(prog_name="nas")
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:  # the last two: of trainings
        text = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else str(error)
        typer.echo(f"error: {text}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
