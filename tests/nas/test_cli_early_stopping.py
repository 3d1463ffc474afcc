"""`--scheduler asha` on the command line: what is said and printed, and how a search is taken up again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nas_command import Outcome, nas

from results.store import TrialStore

PLUGIN = """
import hashlib, time

from results.trial import Measurement
from search_spaces import Architecture, SearchSpace, Stage, vary

stages = (Stage("mbconv", 3, 2, 4, 8, 1), Stage("mbconv", 3, 2, 4, 16, 1, 0.25))
choices = (*vary(1, kernel=(3, 5), expand_ratio=(1, 4, 6)), *vary(2, kernel=(3, 5), layers=(0, 1, 2)))
space = SearchSpace("thirty", Architecture(8, stages, 32), choices)


def four_epochs(architecture, seed):
    print("an evaluator chatters")
    share = int.from_bytes(hashlib.blake2b(str(architecture).encode(), digest_size=4).digest()) / 2**32
    for epoch in (1, 2, 3, 4):
        time.sleep(0.03)
        top1 = (0.2 + 0.7 * share) * epoch / 4
        yield Measurement(accuracy=top1, epoch=epoch, step_time=1.0, train_time_s=2.5 * epoch)


four_epochs.epochs = 4


def once(architecture, seed):
    return list(four_epochs(architecture, seed))[-1]


class Once:
    epochs = 1

    def __call__(self, architecture, seed):
        return once(architecture, seed)


once_and_says_so = Once()


class Within:
    epochs = 2
    measure_at = ()

    def __call__(self, architecture, seed):
        share = int.from_bytes(hashlib.blake2b(str(architecture).encode(), digest_size=4).digest()) / 2**32
        for epoch in sorted({*self.measure_at, 1.0, 2.0}):
            yield Measurement(accuracy=(0.2 + 0.7 * share) * epoch / 2, epoch=epoch, step_time=1.0, train_time_s=epoch)


within = Within()
"""


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of plug-ins, in the folder where the test runs, without GPUs or a Ray cluster to join."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("trainers.devices.count_gpus", lambda: 0)
    (tmp_path / "plugin.py").write_text(PLUGIN)
    return tmp_path / "plugin.py"


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """For what Ray and Tune write; with a short path, since Ray makes sockets there."""
    with tempfile.TemporaryDirectory(prefix="nas-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(scratch: Path) -> Iterator[Start]:
    """Starts `nas` in processes, and ends those that a test leaves running."""
    begun: list[subprocess.Popen[str]] = []

    def go(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "nas.cli", *map(str, arguments)]
        pipe = subprocess.PIPE
        begun.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True))
        return begun[-1]

    yield go
    for one in begun:
        if one.poll() is None:
            os.killpg(one.pid, signal.SIGKILL)
            one.communicate()


def ended(process: subprocess.Popen[str]) -> Outcome:
    out, err = process.communicate(timeout=120)
    return Outcome(process.returncode, out, err)


SEARCH = ("search", "--space", "plugin.py:space", "--controller", "random", "--out", "run")
FOUR = ("--evaluator", "plugin.py:four_epochs")


def test_a_search_that_stops_candidates_says_what_it_saved_and_is_resumed(start: Start) -> None:
    asha = ("--scheduler", "asha", "--reduction-factor", 2, "--workers", 1)
    found = ended(start(*SEARCH, *FOUR, *asha, "--budget", 12, "--format", "json"))
    assert found.code == 0, found.err
    data = json.loads(found.out)
    frame = TrialStore.open(Path("run")).frame()
    stopped = frame[frame["state"] == "stopped"]
    epochs = frame["curve"].map(len)
    assert len(stopped) == data["stopped"] > 0
    assert set(stopped["curve"].map(len)) <= {1, 2}
    assert data["trials"] == data["stopped"] + data["complete"] == 12
    assert data["early_stopping"] == {
        "stopped": len(stopped),
        "epochs": epochs.sum(),
        "epochs_without": 48,
        "saved_s": pytest.approx(2.5 * (48 - epochs.sum())),
    }
    assert "1 at a time on Ray Tune, which asha needs" in found.err
    assert "asha stops a candidate after 1, 2 of 4 epochs unless its reward is among the best 1/2 of" in found.err
    assert re.search(
        r"trial \d+: stopped after [12] of 4 epochs, accuracy 0\.\d{4}, step time 1\.000, params", found.err
    )
    assert f"12/12 0 failed, {len(stopped)} stopped early, best reward" in found.err

    table = nas("trials", "run")
    assert len(re.findall(r"^ *\d+ +stopped ", table.out, re.MULTILINE)) == len(stopped)
    assert {row["state"] for row in map(json.loads, nas("pareto", "run", "--format", "json").out.splitlines())} == {
        "complete"
    }

    more = ended(start("resume", "run", "--budget", 16, "--stop-by", "reward"))
    assert more.code == 0, more.err
    assert "unless its reward is among the best 1/2 of" in more.err
    assert "which asha needs" in more.err, "the scheduler is as it was"
    assert re.search(
        r"^candidates stopped early: \d+ of 16; \d+ epochs trained of 64, some (\d+ min )?\d+ s of training saved$",
        more.out,
        re.MULTILINE,
    )
    without = nas("resume", "run", "--budget", 20, "--scheduler", "none", "--format", "json")
    assert "1 at a time, in this process" in without.err
    states = TrialStore.open(Path("run")).frame().set_index("number")["state"]
    assert set(states[states.index >= 16]) == {"complete"}
    assert json.loads(without.out)["early_stopping"]["epochs_without"] == 80


def test_candidates_are_stopped_within_their_first_epoch(start: Start) -> None:
    asha = ("--scheduler", "asha", "--grace-epochs", 0.25, "--workers", 1)
    search = start(*SEARCH, "--evaluator", "plugin.py:within", *asha, "--budget", 12, "--format", "json")
    found = ended(search)
    assert found.code == 0, found.err
    assert "asha stops a candidate after 0.25, 0.75 of 2 epochs unless" in found.err
    assert re.search(r"trial \d+: stopped after 0\.25 of 2 epochs, accuracy", found.err)
    frame = TrialStore.open(Path("run")).frame()
    stopped = frame[frame["state"] == "stopped"]
    assert set(stopped["epoch"]) <= {0.25, 0.75}
    assert 0.25 in set(stopped["epoch"])
    assert set(frame.loc[frame["state"] == "complete", "curve"].map(len)) == {4}
    assert json.loads(found.out)["early_stopping"] == {
        "stopped": len(stopped),
        "epochs": frame["epoch"].sum(),
        "epochs_without": 24,
        "saved_s": pytest.approx(24 - frame["epoch"].sum()),
    }


def test_an_interrupt_lets_candidates_end_that_are_not_stopped(start: Start) -> None:
    search = start(*SEARCH, *FOUR, "--scheduler", "asha", "--workers", 2, "--budget", 29, "--format", "json")
    journal, end = Path("run/journal.jsonl"), time.monotonic() + 60
    while not journal.exists() or journal.read_text().count('"event":"told"') < 4:
        assert search.poll() is None, search.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    os.killpg(search.pid, signal.SIGINT)  # to all, as a terminal does
    found = ended(search)
    assert found.code == 130
    assert "interrupted; go on with: nas resume run" in found.err
    frame = TrialStore.open(Path("run")).frame()
    assert set(frame["state"]) <= {"complete", "stopped"}
    assert 4 <= json.loads(found.out)["trials"] == len(frame) < 29


def test_an_evaluator_that_measures_once_needs_no_ray_and_is_told_so() -> None:
    found = nas(*SEARCH, "--evaluator", "plugin.py:once_and_says_so", "--scheduler", "asha", "--workers", 1)
    assert found.code == 0, found.err
    assert (
        "--scheduler asha can stop nothing: a candidate is trained for 1 epoch and may be stopped after 1 " in found.err
    )
    assert "1 at a time, in this process" in found.err
    assert "candidates stopped early" not in found.out
    again = nas("resume", "run", "--budget", 17, "--grace-epochs", 3, "--format", "json")
    assert "trained for 1 epoch and may be stopped after 3 (--grace-epochs) or more" in again.err
    assert json.loads(again.out)["early_stopping"] is None


def test_one_of_which_that_is_not_known_is_told_so_at_the_end(start: Start) -> None:
    search = (*SEARCH, "--evaluator", "plugin.py:once", "--scheduler", "asha", "--budget", 4, "--workers", 2)
    found = ended(start(*search, "--format", "json"))
    assert found.code == 0, found.err
    assert "asha stops a candidate after 1, 3, 9, 27, ... of its epochs" in found.err
    assert "--scheduler asha could stop nothing: no candidate was measured where it decides" in found.err
    assert json.loads(found.out)["early_stopping"] is None


def test_the_proxys_epochs_are_known() -> None:
    options = ("--image-size", 8, "--epochs", 1, "--minival", 3000, "--workers", 1, "--budget", 1)
    found = nas("search", *options, "--out", "run", "--scheduler", "asha", "--format", "json")
    assert found.code == 0, found.err
    assert "--scheduler asha can stop nothing: a candidate is trained for 1 epoch" in found.err


def test_a_scheduler_is_no_part_of_what_a_search_is() -> None:
    assert nas(*SEARCH, *FOUR, "--workers", 1, "--budget", 2).code == 0
    configuration = TrialStore.open(Path("run")).configuration
    assert not {"scheduler", "grace_epochs", "reduction_factor"} & {
        *configuration["options"],
        *configuration["identity"],
    }
    assert nas("resume", "run", "--scheduler", "hyperband").err.splitlines()[-1] == (
        "error: scheduler must be among none, asha; got hyperband"
    )
    assert nas("resume", "run", "--budget", 3, "--format", "json").code == 0, "the journal is let go of"
