"""What `nas train` says of a training: as it begins, where it breaks off, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.show import Format, print_json

if TYPE_CHECKING:
    from trainers.training import Training
    from trainers.weights import LoadedWeights

# Modules that load torch are imported inside the functions, so that --help is quick.


def opening(training: Training, folder: Path, where: str) -> str:
    """What is trained on what, and how, before it begins."""
    from trainers.progressive import sizes_of

    sizes, recipe = training.pictures.sizes, training.recipe
    pixels = ", ".join(map(str, sizes_of(recipe)))
    return (
        f"training {folder}: {recipe.epochs} epochs of {sizes['train']:,} pictures in batches of {recipe.batch_size}, "
        f"{where}\n"
        f"minival {sizes['minival']:,}, which the best epoch is chosen on; test {sizes['test']:,}\n"
        f"{recipe.progression}: pictures at {pixels} px, evaluated at {recipe.eval_size or recipe.image_size}"
        f"{_fewer_sizes(training)}"
    )


def beginning(weights: LoadedWeights, path: str) -> str:
    """Whose weights a training begins with, and what of the network is new.

    Args:
        weights: as they were loaded.
        path: of their file.
    """
    whose = {"own": "this software's names", "timm": "timm's", "torchvision": "torchvision's"}[weights.kind]
    named = f"{whose} {weights.name}" if weights.name else whose
    new = f"new, for other classes: {', '.join(weights.reset)}" if weights.reset else "the classifier's too"
    return f"begins with {weights.tensors} tensors of {path} ({named}); {new}"


def _fewer_sizes(training: Training) -> str:
    """Where a training has fewer sizes than its schedule has stages."""
    from trainers.progressive import sizes_of, sizes_reached

    recipe, text = training.recipe, ""
    sizes, steps = sizes_of(recipe), training.pictures_in_all // training.recipe.batch_size
    if len(set(sizes)) < len(sizes):
        text = (
            f"\nsome of its {len(sizes)} stages have the same size: {recipe.progression.kind} as it is meant takes a "
            "larger --image-size, or a smaller smallest size"
        )
    drawn = recipe.progression.kind.startswith("random")
    reached = sizes_reached(recipe, steps, seed=training.seed)
    if not drawn and len(reached) < len(sizes):
        text += (
            f"\nits {steps} steps have {len(reached)} of the {len(sizes)} stages, of {', '.join(map(str, reached))} "
            "px: for the others take more --epochs, fewer stages or a smaller --batch-size"
        )
    return text


def kept(training: Training, folder: Path) -> str:
    """What there is of a training that diverged; gone on with, it would diverge again."""
    from nas.trainings import CHECKPOINTS, WEIGHTS

    steps = training.checkpoints.steps() if training.checkpoints else []
    if not steps:
        return f"No checkpoint came before: begin another training, and remove {folder}"
    text = f"The last good checkpoint, of step {steps[-1]}, is kept in {folder / CHECKPOINTS}"
    if not (folder / WEIGHTS).is_file():
        return f"{text}: begin another training"
    return f"{text}: begin another training, if you like with --weights {folder / WEIGHTS}, those of the best epoch"


def tell(training: Training, folder: Path, *, format: Format, say: Callable[[str], None]) -> None:
    """What came of a training that is over."""
    from nas.progress import duration
    from nas.trainings import WEIGHTS

    best, unreadable = training.best, training.pictures.unreadable
    assert best is not None
    told: dict[str, Any] = {"folder": str(folder), "accuracy": best[0], "epochs": training.over}
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
