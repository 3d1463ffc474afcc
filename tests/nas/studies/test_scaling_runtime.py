"""What the step time follows: which networks are timed, and what is told where the answer is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nas_command import nas

from nas.studies.scaling_runtime import NETWORKS, PAPER, STUDY, members
from nas.studies.study import Conditions, Told
from search_spaces import PUBLISHED, cost

SMALL = {"networks": 2, "growths": 2, "largest_growth": 4, "image_size": 64, "batch_size": 2, "blocks": 3}


def told_of(metric: str, noise: float = 0.0) -> Told:
    """Where the step time is one of the costs, but for noise of so many shares."""
    rng, results = np.random.default_rng(1), {}
    for one in members(SMALL):
        known = getattr(cost(one.scaled.architecture, one.scaled.train_image_size), metric)
        results[one.name] = {"ratio": known * float(np.exp(noise * rng.standard_normal()))}
    return STUDY.told(Conditions(), SMALL, results)


def test_the_study_by_the_command(tmp_path: Path, timed_by: Callable[..., list[str]]) -> None:
    timings = timed_by(lambda network, size: 1e-9 * cost(network, size).activations)
    asked = ("study", "scaling-runtime", "-o", tmp_path / "out", "--budget", 0.3, "--format", "json")
    said = json.loads(nas(*asked).out)
    assert said["size"] == {**SMALL, "networks": 1, "image_size": 32}
    assert len(timings) == 9  # the network itself, and two sizes by each of four strategies
    of = {row["metric"]: row for row in said["table"]}
    assert [of["activations"][name] for name in ("r", "low", "high")] == pytest.approx([1, 1, 1])
    assert {name: row["paper_r"] for name, row in of.items()} == PAPER
    assert of["macs"]["r"] < 1
    assert [claim["verdict"] for claim in said["claims"]] == ["holds", "holds"]
    assert said["claims"][0]["paper"] == "+0.18 (r of .99 and .81)"
    assert said["claims"][1]["mean"] == pytest.approx(1 - of["params"]["r"])


def test_the_opposite_is_told_where_the_time_follows_macs() -> None:
    told = told_of("macs")
    verdicts = {claim.statement: claim.verdict for claim in told.claims}
    for group in (*NETWORKS, "both"):
        assert verdicts[f"Step time of {group}, scaled, follows activations more closely than macs"] == (
            "the opposite holds"
        )
    assert "here the opposite holds, -0." in str(told.claims[0])
    rows = {(row["networks"], row["metric"]): row for row in told.table}
    assert rows["both", "macs"]["r"] == pytest.approx(1)
    assert rows["both", "activations"]["paper_r"] == 0.95
    assert rows["efficientnetv2-b0", "activations"]["paper_r"] is None
    assert (rows["both", "macs"]["n"], rows["efficientnet-b0", "macs"]["n"]) == (18, 9)
    assert len({panel.axis for panel in told.panels}) == 1, "panels of one range"


def test_nothing_is_told_where_the_noise_is_larger() -> None:
    assert told_of("activations", noise=2.0).claims[0].verdict == "not told apart"


def test_the_networks_grow_as_they_are_asked_to() -> None:
    base, found = cost(PUBLISHED["efficientnet-b0"], 224).macs, list(members({**SMALL, "image_size": 224}))
    assert len({one.name for one in found}) == len(found) == 18
    for one in found[:9]:
        macs = cost(one.scaled.architecture, one.scaled.train_image_size).macs
        assert macs / base == pytest.approx(one.growth, rel=0.25)  # layers and widths are rounded
    assert [one.growth for one in found[:5]] == [1, 2, 4, 2, 4]
    assert found[0].scaled.architecture == PUBLISHED["efficientnet-b0"]
    assert found[-1].scaled.image_size == 224  # by its width alone
