"""Which networks are trained again when a search is over: the first training of a leader flatters it."""

from __future__ import annotations

from collections.abc import Iterable

from results.trial import Trial

CONFIRMATIONS = 2
"""How often each leader is trained once more, with other seeds: three trainings in all, as papers report them."""


def to_confirm(trials: Iterable[Trial], count: int) -> list[tuple[Trial, int]]:
    """The leaders' first trials and the replicates wanted of them, one of each leader before the second of any.

    Args:
        trials: of a search.
        count: how many leaders, by their reward; of equal ones the earlier.
    """
    found = [trial for trial in trials if trial.state == "complete" and not trial.replicate]
    leaders = sorted(found, key=lambda trial: (-(trial.reward or 0.0), trial.number))[:count]
    return [(leader, replicate) for replicate in range(1, CONFIRMATIONS + 1) for leader in leaders]
