"""From a search's options to its evaluator: the proxy, recorded trials, or a user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.evaluation import Evaluate
from nas.plugins import check_callable, resolve
from nas.screening import BRIEF_STEPS
from search_spaces import Architecture, SearchSpace

if TYPE_CHECKING:
    from nas.config import SearchConfig


def evaluator_of(
    config: SearchConfig, space: SearchSpace, image_size: int
) -> tuple[Evaluate, dict[str, Any], dict[str, int] | None, tuple[str, ...]]:
    """The evaluator that a search's options name.

    Returns:
        it; the task that decides what it measures, as plain data; how many pictures each split has, None where none are
        read; and what the user should know, a line each.

    Raises:
        ValueError: an option names nothing, or is out of its range.
        FileNotFoundError: the data are not there.
    """
    if config.evaluator == "proxy":
        return _proxy(config, space, image_size)
    if (recorded := recorded_in(config.evaluator)) is not None:
        return _from_records(*recorded, space)
    names = {"proxy": None, "table:FILE": None, "surrogate:FILE": None}
    evaluate: Evaluate = resolve("evaluator", config.evaluator, names)
    check_callable("evaluator", config.evaluator, evaluate, "architecture, seed")
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


def expected_step_time(evaluate: Evaluate) -> Callable[[Architecture], float] | None:
    """What the evaluator expects of a network's step time before training; None where it cannot tell."""
    return getattr(evaluate, "expected_step_time", None) if getattr(evaluate, "has_step_time", True) else None


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
    chosen: dict[str, Any] = {
        "epochs": config.epochs or brief_epochs(data.sizes["train"]),
        "batch_size": config.batch_size,
    }
    recipe = Recipe(**{k: v for k, v in chosen.items() if v is not None}, augmentation=varied)
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


def with_calibration(
    task: Any, config: SearchConfig, space: SearchSpace, started: bool, given: Mapping[str, Any] | None
) -> list[str]:
    """Let the proxy know what step times to expect; tells by what."""
    from trainers.calibration import calibrate, keep, kept_calibration  # loads torch
    from trainers.expected import Calibration

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
