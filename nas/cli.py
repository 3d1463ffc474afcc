"""The command line: parse, one call, print. stdout carries data, stderr everything else."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import __version__
from nas.cli_correction import correct
from nas.cli_devices import calibrate
from nas.cli_networks import describe, scale
from nas.cli_proxy import proxy
from nas.show import Format, print_frame

if TYPE_CHECKING:
    import pandas as pd

# Modules that load numpy, pandas, torch or Ray are imported inside the commands, so that --help is quick.

app = typer.Typer(
    name="nas",
    help="Training-aware neural architecture search: find the network that reaches its accuracy soonest.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
_FormatOption = Annotated[Format, typer.Option("--format", help="How to print on stdout.")]
_Budget = typer.Option(
    "--budget", "-n", min=1, help="Candidates to evaluate; failed ones count, repeats and reused ones do not."
)
_WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Candidates at a time. Default: one a GPU, else one a core; 1 for records. 1 runs without Ray."
    ),
]
_GpusPerTrial = Annotated[
    float | None, typer.Option(help="GPUs of each worker, such as 0.25 for four on one. Default: a whole one.")
]
_Address = Annotated[
    str | None, typer.Option(envvar="RAY_ADDRESS", help="Address of an existing Ray cluster; needs --workers.")
]
_Timeout = Annotated[
    float | None, typer.Option(min=0.001, help="Seconds that one candidate may take; past them it has failed.")
]
_Scheduler = typer.Option(help="none, or asha: candidates that are poor for their epochs are stopped early.")
_StopBy = typer.Option(help="For asha: what is poor, by the accuracy or by the reward as it is by then.")
_GraceEpochs = typer.Option(min=1, help="For asha: the least epochs before a candidate may be stopped.")
_ReductionFactor = typer.Option(
    help="For asha: 3 lets those go on that are among the best third of all trained for so long, and asks again after "
    "3 times the epochs."
)
_CorrectionOption = Annotated[
    Path | None,
    typer.Option("--correction", metavar="FILE", help="Tell the accuracy as `nas correct` corrects it too."),
]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
_Seed = typer.Option(help="Of the controller and of the candidates' training.")
_SplitSeed = typer.Option(help="Of the draw of the minival.")
_Reuse = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="RUN", help="An earlier run with the same proxy task; what it trained is not trained again. Repeatable."
    ),
]
_Space = typer.Option(help="small, efficientnetv2-s, efficientnet-b4, or path/to/file.py:object.")
_Controller = typer.Option(
    help="predictor, random, evolution, local_search, ppo, optuna:tpe, optuna:nsga2, optuna:nsga3, optuna:gp, or "
    "path/to/file.py:object."
)
_RewardName = typer.Option(
    help="training-aware, efficientnet, mnasnet-soft, mnasnet-hard, accuracy, or path/to/file.py:object."
)
_Weights = typer.Option(help="Weights of the reward: w=-0.07,v=-0.05.")
_Evaluator = typer.Option(
    help="proxy (brief training), table:FILE (recorded trials), surrogate:FILE (a regression fitted on them), or "
    "path/to/file.py:object."
)
_Objectives = typer.Option(
    help="Whose front is kept: of accuracy, step_time, params, macs, activations, latency, peak_memory."
)
_LatencyBatch = typer.Option(min=1, help="Measure the time of a forward pass of so many pictures, too.")
_MaxMemory = typer.Option(
    help="The most memory that a training step may take, as in 6GB, 512MB (10^6) or 512MiB (2^20)."
)
_RandomArm = typer.Option(help="Share of the proposals that random search makes, to compare the controller with.")
_ZeroCost = typer.Option(
    "--zero-cost", help="Choose the first candidates among many by SNIP, SynFlow and params of the untrained networks."
)
_Confirm = typer.Option(min=0, help="Leaders to train twice more at the end, with other seeds, beyond the budget.")
_OptunaStorage = typer.Option(help="Mirror the run into an Optuna study here: sqlite:///FILE.db, a URL or a journal.")
_MaxStepTime = typer.Option(help="The longest training step, over the backbone's, as expected before training.")
_DataOption = typer.Option(help="mnist5k, a folder in ImageNet layout, a parquet or an npz file.")
_TestData = typer.Option(help="The test split, where it came separately. It is counted, and never chosen on.")
_ImageSize = typer.Option(min=1, help="Side of the pictures, in pixels. Default: 32 in the small space, else 128.")
_Epochs = typer.Option(min=1, help="Epochs of each candidate. Default: 6,000 pictures' worth, from 2 to 10.")
_BatchSize = typer.Option(min=1, help="Pictures in a training step.")
_Augment = typer.Option(
    help="Vary the training pictures: of crop, flip, randaugment, cutout, mixup, cutmix, with strengths if wanted, as "
    "in crop,flip,randaugment:10. Digits may not be flipped."
)
_Minival = typer.Option(
    min=1, help="Training pictures held out for the reward. Default: 2 %, at least 1,000 or a quarter."
)
_TrainShare = typer.Option(help="Share of the training pictures that candidates are trained on.")
_Width = typer.Option(help="What candidates' widths are multiplied by while they are trained and timed.")
_CacheLimit = typer.Option(min=0, help="GB of decoded pictures kept on disk for later runs; 0: in memory.")
_GpuDataShare = typer.Option(
    min=0, max=1, help="Share of a GPU's memory that a worker's pictures may take; over it, batches are sent."
)
_Device = typer.Option(help="auto, cpu or cuda.")

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
    budget: Annotated[int, _Budget] = 16,
    space: Annotated[str, _Space] = "small",
    controller: Annotated[str, _Controller] = "predictor",
    reward: Annotated[str, _RewardName] = "training-aware",
    reward_weights: Annotated[str, _Weights] = "",
    evaluator: Annotated[str, _Evaluator] = "proxy",
    data: Annotated[str, _DataOption] = "mnist5k",
    test_data: Annotated[str | None, _TestData] = None,
    image_size: Annotated[int | None, _ImageSize] = None,
    epochs: Annotated[int | None, _Epochs] = None,
    batch_size: Annotated[int | None, _BatchSize] = None,
    augment: Annotated[str, _Augment] = "none",
    minival: Annotated[int | None, _Minival] = None,
    train_share: Annotated[float, _TrainShare] = 1.0,
    width: Annotated[float, _Width] = 1.0,
    max_unreadable: Annotated[float, typer.Option(help="Share of pictures that may be unreadable.")] = 0.01,
    cache_limit: Annotated[float, _CacheLimit] = 100.0,
    gpu_data_share: Annotated[float, _GpuDataShare] = 0.2,
    max_params: Annotated[float | None, typer.Option(help="The most parameters a candidate may have.")] = None,
    max_macs: Annotated[float | None, typer.Option(help="The most multiply-adds a candidate may take.")] = None,
    max_step_time: Annotated[float | None, _MaxStepTime] = None,
    max_memory: Annotated[str | None, _MaxMemory] = None,
    latency_batch: Annotated[int | None, _LatencyBatch] = None,
    objectives: Annotated[str, _Objectives] = "accuracy,step_time,params",
    random_arm: Annotated[float, _RandomArm] = 0.0,
    zero_cost: Annotated[bool, _ZeroCost] = False,
    confirm: Annotated[int, _Confirm] = 0,
    optuna_storage: Annotated[str | None, _OptunaStorage] = None,
    device: Annotated[str, _Device] = "auto",
    seed: Annotated[int, _Seed] = 0,
    split_seed: Annotated[int, _SplitSeed] = 0,
    reuse: _Reuse = None,
    workers: _WorkersOption = None,
    gpus_per_trial: _GpusPerTrial = None,
    address: _Address = None,
    trial_timeout: _Timeout = None,
    scheduler: Annotated[str, _Scheduler] = "none",
    grace_epochs: Annotated[int, _GraceEpochs] = 1,
    reduction_factor: Annotated[float, _ReductionFactor] = 3.0,
    stop_by: Annotated[str, _StopBy] = "reward",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder. Default: runs/<date>-<space>-<controller>.")
    ] = None,
    format: _FormatOption = Format.table,
    quiet: _Quiet = False,
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
    run: _Run,
    budget: Annotated[int | None, _Budget] = None,
    confirm: Annotated[int | None, _Confirm] = None,
    optuna_storage: Annotated[str | None, _OptunaStorage] = None,
    reuse: _Reuse = None,
    workers: _WorkersOption = None,
    gpus_per_trial: _GpusPerTrial = None,
    address: _Address = None,
    trial_timeout: _Timeout = None,
    scheduler: Annotated[str | None, _Scheduler] = None,
    grace_epochs: Annotated[int | None, _GraceEpochs] = None,
    reduction_factor: Annotated[float | None, _ReductionFactor] = None,
    stop_by: Annotated[str | None, _StopBy] = None,
    data: Annotated[str | None, typer.Option(help="Where the same pictures are now, if they were moved.")] = None,
    test_data: Annotated[str | None, typer.Option(help="The same, for the test split.")] = None,
    cache_limit: Annotated[float | None, _CacheLimit] = None,
    space: Annotated[str | None, typer.Option(help="Checked against the run's.")] = None,
    controller: Annotated[str | None, typer.Option(help="Checked against the run's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Checked against the run's.")] = None,
    fork: Annotated[
        bool, typer.Option("--fork", help="Go on where the controller does not repeat its proposals.")
    ] = False,
    format: _FormatOption = Format.table,
    quiet: _Quiet = False,
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


@app.command()
def trials(
    run: _Run,
    top: Annotated[int | None, typer.Option(min=1, help="Only the trials of the highest rewards.")] = None,
    correction: _CorrectionOption = None,
    format: _FormatOption = Format.table,
) -> None:
    """List the trials of a run, also while it runs."""
    from results.store import TrialStore

    frame = _corrected(TrialStore.open(run).frame(), correction)
    if top is not None:
        frame = frame[frame["state"] == "complete"].nlargest(top, "reward")
    print_frame(frame, format, columns=_columns(frame))


@app.command()
def pareto(
    run: _Run,
    objectives: Annotated[
        str | None,
        typer.Option(help="Columns of the trial table; of accuracy and reward more is better. Default: the run's."),
    ] = None,
    correction: _CorrectionOption = None,
    format: _FormatOption = Format.table,
) -> None:
    """List the trials of a run that no other beats in every objective."""
    from results.pareto import front_of
    from results.store import TrialStore

    store = TrialStore.open(run)
    names = objectives.split(",") if objectives else _objectives_of(store.configuration)
    front = front_of(_corrected(store.frame(), correction), [name.strip() for name in names])
    print_frame(front, format, columns=_columns(front))


app.command()(correct)
app.command()(describe)
app.command()(scale)
app.command()(calibrate)
app.add_typer(proxy)


def _objectives_of(configuration: Mapping[str, Any]) -> list[str]:
    return list(configuration.get("identity", {}).get("objectives", ("accuracy", "step_time", "params")))


def _absolute(folders: list[Path] | None) -> list[str]:
    return [str(folder.resolve()) for folder in folders or ()]


def _corrected(frame: pd.DataFrame, path: Path | None) -> pd.DataFrame:
    """A trial table with the corrected accuracy beside the raw one, where a correction is given that helps."""
    if path is None:
        return frame
    from results.correction import Correction

    correction = Correction.read(path)
    typer.echo(correction.verdict, err=True)
    if correction.helps:
        frame.insert(list(frame.columns).index("accuracy") + 1, "accuracy_corrected", correction.corrected(frame))
    return frame


def _columns(frame: pd.DataFrame) -> list[str]:
    """What a table for people shows of a trial table."""
    reused = ["reused_from"] if frame["reused_from"].notna().any() else []
    return [*(name for name in _COLUMNS if name in frame), *reused]


_COLUMNS = (
    *("number", "state", "reward", "accuracy", "accuracy_corrected", "step_time", "params", "macs"),
    *("failure", "reason", "architecture"),
)


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
    except (ValueError, OSError) as error:
        text = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else str(error)
        typer.echo(f"error: {text}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
