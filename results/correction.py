"""`Correction`: a proxy accuracy brought nearer to what longer trainings say, by what a network costs and promises.

A brief training is a noisy reading, and unfair to some kinds of networks. Where some networks were trained longer as
well, a ridge regression learns both from their params, macs and SNIP score, which cost next to nothing. Whether that
helps is judged by networks it was not fitted to, one left out at a time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from results.store import TrialStore

Array = NDArray[np.float64]

FEATURES: dict[str, Callable[[Array], Array]] = {"params": np.log, "macs": np.log, "snip": np.positive}
"""What an accuracy is corrected by, and on which scale; a SNIP score is a logarithm already."""

FEWEST = 10
"""Networks that a correction is fitted to at the least."""

PENALTIES = (*np.logspace(-1, 4, 11).tolist(), math.inf)
"""Of the features' squared coefficients, standardised; the last leaves the features out."""

RESAMPLES = 2000
"""Bootstrap samples behind an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Corrected accuracy = intercept + slope · accuracy + the sum of coefficient · feature.

    Args:
        intercept: an accuracy.
        slope: of the accuracy.
        coefficients: of each feature, on its scale in `FEATURES`.
        networks: how many it was fitted to.
        tau_raw: Kendall's tau-b of the accuracy with that of the longer trainings.
        tau_corrected: the same of the corrected accuracy, each network's by a fit to the others.
        gain_low: lower end of the 95 % bootstrap interval of the difference of the two.
        gain_high: its upper end.
        measured_by: what decides the proxy's accuracies that it was fitted to, as plain data; None where that is not
            known.
    """

    intercept: float
    slope: float
    coefficients: Mapping[str, float]
    networks: int
    tau_raw: float
    tau_corrected: float
    gain_low: float
    gain_high: float
    measured_by: Mapping[str, Any] | None = None

    @classmethod
    def fit(cls, table: pd.DataFrame, *, measured_by: Mapping[str, Any] | None = None, seed: int = 0) -> Correction:
        """The correction of the proxy that a table's accuracies come from, and what it is worth.

        Args:
            table: a row a network: `accuracy` (the proxy's), `reference_accuracy` (of longer trainings, or of others
                than the proxy's), and those of `FEATURES` that are known of every network.
            measured_by: what decides the proxy's accuracies, as plain data.
            seed: of the bootstrap samples.

        Raises:
            ValueError: a column or all features are missing, a network has two rows, there are fewer networks than
                `FEWEST`, or their accuracies do not differ.
        """
        _check(table)
        names = [name for name in FEATURES if name in table and np.isfinite(_numbers(table, name)).all()]
        if not names:
            raise ValueError(f"a correction needs one of {', '.join(FEATURES)}, known of every network; got none")
        accuracy, reference = _numbers(table, "accuracy"), _numbers(table, "reference_accuracy")
        features = np.column_stack([FEATURES[name](_numbers(table, name)) for name in names])
        held_out = np.array([_held_out(place, accuracy, features, reference) for place in range(len(table))])
        counts = np.random.default_rng(seed).multinomial(len(table), [1 / len(table)] * len(table), RESAMPLES)
        all_once = np.ones((1, len(table)))
        gains = kendall(held_out, reference, counts) - kendall(accuracy, reference, counts)
        gains = gains[np.isfinite(gains)]  # a sample may hold one network alone
        intercept, slope, *coefficients = _ridge(accuracy, features, reference).tolist()
        return cls(
            intercept=intercept,
            slope=slope,
            coefficients=dict(zip(names, coefficients, strict=True)),
            networks=len(table),
            tau_raw=float(kendall(accuracy, reference, all_once)[0]),
            tau_corrected=float(kendall(held_out, reference, all_once)[0]),
            gain_low=float(np.quantile(gains, 0.025)),
            gain_high=float(np.quantile(gains, 0.975)),
            measured_by=measured_by,
        )

    @property
    def helps(self) -> bool:
        """Whether corrected accuracies rank the networks they were not fitted to better than raw ones.

        The interval of the difference need not be above 0. With 20 networks it hardly ever is, even where the
        correction helps nearly always (`docs/benchmarks.md`), while one that does not help costs next to nothing.
        """
        return self.tau_corrected > self.tau_raw

    @property
    def verdict(self) -> str:
        """What it is worth, in words."""
        return (
            f"held-out networks are ranked at Kendall tau {self.tau_corrected:.3f} with the correction and "
            f"{self.tau_raw:.3f} without (difference {self.gain_low:+.3f} to {self.gain_high:+.3f}; {self.networks} "
            f"networks): {'it is used' if self.helps else 'it does not help, and is not used'}"
        )

    def corrected(self, frame: pd.DataFrame) -> pd.Series:
        """The corrected accuracy of every row of a trial table; missing where something it needs is.

        Raises:
            ValueError: what it needs was measured in no trial that has an accuracy.
        """
        needed = ["accuracy", *self.coefficients]
        measured = frame.dropna(subset=["accuracy"])
        lacking = [name for name in needed if name not in frame or (len(measured) and measured[name].isna().all())]
        if lacking:
            raise ValueError(
                f"the correction needs {', '.join(needed)} of a trial; {', '.join(lacking)} was measured in none: fit "
                f"one to a table without it"
            )
        found = self.intercept + self.slope * _numbers(frame, "accuracy")
        for name, coefficient in self.coefficients.items():
            found = found + coefficient * FEATURES[name](_numbers(frame, name))
        return pd.Series(found, index=frame.index, name="accuracy_corrected")

    def write(self, path: Path) -> None:
        """Keep it in a JSON file."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Correction:
        """A correction from its JSON file.

        Raises:
            ValueError: the file holds no correction.
        """
        try:
            values = json.loads(path.read_text())
            found = cls(**values)
            sound = all(name in FEATURES for name in found.coefficients)
            sound &= found.measured_by is None or isinstance(found.measured_by, Mapping)
            sound &= all(math.isfinite(v) for v in (found.intercept, found.slope, *found.coefficients.values()))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} must hold a correction as `nas correct` writes it; got {error!r}") from error
        if not sound:
            raise ValueError(f"{path} must hold finite coefficients of {', '.join(FEATURES)}; got {values}")
        return found


def read_trainings(path: Path) -> pd.DataFrame:
    """The table to fit a correction to, from a parquet or a CSV file, or from the folder of a run (`other_trainings`).

    Raises:
        ValueError: the file is of another kind, or cannot be read.
        FileNotFoundError: there is none.
    """
    if path.is_dir():
        return other_trainings(TrialStore.open(path).frame())
    readers: dict[str, Callable[..., pd.DataFrame]] = {".parquet": pd.read_parquet, ".csv": pd.read_csv}
    if path.suffix not in readers:
        raise ValueError(f"a table must be a {' or '.join(readers)} file, or the folder of a run; got {path}")
    with path.open("rb") as file:
        try:
            return readers[path.suffix](file)
        except (ValueError, pa.ArrowException) as error:
            raise ValueError(f"{path} cannot be read as {path.suffix}: {error}") from error


def other_trainings(frame: pd.DataFrame) -> pd.DataFrame:
    """The table to fit a correction to from a run alone: its leaders' first trainings, and the mean of their others.

    Of the other trainings nothing was chosen by, so they say how good a network is, without the luck of the first;
    but they are as brief, so a correction learns from them what is noise, and not what is unfair.

    Args:
        frame: a trial table.
    """
    complete = frame[frame["state"] == "complete"]
    others = complete[complete["replicate"] > 0].groupby("architecture")["accuracy"].mean()
    first = complete[(complete["replicate"] == 0) & complete["architecture"].isin(others.index)]
    return first.assign(reference_accuracy=first["architecture"].map(others))


def kendall(a: Array, b: Array, counts: NDArray[np.number]) -> Array:
    """Kendall's tau-b of two scores, in samples that hold each network so many times.

    Args:
        a: (n,) scores.
        b: (n,) scores.
        counts: (samples, n), how often each is in a sample.

    Returns:
        (samples,), NaN where one of the scores is the same throughout a sample.
    """
    signs_a, signs_b = (np.sign(np.subtract.outer(scores, scores)) for scores in (a, b))
    weights = counts.astype(np.float64)

    def pairs(signs: Array) -> Array:
        return np.asarray(((weights @ signs) * weights).sum(1), dtype=np.float64)

    with np.errstate(invalid="ignore"):
        return pairs(signs_a * signs_b) / np.sqrt(pairs(signs_a**2) * pairs(signs_b**2))


def _held_out(place: int, accuracy: Array, features: Array, reference: Array) -> float:
    """The corrected accuracy of a network, by a fit to all others."""
    fitted = _ridge(*(np.delete(values, place, axis=0) for values in (accuracy, features, reference)))
    return float(fitted @ np.array([1.0, accuracy[place], *features[place]]))


def _ridge(accuracy: Array, features: Array, reference: Array) -> Array:
    """Intercept, slope and coefficients, by the penalty of the smallest left-out error (Allen's PRESS).

    Only the features' coefficients are penalised, so that what remains under the largest penalty is the raw ranking.
    """
    spread = np.where(features.std(0) > 0, features.std(0), 1.0)
    scaled = (features - features.mean(0)) / spread
    inputs = np.column_stack([np.ones(len(accuracy)), accuracy, scaled])
    best, smallest = np.zeros(inputs.shape[1]), math.inf
    for penalty in reversed(PENALTIES):
        used = 2 if math.isinf(penalty) else inputs.shape[1]
        design = inputs[:, :used]
        penalties = np.diag([0.0, 0.0, *[penalty] * (used - 2)])
        solver = np.linalg.pinv(design.T @ design + penalties) @ design.T
        leverage = np.einsum("ij,ji->i", design, solver)
        errors = (reference - design @ (solver @ reference)) / np.maximum(1 - leverage, 1e-9)
        if (error := float((errors**2).mean())) < smallest:
            smallest = error
            best = np.pad(solver @ reference, (0, inputs.shape[1] - used))
    best[2:] /= spread
    best[0] -= best[2:] @ features.mean(0)
    return best


def _numbers(table: pd.DataFrame, name: str) -> Array:
    return table[name].to_numpy(np.float64, na_value=np.nan)


def _check(table: pd.DataFrame) -> None:
    needed = ("architecture", "accuracy", "reference_accuracy")
    if lacking := [name for name in needed if name not in table]:
        raise ValueError(f"a correction is fitted to the columns {', '.join(needed)}; {', '.join(lacking)} is missing")
    if len(table) < FEWEST:
        raise ValueError(f"a correction needs at least {FEWEST} networks that were trained longer; got {len(table)}")
    if (twice := table["architecture"].duplicated()).any():
        text = table.loc[twice, "architecture"].iloc[0]
        raise ValueError(f"a correction needs one row a network; {text} has several")
    for name in needed[1:]:
        values = _numbers(table, name)
        if not np.isfinite(values).all() or np.ptp(values) == 0:
            raise ValueError(f"{name} must be known of every network and differ among them; it is not, or does not")
