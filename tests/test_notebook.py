"""The notebook runs from a store to every figure, and makes a run where there is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from made_run import make_run

from results import plots
from results.store import TrialStore

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed; it comes with the extra `test`")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel", reason="ipykernel is not installed; it comes with the extra `test`")

ROOT = Path(__file__).resolve().parents[1]
OTHERS = {"write_figure", "panels_figure"}
"""What draws no run: the second is of a study's measurements, which no store holds."""

FIGURES = {name for name in plots.__all__ if name.endswith("_figure")} - OTHERS


@pytest.fixture
def notebook() -> Any:
    return nbformat.read(ROOT / "examples" / "analyse.ipynb", 4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_kept_without_outputs(notebook: Any) -> None:
    nbformat.validate(notebook)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code_cells(notebook))


@pytest.mark.parametrize("trials", [60, 3])
def test_it_draws_every_figure_of_a_run(
    trials: int, notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS_RUN", str(make_run(tmp_path / "run", trials=trials)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    client = nbclient.NotebookClient(
        notebook, timeout=200, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()  # raises at the first cell that fails
    drawn = set()
    for cell in code_cells(notebook):
        if any("image/svg+xml" in output.get("data", {}) for output in cell.outputs):
            drawn |= {name for name in FIGURES if f"{name}(" in cell.source}
    assert drawn == (FIGURES if trials > 20 else FIGURES - {"importance_figure"}), "of 3 networks no forest is fitted"
    assert [path.name for path in tmp_path.iterdir()] == ["run"], "it leaves nothing behind"


def test_it_makes_a_run_where_there_is_none(notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_RUN", str(tmp_path / "runs" / "made"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    names, search = (cell.source for cell in code_cells(notebook)[:2])
    exec(f"{names}\nbudget = 2\n{search}", {})
    frame = TrialStore.open(tmp_path / "runs" / "made").frame()
    assert (frame["replicate"] == 0).sum() == 2
    assert (frame["state"] == "complete").all()
