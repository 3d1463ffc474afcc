"""The networks of a trial table, a row each: what was measured of one, by the means over all its trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.pareto import points_of

Alike = Mapping[str, object]
"""By its name, the kind of each run: those of one kind measured alike, so that one network's trainings are of one."""

_MEASURED = ("accuracy", "accuracy_corrected", "step_time", "step_time_low", "step_time_high", "latency",
             "latency_low", "latency_high")  # fmt: skip

_Numbers = NDArray[np.integer[Any]]


def homes(frame: pd.DataFrame, alike: Alike | None = None) -> pd.Series:
    """Of each trial the kind of its run; by default all runs of a table are of one."""
    if "run" not in frame or alike is None:
        return pd.Series("", index=frame.index)
    return frame["run"].map(dict(alike))


def network_of(frame: pd.DataFrame, alike: Alike | None = None) -> pd.Series[int]:
    """Which network each trial is of, numbered: those of one architecture, in runs that measured alike."""
    return frame.groupby([homes(frame, alike), "architecture"], sort=False, dropna=False).ngroup()


def own_trainings(frame: pd.DataFrame, alike: Alike | None = None) -> pd.Series[bool]:
    """Which trials are complete, and no training that is in the table a second time.

    So is one that a run took over by `--reuse` where the run that made it is there, and those of a copied run: a
    training of the same seed that measured the same is the same. It counts where it was made, or else where it is
    first.
    """
    complete = frame["state"] == "complete"
    if "run" not in frame or "seed" not in frame or frame["run"].nunique() < 2:
        return complete
    same = [network_of(frame, alike), frame["seed"], *(frame[name] for name in _MEASURED if name in frame)]
    taken_over = frame["reused_from"].notna() if "reused_from" in frame else pd.Series(False, index=frame.index)
    order = np.lexsort([taken_over, ~complete])  # stable
    again = pd.concat(same, axis=1).iloc[order].duplicated().to_numpy()
    own = complete.to_numpy(copy=True)
    own[order[again]] = False
    return pd.Series(own, index=frame.index)


def network_means(frame: pd.DataFrame, objectives: Sequence[str] = (), *, alike: Alike | None = None) -> pd.DataFrame:
    """The networks that were trained to the end, each with the means over all its trainings.

    A search that trained its leaders again knows them better than by the first training, which chose them for being
    high; so here they are judged by all.

    Args:
        frame: a trial table, of one run or several.
        objectives: names of columns; of these, accuracy, step time and latency the means are taken, over the trainings
            in all runs that measured alike, and of the reward over those of the row's own run. The ends of a step
            time's interval are means too, which for the mean of several trainings is on the safe side.
        alike: the kind of each run; by default all measured alike, so that a network of several runs is one.

    Returns:
        the row of each network's first training with its index, changed to the means, and columns `trainings` (how
        many these are) and, of several runs, `also_in` (the others that have the network, empty where there is none).

    Raises:
        ValueError: an objective is no column of numbers, or was measured in no complete trial.
    """
    if objectives:
        points_of(frame.iloc[:0], objectives)
    own = frame.loc[own_trainings(frame, alike)]
    network = network_of(own, alike).to_numpy()
    first = _first_of_each(own, network)
    found = own.iloc[first].copy()
    for name in objectives:
        if len(found) and own[name].isna().all():
            raise ValueError(f"objectives must have been measured; {name} was in no trial: name others (--objectives)")
    groups = {name: network for name in dict.fromkeys([*_MEASURED, *objectives]) if name in own}
    if "reward" in own:
        runs = own["run"] if "run" in own else pd.Series("", index=own.index)
        groups["reward"] = own.groupby([network, runs.to_numpy()], sort=False).ngroup().to_numpy()
    for name, group in groups.items():
        _take_means(found, own[name], group, first)
    found["trainings"] = np.bincount(network)[network[first]] if len(found) else np.zeros(0, np.int64)
    if "run" in frame and frame["run"].nunique() > 1:
        found["also_in"] = _other_runs(frame, found, alike)
    return found


def _first_of_each(own: pd.DataFrame, network: _Numbers) -> _Numbers:
    """The positions of the first trainings, ascending: no replicate, and made in their run, if there is such a one."""
    replicate = own["replicate"].to_numpy() if "replicate" in own else np.zeros(len(own))
    taken_over = own["reused_from"].notna().to_numpy() if "reused_from" in own else np.zeros(len(own), bool)
    order = np.lexsort([taken_over, replicate, network])  # stable
    return np.sort(order[np.unique(network[order], return_index=True)[1]])


def _take_means(found: pd.DataFrame, column: pd.Series, group: _Numbers, first: _Numbers) -> None:
    """The means of a column's groups in the place of single values, where these differ."""
    values = column.to_numpy(np.float64, na_value=np.nan)
    means = pd.Series(values).groupby(group).transform("mean").to_numpy()[first]
    single = values[first]
    if not np.allclose(means, single, rtol=1e-12, atol=0, equal_nan=True):  # params stay whole numbers
        found[column.name] = np.where(np.isclose(means, single, rtol=1e-12, atol=0), single, means)


def _other_runs(frame: pd.DataFrame, found: pd.DataFrame, alike: Alike | None) -> list[str]:
    """Of each found network the other runs in which it is complete."""
    network = network_of(frame, alike)
    complete = frame.loc[frame["state"] == "complete"]
    pairs = pd.DataFrame({"network": network[complete.index], "run": complete["run"]}).drop_duplicates()
    pairs = pairs[pairs.duplicated("network", keep=False)]
    runs = pairs.groupby("network")["run"].agg(list)
    each = zip(network[found.index], found["run"], strict=True)
    return [", ".join(run for run in runs.get(number, []) if run != its) for number, its in each]
