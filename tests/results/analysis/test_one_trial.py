"""What a run knows of one trial: measured, ranked, averaged over trainings, and nothing made up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from results.analysis import trial_facts
from results.store import TrialStore
from results.trial import Measurement, Trial
from search_spaces import SPACES

SPACE = SPACES["small"]


@pytest.fixture
def store(tmp_path: Path) -> TrialStore:
    made = TrialStore.create(tmp_path / "run", {"space": SPACE.to_json()})
    for number, (network, replicate, reward) in enumerate([(0, 0, 0.5), (1, 0, 0.9), (1, 1, 0.7), (2, 0, None)]):
        genotype = SPACE.genotype_at(network)
        text = str(SPACE.decode(genotype))
        asked = Trial(number=number, genotype=genotype, architecture=text, seed=number, replicate=replicate)
        made.asked(asked)
        if reward is not None:
            made.measured(number, Measurement(accuracy=reward / 2, epoch=1))
            made.measured(number, Measurement(accuracy=reward, epoch=2, step_time=1.5, params=7, host="here"))
            made.told(replace(asked, state="complete", reward=reward))
        else:
            made.told(replace(asked, state="failed", failure="diverged", reason="loss is nan"))
    return made


def test_of_a_complete_trial(store: TrialStore) -> None:
    facts = trial_facts(store.frame(), 0)
    expected = {"state": "complete", "reward": 0.5, "accuracy": 0.5, "step_time": 1.5, "curve": [0.25, 0.5], "rank": 2}
    assert {name: facts[name] for name in expected} == expected
    assert facts["ranked"] == 2  # a replicate is no network of its own
    assert "latency" not in facts
    assert "trainings" not in facts
    assert json.loads(json.dumps(facts)) == facts


def test_of_a_network_that_was_trained_again(store: TrialStore) -> None:
    facts = trial_facts(store.frame(), 1)
    assert (facts["rank"], facts["trainings"]) == (1, 2)
    assert (facts["mean_reward"], facts["mean_accuracy"]) == (pytest.approx(0.8), pytest.approx(0.8))
    assert "rank" not in trial_facts(store.frame(), 2)


def test_of_a_failed_trial(store: TrialStore) -> None:
    facts = trial_facts(store.frame(), 3)
    assert facts == {
        "number": 3,
        "state": "failed",
        "failure": "diverged",
        "reason": "loss is nan",
        "arm": "controller",
        "replicate": 0,
    }
