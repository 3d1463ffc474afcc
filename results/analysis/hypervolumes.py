"""Hypervolumes of many draws of the same candidates, against one reference point for all runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.pareto import MAXIMISED, hypervolume, non_dominated, ranks
from search_spaces.complexity import Cost, cost
from search_spaces.space import SearchSpace

Floats = NDArray[np.float64]

_TIMES_THE_ANCHOR = 2.0
"""Costs are told against this many times the anchor's, as those that a search tells."""

_RATIOS = ("step_time", "latency", "peak_memory")
_DEEPEST = 12
"""Points behind so many fronts are in no draw's front but once in millions."""


def reference_point(
    cut: Mapping[str, pd.DataFrame], configurations: Mapping[str, Mapping[str, Any]], objectives: Sequence[str]
) -> tuple[dict[str, float], list[str]]:
    """The value of each objective that hypervolumes of all runs are told against.

    An accuracy of 0, and twice the anchor's cost, so that they are those that a search tells where the anchors are the
    same; of several anchors the most costly. Of another column, the worst value that a compared candidate has.

    Args:
        cut: the candidates of each run, by its name.
        configurations: of each run.
        objectives: their names, columns of numbers in the trial tables.

    Returns:
        the values by name, all finite; where there are none, none and the reason.

    Raises:
        ValueError: an objective is no column of numbers.
    """
    for name, rows in cut.items():
        strange = [o for o in objectives if o in rows and not pd.api.types.is_numeric_dtype(rows[o])]
        if strange or any(all(o not in other for other in cut.values()) for o in objectives):
            raise ValueError(f"objectives must be columns of numbers in the trial tables; got {', '.join(objectives)}")
        complete = rows[rows["state"] == "complete"]
        for objective in objectives if len(complete) else ():
            if objective not in rows or complete[objective].isna().all():
                return {}, [f"no hypervolume is compared: {objective} was measured in no candidate of {name}"]
    if not objectives:
        return {}, ["no hypervolume is compared: the runs have no objective in common"]
    anchors = [anchor for c in configurations.values() if (anchor := _anchor(c)) is not None]
    known = anchors if len(anchors) == len(configurations) else []
    values = {name: _reference(name, known, list(cut.values())) for name in objectives}
    return (values, []) if np.isfinite(list(values.values())).all() else ({}, [])


def _reference(name: str, anchors: Sequence[Cost], cut: Sequence[pd.DataFrame]) -> float:
    if name == "accuracy":
        return 0.0
    if name in _RATIOS:
        return _TIMES_THE_ANCHOR
    if name in Cost._fields and anchors:
        return _TIMES_THE_ANCHOR * max(float(getattr(anchor, name)) for anchor in anchors)
    values = np.concatenate([rows[name].to_numpy(np.float64, na_value=np.nan) for rows in cut])
    real = values[np.isfinite(values)]
    return float(real.min() if name in MAXIMISED else real.max()) if real.size else float("nan")


def _anchor(configuration: Mapping[str, Any]) -> Cost | None:
    """The cost of a run's backbone, as its search counted it; None where the configuration does not say."""
    identity = configuration.get("identity")
    if identity is None or "space" not in identity:
        return None
    task = identity.get("task", {})
    shape = {name: task[name] for name in ("num_classes", "in_channels") if "pictures" in task and name in task}
    return cost(SearchSpace.from_json(identity["space"]).backbone, identity["image_size"], **shape)


def gains_of(rows: pd.DataFrame, reference: Mapping[str, float]) -> Floats | None:
    """What each candidate gains over the reference, as a share of it where it is a cost; None without a reference.

    Args:
        rows: candidates.
        reference: as `reference_point` gives it.

    Returns:
        shape (n, objectives), 0 in all where one is missing or the candidate is not complete.
    """
    if not reference:
        return None
    columns = []
    for name, worst in reference.items():
        values = rows[name].to_numpy(np.float64, na_value=np.nan)
        less = values - worst if name in MAXIMISED else worst - values
        columns.append(less if name in MAXIMISED or not worst else less / abs(worst))
    gains = np.column_stack(columns)
    kept = np.isfinite(gains).all(axis=1) & (gains > 0).all(axis=1) & (rows["state"] == "complete").to_numpy(bool)
    return np.where(kept[:, None], gains, 0.0)


class Volumes:
    """The hypervolumes of subsets of some points.

    Args:
        gains: shape (n, objectives), the more the better.

    Attributes:
        places: those of the points that may be on the front of a subset.
    """

    def __init__(self, gains: Floats) -> None:
        positive = np.flatnonzero((gains > 0).all(axis=1))
        near = positive[ranks(-gains[positive], most=_DEEPEST) > 0]
        self.places = near
        self._points, self._place = gains[near], np.full(len(gains), len(near))  # no point's place is after the last
        self._place[near] = np.arange(len(near))

    def of(self, chosen: NDArray[np.int64]) -> float:
        """Of the points at these places, which may be named more than once."""
        among = np.zeros(len(self._points) + 1, dtype=bool)
        among[self._place[chosen]] = True
        points = self._points[among[:-1]]
        return hypervolume(points[non_dominated(-points)]) if len(points) else 0.0
