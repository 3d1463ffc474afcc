"""What a report is made of: the runs, their trials in one table, and which trials its charts show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.analysis.comparability import Doubt, doubts
from results.networks import network_means
from results.report.wording import listed
from search_spaces import SearchSpace

MOST_SHOWN = 4000
"""Trials that charts show one by one; of more, the front, the best and a random sample."""

_BEST_SHOWN = 400
_OBJECTIVES = ("accuracy", "step_time", "params")


@dataclass(frozen=True)
class Run:
    """A run, and its own part of the table.

    Args:
        name: as the table's column `run` has it.
        folder: as the user named it.
        configuration: what it was started with.
        starts: what its journal holds of each time that it was begun or resumed: settings, versions, host.
        trials: its rows.
    """

    name: str
    folder: Path
    configuration: Mapping[str, Any]
    starts: Sequence[Mapping[str, Any]]
    trials: pd.DataFrame

    @property
    def space(self) -> SearchSpace:
        """What was searched."""
        return SearchSpace.from_json(self.configuration["space"])

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides its outcome; empty where the run does not say."""
        return dict(self.configuration.get("identity", {}))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings it last had, such as its budget; empty where the run does not say."""
        return dict(self.starts[-1].get("settings", {})) if self.starts else {}

    @property
    def columns(self) -> Mapping[str, Any]:
        """What is the same in all of its rows, such as the controller; empty where the run does not say."""
        return dict(self.configuration.get("columns", {}))


@dataclass(frozen=True)
class Group:
    """Runs on one space whose trials were measured and rewarded alike, so that they make one table.

    Args:
        runs: at least one.
        space: theirs.
        trials: their rows.
    """

    runs: tuple[Run, ...]
    space: SearchSpace
    trials: pd.DataFrame

    @property
    def name(self) -> str:
        """The names of its runs."""
        return listed([run.name for run in self.runs])

    @property
    def several(self) -> bool:
        """Whether it has more than one run."""
        return len(self.runs) > 1

    def among(self, networks: pd.DataFrame) -> NDArray[np.int64]:
        """The positions of its own in a table of networks of all runs."""
        return np.flatnonzero(networks["run"].isin([run.name for run in self.runs]).to_numpy())


def groups_of(runs: Sequence[Run]) -> tuple[Group, ...]:
    """The runs, those together that may share a table."""
    found: list[list[Run]] = []
    for run in runs:
        home = next((some for some in found if _alike(some[0], run)), None)
        if home is None:
            found.append([run])
        else:
            home.append(run)
    return tuple(
        Group(
            tuple(some),
            some[0].space,
            some[0].trials if len(some) == 1 else pd.concat([run.trials for run in some], ignore_index=True),
        )
        for some in found
    )


def _alike(one: Run, other: Run) -> bool:
    return one.configuration["space"] == other.configuration["space"] and not any(
        doubt.spoils for doubt in doubts_between((one, other))
    )


def doubts_between(runs: Sequence[Run]) -> list[Doubt]:
    """Why the rewards of some runs may not be comparable."""
    return doubts({run.name: run.trials for run in runs}, {run.name: run.configuration for run in runs})


@dataclass(frozen=True)
class Material:
    """What a report is made of.

    Args:
        runs: in the user's order.
        groups: the same, those together that were measured alike.
        trials: all rows, with the column `run`.
        networks: of each group those that were trained to the end, as `networks_of`, numbered from 0.
        objectives: columns of the table; the first stands on the upright axes.
        front: of each group what nothing dominates, a row a network: its position in `networks`, the probability of
            its membership given the noise, and whether it is the knee.
        noise: of each group, where that noise is known from, in words.
        shown: positions in `networks` of the trials that charts show, ascending.
    """

    runs: tuple[Run, ...]
    groups: tuple[Group, ...]
    trials: pd.DataFrame
    networks: pd.DataFrame
    objectives: tuple[str, ...]
    front: pd.DataFrame
    noise: tuple[Sequence[str], ...]
    shown: NDArray[np.int64]

    @property
    def several(self) -> bool:
        """Whether there is more than one run."""
        return len(self.runs) > 1

    @property
    def shown_networks(self) -> pd.DataFrame:
        """The rows that charts show, numbered from 0 as in the page's table."""
        return self.networks.iloc[self.shown].reset_index(drop=True)

    def rows_shown(self, positions: NDArray[np.int64]) -> list[int]:
        """Where shown networks stand in the page's table."""
        return [int(row) for row in np.searchsorted(self.shown, positions)]


def networks_of(trials: pd.DataFrame) -> pd.DataFrame:
    """The networks that some runs, measured alike, trained to the end: a row each, by the means over its trainings.

    Args:
        trials: of one run, or of a group.

    Returns:
        as `results.networks.network_means`, numbered from 0.
    """
    return network_means(trials).reset_index(drop=True)


def objectives_of(runs: Sequence[Run], networks: pd.DataFrame) -> tuple[str, ...]:
    """What the first run looked for, as far as it was measured; accuracy first where it is among it."""
    named = [str(name) for name in runs[0].identity.get("objectives", _OBJECTIVES)]
    measured = [name for name in named if name in networks and (networks.empty or networks[name].notna().any())]
    return tuple(sorted(measured, key=lambda name: name != "accuracy")) or ("accuracy",)


def shown_of(
    networks: pd.DataFrame, front: NDArray[np.int64], rng: np.random.Generator, *, most: int = MOST_SHOWN
) -> NDArray[np.int64]:
    """Which networks charts show: all, or the front, the best, and a random sample of the others.

    Args:
        networks: as `networks_of`.
        front: positions that are always shown.
        rng: draws the sample.
        most: how many, unless the front alone is larger.

    Returns:
        positions, ascending.
    """
    if len(networks) <= most:
        return np.arange(len(networks))
    rewards = numbers(networks, "reward")
    best = np.argsort(-np.nan_to_num(rewards, nan=-np.inf), kind="stable")[:_BEST_SHOWN]
    kept = np.union1d(front, best)
    others = np.setdiff1d(np.arange(len(networks)), kept)
    drawn = rng.choice(others, size=max(0, most - len(kept)), replace=False)
    return np.union1d(kept, drawn).astype(np.int64)


def numbers(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """A column as floats, NaN where there is none or it is missing."""
    if column not in frame:
        return np.full(len(frame), np.nan)
    return np.asarray(pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64, na_value=np.nan))
