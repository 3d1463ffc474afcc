"""The studies that are kept in docs/data can be told again, and what docs/findings.md says of them is what they say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nas.studies import conduct

DOCS = Path(__file__).resolve().parents[3] / "docs"
KEPT = sorted(path.parent for path in (DOCS / "data").glob("*/study.json"))


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.name)
def test_it_is_told_again(kept: Path, tmp_path: Path) -> None:
    folder = tmp_path / kept.name
    shutil.copytree(kept, folder)
    before = {path.name for path in folder.iterdir()}
    told = conduct.told(folder, conduct.go_on(folder, workers=1, say=print))
    assert told.table
    assert told.claims
    assert {path.name for path in folder.iterdir()} == before, "there was nothing to do"


def test_the_ratios_of_v1_and_v2_are_those_of_the_page() -> None:
    folder = DOCS / "data" / "v1-v2"
    told = conduct.told(folder, conduct.go_on(folder, workers=1, say=print))
    page = (DOCS / "findings.md").read_text()
    shown = [row for row in told.table if row["what"] in ("training", "inference")]
    assert len(shown) == 10
    for row in shown:
        assert f"{row['times']:.2f} ({row['low']:.2f} to {row['high']:.2f})" in page


def test_the_correlations_of_scaled_networks_are_those_of_the_page() -> None:
    folder = DOCS / "data" / "scaling-runtime"
    told = conduct.told(folder, conduct.go_on(folder, workers=1, say=print))
    page = (DOCS / "findings.md").read_text()
    assert len(told.table) == 9
    for row in told.table:
        assert " ".join(f"{row[name]:.3f}"[1:] for name in ("r", "low", "high")) in page.replace("(", "").replace(
            " to", ""
        )


def test_all_of_it_is_small() -> None:
    assert KEPT
    assert sum(path.stat().st_size for path in (DOCS / "data").rglob("*") if path.is_file()) < 5e6
