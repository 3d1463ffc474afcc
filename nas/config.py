"""`SearchConfig`: the options of a search, and what is built of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.controllers import CONTROLLERS, Controller
from nas.evaluation import Evaluate, epochs_of
from nas.plugins import absolute, is_file_reference, resolve, source_hash
from nas.problem import Problem
from nas.reward import REWARDS, bind, quantities
from nas.screening import BRIEF_STEPS, first_draw
from nas.session import trial_seed
from search_spaces import SPACES, Architecture, Genotype, SearchSpace

if TYPE_CHECKING:
    from nas.reuse import Trainings

GP_WARNING = (
    "Optuna's Gaussian process takes seconds a proposal, the more the larger the space; after 100 candidates Optuna's "
    "TPE goes on in its place (`predictor` needs fewer evaluations, and milliseconds)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """What decides the outcome of a search; none of it may change when the search is resumed.

    Args:
        space: a name in `search_spaces.SPACES`, or file.py:object.
        controller: a name in `nas.controllers.CONTROLLERS`, or file.py:object.
        reward: a name in `nas.reward.REWARDS`, or file.py:object.
        reward_weights: for the reward's keyword-only arguments.
        evaluator: `proxy` (brief training), `table:FILE` (recorded trials), `surrogate:FILE` (a regression on them), or
            file.py:object.
        data: a registered name, an image folder, a parquet or an npz file.
        test_data: the same, for a test split that came separately.
        image_size: side of the pictures, in pixels; None is 32 in the small space and 128 elsewhere.
        epochs: of each candidate's training; None is 6,000 pictures' worth, from 2 to 10.
        batch_size: pictures in a training step; None is the recipe's own.
        augment: how training pictures are varied, such as `crop,flip`; see `trainers.augmentation.Augmentation`.
        minival: pictures of the minival; None is 2 % of the training pictures, at least 1,000 or a quarter.
        train_share: the share of the training pictures that candidates are trained on.
        width: what the widths of candidates are multiplied by while they are trained and timed.
        max_unreadable: the share of pictures that may be unreadable.
        cache_limit_gb: what decoded pictures may take on the disk; it decides nothing, and may be another on resume.
        gpu_data_share: of a GPU's memory, what a worker's pictures may take; it decides nothing either.
        device: `auto`, `cpu` or `cuda`.
        latency_batch: pictures in the forward pass whose time is measured; None for no such measurement.
        limits: the most params, macs, activations, step time or bytes of memory that a candidate may have.
        objectives: whose front is kept, among `nas.problem.OBJECTIVES`.
        random_arm: the share of the proposals that random search makes, to compare the controller with.
        zero_cost: whether the first proposals are chosen among many networks by their untrained scores.
        seed: of the controller and of the candidates' training.
        split_seed: of the draw of the minival.
    """

    space: str = "small"
    controller: str = "predictor"
    reward: str = "training-aware"
    reward_weights: Mapping[str, float] = field(default_factory=dict)
    evaluator: str = "proxy"
    data: str = "mnist5k"
    test_data: str | None = None
    image_size: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    augment: str = "none"
    minival: int | None = None
    train_share: float = 1.0
    width: float = 1.0
    max_unreadable: float = 0.01
    cache_limit_gb: float = 100.0
    gpu_data_share: float = 0.2
    device: str = "auto"
    latency_batch: int | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    objectives: Sequence[str] = ("accuracy", "step_time", "params")
    random_arm: float = 0.0
    zero_cost: bool = False
    seed: int = 0
    split_seed: int = 0

    def with_absolute_paths(self) -> SearchConfig:
        """The same from whatever folder it is resumed."""
        values = asdict(self)
        for name in ("space", "controller", "reward", "evaluator"):
            values[name] = absolute(values[name])
        if (recorded := recorded_in(self.evaluator)) is not None:
            values["evaluator"] = f"{recorded[0]}:{Path(recorded[1]).resolve()}"
        for name in ("data", "test_data"):
            if values[name] is not None and Path(values[name]).exists():
                values[name] = str(Path(values[name]).resolve())
        return SearchConfig(**values)


@dataclass(frozen=True)
class Search:
    """What a search needs, built.

    Attributes:
        problem: space, reward and limits.
        evaluate: the evaluator.
        controller: a fresh one.
        identity: everything that decides the outcome, as plain data; equal searches have equal identities.
        calibration: by which the proxy expects step times, as plain data; None where there is none.
        first_draw: what is proposed before the controller is asked; None where nothing is.
        earlier: what earlier runs measured and this search may take from them.
        epochs: how many measurements the evaluator gives of a candidate; None where it does not say.
        splits: how many pictures each split has; None where no pictures are read.
        notes: what the user should know, a line each.
    """

    problem: Problem
    evaluate: Evaluate
    controller: Controller
    identity: dict[str, Any]
    calibration: dict[str, Any] | None = None
    first_draw: list[Genotype] | None = None
    earlier: Trainings = field(default_factory=dict)
    epochs: int | None = None
    splits: dict[str, int] | None = None
    notes: tuple[str, ...] = ()


def build(
    config: SearchConfig,
    *,
    started: bool = False,
    calibration: Mapping[str, Any] | None = None,
    drawn: Sequence[Sequence[int]] | None = None,
) -> Search:
    """Build a search from its options.

    Args:
        started: whether the search is one that was started before, with this `calibration` or without any.
        calibration: by which the proxy expects step times. A new search takes the one that `nas calibrate` keeps for
            this device, and makes one where a limit of step time needs it.
        drawn: the first draw, where it was made before; made now where one is asked for.

    Raises:
        ValueError: an option names nothing, or is out of its range.
        FileNotFoundError: the data are not there.
    """
    for name in ("seed", "split_seed"):
        if getattr(config, name) < 0:
            raise ValueError(f"{name} must be at least 0; got {getattr(config, name)}")
    space = resolve("space", config.space, SPACES)
    if not isinstance(space, SearchSpace):
        raise ValueError(f"space {config.space} must be a SearchSpace; got {type(space).__name__}")
    formula = resolve("reward", config.reward, REWARDS)
    reward = bind(formula, config.reward_weights)
    _check_latency(config, quantities(formula))
    make_controller = resolve("controller", config.controller, CONTROLLERS)
    _check_callable("controller", config.controller, make_controller, "space, features, seed")
    image_size = config.image_size or (32 if config.space == "small" else 128)
    evaluate, task, splits, notes = _evaluator(config, space, image_size)
    if config.evaluator == "proxy":
        notes = (*notes, *_with_calibration(evaluate, config, space, started, calibration))
    shape = {"num_classes": task["num_classes"], "in_channels": task["in_channels"]} if splits else {}
    if config.controller == "optuna:gp":
        notes = (*notes, GP_WARNING)
    problem = Problem(
        space,
        reward,
        image_size,
        limits=config.limits,
        objectives=tuple(config.objectives),
        step_time=_step_time(evaluate),
        step_time_is_feature=config.evaluator == "proxy",
        **shape,
    )
    controller = make_controller(space, problem.features, config.seed)
    _check_proposals(config, controller, evaluate)
    known = getattr(evaluate, "calibration", None)
    first = None if drawn is None else [tuple(genotype) for genotype in drawn]
    if config.zero_cost and first is None:
        first, note = first_draw(problem, evaluate, trial_seed(config.seed, "first draw", 0))
        notes = (*notes, note)
    return Search(
        problem=problem,
        evaluate=evaluate,
        controller=controller,
        identity=_identity(config, problem, task),
        calibration=None if known is None else known.to_json(),
        first_draw=first,
        epochs=epochs_of(evaluate),
        splits=splits,
        notes=notes,
    )


def optimises_objectives(controller: Controller) -> bool:
    """Whether a controller optimises the objectives themselves: one that does says so by `multi_objective`."""
    return bool(getattr(controller, "multi_objective", False))


def _check_latency(config: SearchConfig, needed: Sequence[str]) -> None:
    """Raises ValueError where latency is asked for and not measured, or the other way round."""
    if config.evaluator != "proxy":
        if config.latency_batch is not None:
            raise ValueError(
                f"latency_batch is the proxy's; {config.evaluator} measures what it measures: leave it out"
            )
        return
    wanting = [name for name in ("latency", "latency_s") if name in (*config.objectives, *needed)]
    if wanting and config.latency_batch is None:
        by = "the objectives need" if "latency" in config.objectives else "the reward needs"
        raise ValueError(
            f"{by} {wanting[0]}, which is measured where a batch is given for it: such as --latency-batch 1"
        )


def _check_proposals(config: SearchConfig, controller: Controller, evaluate: Evaluate) -> None:
    """Raises ValueError where the proposals cannot be made as the options say."""
    if not 0 <= config.random_arm < 1:
        raise ValueError(f"random_arm must be a share of the proposals, from 0 to under 1; got {config.random_arm}")
    untimed = recorded_in(config.evaluator) is not None and _step_time(evaluate) is None
    if optimises_objectives(controller) and "step_time" in config.objectives and untimed:
        raise ValueError(
            f"{config.controller} optimises {', '.join(config.objectives)}, and the evaluator has no step_time: "
            f"name other objectives (--objectives), or take another controller"
        )


def _identity(config: SearchConfig, problem: Problem, task: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that decides the outcome, as plain data."""
    names = ("controller", "reward", "evaluator")
    return {
        "space": problem.space.to_json(),
        **{name: _named(getattr(config, name)) for name in names},
        "sources": {n: h for n in names if (h := source_hash(getattr(config, n))) is not None},
        "reward_weights": dict(config.reward_weights),
        "task": task,
        "image_size": problem.image_size,
        "limits": dict(config.limits),
        "objectives": list(config.objectives),
        "random_arm": config.random_arm,
        "zero_cost": config.zero_cost,
        "seed": config.seed,
    }


def _named(text: str) -> str:
    """A file reference without its folder, so that a run may move."""
    if (recorded := recorded_in(text)) is not None:
        return f"{recorded[0]}:{Path(recorded[1]).name}"
    return f"{Path(text.rpartition(':')[0]).name}:{text.rpartition(':')[2]}" if is_file_reference(text) else text


def _evaluator(
    config: SearchConfig, space: SearchSpace, image_size: int
) -> tuple[Evaluate, dict[str, Any], dict[str, int] | None, tuple[str, ...]]:
    if config.evaluator == "proxy":
        return _proxy(config, space, image_size)
    if (recorded := recorded_in(config.evaluator)) is not None:
        return _from_records(*recorded, space)
    names = {"proxy": None, "table:FILE": None, "surrogate:FILE": None}
    evaluate: Evaluate = resolve("evaluator", config.evaluator, names)
    _check_callable("evaluator", config.evaluator, evaluate, "architecture, seed")
    return evaluate, {}, None, ()


def recorded_in(text: str) -> tuple[str, str] | None:
    """`table` or `surrogate`, and the file, of an evaluator that answers from records; None of another."""
    kind, colon, file = text.partition(":")
    return (kind, file) if colon and kind in ("table", "surrogate") else None


def _from_records(
    kind: str, file: str, space: SearchSpace
) -> tuple[Evaluate, dict[str, Any], dict[str, int] | None, tuple[str, ...]]:
    if kind == "table":
        from trainers.tabular import TabularTask

        table = TabularTask.read(Path(file), space)
        return table, {"table": table.fingerprint}, None, ()
    from trainers.surrogate import SurrogateTask  # loads scikit-learn

    surrogate = SurrogateTask.read(Path(file), space)
    tau, rmse = surrogate.quality["kendall_tau"], surrogate.quality["rmse"]
    note = f"the surrogate ranks held-out networks at Kendall tau {tau:.2f}, its accuracies are {rmse:.4f} off (rmse)"
    return surrogate, {"surrogate": surrogate.fingerprint}, None, (note,)


def _step_time(evaluate: Evaluate) -> Callable[[Architecture], float] | None:
    """What the evaluator expects of a network's step time before training; None where it cannot tell."""
    return getattr(evaluate, "expected_step_time", None) if getattr(evaluate, "has_step_time", True) else None


def _check_callable(kind: str, text: str, found: Any, arguments: str) -> None:
    """Raises ValueError where an object cannot be called with these positional arguments."""
    wanted = f"{kind} {text} must be callable with ({arguments}); "
    if not callable(found):
        raise ValueError(f"{wanted}got {found!r}")
    try:
        signature = inspect.signature(found)
    except ValueError:  # some builtins have none
        return
    try:
        signature.bind(*arguments.split(", "))
    except TypeError as error:
        raise ValueError(f"{wanted}it takes {signature}") from error


def _proxy(
    config: SearchConfig, space: SearchSpace, image_size: int
) -> tuple[Evaluate, dict[str, Any], dict[str, int] | None, tuple[str, ...]]:
    from trainers.augmentation import Augmentation
    from trainers.data import load_data  # these load torch
    from trainers.proxy import ProxyTask
    from trainers.recipe import Recipe, brief_epochs

    varied = Augmentation.parse(config.augment)
    data = load_data(
        config.data,
        test_source=config.test_data,
        image_size=image_size,
        minival=config.minival,
        seed=config.split_seed,
        train_share=config.train_share,
        max_unreadable=config.max_unreadable,
        cache_limit_gb=config.cache_limit_gb,
    )
    recipe = Recipe(epochs=config.epochs or brief_epochs(data.sizes["train"]), augmentation=varied)
    if config.batch_size is not None:
        recipe = replace(recipe, batch_size=config.batch_size)
    task = ProxyTask(
        data,
        recipe,
        space.backbone,
        device=config.device,
        width=config.width,
        memory_share=config.gpu_data_share,
        latency_batch=config.latency_batch,
        max_memory_bytes=config.limits.get("peak_memory_bytes"),
    )
    shape = {"num_classes": len(data.class_names), "in_channels": data.in_channels}
    described = {**task.describe(), **shape, "split_seed": config.split_seed}
    varying = "" if str(varied) == "none" else f", {varied}"
    where = described["device"]
    notes = [f"each candidate: {recipe.epochs} epochs, batches of {recipe.batch_size}{varying}, {where}"]
    if data.unreadable:
        notes.append(f"{len(data.unreadable)} unreadable pictures skipped")
    steps = recipe.epochs * (data.sizes["train"] // recipe.batch_size)
    if config.zero_cost and steps < BRIEF_STEPS:
        notes.append(
            f"--zero-cost: of trainings of {steps} steps untrained scores tell next to nothing (--epochs asks for more)"
        )
    return task, described, data.sizes, tuple(notes)


def _with_calibration(
    task: Any, config: SearchConfig, space: SearchSpace, started: bool, given: Mapping[str, Any] | None
) -> list[str]:
    """Let the proxy know what step times to expect; tells by what."""
    from trainers.calibration import Calibration, calibrate, keep, kept_calibration  # loads torch

    if started:
        task.calibration = None if given is None else Calibration.from_json(given)
        return []
    if task.width != 1:
        if "step_time" in config.limits:
            raise ValueError(
                "a limit of step_time needs a width of 1; step times of narrower networks are not expected"
            )
        return []
    size, recipe, device = task.data.image_size, task.recipe, config.device
    task.calibration = kept_calibration(space, size, recipe, device=device)
    if task.calibration is None and "step_time" in config.limits:
        classes, channels = len(task.data.class_names), task.data.in_channels
        found = calibrate(space, size, recipe, num_classes=classes, in_channels=channels, device=device)
        task.calibration = found
        keep(found)
    if task.calibration is None:
        return []
    known = task.calibration
    return [f"step times are expected from {len(known.blocks)} blocks timed on {known.about['device']}"]
