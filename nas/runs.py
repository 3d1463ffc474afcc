"""Runs on disk: starting one, opening one again, and taking its search to the end."""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import nas
from nas.config import Search, SearchConfig, build
from nas.identity import brought_up_to_date, differences
from nas.interrupts import first_interrupt
from nas.reuse import by_network, earlier_run, trainings
from nas.search import EarlyStopping, Workers, run
from nas.session import SearchSession
from results.store import TrialStore, check_free
from results.trial import Trial
from search_spaces import SPACES


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What may change when a search is resumed: how much, and on what.

    Args:
        budget: how many candidates to evaluate, failed ones included.
        confirm: how many leaders to train again with other seeds, beyond the budget.
        optuna_storage: where the search is mirrored for optuna-dashboard; None for nowhere. It is not kept, since it
            may hold a password: a search that is resumed is told it again.
        reuse: folders of earlier runs, whose trainings are not made again; of several, the first named comes first.
        workers: how many at a time; None for one a GPU, else one a core, and for one where records answer.
        gpus_per_trial: share of a GPU for each.
        address: of a Ray cluster.
        trial_timeout_s: the longest that one candidate may take.
        scheduler: who stops poor candidates early: `asha`, or `none`.
        grace_epochs: the least epochs before one may be stopped; a fraction of one, too.
        reduction_factor: of those that were trained for so long, one in how many goes on.
        stop_by: what is compared: the `accuracy`, or the `reward`.

    Raises:
        ValueError: the scheduler is unknown, or as `EarlyStopping`.
    """

    budget: int
    confirm: int = 0
    optuna_storage: str | None = None
    reuse: Sequence[str] = ()
    workers: int | None = None
    gpus_per_trial: float | None = None
    address: str | None = None
    trial_timeout_s: float | None = None
    scheduler: str = "none"
    grace_epochs: float = 1
    reduction_factor: float = 3.0
    stop_by: str = "reward"

    def __post_init__(self) -> None:
        if self.scheduler not in SCHEDULERS:
            raise ValueError(f"scheduler must be among {', '.join(SCHEDULERS)}; got {self.scheduler}")
        self.stopping(None)

    def stopping(self, epochs: int | None, *, within: bool = False) -> EarlyStopping | None:
        """When candidates are stopped early; None where none is.

        Args:
            epochs: for how many they are trained, where that is known.
            within: whether they are measured within epochs where it is asked for.
        """
        if self.scheduler == "none":
            return None
        return EarlyStopping(self.grace_epochs, self.reduction_factor, self.stop_by, epochs, within)


SCHEDULERS = ("none", "asha")


def start(config: SearchConfig, folder: Path, reuse: Sequence[str] = ()) -> tuple[Search, TrialStore]:
    """A new run. Everything is built before the folder is made, so that an error leaves nothing behind.

    Args:
        reuse: folders of earlier runs.

    Raises:
        ValueError, FileNotFoundError: as `build`, or an earlier run cannot be reused.
        FileExistsError: the folder holds something.
    """
    config = config.with_absolute_paths()
    check_free(folder)  # before pictures are read
    earlier = [earlier_run(Path(name), run=folder) for name in reuse]
    search = build(config)
    search = _with_earlier(search, [trial for store in earlier for trial in trainings(store, search.identity)])
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
        "calibration": search.calibration,
        "first_draw": search.first_draw,
    }
    return search, TrialStore.create(folder, configuration)


def reopen(
    folder: Path, changes: Mapping[str, Any], reuse: Sequence[str] = ()
) -> tuple[Search, TrialStore, RunSettings]:
    """A run to go on with, and the settings it last had.

    Args:
        changes: options given anew, such as another place of the same data.
        reuse: folders of earlier runs, in the place of those it last had. Of these, those that are gone are done
            without.

    Raises:
        ValueError: the options make another search than the run's (lists the fields that differ), or an earlier run
            cannot be reused.
        FileNotFoundError: there is no such run.
    """
    store = TrialStore.open(folder, writing=True)
    try:
        earlier = [earlier_run(Path(name), run=folder) for name in reuse]
        options = {"split_seed": store.configuration["options"]["seed"], **store.configuration["options"], **changes}
        config = SearchConfig(**options).with_absolute_paths()
        calibration, drawn = (store.configuration.get(name) for name in ("calibration", "first_draw"))
        search = build(config, started=True, calibration=calibration, drawn=drawn)
        found = differences(search.identity, brought_up_to_date(store.configuration["identity"]))
        if found:
            listed = "\n  ".join(found)
            raise ValueError(f"a resumed search must be the search it was; these fields differ:\n  {listed}")
        last = [event["settings"] for event in store.events() if event["event"] == "started"]
        settings = RunSettings(**(last[-1] if last else {"budget": 1}))
        if reuse:
            settings = replace(settings, reuse=reuse)
            search = _with_earlier(search, [t for other in earlier for t in trainings(other, search.identity)])
        else:
            search = _with_those_left(search, settings.reuse, folder)
    except BaseException:
        store.close()
        raise
    return search, store, settings


def _with_earlier(search: Search, found: Sequence[Trial]) -> Search:
    """A search that reuses these trainings."""
    if not found:
        return search
    earlier = by_network(found)
    note = f"--reuse: {len(found):,} trainings of {len(earlier):,} networks; they count in no budget"
    return replace(search, earlier=earlier, notes=(*search.notes, note))


def _with_those_left(search: Search, folders: Sequence[str], run: Path) -> Search:
    """A search that reuses the runs that can still be reused; what was taken from the others is in its journal."""
    found: list[Trial] = []
    for name in folders:
        try:
            found += trainings(earlier_run(Path(name), run=run), search.identity)
        except (OSError, ValueError) as error:
            search = replace(search, notes=(*search.notes, f"no longer reused: {error}"))
    return _with_earlier(search, found)


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
        earlier=search.earlier,
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


def finish(
    session: SearchSession, search: Search, workers: Workers, *, timeout_s: float | None, stopping: EarlyStopping | None
) -> None:
    """Run a session to its end."""
    if session.finished:
        session.store.write_view()
    else:
        run(session, search.evaluate, workers, trial_timeout_s=timeout_s, stopping=stopping)


@contextmanager
def graceful_interrupts(session: SearchSession, say: Callable[[str], None]) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) lets the running candidates end, the second stops at once."""

    def stop() -> None:
        session.stop("interrupted")
        say("finishing the candidates that are running; once more stops at once")

    with first_interrupt(stop):
        yield


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
