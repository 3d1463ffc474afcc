"""`Checkpoints`: where a training stands, on the disk: tensors as safetensors, everything else as JSON; no pickle.

A checkpoint is a folder `step-NUMBER`, written under another name and renamed when it is whole and on the disk. So the
one before is good until the next one is, whatever happens meanwhile: a kill, a full disk, a lost machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainers.weights import read_tensors, write_tensors

Tensors = Mapping[str, Tensor]


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
        self.folder.mkdir(parents=True, exist_ok=True)
        partial, whole = self.folder / f".partial-{os.getpid()}", self._at(step)
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            for name, found in tensors.items():
                write_tensors(found, partial / f"{name}.safetensors", {})
            (partial / "state.json").write_text(json.dumps({"step": step, **state}, indent=1))
            for path in (*partial.iterdir(), partial):
                _sync(path)
            if whole.exists():  # of a training that was resumed before it, and came here again
                shutil.rmtree(whole)
            partial.rename(whole)
            _sync(self.folder)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            last = max(self.steps(), default=None)
            kept = "there is none before it" if last is None else f"the one of step {last} is good"
            raise OSError(
                error.errno, f"the checkpoint of step {step} could not be written ({error.strerror}); {kept}"
            ) from error
        for other in self.steps():
            if other not in (step, keep):
                shutil.rmtree(self._at(other), ignore_errors=True)
        return whole

    def steps(self) -> list[int]:
        """Of which steps there are checkpoints, in order."""
        found = []
        for path in self.folder.glob("step-*"):
            with contextlib.suppress(ValueError):
                found.append(int(path.name.removeprefix("step-")))
        return sorted(found)

    def load(self, step: int | None = None) -> Checkpoint | None:
        """The checkpoint of a step, or the last; None where there is none.

        Raises:
            ValueError: it cannot be read (says what to do).
        """
        steps = self.steps()
        if step is None:
            step = steps[-1] if steps else None
        if step is None or step not in steps:
            return None
        folder = self._at(step)
        try:
            state = json.loads((folder / "state.json").read_text())
            tensors = {path.stem: read_tensors(path)[0] for path in sorted(folder.glob("*.safetensors"))}
        except (OSError, ValueError) as error:
            others = [str(self._at(other)) for other in steps if other != step]
            remedy = f"remove it, and {others[-1]} is gone on with" if others else "begin again in another folder"
            raise ValueError(f"the checkpoint {folder} cannot be read ({error}): {remedy}") from error
        return Checkpoint(step, tensors, state, folder)

    def _at(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}"


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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
