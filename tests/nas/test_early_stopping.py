"""Stopping poor candidates early: which ones are stopped, that rungs follow from the journal, and what is saved."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.early_stopping import SessionScheduler
from nas.evaluation import epochs_of
from nas.search import EarlyStopping, Workers, on_tune
from nas.session import SearchSession
from results.trial import Failure, Measurement, Trial
from search_spaces import Architecture

MakeSession = Callable[..., SearchSession]
EPOCHS = 9
NINE = EarlyStopping(epochs=EPOCHS)
STOP, CONTINUE = "STOP", "CONTINUE"


# The scheduler alone ----------------------------------------------------------------------------------------------


class Search:
    """What Tune and a session do with a scheduler, without either: candidates are measured in any order."""

    def __init__(self, stopping: EarlyStopping) -> None:
        self.trials: dict[int, Trial] = {}
        self._events: list[dict[str, Any]] = []
        self._stopping = stopping
        self.scheduler = self.another()

    def another(self) -> SessionScheduler:
        """A scheduler that is made now, as by a search that is resumed."""
        store = SimpleNamespace(trials=self.trials, events=lambda: iter(self._events))
        session: Any = SimpleNamespace(store=store, reward_so_far=self.reward)
        return SessionScheduler(session, self._stopping)

    @staticmethod
    def reward(number: int, measurement: Measurement) -> float | None:
        """The accuracy over the step time; none where that was not measured."""
        return None if measurement.step_time is None else measurement.accuracy / measurement.step_time

    def begin(self, number: int, *, replicate: int = 0) -> None:
        before = self.trials.get(number)
        trial = Trial(number=number, genotype=(), architecture=f"n{number}", seed=0, replicate=replicate)
        self.trials[number] = trial if before is None else replace(before, curve=(), state="running")
        self._events.append({"event": "asked" if before is None else "attempted", "number": number})
        self.scheduler.on_trial_add(None, self._of_tune(number))

    def measure(self, number: int, accuracy: float, step_time: float | None = 1.0) -> str:
        """The decision is asked for before the session is told of the measurement, as Tune does it."""
        epoch = len(self.trials[number].curve) + 1
        measurement = Measurement(accuracy=accuracy, step_time=step_time, epoch=epoch)
        result = {"outcome": measurement, "done": False}
        decision = self.scheduler.on_trial_result(None, self._of_tune(number), result)
        curve = (*self.trials[number].curve, accuracy)
        trial = replace(self.trials[number], curve=curve, measurement=measurement)
        self.trials[number] = replace(trial, state="stopped") if decision == STOP else trial
        kept = {"accuracy": accuracy, "step_time": step_time, "epoch": epoch}
        self._events.append({"event": "measured", "number": number, "measurement": kept})
        return decision

    def _of_tune(self, number: int) -> Any:
        return SimpleNamespace(trial_id=os.urandom(4).hex(), config={"number": number})


def expected_rungs(trials: Iterator[Trial], milestones: list[int]) -> dict[float, dict[int, float]]:
    """By the curves alone: who was measured often enough is in a rung, with its accuracy there."""
    curves = {t.number: t.curve for t in trials if not t.replicate and t.repeat_of is None}
    return {m: {n: curve[m - 1] for n, curve in curves.items() if len(curve) >= m} for m in milestones}


def test_a_candidate_goes_on_among_the_best_third_of_those_before_it() -> None:
    search = Search(NINE)
    decisions = []
    for number, accuracy in enumerate([0.5, 0.4, 0.6, 0.45, 0.7, 0.55, 0.65]):
        search.begin(number)
        decisions.append(search.measure(number, accuracy))
    # the two thirds' quantiles before each: none, .5, .467, .533, .533, .6, .583
    assert decisions == [CONTINUE, STOP, CONTINUE, STOP, CONTINUE, STOP, CONTINUE]
    assert search.scheduler.rungs[1] == dict(enumerate([0.5, 0.4, 0.6, 0.45, 0.7, 0.55, 0.65]))


def test_decisions_come_at_the_rungs_alone_and_never_at_the_end() -> None:
    search = Search(NINE)
    for number in range(8):
        search.begin(number)
        for epoch in range(1, EPOCHS + 1):
            better = number / 100  # each is better than all before it, but for the epochs between the rungs
            decision = search.measure(number, (0.5 + better) if epoch in (1, 3) else 0.5 - better)
            assert decision == CONTINUE
    assert [sorted(rung) for milestone, rung in search.scheduler.rungs.items() if milestone < EPOCHS] == [
        [*range(8)]
    ] * 2


def test_without_knowing_the_epochs_nothing_is_stopped_where_others_ended() -> None:
    search = Search(EarlyStopping())
    for number in range(3):
        search.begin(number)
        decisions = [search.measure(number, 0.6 - number / 10 if epoch == 9 else 0.5) for epoch in range(1, 10)]
        assert decisions == [CONTINUE] * 9
        search.trials[number] = replace(search.trials[number], state="complete")
    search.begin(3)
    assert [search.measure(3, 0.5) for _ in range(8)] == [CONTINUE] * 8


def test_leaders_trained_again_are_neither_stopped_nor_in_a_rung() -> None:
    search = Search(NINE)
    for number in range(4):
        search.begin(number)
        search.measure(number, 0.5)
    before = search.scheduler.rungs
    search.begin(4, replicate=1)
    assert [search.measure(4, 0.01) for _ in range(EPOCHS)] == [CONTINUE] * EPOCHS
    assert search.scheduler.rungs == before
    search.begin(5)
    assert search.measure(5, 0.01) == STOP


def test_what_is_no_measurement_decides_nothing() -> None:
    search = Search(NINE)
    search.begin(0)
    trial = SimpleNamespace(trial_id="x", config={"number": 0})
    for outcome in (None, Failure("timeout", "not done")):
        assert search.scheduler.on_trial_result(None, trial, {"training_iteration": 1, "outcome": outcome}) == CONTINUE
    assert not any(search.scheduler.rungs.values())


def test_a_candidate_begun_again_is_in_the_rungs_once() -> None:
    search = Search(NINE)
    search.begin(0)
    search.measure(0, 0.9)
    search.begin(0)  # its worker was lost
    assert search.scheduler.rungs[1] == {}
    search.begin(1)
    assert search.measure(1, 0.2) == CONTINUE
    assert search.measure(0, 0.3) == CONTINUE
    assert search.scheduler.rungs[1] == {0: 0.3, 1: 0.2}


def test_by_reward_a_cheap_network_goes_on_and_a_costly_one_is_stopped() -> None:
    candidates = [(0.5, 1.0), (0.4, 0.5), (0.6, 2.0), (0.3, None)]  # rewards .5, .8, .3 and none
    decisions = {}
    for by in ("accuracy", "reward"):
        search = Search(EarlyStopping(stop_by=by, epochs=EPOCHS))
        for number in range(4):
            search.begin(number)
        decisions[by] = [search.measure(number, *candidate) for number, candidate in enumerate(candidates)]
        rungs = search.scheduler.rungs
        assert search.another().rungs == rungs
    assert decisions["accuracy"] == [CONTINUE, STOP, CONTINUE, STOP]
    assert decisions["reward"] == [CONTINUE, CONTINUE, STOP, CONTINUE]
    assert rungs[1] == {0: 0.5, 1: 0.8, 2: 0.3}, "one without a reward is compared to none"


ACCURACIES = st.floats(0, 1, width=32)


@settings(max_examples=100, deadline=None)
@given(
    events=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 19), ACCURACIES), max_size=120),
    grace=st.integers(1, 3),
    factor=st.sampled_from([2.0, 2.5, 3.0, 4.0]),
    epochs=st.sampled_from([None, 4, 9]),
)
def test_rungs_are_a_function_of_the_curves_and_decisions_of_the_rungs(
    events: list[tuple[int, int, float]], grace: int, factor: float, epochs: int | None
) -> None:
    """Candidates in any order, some begun again, some trained again as leaders; a new scheduler at any time."""
    stopping = EarlyStopping(grace, factor, epochs=epochs)
    search = Search(stopping)
    most = epochs or 12
    milestones = [grace * factor**k for k in range(int(math.log(most / grace) / math.log(factor)) + 1)]
    for number, what, accuracy in events:
        trial = search.trials.get(number)
        if trial is None or what == 0:
            search.begin(number, replicate=int(number == 7))
            continue
        if trial.state != "running" or len(trial.curve) >= most:
            continue
        epoch = len(trial.curve) + 1
        reached = [m for m in milestones if math.ceil(m) == epoch and epoch < most and number != 7]
        rivals = {
            m: sorted(t.curve[epoch - 1] for t in search.trials.values() if t.number != 7 and len(t.curve) >= epoch)
            for m in reached
        }
        decision = search.measure(number, accuracy)
        for rung in rivals.values():
            place = (1 - 1 / factor) * (len(rung) - 1)  # numpy's linear quantile
            if rung:
                low = rung[math.floor(place)]
                cutoff = low + (rung[math.ceil(place)] - low) * (place % 1)
                if abs(accuracy - cutoff) > 1e-9:
                    assert (decision == STOP) == (accuracy < cutoff)
        if not reached:
            assert decision == CONTINUE
        assert search.another().rungs == search.scheduler.rungs
    if float(factor).is_integer():
        within = [int(m) for m in milestones if epochs is None or m < epochs]
        found = search.scheduler.rungs
        assert {m: found[m] for m in within} == expected_rungs(iter(search.trials.values()), within)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grace_epochs": 0}, "grace_epochs must be above 0; got 0"),
        ({"grace_epochs": math.nan}, "grace_epochs must be above 0; got nan"),
        ({"reduction_factor": 1.0}, r"reduction_factor must be a number of at least 1.1; got 1.0"),
        ({"reduction_factor": math.inf}, "reduction_factor must be a number of at least 1.1; got inf"),
        ({"stop_by": "params"}, "stop_by must be accuracy or reward; got params"),
        ({"reduction_factor": math.nan}, "reduction_factor must be a number of at least 1.1; got nan"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**options)


@pytest.mark.parametrize(
    ("stopping", "said"),
    [
        (EarlyStopping(1, 3, epochs=9), "after 1, 3 of 9 epochs unless its reward is among the best 1/3 "),
        (
            EarlyStopping(2, 2.5, epochs=100),
            "after 2, 5, 13, 32, ... of 100 epochs unless its reward is among the best 1/2.5 ",
        ),
        (
            EarlyStopping(1, 1.2),
            "after 1, 2, 3, 4, ... of its epochs unless its reward is among the best 1/1.2 ",
        ),
        (
            EarlyStopping(1, 4, "reward"),
            "after 1, 4, 16, 64, ... of its epochs unless its reward is among the best 1/4 ",
        ),
    ],
)
def test_what_it_does_in_words(stopping: EarlyStopping, said: str) -> None:
    assert said in str(stopping)


def test_rungs_within_an_epoch() -> None:
    within = EarlyStopping(0.25, 3, epochs=2, within=True)
    assert within.rungs == (0.25, 0.75)
    assert "after 0.25, 0.75 of 2 epochs" in str(within)
    assert EarlyStopping(0.25, 3, epochs=9).rungs == (1, 3, 7), "only the ends of epochs are measured"
    assert EarlyStopping(1, 3, epochs=9).rungs == (1, 3)
    assert EarlyStopping(2, epochs=2).rungs == ()


def test_the_share_that_is_trained_if_one_in_so_many_goes_on() -> None:
    assert EarlyStopping(1, 3, epochs=9).expected_share == pytest.approx((1 + 2 / 3 + 6 / 9) / 9)
    assert EarlyStopping(0.5, 2, epochs=1, within=True).expected_share == 0.75
    assert EarlyStopping(2, 3, epochs=2).expected_share == 1  # nothing can be stopped
    assert EarlyStopping(1, 3).expected_share == 1  # nobody says for how long it trains


def test_a_journal_that_was_measured_elsewhere_is_in_no_rung_it_does_not_belong_to() -> None:
    search = Search(NINE)
    for number in range(3):
        search.begin(number)
        for epoch in range(1, 4):
            search.measure(number, 0.5 + number / 10 + epoch / 100)
    search._stopping = EarlyStopping(0.25, 3, epochs=EPOCHS, within=True)  # resumed with an earlier first decision
    assert not any(search.another().rungs.values()), "no candidate was measured after .25, .75, 2.25 or 6.75 epochs"


def test_nothing_can_be_stopped_in_the_last_epoch() -> None:
    assert [EarlyStopping(g, epochs=e).can_stop for g, e in ((1, 1), (1, 2), (2, 2), (3, 2), (5, None))] == [
        False,
        True,
        False,
        False,
        True,
    ]


def test_one_worker_needs_ray_tune_to_stop_candidates() -> None:
    assert not on_tune(Workers(1), None)
    assert on_tune(Workers(1), NINE)
    assert on_tune(Workers(2), None)
    assert on_tune(Workers(1, address="auto"), None)


def test_the_epochs_of_an_evaluator() -> None:
    def evaluate(architecture: Architecture, seed: int) -> Measurement:
        raise NotImplementedError

    assert epochs_of(evaluate) is None
    evaluate.epochs = 4  # type: ignore[attr-defined]
    assert epochs_of(evaluate) == 4
    for bad in (0, 2.5, "4"):
        evaluate.epochs = bad  # type: ignore[attr-defined]
        with pytest.raises(
            ValueError, match=f"an evaluator's epochs must be a whole number of at least 1.*; got {bad!r}"
        ):
            epochs_of(evaluate)
