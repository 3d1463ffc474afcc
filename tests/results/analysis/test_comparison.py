"""Comparing runs: the budget, what is called better and what is not, and what differs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trial_tables import SPACE, failed, rewarded, table, trial

from results.analysis.comparability import differing, doubts, random_run, reward_noise
from results.analysis.comparison import Comparison, compare
from results.analysis.hypervolumes import Volumes
from results.analysis.resampling import Candidates, p_values
from results.pareto import hypervolume
from results.trial import Trial
from search_spaces import cost

SMALL_SPACE = SPACE.to_json()
TASK = {"recipe": {"epochs": 2}, "pictures": {"minival": 1000}, "num_classes": 10, "in_channels": 1}


def configuration(**identity: Any) -> dict[str, Any]:
    known = {
        "space": SMALL_SPACE,
        "controller": "predictor",
        "reward": "training-aware",
        "evaluator": "proxy",
        "sources": {},
        "reward_weights": {"w": -0.07},
        "task": TASK,
        "image_size": 32,
        "limits": {},
        "objectives": ["accuracy", "step_time", "params"],
        "seed": 0,
    }
    return {"space": SMALL_SPACE, "columns": {"nas_version": "x"}, "identity": {**known, **identity}}


def measured(number: int, reward: float, **values: Any) -> Trial:
    known = {"accuracy": 0.5, "step_time": 1.0, "params": 100_000, "device": "cpu"}
    return trial(number, reward=reward, **{**known, **values})


def compared(*frames: pd.DataFrame, budget: int | None = None, **changed: Any) -> Comparison:
    runs = dict(zip("abcdefgh", frames, strict=False))
    return compare(
        runs,
        {name: configuration(**(changed if name == "b" else {})) for name in runs},
        rng=np.random.default_rng(0),
        budget=budget,
    )


def verdicts(found: Comparison) -> dict[str, str]:
    return dict(zip(found.differences["measure"], found.differences["verdict"], strict=True))


def test_a_better_run_is_called_so_by_all_measures() -> None:
    rng = np.random.default_rng(0)
    good = table(*(measured(n, r, accuracy=r) for n, r in enumerate(0.8 + 0.1 * rng.random(40))))
    poor = table(*(measured(n, r, accuracy=r) for n, r in enumerate(0.5 + 0.1 * rng.random(50))))
    found = compared(good, poor)
    assert found.budget == 40
    assert set(verdicts(found).values()) == {"a is better"}
    assert set(verdicts(compared(poor, good)).values()) == {"b is better"}
    assert (found.differences["low"] > 0).all()
    assert (found.differences["low"] <= found.differences["difference"]).all()
    best = found.runs.set_index("run").loc["a"]
    assert best["best"] == good["reward"].max()
    assert best["top"] == pytest.approx(good["reward"].nlargest(2).mean())
    assert best["number"] == good["reward"].to_numpy().argmax()
    assert found.runs["evaluated"].tolist() == [40, 50]


def test_one_lucky_candidate_calls_nothing() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(40), rng.random(40)
    ours[7] = 5.0
    found = compared(rewarded(ours.tolist()), rewarded(theirs.tolist()))
    assert found.differences["difference"].iloc[0] > 4
    assert verdicts(found)["best"] == "not told apart"


@pytest.mark.parametrize("count", [1, 3, 4, 16])
def test_alike_runs_are_seldom_told_apart(count: int) -> None:
    """At most one case in twenty; of fewer than four candidates none, however few draws a bootstrap would have."""
    rng, called = np.random.default_rng(1), np.zeros(2)
    for _ in range(40):
        one, other = (Candidates(rng.normal(size=count), None) for _ in range(2))
        called += p_values(one, other, rng)[:2] <= 0.05
    assert (called <= (6 if count > 3 else 0)).all()  # over 6 of 40 are less likely than one in 200


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**31))
def test_an_interval_holds_its_difference_and_runs_may_change_places(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = {
        name: table(
            *(
                measured(n, rng.normal(), accuracy=rng.random(), step_time=2 * rng.random())
                if rng.random() < share
                else failed(n)
                for n in range(12)
            )
        )
        for name, share in (("a", 1.0), ("b", rng.choice([0.2, 0.8])))
    }
    names = list(frames)
    there, back = (
        compare(
            {name: frames[name] for name in order},
            {name: configuration() for name in order},
            rng=np.random.default_rng(seed),
        ).differences
        for order in (names, names[::-1])
    )
    assert not ((there["low"] > there["difference"]) | (there["high"] < there["difference"])).any()
    assert (there["verdict"] == back["verdict"]).all()
    for name, mirrored in (("difference", "difference"), ("low", "high"), ("high", "low"), ("p_value", "p_value")):
        sign = 1 if name == "p_value" else -1
        np.testing.assert_allclose(there[name].to_numpy(float), sign * back[mirrored].to_numpy(float))


def test_a_run_that_has_converged_is_not_better_for_finding_the_same_again() -> None:
    """Half of a front of sixty points has less hypervolume than the whole; half of sixty copies of one has not."""
    times = np.linspace(0.2, 1.9, 60)
    spread = table(
        *(measured(n, 0.5, accuracy=0.5 + 0.4 * math.sqrt((t - 0.2) / 1.7), step_time=t) for n, t in enumerate(times))
    )
    for accuracy in (0.835, 0.85):
        copies = table(*(measured(n, 0.5, accuracy=accuracy, step_time=0.35 + 1e-4 * n) for n in range(60)))
        row = compared(copies, spread).differences.set_index("measure").loc["hypervolume"]
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["verdict"] == "not told apart"


def test_of_a_hundred_thousand_only_those_that_decide_are_drawn() -> None:
    rng = np.random.default_rng(0)
    many = Candidates(rng.normal(size=20_000), rng.random((20_000, 2)))
    top = 1000
    assert len(many.decisive(top)) < 5000
    for of in (rng.permutation(20_000)[:10_000], rng.integers(20_000, size=10_000)):
        decisive = of[np.isin(of, many.decisive(top))]
        np.testing.assert_allclose(many.measured(decisive, top), many.measured(of, top))


@settings(max_examples=8, deadline=None)
@given(st.permutations(range(12)))
def test_the_order_of_rows_does_not_matter(order: list[int]) -> None:
    rng = np.random.default_rng(0)
    one, other = (rewarded(rng.random(12).tolist()) for _ in range(2))
    found, mixed = compared(one, other), compared(one.iloc[order], other.iloc[order[::-1]])
    pd.testing.assert_frame_equal(found.differences, mixed.differences)
    pd.testing.assert_frame_equal(found.runs, mixed.runs)


def test_the_budget_cuts_to_the_first_candidates_and_leaves_out_repeats_and_replicates() -> None:
    one = table(
        measured(0, 0.1),
        trial(1, "repeat", 0.1, network=0, repeat_of=0),
        failed(2),
        measured(3, 0.2),
        measured(4, 0.9),
        measured(5, 0.99, network=4, replicate=1, arm="confirm"),
    )
    found = compared(one, one, budget=3)
    assert found.budget == 3
    assert found.runs["best"].tolist() == [0.2, 0.2]
    assert found.runs[["evaluated", "rewarded", "failed"]].to_numpy().tolist() == [[4, 2, 1]] * 2
    assert compared(one, one).runs["best"].tolist() == [0.9, 0.9]
    for budget in (0, 5):
        with pytest.raises(ValueError, match=f"every run has evaluated; got {budget}, and a has 4"):
            compared(one, one, budget=budget)
    with pytest.raises(ValueError, match="at least two runs can be compared; got 1"):
        compared(one)


def test_failed_candidates_are_the_worst() -> None:
    found = compared(rewarded([0.5] * 12), rewarded([None] * 12))
    assert verdicts(found)["best"] == "a is better"
    assert found.differences["difference"].iloc[0] == math.inf
    assert "b has no candidate with a reward" in found.warnings
    assert math.isnan(found.runs["best"].iloc[1])
    half = compared(rewarded([0.5] * 12), rewarded([0.5, None] * 6))
    assert verdicts(half)["best"] == "not told apart"


@pytest.mark.parametrize("frame", [table(), table(trial(0, "running")), table(failed(0)), table(measured(0, 0.5))])
def test_runs_of_little_are_told_apart_by_nothing(frame: pd.DataFrame) -> None:
    found = compared(frame, frame)
    assert found.budget == len(frame[frame["state"] != "running"])
    assert set(verdicts(found).values()) <= {"too few candidates", "not measured"}
    with_more = compared(frame, rewarded([0.1, 0.2, 0.3]))
    assert len(with_more.differences) == 3
    assert with_more.differences[["low", "high", "p_value"]].isna().all(axis=None)
    assert not with_more.differences["verdict"].str.contains("better").any()


def test_several_runs_are_compared_in_pairs() -> None:
    found = compared(*(rewarded([level] * 8) for level in (0.1, 0.2, 0.3)))
    best = found.differences[found.differences["measure"] == "best"]
    assert best[["run", "against", "verdict"]].to_numpy().tolist() == [
        ["a", "b", "b is better"],
        ["a", "c", "c is better"],
        ["b", "c", "c is better"],
    ]


# Hypervolume ---------------------------------------------------------------------------------------------------


def test_the_hypervolume_is_the_one_that_a_search_tells() -> None:
    anchor = cost(SPACE.backbone, 32, num_classes=10, in_channels=1)
    one = table(measured(0, 0.5, accuracy=0.8, step_time=0.5, params=anchor.params))
    two = table(measured(0, 0.5, accuracy=0.8, step_time=3.0))
    found = compared(one, two)
    assert found.runs["hypervolume"].tolist() == pytest.approx([0.8 * 0.75 * 0.5, 0])
    assert found.reference == {"accuracy": 0.0, "step_time": 2.0, "params": 2 * anchor.params}


def test_of_an_objective_that_was_not_measured_no_hypervolume_is_told() -> None:
    untimed = table(measured(0, 0.5, step_time=None), measured(1, 0.6, step_time=None))
    found = compared(untimed, untimed)
    assert verdicts(found)["hypervolume"] == "not measured"
    assert any("no hypervolume is compared: step_time was measured in no candidate of a" in w for w in found.warnings)
    apart = compared(untimed, untimed, objectives=["macs"])
    assert any("the runs have no objective in common" in w for w in apart.warnings)
    frames, rng = {"a": untimed, "b": untimed}, np.random.default_rng(0)
    chosen = compare(frames, {"a": {}, "b": {}}, rng=rng, objectives=["accuracy", "params"])
    assert verdicts(chosen)["hypervolume"] == "too few candidates"
    assert chosen.reference == {"accuracy": 0.0, "params": 100_000.0}, "the worst there is, where no backbone is known"
    with pytest.raises(ValueError, match="objectives must be columns of numbers in the trial tables; got beauty"):
        compare(frames, {"a": {}, "b": {}}, rng=rng, objectives=["beauty"])


@given(st.integers(0, 2**31))
def test_the_hypervolume_of_a_draw_is_that_of_its_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gains = np.round(rng.random((40, 3)), 1)
    chosen = rng.integers(40, size=20)
    assert Volumes(gains).of(chosen) == pytest.approx(hypervolume(gains[chosen]))


# What differs, and whether it matters --------------------------------------------------------------------------


def test_what_differs_is_listed_field_by_field() -> None:
    other = {**SMALL_SPACE, "choices": [dict(c) for c in SMALL_SPACE["choices"]]}
    other["choices"][0]["options"] = other["choices"][0]["options"][:1]
    runs = {
        "a": {**configuration(), "settings": {"workers": 1, "grace_epochs": 1}},
        "b": {**configuration(space=other, seed=3), "settings": {"workers": 1.0, "grace_epochs": 2}},
        "c": configuration(task={**TASK, "recipe": {"epochs": 4}}),
    }
    found = differing(runs).set_index("field")
    name = SMALL_SPACE["choices"][0]["name"]
    assert set(found.index) == {
        *("seed", "settings.grace_epochs", "settings.workers", "task.recipe.epochs"),
        f"space.choices.{name}.options",
    }
    assert found.loc["seed"].tolist() == [0, 3, 0]
    assert found.loc["settings.grace_epochs"].tolist() == [1, 2, None]
    assert found.loc["task.recipe.epochs"].tolist() == [2, 2, 4]
    assert differing({"a": configuration(), "b": configuration()}).empty


REWARDS_SPOILT = {"best": "not comparable", "top": "not comparable", "hypervolume": "b is better"}
ALL_SPOILT = dict.fromkeys(REWARDS_SPOILT, "not comparable")


@pytest.mark.parametrize(
    ("changed", "said", "expected"),
    [
        ({"seed": 7, "controller": "random"}, None, dict.fromkeys(REWARDS_SPOILT, "b is better")),
        ({"reward": "mnasnet-soft"}, "another reward or other weights (reward): a against b", REWARDS_SPOILT),
        ({"reward_weights": {"w": -0.1}}, "another reward or other weights (reward_weights.w)", REWARDS_SPOILT),
        ({"sources": {"reward": "1f"}}, "another reward or other weights (sources.reward)", REWARDS_SPOILT),
        ({"task": {**TASK, "recipe": {"epochs": 9}}}, "another proxy task (task.recipe.epochs)", ALL_SPOILT),
        ({"image_size": 64}, "another proxy task (image_size)", ALL_SPOILT),
        ({"sources": {"evaluator": "1f"}}, "another proxy task (sources.evaluator)", ALL_SPOILT),
        (
            {"space": {**SMALL_SPACE, "backbone": str(SPACE.decode(SPACE.genotype_at(9)))}},
            "costs relative to another backbone (space.backbone)",
            ALL_SPOILT,
        ),
    ],
)
def test_rewards_that_are_not_comparable_are_not_judged(
    changed: dict[str, Any], said: str | None, expected: dict[str, str]
) -> None:
    poor = table(*(measured(n, 0.1, accuracy=0.1) for n in range(8)))
    good = table(*(measured(n, 0.9, accuracy=0.9) for n in range(8)))
    found = compared(poor, good, **changed)
    assert verdicts(found) == expected
    doubted = [warning for warning in found.warnings if warning.startswith(("another", "costs"))]
    assert len(doubted) == (said is not None)
    assert said is None or said in doubted[0]


def test_only_the_pair_that_differs_is_not_judged() -> None:
    frames = {name: rewarded([level] * 8) for name, level in zip("abc", (0.1, 0.2, 0.3), strict=True)}
    of = {"a": configuration(), "b": configuration(), "c": configuration(reward="accuracy")}
    found = compare(frames, of, rng=np.random.default_rng(0))
    best = found.differences[found.differences["measure"] == "best"]
    assert best["verdict"].tolist() == ["b is better", "not comparable", "not comparable"]
    assert "(reward): a, b against c" in found.warnings[0]


def test_another_device_is_a_warning_and_no_more() -> None:
    one = table(*(measured(n, 0.1) for n in range(8)))
    other = table(*(measured(n, 0.9, device="gpu") for n in range(8)))
    found = compared(one, other)
    assert found.warnings[0] == "step times are of another device: a on cpu; b on gpu"
    assert verdicts(found)["best"] == "b is better"


def noisy(noise: float, rng: np.random.Generator) -> pd.DataFrame:
    firsts = [measured(n, 0.5 + 0.01 * n) for n in range(20)]
    again = [
        measured(20 + 2 * n + r, 0.5 + noise * rng.normal(), network=n, replicate=r + 1, arm="confirm")
        for n in range(10)
        for r in range(2)
    ]
    return table(*firsts, *again)


def test_the_noise_of_rewards_is_told_and_unlike_noises_are_a_warning() -> None:
    rng = np.random.default_rng(0)
    frame = table(*(measured(n, r, network=n // 2, replicate=n % 2) for n, r in enumerate([1, 3, 5, 5, 2, 4])))
    assert reward_noise(frame) == (pytest.approx(math.sqrt(4 / 3)), 3)
    assert reward_noise(rewarded([1.0, 2.0])) is None
    quiet, loud = noisy(0.02, rng), noisy(0.5, rng)
    (doubt,) = doubts({"a": quiet, "b": loud}, {"a": configuration(), "b": configuration()})
    assert "noise: trainings of one network differ in reward by" in doubt.said
    assert doubt.between("a", "b")
    assert not doubt.spoils
    assert not doubts({"a": quiet, "b": noisy(0.02, rng)}, {"a": configuration(), "b": configuration()})
    assert any("two trainings of one network differ by up to" in w for w in compared(loud, loud).warnings)
    assert any("no network was trained twice (--confirm)" in w for w in compared(frame[::2], frame[::2]).warnings)


def test_reused_trainings_are_told() -> None:
    one, other = table(measured(0, 0.5)), table(measured(0, 0.6, reused_from="x#1"))
    found = compared(one, other)
    assert "1 candidates of b were taken from earlier runs: they count here and cost nothing" in found.warnings


def test_chance_comes_from_a_run_of_the_same_search() -> None:
    frames = {
        "ours": rewarded([0.1, 0.2]),
        "few": rewarded([0.1], controller="random"),
        "many": rewarded([0.1, 0.2, 0.3], controller="random"),
        "other": rewarded([0.5] * 9, controller="random"),
    }
    of = {name: configuration(controller="random") for name in frames}
    of["other"] = configuration(reward="accuracy")
    assert random_run("ours", frames, of) == "many"
    of["many"] = configuration(limits={"params": 9})
    assert random_run("ours", frames, of) == "few"
    assert random_run("other", frames, of) is None
