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


def test_what_the_discovery_found_is_what_the_page_says() -> None:
    folder = DOCS / "data" / "discovery"
    told = conduct.told(folder, conduct.go_on(folder, workers=1, say=print))
    page = (DOCS / "findings.md").read_text()
    findings = [row for row in told.table if row["part"].startswith("random networks by")]
    assert len(findings) == 16
    for row in findings:
        assert f"{row['here']:.2f} ({row['low']:.2f} to {row['high']:.2f})" in page
    rows = {(row["part"], row["what"]): row for row in told.table}
    for name in ("best", "v2-like", "v1-like"):
        rank = rows[f"{name} beside all 800 networks", "rank by A S^-0.07 P^-0.05"]
        accuracy, reward = rows[f"{name}, 20 epochs", "test accuracy"], rows[f"{name}, 20 epochs", "reward"]
        line = next(line for line in page.splitlines() if f"| {rank['here']:.0f} (" in line)
        assert f"{rank['here']:.0f} ({rank['low']:.0f} to {rank['high']:.0f})" in line
        mean, low, high = (100 * accuracy[of] for of in ("here", "low", "high"))
        assert f"{mean:.1f} % ({low:.1f} to {high:.1f})" in line
        assert f"{reward['here']:.3f} ({reward['low']:.3f} to {reward['high']:.3f})" in line
        assert f"| {rows[f'{name}, 20 epochs', 'step_time']['here']:.2f} |" in line


@pytest.mark.parametrize(
    "name", ["adaptive", "augmentation-by-size", "fused-stages", "image-size", "progressive", "proxy"]
)
def test_the_intervals_of_the_claims_are_those_of_the_page(name: str) -> None:
    folder = DOCS / "data" / name
    told = conduct.told(folder, conduct.go_on(folder, workers=1, say=print))
    page = " ".join((DOCS / "findings.md").read_text().split())
    for claim in told.claims:
        assert claim.found.text(claim.unit).lstrip("+") in page


def test_all_of_it_is_small() -> None:
    assert KEPT
    assert sum(path.stat().st_size for path in (DOCS / "data").rglob("*") if path.is_file()) < 5e6
