"""The options of the commands on searches and runs, each with its help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.show import Format

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
Network = Annotated[
    str,
    typer.Argument(
        metavar="ARCH|RUN",
        help="A published name, an architecture text, a file with either, a file of `nas scale`, or a run's folder.",
    ),
]
TrialOption = Annotated[
    int | None, typer.Option(min=0, help="Which trial of the run. Default: the one of the highest reward.")
]
NumClasses = Annotated[
    int | None, typer.Option(min=1, help="Outputs of the classifier. Default: the run's or the file's, else 1000.")
]
InChannels = Annotated[
    int | None, typer.Option(min=1, help="Channels of a picture. Default: the run's or the file's, else 3.")
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print on stdout.")]
Budget = typer.Option(
    "--budget", "-n", min=1, help="Candidates to evaluate; failed ones count, repeats and reused ones do not."
)
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Candidates at a time. Default: one a GPU, else one a core; 1 for records. 1 runs without Ray."
    ),
]
GpusPerTrial = Annotated[
    float | None, typer.Option(help="GPUs of each worker, such as 0.25 for four on one. Default: a whole one.")
]
Address = Annotated[
    str | None, typer.Option(envvar="RAY_ADDRESS", help="Address of an existing Ray cluster; needs --workers.")
]
Timeout = Annotated[
    float | None, typer.Option(min=0.001, help="Seconds that one candidate may take; past them it has failed.")
]
Scheduler = typer.Option(help="none, or asha: candidates that are poor for their epochs are stopped early.")
StopBy = typer.Option(help="For asha: what is poor, by the accuracy or by the reward as it is by then.")
GraceEpochs = typer.Option(help="For asha: the least epochs before a candidate may be stopped, such as 0.25.")
ReductionFactor = typer.Option(
    help="For asha: 3 lets those go on that are among the best third of all trained for so long, and asks again after "
    "3 times the epochs."
)
CorrectionOption = Annotated[
    Path | None,
    typer.Option("--correction", metavar="FILE", help="Tell the accuracy as `nas correct` corrects it too."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Seed = typer.Option(help="Of the controller and of the candidates' training.")
SplitSeed = typer.Option(help="Of the draw of the minival.")
Reuse = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="RUN", help="An earlier run with the same proxy task; what it trained is not trained again. Repeatable."
    ),
]
Space = typer.Option(help="small, efficientnetv2-s, efficientnet-b4, or path/to/file.py:object.")
Controller = typer.Option(
    help="predictor, random, evolution, local_search, ppo, optuna:tpe, optuna:nsga2, optuna:nsga3, optuna:gp, or "
    "path/to/file.py:object."
)
RewardName = typer.Option(
    help="training-aware, efficientnet, mnasnet-soft, mnasnet-hard, accuracy, or path/to/file.py:object."
)
Weights = typer.Option(help="Weights of the reward: w=-0.07,v=-0.05.")
Evaluator = typer.Option(
    help="proxy (brief training), table:FILE (recorded trials), surrogate:FILE (a regression fitted on them), or "
    "path/to/file.py:object."
)
Objectives = typer.Option(
    help="Whose front is kept: of accuracy, step_time, params, macs, activations, latency, peak_memory."
)
LatencyBatch = typer.Option(min=1, help="Measure the time of a forward pass of so many pictures, too.")
MaxMemory = typer.Option(
    help="The most memory that a training step may take, as in 6GB, 512MB (10^6) or 512MiB (2^20)."
)
RandomArm = typer.Option(help="Share of the proposals that random search makes, to compare the controller with.")
ZeroCost = typer.Option(
    "--zero-cost", help="Choose the first candidates among many by SNIP, SynFlow and params of the untrained networks."
)
Confirm = typer.Option(min=0, help="Leaders to train twice more at the end, with other seeds, beyond the budget.")
OptunaStorage = typer.Option(help="Mirror the run into an Optuna study here: sqlite:///FILE.db, a URL or a journal.")
MaxStepTime = typer.Option(help="The longest training step, over the backbone's, as expected before training.")
DataOption = typer.Option(help="mnist5k, a folder in ImageNet layout, a parquet or an npz file.")
TestData = typer.Option(help="The test split, where it came separately. It is counted, and never chosen on.")
ImageSize = typer.Option(min=1, help="Side of the pictures, in pixels. Default: 32 in the small space, else 128.")
Epochs = typer.Option(min=1, help="Epochs of each candidate. Default: 6,000 pictures' worth, from 2 to 10.")
BatchSize = typer.Option(min=1, help="Pictures in a training step.")
Augment = typer.Option(
    help="Vary the training pictures: of crop, flip, randaugment, cutout, mixup, cutmix, with strengths if wanted, as "
    "in crop,flip,randaugment:10. Digits may not be flipped."
)
Minival = typer.Option(
    min=1, help="Training pictures held out for the reward. Default: 2 %, at least 1,000 or a quarter."
)
TrainShare = typer.Option(help="Share of the training pictures that candidates are trained on.")
Width = typer.Option(help="What candidates' widths are multiplied by while they are trained and timed.")
CacheLimit = typer.Option(min=0, help="GB of decoded pictures kept on disk for later runs; 0: in memory.")
GpuDataShare = typer.Option(
    min=0, max=1, help="Share of a GPU's memory that a worker's pictures may take; over it, batches are sent."
)
Device = typer.Option(help="auto, cpu or cuda.")
