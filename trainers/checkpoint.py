"""`Checkpoints`: where a training stands, on the disk: tensors as safetensors, everything else as JSON; no pickle.

A checkpoint is a folder `step-NUMBER`, written under another name and renamed when it is whole and on the disk; where
a step is saved again, as at the end of its epoch, `step-NUMBER.1` comes beside it. So the one before is good until the
next one is, whatever happens meanwhile: a kill, a full disk, a lost machine.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainers.durable import sync
from trainers.weights import read_tensors, write_tensors

Tensors = Mapping[str, Tensor]

_PARTIAL = ".partial"
_NAME = re.compile(r"step-(\d+)(?:\.(\d+))?")


class Checkpoint(NamedTuple):
    """What was saved of a training.

    Attributes:
        step: how many steps had been taken.
        tensors: by the name of a part (`network`, `optimizer`, `ema`), its tensors by name.
        state: everything else, plain data.
        folder: where it lies.
    """

    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]
    folder: Path


class Checkpoints:
    """The checkpoints of one training: the last, and the best.

    Args:
        folder: of their own; made when the first is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, tensors: Mapping[str, Tensors], state: Mapping[str, Any], *, keep: int | None) -> Path:
        """Write a checkpoint, then remove those before it.

        Args:
            keep: the step of another that is kept, the best.

        Raises:
            OSError: the disk would not take it; those that are there are as they were.
        """
        partial, whole = self.folder / _PARTIAL, self._free(step)
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            for name, found in tensors.items():
                write_tensors(found, partial / f"{name}.safetensors", {})
            told = partial / "state.json"
            told.write_text(json.dumps({"step": step, **state}, indent=1))
            sync(told)
            sync(partial)
            partial.rename(whole)
            sync(self.folder)
            sync(self.folder.parent)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            last = max(self.steps(), default=None)
            kept = "there is none before it" if last is None else f"the one of step {last} is good"
            raise OSError(
                error.errno, f"the checkpoint of step {step} could not be written ({error.strerror}); {kept}"
            ) from error
        self.tidy(keep=keep)
        return whole

    def tidy(self, *, keep: int | None) -> None:
        """Remove all checkpoints but the last and that of a step, and what a kill left of one.

        Args:
            keep: the step, the best.
        """
        folders = self._folders()
        kept = {folders[step] for step in (keep, max(folders, default=None)) if step in folders}
        for path in (*self.folder.glob("step-*"), self.folder / _PARTIAL):
            if path not in kept and (path.name == _PARTIAL or _NAME.fullmatch(path.name)):
                shutil.rmtree(path, ignore_errors=True)

    def steps(self) -> list[int]:
        """Of which steps there are checkpoints, in order."""
        return sorted(self._folders())

    def load(self, step: int | None = None) -> Checkpoint | None:
        """The checkpoint of a step, or the last; None where there is none.

        Raises:
            ValueError: it cannot be read (says what to do).
        """
        folders = self._folders()
        if step is None:
            step = max(folders, default=None)
        if step is None or step not in folders:
            return None
        folder = folders.pop(step)
        try:
            state = json.loads((folder / "state.json").read_text())
            tensors = {path.stem: read_tensors(path)[0] for path in sorted(folder.glob("*.safetensors"))}
        except (OSError, ValueError) as error:
            last = folders[max(folders)] if folders else None
            remedy = f"remove it, and {last} is gone on with" if last else "begin again in another folder"
            raise ValueError(f"the checkpoint {folder} cannot be read ({error}): {remedy}") from error
        return Checkpoint(step, tensors, state, folder)

    def _folders(self) -> dict[int, Path]:
        """By step, the folder that was saved last of it."""
        found: dict[int, tuple[int, Path]] = {}
        for path in self.folder.glob("step-*"):
            if name := _NAME.fullmatch(path.name):
                step, time = int(name[1]), int(name[2] or 0)
                found[step] = max(found.get(step, (-1, path)), (time, path))
        return {step: path for step, (_, path) in found.items()}

    def _free(self, step: int) -> Path:
        """Where a step is saved. What was saved of it before keeps its name: two renamings are not one."""
        name, before = f"step-{step:09d}", self._folders().get(step)
        if before is None:
            return self.folder / name
        return self.folder / f"{name}.{int(before.suffix[1:] or 0) + 1}"


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """What an optimiser remembers of each parameter, by the parameter's number and the name it has there.

    Raises:
        TypeError: it remembers something that is no tensor and no number.
    """
    found = {}
    for number, kept in optimizer.state_dict()["state"].items():
        for name, value in kept.items():
            if value is None:
                continue
            if not isinstance(value, Tensor | int | float):
                raise TypeError(f"an optimiser's state must be tensors and numbers; {name} is {type(value).__name__}")
            tensor = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
            found[f"{number}.{name}"] = tensor
    return found


def restore_optimizer(optimizer: Optimizer, tensors: Tensors) -> None:
    """Give an optimiser back what `optimizer_tensors` told."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        parameter = parameters[int(number)]
        if tensor.shape == parameter.shape:  # fused steps go along the memory, so both must lie alike
            tensor = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def restore(module: nn.Module, tensors: Tensors, *, where: str) -> None:
    """Load a module's tensors, all of them.

    Raises:
        ValueError: they are of another network (names the first key or shape that differs).
    """
    expected = module.state_dict()
    for key in (*expected, *tensors):
        here = tuple(expected[key].shape) if key in expected else "not there"
        there = tuple(tensors[key].shape) if key in tensors else "not there"
        if here != there:
            raise ValueError(
                f"{where} must be of the network that is trained; the first that differs is {key}: {there} in it, "
                f"{here} in the network: name the architecture and the classes it was made with"
            )
    module.load_state_dict(dict(tensors))
