"""Latency and peak memory in a search: as objectives, in rewards, as a limit, and in what is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from nas.cli import app, parse_bytes
from nas.config import SearchConfig, build
from nas.controllers import CONTROLLERS
from nas.evaluation import evaluations
from nas.problem import OBJECTIVES, Problem
from nas.reward import bind
from nas.search import run_serial
from nas.session import MAX_FAILURES_IN_A_ROW, SearchSession
from results.store import TrialStore
from results.trial import Failure, Measurement
from search_spaces import SPACES, Architecture
from trainers.over_limit import OverLimit

MakeSession = Callable[..., SearchSession]

REWARD = """
def by_latency(accuracy, latency, *, w=-0.1):
    return accuracy * latency**w


def by_all(accuracy, latency, latency_s, peak_memory, peak_memory_bytes):
    return accuracy / (latency + latency_s + peak_memory + peak_memory_bytes)
"""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def nas(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A search that trains networks for two short epochs on sixty small pictures, with little timing."""
    monkeypatch.setattr("trainers.proxy.BLOCKS", 1)
    monkeypatch.setattr("trainers.proxy.PRECISION", None)
    monkeypatch.chdir(tmp_path)
    pictures = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    np.savez("data.npz", x_train=pictures, y_train=np.arange(60) % 2)
    Path("mine.py").write_text(REWARD)
    options = ["--data", "data.npz", "--image-size", 8, "--epochs", 2, "--minival", 20, "--batch-size", 10]
    options += ["--workers", 1, "--device", "cpu", "--controller", "random", "--format", "json"]
    return lambda out, *arguments: nas("search", "--out", out, *options, "--budget", 2, *arguments)


def columns(run: str) -> Any:
    return TrialStore.open(Path(run)).frame()


def measurements(run: str) -> list[dict[str, Any]]:
    events = (json.loads(line) for line in (Path(run) / "journal.jsonl").read_text().splitlines())
    return [event["measurement"] for event in events if event["event"] == "measured"]


# As objectives, and in rewards ------------------------------------------------------------------------------------


def test_latency_and_memory_are_measured_and_kept(proxy: Callable[..., Any]) -> None:
    done = proxy("run", "--latency-batch", 3, "--objectives", "accuracy,latency,peak_memory")
    assert done.exit_code == 0, done.output
    frame = columns("run")
    assert (frame["latency_batch"] == 3).all()
    assert ((frame["latency_low"] <= frame["latency"]) & (frame["latency"] <= frame["latency_high"])).all()
    assert ((frame["latency_s"] > 1e-5) & (frame["latency_s"] < frame["step_time_s"])).all(), "of 3 pictures, not of 10"
    assert (frame["peak_memory_bytes"] > 3 * 4 * frame["params"]).all()
    assert (frame["peak_memory_bytes"] / frame["peak_memory"]).round().nunique() == 1, "the anchor's"
    assert frame["hypervolume"].notna().all()
    assert not {"step_time_samples", "latency_samples"} & set(frame.columns)
    for number, kept in enumerate(measurements("run")):
        assert kept["epoch"] == number % 2 + 1
        assert ("step_time_samples" in kept) == ("latency_samples" in kept) == (kept["epoch"] == 1)
    best = json.loads(done.stdout.splitlines()[-1])["best"]
    assert {"latency", "peak_memory_bytes"} <= best.keys()
    assert nas("pareto", "run", "--format", "json").exit_code == 0


def test_a_reward_may_take_them(proxy: Callable[..., Any]) -> None:
    assert proxy("run", "--latency-batch", 1, "--reward", "mine.py:by_latency").exit_code == 0
    frame = columns("run")
    assert frame["reward"].to_numpy() == pytest.approx((frame["accuracy"] * frame["latency"] ** -0.1).to_numpy())
    assert proxy("all", "--latency-batch", 1, "--reward", "mine.py:by_all").exit_code == 0
    f = columns("all")
    expected = f["accuracy"] / (f["latency"] + f["latency_s"] + f["peak_memory"] + f["peak_memory_bytes"])
    assert f["reward"].to_numpy() == pytest.approx(expected.to_numpy(dtype=float))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--objectives", "accuracy,latency"], "the objectives need latency, which is measured where a batch is given"),
        (["--reward", "mine.py:by_latency"], "the reward needs latency, which is measured where a batch is given"),
        (["--reward", "mine.py:by_all"], "such as --latency-batch 1"),
        (["--latency-batch", 0], "--latency-batch"),
        (["--max-memory", "6 cows"], "an amount of memory must be a positive number like 6GB, 512MB, 512MiB or 6e9"),
        (
            ["--latency-batch", 1, "--evaluator", "table:any.csv"],
            "any.csv measures what it measures: leave it out",
        ),
    ],
)
def test_what_cannot_be_is_said_at_once(proxy: Callable[..., Any], arguments: list[Any], said: str) -> None:
    done = proxy("run", *arguments)
    assert done.exit_code in (1, 2)
    assert said in f"{done.exception} {done.output}"
    assert not Path("run").exists()


def test_latency_is_part_of_a_task_that_has_it_and_of_no_other(proxy: Callable[..., Any]) -> None:
    config = SearchConfig(data="data.npz", image_size=8, minival=20, batch_size=10, device="cpu")
    assert "latency_batch" not in build(config).identity["task"], "so that searches from before go on"
    assert build(replace(config, latency_batch=2)).identity["task"]["latency_batch"] == 2
    assert proxy("timed", "--latency-batch", 2).exit_code == 0
    refused = proxy("other", "--reuse", "timed")
    assert "task.latency_batch: the run has 2, this is None" in str(refused.exception)
    resumed = nas("resume", "timed", "--budget", 3)
    assert resumed.exit_code == 0, resumed.output
    assert (columns("timed")["latency_batch"] == 2).all()
    options = json.loads(Path("timed/run.json").read_text())["configuration"]["options"]
    assert options["latency_batch"] == 2


def test_a_run_from_before_goes_on(proxy: Callable[..., Any]) -> None:
    assert proxy("old").exit_code == 0
    run = json.loads(Path("old/run.json").read_text())
    del run["configuration"]["options"]["latency_batch"]
    Path("old/run.json").write_text(json.dumps(run))
    assert nas("resume", "old", "--budget", 3).exit_code == 0


def test_gains_of_both_are_over_the_anchors(problem: Problem) -> None:
    assert {"latency", "peak_memory"} <= set(OBJECTIVES)
    two = replace(problem, objectives=("latency", "peak_memory"))
    assert two.gains(Measurement(accuracy=0.5, latency=1.0, peak_memory=0.5)) == (0.5, 0.75)
    assert two.gains(Measurement(accuracy=0.5, latency=1.0)) is None


# As a limit -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("6GB", 6e9), ("512MB", 512e6), ("1.5 GB", 1.5e9), ("7kB", 7e3), ("12B", 12.0)),
        *(("512MiB", 2**29), ("2GiB", 2**31), ("1000", 1e3), ("6e9", 6e9)),
    ],
)
def test_amounts_of_memory(text: str, expected: float) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "6 cows", "-1GB", "0", "nanMB", "1e999", "6gb"])
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(ValueError, match="an amount of memory must be a positive number like 6GB"):
        parse_bytes(text)


def test_a_network_over_the_limit_ends_before_it_is_trained(proxy: Callable[..., Any]) -> None:
    assert proxy("free", "--budget", 6).exit_code == 0
    free = columns("free").set_index("architecture")["peak_memory_bytes"]
    limit = int(free.median())
    done = proxy("run", "--budget", 6, "--max-memory", f"{limit}B")
    assert done.exit_code == 0, done.output
    frame = columns("run").set_index("architecture")
    over = free[free > limit].index
    assert 0 < len(over) < 6
    assert set(frame.index) == set(free.index)
    assert set(frame[frame["state"] == "infeasible"].index) == set(over)
    for architecture in over:
        assert (
            frame["reason"][architecture] == f"peak_memory_bytes {free[architecture]:,} is over the limit of {limit:,}"
        )
    told = frame.loc[over]
    assert told[["accuracy", "reward", "failure"]].isna().all(axis=None)
    assert json.loads(done.stdout.splitlines()[-1])["infeasible"] == len(over)
    resumed = nas("resume", "run", "--budget", 7)
    assert resumed.exit_code == 0, resumed.output


def test_disturbed_timings_are_said_at_the_end(proxy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from trainers.step_timer import StepTimer
    from trainers.timing import StepTime

    finish = StepTimer.finish

    def disturbed(*given: Any, precise: bool) -> StepTime:
        return finish(*given, precise=precise)._replace(note="measured again, since")

    monkeypatch.setattr(StepTimer, "finish", disturbed)
    done = proxy("run", "--budget", 3)
    assert "the timings of 3 trials were disturbed: see timing_note" in done.stderr
    assert (columns("run")["timing_note"] == "step_time: measured again, since").all()


def over(architecture: Architecture, seed: int) -> Iterator[Measurement]:
    raise OverLimit("peak_memory_bytes 7 is over the limit of 6")
    yield


def test_a_raised_limit_is_no_failure() -> None:
    (outcome,) = evaluations(over, str(SPACES["small"].backbone), 0)
    assert outcome == Failure("over_limit", "peak_memory_bytes 7 is over the limit of 6")


@pytest.mark.usefixtures("_unsynced")
@pytest.mark.parametrize("name", sorted(CONTROLLERS))
def test_every_controller_goes_on_past_networks_over_the_limit(
    name: str, session_in: MakeSession, problem: Problem, tmp_path: Path
) -> None:
    def half(architecture: Architecture, seed: int) -> Iterator[Measurement]:
        if architecture.stages[0].expand_ratio > 1:
            raise OverLimit("peak_memory_bytes 7 is over the limit of 6")
        yield Measurement(accuracy=0.5, step_time=1.0, peak_memory_bytes=5, latency=1.0, peak_memory=1.0)

    limited = replace(problem, limits={"peak_memory_bytes": 6})

    def session() -> SearchSession:
        made = CONTROLLERS[name](limited.space, limited.features, 0)
        return session_in(tmp_path / "run", controller=made, budget=20, problem=limited)

    first = session()
    run_serial(first, half)
    first.store.close()
    trials = first.store.trials.values()
    assert first.evaluated == 20, "it counts as a candidate, so that the search ends"
    assert {t.state for t in trials} <= {"complete", "infeasible", "repeat"}
    again = session()
    assert again.evaluated == 20
    assert again.running == set()
    again.store.close()


@pytest.mark.usefixtures("_unsynced")
def test_many_in_a_row_over_the_limit_do_not_end_a_search(
    session_in: MakeSession, problem: Problem, tmp_path: Path
) -> None:
    session = session_in(tmp_path / "run", budget=MAX_FAILURES_IN_A_ROW + 5, problem=problem)
    run_serial(session, over)
    assert session.evaluated == MAX_FAILURES_IN_A_ROW + 5
    assert session.stopped_because is None
    assert {t.state for t in session.store.trials.values()} == {"infeasible"}
    session.store.close()


@pytest.mark.usefixtures("_unsynced")
def test_the_limit_holds_for_whatever_an_evaluator_measures(
    session_in: MakeSession, problem: Problem, tmp_path: Path
) -> None:
    def by_stages(architecture: Architecture, seed: int) -> Measurement:
        found = [7, 6, None][architecture.stages[0].expand_ratio % 3]  # 1, 4 and 6 are 6, 6 and 7
        return Measurement(accuracy=0.5, step_time=1.0, peak_memory_bytes=found)

    limited = replace(problem, limits={"peak_memory_bytes": 6})
    session = session_in(tmp_path / "run", budget=20, problem=limited)
    run_serial(session, by_stages)
    for trial in session.store.trials.values():
        large = limited.space.decode(trial.genotype).stages[0].expand_ratio == 6
        assert trial.state == ("infeasible" if large else "complete")
        assert trial.measurement is not None, "what was measured is kept"
    session.store.close()


def test_a_limit_that_nothing_measures_is_an_error(problem: Problem) -> None:
    limited = replace(problem, limits={"peak_memory_bytes": 6})
    assert limited.broken_limit(problem.space.backbone) is None, "it is not known before"
    unmeasured = limited.broken_by(Measurement(accuracy=0.5))
    assert unmeasured is not None
    assert unmeasured.kind == "error"
    assert "needs an evaluator that measures it" in unmeasured.reason
    assert limited.broken_by(Measurement(accuracy=0.5, peak_memory_bytes=6)) is None
    assert problem.broken_by(Measurement(accuracy=0.5)) is None


def test_samples_are_made_pythons_numbers() -> None:
    def evaluate(architecture: Architecture, seed: int) -> Measurement:
        return Measurement(accuracy=0.5, step_time_samples=np.array([1, 2], np.float32))  # type: ignore[arg-type]

    (found,) = evaluations(evaluate, str(SPACES["small"].backbone), 0)
    assert isinstance(found, Measurement)
    assert found.step_time_samples == (1.0, 2.0)
    assert {type(sample) for sample in found.step_time_samples} == {float}


def test_a_sample_that_is_not_finite_is_a_divergence() -> None:
    def evaluate(architecture: Architecture, seed: int) -> Measurement:
        return Measurement(accuracy=0.5, latency_samples=(1.0, float("inf")))

    assert list(evaluations(evaluate, str(SPACES["small"].backbone), 0)) == [
        Failure("diverged", "latency_samples is inf")
    ]


def test_rewards_get_latency_as_it_is(problem: Problem) -> None:
    m = Measurement(accuracy=0.5, latency=2.0, peak_memory=4.0, latency_s=0.25)
    formula = lambda accuracy, latency, peak_memory, latency_s: latency + peak_memory + latency_s  # noqa: E731
    assert bind(formula, {})(m, problem.anchor) == 6.25
