"""The findings and the enrichment of choices, on tables where it is known what the best networks have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.analysis import enrichment, findings, findings_by_stage
from search_spaces import PUBLISHED, SPACES, Architecture, SearchSpace

FUSED, SMALL, KERNELS, LAST = (
    "fused early, MBConv late",
    "small expansion ratios",
    "3x3 kernels with more layers",
    "no last stride-1 stage",
)
SPACE = SPACES["efficientnetv2-s"]


def table(space: SearchSpace, genotypes: list[tuple[int, ...]], rewards: np.ndarray | list[float]) -> pd.DataFrame:
    frame = pd.DataFrame([space.labels(genotype) for genotype in genotypes], columns=[c.name for c in space.choices])
    texts = [str(space.decode(genotype)) for genotype in genotypes]
    return frame.assign(architecture=texts, state="complete", replicate=0, reward=rewards)


def random_table(space: SearchSpace, networks: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return table(space, [space.sample(rng) for _ in range(networks)], rng.normal(size=networks))


def verdicts(frame: pd.DataFrame, space: SearchSpace = SPACE, column: str = "verdict") -> dict[str, str]:
    return findings(frame, space).set_index("finding")[column].to_dict()


def shown_by(architecture: Architecture) -> dict[str, float]:
    """Which findings one network of the space shows: that of the best of twenty."""
    frame = random_table(SPACE, 19, 0)
    best = table(SPACE, [SPACE.encode(architecture)], [9.0])
    return findings(pd.concat([frame, best], ignore_index=True), SPACE).set_index("finding")["in_top"].to_dict()


def test_v2_s_shows_three_of_its_findings_and_its_opposite_none() -> None:
    v2_s = PUBLISHED["efficientnetv2-s"]
    assert shown_by(v2_s) == {FUSED: 1, SMALL: 0, KERNELS: 1, LAST: 1}, "4, 6 and 6 of {1, 4, 6} are not small"
    small = replace(v2_s, stages=tuple(replace(s, expand_ratio=min(s.expand_ratio, 4)) for s in v2_s.stages))
    assert shown_by(small)[SMALL] == 0
    small = replace(v2_s, stages=tuple(replace(s, expand_ratio=1) for s in v2_s.stages))
    assert shown_by(small) == {FUSED: 1, SMALL: 1, KERNELS: 1, LAST: 1}
    last = SPACE.backbone.stages[-1]
    opposite = replace(
        SPACE.backbone,
        stages=tuple(
            replace(s, op="mbconv", se_ratio=0.25, kernel=5, expand_ratio=6) for s in (*v2_s.stages, replace(last))
        ),
    )
    assert shown_by(opposite) == {FUSED: 0, SMALL: 0, KERNELS: 0, LAST: 0}
    shallow = replace(v2_s, stages=(*v2_s.stages[:5], replace(v2_s.stages[5], layers=10)))
    assert shown_by(shallow)[KERNELS] == 0, "3x3 kernels without more layers"


def test_findings_that_are_there_are_shown_and_their_opposites_are_told() -> None:
    frame = random_table(SPACE, 1000, 1)
    by_stage = [f"stage{number}_op" for number in range(1, 8)]
    fused = frame[by_stage] == "fused_mbconv"
    early = fused.iloc[:, :3].mean(axis=1) - fused.iloc[:, 3:6].mean(axis=1)
    frame["reward"] += 3 * early
    assert verdicts(frame) == {FUSED: "shown", **dict.fromkeys((SMALL, KERNELS, LAST), "not told apart")}
    row = findings(frame, SPACE).iloc[0]
    assert row["low"] > 1.3
    assert row["enrichment"] == pytest.approx(row["in_top"] / row["in_all"])
    assert (row["top_networks"], row["networks"]) == (50, 1000)
    assert row["in_space"] == pytest.approx(row["in_all"], abs=0.06), "the whole is random here"
    frame["reward"] = frame["reward"] - 6 * early
    assert verdicts(frame)[FUSED] == "opposite"


def test_each_stage_has_its_part_of_a_finding() -> None:
    frame = random_table(SPACE, 1000, 2)
    frame["reward"] += 5.0 * (frame["stage2_kernel"] == 3) - 5.0 * (frame["stage5_op"] == "mbconv")
    rows = findings_by_stage(frame, SPACE).set_index("statement")
    assert rows.loc["stage 2 has kernel 3", "verdict"] == "shown"
    assert rows.loc["stage 5 is MBConv", "verdict"] == "opposite"
    assert rows.loc["stage 3 is fused", "choice"] == "stage3_op"
    assert rows.loc["stage 7 is left out", "finding"] == LAST
    assert list(rows.loc[rows["finding"] == KERNELS, "stage"]) == [1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6]
    of_expansion = rows.loc["stage 4, where it is MBConv, has an expansion ratio under 3.67"]
    assert of_expansion["networks"] == (frame["stage4_op"] == "mbconv").sum()
    assert of_expansion["in_all"] == pytest.approx(1 / 3, abs=0.06)


def test_what_a_controller_has_learned_shows_against_chance() -> None:
    frame = random_table(SPACE, 4000, 3)
    learned = frame[(frame["stage7_layers"] == 0) | (np.arange(4000) < 100)].reset_index(drop=True)
    found = findings(learned, SPACE).set_index("finding").loc[LAST]
    assert found["in_all"] > 0.4
    assert found["verdict"] == "not told apart", "all that it proposes has it"
    assert found["space_verdict"] == "shown"
    assert found["space_ratio"] == pytest.approx(found["in_top"] / found["in_space"])
    assert found["space_low"] < 0.9 * found["space_ratio"], "the share in the space is of 2,000 networks, not known"
    assert found["in_space"] == pytest.approx(1 / 37, abs=0.015), "one of the 2 * 2 * 3 * 3 + 1 last stages"


def test_chance_is_not_taken_for_a_finding() -> None:
    space = SPACES["small"]
    told = [verdict for seed in range(10) for verdict in verdicts(random_table(space, 400, seed), space).values()]
    assert sum(verdict != "not told apart" for verdict in told) <= 4, "of 40; two are expected at the most"


def test_enrichment_counts_what_it_says() -> None:
    options = [3, 3, 3, 5, 5, 5, 5, 5, None, None]
    frame = pd.DataFrame({"k": pd.array(options, "Int64"), "reward": np.arange(10, 0, -1.0)})
    frame = frame.assign(architecture=[*"abcdefghij"], state="complete")
    found = enrichment(frame, ["k"], top=0.4)
    assert list(found["option"]) == [3, 5]
    assert list(found["in_top"]) == [0.75, 0.25]
    assert list(found["in_all"]) == [3 / 8, 5 / 8], "of those where the choice matters"
    assert list(found["ratio"]) == [2.0, 0.4]
    assert found[["top_networks", "networks"]].to_numpy().tolist() == [[4, 8]] * 2
    # Clopper and Pearson for 3 of 4: 0.1941 to 0.9937
    assert found.loc[0, ["low", "high"]].to_list() == pytest.approx([0.1941 / 0.375, 0.9937 / 0.375], abs=1e-3)


def test_failed_and_stopped_ones_are_of_the_whole_and_never_of_the_top() -> None:
    frame = pd.DataFrame({"k": [3] * 4 + [5] * 16, "reward": [1.0] * 4 + [np.nan] * 16})
    states = ["complete"] * 4 + ["failed"] * 8 + ["stopped"] * 8
    frame = frame.assign(architecture=[str(n) for n in range(20)], state=states)
    found = enrichment(frame, ["k"], top=0.2).iloc[0]
    assert (found["in_top"], found["in_all"], found["ratio"]) == (1, 0.2, 5)
    others = frame.assign(architecture="x", state=["asked", "infeasible"] * 10)
    repeats = frame.assign(state="repeat", reward=9.0)
    again = pd.concat([frame, others, repeats], ignore_index=True)
    pd.testing.assert_frame_equal(enrichment(again, ["k"], top=0.2), enrichment(frame, ["k"], top=0.2))
    assert enrichment(frame, ["k"], top=0.9).iloc[0]["top_networks"] == 4, "no more than have a reward"


def test_a_replicated_network_counts_once_with_its_mean() -> None:
    frame = pd.DataFrame({"k": [3, 3, 5, 5], "reward": [1.0, 0.0, 0.8, 0.7], "architecture": [*"aabc"]})
    found = enrichment(frame.assign(state="complete"), ["k"], top=0.1)
    assert list(found["in_top"]) == [0, 1], "0.8 is over the mean of 1 and 0"
    assert list(found["networks"]) == [3, 3]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from([3, 5]), st.integers(0, 6)), min_size=1, max_size=40))
def test_enrichment_knows_no_order_and_no_scale(rows: list[tuple[int, int]]) -> None:
    frame = pd.DataFrame(rows, columns=["k", "reward"]).assign(state="complete")
    frame["architecture"] = [str(number) for number in range(len(rows))]
    found = enrichment(frame, ["k"])
    shuffled = frame.sample(frac=1, random_state=len(rows)).assign(reward=lambda f: 3.0 * f["reward"] - 1)
    pd.testing.assert_frame_equal(enrichment(shuffled, ["k"]), found)
    assert found["in_top"].sum() == pytest.approx(1)
    assert found["in_all"].sum() == pytest.approx(1)
    assert (found["low"] <= found["ratio"]).all()
    assert (found["ratio"] <= found["high"]).all()
    assert found["top_networks"].iloc[0] >= np.ceil(0.05 * len(rows)), "equals of the last are in the top too"


@pytest.mark.parametrize(("networks", "state"), [(0, "complete"), (1, "complete"), (30, "failed"), (30, "asked")])
def test_with_no_outcomes_nothing_is_told(networks: int, state: str) -> None:
    frame = random_table(SPACE, networks, 4).assign(state=state)
    frame["reward"] = frame["reward"].where(frame["state"] == "complete")
    expected = {"nothing to tell"} | ({"not told apart"} if networks == 1 else set())
    assert set(verdicts(frame).values()) <= expected
    assert set(verdicts(frame, column="space_verdict").values()) <= expected
    assert set(findings_by_stage(frame, SPACE)["verdict"]) <= expected
    assert enrichment(frame, [c.name for c in SPACE.choices])["low"].dropna().le(1).all()


def test_what_a_space_does_not_ask_is_said(load_example: Callable[[str], ModuleType]) -> None:
    asked_none = "not asked by this space"
    accel = load_example("accel_nasbench").space  # every op is MBConv and every stage stays
    found = findings(random_table(accel, 200, 5), accel).set_index("finding")
    assert found["verdict"].to_dict() == {
        **dict.fromkeys((FUSED, LAST), asked_none),
        **dict.fromkeys((SMALL, KERNELS), "not told apart"),
    }
    assert found.loc[FUSED, ["in_top", "in_all", "enrichment", "in_space"]].isna().all()
    assert found.loc[LAST, "space_verdict"] == asked_none
    macro = load_example("nasbench_macro").space  # kernel, expansion and op go together
    frame = random_table(macro, 200, 5)
    assert set(verdicts(frame, macro).values()) == {asked_none}
    assert findings_by_stage(frame, macro).empty


def test_accel_nasbench_says_what_its_accurate_networks_have(
    shared_data: Path, load_example: Callable[[str], ModuleType]
) -> None:
    example = load_example("accel_nasbench")
    rows = example.read_table(shared_data / "accel_nasbench_public.csv.gz")
    space: SearchSpace = example.space
    genotypes = [space.encode(Architecture.parse(text)) for text in rows["architecture"]]
    frame = table(space, genotypes, rows["val_top1"].to_numpy() / 100)
    found = findings(frame, space).set_index("finding")
    assert found.loc[SMALL, "verdict"] == "opposite", "of accuracy alone, the wide ones are the best"
    assert found.loc[SMALL, "networks"] == 4616
    layers = enrichment(frame, ["stage6_layers"]).set_index("option")
    assert layers.loc[4, "low"] > 1
    assert layers.loc[1, "high"] < 1
    fast = findings(frame.assign(reward=-rows["train_time"]), space).set_index("finding")
    assert fast.loc[SMALL, "verdict"] == "shown", "of training time alone, the narrow ones are"


def test_a_top_must_be_a_share_and_the_choices_be_there() -> None:
    frame = random_table(SPACE, 3, 6)
    for top in (0.0, 1.0, 5.0):
        with pytest.raises(ValueError, match="share of the best networks"):
            findings(frame, SPACE, top=top)
    with pytest.raises(ValueError, match="lacks"):
        findings(frame, _with_another_choice())


def _with_another_choice() -> SearchSpace:
    space = SPACES["small"]
    first, *others = space.choices
    return replace(space, choices=(replace(first, name="stage1_design"), *others))
