"""V1 against V2: what is timed, what is told of it, and the paper's numbers beside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nas_command import nas

from nas.studies.study import Conditions
from nas.studies.v1_v2 import PAIRS, STUDY, pixels
from search_spaces import PUBLISHED, cost

WHOLE = {"pairs": 5, "image_share": 1.0, "batch_size": 8, "blocks": 9}


def gave(ratio: float, low: float, high: float) -> dict[str, Any]:
    """What a comparison of both ways gives where V2's pass takes half as long as that ratio says."""
    step = {"ratio": ratio, "low": low, "high": high, "seconds": ratio * 2.0, "anchor_seconds": 2.0}
    passing = {"ratio": ratio / 2, "low": low / 2, "high": high / 2, "seconds": ratio / 2, "anchor_seconds": 1.0}
    samples = [ratio] * 9
    return {**step, "samples": samples} | {f"pass_{k}": v for k, v in {**passing, "samples": samples}.items()}


def test_the_study_by_the_command(tmp_path: Path, timed_by: Callable[..., list[str]]) -> None:
    timings = timed_by(lambda network, size: 1e-9 * cost(network, size).activations)
    asked = ("study", "v1-v2", "-o", tmp_path / "out", "--budget", 0.1, "--format", "json")
    said = json.loads(nas(*asked).out)
    assert said["size"] == {"pairs": 1, "image_share": 0.25, "batch_size": 4, "blocks": 7}
    training, inference, params, macs = said["table"]
    v1, v2 = PUBLISHED["efficientnet-b1"], PUBLISHED["efficientnetv2-b0"]
    assert training["times"] == pytest.approx(cost(v1, 48).activations / cost(v2, 48).activations)
    assert inference["times"] == pytest.approx(cost(v1, 60).activations / cost(v2, 56).activations)
    assert inference["v2_value"] == pytest.approx(4 / (0.5e-9 * cost(v2, 56).activations))
    assert (training["paper_times"], inference["paper_times"]) == (None, 5739 / 2675)
    assert (params["v1_value"], params["v2_value"]) == (7.794184, 7.139704)
    assert macs["times"] == pytest.approx(686_817_992 / 718_100_696)
    assert [claim["verdict"] for claim in said["claims"]] == ["holds", "holds"]
    assert (tmp_path / "out" / "figure.svg").is_file()
    assert len(timings) == 2
    assert json.loads(nas(*asked).out) == said
    assert len(timings) == 2  # nothing was timed again


def test_what_is_told_of_each_pair() -> None:
    ratios = {"b0": (0.5, 0.4, 0.8), "b1": (1.0, 0.9, 1.1), "b3": (4.0, 3.0, 5.0), "s": (0.5, 0.4, 2.0), "m": (2, 2, 2)}
    results = {f"{p.v2}-over-{p.v1}": gave(*ratios[p.v2.rpartition("-")[2]]) for p in PAIRS}
    told = STUDY.told(Conditions(), WHOLE, results)
    verdicts = {claim.statement: claim.verdict for claim in told.claims}
    assert verdicts["efficientnetv2-b0 trains faster than efficientnet-b1"] == "holds"
    assert verdicts["efficientnetv2-b1 trains faster than efficientnet-b2"] == "not told apart"
    assert verdicts["efficientnetv2-b1 runs faster than efficientnet-b2"] == "holds"
    assert verdicts["efficientnetv2-b3 trains faster than efficientnet-b4"] == "the opposite holds"
    assert verdicts["efficientnetv2-s trains faster than efficientnet-b5"] == "not told apart"
    first = told.claims[0]
    assert first.found == (2.0, 1.25, 2.5, 9)
    assert str(told.claims[-1]).endswith("n = 9. The paper: 2.98 times (latency on a V100, batches of 16).")
    assert told.claims[-2].paper == "4.15 times (hours of the same training on 32 TPUv3 cores)"
    rows = {(row["v2"], row["what"]): row for row in told.table}
    assert len(rows) == 20
    assert [rows[pair.v2, "inference"]["paper_times"] for pair in PAIRS] == pytest.approx(
        [2.1, 2.0, 2.7, 3.1, 3.0], abs=0.05
    )  # as the paper prints the first four
    m = rows["efficientnetv2-m", "training"]
    assert (m["v1_value"], m["v2_value"]) == (4.0, 2.0)  # batches of 8 in 2 and 4 s
    assert (m["paper_v1"], m["paper_v2"], m["paper_unit"]) == (54, 13, "hours")
    assert round(rows["efficientnetv2-m", "macs"]["v1_value"]) == 38  # B7 at 600 px, as printed
    assert all(list(row) == list(told.table[0]) for row in told.table)
    assert told.panels[0].title == "training: here a step, in the paper whole trainings on TPUv3"
    assert any(line.startswith("accuracy is not taken again") for line in told.changed)
    first_alone = STUDY.told(Conditions(), {**WHOLE, "pairs": 1}, results)
    assert first_alone.panels[0].title == "training: here a step", "of which the paper has no training"


def test_both_train_at_one_size_and_run_at_their_own() -> None:
    assert pixels(PAIRS[3], 1.0) == {"training": (300, 300), "inference": (456, 384)}
    assert pixels(PAIRS[4], 0.5) == {"training": (192, 192), "inference": (300, 240)}
    assert pixels(PAIRS[0], 0.1)["training"] == (32, 32)
