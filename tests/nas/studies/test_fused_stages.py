"""Which stages are worth fusing: the networks, the study at its smallest, and what is told of made-up results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nas_command import nas

from nas.studies.fused_stages import PAPER, STUDY, fused
from nas.studies.study import Conditions
from search_spaces import PUBLISHED, cost

B4 = PUBLISHED["efficientnet-b4"]


def test_params_and_activations_at_paper_scale() -> None:
    costs = {count: cost(fused(B4, count), 380) for count in PAPER}
    assert [round(one.params / 1e6, 1) for one in costs.values()] == [19.3, 20.9, 43.5, 132.1]
    assert [round(one.activations / 1e6) for one in costs.values()] == [49, 32, 27, 24]
    assert fused(B4, 0) == B4
    assert [stage.op for stage in fused(B4, 3).stages] == ["fused_mbconv"] * 3 + ["mbconv"] * 4
    assert [stage.kernel for stage in fused(B4, 7).stages] == [stage.kernel for stage in B4.stages]
    assert {stage.se_ratio for stage in fused(B4, 5).stages[:5]} == {0.0}


@pytest.mark.usefixtures("_in_this_process", "_one_thread", "_unsynced")
def test_the_study_by_the_command(tmp_path: Path, pictures: Path, timed_by: Callable[..., list[str]]) -> None:
    timed_by(lambda network, size: 1 + 0.1 * sum(stage.op == "fused_mbconv" for stage in network.stages))
    asked = ("study", "fused-stages", "-o", tmp_path / "out", "--data", pictures, "--workers", 1, "--budget", 5)
    said = json.loads(nas(*asked, "--format", "json").out)
    assert (said["size"]["epochs"], said["size"]["seeds"], said["size"]["timed_width"]) == (1, 2, 0.25)
    assert [row["params"] for row in said["table"]] == [cost(fused(B4, count), 380).params for count in PAPER]
    assert all(0 <= row["accuracy"] <= 1 and row["n"] == 2 for row in said["table"])
    assert {claim["verdict"] for claim in said["claims"][:2]} == {"the opposite holds"}
    assert [claim["mean"] for claim in said["claims"][:3]] == pytest.approx([1 / 1.3, 1 / 1.5, 1.7 / 1.3])
    assert said["claims"][2]["verdict"] == "holds"
    assert said["table"][-1]["times_as_fast"] == pytest.approx(1 / 1.7)
    table = json.loads(nas(*asked, "--format", "json").out)["table"]
    assert table == said["table"]


def size_of(seeds: int) -> dict[str, Any]:
    own = {"pictures": 400, "minival": 100, "test_pictures": 200, "epochs": 3, "seeds": seeds, "image_size": 32}
    return {**own, "width": 0.25, "timed_width": 1.0, "timed_share": 1.0, "timed_batch": 8, "blocks": 9}


def test_what_is_told_of_made_up_results() -> None:
    tests = {
        "none": (0.70, 0.72, 0.74),
        "1-3": (0.71, 0.74, 0.77),
        "1-5": (0.75, 0.77, 0.791),
        "1-7": (0.5, 0.54, 0.52),
    }
    ratios = {"1-3-over-none": (0.8, 0.7, 0.9), "1-5-over-none": (1.0, 0.9, 1.1), "1-7-over-none": (1.25, 1.2, 1.3)}
    results: dict[str, dict[str, Any]] = {
        f"step-{name}": {"ratio": r, "low": low, "high": high, "anchor_seconds": 0.5, "samples": [r] * 9}
        for name, (r, low, high) in {**ratios, "1-3-over-1-7": (0.64, 0.5, 0.8)}.items()
    }
    for count, (name, accuracies) in zip(PAPER, tests.items(), strict=True):
        results[f"cost-{name}"] = cost(fused(B4, count), 380)._asdict()
        results |= {f"fused-{name}-seed{seed}": {"test": value} for seed, value in enumerate(accuracies)}
    told = STUDY.told(Conditions(), size_of(3), results)
    assert [claim.verdict for claim in told.claims] == [
        *("holds", "not told apart", "holds"),
        *("not told apart", "holds", "holds"),
    ]
    assert told.claims[0].found == (1.25, 1 / 0.9, 1 / 0.7, 9)
    assert told.claims[0].paper == "1.38 times (TPUv3), 1.39 times (V100)"
    assert told.claims[2].paper == "1.43 times (TPUv3), 1.05 times (V100)"
    assert not any("1-7 fused than with none" in claim.statement for claim in told.claims[:3]), "the devices disagree"
    half = 4.302653 * 0.01 / 3**0.5  # t of two degrees of freedom; the differences are .01, .02 and .03
    assert told.claims[3].found == pytest.approx((0.02, 0.02 - half, 0.02 + half, 3))
    assert told.claims[4].found.mean == pytest.approx(0.151 / 3)
    assert "less accurate with stages 1-7 fused" in told.claims[5].statement
    assert told.claims[5].found.mean == pytest.approx(0.2)
    assert [claim.paper for claim in told.claims[3:]] == ["+0.3 points", "+0.3 points", "+1.1 points"]
    assert [row["images_per_s"] for row in told.table] == pytest.approx([16, 20, 16, 12.8])
    last = told.table[-1]
    assert (last["paper_params"], last["paper_macs"], last["paper_accuracy"]) == (132_000_000, 34_400_000_000, 0.817)
    assert last["paper_tpu"] == pytest.approx(0.969, abs=5e-4)
    tpu, v100, _ = told.panels
    assert ("TPUv3" in tpu.title, "V100" in v100.title, tpu.axis == v100.axis) == (True, True, True)
    assert [mark.paper for mark in tpu.marks] == pytest.approx([362 / 262, 327 / 262, 254 / 262])
    assert [mark.paper for mark in v100.marks] == pytest.approx([216 / 155, 223 / 155, 206 / 155])
    assert [mark.label for mark in tpu.marks] == [f"stages 1-{last} fused" for last in (3, 5, 7)]
    assert any("(epochs: 3)" in line for line in told.changed)
    assert not any(" of its width timed" in line or "380 px at" in line for line in told.changed)  # B4 as it is
