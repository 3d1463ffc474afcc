"""Importance on tables whose truth is known in closed form, and on a benchmark that holds every network of a space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeRegressor

from results.analysis import importance
from results.analysis.importance import MOST_FITTED
from results.analysis.marginals import marginals
from results.store import TrialStore
from results.trial import Measurement, Trial
from search_spaces import SPACES

SIZES = (2, 2, 3, 3, 4, 2, 2, 3)
NAMES = [f"stage{number}_option" for number in range(len(SIZES))]


def table(codes: np.ndarray, rewards: np.ndarray) -> pd.DataFrame:
    frame = pd.DataFrame(codes, columns=NAMES[: codes.shape[1]])
    architectures = [f"network {number}" for number in range(len(frame))]
    return frame.assign(architecture=architectures, state="complete", replicate=0, reward=rewards)


def draws(rng: np.random.Generator, networks: int) -> np.ndarray:
    return rng.integers(SIZES, size=(networks, len(SIZES)))


def standardised(codes: np.ndarray, choice: int) -> np.ndarray:
    """Of mean 0 and variance 1 where every option is equally likely."""
    options = np.arange(SIZES[choice])
    return np.asarray((codes[:, choice] - options.mean()) / options.std())


def of(frame: pd.DataFrame, column: str) -> pd.Series:
    return frame.set_index("choice")[column]


def test_shares_of_an_additive_target_are_those_of_its_variances() -> None:
    rng = np.random.default_rng(0)
    codes = draws(rng, 1000)
    weights = {1: 3.0, 2: 2.0, 4: 1.0}
    signal = sum(weight * standardised(codes, choice) for choice, weight in weights.items())
    found = importance(table(codes, signal + rng.normal(size=1000)), NAMES)
    shares = of(found.table, "share")
    for choice, weight in weights.items():
        assert shares[NAMES[choice]] == pytest.approx(weight**2 / 14, abs=0.03)
    assert list(found.table["choice"][:3]) == [NAMES[1], NAMES[2], NAMES[4]]
    assert shares.drop([NAMES[choice] for choice in weights]).max() < 0.003
    assert shares.sum() == pytest.approx(1, abs=0.04)
    assert found.pairs["share"].max() < 0.01
    assert found.r2 == pytest.approx(14 / 15, abs=0.03), "what is not noise"
    assert found.r2_low < found.r2 < found.r2_high
    assert (found.trials, found.networks, found.fitted) == (1000, 1000, 1000)

    permutation = found.table.set_index("choice").loc[[NAMES[1], NAMES[0]]]
    # a shuffled choice makes an error of twice its variance
    assert permutation["permutation"].iloc[0] == pytest.approx(2 * 9 / 15, abs=0.15)
    assert permutation["permutation_low"].iloc[1] <= 0.001

    effects = found.effects[found.effects["choice"] == NAMES[2]]
    assert effects["effect"].to_numpy() == pytest.approx(2 * np.array([-1, 0, 1]) / np.std([0, 1, 2]), abs=0.25)
    assert (effects["low"] < effects["effect"]).all()
    assert (effects["effect"] < effects["high"]).all()
    assert effects["count"].sum() == 1000


def test_shares_are_of_the_space_however_often_an_option_was_tried() -> None:
    rng = np.random.default_rng(1)
    codes = draws(rng, 1500)
    codes[:, 0] = rng.random(1500) < 0.05  # nearly always the one: a twentieth of the variance among the trials
    rewards = standardised(codes, 0) + standardised(codes, 1)
    found = importance(table(codes, rewards), NAMES)
    assert of(found.table, "share")[NAMES[:2]].to_numpy() == pytest.approx([0.5, 0.5], abs=0.05)
    permutation = of(found.table, "permutation")
    assert permutation[NAMES[0]] < 0.4 * permutation[NAMES[1]], "which is of the trials"


def test_the_variance_of_a_product_is_shared_by_the_two_and_their_pair() -> None:
    rng = np.random.default_rng(2)
    codes = draws(rng, 1000)
    found = importance(table(codes, 2.0 * codes[:, 0] * codes[:, 5] + 0.3 * rng.normal(size=1000)), NAMES)
    strongest = found.pairs.iloc[0]
    assert {strongest["choice"], strongest["other"]} == {NAMES[0], NAMES[5]}
    assert strongest["share"] == pytest.approx(1 / 3, abs=0.03)
    assert strongest["low"] < strongest["share"] < strongest["high"]
    assert of(found.table, "share")[[NAMES[0], NAMES[5]]].to_numpy() == pytest.approx([1 / 3, 1 / 3], abs=0.03)
    assert found.pairs["share"].iloc[1] < 0.005


def test_an_interaction_without_effects_alone_is_a_pair_and_not_two_choices() -> None:
    rng = np.random.default_rng(2)
    codes = draws(rng, 1000)
    rewards = standardised(codes, 0) * standardised(codes, 5) + standardised(codes, 3) + 0.3 * rng.normal(size=1000)
    found = importance(table(codes, rewards), NAMES)
    strongest = found.pairs.iloc[0]
    assert {strongest["choice"], strongest["other"]} == {NAMES[0], NAMES[5]}
    assert 0.1 < strongest["share"] < 0.5 < strongest["high"], "trees see less of it than there is"
    assert found.pairs["share"].iloc[1] < 0.02
    shares = of(found.table, "share")
    assert shares[[NAMES[0], NAMES[5]]].max() < 0.02
    permutation = of(found.table, "permutation")
    assert permutation[[NAMES[0], NAMES[5]]].min() > 0.3, "for which the two matter"


@pytest.mark.parametrize("networks", [25, 1000])
def test_of_noise_it_says_that_nothing_is_explained(networks: int) -> None:
    rng = np.random.default_rng(3)
    found = importance(table(draws(rng, networks), rng.normal(size=networks)), NAMES)
    assert -0.35 < found.r2 < 0.05
    assert found.r2_low <= 0
    assert "no better than their mean" in found.verdict
    assert (found.table["permutation_low"] < 0.01).all()


def test_intervals_of_effects_cover_the_truth() -> None:
    covered = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        codes = draws(rng, 300)
        found = importance(table(codes, standardised(codes, 0) + rng.normal(size=300)), NAMES)
        effects = found.effects.set_index(["choice", "option"])
        truth = np.where(effects.index.get_level_values(0) == NAMES[0], 2.0 * effects.index.get_level_values(1) - 1, 0)
        covered.append(((effects["low"] <= truth) & (truth <= effects["high"])).mean())
    assert np.mean(covered) > 0.9


def test_marginals_are_the_means_over_the_whole_space() -> None:
    rng = np.random.default_rng(4)
    sizes = np.array([2, 3, 4, 3])
    codes = rng.integers(sizes, size=(60, 4))
    codes = codes[codes[:, 2] != 1]  # thresholds between options that are no neighbours
    trees = [
        DecisionTreeRegressor(max_features=2, random_state=seed).fit(codes, rng.normal(size=len(codes)))
        for seed in range(3)
    ]
    found = marginals([tree.tree_ for tree in trees], sizes)
    space = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), axis=-1).reshape(-1, 4)
    predicted = np.mean([tree.predict(space) for tree in trees], axis=0)
    options = [(choice, option) for choice, size in enumerate(sizes) for option in range(size)]
    having = np.array([space[:, choice] == option for choice, option in options])
    assert found.mean == pytest.approx(predicted.mean())
    assert found.one == pytest.approx(np.array([predicted[has].mean() for has in having]))
    for one, (choice, _) in enumerate(options):
        for two, (other, _) in enumerate(options):
            if choice != other:
                assert found.two[one, two] == pytest.approx(predicted[having[one] & having[two]].mean())


def test_choices_of_an_absent_stage_explain_nothing() -> None:
    rng = np.random.default_rng(5)
    codes = draws(rng, 800)
    frame = table(codes, 1.0 * codes[:, 0])
    absent = frame[NAMES[0]] == 0
    frame[NAMES[1]] = frame[NAMES[1]].astype("Int64").mask(absent)
    frame[NAMES[2]] = frame[NAMES[2]].map({0: "a", 1: "b", 2: "c"}).mask(absent)
    found = importance(frame, NAMES)
    shares = of(found.table, "share")
    assert shares[NAMES[0]] == pytest.approx(1, abs=0.05)
    assert shares[NAMES[1:3]].max() < 0.005
    effects = found.effects
    assert list(effects.loc[effects["choice"] == NAMES[2], "option"]) == ["a", "b", "c"]
    assert effects.loc[effects["choice"] == NAMES[1], "count"].sum() == (~absent).sum()


def test_what_has_no_outcome_of_its_own_changes_nothing() -> None:
    rng = np.random.default_rng(6)
    codes = draws(rng, 60)
    frame = table(codes, codes[:, 0] + rng.normal(size=60))
    alone = importance(frame, NAMES)
    others = table(draws(rng, 20), rng.normal(size=20)).assign(architecture=[f"other {n}" for n in range(20)])
    others["state"] = ["failed", "stopped", "infeasible", "asked"] * 5
    others.loc[others["state"] != "stopped", "reward"] = np.nan
    repeats = frame.head(10).assign(state="repeat", reward=99.0)
    unmeasured = others.head(3).assign(state="complete", reward=np.nan)
    again = importance(pd.concat([frame, others, repeats, unmeasured], ignore_index=True), NAMES)
    pd.testing.assert_frame_equal(again.table, alone.table)
    pd.testing.assert_frame_equal(again.effects, alone.effects)
    assert again[3:] == alone[3:]


def test_trainings_of_one_network_are_averaged() -> None:
    rng = np.random.default_rng(7)
    codes = draws(rng, 60)
    means = codes[:, 0] + rng.integers(-8, 8, size=60) / 8  # exact sums
    frame = table(codes, means)
    twice = [frame.assign(reward=means + error, replicate=number) for number, error in enumerate((0.5, -0.5))]
    found, alone = importance(pd.concat(twice, ignore_index=True), NAMES), importance(frame, NAMES)
    pd.testing.assert_frame_equal(found.table, alone.table)
    assert (found.trials, found.networks) == (120, 60)


@pytest.mark.parametrize(
    ("networks", "state"), [(0, "complete"), (1, "complete"), (19, "complete"), (50, "failed"), (50, "asked")]
)
def test_with_too_few_outcomes_nothing_is_fitted(networks: int, state: str) -> None:
    rng = np.random.default_rng(8)
    frame = table(draws(rng, networks), rng.normal(size=networks)).assign(state=state)
    found = importance(frame, NAMES)
    assert list(found.table["choice"]) == NAMES
    assert found.table["share"].isna().all()
    assert found.effects["effect"].isna().all()
    assert found.pairs.empty
    assert np.isnan(found.r2)
    assert found.fitted == 0
    assert "nothing fitted" in found.verdict


def test_without_a_difference_nothing_is_fitted() -> None:
    rng = np.random.default_rng(9)
    codes = draws(rng, 50)
    assert importance(table(codes, np.ones(50)), NAMES).fitted == 0, "of the target"
    assert importance(table(codes * 0, rng.normal(size=50)), NAMES).fitted == 0, "of the choices"
    codes[:, 3] = 1
    found = importance(table(codes, rng.normal(size=50)), NAMES)
    assert found.fitted == 50
    assert found.table["choice"].iloc[-1] == NAMES[3], "of one choice alone"
    assert list(found.table["share"].isna()) == [False] * 7 + [True]


def test_a_forest_that_predicts_one_value_has_no_shares() -> None:
    codes = np.zeros((30, 1), dtype=int)
    codes[0] = 1  # too few to split by
    found = importance(table(codes, np.arange(30.0)), NAMES[:1])
    assert found.fitted == 30
    assert found.table["share"].isna().all()
    assert found.r2 < 0.1


def test_of_many_networks_some_are_fitted_and_it_says_so() -> None:
    rng = np.random.default_rng(10)
    codes = draws(rng, MOST_FITTED + 500)
    found = importance(table(codes, codes[:, 0] + 0.1 * rng.normal(size=len(codes))), NAMES[:3])
    assert (found.fitted, found.networks) == (MOST_FITTED, MOST_FITTED + 500)
    assert "fitted to 4,000 of 4,500 networks" in found.verdict
    assert found.effects["count"].sum() == 3 * len(codes), "counted among all"


def test_the_seed_decides_and_another_target_may_be_asked_about() -> None:
    rng = np.random.default_rng(11)
    codes = draws(rng, 100)
    frame = table(codes, rng.normal(size=100)).assign(step_time=codes[:, 1] + 1.0)
    frame.loc[:9, "step_time"] = np.nan
    found = importance(frame, NAMES, target="step_time")
    assert found.networks == 90
    assert found.table["choice"].iloc[0] == NAMES[1]
    pd.testing.assert_frame_equal(importance(frame, NAMES, target="step_time").table, found.table)
    assert not importance(frame, NAMES, target="step_time", seed=1).table.equals(found.table)


def test_a_table_without_a_choice_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match=r"lacks \['stage9_kernel'\]"):
        importance(table(draws(np.random.default_rng(0), 5), np.zeros(5)), [*NAMES, "stage9_kernel"])


def test_on_a_run_in_progress(tmp_path: Path) -> None:
    space, rng = SPACES["small"], np.random.default_rng(12)
    names = [choice.name for choice in space.choices]
    store = TrialStore.create(tmp_path / "run", {"space": space.to_json()})
    for number in range(60):
        genotype = space.sample(rng)
        architecture = space.decode(genotype)
        trial = Trial(number=number, genotype=genotype, architecture=str(architecture), seed=number)
        store.asked(trial)
        if number < 50:
            reward = 1.0 * (architecture.stages[0].op == "mbconv")
            store.measured(number, Measurement(accuracy=0.5, params=100))
            store.told(replace(trial, state="complete", reward=reward))
    found = importance(store.frame(), names)
    store.close()
    assert (found.trials, found.fitted) == (50, 50)
    assert found.table["choice"].iloc[0] == "stage1_op"
    assert found.effects.iloc[0, :2].to_list() == ["stage1_op", "fused_mbconv"]
    assert found.effects["high"].iloc[0] < 0


def test_of_a_benchmark_that_holds_every_network_it_finds_the_exact_shares(
    shared_data: Path, load_example: Callable[[str], ModuleType]
) -> None:
    rows = load_example("nasbench_macro").read_table(shared_data / "nasbench_macro_cifar10.csv.gz")
    names = [f"layer{number}" for number in range(8)]
    digits = pd.DataFrame([[int(digit) for digit in arch] for arch in rows["arch"]], columns=names)
    frame = digits.assign(architecture=rows["arch"], state="complete", reward=rows["mean_acc"] / 100)
    found = importance(frame, names)
    exact = {
        name: frame.groupby(name)["reward"].mean().var(ddof=0) / frame["reward"].var(ddof=0) for name in names
    }  # all 3^8 are there, equally often
    assert found.r2 > 0.85
    shares = of(found.table, "share")
    for name in names:
        assert shares[name] == pytest.approx(exact[name], abs=0.05)
    effects = found.effects.set_index(["choice", "option"])["effect"]
    means = pd.concat({name: frame.groupby(name)["reward"].mean() for name in names}) - frame["reward"].mean()
    assert np.corrcoef(effects, means)[0, 1] > 0.98
    assert abs(effects.to_numpy() - means.to_numpy()).max() < 0.004


def test_what_is_the_same_for_all_is_said() -> None:
    rows = [{"k": n % 2, "reward": 0.5, "architecture": str(n), "state": "complete"} for n in range(40)]
    frame = pd.DataFrame(rows)
    assert importance(frame, ["k"]).verdict == "nothing fitted: the target is the same for all 40 networks"
    same = frame.assign(k=0, reward=np.arange(40.0))
    assert importance(same, ["k"]).verdict == "nothing fitted: all 40 networks took the same options"
    assert "it takes 20 networks that have the target; there are 4" in importance(frame.head(4), ["k"]).verdict
    with pytest.raises(ValueError, match="the target must be among k, reward; got speed"):
        importance(frame, ["k"], target="speed")
