"""What earlier runs measured, taken in the place of training a network once more (`--reuse`).

A measurement is as good here as where it was made if what decides it is the same: the evaluator, its task and the
picture size. What a search makes of measurements (reward, limits, objectives), who proposes (controller, seed) and
out of what (space) may differ: an architecture's text says which network it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.identity import brought_up_to_date, deciding_measurements, differences
from results.store import TrialStore
from results.trial import Trial

Trainings = Mapping[str, Sequence[Trial]]
"""By an architecture's text, the trials that trained it in earlier runs, each saying where in `reused_from`."""


def earlier_run(folder: Path, *, run: Path) -> TrialStore:
    """An earlier run, as it is now: another process may be writing it.

    Args:
        run: the folder of the search that reuses it.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: it is the search's own, cannot be read, or has no complete trial.
    """
    if folder.resolve() == run.resolve():
        raise ValueError(f"a run to reuse must be another than the search's own, which is {folder}: name others")
    store = TrialStore.open(folder)
    if not any(trial.state == "complete" for trial in store.trials.values()):
        raise ValueError(f"a run to reuse must have complete trials; {folder} has none yet: leave it out")
    return store


def trainings(earlier: TrialStore, identity: Mapping[str, Any]) -> list[Trial]:
    """The complete trials of an earlier run, each of which says where it was trained.

    Args:
        identity: of the search that reuses it.

    Raises:
        ValueError: a network is measured otherwise there (lists the fields that differ).
    """
    theirs = earlier.configuration.get("identity")
    if theirs is None:
        raise ValueError(f"a run to reuse must say what its proxy task was, as `nas search` has it; {earlier.folder} "
                         f"does not: leave it out")  # fmt: skip
    found = differences(deciding_measurements(identity), deciding_measurements(brought_up_to_date(theirs)))
    if found:
        listed = "\n  ".join(found)
        raise ValueError(
            f"a run to reuse must have measured its networks as this search does; in {earlier.folder} these fields "
            f"differ:\n  {listed}\ngive the same options, or leave it out"
        )
    place = earlier.folder.resolve()
    return [
        replace(trial, reused_from=trial.reused_from or f"{place}#{number}")
        for number, trial in sorted(earlier.trials.items())
        if trial.state == "complete"
    ]


def by_network(trials: Iterable[Trial]) -> Trainings:
    """Trials by their architecture's text, those of one in the order they come."""
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(trial.architecture, []).append(trial)
    return found


def reused(trial: Trial, earlier: Trainings, seeds: Collection[int]) -> Trial:
    """A trial with the first training of its network that is still to be had; as it is where there is none.

    Args:
        seeds: of trainings that are not to be had: equal seeds are one training, wherever it is recorded.
    """
    for other in earlier.get(trial.architecture, ()):
        if other.seed not in seeds:
            return replace(
                trial,
                seed=other.seed,
                measurement=other.measurement,
                curve=other.curve,
                curve_epochs=other.curve_epochs,
                reused_from=other.reused_from,
            )
    return trial
