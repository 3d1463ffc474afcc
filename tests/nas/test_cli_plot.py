"""`nas plot`: a figure in a file, or one clear line and no file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from made_run import make_run
from nas_command import error, nas

KINDS = ("pareto", "convergence", "importance", "edf", "drift", "architecture")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    outcomes = ("complete",) * 8 + ("failed", "running")
    return [make_run(folder / name, outcomes=outcomes, seed=n) for n, name in enumerate(("first", "second"))]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_a_run_in_progress(kind: str, runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "figure.svg"
    done = nas("plot", runs[0], "--kind", kind, "-o", out)
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith(f"{out}: {kind}, 3.25 inches wide\n")
    assert 'width="234pt"' in out.read_text()


@pytest.mark.parametrize("kind", ["pareto", "convergence", "edf"])
def test_several_runs_are_named_in_one_figure(kind: str, runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "figure.svg"
    assert nas("plot", *runs, "--kind", kind, "--double", "-o", out).code == 0
    for run in runs:
        assert f">{run.name}</text>" in out.read_text()


@pytest.mark.parametrize("kind", ["importance", "drift", "architecture"])
def test_what_is_of_one_run_refuses_two(kind: str, runs: list[Path], tmp_path: Path) -> None:
    said = error("plot", *runs, "--kind", kind, "-o", tmp_path / "figure.svg")
    assert said == f"error: --kind {kind} draws one run; got 2"


def test_chance_is_of_a_run_that_drew_at_random(tmp_path: Path) -> None:
    outcomes = ("complete",) * 5
    learned = make_run(tmp_path / "learned", trials=2, outcomes=outcomes)  # every third trial is random
    drawn = make_run(tmp_path / "drawn", trials=9, outcomes=outcomes, seed=1)
    alone = nas("plot", learned, "--kind", "convergence", "-o", tmp_path / "alone.svg")
    assert "learned: this run has no random draws" in alone.err
    both = nas("plot", learned, drawn, "--kind", "convergence", "-o", tmp_path / "both.svg")
    assert "no random draws" not in both.err
    shorter = make_run(tmp_path / "shorter", trials=6, outcomes=outcomes)
    longer = make_run(tmp_path / "longer", trials=8, outcomes=("complete", "complete", "running"))  # no random outcome
    borrowed = nas("plot", longer, shorter, "--kind", "convergence", "-o", tmp_path / "borrowed.svg")
    assert "longer: 2 random draws of another run" in borrowed.err
    assert ">expected best of random draws</text>" in (tmp_path / "borrowed.svg").read_text(), (
        "one source for all needs no name"
    )
    assert "random draws (of drawn)" in (tmp_path / "both.svg").read_text(), "which has draws of its own"


def test_a_trial_and_objectives_and_a_target_are_chosen(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "figure.svg"
    assert nas("plot", runs[0], "--kind", "architecture", "--trial", 3, "-o", out).code == 0
    best = out.read_text()
    assert nas("plot", runs[0], "--kind", "architecture", "-o", out).code == 0
    assert out.read_text() != best
    assert nas("plot", runs[0], "--kind", "pareto", "--objectives", "accuracy,macs", "-o", out).code == 0
    assert "multiply-adds (" in out.read_text()
    command = ("plot", runs[0], "--kind", "importance", "--target", "step_time", "--double", "-o", out)
    assert nas(*command).code == 0
    assert "effect of each option on training step time (anchor = 1)" in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--kind", "edf", "-o", "x.gif"), "a figure's file must end in .png, .svg or .pdf; got x.gif"),
        (("--kind", "edf", "-o", "x.svg", "--trial", "1"), "--trial goes with --kind architecture; got --kind edf"),
        (("--kind", "architecture", "-o", "x.svg", "--trial", "99"), "--trial must be one of the 60 trials"),
        (("--kind", "pareto", "-o", "x.svg", "--objectives", "acc,params"), "objectives must be among number"),
        (("--kind", "pareto", "-o", "x.svg", "--objectives", "params"), "two objectives or more; got params"),
        (("--kind", "importance", "-o", "x.svg", "--target", "speed"), "the target must be among number, "),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_line_and_no_file(
    arguments: tuple[str, ...], said: str, runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in error("plot", runs[0], *arguments)
    assert not list(tmp_path.iterdir())


def test_an_unknown_kind_lists_the_known_ones(runs: list[Path], tmp_path: Path) -> None:
    done = nas("plot", runs[0], "--kind", "violin", "-o", tmp_path / "x.svg")
    assert done.code == 2
    assert all(kind in done.err for kind in KINDS)


@pytest.mark.parametrize("outcomes", [("running",), ("failed",)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_without_a_completed_trial_says_so(kind: str, outcomes: tuple[str, ...], tmp_path: Path) -> None:
    run, out = make_run(tmp_path / "run", trials=3, outcomes=outcomes), tmp_path / "figure.svg"
    done = nas("plot", run, "--kind", kind, "-o", out)
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("error: ")
    assert any(word in done.err for word in ("there is no ", "no trial is complete"))
    assert not out.exists()


def test_without_matplotlib_it_says_what_to_do(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("results.plots")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = error("plot", runs[0], "--kind", "edf", "-o", tmp_path / "x.svg")
    assert "pip install 'training-aware-nas[plot]'" in said
