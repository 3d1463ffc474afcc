"""The command line: what it prints where, its exit codes, plug-ins, resuming, interrupts and bad input."""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import json
import math
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nas_command
import numpy as np
import pandas as pd
import pytest
import typer

import nas
from nas.cli import app, parse_weights
from nas.reward import REWARDS
from results.store import TrialStore
from search_spaces import IMAGE_SIZES, PUBLISHED, SPACES, Architecture, cost

PLUGIN = '''
import hashlib, os, time
from pathlib import Path

from results.trial import Measurement
from search_spaces import PUBLISHED, Architecture, SearchSpace, Stage, vary

stages = (Stage("mbconv", 3, 2, 4, 8, 1), Stage("mbconv", 3, 2, 4, 16, 1, 0.25))
choices = (*vary(1, kernel=(3, 5), expand_ratio=(1, 4, 6)), *vary(2, kernel=(3, 5), layers=(0, 1, 2)))
space = SearchSpace("thirty", Architecture(8, stages, 32), choices)
NUMBER = 5

print("a plug-in says hello")


def share(architecture):
    return int.from_bytes(hashlib.blake2b(str(architecture).encode(), digest_size=4).digest()) / 2**32


def evaluate(architecture, seed):
    print("an evaluator chatters")
    return Measurement(accuracy=0.5 + share(architecture) / 2, step_time=2 - share(architecture))


def noisy(architecture, seed):
    return Measurement(accuracy=0.5 + share(architecture) / 4 + seed % 100 / 400, step_time=2 - share(architecture))


def fails(architecture, seed):
    raise KeyError("no good")


def fails_at_times(architecture, seed):
    if share(architecture) < 0.5:
        raise KeyError("no [/good]")  # which is a mistake in rich's markup
    return evaluate(architecture, seed)


def slow(architecture, seed):
    time.sleep(float(os.environ["EVALUATION_S"]))
    return evaluate(architecture, seed)


def loses_its_worker_once(architecture, seed):
    try:
        Path(__file__).with_name("lost").touch(exist_ok=False)
    except FileExistsError:
        return slow(architecture, seed)
    os._exit(1)


class InOrder:
    """Proposes the networks of a space one after the other."""

    def __init__(self, space, features, seed):
        self.space, self.next = space, seed

    def ask(self):
        self.next += 1
        return self.space.genotype_at(self.next - 1)

    def tell(self, trial):
        pass


def squared(accuracy, *, power=2.0):
    return accuracy**power


def of_one_argument(architecture):
    return None
'''


class Said(nas_command.Outcome):
    """What a command left behind, read."""

    @property
    def data(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        assert self.code == 0, self.err
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1
        return dict(json.loads(self.out))

    @property
    def error(self) -> str:
        """The one line that says what was wrong."""
        assert self.code == 1
        assert self.out == ""
        lines = [line for line in self.err.splitlines() if "plug-in says hello" not in line]
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        return lines[0]


def run(*arguments: object) -> Said:
    return Said(*nas_command.nas(*arguments))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, without GPUs or a Ray cluster to join."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("trainers.devices.count_gpus", lambda: 0)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A file of plug-ins."""
    file = tmp_path / "plugin.py"
    file.write_text(PLUGIN)
    return file


@pytest.fixture
def search(plugin: Path) -> Callable[..., Said]:
    """Search the plug-in's space with its evaluator, one at a time."""

    def go(*arguments: object, evaluator: str = "evaluate", budget: int = 5) -> Said:
        own = ["--space", f"{plugin}:space", "--evaluator", f"{plugin}:{evaluator}", "--budget", budget]
        return run("search", *own, "--workers", 1, "--format", "json", *arguments)

    return go


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is over, with a failed and an infeasible trial in it, for commands that only read."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "plugin.py").write_text(PLUGIN)
    names = {"space": "space", "evaluator": "fails_at_times", "controller": "InOrder"}  # which asks what is infeasible
    arguments = [part for option, name in names.items() for part in (f"--{option}", f"{folder}/plugin.py:{name}")]
    limit = ["--max-params", 37_500]
    assert run("search", *arguments, "--budget", 12, "--workers", 1, "--out", folder / "run", *limit).code == 0
    states = set(TrialStore.open(folder / "run").frame()["state"])
    assert states == {"complete", "failed", "infeasible"}
    return folder / "run"


# nas plan ---------------------------------------------------------------------------------------------------------


SMALL_PROXY = ["--image-size", 8, "--epochs", 1, "--minival", 3000, "--device", "cpu"]


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Two threads that wait for each other are many times slower where the cores are busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
def test_a_plan_times_candidates_and_leaves_no_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    common = ["plan", *SMALL_PROXY, "--workers", 1, "--budget", 20, "--confirm", 2]
    outcome = run(*common, "--format", "json")
    made = outcome.data
    assert (made["forecast"]["candidates"], made["forecast"]["confirming"]) == (20, 4)
    assert len(made["timed"]) == 5
    assert all(one["seconds"] > 0 and one["step_s"] > 0 and one["failure"] is None for one in made["timed"])
    expected = made["forecast"]["wall_s"]
    assert 0 < expected["low"] < expected["expected"] < expected["high"]
    assert expected["expected"] > 24 * min(one["seconds"] for one in made["timed"])
    assert outcome.err.count("timed: ") == 5
    assert made["forecast"]["pack_bytes"] == sum(f.stat().st_size for f in tmp_path.glob("cache/packs/*/*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]
    table = run(*common, "--quiet")
    assert (table.code, table.err) == (0, "")
    assert re.search(r"^20 candidates and 4 trainings more, 1 at a time +\d+ (s|min) ", table.out, re.MULTILINE)
    assert re.search(r"^the run's folder +[\d.]+ kB ", table.out, re.MULTILINE)
    rows = list(csv.DictReader(io.StringIO(run(*common, "--format", "csv").out)))
    assert [row["unit"] for row in rows] == ["s", "s", "s", "s", "h", "bytes", "bytes"]
    assert float(rows[3]["expected"]) == pytest.approx(24 * 0.053)


def test_candidates_that_workers_would_train_side_by_side_are_timed_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    made = run("plan", *SMALL_PROXY, "--workers", 2, "--format", "json").data
    assert len(made["timed"]) == 5
    assert all(one["seconds"] > 0 for one in made["timed"])
    assert made["forecast"]["workers"] == 2
    assert made["forecast"]["start_s"][0] > 0


def test_a_plan_of_a_users_evaluator_and_of_records(search: Callable[..., Said], plugin: Path) -> None:
    own = ["plan", "--space", f"{plugin}:space", "--workers", 1, "--budget", 1000, "--format", "json"]
    outcome = run(*own, "--evaluator", f"{plugin}:evaluate", "--controller", f"{plugin}:InOrder")
    assert outcome.data["forecast"]["candidates"] == 30, "the space has no more"
    assert outcome.data["forecast"]["pack_bytes"] is None
    assert "InOrder takes to propose is not known" in outcome.err
    failing = run(*own, "--evaluator", f"{plugin}:fails")
    assert failing.code == 1
    assert json.loads(failing.out)["forecast"] is None
    assert failing.err.count("(error): KeyError: 'no good'") == 5
    assert search("--out", "all", budget=30).code == 0
    TrialStore.open(Path("all")).frame()[["architecture", "accuracy", "step_time"]].to_csv("table.csv", index=False)
    table = run(*own, "--evaluator", "table:table.csv")
    assert 0 < table.data["forecast"]["candidate_s"]["expected"] < 1
    told = run("search", *own[1:], "--budget", 20, "--evaluator", "table:table.csv", "--out", "run")
    (made,) = [row for row in told.data["forecasts"] if row["basis"] == "from answers of the records"]
    assert made["error"] == pytest.approx(made["took_s"] / made["wall_s"]["expected"] - 1)
    lines = [line for line in told.err.splitlines() if line.startswith("forecast from answers of the records: ")]
    assert len(lines) == 2, "before and after"
    assert re.search(r", took \d+ s \(", lines[1])
    assert not run("resume", "run", "--format", "json").data["forecasts"], "nothing is left"


def test_bad_input_to_a_plan_is_one_clear_line(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("plan", "--data", "nowhere").error == run("search", "--data", "nowhere", "--out", "x").error
    assert "torch finds no CUDA device here" in run("plan", "--device", "cuda", "--workers", 1).error
    own = ["--space", f"{plugin}:space", "--evaluator", f"{plugin}:evaluate", "--workers", 1]
    assert "raise the limits" in run("plan", *own, "--max-params", 1).error
    free = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: free)
    assert "has 1 kB left" in run("plan", *own, "--out", "elsewhere/run").err


# nas search -------------------------------------------------------------------------------------------------------


def test_search_ends_with_one_json_object_on_stdout(search: Callable[..., Said]) -> None:
    outcome = search("--out", "run")
    found = outcome.data
    assert found["run"] == "run"
    assert found["trials"] == found["complete"] == 5
    assert found["failed"] == found["repeat"] == found["infeasible"] == 0
    frame = TrialStore.open(Path("run")).frame()
    best = frame.loc[frame["reward"].idxmax()]
    assert found["best"].keys() >= {"architecture", "reward", "accuracy", "step_time", "params"}
    assert found["best"].pop("trainings") == 1
    for name, value in found["best"].items():
        assert value == best[name]
    expected = REWARDS["training-aware"](
        best["accuracy"], best["step_time"], best["params"] / cost_of_anchor().params, w=-0.07, v=-0.05
    )
    assert found["best"]["reward"] == pytest.approx(expected, rel=1e-12)
    assert "run run: 5 candidates of 30 in space thirty" in outcome.err
    assert "an evaluator chatters" in outcome.err
    assert "nas trials run" in outcome.err


def cost_of_anchor() -> Any:
    backbone = Architecture.parse(
        "stem_c8-mbconv_k3_s2_e4_c8_n1-mbconv_k3_s2_e4_c16_n1_se0.25-head_c32",
    )
    return cost(backbone, 128)


def test_search_prints_for_people_unless_asked_for_data(search: Callable[..., Said]) -> None:
    table = search("--out", "a", "--format", "table")
    assert table.code == 0
    assert table.out.startswith("5 candidates evaluated, 0 failed; results in a\nbest:\n")
    assert re.search(r"^  reward +0\.\d{4}$", table.out, re.MULTILINE)
    comma = search("--out", "b", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(comma.out))
    assert float(row["reward"]) == search("--out", "c").data["best"]["reward"]
    quiet = search("--out", "d", "--quiet", "--format", "json")
    assert quiet.data["trials"] == 5
    assert set(quiet.err.splitlines()) <= {"an evaluator chatters", "a plug-in says hello"}


def test_default_run_folder_is_named_by_date_space_and_controller(search: Callable[..., Said], plugin: Path) -> None:
    days = {datetime.date.today().isoformat()}
    folders = [search(budget=1).data["run"] for _ in range(3)]
    folders.append(search("--controller", f"{plugin}:InOrder", budget=1).data["run"])
    folders.append(search("--space", "small", budget=1).data["run"])
    days.add(datetime.date.today().isoformat())
    names = ("space-predictor", "space-predictor-2", "space-predictor-3", "space-InOrder", "small-predictor")
    for folder, name in zip(folders, names, strict=True):
        assert folder in {f"runs/{day}-{name}" for day in days}
        assert (Path(folder) / "run.json").exists()


def test_a_space_a_controller_an_evaluator_and_a_reward_from_a_file(plugin: Path) -> None:
    names = {"space": "space", "controller": "InOrder", "evaluator": "evaluate", "reward": "squared"}
    options = [part for option, name in names.items() for part in (f"--{option}", f"plugin.py:{name}")]
    common = ["--workers", 1, "--budget", 4, "--seed", 7, "--format", "json"]
    found = run("search", *options, *common, "--out", "run").data
    frame = TrialStore.open(Path("run")).frame()
    assert frame["reward"].tolist() == [a**2 for a in frame["accuracy"]]
    assert set(frame["space"]) == {"thirty"}
    in_order = run("search", *options, *common, "--out", "next", "--seed", 8).data
    assert in_order["trials"] == 4
    assert TrialStore.open(Path("next")).frame()["architecture"].tolist()[:3] == frame["architecture"].tolist()[1:]
    weighted = run("search", *options, *common, "--out", "other", "--reward-weights", "power=3").data
    assert weighted["best"]["reward"] == pytest.approx(found["best"]["reward"] ** 1.5)


def test_a_table_answers_and_a_changed_table_is_another_search(plugin: Path) -> None:
    controller = ["--space", f"{plugin}:space", "--controller", "random", "--workers", 1, "--format", "json"]
    assert run("search", *controller, "--evaluator", f"{plugin}:evaluate", "--budget", 30, "--out", "all").code == 0
    frame = TrialStore.open(Path("all")).frame()
    rows = frame[["architecture", "accuracy", "step_time"]]
    rows.iloc[1:].to_csv("table.csv", index=False)  # the first candidate is not in it
    found = run("search", *controller, "--evaluator", "table:table.csv", "--budget", 6, "--out", "run").data
    assert (found["trials"], found["failed"]) == (6, 1)
    got = TrialStore.open(Path("run")).frame()
    assert got["accuracy"].tolist()[1:] == frame["accuracy"].tolist()[1:6]
    assert "does not hold" in got["reason"][0]
    Path("elsewhere").mkdir()
    assert run("resume", "run", "--budget", 7, "--format", "json").data["trials"] == 7
    rows.iloc[2:].to_csv("table.csv", index=False)
    assert "task.table: the run has " in " ".join(run("resume", "run").err.split())


def test_a_table_by_genotype_answers_with_the_row_that_the_seed_draws(plugin: Path) -> None:
    genotypes = [[k, e, s, n] for k in range(2) for e in range(3) for s in range(2) for n in (1, 2)]
    rows = [(g, 0.5 + sum(g) / 20 + seed / 1000) for g in genotypes for seed in range(3)]
    pd.DataFrame(rows, columns=["genotype", "accuracy"]).to_parquet("table.parquet")
    options = ["--space", f"{plugin}:space", "--reward", "accuracy", "--workers", 1, "--format", "json"]
    arguments = [*options, "--evaluator", "table:table.parquet", "--budget", 30, "--confirm", 2]
    found = run("search", *arguments, "--out", "run").data
    frame = TrialStore.open(Path("run")).frame()
    thousandths = (frame["accuracy"].dropna() * 1000).round().astype(int) % 50
    assert set(thousandths) == {0, 1, 2}, "rows of all three"
    assert (found["complete"], found["failed"]) == (24 + 4, 6), "networks without the second stage have no row"
    assert [row["trainings"] for row in found["confirmed"]] == [3, 3]


def test_a_surrogate_answers_for_networks_that_nobody_trained(search: Callable[..., Said], plugin: Path) -> None:
    assert search("--out", "all", budget=30).data["complete"] == 30
    options = ["--space", f"{plugin}:space", "--format", "json"]
    outcome = run("search", *options, "--evaluator", "surrogate:all", "--budget", 8, "--out", "run")
    assert outcome.data["complete"] == 8
    assert "the surrogate ranks held-out networks at Kendall tau" in outcome.err
    assert "1 at a time, in this process" in outcome.err, "records answer faster than another process is asked"
    again = run("resume", "run", "--budget", 9, "--confirm", 1, "--format", "json")
    assert again.data["complete"] == 9 + 2
    assert "--confirm: these records answer the same whenever they are asked" in again.err
    frame = TrialStore.open(Path("run")).frame()
    assert frame["step_time"].notna().all()
    assert frame["params"].notna().all()


def test_a_limit_of_step_time_keeps_slow_networks_from_training(search: Callable[..., Said], plugin: Path) -> None:
    assert search("--out", "all", budget=30).code == 0
    rows = TrialStore.open(Path("all")).frame()[["architecture", "accuracy", "step_time"]]
    rows.to_csv("table.csv", index=False)
    options = ["--space", f"{plugin}:space", "--workers", 1, "--format", "json", "--max-step-time", 1.4]
    found = run("search", *options, "--evaluator", "table:table.csv", "--budget", 30, "--out", "run").data
    assert found["complete"] == (rows["step_time"] <= 1.4).sum() < 30
    assert run("search", *options, "--evaluator", f"{plugin}:evaluate", "--out", "no").error.startswith(
        "error: a limit of step_time needs an evaluator that tells it before training"
    )


def test_the_proxy_expects_step_times_from_blocks_timed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from trainers import calibration

    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(calibration, "NETWORKS_A_BLOCK", 1)
    timed = []
    time_blocks = calibration.time_blocks

    def counted(*arguments: Any) -> Any:
        timed.append(1)
        return time_blocks(*arguments)

    monkeypatch.setattr(calibration, "time_blocks", counted)
    options = ["--image-size", 8, "--epochs", 1, "--minival", 3000, "--max-step-time", 0.8, "--workers", 1]
    outcome = run("search", *options, "--budget", 2, "--out", "run", "--format", "json")
    assert outcome.data["trials"] == 2
    assert re.search(r"step times are expected from \d+ blocks timed on ", outcome.err)
    assert timed
    timed.clear()
    shutil.rmtree(tmp_path / "cache" / "calibrations")
    assert run("resume", "run", "--budget", 3, "--format", "json").data["trials"] == 3
    assert not timed, "the calibration is the run's"
    frame = TrialStore.open(Path("run")).frame()
    assert all(len(features) == 5 for features in frame["features"])
    complete = frame[frame["state"] == "complete"]
    assert all(math.exp(features[4]) <= 0.8 for features in complete["features"])


def test_the_first_candidates_are_chosen_among_many_untrained_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainers.proxy import ProxyTask
    from trainers.timing import StepTime

    scored: list[Architecture] = []
    zero_cost = ProxyTask.zero_cost

    def noted(task: ProxyTask, architecture: Architecture, **options: Any) -> dict[str, float]:
        scored.append(architecture)
        return zero_cost(task, architecture, **options)

    monkeypatch.setattr(ProxyTask, "zero_cost", noted)
    monkeypatch.setattr(ProxyTask, "time_step", lambda task, architecture: StepTime(1.0, 1.0, 1.0, 1.0, 1.0))
    monkeypatch.setattr("nas.screening.screen.__kwdefaults__", {"scored": 20, "first": 3})
    options = ["--image-size", 8, "--epochs", 1, "--minival", 3000, "--workers", 1, "--zero-cost"]
    outcome = run("search", *options, "--budget", 2, "--out", "run", "--format", "json")
    assert outcome.data["trials"] == 2
    assert "20 networks were scored untrained in" in outcome.err
    assert "of trainings of 7 steps untrained scores tell next to nothing" in outcome.err
    assert len(scored) == 20 + 2  # and each candidate once more, for its row
    assert run("resume", "run", "--budget", 4, "--format", "json").data["trials"] == 4
    assert len(scored) == 20 + 4, "the first draw is the run's"
    frame = TrialStore.open(Path("run")).frame()
    assert frame["arm"].tolist() == ["screened"] * 3 + ["controller"]
    assert frame["snip"].notna().all()
    assert set(frame["architecture"][:3]) <= set(map(str, scored[:20]))


def test_scores_are_asked_of_evaluators_that_have_them(search: Callable[..., Said]) -> None:
    assert "--zero-cost needs an evaluator that scores untrained networks" in search("--zero-cost", "--out", "a").error
    assert not Path("a").exists()


def test_the_random_arm_is_compared_and_leaders_are_confirmed(search: Callable[..., Said]) -> None:
    found = search("--out", "run", "--random-arm", 0.3, "--confirm", 2, budget=20).data
    assert found["random_arm"].keys() == {"probability", "low", "high", "controller", "random", "verdict"}
    assert found["trials"] == 20
    assert found["complete"] == 24
    assert [row["trainings"] for row in found["confirmed"]] == [3, 3]
    assert found["best"]["number"] == found["confirmed"][0]["number"]
    assert found["best"]["reward"] == found["confirmed"][0]["reward"]
    named = run("describe", "run", "--format", "json").data["architecture"]
    assert named == found["best"]["architecture"], "what is told is what is taken from the run"
    text = run("resume", "run", "--confirm", 3).out
    assert "a network of the controller has a higher reward than a random one with probability 0." in text
    assert "leaders trained again, by their mean reward" in text
    assert "hypervolume of the front in accuracy, step_time, params: 0." in text


def test_a_controller_of_objectives_goes_on_without_one_and_is_resumed(plugin: Path) -> None:
    untimed = "def untimed(architecture, seed):\n    return Measurement(accuracy=share(architecture))\n"
    plugin.write_text(f"{plugin.read_text()}\n\n{untimed}")
    options = ["--space", f"{plugin}:space", "--evaluator", f"{plugin}:untimed", "--workers", 1, "--reward", "accuracy"]
    outcome = run("search", *options, "--controller", "optuna:nsga2", "--budget", 6, "--out", "run")
    assert outcome.code == 0
    assert "no front is kept: not all of accuracy, step_time, params were measured" in outcome.out
    assert run("resume", "run", "--budget", 8, "--format", "json").data["complete"] == 8


def test_an_accuracy_in_per_cent_is_said(plugin: Path) -> None:
    plugin.write_text(
        plugin.read_text() + "\n\ndef per_cent(architecture, seed):\n    return Measurement(accuracy=92.5)\n"
    )
    options = ["--space", f"{plugin}:space", "--evaluator", f"{plugin}:per_cent", "--workers", 1, "--out", "run"]
    outcome = run("search", *options, "--budget", 12)
    assert outcome.code == 1
    assert "an accuracy must be a fraction, from 0 to 1; got 92.5" in outcome.err


def test_what_cannot_be_told_yet_or_gone_on_with_is_said(search: Callable[..., Said], plugin: Path) -> None:
    options = ["--space", f"{plugin}:space", "--evaluator", f"{plugin}:evaluate", "--workers", 1, "--out", "run"]
    assert (
        "whether the controller beats chance cannot be told yet"
        in run("search", *options, "--budget", 3, "--random-arm", 0.1).out
    )
    over = search("--out", "all", budget=31).err
    assert "stopped early: the controller has nothing more to propose: the space is exhausted" in over
    assert "go on with" not in over


def test_pareto_takes_the_objectives_of_the_run(search: Callable[..., Said]) -> None:
    assert search("--out", "run", "--objectives", "accuracy, macs", budget=10).data["hypervolume"] > 0
    fronts = [
        [json.loads(line)["number"] for line in run("pareto", "run", "--format", "json", *more).out.splitlines()]
        for more in ([], ["--objectives", "accuracy,macs"])
    ]
    assert fronts[0] == fronts[1]
    assert search("--out", "no", "--objectives", "accuracy,speed").error.startswith(
        "error: objectives must be among accuracy, step_time, params, macs, activations, latency, peak_memory; "
        "got accuracy, speed"
    )


def test_a_search_is_mirrored_into_optuna(search: Callable[..., Said]) -> None:
    import optuna

    assert search("--out", "run", "--optuna-storage", "journal.log", budget=6).code == 0
    more = ["--optuna-storage", "journal.log", "--format", "json"]
    assert run("resume", "run", "--budget", 7, "--format", "json").code == 0, "it is not kept"
    assert run("resume", "run", "--budget", 8, *more).code == 0
    backend = optuna.storages.journal.JournalFileBackend("journal.log")
    study = optuna.load_study(study_name="run", storage=optuna.storages.JournalStorage(backend))
    frame = TrialStore.open(Path("run")).frame()
    assert [t.user_attrs["architecture"] for t in study.trials] == frame["architecture"].tolist()
    assert [t.value for t in study.trials] == frame["reward"].tolist()
    assert search("--out", "no", "--optuna-storage", "nosuch://x").error
    assert not Path("no").exists()


def test_optunas_gaussian_process_comes_with_a_warning(search: Callable[..., Said]) -> None:
    outcome = search("--out", "run", "--controller", "optuna:gp", budget=2)
    assert outcome.code == 0
    assert "Optuna's Gaussian process takes seconds a proposal" in outcome.err


def test_a_run_folder_may_have_a_colon_in_its_name(search: Callable[..., Said]) -> None:
    # which a relative path is taken for a URI for by pyarrow
    assert search("--out", "tpe:run", "--controller", "optuna:tpe", budget=3).data["trials"] == 3
    assert run("resume", "tpe:run", "--budget", 4, "--format", "json").data["trials"] == 4
    assert len(TrialStore.open(Path("tpe:run")).frame()) == 4


def test_a_controller_asks_nothing_that_is_over_a_limit(search: Callable[..., Said]) -> None:
    found = search("--out", "run", "--max-params", 36_000, budget=8).data
    assert (found["trials"], found["infeasible"]) == (8, 0)
    assert TrialStore.open(Path("run")).frame()["params"].max() <= 36_000


def test_weights_and_limits_are_heeded(search: Callable[..., Said], plugin: Path) -> None:
    options = ["--reward-weights", "w=0,v=0", "--max-params", 36_000, "--controller", f"{plugin}:InOrder"]
    found = search("--out", "run", *options, budget=8).data
    frame = TrialStore.open(Path("run")).frame()
    complete = frame[frame["state"] == "complete"]
    assert len(complete) == found["trials"] == 8
    assert complete["reward"].tolist() == complete["accuracy"].tolist()
    assert complete["params"].max() <= 36_000
    assert found["infeasible"] == (frame["state"] == "infeasible").sum() > 0
    assert frame.loc[frame["state"] == "infeasible", "reason"].str.contains("over the limit of 36000").all()


def test_a_search_whose_candidates_all_fail_stops_after_ten_and_says_so(search: Callable[..., Said]) -> None:
    outcome = search("--out", "run", evaluator="fails", budget=25)
    assert outcome.code == 1
    found = json.loads(outcome.out)
    assert (found["trials"], found["failed"], found["best"]) == (10, 10, None)
    assert "stopped early: 10 candidates in a row failed the same way (error: KeyError: 'no good')" in outcome.err
    assert "nas resume run" in outcome.err
    again = run("resume", "run", "--format", "json")
    assert again.code == 1
    assert json.loads(again.out)["trials"] == 20  # resumed, it tries ten more


def test_a_search_goes_on_past_failures(search: Callable[..., Said]) -> None:
    outcome = search("--out", "run", evaluator="fails_at_times", budget=12)
    assert outcome.data["complete"] + outcome.data["failed"] == 12
    assert outcome.data["failed"] > 0
    assert f"12/12 {outcome.data['failed']} failed" in outcome.err


def test_a_candidate_that_takes_too_long_has_failed(
    search: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALUATION_S", "60")
    outcome = search("--out", "run", "--trial-timeout", 0.1, evaluator="slow", budget=2)
    assert outcome.code == 1
    assert set(TrialStore.open(Path("run")).frame()["failure"]) == {"timeout"}


# Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--space", "smal"], "space must be one of small, .* got 'smal'. Did you mean small"),
        (["--controller", "randm"], "controller must be one of random, .* got 'randm'. Did you mean random"),
        (["--reward", "training"], "reward must be one of training-aware, .* got 'training'"),
        (["--evaluator", "proxi"], "evaluator must be one of proxy, table:FILE, .* Did you mean proxy"),
        (["--evaluator", "proxy", "--data", "mnist"], "data must be a registered name, .* did you mean mnist5k"),
        (["--evaluator", "proxy", "--device", "gpu"], "device must be auto, cpu or cuda; got 'gpu'"),
        (["--evaluator", "nofile.py:evaluate"], "there is no file .*nofile.py"),
        (["--evaluator", "plugin.py:evaluat"], "has no 'evaluat'; it has .*evaluate"),
        (["--evaluator", "broken.py:evaluate"], "broken.py cannot be loaded: SyntaxError"),
        (["--evaluator", "table:nofile.csv"], "a table must be .* that exists"),
        (["--evaluator", "plugin.py:NUMBER"], r"must be callable with \(architecture, seed\); got 5"),
        (["--evaluator", "plugin.py:of_one_argument"], r"must be callable with \(architecture, seed\); it takes"),
        (["--controller", "plugin.py:evaluate"], r"must be callable with \(space, features, seed\); it takes"),
        (["--space", "plugin.py:evaluate"], "must be a SearchSpace; got function"),
        (["--reward", "plugin.py:evaluate"], "positional arguments must be among accuracy, .* got architecture, seed"),
        (["--reward-weights", "w"], "reward weights must read name=number,name=number; got 'w'"),
        (["--reward-weights", "w=-0.07,v"], "must read .* got 'v'"),
        (["--reward-weights", "w=low"], "must read .* got 'w=low'"),
        (["--reward-weights", "w=nan"], "must read .* got 'w=nan'"),
        (["--reward-weights", "u=1"], "this reward has the weights w, v; got u"),
        (["--max-params", "-1"], "the limit of params must be positive and finite; got -1"),
        (["--gpus-per-trial", "0.5"], "this machine has none .* leave --gpus-per-trial out"),
        (["--gpus-per-trial", "-1"], "gpus_per_trial must be .* got -1"),
        (["--seed", "-1"], "seed must be at least 0; got -1"),
        (["--random-arm", "1"], "random_arm must be a share of the proposals, from 0 to under 1; got 1.0"),
        (["--objectives", "accuracy,size"], "objectives must be among accuracy, .*; got accuracy, size"),
        (["--address", "auto"], "workers must be given with the address"),
        (["--scheduler", "hyperband"], "scheduler must be among none, asha; got hyperband"),
        (["--scheduler", "asha", "--reduction-factor", "1"], "reduction_factor must be .* at least 1.1; got 1.0"),
        (["--scheduler", "asha", "--reduction-factor", "nan"], "reduction_factor must be .* at least 1.1; got nan"),
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_nothing_behind(
    arguments: list[str], expected: str, plugin: Path
) -> None:
    Path("broken.py").write_text("def")
    begun = time.monotonic()
    own = [] if "--evaluator" in arguments else ["--evaluator", "plugin.py:evaluate"]
    workers = [] if "--address" in arguments else ["--workers", 2]
    assert re.search(expected, run("search", *own, *workers, *arguments, "--out", "run").error)
    assert not Path("run").exists()
    assert time.monotonic() - begun < 20  # said at once, not after Ray has started or a hang


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "--budget", "0"],
        ["search", "--budget", "many"],
        ["search", "--workers", "0"],
        ["search", "--epochs", "0"],
        ["search", "--trial-timeout", "0"],
        ["search", "--format", "xml"],
        ["search", "--no-such-option"],
        ["resume"],
        ["resume", "run", "--budget", "0"],
        ["trials", "run", "--top", "0"],
        ["describe", "efficientnetv2-s", "--image-size", "0"],
        ["no-such-command"],
    ],
)
def test_misused_options_exit_with_2_and_name_the_option(arguments: list[str]) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Usage: nas" in outcome.err
    assert next((a for a in arguments if a.startswith("--") or a == "no-such-command"), "RUN") in outcome.err
    assert not Path("runs").exists()


def test_a_run_folder_that_holds_something_is_left_alone(search: Callable[..., Said]) -> None:
    assert search("--out", "run").code == 0
    before = Path("run/journal.jsonl").read_bytes()
    assert "go on with `nas resume run`, or name another" in search("--out", "run").error
    assert Path("run/journal.jsonl").read_bytes() == before
    Path("other").mkdir()
    Path("other/letter.txt").write_text("dear reader")
    assert "it holds something: empty it, or name another" in search("--out", "other").error
    assert [path.name for path in Path("other").iterdir()] == ["letter.txt"]
    Path("empty").mkdir()
    assert search("--out", "empty").data["run"] == "empty"


@pytest.mark.parametrize("command", ["trials", "pareto", "resume"])
def test_a_folder_that_is_no_run_is_said_so(command: str) -> None:
    assert "nowhere holds no run (there is no run.json in it)" in run(command, "nowhere").error


@pytest.mark.parametrize(
    ("text", "expected"),
    [("w=-0.07,v=-0.05", {"w": -0.07, "v": -0.05}), ("", {}), (" w = 1,", {"w": 1.0}), ("w=1e-3", {"w": 0.001})],
)
def test_weights_are_parsed(text: str, expected: dict[str, float]) -> None:
    assert parse_weights(text) == expected


# nas resume -------------------------------------------------------------------------------------------------------


def test_resume_with_another_seed_space_or_controller_lists_what_differs(
    search: Callable[..., Said], plugin: Path
) -> None:
    assert search("--out", "run").code == 0
    before = Path("run/journal.jsonl").read_bytes()
    changes = ["--seed", 3, "--space", "small", "--controller", f"{plugin}:InOrder"]
    outcome = run("resume", "run", *changes, "--budget", 9)
    assert outcome.code == 1
    first, *fields = [line for line in outcome.err.splitlines() if "hello" not in line]
    assert first == "error: a resumed search must be the search it was; these fields differ:"
    named = {line.strip().partition(":")[0] for line in fields}
    assert {"seed", "controller", "sources.controller", "image_size"} <= named
    assert any(name.startswith("space.") for name in named)
    assert "  seed: the run has 0, this is 3" in fields
    assert Path("run/journal.jsonl").read_bytes() == before
    (only,) = [line for line in run("resume", "run", "--seed", 3).err.splitlines() if line.startswith("  ")]
    assert only == "  seed: the run has 0, this is 3"
    same = ["--seed", 0, "--space", f"{plugin}:space", "--controller", "predictor"]
    assert run("resume", "run", *same, "--format", "json").data["trials"] == 5


def test_resume_with_a_changed_plug_in_file_says_which(search: Callable[..., Said], plugin: Path) -> None:
    assert search("--out", "run").code == 0
    with plugin.open("a") as file:
        file.write("# changed\n")
    outcome = run("resume", "run", "--budget", 9)
    assert outcome.code == 1
    assert "sources.evaluator: the run has " in outcome.err
    assert len(TrialStore.open(Path("run")).trials) == 5


def test_resume_with_a_raised_budget_goes_on_where_it_was(search: Callable[..., Said]) -> None:
    assert search("--out", "long", budget=9).code == 0
    assert search("--out", "run", budget=4).code == 0
    outcome = run("resume", "run", "--budget", 9, "--format", "json")
    assert outcome.data["trials"] == 9
    assert "4 candidates are done" in outcome.err
    columns = ["number", "architecture", "state", "reward", "seed", "attempt"]
    long, grown = (TrialStore.open(Path(name)).frame()[columns] for name in ("long", "run"))
    pd.testing.assert_frame_equal(long, grown)
    assert run("resume", "run", "--format", "json").data["trials"] == 9  # the new budget is the run's now


def test_resume_of_a_finished_run_says_there_is_nothing_to_do(search: Callable[..., Said]) -> None:
    first = search("--out", "run").data
    Path("run/trials.parquet").unlink()
    outcome = run("resume", "run", "--workers", 2, "--format", "json")  # two, and Ray is not started
    assert "nothing to do: 5 of 5 candidates are done; --budget asks for more" in outcome.err
    assert outcome.data == first
    assert "chatters" not in outcome.err
    assert len(pd.read_parquet("run/trials.parquet")) == 5


def test_resume_from_another_folder_finds_the_plug_ins(
    plugin: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    relative = ["--space", "plugin.py:space", "--evaluator", "plugin.py:evaluate"]
    assert run("search", *relative, "--budget", 2, "--workers", 1, "--out", "run").code == 0
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert run("resume", "../run", "--budget", 3, "--format", "json").data["trials"] == 3


def test_resume_of_a_run_that_another_process_writes_is_refused(search: Callable[..., Said]) -> None:
    assert search("--out", "run").code == 0
    store = TrialStore.open(Path("run"), writing=True)
    try:
        assert "another process is writing this run" in run("resume", "run", "--budget", 9).error
        assert run("trials", "run", "--format", "csv").out.count("\n") == 6  # to read it is allowed
    finally:
        store.close()
    assert run("resume", "run", "--budget", 6, "--format", "json").data["trials"] == 6


# nas trials and nas pareto ----------------------------------------------------------------------------------------


def test_trials_prints_an_object_a_line(finished: Path) -> None:
    outcome = run("trials", finished, "--format", "json")
    assert (outcome.code, outcome.err) == (0, "")
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    frame = TrialStore.open(finished).frame()
    assert [row["number"] for row in rows] == list(range(len(frame)))
    for row, (_, expected) in zip(rows, frame.iterrows(), strict=True):
        assert row.keys() == set(frame.columns)
        assert row["architecture"] == expected["architecture"]
        assert row["genotype"] == list(expected["genotype"])
        assert (row["reward"] is None) == (row["state"] != "complete")
        if row["state"] == "complete":
            assert row["reward"] == expected["reward"]
            assert row["params"] == int(expected["params"])


def test_trials_as_csv_can_be_read_back(finished: Path) -> None:
    outcome = run("trials", finished, "--format", "csv")
    assert (outcome.code, outcome.err) == (0, "")
    read, frame = pd.read_csv(io.StringIO(outcome.out)), TrialStore.open(finished).frame()
    assert list(read.columns) == list(frame.columns)
    assert read["reward"].equals(frame["reward"])
    assert [json.loads(text) for text in read["features"]] == [list(row) for row in frame["features"]]
    assert [json.loads(text) for text in read["genotype"]] == [list(row) for row in frame["genotype"]]


def test_trials_as_a_table_shows_every_trial_whole(finished: Path) -> None:
    outcome = run("trials", finished)
    assert (outcome.code, outcome.err) == (0, "")
    head, *rows = outcome.out.splitlines()
    assert head.split()[:4] == ["number", "state", "reward", "accuracy"]
    frame = TrialStore.open(finished).frame()
    assert len(rows) == len(frame)
    assert all(text in row for text, row in zip(frame["architecture"], rows, strict=True))
    assert all("'no [/good]'" in row for row in rows if " failed " in row)


def test_top_keeps_the_trials_of_the_highest_rewards(finished: Path) -> None:
    rewards = TrialStore.open(finished).frame()["reward"].dropna().sort_values(ascending=False).tolist()
    for count in (1, 3, 1000):
        rows = [
            json.loads(line) for line in run("trials", finished, "--top", count, "--format", "json").out.splitlines()
        ]
        assert [row["reward"] for row in rows] == rewards[:count]


def test_pareto_prints_what_nothing_dominates(finished: Path) -> None:
    frame = TrialStore.open(finished).frame().query("state == 'complete'")
    points = [(-row.accuracy, row.step_time, row.params) for row in frame.itertuples()]
    front = {
        text
        for text, point in zip(frame["architecture"], points, strict=True)
        if not any(other != point and all(a <= b for a, b in zip(other, point, strict=True)) for other in points)
    }
    outcome = run("pareto", finished, "--format", "json")
    assert outcome.code == 0
    assert outcome.err.startswith(
        f"{len(front)} of {len(frame)} networks are beaten by none in accuracy, step_time, params"
    )
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    assert {row["architecture"] for row in rows} == front
    assert 1 <= len(front) < len(frame)
    (best,) = [
        json.loads(line)
        for line in run("pareto", finished, "--objectives", "accuracy", "--format", "json").out.splitlines()
    ]
    assert best["accuracy"] == frame["accuracy"].max()
    assert "objectives must be among" in run("pareto", finished, "--objectives", "accuracy,beauty").error


# nas correct ------------------------------------------------------------------------------------------------------


@pytest.fixture
def longer(finished: Path) -> pd.DataFrame:
    """The networks of a run, and trainings that tell how unfair the run's own were to small ones."""
    frame = TrialStore.open(finished).frame()
    table = frame.loc[frame["state"] == "complete", ["architecture", "accuracy", "params", "macs"]]
    table = pd.concat([table] * 3, ignore_index=True)
    table["architecture"] += [f" {number}" for number in range(len(table))]
    table["params"] = table["params"].astype(float) * np.linspace(0.5, 2, len(table))
    return table.assign(reference_accuracy=table["accuracy"] / 2 - 0.2 * np.log(table["params"]) + 2.5)


def test_a_correction_is_fitted_kept_and_shown_beside_the_raw_accuracy(finished: Path, longer: pd.DataFrame) -> None:
    longer.to_csv("longer.csv", index=False)
    fitted = run("correct", "longer.csv", "--out", "mine.json", "--format", "json").data
    assert fitted["helps"]
    assert fitted["tau_corrected"] > fitted["tau_raw"]
    assert set(fitted["coefficients"]) == {"params", "macs"}
    plain = run("trials", finished, "--format", "csv").out
    shown = run("trials", finished, "--format", "csv", "--correction", "mine.json")
    frame = pd.read_csv(io.StringIO(shown.out))
    assert "it is used" in shown.err
    pd.testing.assert_frame_equal(frame.drop(columns="accuracy_corrected"), pd.read_csv(io.StringIO(plain)))
    complete = frame[frame["state"] == "complete"]
    expected = complete["accuracy"] / 2 - 0.2 * np.log(complete["params"]) + 2.5
    assert complete["accuracy_corrected"].tolist() == pytest.approx(expected.tolist(), abs=0.02)
    assert frame.loc[frame["state"] == "failed", "accuracy_corrected"].isna().all()
    assert "accuracy_corrected" in run("trials", finished, "--correction", "mine.json").out
    front = run(
        "pareto", finished, "--correction", "mine.json", "--objectives", "accuracy_corrected", "--format", "json"
    )
    assert front.data["accuracy_corrected"] == pytest.approx(complete["accuracy_corrected"].max())


def test_a_correction_that_does_not_help_is_said_and_left_out(finished: Path, longer: pd.DataFrame) -> None:
    longer.assign(reference_accuracy=longer["accuracy"]).to_parquet("longer.parquet")
    told = run("correct", "longer.parquet")
    assert told.code == 0
    assert "it does not help, and is not used" in told.out
    shown = run("trials", finished, "--format", "csv", "--correction", "correction.json")
    assert "it does not help, and is not used" in shown.err
    assert shown.out == run("trials", finished, "--format", "csv").out


def test_a_run_whose_leaders_were_trained_again_corrects_itself(search: Callable[..., Said]) -> None:
    assert search("--out", "few", "--confirm", 2).code == 0
    assert "at least 10 networks that were trained longer; got 2" in run("correct", "few").error
    assert search("--out", "run", "--confirm", 12, evaluator="noisy", budget=20).code == 0
    fitted = run("correct", "run", "--format", "json").data
    assert fitted["networks"] == 12
    assert run("trials", "run", "--correction", fitted["file"]).code == 0


def test_a_correction_of_another_proxy_is_warned_of(finished: Path, longer: pd.DataFrame) -> None:
    known = TrialStore.open(finished).configuration["identity"]
    audit = Path("audit")
    audit.mkdir()
    longer.to_csv(audit / "networks.csv", index=False)
    unknown = run("correct", audit / "networks.csv", "--out", "unknown.json")
    assert "which proxy the accuracies come from is not known" in unknown.err
    assert "is not known" in run("trials", finished, "--correction", "unknown.json").err
    shutil.copytree(finished, audit / "proxy")
    assert run("correct", audit / "networks.csv", "--out", "same.json").err == ""
    assert "warning" not in run("trials", finished, "--correction", "same.json").err
    options = json.loads((audit / "proxy" / "run.json").read_text())
    options["configuration"]["identity"] = {**known, "image_size": 77, "controller": "other"}
    (audit / "proxy" / "run.json").write_text(json.dumps(options))
    assert run("correct", audit / "networks.csv", "--out", "other.json", "--run", finished).err == ""
    assert "warning" not in run("pareto", finished, "--correction", "other.json").err, "as the option says"
    assert run("correct", audit / "networks.csv", "--out", "other.json").err == ""
    for command in ("trials", "pareto"):
        shown = run(command, finished, "--correction", "other.json")
        assert shown.code == 0
        assert "this correction was fitted to another proxy than the run's, and may be wrong of it" in shown.err
        assert f"image_size: the run has {known['image_size']}, this is 77" in shown.err
        assert "controller" not in shown.err, "who proposes decides nothing of what is measured"


def test_a_file_that_is_no_correction_is_one_clear_line(finished: Path) -> None:
    Path("no.json").write_text("{}")
    assert "must hold a correction" in run("trials", finished, "--correction", "no.json").error
    assert "none.json" in run("trials", finished, "--correction", "none.json").error
    assert "must be a .parquet or .csv file, or the folder of a run" in run("correct", "no.json").error


# nas describe -----------------------------------------------------------------------------------------------------


def test_describe_knows_the_cost_of_efficientnetv2_s() -> None:
    found = run("describe", "efficientnetv2-s", "--image-size", 384, "--format", "json").data
    assert (found["params"], found["macs"], found["activations"]) == (21_458_488, 8_365_653_344, 35_766_624)
    assert found["image_size"] == 384
    stages = found["stages"]
    assert [stage["layers"] for stage in stages] == [2, 4, 4, 6, 9, 15]
    assert [stage["channels"] for stage in stages] == [24, 48, 64, 128, 160, 256]
    assert [stage["output_size"] for stage in stages] == [192, 96, 48, 24, 24, 12]
    assert [stage["op"] for stage in stages] == ["fused_mbconv"] * 3 + ["mbconv"] * 3
    parts = [*stages, *(found[name] for name in ("stem", "head", "classifier"))]
    for name in ("params", "macs", "activations"):
        assert sum(part[name] for part in parts) == found[name]


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_describe_takes_every_published_name(name: str) -> None:
    found = run("describe", name, "--format", "json").data
    expected = cost(PUBLISHED[name], IMAGE_SIZES[name].eval)
    assert {k: found[k] for k in ("params", "macs", "activations")} == expected._asdict()
    assert found["image_size"] == IMAGE_SIZES[name].eval
    assert found["architecture"] == str(PUBLISHED[name])
    assert len(found["stages"]) == len(PUBLISHED[name].stages)


def test_describe_takes_a_text_a_file_of_json_and_a_file_of_text() -> None:
    backbone = SPACES["small"].backbone
    Path("network.json").write_text(json.dumps(backbone.to_json()))
    Path("network.txt").write_text(f"{backbone}\n")
    Path("name.txt").write_text("efficientnetv2-b0\n")
    shape = ["--image-size", 32, "--num-classes", 10, "--in-channels", 1, "--format", "json"]
    found = [run("describe", text, *shape).data for text in (backbone, "network.json", "network.txt")]
    assert found[0] == found[1] == found[2]
    expected = cost(backbone, 32, num_classes=10, in_channels=1)
    assert (found[0]["params"], found[0]["macs"]) == (expected.params, expected.macs)
    assert run("describe", "name.txt", "--format", "json").data["architecture"] == str(PUBLISHED["efficientnetv2-b0"])


def test_describe_as_table_and_csv() -> None:
    table = run("describe", "efficientnetv2-s", "--image-size", 384)
    assert table.code == 0
    head, *rows = table.out.partition("\n\n")[0].splitlines()
    assert head.split() == [
        "part", "op", "kernel", "stride", "expand_ratio", "se_ratio", "layers", "channels",
        "params", "macs", "activations", "output_size",
    ]  # fmt: skip
    assert [row.split()[0] for row in rows] == [
        "stem",
        *(f"stage{n}" for n in range(1, 7)),
        "head",
        "classifier",
        "total",
    ]
    assert "21,458,488" in rows[-1]
    assert "8,365,653,344" in rows[-1]
    assert "at 384 px" in table.err
    comma = pd.read_csv(io.StringIO(run("describe", "efficientnetv2-s", "--format", "csv").out))
    assert comma["macs"].sum() == 8_365_653_344


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("efficientnetv2-z", "got 'efficientnetv2-z'. did you mean efficientnetv2-"),
        ("efficientnet-b9", "did you mean efficientnet-b"),
        ("stem_c8-mbconv_k3_s1_e4_c8_n0-head_c32", "part 2"),
        ("stem_c8-mbconw_k3_s1_e4_c8_n1-head_c32", "must begin with mbconv_ or fused_mbconv_"),
        ("network.json", "must be a published name or an architecture text"),
    ],
)
def test_describe_says_where_a_typo_is(text: str, expected: str) -> None:
    assert expected in run("describe", text).error


def test_a_broken_json_file_is_one_clear_line() -> None:
    Path("network.json").write_text('{"stem_channels": 8')
    assert run("describe", "network.json").error


# Help and version -------------------------------------------------------------------------------------------------


def test_every_command_and_every_option_has_a_help_text() -> None:
    group: Any = typer.main.get_command(app)
    expected = {"search", "plan", "resume", "trials", "pareto", "compact", "watch"}
    expected |= {"describe", "scale", "export", "train", "evaluate", "recipes", "calibrate", "correct", "proxy"}
    expected |= {"compare", "report", "plot", "study"}
    assert set(group.commands) == expected
    lacking = [name for name, command in group.commands.items() if not command.help]
    for command in (group, *group.commands.values()):
        lacking += [f"{command.name} {parameter.name}" for parameter in command.params if not parameter.help]
    assert not lacking


@pytest.mark.parametrize(
    "command", [[], ["search"], ["plan"], ["resume"], ["trials"], ["pareto"], ["compare"], ["describe"]]
)
def test_help_is_printed_on_stdout(command: list[str]) -> None:
    for option in ("--help", "-h"):
        outcome = run(*command, option)
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.startswith(f"Usage: nas {' '.join(command)}".rstrip())


def test_version() -> None:
    assert run("--version") == Said(0, f"{nas.__version__}\n", "")


@pytest.mark.parametrize(
    ("command", "heavy"),
    [
        (["--help"], ["torch", "ray", "pandas", "pyarrow", "numpy"]),
        (["search", "--help"], ["torch", "ray", "pandas", "pyarrow", "numpy"]),
        (["plan", "--help"], ["torch", "ray", "pandas", "pyarrow", "numpy"]),
        (["describe", "efficientnetv2-s"], ["torch", "ray", "pandas", "pyarrow"]),
        (["pareto", "RUN"], ["torch", "ray"]),
        (["trials", "RUN"], ["torch", "ray"]),
    ],
)
def test_what_a_command_does_not_need_is_not_loaded(command: list[str], heavy: list[str], finished: Path) -> None:
    code = (
        "import atexit, sys; from nas.cli import main\n"
        f"atexit.register(lambda: print('LOADED', [m for m in {heavy} if m in sys.modules]))\n"
        "main()"
    )
    arguments = [str(finished) if part == "RUN" else part for part in command]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED []"


# A real process: interrupts and terminals -------------------------------------------------------------------------


class Started:
    """`nas search` of the plug-in's space in a process of its own, at the head of its own session."""

    def __init__(self, plugin: Path, *arguments: str, evaluator: str = "slow", evaluation_s: float, **streams: Any):
        command = ["search", "--space", f"{plugin}:space", "--evaluator", f"{plugin}:{evaluator}", "--budget", "25"]
        self.run = plugin.with_name("run")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nas.cli", *command, "--out", str(self.run), "--format", "json", *arguments],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
            text=True,
            env={**os.environ, "EVALUATION_S": str(evaluation_s)},
            start_new_session=True,
        )

    def wait_for(self, event: str, count: int = 1) -> None:
        """Wait until so many events of a kind are in the journal."""
        journal, end = self.run / "journal.jsonl", time.monotonic() + 60
        while not journal.exists() or journal.read_text().count(f'"event":"{event}"') < count:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)

    def outcome(self) -> Said:
        out, err = self.process.communicate(timeout=60)
        return Said(self.process.returncode, out or "", err or "")


@pytest.fixture
def start(plugin: Path) -> Iterator[Callable[..., Started]]:
    """Starts searches, and ends those that a test leaves running."""
    begun: list[Started] = []

    def go(*arguments: str, **settings: Any) -> Started:
        begun.append(Started(plugin, *arguments, **settings))
        return begun[-1]

    yield go
    for one in begun:
        if one.process.poll() is None:
            os.killpg(one.process.pid, signal.SIGKILL)
            one.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_lets_the_running_candidate_end(
    number: signal.Signals, start: Callable[..., Started]
) -> None:
    begun = start("--workers", "1", evaluation_s=0.4)
    begun.wait_for("asked", 2)
    os.kill(begun.process.pid, number)
    outcome = begun.outcome()
    assert outcome.code == 130
    assert "finishing the candidates that are running; once more stops at once" in outcome.err
    assert f"interrupted; go on with: nas resume {begun.run}" in outcome.err
    frame = TrialStore.open(begun.run).frame()
    assert set(frame["state"]) == {"complete"}  # the one that was running too
    assert 2 <= len(frame) <= 3
    assert json.loads(outcome.out)["trials"] == len(frame)
    assert len(pd.read_parquet(begun.run / "trials.parquet")) == len(frame)


def test_the_second_interrupt_stops_at_once_and_the_run_can_be_resumed(
    start: Callable[..., Started], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = start("--workers", "1", evaluation_s=60)
    begun.wait_for("asked")
    assert begun.process.stderr is not None
    time.sleep(0.2)
    os.kill(begun.process.pid, signal.SIGINT)
    for line in begun.process.stderr:
        if "once more stops at once" in line:
            break
    time.sleep(0.2)  # nobody presses it again while the line is being written
    os.kill(begun.process.pid, signal.SIGINT)
    sent = time.monotonic()
    outcome = begun.outcome()
    assert time.monotonic() - sent < 20
    assert outcome.code == 130
    assert outcome.out == ""
    assert f"stopped at once; go on with: nas resume {begun.run}" in outcome.err
    assert list(TrialStore.open(begun.run).frame()["state"]) == ["running"]
    monkeypatch.setenv("EVALUATION_S", "0")
    assert run("resume", begun.run, "--budget", 3, "--format", "json").data["trials"] == 3
    assert list(TrialStore.open(begun.run).frame()["attempt"]) == [2, 1, 1]


def test_with_two_workers_stdout_is_data_alone_and_an_interrupt_drains(start: Callable[..., Started]) -> None:
    begun = start("--workers", "2", "--gpus-per-trial", "0", evaluator="loses_its_worker_once", evaluation_s=0.3)
    begun.wait_for("attempted")  # of which Ray has printed something by then
    begun.wait_for("told", 3)
    os.killpg(begun.process.pid, signal.SIGINT)  # to all, as a terminal does
    outcome = begun.outcome()
    assert outcome.code == 130
    assert outcome.out.count("\n") == 1
    assert f"interrupted; go on with: nas resume {begun.run}" in outcome.err
    frame = TrialStore.open(begun.run).frame()
    assert json.loads(outcome.out)["trials"] == len(frame) < 25
    assert set(frame["state"]) == {"complete"}
    assert sorted(frame["attempt"])[-2:] == [1, 2]


def test_on_a_terminal_there_is_a_bar_and_stdout_stays_data(start: Callable[..., Started]) -> None:
    ours, theirs = pty.openpty()
    begun = start("--workers", "1", "--budget", "6", evaluation_s=0.1, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as terminal:  # EIO at the end
        while some := terminal.read(4096):
            shown += some
    outcome = begun.outcome()
    assert outcome.code == 0
    assert json.loads(outcome.out)["trials"] == 6
    assert outcome.out.count("\n") == 1
    assert b"/6" in shown
    assert "━".encode() in shown
    assert b"trial 3: accuracy" in shown
