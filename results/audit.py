"""What the runs of an audit say: how each way of training ranks networks, what it costs, and what seeds change."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from results.agreement import Agreement, agreement
from results.store import TrialStore

TOP = 5
"""How many networks count as the best."""

FEWEST = 3
"""Networks that can be ranked at all."""


def report(folder: Path, names: Sequence[str], *, threshold: float) -> dict[str, Any]:
    """What the runs of an audit say. All are compared on the same networks, those that are complete in each.

    Args:
        names: of the runs, which are folders of the audit's; it may hold others, of an audit that asked for more.
        threshold: the least Kendall tau of accuracies that the cheapest way must keep.

    Returns:
        `ways`: for each way of training its cost in seconds a network, over the reference's too, and its agreement
        with the reference in accuracy and in reward; `noise`: the agreement between seeds; `cheapest`: the cheapest
        whose tau of accuracies is at least the threshold, None where there is none. The proxy's trainings with other
        seeds are one way: its cost and its agreement are means over them. The reference's accuracies are averaged.

    Raises:
        ValueError: fewer than three networks are complete in each (names the run with the fewest).
    """
    failed = {name: _failed(folder / name) for name in names}
    frames = _same_networks({name: _complete(folder / name) for name in names}, failed)
    pooled: dict[str, list[pd.DataFrame]] = {}  # the trainings of each way
    for name, frame in frames.items():
        pooled.setdefault(name.partition("-seed-")[0], []).append(frame)
    references = pooled.pop("reference")
    averaged = pd.concat(references).groupby(level=0)[["accuracy", "reward"]].mean()
    reference_s = _cost_s(references)
    ways: list[dict[str, Any]] = [
        {
            "way": name,
            "trainings": len(trainings),
            "cost_s": _cost_s(trainings),
            "cost": _cost_s(trainings) / reference_s,
            **_both(trainings, averaged),
        }
        for name, trainings in pooled.items()
    ]
    ways.sort(key=lambda way: -way["cost_s"])
    noise = [
        {"way": f"{name} against {kind}", **_both([frame], frames[kind])}
        for kind in ("proxy", "reference")
        for name, frame in frames.items()
        if name.startswith(f"{kind}-seed")
    ]
    good = [way for way in ways if way["accuracy_tau"] >= threshold]
    cheapest = min(good, key=lambda way: way["cost_s"], default=None)
    return {
        "reference": {"cost_s": reference_s, "trainings": len(references)},
        "ways": ways,
        "noise": noise,
        "threshold": threshold,
        "cheapest": None if cheapest is None else cheapest["way"],
        "failed": {name: len(reasons) for name, reasons in failed.items() if reasons},
    }


def _same_networks(frames: Mapping[str, pd.DataFrame], failed: Mapping[str, list[str]]) -> dict[str, pd.DataFrame]:
    """Of each run the networks that are complete in all of them."""
    common = set.intersection(*(set(frame.index) for frame in frames.values()))
    if len(common) < FEWEST:
        fewest = min(frames, key=lambda name: len(frames[name]))
        why = f" ({len(failed[fewest])} failed, the last: {failed[fewest][-1]})" if failed[fewest] else ""
        raise ValueError(
            f"at least {FEWEST} networks must be complete in every way of training; {len(common)} are, and of "
            f"{fewest} {len(frames[fewest])}{why}: ask for more networks"
        )
    return {name: frame[frame.index.isin(common)] for name, frame in frames.items()}


def _cost_s(trainings: Sequence[pd.DataFrame]) -> float:
    """Seconds of a training, in the mean."""
    return float(np.mean([frame["train_time_s"].mean() for frame in trainings]))


def _both(trainings: Sequence[pd.DataFrame], reference: pd.DataFrame) -> dict[str, float]:
    found: dict[str, float] = {}
    for column in ("accuracy", "reward"):
        readings = pd.concat([frame[column] for frame in trainings], axis=1)
        one: Agreement = agreement(readings, reference[column], top=TOP)
        found |= {f"{column}_{name}": value for name, value in one._asdict().items()}
    return found


def _complete(run: Path) -> pd.DataFrame:
    """The trials of a run that are complete, by architecture."""
    frame = TrialStore.open(run).frame()
    return frame[frame["state"] == "complete"].set_index("architecture")


def _failed(run: Path) -> list[str]:
    """Why trials of a run failed, in their order."""
    return [str(trial.reason) for trial in TrialStore.open(run).trials.values() if trial.state == "failed"]


def write_report(folder: Path, found: dict[str, Any]) -> list[Path]:
    """`audit.json`, and `networks.csv`: a row a network, from which `nas correct` fits a correction."""
    proxy, reference = _complete(folder / "proxy"), _complete(folder / "reference")
    table = proxy[["accuracy", "reward", "step_time", "params", "macs", "snip"]].join(
        reference[["accuracy", "reward"]].add_prefix("reference_"), how="inner"
    )
    written = [folder / "audit.json", folder / "networks.csv"]
    written[0].write_text(json.dumps(found, indent=1) + "\n")
    table.reset_index().to_csv(written[1], index=False)
    return written
