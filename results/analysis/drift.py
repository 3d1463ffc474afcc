"""Whether a device's speed drifted in a run, told by the anchor network that every step time is measured against.

The anchor is the same network throughout, timed in alternation with each candidate; so what it takes tells of the
device alone. A step time over the anchor's, and with it the reward, does not drift with it.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from results.analysis.candidates import of_each_run

NOTABLE = 0.02
"""A change from a run's begin to its end below this share is none to speak of, however certain it is."""

UNSTEADY = 0.1
"""A device whose timings spread by more than this share about their median is not steady, whatever their trend."""

_FEWEST = 8
_BLOCKS = 200


def drift(frame: pd.DataFrame) -> pd.DataFrame:
    """What the anchor's training step took when each candidate was timed.

    Replicates are in it, for they are timed too. Repeats and what was reused from an earlier run are not: they carry a
    timing of another time, and perhaps another machine.

    Args:
        frame: a trial table; of several runs (a column `run`) each is told apart.

    Returns:
        a row a timing, in the order in which they were told: number, told_at (seconds since 1970), device, host,
        anchor_s (seconds), relative (to the median of the same device of the same host).
    """
    return of_each_run(frame, _drift)


def _drift(frame: pd.DataFrame) -> pd.DataFrame:
    trained = frame["state"].isin(["complete", "stopped", "failed", "infeasible"]) & frame["reused_from"].isna()
    rows = frame[trained & frame["told_at"].notna()].sort_values(["told_at", "number"], kind="stable")
    taken, ratio = (rows[name].to_numpy(np.float64, na_value=np.nan) for name in ("step_time_s", "step_time"))
    with np.errstate(divide="ignore", invalid="ignore"):
        anchor = taken / ratio
    names = {name: rows[name].astype("str").fillna("unknown").to_numpy() for name in ("device", "host")}
    told = rows["told_at"].to_numpy(np.float64)
    found = pd.DataFrame({"number": rows["number"].to_numpy(np.int64), "told_at": told, **names, "anchor_s": anchor})
    kept: pd.DataFrame = found[np.isfinite(anchor) & (anchor > 0)].reset_index(drop=True)
    kept["relative"] = kept["anchor_s"] / kept.groupby(["device", "host"])["anchor_s"].transform("median")
    return kept


def drift_verdict(drifted: pd.DataFrame) -> pd.DataFrame:
    """Whether each device became slower or faster over a run, by a line through its timings.

    The line is Theil and Sen's (the median of all slopes; Sen 1968, JASA 63), which a few disturbed timings do not
    move, with the rank-based 95 % interval; of many timings, through the medians of 200 blocks of them.

    Args:
        drifted: as `drift` gives it.

    Returns:
        a row a device (of a run): run where there are several, device, host, timings, anchor_s (median), spread (half
        the range of the middle 90 %, over the median), change (from the first timing to the last, over the median),
        low, high, verdict: `became slower` or `became faster` where the line says so; else `unsteady` where the
        spread is over a tenth; `steady` where the whole interval is within 2 %; `no trend told` where it reaches
        further; or `too few timings`.
    """
    keys = [name for name in ("run", "device", "host") if name in drifted]
    columns = [*keys, "timings", "anchor_s", "spread", "change", "low", "high", "verdict"]
    rows = [(*key, *_judged(group)) for key, group in drifted.groupby(keys, sort=False)]
    return pd.DataFrame(rows, columns=columns)


def _judged(group: pd.DataFrame) -> tuple[int, float, float, float, float, float, str]:
    """Timings, median, spread, change with its interval, and the verdict."""
    from scipy.stats import theilslopes  # which takes a while to load

    relative, middle = group["relative"].to_numpy(np.float64), float(group["anchor_s"].median())
    fifth, most = np.quantile(relative, [0.05, 0.95])
    known = (len(group), middle, float(most - fifth) / 2)
    told = group["told_at"].to_numpy(np.float64)
    over_s = told[-1] - told[0]
    if len(group) < _FEWEST or over_s <= 0:
        return *known, math.nan, math.nan, math.nan, "too few timings"
    blocks = np.array_split(np.arange(len(group)), min(_BLOCKS, len(group)))
    at, level = (np.array([np.median(values[block]) for block in blocks]) for values in (told, relative))
    line = theilslopes(level, (at - told[0]) / over_s)
    low, high = float(line.low_slope), float(line.high_slope)
    if abs(line.slope) >= NOTABLE and not low <= 0 <= high:
        verdict = "became slower" if line.slope > 0 else "became faster"
    elif known[2] > UNSTEADY:
        verdict = "unsteady"
    else:
        verdict = "steady" if max(-low, high) <= NOTABLE else "no trend told"
    return *known, float(line.slope), low, high, verdict
