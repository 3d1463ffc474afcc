"""What the searches of the discovery study say: the findings by each reward, and what heeding step time buys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nas.show import plain
from nas.studies.pace import Pace
from nas.studies.searches import run_of
from nas.studies.study import Place
from search_spaces import SPACES

if TYPE_CHECKING:
    import pandas as pd

SEARCHED, RANDOM = "search", "random"
"""The runs: of the default controller, and of random search alone."""

PAPERS = "A S^-0.07 P^-0.05"
REWARDS: dict[str, dict[str, float]] = {
    PAPERS: {"a": 1, "w": -0.07, "v": -0.05},
    "A": {"a": 1, "w": 0, "v": 0},
    "S alone": {"a": 0, "w": -1, "v": 0},
    "P alone": {"a": 0, "w": 0, "v": -1},
}
"""What the networks are ranked by: the paper's reward, and what is left of it."""

ABLATED = tuple(name for name in REWARDS if name != PAPERS)


@dataclass(frozen=True, slots=True)
class Analyse:
    """What the runs of the study say.

    Args:
        name: of the step.
        space: name of the space.
    """

    alone: ClassVar[bool] = True

    name: str
    space: str

    def expected_s(self, pace: Pace) -> float:
        """Some."""
        return 5.0

    def run(self, place: Place) -> Mapping[str, Any]:
        """Rank the random networks by each reward; gives the findings' rows, the values, and what was better."""
        from results.analysis import against_chance, best_by, findings

        space = SPACES[self.space]
        frame, searched = run_of(place.folder, RANDOM), run_of(place.folder, SEARCHED)
        rows = [
            {"reward": name, **row}
            for name, weights in REWARDS.items()
            for row in findings(ranked_by(frame, **weights), space).to_dict("records")
        ]
        complete = frame[frame["state"] == "complete"]
        rewards = {name: ranked_by(complete, **weights)["reward"] for name, weights in REWARDS.items()}
        moved = {name: best_by(complete, space, rewards[PAPERS], rewards[name]) for name in ABLATED}
        chance = {"its random arm": against_chance(searched), "random search": against_chance(searched, frame)}
        found = {
            "findings": rows,
            "searched": findings(searched, space).to_dict("records"),
            "ablation": {name: table.to_dict("records") for name, table in moved.items()},
            "values": {name: _values(frame, weights) for name, weights in REWARDS.items()},
            "searched_values": _values(searched, REWARDS[PAPERS]),
            "chance": {
                name: {**one._asdict(), "verdict": one.verdict} for name, one in chance.items() if one is not None
            },
        }
        return dict(plain(found))


def ranked_by(frame: pd.DataFrame, *, a: float, w: float, v: float) -> pd.DataFrame:
    """A trial table whose rewards are A^a S^w P^v, up to a factor; those without a reward stay without."""
    measured = {name: frame[name].astype(float) for name in ("accuracy", "step_time", "params")}
    return frame.assign(reward=value_by(measured, a=a, w=w, v=v).where(frame["reward"].notna()))


def value_by(of: Mapping[str, Any], *, a: float, w: float, v: float) -> Any:
    """A^a S^w P^v of what was measured of a network, or of the columns of a table."""
    return of["accuracy"] ** a * of["step_time"] ** w * of["params"] ** v


def _values(frame: pd.DataFrame, weights: Mapping[str, float]) -> list[float]:
    return [float(f"{value:.5g}") for value in sorted(ranked_by(frame, **weights)["reward"].dropna())]
