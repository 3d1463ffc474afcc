"""What the tests of `nas` share: a space of 30 networks, its problem, and sessions in folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas.controllers import CONTROLLERS, Controller
from nas.problem import Problem
from nas.reward import bind, training_aware
from nas.session import SearchSession
from results.store import TrialStore
from search_spaces import Architecture, SearchSpace, Stage, vary

MakeSession = Callable[..., SearchSession]


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    stages = (Stage("mbconv", 3, 2, 4, 8, 1), Stage("mbconv", 3, 2, 4, 16, 1, 0.25))
    choices = (*vary(1, kernel=(3, 5), expand_ratio=(1, 4, 6)), *vary(2, kernel=(3, 5), layers=(0, 1, 2)))
    made = SearchSpace("thirty", Architecture(8, stages, 32), choices)
    assert made.size == 30
    return made


@pytest.fixture(scope="session")
def problem(space: SearchSpace) -> Problem:
    return Problem(space, bind(training_aware, {}), 16, num_classes=10)


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """One thread for torch, as a worker has."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the disk: a kill, unlike a power cut, loses nothing that was written and not yet synced."""
    monkeypatch.setattr("os.fsync", lambda fd: None)


@pytest.fixture
def cut_off(tmp_path: Path) -> Callable[[Path], Iterator[Path]]:
    """Copies of a run's folder whose journals end sooner: after no line, after one, and so on."""

    def copies(whole: Path) -> Iterator[Path]:
        lines = (whole / "journal.jsonl").read_bytes().splitlines(keepends=True)
        for cut in range(len(lines)):
            folder = tmp_path / f"cut{cut}"
            folder.mkdir()
            shutil.copy(whole / "run.json", folder)
            (folder / "journal.jsonl").write_bytes(b"".join(lines[:cut]))
            yield folder

    return copies


@pytest.fixture
def session_in(problem: Problem) -> MakeSession:
    """A session in a folder, new or opened again; the same problem and seed unless said otherwise."""

    def make(
        folder: Path,
        *,
        controller: Controller | None = None,
        budget: int = 8,
        problem: Problem = problem,
        seed: int = 0,
        fork: bool = False,
    ) -> SearchSession:
        if folder.exists():
            store = TrialStore.open(folder, writing=True)
        else:
            store = TrialStore.create(folder, {"space": problem.space.to_json(), "columns": {"controller": "any"}})
        if controller is None:
            controller = CONTROLLERS["random"](problem.space, problem.features, seed)
        try:
            return SearchSession(problem, controller, store, budget=budget, seed=seed, fork=fork)
        except BaseException:
            store.close()
            raise

    return make
