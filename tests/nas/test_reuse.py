"""What earlier runs trained is not trained again: what is taken, what is said, and that a resume needs nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nas_command import Outcome
from nas_command import nas as command

from nas.config import SearchConfig, build
from nas.controllers import CONTROLLERS
from nas.leaders import CONFIRMATIONS
from nas.problem import Problem
from nas.reuse import by_network, earlier_run, trainings
from nas.reward import accuracy, bind
from nas.search import run_serial
from nas.session import MAX_FAILURES_IN_A_ROW, SearchSession, trial_seed
from results.store import TrialStore
from results.trial import Measurement, Trial
from search_spaces import Architecture, Genotype, SearchSpace

pytestmark = pytest.mark.usefixtures("_unsynced")

Make = Callable[..., SearchSession]
IDENTITY = {"evaluator": "mine.py:evaluate", "sources": {"evaluator": "5a"}, "task": {}, "image_size": 16, "seed": 0}


def noisy(architecture: Architecture, seed: int) -> Iterator[Measurement]:
    """Larger is better, a seed is worth more than most choices, and some trainings fail."""
    layers = sum(stage.layers * stage.expand_ratio for stage in architecture.stages)
    yield Measurement(accuracy=0.1, step_time=1.0, host="here")
    if seed % 11 == 0:
        raise ArithmeticError("some fail")
    found = 0.5 + layers / 100 + seed % 97 / 400
    yield Measurement(accuracy=found, epoch=2, step_time=0.5 + layers / 20, train_time_s=2.0, host="here")


class Log:
    """`noisy`, noting what it is called for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def __call__(self, architecture: Architecture, seed: int) -> Iterator[Measurement]:
        self.calls.append((str(architecture), seed))
        return noisy(architecture, seed)


@pytest.fixture
def make(problem: Problem) -> Make:
    """A session in a folder, new or opened again, that reuses other runs."""

    def session(
        folder: Path,
        *,
        reuse: Sequence[Path] = (),
        problem: Problem = problem,
        budget: int = 8,
        seed: int = 0,
        confirm: int = 0,
        controller: str = "random",
    ) -> SearchSession:
        if folder.exists():
            store = TrialStore.open(folder, writing=True)
        else:
            store = TrialStore.create(folder, {"space": problem.space.to_json(), "identity": IDENTITY})
        found = [trial for other in reuse for trial in trainings(earlier_run(other, run=folder), IDENTITY)]
        proposer = CONTROLLERS[controller](problem.space, problem.features, seed)
        return SearchSession(
            problem, proposer, store, budget=budget, seed=seed, confirm=confirm, earlier=by_network(found)
        )

    return session


def finish(session: SearchSession) -> pd.DataFrame:
    """The table of a session taken to its end."""
    run_serial(session, noisy)
    session.store.close()
    return session.store.frame()


# What is taken --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("controller", ["random", "evolution", "predictor"])
def test_a_search_that_reuses_is_the_search_that_trains_all_only_sooner(
    make: Make, tmp_path: Path, controller: str
) -> None:
    finish(make(tmp_path / "earlier", budget=9, controller=controller))
    whole = finish(make(tmp_path / "whole", budget=16, controller=controller))
    earlier = TrialStore.open(tmp_path / "earlier")
    complete = {t.architecture: t for t in earlier.trials.values() if t.state == "complete"}
    log = Log()
    session = make(tmp_path / "run", reuse=[tmp_path / "earlier"], budget=16 - len(complete), controller=controller)
    run_serial(session, log)
    got = session.store.frame()
    moment = ["asked_at", "told_at", "reused_from"]
    pd.testing.assert_frame_equal(got.drop(columns=moment), whole.drop(columns=moment))
    assert not {text for text, _ in log.calls} & complete.keys()
    assert session.evaluated == len(log.calls) == 16 - len(complete)
    assert session.planned == session.budget
    reused = got.dropna(subset=["reused_from"])
    place = (tmp_path / "earlier").resolve()
    assert reused["reused_from"].tolist() == [f"{place}#{complete[text].number}" for text in reused["architecture"]]
    assert set(reused["architecture"]) == complete.keys()
    assert set(got["state"]) == {"complete", "failed"}, "what failed there is trained again"


def test_another_seed_takes_the_measurement_with_the_seed_it_had(make: Make, tmp_path: Path) -> None:
    earlier = finish(make(tmp_path / "earlier", budget=30)).set_index("architecture")
    run = finish(make(tmp_path / "run", reuse=[tmp_path / "earlier"], seed=1, budget=30)).set_index("architecture")
    assert len(run) == 30, "the whole space, after which the search ends"
    for text, row in run.iterrows():
        if earlier.loc[text, "state"] == "complete":
            assert row["reused_from"].endswith(f"#{earlier.loc[text, 'number']}")
            assert (
                row[["seed", "accuracy", "host"]].tolist() == earlier.loc[text, ["seed", "accuracy", "host"]].tolist()
            )
            assert list(row["curve"]) == list(earlier.loc[text, "curve"])
        else:
            assert pd.isna(row["reused_from"])
            assert row["seed"] == trial_seed(1, str(text), 0)


def test_a_search_whose_networks_were_all_trained_trains_nothing(make: Make, problem: Problem, tmp_path: Path) -> None:
    easy = lambda architecture, seed: next(noisy(architecture, seed))  # noqa: E731 - none fails
    session = make(tmp_path / "earlier", budget=30)
    run_serial(session, easy)
    again = make(tmp_path / "run", reuse=[tmp_path / "earlier"], budget=5)
    assert again.ask() is None
    assert again.finished
    assert (again.evaluated, len(again.store.trials)) == (0, 30)
    assert again.best is not None
    assert again.stopped_because == "the controller has nothing more to propose: the space is exhausted"


def test_reward_limits_and_objectives_are_those_of_this_search(make: Make, problem: Problem, tmp_path: Path) -> None:
    finish(make(tmp_path / "earlier", budget=20))
    macs = [problem.cost(problem.space.decode(problem.space.genotype_at(n))).macs for n in range(30)]
    limit = float(sorted(macs)[15])
    objectives = ("accuracy", "params")
    other = replace(problem, reward=bind(accuracy, {}), limits={"macs": limit}, objectives=objectives)
    frame = finish(make(tmp_path / "run", reuse=[tmp_path / "earlier"], problem=other, budget=5))
    plain = finish(make(tmp_path / "plain", problem=other, budget=len(frame)))
    reused = frame.dropna(subset=["reused_from"])
    assert len(reused) > 3
    assert reused["reward"].tolist() == reused["accuracy"].tolist()
    assert (frame["macs"].dropna() <= limit).all()
    same = min(len(frame), len(plain))
    columns = ["architecture", "state", "reward", "hypervolume"]
    pd.testing.assert_frame_equal(frame[columns][:same], plain[columns][:same])


def test_networks_in_common_with_another_space_are_taken(make: Make, problem: Problem, tmp_path: Path) -> None:
    finish(make(tmp_path / "earlier", budget=30))
    space = problem.space
    smaller = SearchSpace("fewer", space.backbone, tuple(c for c in space.choices if c.name != space.choices[0].name))
    assert smaller.size < 30
    other = replace(problem, space=smaller)
    frame = finish(make(tmp_path / "run", reuse=[tmp_path / "earlier"], problem=other, budget=30))
    assert len(frame) == smaller.size
    earlier = TrialStore.open(tmp_path / "earlier").frame().set_index("architecture")
    known = frame["architecture"].isin(earlier.index[earlier["state"] == "complete"])
    assert known.sum() > 3
    assert (frame["reused_from"].notna() == known).all()


def test_a_repeat_of_a_reused_trial_is_answered_from_it(make: Make, tmp_path: Path, problem: Problem) -> None:
    finish(make(tmp_path / "earlier", budget=10))
    texts = [t.architecture for t in TrialStore.open(tmp_path / "earlier").trials.values() if t.state == "complete"]
    genotype = problem.space.encode(Architecture.parse(texts[0]))

    class Again:
        """Proposes one network three times."""

        def __init__(self) -> None:
            self.proposals = [genotype] * 3
            self.told: list[Trial] = []

        def ask(self) -> Genotype | None:
            return self.proposals.pop() if self.proposals else None

        def tell(self, trial: Trial) -> None:
            self.told.append(trial)

    controller = Again()
    store = TrialStore.create(tmp_path / "run", {"space": problem.space.to_json()})
    found = by_network(trainings(TrialStore.open(tmp_path / "earlier"), IDENTITY))
    session = SearchSession(problem, controller, store, budget=3, seed=0, earlier=found)
    assert session.ask() is None
    assert [t.state for t in controller.told] == ["complete", "repeat", "repeat"]
    assert len({(t.reward, t.measurement) for t in controller.told}) == 1
    assert controller.told[1].reused_from is None


def test_reused_trials_are_no_known_ones_in_a_row(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(make(tmp_path / "earlier", budget=20))
    monkeypatch.setattr("nas.session.MAX_KNOWN_IN_A_ROW", 3)
    session = make(tmp_path / "run", reuse=[tmp_path / "earlier"], budget=4)
    finish(session)
    assert session.evaluated == 4
    assert session.stopped_because is None


def test_what_is_reused_does_not_hide_that_evaluations_fail(make: Make, tmp_path: Path) -> None:
    finish(make(tmp_path / "earlier", budget=18))

    def broken(architecture: Architecture, seed: int) -> Measurement:
        raise KeyError("no good")

    session = make(tmp_path / "run", reuse=[tmp_path / "earlier"], budget=30, seed=5)
    run_serial(session, broken)
    assert session.evaluated == MAX_FAILURES_IN_A_ROW
    assert session.stopped_because is not None
    assert "failed the same way" in session.stopped_because
    order = [t.reused_from is not None for t in session.store.trials.values()]
    assert any(order[order.index(False) :]), "some were reused in between"


def test_a_reward_that_cannot_be_had_is_a_failure_of_a_reused_trial_too(
    make: Make, problem: Problem, tmp_path: Path
) -> None:
    def picky(accuracy: float, peak_memory_bytes: float) -> float:
        return accuracy / peak_memory_bytes

    finish(make(tmp_path / "earlier", budget=20))
    other = replace(problem, reward=bind(picky, {}))
    session = make(tmp_path / "run", reuse=[tmp_path / "earlier"], problem=other, budget=30)
    frame = finish(session)
    assert set(frame["state"]) == {"failed"}
    assert frame["reused_from"].notna().any()
    assert frame["reason"].str.contains("the reward needs peak_memory_bytes").any()
    assert session.stopping


# Trainings of one network ---------------------------------------------------------------------------------------


def seeds_of(frame: pd.DataFrame) -> dict[str, list[int]]:
    """By architecture, the seeds of its trainings by replicate."""
    trained = frame[frame["state"].isin(["complete", "failed"])].sort_values("replicate")
    return {str(text): group["seed"].tolist() for text, group in trained.groupby("architecture")}


def test_confirming_takes_further_trainings_and_makes_those_that_lack(make: Make, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        finish(make(tmp_path / name, seed=seed, budget=30))
    log = Log()
    session = make(tmp_path / "run", reuse=[tmp_path / "a", tmp_path / "b"], confirm=4, budget=30)
    run_serial(session, log)
    frame = session.store.frame()
    by = {(name, t.architecture): t for name in "ab" for t in TrialStore.open(tmp_path / name).trials.values()}
    leaders = frame.loc[frame["replicate"] > 0, "architecture"].unique()
    assert len(leaders) == 4
    for text in leaders:
        rows = frame[frame["architecture"] == text].sort_values("replicate")
        assert len(rows) == 1 + CONFIRMATIONS
        there = [by[name, text] for name in "ab" if by[name, text].state == "complete"]
        assert rows["seed"].tolist()[: len(there)] == [t.seed for t in there], "the first named run's comes first"
        assert rows["reused_from"].notna().tolist() == [n < len(there) for n in range(3)]
        assert rows["seed"].tolist()[len(there) :] == [trial_seed(0, text, n) for n in range(len(there), 3)]
    assert session.confirmed == sum(text in leaders for text, _ in log.calls if by["a", text].state == "complete")
    assert session.planned == session.evaluated + session.confirmed


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    runs=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 4), st.lists(st.integers(0, 5), max_size=3)), min_size=2, max_size=5
    )
)
def test_no_training_is_taken_twice(
    make: Make, tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[int, int, list[int]]]
) -> None:
    """Runs of a few seeds that confirm, each of which reuses some of those before it, copies of copies included."""
    folder = tmp_path_factory.mktemp("runs")
    for number, (seed, confirm, others) in enumerate(runs):
        reuse = [folder / str(other) for other in others if other < number]
        frame = finish(make(folder / str(number), seed=seed, confirm=confirm, budget=6, reuse=reuse))
        for text, seeds in seeds_of(frame).items():
            assert len(set(seeds)) == len(seeds), text


def test_a_later_replicate_of_the_same_seed_is_kept_for_its_own(make: Make, problem: Problem, tmp_path: Path) -> None:
    """The earlier run has the trainings 0 and 2 of a leader: 2 is taken once, as 2, and 1 is trained here."""
    session = make(tmp_path / "earlier", budget=1, confirm=1)

    def second_fails(architecture: Architecture, seed: int) -> Measurement:
        if seed == trial_seed(0, str(architecture), 1):
            raise RuntimeError("not this time")
        return Measurement(accuracy=1.0, step_time=0.1)

    run_serial(session, second_fails)
    session.store.close()
    frame = finish(make(tmp_path / "run", reuse=[tmp_path / "earlier"], budget=1, confirm=1))
    best = frame.loc[frame["replicate"] > 0, "architecture"].iloc[0]
    rows = frame[frame["architecture"] == best].sort_values("replicate")
    assert rows["seed"].tolist() == [trial_seed(0, best, n) for n in range(3)]
    assert rows["reused_from"].notna().tolist() == [True, False, True]


def test_a_copy_says_where_its_original_is(make: Make, tmp_path: Path) -> None:
    finish(make(tmp_path / "first", budget=6))
    finish(make(tmp_path / "second", budget=8, reuse=[tmp_path / "first"]))
    frame = finish(make(tmp_path / "third", budget=20, reuse=[tmp_path / "second"]))
    runs = frame["reused_from"].dropna().str.rpartition("#")[0]
    assert set(runs) == {str((tmp_path / name).resolve()) for name in ("first", "second")}


# Resuming -------------------------------------------------------------------------------------------------------


def test_a_run_cut_off_anywhere_ends_as_the_run_that_was_not(
    make: Make, tmp_path: Path, cut_off: Callable[[Path], Iterator[Path]]
) -> None:
    for name, seed in (("a", 0), ("b", 2)):
        finish(make(tmp_path / name, budget=9, seed=seed, confirm=2, controller="evolution"))
    options: dict[str, Any] = {"budget": 5, "confirm": 3, "controller": "evolution"}
    reuse = [tmp_path / "a", tmp_path / "b"]
    whole = finish(make(tmp_path / "whole", reuse=reuse, **options))
    assert whole["reused_from"].notna().sum() > 6
    assert whole.loc[whole["reused_from"].notna(), "arm"].eq("confirm").any()
    moment = ["asked_at", "told_at", "attempt"]
    for folder in cut_off(tmp_path / "whole"):
        frame = finish(make(folder, reuse=reuse, **options))
        pd.testing.assert_frame_equal(frame.drop(columns=moment), whole.drop(columns=moment))


def test_what_was_taken_is_in_the_run_itself(
    make: Make, tmp_path: Path, cut_off: Callable[[Path], Iterator[Path]]
) -> None:
    finish(make(tmp_path / "earlier", budget=9))
    whole = finish(make(tmp_path / "whole", reuse=[tmp_path / "earlier"], budget=3))
    shutil.rmtree(tmp_path / "earlier")
    for folder in cut_off(tmp_path / "whole"):
        asked = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
        taken = {event["number"] for event in asked if "reused_from" in event}
        log = Log()
        session = make(folder, budget=20)
        run_serial(session, log)
        frame = session.store.frame()
        session.store.close()
        same = ["architecture", "state", "reward", "accuracy", "reused_from", "curve"]
        numbers = sorted(taken)
        pd.testing.assert_frame_equal(
            frame.loc[numbers, same].reset_index(drop=True), whole.loc[numbers, same].reset_index(drop=True)
        )
        assert frame["reused_from"].notna().sum() == len(taken)
        assert not {text for text, _ in log.calls} & set(frame.loc[numbers, "architecture"])
        assert not (frame["state"] == "running").any()


def test_reuse_may_begin_on_resume(make: Make, tmp_path: Path) -> None:
    finish(make(tmp_path / "earlier", budget=12))
    finish(make(tmp_path / "run", budget=4))
    frame = finish(make(tmp_path / "run", budget=5, reuse=[tmp_path / "earlier"]))
    assert frame["reused_from"].notna()[:4].sum() == 0
    assert frame["reused_from"].notna()[4:].sum() > 3
    assert frame["reused_from"].isna().sum() == 5


# Which runs -----------------------------------------------------------------------------------------------------


def test_a_run_that_is_being_written_is_reused_as_it_is(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path / "earlier", budget=20)
    for _ in range(6):
        trial = session.ask()
        assert trial is not None
        session.measured(trial.number, Measurement(accuracy=0.5, step_time=1.0))
        session.tell(trial.number)
    running = session.ask()
    assert running is not None
    with (tmp_path / "earlier" / "journal.jsonl").open("ab") as file:
        file.write(b'{"event":"asked","numb')  # a line that is not whole yet
    frame = finish(make(tmp_path / "run", reuse=[tmp_path / "earlier"], budget=2))
    assert frame["reused_from"].notna().sum() == 6
    assert frame["reused_from"].isna()[6], "that one was not over"
    session.store.close()


def test_a_run_that_nothing_can_be_taken_from_is_said_so(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "earlier"
    with pytest.raises(FileNotFoundError, match="earlier holds no run"):
        earlier_run(folder, run=tmp_path / "run")
    session = make(folder)
    with pytest.raises(ValueError, match=r"a run to reuse must have complete trials; .*earlier has none yet"):
        earlier_run(folder, run=tmp_path / "run")
    with pytest.raises(ValueError, match="a run to reuse must be another than the search's own"):
        earlier_run(tmp_path / "x" / ".." / "earlier", run=folder)
    finish(session)
    theirs = json.loads((folder / "run.json").read_text())
    del theirs["configuration"]["identity"]
    (folder / "run.json").write_text(json.dumps(theirs))
    with pytest.raises(ValueError, match="a run to reuse must say what its proxy task was"):
        trainings(earlier_run(folder, run=tmp_path / "run"), IDENTITY)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"evaluator": "proxy"}, ["evaluator"]),
        ({"sources": {"evaluator": "5b"}}, ["sources.evaluator"]),
        ({"image_size": 32, "task": {"recipe": {"epochs": 3}}}, ["image_size", "task.recipe"]),
        ({"seed": 3, "reward": "accuracy", "sources": {"evaluator": "5a", "reward": "1"}, "limits": {"macs": 1}}, []),
    ],
)
def test_fields_that_decide_a_measurement_must_be_equal(
    make: Make, tmp_path: Path, changes: dict[str, Any], named: list[str]
) -> None:
    finish(make(tmp_path / "earlier"))
    store = TrialStore.open(tmp_path / "earlier")
    if not named:
        assert len(trainings(store, {**IDENTITY, **changes})) > 3
        return
    with pytest.raises(ValueError, match="these fields differ") as caught:
        trainings(store, {**IDENTITY, **changes})
    lines = str(caught.value).splitlines()[1:-1]
    assert [line.strip().partition(": the run has")[0] for line in lines] == named


# On the command line --------------------------------------------------------------------------------------------

PLUGIN = """
import hashlib
from pathlib import Path

from results.trial import Measurement, Trial
from search_spaces import Architecture, Genotype, SearchSpace, Stage, vary

stages = (Stage("mbconv", 3, 2, 4, 8, 1), Stage("mbconv", 3, 2, 4, 16, 1, 0.25))
choices = (*vary(1, kernel=(3, 5), expand_ratio=(1, 4, 6)), *vary(2, kernel=(3, 5), layers=(0, 1, 2)))
space = SearchSpace("thirty", Architecture(8, stages, 32), choices)


def evaluate(architecture, seed):
    with Path(__file__).with_name("trained").open("a") as log:
        log.write(f"{architecture}\\n")
    share = int.from_bytes(hashlib.blake2b(str(architecture).encode(), digest_size=4).digest()) / 2**32
    return Measurement(accuracy=0.5 + share / 2, step_time=2 - share, train_time_s=30.0)
"""


def nas(*arguments: object) -> Outcome:
    """Run a command, with data as JSON unless said otherwise."""
    return command(*arguments) if "--format" in arguments else command(*arguments, "--format", "json")


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Search the plug-in's space with its evaluator, one at a time, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugin.py").write_text(PLUGIN)

    def go(out: str, *arguments: object) -> Outcome:
        own = ["--space", "plugin.py:space", "--evaluator", "plugin.py:evaluate", "--controller", "random"]
        return nas("search", "--out", out, *own, "--workers", 1, *arguments)

    return go


def data(outcome: Outcome) -> dict[str, Any]:
    """What a command printed."""
    assert outcome.code == 0, outcome.err
    return dict(json.loads(outcome.out))


def trained() -> list[str]:
    """What the evaluator was called for since this was last asked."""
    file = Path("trained")
    found = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def test_search_reuses_and_says_how_much_it_saved(search: Callable[..., Outcome]) -> None:
    assert (data(search("a", "--budget", 6))["reused"], len(trained())) == (0, 6)
    outcome = search("b", "--budget", 4, "--reuse", "a", "--reward", "accuracy", "--max-params", 1e9)
    found = data(outcome)
    assert "--reuse: 6 trainings of 6 networks; they count in no budget" in outcome.err
    assert (found["trials"], found["complete"], found["reused"], found["train_time_saved_s"]) == (4, 10, 6, 180.0)
    assert len(trained()) == 4
    rows = [json.loads(line) for line in nas("trials", "b").out.splitlines()]
    assert [row["reused_from"] for row in rows] == [f"{Path('a').resolve()}#{n}" for n in range(6)] + [None] * 4
    assert all(row["reward"] == row["accuracy"] for row in rows)


def test_people_are_told_too(search: Callable[..., Outcome]) -> None:
    search("a", "--budget", 6)
    assert "\n6 trainings reused from earlier runs, which saved 3 min 0 s of training\n" in (
        search("b", "--budget", 1, "--reuse", "a", "--format", "table").out
    )


def test_a_resumed_search_reuses_what_it_did_and_needs_no_run_that_is_gone(search: Callable[..., Outcome]) -> None:
    search("a", "--budget", 6)
    search("b", "--budget", 6, "--seed", 1)
    data(search("run", "--budget", 2, "--reuse", "a", "--reuse", "b", "--seed", 2))
    assert "--reuse: 12 trainings of" in nas("resume", "run").err
    known = {t.architecture for name in ("run", "b") for t in TrialStore.open(Path(name)).trials.values()}
    trained()
    shutil.rmtree("a")
    outcome = nas("resume", "run", "--budget", 100)
    assert data(outcome)["trials"] + data(outcome)["reused"] == 30
    assert f"no longer reused: {Path('a').resolve()} holds no run" in outcome.err
    now = trained()
    assert len(now) == 30 - len(known) > 0
    assert not known & set(now)
    assert nas("resume", "run", "--reuse", "b").code == 0
    shutil.rmtree("b")
    assert "a holds no run" not in nas("resume", "run").err, "those given anew are in the place of the others"


def test_a_search_may_begin_to_reuse_when_it_is_resumed(search: Callable[..., Outcome]) -> None:
    search("a", "--budget", 9)
    search("run", "--budget", 3)
    trained()
    found = data(nas("resume", "run", "--reuse", "a", "--budget", 5))
    assert (found["trials"], found["reused"], len(trained())) == (5, 6, 2)


@pytest.mark.parametrize("command", ["search", "resume"])
def test_what_cannot_be_reused_is_one_clear_error(search: Callable[..., Outcome], command: str) -> None:
    search("a", "--budget", 3)
    search("other", "--budget", 3, "--image-size", 64)
    (Path("empty")).mkdir()
    if command == "resume":
        search("run", "--budget", 3)
        go = lambda name: nas("resume", "run", "--reuse", "a", "--reuse", name)  # noqa: E731
        own = "run"
    else:
        go = lambda name: search("run", "--reuse", "a", "--reuse", name)  # noqa: E731
        own = "./run/../run"
    trained()
    for name, said in (
        ("none", f"error: {Path('none').resolve()} holds no run (there is no run.json in it)"),
        ("empty", f"error: {Path('empty').resolve()} holds no run (there is no run.json in it)"),
        (own, "error: a run to reuse must be another than the search's own, which is "),
        ("other", "error: a run to reuse must have measured its networks as this search does; in "),
    ):
        outcome = go(name)
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err.splitlines()[0].startswith(said)
        if name == "other":
            assert "  image_size: the run has 64, this is 128" in outcome.err.splitlines()
    assert not trained()
    assert command == "resume" or not Path("run").exists()
    assert data(go("a"))["reused"] == (3 if command == "search" else 0)


# The proxy's minival --------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """A search that trains networks for an epoch on sixty small pictures; their timing takes long, and is left out."""
    from trainers.proxy import ProxyTask
    from trainers.timing import StepTime

    monkeypatch.setattr(ProxyTask, "time_step", lambda task, architecture: StepTime(1.0, 1.0, 1.0, 1.0, 1.0))
    monkeypatch.setattr(ProxyTask, "_times_while_training", lambda task: False)
    monkeypatch.chdir(tmp_path)
    pictures = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    np.savez("data.npz", x_train=pictures, y_train=np.arange(60) % 2)
    options = ["--data", "data.npz", "--image-size", 8, "--epochs", 1, "--minival", 20, "--batch-size", 20]
    options += ["--workers", 1, "--device", "cpu", "--controller", "random"]
    return lambda out, *arguments: nas("search", "--out", out, *options, "--budget", 1, *arguments)


def test_another_minival_is_another_task_and_another_seed_is_not(proxy: Callable[..., Outcome]) -> None:
    assert data(proxy("a"))["trials"] == 1
    refused = proxy("b", "--reuse", "a", "--split-seed", 3)
    assert refused.code == 1
    assert refused.err.splitlines()[1] == "  task.split_seed: the run has 0, this is 3"
    assert "--reuse: 1 trainings of 1 networks" in proxy("c", "--reuse", "a", "--seed", 5).err
    assert data(proxy("d", "--reuse", "a"))["reused"] == 1


def test_the_split_seed_alone_draws_the_minival(proxy: Callable[..., Outcome], tmp_path: Path) -> None:
    drawn = {}
    for seed, split_seed in ((0, 0), (5, 0), (0, 5)):
        config = SearchConfig(
            data="data.npz", image_size=8, minival=20, batch_size=20, device="cpu", seed=seed, split_seed=split_seed
        )
        drawn[seed, split_seed] = build(config).evaluate.data.minival.images  # type: ignore[union-attr]
    assert np.array_equal(drawn[0, 0], drawn[5, 0])
    assert not np.array_equal(drawn[0, 0], drawn[0, 5])


def test_a_run_from_before_has_the_minival_of_its_seed(proxy: Callable[..., Outcome]) -> None:
    assert proxy("old", "--seed", 2, "--split-seed", 2).code == 0
    run = json.loads(Path("old/run.json").read_text())
    del run["configuration"]["options"]["split_seed"]
    del run["configuration"]["identity"]["task"]["split_seed"]
    Path("old/run.json").write_text(json.dumps(run))
    assert proxy("a", "--reuse", "old").code == 1
    options = ["--reuse", "old", "--split-seed", 2, "--seed", 2]
    assert data(proxy("b", *options))["reused"] == 1
    resumed = nas("resume", "old", "--budget", 2)
    assert data(resumed)["trials"] == 2
    only = [line for line in nas("resume", "old", "--seed", 3).err.splitlines() if line.startswith("  ")]
    assert only == ["  seed: the run has 2, this is 3"]
