"""Convergence beside chance: the closed form, its range, and what counts as a candidate or a draw."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_tables import failed, rewarded, table, together, trial

from results.analysis.candidates import candidates, random_draws
from results.analysis.convergence import convergence, draws_of, expected_best, range_of_best

REWARDS = st.floats(-100, 100)


@given(st.lists(REWARDS, min_size=1, max_size=7))
def test_the_expected_best_is_the_mean_over_all_subsets(rewards: list[float]) -> None:
    counts = np.arange(1, len(rewards) + 3)
    found = expected_best(np.array(rewards), counts)
    for k in range(1, len(rewards) + 1):
        assert found[k - 1] == pytest.approx(np.mean([max(s) for s in combinations(rewards, k)]), abs=1e-9)
    assert np.isnan(found[len(rewards) :]).all(), "of more draws than there are nothing is known"


@given(st.lists(REWARDS, min_size=2, max_size=40), st.randoms(use_true_random=False))
def test_the_order_of_draws_does_not_matter_and_more_draws_are_no_worse(rewards: list[float], random: object) -> None:
    counts = np.arange(1, len(rewards) + 5)
    mixed = np.random.default_rng(0).permutation(rewards)
    for one, other in zip(range_of_best(np.array(rewards), counts), range_of_best(mixed, counts), strict=True):
        np.testing.assert_array_equal(one, other)
        assert (np.diff(one[~np.isnan(one)]) >= 0).all()
    found = expected_best(mixed, counts)[: len(rewards)]
    np.testing.assert_allclose(found, expected_best(np.array(rewards), counts)[: len(rewards)])
    assert (np.diff(found) >= -1e-9).all()


def test_the_expected_best_is_that_of_a_simulation_and_of_the_uniform_distribution() -> None:
    rng = np.random.default_rng(0)
    rewards = rng.random(60)
    drawn = [rng.choice(rewards, 12, replace=False).max() for _ in range(20_000)]
    assert expected_best(rewards, np.array([12]))[0] == pytest.approx(np.mean(drawn), abs=0.001)
    means = np.mean([expected_best(rng.random(30), np.array([1, 5, 30])) for _ in range(3000)], axis=0)
    np.testing.assert_allclose(means, [1 / 2, 5 / 6, 30 / 31], atol=0.01)


def test_large_numbers_of_draws_neither_overflow_nor_take_long() -> None:
    rewards = np.linspace(0, 1, 100_000)
    found = expected_best(rewards, np.array([1, 1000, 99_999, 100_000]))
    np.testing.assert_allclose(found, [0.5, 1000 / 1001, 1, 1], atol=1e-4)
    low, high = range_of_best(rewards, np.array([1000]))
    assert low[0] == pytest.approx(0.025 ** (1 / 1000), abs=1e-4)
    assert high[0] == pytest.approx(0.975 ** (1 / 1000), abs=1e-4)


@pytest.mark.parametrize("draws", [5, 20, 100])
@pytest.mark.parametrize("kind", ["normal", "uniform", "exponential", "skewed"])
def test_the_range_holds_the_best_of_new_draws_as_often_as_it_says(draws: int, kind: str) -> None:
    rng = np.random.default_rng(draws)

    def sample(count: int) -> np.ndarray:
        drawn = {
            "normal": rng.normal(size=count),
            "uniform": rng.random(count),
            "exponential": rng.exponential(size=count),
            "skewed": rng.beta(20, 2, count) * np.exp(0.15 * rng.normal(size=count)),
        }
        return drawn[kind]

    counts, repeats = np.unique([1, max(2, draws // 5), draws, 4 * draws, 20 * draws]), 400
    above, below = np.zeros((2, len(counts)))
    for _ in range(repeats):
        low, high = range_of_best(sample(draws), counts)
        best = np.array([sample(int(k)).max() for k in counts])
        above, below = above + (best > high), below + (best < low)
    most = 0.025 + 3 * math.sqrt(0.025 * 0.975 / repeats)
    assert (above / repeats <= most).all()
    assert (below / repeats <= most).all()


def test_few_draws_tell_no_lower_end_and_one_tells_nothing_but_itself() -> None:
    low, high = range_of_best(np.array([1.0, 2.0, 3.0]), np.array([1, 20]))
    assert math.isnan(low[0])
    assert low[1] == 2.0, "that 20 new draws are all below it has 3/23 · 2/22, below the third 3/23"
    assert high[0] > 3
    assert np.isnan(range_of_best(np.array([1.0]), np.array([1, 2]))).all()
    assert expected_best(np.array([1.0]), np.array([1]))[0] == 1.0


# What counts ---------------------------------------------------------------------------------------------------


def of_every_kind() -> pd.DataFrame:
    return table(
        trial(0, reward=0.3),
        failed(1),
        trial(2, "stopped", told_at=1009.0, accuracy=0.9),
        trial(3, "repeat", 0.3, network=0, repeat_of=0),
        trial(4, "infeasible", reason="params 9 is over the limit of 8"),
        trial(5, "infeasible", reason="peak_memory_bytes 9 is over the limit of 8"),
        trial(6, reward=0.5, reused_from="other#3"),
        trial(7, "running"),
        trial(8, reward=0.9, network=0, arm="confirm", replicate=1),
        trial(10, reward=0.4),
    )


def test_candidates_are_the_first_trainings_in_the_order_of_their_ends() -> None:
    assert candidates(of_every_kind())["number"].tolist() == [0, 1, 5, 6, 2, 10]
    found = convergence(of_every_kind())
    assert found["evaluated"].tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(found["reward"], [0.3, np.nan, np.nan, 0.5, np.nan, 0.4])
    assert found["best"].tolist() == [0.3, 0.3, 0.3, 0.5, 0.5, 0.5], "the leader trained again is none"
    shuffled = of_every_kind().sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(convergence(shuffled), found)


def test_random_draws_count_networks_once_and_also_those_the_controller_had() -> None:
    frame = table(
        trial(0, reward=0.3),
        trial(1, "repeat", 0.3, network=0, repeat_of=0, arm="random"),
        trial(2, reward=0.2, arm="random"),
        trial(3, "repeat", 0.2, network=2, repeat_of=2, arm="random"),
        failed(4, arm="random"),
        trial(5, "repeat", 0.2, network=2, repeat_of=2),
        trial(6, "running", arm="random"),
        trial(7, "infeasible", arm="random", reason="params 9 is over the limit of 8"),
        trial(8, reward=0.9, network=2, arm="confirm", replicate=1),
    )
    assert random_draws(frame)["number"].tolist() == [1, 2, 4]
    drawn = draws_of(frame)
    assert drawn.rewards.tolist() == [0.2, 0.2, 0.3], "a failed draw stands with the worst reward"
    assert drawn.said == "3 random draws of this run"
    all_of = rewarded([0.1, 0.2, 0.3], controller="random")
    assert random_draws(all_of)["number"].tolist() == [0, 1, 2], "random search is its own chance"


def test_the_curve_of_chance_is_that_of_the_random_arm() -> None:
    rng = np.random.default_rng(0)
    arms = ["random" if n % 4 == 3 else "controller" for n in range(80)]
    frame = table(*(trial(n, reward=float(rng.random()), arm=arm) for n, arm in enumerate(arms)))
    found, drawn = convergence(frame), draws_of(frame)
    assert len(drawn.rewards) == 20
    np.testing.assert_allclose(found["chance"][:20], expected_best(drawn.rewards, np.arange(1, 21)))
    assert found["chance"][20:].isna().all()
    ends = range_of_best(drawn.rewards, np.arange(1, 81))
    np.testing.assert_allclose(found["chance_low"][:30], ends[0][:30])
    assert (found["chance_low"][30:] <= ends[0][30:]).all()
    np.testing.assert_allclose(found["chance_high"], ends[1], rtol=0.01)


def test_without_draws_another_run_gives_them_or_the_reason_is_told() -> None:
    frame, chance = rewarded([0.1, 0.5]), rewarded([0.2, 0.4, 0.3], controller="random")
    none = convergence(frame)
    assert none[["chance", "chance_low", "chance_high"]].isna().all(axis=None)
    assert draws_of(frame).said.startswith("this run has no random draws: give it a random arm (--random-arm 0.1)")
    assert "nor has the other run" in draws_of(frame, frame).said
    all_failed = rewarded([None, None], arm="random")
    assert draws_of(all_failed).said == "none of this run's random draws has a reward"
    assert convergence(frame, chance)["chance"].tolist() == pytest.approx([0.3, (0.3 + 0.4 + 0.4) / 3])
    assert draws_of(frame, chance).said == "3 random draws of another run"
    both = convergence(together(a=frame, b=chance), chance)
    assert both["run"].tolist() == ["a", "a", "b", "b", "b"]
    assert both["evaluated"].tolist() == [1, 2, 1, 2, 3]
    assert both["chance"].notna().all()


@pytest.mark.parametrize("trials", [[], [trial(0, "running")], [failed(0)], [failed(0), failed(1, arm="random")]])
def test_runs_without_a_reward_have_a_curve_of_none(trials: list[object]) -> None:
    frame = table(*trials)  # type: ignore[arg-type]
    found = convergence(frame)
    assert len(found) == len([t for t in trials if t.state == "failed"])  # type: ignore[attr-defined]
    assert found["best"].isna().all()
    assert list(convergence(together(a=frame))) == ["run", *found]
