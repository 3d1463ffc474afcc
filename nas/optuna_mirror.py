"""Copies a running search into an Optuna study, for optuna-dashboard to show.

It looks at the run's store about once a second and is never called by the search; a storage that fails does not
harm it.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any

import optuna

from nas.controllers import CONTROLLERS
from nas.controllers.optuna_sampler import MULTI_OBJECTIVE
from nas.optuna_storage import let_go, open_storage, reason_of
from nas.plugins import is_file_reference, resolve
from results.pareto import MAXIMISED
from results.store import TrialStore
from results.trial import Trial
from search_spaces import SearchSpace

_LOOK_S = 1.0
_PATIENCE_S = 60.0  # without a trial added at the end; Optuna itself tries half a minute where SQLite is locked
_STATES = {
    "complete": optuna.trial.TrialState.COMPLETE,
    "failed": optuna.trial.TrialState.FAIL,
    "stopped": optuna.trial.TrialState.PRUNED,
}


class OptunaMirror:
    """Copies the trials that are over into an Optuna study while the `with` block runs.

    The study has the name of the run's folder. Evaluated trials alone are copied, each once: those that the study
    holds already, from before the search was resumed, are not added again.

    Args:
        store: what to look at.
        storage: where the study is or is to be, as `open_storage` gives it; let go of at the end.
        space: what is searched.
        objectives: the fields of `Measurement` that are the study's values; by default the reward is.
        say: told once where the storage fails, and at the end where trials are missing.

    Raises:
        ValueError: the storage takes no study, or holds one of that name that is of another search.
    """

    def __init__(
        self,
        store: TrialStore,
        storage: Any,
        *,
        space: SearchSpace,
        objectives: tuple[str, ...] | None = None,
        say: Callable[[str], None],
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._store, self._storage, self._space, self._say = store, storage, space, say
        self._metrics = objectives or ("reward",)
        self._distributions = distributions_of(space)
        self._name = store.folder.resolve().name
        try:
            self._study = self._open_study()
            self._copied = self._numbers()
        except BaseException:
            let_go(self._storage)
            raise
        self._in_doubt = False  # whether the study may hold more than `_copied` says
        self._said = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> OptunaMirror:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        copied = -1
        while self._thread.is_alive() and len(self._copied) > copied:  # a server that hangs does not hold up the end
            copied = len(self._copied)
            self._thread.join(_PATIENCE_S)
        if missing := self.missing:
            self._say(
                f"{missing} {'trial is' if missing == 1 else 'trials are'} missing from the Optuna study {self._name}: "
                f"`nas trials {self._store.folder} --optuna-storage URL` adds what is missing"
            )
        let_go(self._storage)

    def _open_study(self) -> Any:
        """The study of the run's name, new or from before.

        Raises:
            ValueError: as the class.
        """
        directions = ["maximize" if name in MAXIMISED else "minimize" for name in self._metrics]
        try:
            study = optuna.create_study(
                storage=self._storage, study_name=self._name, directions=directions, load_if_exists=True
            )
            self._check("directions", directions, [direction.name.lower() for direction in study.directions])
            self._check("values", list(self._metrics), study.metric_names or list(self._metrics))
            self._check_trials(study.get_trials(deepcopy=False))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(list(self._metrics))
        except _OtherStudyError:
            raise
        except Exception as error:  # every driver has errors of its own
            raise ValueError(
                f"the Optuna storage must take the study {self._name}; it gave {reason_of(error)}: see that you may "
                f"write there and that nothing else holds it, or name another storage"
            ) from error
        return study

    def _check(self, what: str, ours: object, theirs: object) -> None:
        if ours != theirs:
            raise _OtherStudyError(
                f"the study {self._name} of the Optuna storage must have the {what} {ours} of this search; it has "
                f"{theirs}: name another storage, or delete that study"
            )

    def _check_trials(self, trials: list[Any]) -> None:
        """Raise ValueError where a study's trials are of another space, or of another run of the same name."""
        for theirs in trials:
            for name in theirs.distributions.keys() & self._distributions.keys():
                options = getattr(theirs.distributions[name], "choices", "a range")
                self._check(f"options of {name}", self._distributions[name].choices, options)
            number = theirs.user_attrs.get("number")
            if number is not None:
                ours = self._store.trials.get(number)
                text = None if ours is None else ours.architecture
                self._check(f"trial {number}", text, theirs.user_attrs.get("architecture"))

    def _watch(self) -> None:
        over = False
        while not over:
            over = self._over.wait(_LOOK_S)
            self._look()
        self._storage.remove_session()  # a thread's own, of a database

    def _look(self) -> None:
        """Add what is over and not in the study yet."""
        try:
            if self._in_doubt:
                self._copied = self._numbers()
                self._in_doubt = False
            for trial in self._missing():
                self._study.add_trial(
                    optuna_trial(trial, self._space.labels(trial.genotype), self._distributions, self._metrics)
                )
                self._copied.add(trial.number)
        except Exception as error:  # noqa: BLE001 - nothing that a storage does may harm the search
            self._in_doubt = True  # a write of which no answer came may have been made
            if not self._said:
                self._said = True
                self._say(
                    f"the Optuna study {self._name} could not be written ({reason_of(error)}); the search goes on, and "
                    f"its trials are added as soon as they can be"
                )

    @property
    def missing(self) -> int:
        """How many trials are over and not in the study."""
        return len(self._missing())

    def _missing(self) -> list[Trial]:
        trials = list(self._store.trials.values())  # in one step, since the search adds to them
        return [t for t in trials if t.state in _STATES and t.told_at is not None and t.number not in self._copied]

    def _numbers(self) -> set[int]:
        """The trials that the study holds, by their numbers in the run."""
        numbers = (trial.user_attrs.get("number") for trial in self._study.get_trials(deepcopy=False))
        return {number for number in numbers if number is not None}


def mirror(store: TrialStore, url: str, *, say: Callable[[str], None]) -> int:
    """Copy the trials of a run that are over into an Optuna study, those that it does not hold yet.

    The study's values are the reward; of a search whose controller optimises the objectives themselves, these.

    Args:
        store: of the run, as it is now.
        url: of the storage, as `open_storage` takes it.
        say: told what was copied, or why not.

    Returns:
        how many are missing from the study all the same.

    Raises:
        ValueError: as `open_storage` and `OptunaMirror`.
    """
    configuration = store.configuration
    space = SearchSpace.from_json(configuration["space"])
    copy = OptunaMirror(store, open_storage(url), space=space, objectives=_optimised(configuration), say=say)
    with copy:
        pass
    if not copy.missing:
        over = sum(trial.state in _STATES for trial in store.trials.values())
        say(f"the study {store.folder.resolve().name} holds all {over} trials that are over")
    return copy.missing


def _optimised(configuration: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The objectives of a search whose controller optimises them; None of another, which goes by the reward."""
    identity = configuration.get("identity", {})
    controller = str(identity.get("controller", ""))
    if is_file_reference(controller):
        made = resolve("controller", configuration["options"]["controller"], CONTROLLERS)
        by_objectives = bool(getattr(made, "multi_objective", False))
    else:
        by_objectives = controller.removeprefix("optuna:") in MULTI_OBJECTIVE
    return tuple(identity["objectives"]) if by_objectives else None


class _OtherStudyError(ValueError):
    """A study of the name is there, and it is of another search."""


def distributions_of(space: SearchSpace) -> dict[str, Any]:
    """One categorical distribution per choice of a space, over its options' labels."""
    return {
        choice.name: optuna.distributions.CategoricalDistribution(
            tuple(_plain(choice.label(index)) for index in range(len(choice.options)))
        )
        for choice in space.choices
    }


def optuna_trial(
    trial: Trial, labels: Mapping[str, Any], distributions: Mapping[str, Any], metrics: tuple[str, ...]
) -> Any:
    """A trial that is over as Optuna has it.

    Args:
        trial: complete, failed or stopped.
        labels: as `SearchSpace.labels` gives them.
        distributions: as `distributions_of` gives them.
        metrics: what the values are: `reward`, or fields of `Measurement`.

    Returns:
        an `optuna.trial.FrozenTrial`; of a complete trial that lacks a value, a failed one that says so.
    """
    params = {name: _plain(label) for name, label in labels.items() if label is not None}
    attributes = _attributes(trial)
    state, values = _STATES[trial.state], None
    if trial.state == "complete":
        values = [trial.reward if name == "reward" else getattr(trial.measurement, name, None) for name in metrics]
        missing = [n for n, value in zip(metrics, values, strict=True) if value is None]
        if missing:  # Optuna takes no complete trial without all its values
            state, values = optuna.trial.TrialState.FAIL, None
            attributes["not_measured"] = ", ".join(missing)
    made = optuna.trial.create_trial(
        state=state,
        values=values,
        params=params,
        distributions={name: distributions[name] for name in params},
        user_attrs=attributes,
        intermediate_values=dict(enumerate(trial.curve, 1)),
    )
    if trial.told_at is not None:  # in local time, as Optuna's own are
        begun = trial.told_at if trial.asked_at is None else trial.asked_at
        made.datetime_start = datetime.fromtimestamp(begun)
        made.datetime_complete = datetime.fromtimestamp(trial.told_at)
    return made


def _attributes(trial: Trial) -> dict[str, Any]:
    """What else is known of a trial, by its name in the run's table."""
    m = trial.measurement
    known = {name: getattr(trial, name) for name in ("number", "architecture", "arm", "replicate", "reused_from")}
    known |= {} if m is None else {name: getattr(m, name) for name in m.__dataclass_fields__}
    known = {name: value for name, value in known.items() if not isinstance(value, tuple)}  # samples of timings
    known |= {name: getattr(trial, name) for name in ("reward", "failure", "reason")}
    return {name: value for name, value in known.items() if value is not None}


def _plain(label: Any) -> bool | int | float | str:
    """An option's label as a type that every storage of Optuna's keeps."""
    return label if isinstance(label, bool | int | float | str) else str(label)
