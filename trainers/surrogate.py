"""`SurrogateTask`: a regression on a table of trained networks, to simulate searches on those nobody trained.

The idea of NAS-Bench-301 (arXiv 2008.09777): a search of a space too large to train can be repeated, and
controllers compared, on the accuracies that a regression predicts; Accel-NASBench (arXiv 2404.08005) has such
regressions of training times as well. The regression is scikit-learn's gradient boosting.
"""

from __future__ import annotations

import hashlib
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau
from sklearn.ensemble import GradientBoostingRegressor

from results.trial import Measurement
from search_spaces import Architecture, SearchSpace
from trainers.tabular import TabularTask

MIN_NETWORKS = 30
SETTINGS = {
    "n_estimators": 500,
    "max_depth": 5,
    "learning_rate": 0.05,
    "subsample": 0.7,
    "max_features": 0.5,
    "random_state": 0,
}
"""Of the regressions: the arguments of `GradientBoostingRegressor`."""

Floats = NDArray[np.float64]


class SurrogateTask:
    """(architecture, seed) -> the measurement that a regression expects of the architecture.

    It predicts the accuracy and, where every row of the table has them, `step_time` and `train_time_s`; it
    leaves what has a closed form, such as params, to the search. A regression gives the mean: there is no
    noise of training in it, and the seed is not used.

    A network is described by its canonical genotype in the space, with -1 for the choices of absent stages;
    so a space is required, also of a table that names its networks by their texts.

    Args:
        table: at least 30 distinct networks, with accuracies as fractions; the rows of one network are averaged.
        space: holds every network of the table and every one to predict.

    Attributes:
        quality: how well networks left out are predicted, from a fit on 80 % of them tested on the other 20 %:
            `kendall_tau`, the rank correlation of predicted with measured accuracy (NaN where all measured ones are
            equal), and `rmse`, the root of the mean squared error of the accuracy, as a fraction.

    Raises:
        ValueError: there are too few networks, one is outside the space, or a time is not positive.
    """

    def __init__(self, table: TabularTask, space: SearchSpace) -> None:
        networks = sorted(table.rows)  # the order of the rows decides which of them a regression draws
        if len(networks) < MIN_NETWORKS:
            raise ValueError(
                f"a surrogate needs at least {MIN_NETWORKS} distinct networks; got a table of {len(networks)}"
            )
        self._space = space
        self._table_fingerprint = table.fingerprint
        self._inputs = np.array([self._input(Architecture.parse(text)) for text in networks])
        self._accuracies = _means(table, networks, "accuracy")
        timed = [
            name
            for name in ("step_time", "train_time_s")
            if all(getattr(m, name) is not None for rows in table.rows.values() for m in rows)
        ]
        targets = [self._accuracies, *(np.log(_means(table, networks, name)) for name in timed)]
        with ThreadPoolExecutor() as pool:  # most of a fit runs outside the interpreter's lock
            quality = pool.submit(self._measured_quality)
            self._accuracy, *times = pool.map(_fitted, [self._inputs] * len(targets), targets)
        self._times = dict(zip(timed, times, strict=True))
        self.quality = quality.result()

    @classmethod
    def read(cls, path: Path, space: SearchSpace) -> SurrogateTask:
        """A surrogate fitted on a table from a run folder, a parquet file or a CSV file, as `TabularTask.read`.

        Raises:
            ValueError: as `TabularTask.read`, and as the constructor.
        """
        table = TabularTask.read(path, space)
        try:
            return cls(table, space)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @property
    def fingerprint(self) -> str:
        """A hash of the table, the space and the settings; equal ones predict alike, by one release of scikit-learn."""
        parts = [self._table_fingerprint, self._space.to_json(), SETTINGS]
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()

    @property
    def epochs(self) -> int:
        """How many measurements it gives of an architecture."""
        return 1

    @property
    def has_step_time(self) -> bool:
        """Whether step times are predicted: whether every row of the table has one."""
        return "step_time" in self._times

    def expected_step_time(self, architecture: Architecture) -> float:
        """The step time that the regression expects; NaN where the table had none to fit it on.

        Raises:
            ValueError: the architecture is outside the space.
        """
        inputs = self._input(architecture)
        return _exp(self._times["step_time"], inputs) if self.has_step_time else math.nan

    @property
    def noiseless(self) -> bool:
        """Whether a network is always given the same measurement: it is."""
        return True

    def __call__(self, architecture: Architecture, seed: int) -> Measurement:
        """Predict what a training would measure.

        Raises:
            ValueError: the architecture is outside the space.
        """
        inputs = self._input(architecture)
        accuracy = float(self._accuracy.predict([inputs])[0])
        times = {name: _exp(regression, inputs) for name, regression in self._times.items()}
        return Measurement(
            accuracy=min(max(accuracy, 0.0), 1.0),
            step_time=times.get("step_time"),
            train_time_s=times.get("train_time_s"),
        )

    def _measured_quality(self) -> dict[str, float]:
        order = np.random.default_rng(0).permutation(len(self._inputs))
        fitted, tested = np.split(order, [len(order) * 4 // 5])
        found = _fitted(self._inputs[fitted], self._accuracies[fitted]).predict(self._inputs[tested]).clip(0, 1)
        expected = self._accuracies[tested]
        return {
            "kendall_tau": float(kendalltau(found, expected).statistic),
            "rmse": math.sqrt(np.mean((found - expected) ** 2)),
        }

    def _input(self, architecture: Architecture) -> Floats:
        try:
            genotype = self._space.encode(architecture)
        except ValueError as error:
            raise ValueError(
                f"a surrogate knows only the networks of its space; got {architecture}: {error}"
            ) from error
        present = self._space.present(genotype)
        return np.array([index if flag else -1 for index, flag in zip(genotype, present, strict=True)], dtype=float)


def _means(table: TabularTask, networks: list[str], name: str) -> Floats:
    """Of each network, the mean of a field over its rows."""
    for text in networks:
        for value in (getattr(measurement, name) for measurement in table.rows[text]):
            if name != "accuracy" and not 0 < value < math.inf:  # the regression is on its logarithm
                raise ValueError(f"a surrogate needs a {name} over 0; got {value} of {text}")
    return np.array([fmean(getattr(m, name) for m in table.rows[text]) for text in networks])


def _fitted(inputs: Floats, outputs: Floats) -> Any:
    return GradientBoostingRegressor(**SETTINGS).fit(inputs, outputs)


def _exp(regression: Any, inputs: Floats) -> float:
    return math.exp(regression.predict([inputs])[0])
