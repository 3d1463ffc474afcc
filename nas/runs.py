"""Runs on disk: starting one, opening one again, and taking its search to the end."""

from __future__ import annotations

import datetime
import platform
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any

import nas
from nas.config import Search, SearchConfig, build, differences
from nas.search import run
from nas.session import SearchSession
from results.store import TrialStore, check_free
from search_spaces import SPACES


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What may change when a search is resumed: how much, and on what.

    Args:
        budget: how many candidates to evaluate, failed ones included.
        confirm: how many leaders to train again with other seeds, beyond the budget.
        optuna_storage: where the search is mirrored for optuna-dashboard; None for nowhere. It is not kept, since it
            may hold a password: a search that is resumed is told it again.
        workers: how many at a time; None for one a GPU, else one a core, and for one where records answer.
        gpus_per_trial: share of a GPU for each.
        address: of a Ray cluster.
        trial_timeout_s: the longest that one candidate may take.
    """

    budget: int
    confirm: int = 0
    optuna_storage: str | None = None
    workers: int | None = None
    gpus_per_trial: float | None = None
    address: str | None = None
    trial_timeout_s: float | None = None


def start(config: SearchConfig, folder: Path) -> tuple[Search, TrialStore]:
    """A new run. Everything is built before the folder is made, so that an error leaves nothing behind.

    Raises:
        ValueError, FileNotFoundError: as `build`.
        FileExistsError: the folder holds something.
    """
    config = config.with_absolute_paths()
    check_free(folder)  # before pictures are read
    search = build(config)
    task = search.identity["task"]
    recipe = task.get("recipe", {})
    columns = {
        "space": search.problem.space.name,
        "controller": search.identity["controller"],
        "evaluator": search.identity["evaluator"],
        "image_size": search.problem.image_size,
        **{name: recipe[name] for name in ("epochs",) if name in recipe},
        "nas_version": nas.__version__,
    }
    configuration = {
        "space": search.identity["space"],
        "columns": columns,
        "options": asdict(config),
        "identity": search.identity,
        "prices": search.prices,
        "first_draw": search.first_draw,
    }
    return search, TrialStore.create(folder, configuration)


def reopen(folder: Path, changes: Mapping[str, Any]) -> tuple[Search, TrialStore, RunSettings]:
    """A run to go on with, and the settings it last had.

    Args:
        changes: options given anew, such as another place of the same data.

    Raises:
        ValueError: the options make another search than the run's (lists the fields that differ).
    """
    store = TrialStore.open(folder, writing=True)
    try:
        options = {**store.configuration["options"], **changes}
        kept = (store.configuration.get(name) for name in ("prices", "first_draw"))
        search = build(SearchConfig(**options).with_absolute_paths(), *kept)
        found = differences(search.identity, store.configuration["identity"])
        if found:
            listed = "\n  ".join(found)
            raise ValueError(f"a resumed search must be the search it was; these fields differ:\n  {listed}")
        settings = [event["settings"] for event in store.events() if event["event"] == "started"]
    except BaseException:
        store.close()
        raise
    return search, store, RunSettings(**(settings[-1] if settings else {"budget": 1}))


def make_session(search: Search, store: TrialStore, settings: RunSettings, *, fork: bool = False) -> SearchSession:
    """The session of a run, replayed from its store."""
    return SearchSession(
        search.problem,
        search.controller,
        store,
        budget=settings.budget,
        seed=search.identity["seed"],
        random_arm=search.identity["random_arm"],
        confirm=settings.confirm,
        first_draw=search.first_draw or (),
        fork=fork,
    )


def note_start(store: TrialStore, settings: RunSettings) -> None:
    """Record when, where and with what a search was begun or resumed."""
    packages = ("torch", "ray", "numpy")
    store.record(
        {
            "event": "started",
            "settings": {k: v for k, v in asdict(settings).items() if k != "optuna_storage"},  # it may hold a password
            "versions": {"nas": nas.__version__, "python": platform.python_version(), **_versions(packages)},
            "host": platform.node(),
            "time": time.time(),
        }
    )


def finish(session: SearchSession, search: Search, workers: Any, timeout_s: float | None) -> None:
    """Run a session to its end, and leave the store complete whatever happens."""
    try:
        if session.finished:
            session.store.write_view()
        else:
            run(session, search.evaluate, workers, trial_timeout_s=timeout_s)
    finally:
        session.store.close()


@contextmanager
def graceful_interrupts(session: SearchSession, say: Callable[[str], None]) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) lets the running candidates end, the second stops at once."""
    asked = 0

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise KeyboardInterrupt
        session.stop("interrupted")
        say("finishing the candidates that are running; once more stops at once")

    previous = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def default_folder(config: SearchConfig) -> Path:
    """`runs/<date>-<space>-<controller>`, with a number where that is taken."""
    names = [name if name in SPACES or ":" not in name else name.rpartition(":")[2] for name in
             (config.space, config.controller)]  # fmt: skip
    stem = "-".join([datetime.date.today().isoformat(), *names])
    folder, number = Path("runs") / stem, 2
    while folder.exists():
        folder, number = Path("runs") / f"{stem}-{number}", number + 1
    return folder


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
