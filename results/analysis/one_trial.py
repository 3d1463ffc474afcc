"""What a run knows of one of its trials."""

from __future__ import annotations

from typing import Any

import pandas as pd

_TOLD = (
    *("number", "state", "failure", "reason", "repeat_of", "reused_from", "arm", "replicate", "reward", "accuracy"),
    *("epoch", "curve", "step_time", "step_time_low", "step_time_high", "step_time_s", "latency", "latency_low"),
    *("latency_high", "latency_s", "latency_batch", "timing_note", "peak_memory", "peak_memory_bytes", "snip"),
    *("train_time_s", "batch_size", "device", "host"),
)


def trial_facts(frame: pd.DataFrame, number: int) -> dict[str, Any]:
    """What is known of a trial, as plain data; what is not is left out.

    Args:
        frame: a trial table.
        number: of a trial in it.

    Returns:
        what was measured and what became of it, by the columns' names; of a complete trial that is its network's first
        training also `rank`, its place by reward among the `ranked` ones; and where the network was trained more than
        once, how many `trainings` there are, `mean_reward` and `mean_accuracy` over them.
    """
    row = frame[frame["number"] == number].iloc[0]
    facts = {name: _plain(row[name]) for name in _TOLD if name in frame}
    complete = frame[frame["state"] == "complete"]
    first = complete.loc[complete["replicate"] == 0, "reward"].dropna()
    if row["state"] == "complete" and row["replicate"] == 0 and not pd.isna(row["reward"]):
        facts |= {"rank": int((first > row["reward"]).sum()) + 1, "ranked": len(first)}
    trainings = complete[complete["architecture"] == row["architecture"]]
    if len(trainings) > 1:
        facts |= {"trainings": len(trainings)}
        facts |= {f"mean_{name}": _plain(trainings[name].mean()) for name in ("reward", "accuracy")}
    return {name: value for name, value in facts.items() if value is not None and value != []}


def _plain(value: Any) -> Any:
    """As JSON has it; None for what is missing."""
    if pd.api.types.is_list_like(value):
        return [_plain(one) for one in value]
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value
