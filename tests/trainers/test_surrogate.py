"""`SurrogateTask`: what it predicts of networks that it saw, of others, and what is said of bad tables."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from results.trial import Measurement
from search_spaces import Architecture, SearchSpace, Stage, vary
from trainers.surrogate import SurrogateTask
from trainers.tabular import TabularTask

SPACE = SearchSpace(
    "two-stages",
    Architecture(8, (Stage("mbconv", 3, 2, 4, 16, 1), Stage("mbconv", 3, 2, 4, 32, 1)), 64),
    (
        *vary(1, kernel=(3, 5, 7), expand_ratio=(1, 2, 4), layers=(1, 2, 3)),
        *vary(2, kernel=(3, 5), layers=(0, 1, 2)),  # so that the second may be absent
    ),
)
NETWORKS = [SPACE.decode(SPACE.genotype_at(number)) for number in range(SPACE.size)]
OUTSIDE = Architecture.parse("stem_c8-mbconv_k3_s2_e4_c24_n1-head_c64")


def truth(architecture: Architecture) -> Measurement:
    work = sum(stage.layers * stage.expand_ratio * stage.kernel for stage in architecture.stages)
    return Measurement(accuracy=1 - 1 / (1 + work), step_time=0.01 * work, train_time_s=10.0 * work, params=work)


def table(networks: Sequence[Architecture] = NETWORKS) -> dict[str, Measurement]:
    return {str(network): truth(network) for network in networks}


def changed(place: int, **fields: float | None) -> TabularTask:
    """The table of all networks, with other values in one of its rows."""
    return TabularTask({**table(), str(NETWORKS[place]): replace(truth(NETWORKS[place]), **fields)})


@pytest.fixture(scope="module")
def half() -> SurrogateTask:
    """Fitted on every second network."""
    return SurrogateTask(TabularTask(table(NETWORKS[::2])), SPACE)


def test_it_predicts_networks_that_the_table_does_not_hold(half: SurrogateTask) -> None:
    found = [half(network, 0) for network in NETWORKS[1::2]]
    expected = [truth(network) for network in NETWORKS[1::2]]
    for name in ("accuracy", "step_time", "train_time_s"):
        pairs = [[getattr(m, name) for m in measurements] for measurements in (found, expected)]
        assert np.corrcoef(pairs)[0, 1] > 0.9, name
    assert {(m.params, m.macs, m.epoch) for m in found} == {(None, None, None)}  # costs have a closed form


def test_the_seed_is_not_used(half: SurrogateTask) -> None:
    assert half(NETWORKS[1], 0) == half(NETWORKS[1], 1)


def test_step_times_are_those_of_the_regression(half: SurrogateTask) -> None:
    assert half.has_step_time
    assert half.expected_step_time(NETWORKS[1]) == half(NETWORKS[1], 0).step_time


def test_it_travels_between_processes(half: SurrogateTask) -> None:
    there = pickle.loads(pickle.dumps(half))
    assert [there(network, 0) for network in NETWORKS[:9]] == [half(network, 0) for network in NETWORKS[:9]]
    assert (there.fingerprint, there.quality) == (half.fingerprint, half.quality)


def test_its_quality_is_measured_on_networks_left_out(half: SurrogateTask) -> None:
    assert set(half.quality) == {"kendall_tau", "rmse"}
    assert 0.5 < half.quality["kendall_tau"] <= 1
    assert 0 < half.quality["rmse"] < 0.1


def test_where_all_are_equal_the_quality_has_no_rank_correlation() -> None:
    task = SurrogateTask(TabularTask({text: Measurement(accuracy=0.5) for text in table()}), SPACE)
    assert math.isnan(task.quality["kendall_tau"])
    assert task.quality["rmse"] == pytest.approx(0, abs=1e-9)


def test_equal_tables_give_equal_predictions_and_fingerprints(half: SurrogateTask) -> None:
    again = SurrogateTask(TabularTask(table(NETWORKS[::2][::-1])), SPACE)  # in another order
    assert again.fingerprint == half.fingerprint
    assert again(NETWORKS[1], 0) == half(NETWORKS[1], 0)
    assert SurrogateTask(TabularTask(table(NETWORKS[::3])), SPACE).fingerprint != half.fingerprint


def test_the_rows_of_a_network_are_averaged() -> None:
    low, high = (
        {t: Measurement(accuracy=m.accuracy + change) for t, m in table(NETWORKS[:40]).items()}
        for change in (-0.25, 0.0)
    )
    middle = {t: Measurement(accuracy=(low[t].accuracy + high[t].accuracy) / 2) for t in low}
    averaged = SurrogateTask(TabularTask({t: (low[t], high[t]) for t in low}), SPACE)
    single = SurrogateTask(TabularTask(middle), SPACE)
    assert averaged(NETWORKS[50], 0).accuracy == pytest.approx(single(NETWORKS[50], 0).accuracy)


def test_accuracies_stay_fractions() -> None:
    best = {text: Measurement(accuracy=1.0 if number % 3 else 0.9) for number, text in enumerate(table())}
    task = SurrogateTask(TabularTask(best), SPACE)
    accuracies = [task(network, 0).accuracy for network in NETWORKS]
    assert max(accuracies) == 1
    worst = {text: Measurement(accuracy=1 - m.accuracy) for text, m in best.items()}
    task = SurrogateTask(TabularTask(worst), SPACE)
    assert min(task(network, 0).accuracy for network in NETWORKS) == 0


def test_a_time_that_a_row_lacks_is_not_predicted() -> None:
    task = SurrogateTask(changed(5, step_time=None), SPACE)
    assert not task.has_step_time
    found = task(NETWORKS[0], 0)
    assert found.step_time is None
    assert found.train_time_s == pytest.approx(truth(NETWORKS[0]).train_time_s, rel=0.3)
    assert math.isnan(task.expected_step_time(NETWORKS[0]))


@pytest.mark.parametrize("key", ["architecture", "genotype"])
def test_reads_what_a_table_is_read_from(key: str, half: SurrogateTask, tmp_path: Path) -> None:
    measured = [truth(network) for network in NETWORKS[::2]]
    names: dict[str, Callable[[Architecture], object]] = {
        "architecture": str,
        "genotype": lambda network: [*SPACE.encode(network)],
    }
    rows = [
        {key: names[key](network)}
        | {name: getattr(m, name) for name in ("accuracy", "step_time", "train_time_s", "params")}
        for network, m in zip(NETWORKS[::2], measured, strict=True)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    task = SurrogateTask.read(tmp_path / "t.csv", SPACE)
    assert task.fingerprint == half.fingerprint
    assert task(NETWORKS[1], 0) == half(NETWORKS[1], 0)


def test_too_few_networks(tmp_path: Path) -> None:
    frame = pd.DataFrame({"architecture": [str(n) for n in NETWORKS[:29]] * 2, "accuracy": 0.5})
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"t\.parquet: .* at least 30 distinct networks; got a table of 29"):
        SurrogateTask.read(tmp_path / "t.parquet", SPACE)


def test_a_network_outside_the_space_is_named(half: SurrogateTask) -> None:
    for ask in (lambda: half(OUTSIDE, 0), lambda: half.expected_step_time(OUTSIDE)):
        with pytest.raises(ValueError, match=f"only the networks of its space; got {OUTSIDE}: space two-stages"):
            ask()
    with pytest.raises(ValueError, match=f"only the networks of its space; got {OUTSIDE}"):
        SurrogateTask(TabularTask(table([*NETWORKS, OUTSIDE])), SPACE)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("accuracy", 62.5, "an accuracy must be a fraction, from 0 to 1; got 62.5 of"),
        ("accuracy", -0.5, "an accuracy must be a fraction, from 0 to 1; got -0.5 of"),
        ("step_time", 0.0, "a step_time over 0; got 0.0 of"),
        ("train_time_s", math.inf, "a train_time_s over 0; got inf of"),
    ],
)
def test_a_value_that_cannot_be_fitted_is_named(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"{message} {NETWORKS[7]}"):
        SurrogateTask(changed(7, **{field: value}), SPACE)
