"""`kill -9` at any moment, then `nas resume`: nothing told is lost or evaluated twice, and the table is the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results.store import TrialStore

KILLS = 25
BUDGET = 400
OF_THE_MOMENT = ["asked_at", "told_at", "host", "attempt"]
"""The columns in which a run that was killed may differ from one that was not."""

EVALUATOR = """
import hashlib, os, platform, time

from results.trial import Measurement


def evaluate(architecture, seed):
    with open(os.environ["EVALUATED"], "a") as log:
        log.write(f"{architecture}\\n")
    time.sleep(float(os.environ["EVALUATION_S"]))
    share = int.from_bytes(hashlib.blake2b(f"{architecture} {seed}".encode(), digest_size=4).digest()) / 2**32
    if share < 0.1:
        raise ValueError(f"no network of share {share}")
    for epoch in (1, 2):
        yield Measurement(
            accuracy=(share + epoch) / 3, epoch=epoch, step_time=0.5 + share, host=f"{platform.node()} {os.getpid()}"
        )
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds left-over processes in /proc")


class Search:
    """A search in processes of its own, which can be killed and resumed.

    Args:
        folder: for the run, the evaluator and the log of evaluations.
        budget: of the search.
        workers: of the search.
    """

    def __init__(self, folder: Path, *, budget: int, workers: int = 1) -> None:
        self.run, self.log = folder / "run", folder / "evaluated"
        plugin = folder / "evaluator.py"
        plugin.write_text(EVALUATOR)
        # random search: what another controller proposes depends on the order in which workers answer
        self._new = ["search", "--controller", "random", "--evaluator", f"{plugin}:evaluate", "--budget", str(budget)]
        self._new += ["--seed", "3"]
        self._new += ["--out", str(self.run), "--workers", str(workers), "--gpus-per-trial", "0"]
        self._read = 0  # bytes of the journal
        self.told = 0
        self.process: subprocess.Popen[str] | None = None
        self.errors = ""  # what the process that was killed last had said

    def go(self, evaluation_s: float) -> None:
        """Begin the search, or go on with it, in a process."""
        arguments = ["resume", str(self.run)] if self.run.exists() else self._new
        environment = {**os.environ, "EVALUATED": str(self.log), "EVALUATION_S": str(evaluation_s)}
        environment.pop("RAY_ADDRESS", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nas.cli", *arguments, "--format", "json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def wait_for(self, more: int, timeout_s: float = 60.0) -> None:
        """Wait until so many more trials are told, or the process is over."""
        wanted, end = self.told + more, time.monotonic() + timeout_s
        while self.told < wanted and self.process is not None and self.process.poll() is None:
            assert time.monotonic() < end, "the search does not get on"
            time.sleep(0.003)
            self._count()

    def kill(self) -> bool:
        """`kill -9`; whether there was something to kill. Ends what Ray leaves of this search, and only that."""
        assert self.process is not None
        killed = self.process.poll() is None
        self.process.kill()
        _, self.errors = self.process.communicate()
        end = time.monotonic() + 20
        while left := list(_session_members(self.process.pid)):
            assert time.monotonic() < end
            for pid in left:
                _kill(pid)
            time.sleep(0.02)
        self._count()
        return killed

    def end(self) -> dict[str, Any]:
        """Let the process come to its end; what it prints."""
        assert self.process is not None
        out, err = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, err
        return dict(json.loads(out))

    def evaluations(self) -> Counter[str]:
        return Counter(self.log.read_text().splitlines())

    def _count(self) -> None:
        journal = self.run / "journal.jsonl"
        if journal.exists():
            with journal.open("rb") as file:
                file.seek(self._read)
                added = file.read()
            whole = added.rfind(b"\n") + 1
            self._read += whole
            self.told += added[:whole].count(b'"event":"told"')


def _session_members(leader: int) -> Iterator[int]:
    """The live processes of the session that a process leads or led."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has just ended
            continue
        if int(session) == leader and state != "Z":
            yield int(folder.name)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.fixture
def uninterrupted(tmp_path: Path) -> Search:
    """A finished search that was never killed."""
    folder = tmp_path / "uninterrupted"
    folder.mkdir()
    search = Search(folder, budget=BUDGET)
    search.go(evaluation_s=0)
    search.end()
    return search


@pytest.fixture
def killable() -> Iterator[list[Search]]:
    """A list for searches that are to be ended whatever happens."""
    searches: list[Search] = []
    yield searches
    for search in searches:
        if search.process is not None and search.process.poll() is None:
            search.kill()


@pytest.fixture
def scratch() -> Iterator[Path]:
    """For what Ray and Tune write; with a short path, since Ray makes sockets there."""
    with tempfile.TemporaryDirectory(prefix="nas-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def check_nothing_told_was_touched(search: Search) -> None:
    """Every trial is told once, none is begun after that, and none is evaluated more often than it was begun."""
    begun: Counter[int] = Counter()
    told: set[int] = set()
    texts: dict[int, str] = {}
    store = TrialStore.open(search.run)
    for event in store.events():
        if event["event"] in ("asked", "attempted"):
            assert event["number"] not in told
            begun[event["number"]] += 1
            texts.setdefault(event["number"], event.get("architecture", ""))
        elif event["event"] == "told":
            assert event["number"] not in told
            told.add(event["number"])
    assert told == set(texts) == set(range(len(texts)))
    assert {n: trial.attempt for n, trial in store.trials.items()} == dict(begun)
    evaluated = search.evaluations()
    assert set(evaluated) == set(texts.values())
    assert all(1 <= evaluated[text] <= begun[number] for number, text in texts.items())


def contents(path: Path) -> pa.Table:
    """A table of trials without its metadata and what differs from moment to moment."""
    table = pq.read_table(path).drop_columns(OF_THE_MOMENT)
    return table.replace_schema_metadata(None)


def test_a_search_killed_at_any_moment_ends_with_the_table_of_one_that_was_not(
    tmp_path: Path, uninterrupted: Search, killable: list[Search]
) -> None:
    search, kills, rng = Search(tmp_path, budget=BUDGET), 0, random.Random(11)
    killable.append(search)
    early = False
    while kills < KILLS:
        search.go(evaluation_s=0.01)
        if early:  # while it starts, reads the journal, or has just begun
            time.sleep(rng.uniform(0, 0.8))
        else:
            search.wait_for(2)
            time.sleep(rng.uniform(0, 0.08))
        early = not early and rng.random() < 0.5  # never twice in a row: so no trial is killed in three attempts
        kills += search.kill()
        assert search.told < BUDGET
    for _ in range(2):  # at its very end, while it writes the view
        search.go(evaluation_s=0)
        search.wait_for(BUDGET - search.told)
        time.sleep(rng.uniform(0, 0.01))
        search.kill()
    search.go(evaluation_s=0)
    outcome = search.end()
    assert outcome["trials"] == BUDGET
    check_nothing_told_was_touched(search)
    ours, theirs = search.run / "trials.parquet", uninterrupted.run / "trials.parquet"
    assert contents(ours).equals(contents(theirs))
    frames = [TrialStore.open(one.run).frame().drop(columns=OF_THE_MOMENT) for one in (search, uninterrupted)]
    texts = [frame.to_csv(index=False).encode() for frame in frames]
    assert texts[0] == texts[1]
    assert frames[0]["state"].value_counts().to_dict().keys() == {"complete", "failed"}
    assert set(frames[0]["failure"].dropna()) == {"error"}  # none for having been begun too often
    assert not list(search.run.glob("*.partial"))


def test_with_two_workers_the_architectures_and_rewards_are_the_same(
    tmp_path: Path, scratch: Path, killable: list[Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = 24
    monkeypatch.setenv("TMPDIR", str(scratch))
    folders = [tmp_path / name for name in ("alone", "together")]
    for folder in folders:
        folder.mkdir()
    alone, together = Search(folders[0], budget=budget), Search(folders[1], budget=budget, workers=2)
    killable += [alone, together]
    alone.go(evaluation_s=0)
    alone.end()
    for wanted in (3, 4):
        together.go(evaluation_s=0.2)
        together.wait_for(wanted)
        assert together.kill(), together.errors
        assert together.told < budget
        assert len(list(scratch.glob("nas-tune-*"))) == 1  # that of the search before was swept
    together.go(evaluation_s=0)
    assert together.end()["trials"] == budget
    assert not list(scratch.glob("nas-tune-*"))
    check_nothing_told_was_touched(together)
    frames = [TrialStore.open(one.run).frame().set_index("architecture") for one in (alone, together)]
    columns = ["state", "reward", "accuracy", "step_time", "params", "seed", "failure", "reason"]
    expected, got = (frame[columns].sort_index() for frame in frames)
    assert len(got) == budget
    assert got.to_csv() == expected.to_csv()
    assert set(frames[1]["attempt"]) <= {1, 2, 3}
    assert (frames[1]["attempt"] > 1).any()  # the kills did hit some
