"""The correction of proxy accuracies: what it learns, that it is judged by networks it never saw, and its file."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from results.correction import FEWEST, Correction, kendall, other_trainings, read_trainings


def networks(count: int, seed: int, *, bias: float = 0.02, noise: float = 0.004) -> pd.DataFrame:
    """Networks whose proxy is unfair to those of a high SNIP score by `bias` a unit, with seed noise in both."""
    rng = np.random.default_rng(seed)
    true, snip = rng.normal(0.7, 0.03, count), rng.normal(4.0, 1.0, count)
    return pd.DataFrame(
        {
            "architecture": [f"network {number}" for number in range(count)],
            "accuracy": 0.9 * true - 0.05 - bias * (snip - 4) + rng.normal(0, noise, count),
            "reference_accuracy": true + rng.normal(0, noise / 2, count),
            "params": np.exp(rng.normal(13, 1, count)),
            "macs": np.exp(rng.normal(16, 1, count)),
            "snip": snip,
        }
    )


def tau(a: pd.Series, b: pd.Series) -> float:
    return float(kendalltau(a, b).statistic)


# What it learns ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [20, 60])
def test_what_the_proxy_is_unfair_to_is_corrected(count: int) -> None:
    table, others = networks(count, 0), networks(300, 1)
    correction = Correction.fit(table)
    assert correction.helps
    assert correction.networks == count
    assert correction.coefficients["snip"] == pytest.approx(0.02 / 0.9, rel=0.4)
    better = tau(correction.corrected(others), others["reference_accuracy"])
    assert better > tau(others["accuracy"], others["reference_accuracy"]) + 0.1
    assert correction.tau_corrected == pytest.approx(better, abs=0.15)  # what was told of it is so
    assert correction.gain_low <= correction.tau_corrected - correction.tau_raw <= correction.gain_high
    assert abs(float((correction.corrected(others) - others["reference_accuracy"]).mean())) < 0.005


def test_where_the_features_tell_nothing_the_ranking_stays_nearly_as_it_was() -> None:
    losses = []
    for seed in range(20):
        table, others = networks(20, seed, bias=0.0), networks(300, 100 + seed, bias=0.0)
        corrected = Correction.fit(table).corrected(others)
        truth = others["reference_accuracy"]
        losses.append(tau(others["accuracy"], truth) - tau(corrected, truth))
    assert np.mean(losses) < 0.015
    assert max(losses) < 0.08


def test_it_is_judged_by_networks_it_was_not_fitted_to() -> None:
    told, kept = [], []
    for seed in range(20):  # the reference is noise: whatever a fit finds in it is its own
        table = networks(12, seed).assign(reference_accuracy=np.random.default_rng(99 + seed).normal(0.7, 0.03, 12))
        correction = Correction.fit(table)
        told.append(correction.tau_corrected)
        kept.append(tau(correction.corrected(table), table["reference_accuracy"]))
    assert np.mean(kept) > 0.1  # of networks it was fitted to it tells the ranking
    assert np.mean(told) < 0.05


def test_the_interval_is_wide_with_few_networks() -> None:
    few, many = (Correction.fit(networks(count, 3)) for count in (20, 200))
    assert few.gain_high - few.gain_low > 2 * (many.gain_high - many.gain_low)
    assert Correction.fit(networks(20, 3), seed=0) == few
    assert Correction.fit(networks(20, 3), seed=1).gain_low == pytest.approx(few.gain_low, abs=0.05)


def test_it_uses_the_features_known_of_every_network() -> None:
    table = networks(20, 0)
    assert set(Correction.fit(table).coefficients) == {"params", "macs", "snip"}
    assert set(Correction.fit(table.drop(columns="snip")).coefficients) == {"params", "macs"}
    assert set(Correction.fit(table.assign(snip=[None, *table["snip"][1:]])).coefficients) == {"params", "macs"}
    assert set(Correction.fit(table.assign(snip=-math.inf)).coefficients) == {"params", "macs"}
    equal = Correction.fit(table.assign(macs=5.0))  # tells nothing
    assert all(math.isfinite(value) for value in equal.coefficients.values())


def test_a_row_is_corrected_by_the_formula() -> None:
    correction = replace(
        Correction.fit(networks(20, 0)), intercept=0.1, slope=0.5, coefficients={"macs": 0.01, "snip": -0.2}
    )
    frame = pd.DataFrame(
        {
            "accuracy": [0.8, 0.4, None, 0.5],
            "macs": pd.array([1000, 2000, 3000, None], dtype="Int64"),
            "snip": [1.0, 0.5, 2.0, 3.0],
        },
        index=[4, 2, 7, 9],
    )
    found = correction.corrected(frame)
    assert found.name == "accuracy_corrected"
    assert found[4] == pytest.approx(0.1 + 0.4 + 0.01 * math.log(1000) - 0.2)
    assert found[2] == pytest.approx(0.1 + 0.2 + 0.01 * math.log(2000) - 0.1)
    assert found[[7, 9]].isna().all()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=12))
def test_kendall_is_scipy_s_on_the_repeated_sample(rows: list[tuple[int, int, int]]) -> None:
    a, b, counts = (np.array(column) for column in zip(*rows, strict=True))
    found = kendall(a.astype(float), b.astype(float), counts[None])[0]
    repeated = kendalltau(a.repeat(counts), b.repeat(counts)).statistic if counts.sum() > 1 else math.nan
    assert found == pytest.approx(repeated, nan_ok=True)


# From a run alone -------------------------------------------------------------------------------------------------


def test_other_trainings_are_those_that_nothing_was_chosen_by() -> None:
    rows = [("a", 0, 0.9), ("b", 0, 0.8), ("c", 0, 0.7), ("a", 1, 0.6), ("a", 2, 0.8), ("b", 1, 0.75)]
    frame = pd.DataFrame(rows, columns=["architecture", "replicate", "accuracy"]).assign(state="complete")
    failed = pd.DataFrame([("b", 2, None, "failed")], columns=["architecture", "replicate", "accuracy", "state"])
    table = other_trainings(pd.concat([frame, failed.astype({"accuracy": float})]))
    assert table[["architecture", "accuracy"]].to_numpy().tolist() == [["a", 0.9], ["b", 0.8]]
    assert table["reference_accuracy"].tolist() == pytest.approx([0.7, 0.75])


# Bad input, and the file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda table: table.drop(columns="reference_accuracy"), "reference_accuracy is missing"),
        (lambda table: table.drop(columns=["params", "macs", "snip"]), "one of params, macs, snip"),
        (lambda table: table[: FEWEST - 1], f"at least {FEWEST} networks.*got {FEWEST - 1}"),
        (lambda table: pd.concat([table, table[3:4]]), "network 3 has several"),
        (lambda table: table.assign(accuracy=0.5), "accuracy must be known of every network and differ"),
        (lambda table: table.assign(reference_accuracy=[None, *table["reference_accuracy"][1:]]), "must be known"),
    ],
)
def test_a_table_that_nothing_can_be_fitted_to(spoil, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        Correction.fit(spoil(networks(20, 0)))


def test_trials_without_what_it_needs() -> None:
    correction, trials = Correction.fit(networks(20, 0)), networks(5, 1)
    with pytest.raises(ValueError, match="snip was measured in none"):
        correction.corrected(trials.drop(columns="snip"))
    with pytest.raises(ValueError, match="macs, snip was measured in none"):
        correction.corrected(trials.assign(snip=None, macs=None))
    assert correction.corrected(trials[:0]).empty  # a run that has only begun lacks nothing


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    correction, path = Correction.fit(networks(20, 0)), tmp_path / "correction.json"
    correction.write(path)
    assert Correction.read(path) == correction
    of_a_run = Correction.fit(networks(20, 0), measured_by={"task": {"recipe": {"epochs": 2}}})
    of_a_run.write(path)
    assert Correction.read(path) == of_a_run
    values = json.loads(path.read_text())
    del values["measured_by"]  # as before it was kept
    path.write_text(json.dumps(values))
    assert Correction.read(path) == correction


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: "no json",
        lambda values: json.dumps([values]),
        lambda values: json.dumps({**values, "more": 1}),
        lambda values: json.dumps({k: v for k, v in values.items() if k != "slope"}),
        lambda values: json.dumps({**values, "coefficients": {"depth": 1.0}}),
        lambda values: json.dumps({**values, "coefficients": [1.0]}),
        lambda values: json.dumps({**values, "slope": math.nan}),
        lambda values: json.dumps({**values, "slope": "steep"}),
        lambda values: json.dumps({**values, "measured_by": 2}),
    ],
)
def test_a_file_that_holds_none(tmp_path: Path, spoil) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "correction.json"
    Correction.fit(networks(20, 0)).write(path)
    path.write_text(spoil(json.loads(path.read_text())))
    with pytest.raises(ValueError, match=r"correction\.json must hold"):
        Correction.read(path)


def test_a_table_is_read_from_parquet_and_csv(tmp_path: Path) -> None:
    table = networks(20, 0)
    table.to_parquet(tmp_path / "a.parquet")
    table.to_csv(tmp_path / "a.csv", index=False)
    assert Correction.fit(read_trainings(tmp_path / "a.parquet")) == Correction.fit(table)
    assert Correction.fit(read_trainings(tmp_path / "a.csv")).slope == pytest.approx(Correction.fit(table).slope)
    (tmp_path / "bad.parquet").write_text("no parquet")
    for name, message in (("bad.parquet", "cannot be read as .parquet"), ("a.txt", "must be a .parquet or .csv")):
        with pytest.raises(ValueError, match=message):
            read_trainings(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_trainings(tmp_path / "none.csv")
