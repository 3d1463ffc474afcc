"""The page of a report: one file, nothing from elsewhere, every text escaped, whatever a run holds."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_run import configuration, make_run
from nas_command import error, nas

from results.report import write_report
from results.report.material import shown_of
from results.report.summary import summary_of
from results.store import TrialStore
from results.table import TrialTable, write_table
from results.trial import Measurement, Trial
from search_spaces import SPACES, Architecture, SearchSpace, Stage, vary

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """The tags, attributes and text of a page; fails where tags do not close in their order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"{tag} closes what it did not open, at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def count(self, tag: str, css: str = "") -> int:
        return sum(name == tag and css in [*(attrs.get("class") or "").split(), ""] for name, attrs in self.tags)


def report(runs: list[Path], path: Path) -> Page:
    write_report(runs, path, version="0", rng=np.random.default_rng(0))
    return Page(path)


STATES = {
    "nothing asked": (0, ("complete",)),
    "one running": (1, ("running",)),
    "one complete": (1, ("complete",)),
    "two complete": (2, ("complete",)),
    "all failed": (9, ("failed",)),
    "all stopped": (5, ("stopped",)),
    "nothing measured": (6, ("missing",)),
    "in progress": (40, ("complete", "complete", "running", "failed", "stopped", "repeat", "missing")),
}


@pytest.mark.parametrize("state", STATES)
def test_any_state_of_a_run_makes_a_page(tmp_path: Path, state: str) -> None:
    trials, outcomes = STATES[state]
    page = report([make_run(tmp_path / "run", trials=trials, outcomes=outcomes)], tmp_path / "report.html")
    ids = [attrs["id"] for tag, attrs in page.tags if tag == "section"]
    assert {"front", "best", "course", "choices", "findings", "paths", "health", "settings"} <= set(ids)
    assert "nan" not in re.findall(r"\b\w+\b", page.text)
    assert not any(re.search(r"\b(nan|inf)\b", attrs.get("d") or "") for _, attrs in page.tags)
    if not {"complete", "missing"} & set(outcomes) or not trials:
        assert "No trial has been completed" in page.text
    if state == "all failed":
        assert "all 9 that ended failed" in page.text
        assert "out of memory" in page.text


def test_several_runs_of_one_and_of_another_space(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name / "run", trials=30, seed=n) for n, name in enumerate(("a", "b"))]
    runs.append(make_run(tmp_path / "c", trials=30, space=SPACES["efficientnetv2-s"]))
    runs.append(make_run(tmp_path / "d", trials=0))
    page = report(runs, tmp_path / "report.html")
    for name in ("a/run", "b/run", "c", "d"):
        assert name in page.text
    assert "not all measured alike" in page.text
    assert f"nas compare {runs[0]} {runs[1]} copy" in page.text, "d has no candidate to compare"
    assert "device-hours" in page.text
    assert not re.search(r"\d highest reward\b|\d on the front", page.text), (
        "of numbers that do not compare is no highest"
    )
    assert page.count("svg", "paths") == 2, "one for each space"


def test_runs_measured_otherwise_share_no_front(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a", trials=20), make_run(tmp_path / "b", trials=20, seed=1, image_size=64)]
    assert report(runs, tmp_path / "apart.html").count("svg", "points") == 4
    runs = [make_run(tmp_path / "c", trials=20), make_run(tmp_path / "d", trials=20, seed=1)]
    assert report(runs, tmp_path / "together.html").count("svg", "points") == 2


def test_a_network_is_shown_by_the_means_of_all_its_trainings(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=9, outcomes=("complete",))
    store = TrialStore.open(run, writing=True)
    lucky = store.trials[int(store.frame()["reward"].idxmax())]
    again = replace(lucky, number=9, replicate=1, seed=99, arm="confirm", state="running", reward=None)
    store.asked(again)
    store.measured(9, Measurement(accuracy=0.1, epoch=1, step_time=1.0, step_time_low=0.9, step_time_high=1.1))
    store.told(replace(again, state="complete", reward=0.1))
    store.close()
    material = write_report([run], tmp_path / "report.html", version="0", rng=np.random.default_rng(0))
    assert len(material.networks) == 9
    (row,) = material.networks[material.networks["number"] == lucky.number].to_dict("records")
    assert lucky.reward is not None
    assert (row["trainings"], row["reward"]) == (2, pytest.approx((lucky.reward + 0.1) / 2))
    page = Page(tmp_path / "report.html")
    assert f"{lucky.reward:.4f} highest reward" not in page.text
    assert f"{material.networks['reward'].max():.4f} highest reward" in page.text


def test_a_run_that_does_not_say_when_has_no_duration(tmp_path: Path) -> None:
    material = write_report(
        [make_run(tmp_path / "run", trials=9)], tmp_path / "page.html", version="0", rng=np.random.default_rng(0)
    )
    trials = material.trials.assign(asked_at=np.nan)
    figures = summary_of(replace(material, trials=trials, runs=(replace(material.runs[0], trials=trials),))).figures
    assert "of wall-clock time" in [what for _, what in summary_of(material).figures]
    assert "of wall-clock time" not in [what for _, what in figures]


def test_a_network_of_two_runs_is_there_once(tmp_path: Path) -> None:
    make_run(tmp_path / "run", trials=9)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    page = report([tmp_path / "run", tmp_path / "copy"], tmp_path / "report.html")
    assert "with 8 networks trained to the end" in page.text


EVIL = "</script><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;\"<!--"


def test_what_a_run_holds_is_text_and_never_markup(tmp_path: Path) -> None:
    space = SearchSpace(
        "a<b>&c",
        Architecture(8, (Stage("mbconv", 3, 2, 4, 8, 1), Stage("mbconv", 3, 2, 4, 16, 1)), 32),
        (*vary(1, kernel=(3, 5)), *vary(2, **{"<i>layers</i>": ({"layers": 1}, {"layers": 2})}, kernel=(3, 5, 7))),
    )
    name = "<svg onload=alert(3)>"
    run = make_run(
        tmp_path / name, trials=60, space=space, reason=EVIL, outcomes=("complete",) * 4 + ("failed",), note=EVIL
    )
    page = report([run], tmp_path / "report.html")
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "trials"}, {}]
    assert not any(tag in ("img", "i<", "iframe", "object") for tag, _ in page.tags)
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    for written in (EVIL, name, space.name, "<i>layers</i>"):
        assert re.sub(r"\s+", " ", written) in page.text


def test_it_needs_no_other_file_and_no_network(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    page = report([make_run(tmp_path / "run")], path)
    assert not re.search(
        r"https?:|//[a-z0-9.-]+\.[a-z]{2,}/|@import|url\(", path.read_text().replace("http://www.w3.org/2000/svg", "")
    )
    linked = [
        value for _, attrs in page.tags for key, value in attrs.items() if key in ("src", "href", "srcset", "action")
    ]
    assert all(value is not None and value.startswith(("#", "data:,")) for value in linked)
    policy = next(attrs["content"] for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs)
    assert policy is not None
    assert "default-src 'none'" in policy


def test_the_summary_says_what_the_tables_say(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a run", trials=60)
    page = report([run], tmp_path / "report.html")
    frame = TrialStore.open(run).frame()
    best = frame.loc[frame["reward"].idxmax()]
    assert f"The best is trial {best['number']}: accuracy {best['accuracy']:.4f}" in page.text
    assert f"its reward is {best['reward']:.4f}" in page.text
    assert "36,279,705,600" not in page.text
    assert "3.6 × 10¹⁰" in page.text
    assert "probability of" in page.text, "of the controller against chance"
    assert "After 60 candidates the best reward is" in page.text
    assert re.search(r"95 of 100 random searches of as many have .* After 20 it was 0\.\d+, and that of", page.text)
    assert re.search(r"The best 3 of \d+ networks show (none|[1-4]) of the 4 findings", page.text)
    assert "step time \u00b1" in page.text
    assert page.count("path", "best") == 5, "a tenth of the networks stands out"
    for command in (f"nas describe '{run}' --trial {best['number']}", "nas scale", "nas train", "--confirm 5"):
        assert command in page.text
    complete = frame[frame["state"] == "complete"].nlargest(20, "reward")
    for text in complete["architecture"]:
        assert text in page.text, "each of the best is in the table"


def test_tips_know_every_shown_network(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    page = report([make_run(tmp_path / "run", trials=80)], path)
    found = re.search(r'<script type="application/json" id="trials">(.*?)</script>', path.read_text(), re.S)
    assert found is not None
    known = json.loads(found[1])
    frame = TrialStore.open(tmp_path / "run").frame()
    complete = frame[frame["state"] == "complete"]
    assert sorted(row[-2] for row in known["rows"]) == sorted(complete["architecture"])
    assert known["columns"] == ["reward", "accuracy", "step time", "parameters", "multiply-adds"]
    used = {
        int(row) for tag, attrs in page.tags for row in (attrs.get("data-rows") or attrs.get("data-row") or "").split()
    }
    assert used == set(range(len(known["rows"])))


def test_charts_show_the_front_the_best_and_a_sample_of_many() -> None:
    rng = np.random.default_rng(0)
    networks = pd.DataFrame({"reward": rng.permutation(10_000).astype(float)})
    front = np.array([3, 9_000, 5])
    shown = shown_of(networks, front, rng, most=1_000)
    assert len(shown) == len(set(shown)) == 1_000
    assert set(front) <= set(shown)
    assert set(np.argsort(-networks["reward"])[:300]) <= set(shown)
    assert abs(networks["reward"].iloc[np.setdiff1d(shown, np.argsort(-networks["reward"])[:400])].mean() - 4_800) < 600
    assert list(shown_of(networks.head(50), front[:1], rng, most=1_000)) == list(range(50))


def many(folder: Path, count: int) -> Path:
    """A run of so many trials, its table written at once."""
    space, rng = SPACES["small"], np.random.default_rng(0)
    known = configuration(space)
    store = TrialStore.create(folder, known)
    store.close()
    genotypes = rng.integers([len(c.options) for c in space.choices], size=(count, len(space.choices)))
    accuracies = 0.9 + 0.04 * rng.standard_normal(count).clip(-2, 2)
    trials = []
    for number, (genes, accuracy) in enumerate(zip(genotypes.tolist(), accuracies.tolist(), strict=True)):
        step_time = 0.5 + sum(genes) / len(genes)
        measurement = Measurement(
            accuracy=accuracy, epoch=2, step_time=step_time, step_time_low=step_time * 0.97,
            step_time_high=step_time * 1.03, step_time_s=step_time * 0.05, params=1000 + 97 * number % 50_000,
            macs=number, activations=1, train_time_s=3.0, device="cpu", host="here",
        )  # fmt: skip
        trials.append(
            Trial(
                number=number,
                genotype=tuple(genes),
                architecture=str(space.decode(tuple(genes))),
                seed=number,
                arm="random" if number % 10 == 9 else "controller",
                state="complete",
                measurement=measurement,
                reward=accuracy * step_time**-0.07,
                asked_at=1.8e9 + number,
                told_at=1.8e9 + number + 9,
            )
        )
    write_table(TrialTable(space, known["columns"], {"journal_bytes": 0}).table(trials), folder / "trials.parquet")
    return folder


def test_many_trials_make_a_page_of_bounded_size_that_says_what_it_left_out(tmp_path: Path) -> None:
    run, path = many(tmp_path / "run", 6_000), tmp_path / "report.html"
    page = report([run], path)
    assert path.stat().st_size < 4e6
    assert "of the 6,000 networks one by one: the front, the best by reward, and a random sample" in page.text
    assert "6,000 networks of the" in page.text


def test_the_command_writes_a_page_and_refuses_what_is_no_run(tmp_path: Path) -> None:
    run, path = make_run(tmp_path / "run", trials=5), tmp_path / "page.html"
    outcome = nas("report", run, "-o", path)
    assert (outcome.code, outcome.out) == (0, "")
    assert f"wrote {path}: 5 networks of 1 run, 0." in outcome.err
    assert path.read_text().startswith("<!doctype html>")
    assert "holds no run" in error("report", tmp_path, "-o", path)
    assert "each run must be named once" in error("report", run, run, "-o", path)
    before = path.read_text()
    assert "no folder: make it, or write elsewhere" in error("report", run, "-o", tmp_path / "none" / "page.html")
    assert path.read_text() == before
    assert list(tmp_path.glob(".partial*")) == []


def test_the_same_runs_make_the_same_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1.8e9)
    run = make_run(tmp_path / "run", trials=50)
    report([run], tmp_path / "a.html")
    report([run], tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
