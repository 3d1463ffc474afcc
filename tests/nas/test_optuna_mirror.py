"""A running search copied into an Optuna study: what stands in it, and that a storage's failure harms no search."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from nas import optuna_mirror
from nas.optuna_mirror import OptunaMirror, distributions_of
from nas.optuna_storage import open_storage
from nas.session import SearchSession
from results.store import TrialStore
from results.trial import Measurement, State, Trial
from search_spaces import SearchSpace, vary

GOOD = Measurement(accuracy=0.5, step_time=1.25, params=100)
THREE = ("accuracy", "step_time", "params")

pytestmark = pytest.mark.usefixtures("_unsynced")


@pytest.fixture
def store(tmp_path: Path, space: SearchSpace) -> Iterator[TrialStore]:
    made = TrialStore.create(tmp_path / "run", {"space": space.to_json()})
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "journal"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/optuna.db" if request.param == "sqlite" else str(tmp_path / "optuna.log")


@pytest.fixture
def said() -> list[str]:
    return []


Mirror = Callable[..., OptunaMirror]


@pytest.fixture
def mirror(store: TrialStore, space: SearchSpace, said: list[str]) -> Mirror:
    def make(url: str, *, space: SearchSpace = space, objectives: tuple[str, ...] | None = None) -> OptunaMirror:
        return OptunaMirror(store, open_storage(url), space=space, objectives=objectives, say=said.append)

    return make


def tell(
    store: TrialStore,
    space: SearchSpace,
    genotype: tuple[int, ...],
    *measurements: Measurement,
    state: State = "complete",
    **outcome: Any,
) -> Trial:
    """One more trial of the store, from its ask to its tell."""
    number = len(store.trials)
    asked = Trial(
        number=number, genotype=genotype, architecture=str(space.decode(genotype)), seed=1, asked_at=1000.5 + number
    )
    if state in ("repeat", "infeasible"):
        asked = replace(asked, state=state, repeat_of=0 if state == "repeat" else None)
    store.asked(asked)
    for measurement in measurements:
        store.measured(number, measurement)
    store.told(replace(asked, state=state, told_at=2000.25 + number, **outcome))
    return store.trials[number]


def study_at(url: str, name: str = "run") -> tuple[Any, list[Any]]:
    """A study and its trials, read anew."""
    storage = open_storage(url)
    try:
        study = optuna.load_study(study_name=name, storage=storage)
        return study, study.trials
    finally:
        let_go(storage)


def let_go(storage: Any) -> None:
    if isinstance(storage, optuna.storages.RDBStorage):
        storage.engine.dispose()


def other_study(url: str, **options: Any) -> Any:
    storage = open_storage(url)
    return storage, optuna.create_study(storage=storage, study_name="run", **options)


def test_every_state_is_copied_as_optuna_has_it(
    store: TrialStore, space: SearchSpace, mirror: Mirror, url: str, said: list[str]
) -> None:
    first = replace(GOOD, accuracy=0.25)
    complete = tell(store, space, (1, 2, 1, 2), first, replace(GOOD, epoch=2), reward=0.75)
    tell(store, space, (0, 0, 0, 1), first, state="stopped")
    tell(store, space, (0, 1, 0, 1), state="failed", failure="out_of_memory", reason="CUDA out of memory")
    tell(store, space, (1, 2, 1, 2), state="repeat", reward=0.75)
    tell(store, space, (0, 2, 0, 1), state="infeasible", reason="params 9 is over the limit of 8")
    store.asked(Trial(number=5, genotype=(1, 1, 1, 1), architecture=str(space.decode((1, 1, 1, 1))), seed=1))
    with mirror(url):
        pass
    study, trials = study_at(url)
    assert [t.state for t in trials] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    assert [d.name for d in study.directions] == ["MAXIMIZE"]
    assert study.metric_names == ["reward"]
    assert [t.values for t in trials] == [[0.75], None, None]
    assert study.best_trial.number == 0
    assert trials[0].params == {"stage1_kernel": 5, "stage1_expand_ratio": 6, "stage2_kernel": 5, "stage2_layers": 2}
    assert trials[0].intermediate_values == {1: 0.25, 2: 0.5}
    assert trials[0].datetime_start == datetime.fromtimestamp(1000.5)
    assert trials[0].datetime_complete == datetime.fromtimestamp(2000.25)
    assert trials[0].user_attrs == {
        "number": 0,
        "architecture": complete.architecture,
        "arm": "controller",
        "replicate": 0,
        "accuracy": 0.5,
        "epoch": 2,
        "step_time": 1.25,
        "params": 100,
        "reward": 0.75,
    }
    assert trials[1].intermediate_values == {1: 0.25}
    assert trials[2].user_attrs["failure"] == "out_of_memory"
    assert trials[2].user_attrs["reason"] == "CUDA out of memory"
    assert said == []


def test_the_choices_of_an_absent_stage_are_left_out(
    store: TrialStore, space: SearchSpace, mirror: Mirror, url: str
) -> None:
    tell(store, space, (0, 1, 0, 0), GOOD, reward=0.5)
    with mirror(url):
        pass
    assert study_at(url)[1][0].params == {"stage1_kernel": 3, "stage1_expand_ratio": 4, "stage2_layers": 0}


def test_objectives_are_the_values_and_have_their_directions(
    store: TrialStore, space: SearchSpace, mirror: Mirror, url: str
) -> None:
    tell(store, space, (0, 0, 0, 0), GOOD, reward=0.75)
    tell(store, space, (0, 1, 0, 0), Measurement(accuracy=0.5), reward=0.75)
    tell(store, space, (0, 2, 0, 0), GOOD, state="stopped")
    with mirror(url, objectives=THREE):
        pass
    study, trials = study_at(url)
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    assert study.metric_names == list(THREE)
    assert [t.state for t in trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED]
    assert trials[0].values == [0.5, 1.25, 100.0]
    assert trials[1].user_attrs["not_measured"] == "step_time, params"
    assert trials[1].user_attrs["reward"] == 0.75
    assert [t.number for t in study.best_trials] == [0]


def test_options_of_several_fields_are_categories_by_what_tells_them_apart(space: SearchSpace) -> None:
    designs = ({"op": "mbconv", "se_ratio": 0.25}, {"op": "mbconv", "se_ratio": 0.0}), ({"kernel": 3}, {"layers": 0})
    made = SearchSpace("two", space.backbone, (*vary(1, design=designs[0]), *vary(2, size=designs[1])))
    assert {name: d.choices for name, d in distributions_of(made).items()} == {
        "stage1_design": (0.25, 0.0),
        "stage2_size": ("kernel=3", "layers=0"),
    }


def test_trials_are_added_while_the_search_runs(
    store: TrialStore, space: SearchSpace, mirror: Mirror, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna_mirror, "_LOOK_S", 0.01)
    with mirror(url):
        tell(store, space, (0, 0, 0, 0), GOOD, reward=0.5)
        deadline = time.monotonic() + 20
        while not study_at(url)[1] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(study_at(url)[1]) == 1
        tell(store, space, (0, 1, 0, 0), GOOD, reward=0.5)
    assert [t.user_attrs["number"] for t in study_at(url)[1]] == [0, 1]


def test_a_resumed_search_adds_what_is_missing_and_no_doubles(
    store: TrialStore, space: SearchSpace, mirror: Mirror, url: str, said: list[str]
) -> None:
    for option in range(2):
        tell(store, space, (0, option, 0, 0), GOOD, reward=0.5)
        for _ in range(2):
            with mirror(url):
                pass
    assert [t.user_attrs["number"] for t in study_at(url)[1]] == [0, 1]
    assert said == []


def test_a_session_is_mirrored(session_in: Callable[..., SearchSession], tmp_path: Path, url: str) -> None:
    said: list[str] = []
    session = session_in(tmp_path / "search")
    with OptunaMirror(session.store, open_storage(url), space=session.problem.space, say=said.append):
        while (trial := session.ask()) is not None:
            session.measured(trial.number, GOOD)
            session.tell(trial.number)
    session.store.close()
    trials = study_at(url, "search")[1]
    evaluated = [t for t in session.store.trials.values() if t.state == "complete"]
    assert [t.value for t in trials] == [t.reward for t in evaluated]
    assert len(evaluated) == 8
    assert said == []


def failing(monkeypatch: pytest.MonkeyPatch, *, until: int | None = None, after_writing: bool = False) -> list[int]:
    """Makes Optuna's writes fail, the first `until` of them or all; counts them."""
    tried: list[int] = []
    add = optuna.Study.add_trial

    def add_trial(study: Any, trial: Any) -> None:
        tried.append(trial.user_attrs["number"])
        broken = until is None or len(tried) <= until
        if after_writing or not broken:
            add(study, trial)
        if broken:
            raise optuna.exceptions.StorageInternalError("commit") from OSError("database is locked\n[SQL: ...]")

    monkeypatch.setattr(optuna.Study, "add_trial", add_trial)
    return tried


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_storage_that_fails_is_said_once_and_what_is_missing_at_the_end(
    store: TrialStore,
    space: SearchSpace,
    mirror: Mirror,
    url: str,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(optuna_mirror, "_LOOK_S", 0.01)
    tried = failing(monkeypatch)
    for option in range(2):
        tell(store, space, (0, option, 0, 0), GOOD, reward=0.5)
    with mirror(url):
        wait_for(lambda: len(tried) > 3)
    assert said == [
        "the Optuna study run could not be written (database is locked); the search goes on, and its trials are added "
        "as soon as they can be",
        f"2 trials are missing from the Optuna study run: `nas trials {store.folder} --optuna-storage URL` adds what "
        f"is missing",
    ]


@pytest.mark.parametrize("after_writing", [False, True])
def test_a_write_that_failed_is_tried_again_and_made_once(
    store: TrialStore,
    space: SearchSpace,
    mirror: Mirror,
    url: str,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    after_writing: bool,
) -> None:
    monkeypatch.setattr(optuna_mirror, "_LOOK_S", 0.01)
    tried = failing(monkeypatch, until=1, after_writing=after_writing)
    for option in range(2):
        tell(store, space, (0, option, 0, 0), GOOD, reward=0.5)
    with mirror(url):
        wait_for(lambda: len(tried) > 1)
    assert [t.user_attrs["number"] for t in study_at(url)[1]] == [0, 1]
    assert len(said) == 1


def test_a_storage_that_hangs_does_not_hold_up_the_end(
    store: TrialStore, space: SearchSpace, mirror: Mirror, url: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna_mirror, "_PATIENCE_S", 0.05)
    answers = threading.Event()
    monkeypatch.setattr(optuna.Study, "add_trial", lambda study, trial: answers.wait())
    tell(store, space, (0, 0, 0, 0), GOOD, reward=0.5)
    mirroring = mirror(url)
    with mirroring:
        pass
    assert [line.partition(" from")[0] for line in said] == ["1 trial is missing"]
    answers.set()
    mirroring._thread.join()


def test_an_error_of_the_search_passes_through(
    store: TrialStore, space: SearchSpace, mirror: Mirror, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch)
    tell(store, space, (0, 0, 0, 0), GOOD, reward=0.5)
    with pytest.raises(KeyboardInterrupt), mirror(url):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("sqlite:///{tmp}/missing/optuna.db", "unable to open database file.*that its folder exists"),
        ("sqlite:///{tmp}/text", "file is not a database"),
        ("sqlite://", "in memory is gone"),
        ("sqlite:///:memory:", "in memory is gone"),
        ("cassette://tape", "Can't load plugin: sqlalchemy.dialects:cassette"),
        ("oracle://me:secret@host/db", r"oracle://me:\*\*\*@host/db .No module named '.*install that module"),
        ("://", "Could not parse"),
        ("{tmp}/missing/optuna.log", "there is no folder .*missing"),
        ("{tmp}", "Is a directory"),
        ("{tmp}/text", "something else than a journal"),
        ("{tmp}/cut.log", "one that was cut off"),
        ("{tmp}/optuna.db", "an SQLite database is given as sqlite:////"),
    ],
)
def test_a_storage_that_cannot_be_opened_says_why(tmp_path: Path, wrong: str, reason: str) -> None:
    (tmp_path / "text").write_text("neither a database nor a journal, and long enough to have a header" * 4)
    (tmp_path / "cut.log").write_text('{"op_code":0,"worker_id":"f9')
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ValueError, match="must be a database that can be opened") as raised:
        open_storage(wrong.format(tmp=tmp_path))
    assert pytest.raises(ValueError, match=reason).matches(raised.value)
    assert "secret" not in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("address", ["sqlite:///{tmp}/closed/optuna.db", "{tmp}/closed/optuna.log"])
def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path: Path, address: str) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(ValueError, match="you may write there"):
        open_storage(address.format(tmp=tmp_path))


def test_a_study_with_other_directions_is_refused(mirror: Mirror, url: str) -> None:
    storage, _ = other_study(url, directions=["minimize"])
    with pytest.raises(ValueError, match=r"directions \['maximize'\] of this search; it has \['minimize'\]: name"):
        mirror(url)
    let_go(storage)


def test_a_study_of_other_values_is_refused(mirror: Mirror, url: str) -> None:
    with mirror(url, objectives=("accuracy", "params")):
        pass
    with pytest.raises(ValueError, match=r"values \['accuracy', 'macs'\] of this search; it has \['accuracy', 'par"):
        mirror(url, objectives=("accuracy", "macs"))


def test_a_study_of_another_space_is_refused(store: TrialStore, space: SearchSpace, mirror: Mirror, url: str) -> None:
    tell(store, space, (0, 0, 0, 0), GOOD, reward=0.5)
    with mirror(url):
        pass
    other = SearchSpace("other", space.backbone, vary(1, kernel=(3, 5, 7)))
    with pytest.raises(ValueError, match=r"options of stage1_kernel \(3, 5, 7\) of this search; it has \(3, 5\)"):
        mirror(url, space=other)


def test_a_study_of_another_run_of_the_same_name_is_refused(
    store: TrialStore, space: SearchSpace, mirror: Mirror, url: str, tmp_path: Path, said: list[str]
) -> None:
    tell(store, space, (0, 0, 0, 0), GOOD, reward=0.5)
    with mirror(url):
        pass
    other = TrialStore.create(tmp_path / "elsewhere" / "run", {"space": space.to_json()})
    for _ in range(2):  # without that trial, and with another of its number
        with pytest.raises(ValueError, match=r"trial 0 .* of this search; it has .*: name another storage"):
            OptunaMirror(other, open_storage(url), space=space, say=said.append)
        tell(other, space, (0, 1, 0, 0), GOOD, reward=0.5)
    other.close()


def test_a_storage_that_takes_no_study_is_refused(mirror: Mirror, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*arguments: Any, **options: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(optuna, "create_study", locked)
    with pytest.raises(ValueError, match="must take the study run; it gave No space left on device: see"):
        mirror(url)
