"""The contract of controllers, run over every one of `CONTROLLERS`; and what each promises beyond it.

A new controller is tested by being in the dict.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from nas.controllers import CONTROLLERS, Controller
from nas.controllers.features import Features
from nas.problem import Problem
from nas.reward import accuracy, bind
from nas.search import run_serial
from nas.session import SearchSession, trial_seed
from results.store import TrialStore
from results.trial import FailureKind, Measurement, State, Trial
from search_spaces import SPACES, Architecture, Genotype, SearchSpace, Stage, vary

pytestmark = pytest.mark.usefixtures("_unsynced")

ONE_STAGE = Architecture(8, (Stage("mbconv", 3, 2, 4, 8, 1),), 32)
SMALL_SPACES = {
    "one network": SearchSpace("one", ONE_STAGE, ()),
    "two networks": SearchSpace("two", ONE_STAGE, vary(1, kernel=(3, 5))),
    "merging stages": SearchSpace(  # several genotypes spell one network
        "merging",
        Architecture(8, tuple(Stage("mbconv", k, s, 4, 8, 1) for k, s in ((3, 2), (5, 1), (3, 1))), 32),
        (*vary(1, layers=(1, 2)), *vary(2, kernel=(3, 5), layers=(0, 1)), *vary(3, layers=(1, 2))),
    ),
}
SPACES_TO_SEARCH = {**SMALL_SPACES, **SPACES}


@pytest.fixture(params=CONTROLLERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Batches and populations of four, so that a few trials go through several; gives a line an update of PPO's."""
    from nas.controllers import evolution, optuna_sampler
    from nas.controllers.ppo import PPO, PPOSettings

    updates: list[str] = []

    class Small(PPO):
        def __init__(self, space: SearchSpace, features: Features, seed: int) -> None:
            super().__init__(space, features, seed, PPOSettings(batch=4, learning_rate=0.05))

        def _update(self) -> None:
            updates.append("an update")
            super()._update()

    monkeypatch.setitem(CONTROLLERS, "ppo", Small)
    monkeypatch.setattr(evolution, "POPULATION", 4)
    monkeypatch.setattr(evolution, "SAMPLE", 2)
    monkeypatch.setitem(optuna_sampler._EVOLUTIONARY, "population_size", 4)
    return updates


@pytest.fixture(params=SPACES_TO_SEARCH)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return SPACES_TO_SEARCH[request.param]


def problem_of(space: SearchSpace) -> Problem:
    return Problem(space, bind(accuracy, {}), 32)


def make(name: str, space: SearchSpace, seed: int = 0) -> Controller:
    return CONTROLLERS[name](space, problem_of(space).features, seed)


def told(space: SearchSpace, genotype: Genotype, number: int, state: State = "complete") -> Trial:
    """What a session would tell of a proposal: the more layers, the better."""
    architecture = space.decode(genotype)
    top1 = 1 - 1 / (1 + sum(stage.layers for stage in architecture.stages))
    measured = state in ("complete", "stopped", "repeat")
    return Trial(
        number=number,
        genotype=genotype,
        architecture=str(architecture),
        seed=trial_seed(0, str(architecture), 0),
        state=state,
        repeat_of=0 if state == "repeat" else None,
        failure="diverged" if state == "failed" else None,
        reason="accuracy is nan" if state == "failed" else "params 3 is over 2" if state == "infeasible" else None,
        measurement=Measurement(accuracy=top1, params=1000, step_time=1.0) if measured else None,
        curve=(top1,) if measured else (),
        reward=top1 if state in ("complete", "repeat") else None,
        features=tuple(problem_of(space).features(genotype).tolist()),
    )


@dataclass(frozen=True)
class Step:
    """Something that happened to a controller: what it proposed, or what it was told."""

    verb: Literal["ask", "tell"]
    proposed: Genotype | None = None
    trial: Trial | None = None


STATES: list[State] = ["complete", "complete", "failed", "infeasible", "repeat", "stopped"]


def live(controller: Controller, space: SearchSpace, steps: int, seed: int, at_once: int = 4) -> list[Step]:
    """Ask and tell in a random order, up to so many asks out at once, their tells in any order and of any state."""
    rng = np.random.default_rng(seed)
    history: list[Step] = []
    out: list[tuple[int, Genotype]] = []
    asked = 0
    for _ in range(steps):
        if len(out) < at_once and (not out or rng.random() < 0.5):
            proposed = controller.ask()
            history.append(Step("ask", proposed=proposed))
            if proposed is not None:
                out.append((asked, proposed))
                asked += 1
            elif not out:
                break
        else:
            number, genotype = out.pop(int(rng.integers(len(out))))
            trial = told(space, genotype, number, STATES[int(rng.integers(len(STATES)))])
            controller.tell(trial)
            history.append(Step("tell", trial=trial))
    return history


def replay(controller: Controller, history: list[Step]) -> list[Step]:
    """The same asks and tells; what the controller proposes may differ from what it proposed then."""
    again = []
    for step in history:
        if step.trial is not None:
            controller.tell(step.trial)
            again.append(step)
        else:
            again.append(Step("ask", proposed=controller.ask()))
    return again


def steps(name: str, usual: int) -> int:
    """How many steps to look at; Optuna's Gaussian process takes up to seconds for each."""
    return usual // 3 if name == "optuna:gp" else usual


# The contract ---------------------------------------------------------------------------------------------------


def test_proposals_are_genotypes_of_the_space(name: str, space: SearchSpace) -> None:
    for step in live(make(name, space), space, steps(name, 60), seed=1):
        if step.proposed is not None:
            assert isinstance(step.proposed, tuple)
            assert all(type(index) is int for index in step.proposed)
            assert space.contains(space.decode(step.proposed))


def test_proposals_are_a_function_of_seed_and_history(name: str, space: SearchSpace, small_batches: list[str]) -> None:
    history = live(make(name, space), space, steps(name, 60), seed=2)
    assert replay(make(name, space), history) == history
    assert small_batches or name != "ppo" or space.size < 10


def test_controllers_share_no_state(name: str) -> None:
    space = SPACES["small"]
    alone = live(make(name, space), space, steps(name, 40), seed=3)
    one, other = make(name, space), make(name, space, seed=1)
    for step in alone:
        other.ask()
        assert replay(one, [step]) == [step]


def test_other_seeds_propose_otherwise(name: str) -> None:
    space = SPACES["small"]
    assert len({make(name, space, seed).ask() for seed in range(8)}) > 1


def test_nothing_infeasible_is_proposed_while_anything_feasible_is_left(name: str) -> None:
    space = SMALL_SPACES["merging stages"]
    problem = problem_of(space)
    params = sorted({problem.cost(space.decode(space.genotype_at(i))).params for i in range(space.size)})
    limited = replace(problem, limits={"params": params[len(params) // 2]})
    feasible = {g for i in range(space.size) if limited.features.feasible(g := space.genotype_at(i))}
    assert 1 < len(feasible) < space.size
    controller = CONTROLLERS[name](space, limited.features, 0)
    proposals = []
    while (proposal := controller.ask()) is not None:
        proposals.append(space.encode(space.decode(proposal)))
        controller.tell(told(space, proposal, len(proposals)))
    assert len(proposals) == len(feasible)
    assert set(proposals) == feasible


def test_failures_are_tolerated(name: str) -> None:
    space = SPACES["small"]
    controller, rng = make(name, space), np.random.default_rng(0)
    for number in range(14 if name == "optuna:gp" else 60):  # whose proposals take seconds each
        proposal = controller.ask()
        assert proposal is not None
        controller.tell(told(space, proposal, number, "failed" if rng.random() < 0.5 else "complete"))


def test_several_asks_may_be_out_and_their_tells_come_in_any_order(name: str) -> None:
    space = SPACES["small"]
    controller = make(name, space)
    proposals = [proposal for _ in range(12) if (proposal := controller.ask()) is not None]
    assert len(proposals) >= 4, "so many workers are kept busy"
    for number, proposal in reversed(list(enumerate(proposals))):
        controller.tell(told(space, proposal, number))
    assert controller.ask() is not None


@pytest.mark.parametrize("state", sorted(set(STATES)))
def test_every_state_may_be_told(name: str, state: State) -> None:
    space = SPACES["small"]
    controller = make(name, space)
    for number in range(30):
        proposal = controller.ask()
        assert proposal is not None
        controller.tell(told(space, proposal, number, state))


@pytest.mark.parametrize("state", sorted(set(STATES)))
def test_a_trial_that_was_never_asked_for_may_be_told(name: str, state: State) -> None:
    space = SPACES["small"]
    controller, rng = make(name, space), np.random.default_rng(0)
    for number in range(10):
        controller.tell(told(space, space.sample(rng), number, state))
        proposal = controller.ask()
        assert proposal is not None
        space.decode(proposal)


def test_nothing_to_propose_leaves_the_state_as_it_was(name: str) -> None:
    space = SMALL_SPACES["merging stages"]
    asked, bothered = make(name, space), make(name, space)
    for round_ in range(4):
        out: list[Genotype] = []
        while len(out) < 3 * space.size and (proposal := asked.ask()) is not None:
            assert bothered.ask() == proposal
            out.append(proposal)
        for _ in range(5):
            if len(out) < 3 * space.size:
                assert bothered.ask() is None
        for number, genotype in enumerate(out):
            for controller in (asked, bothered):
                controller.tell(told(space, genotype, 100 * round_ + number))


@pytest.mark.parametrize("small", SMALL_SPACES)
def test_a_small_space_is_exhausted(name: str, small: str, tmp_path: Path) -> None:
    space = SMALL_SPACES[small]
    controller = make(name, space)
    proposals = []
    while (proposal := controller.ask()) is not None:
        controller.tell(told(space, proposal, len(proposals)))
        proposals.append(space.decode(proposal))
        assert len(proposals) <= space.size, "each network once"
    assert len(set(proposals)) == space.size
    assert controller.ask() is None
    session = session_of(name, space, tmp_path / "run", budget=space.size + 1)
    run_serial(session, deeper_is_better)
    assert session.finished, "a search over it ends, and does not hang"
    assert session.evaluated == space.size


def deeper_is_better(architecture: Architecture, seed: int) -> Measurement:
    if seed % 5 == 0:
        raise ArithmeticError(f"{seed}")
    return Measurement(accuracy=1 - 1 / (1 + sum(stage.layers for stage in architecture.stages)), step_time=1.0)


def session_of(name: str, space: SearchSpace, folder: Path, budget: int) -> SearchSession:
    if (folder / "run.json").exists():
        store = TrialStore.open(folder, writing=True)
    else:
        store = TrialStore.create(folder, {"space": space.to_json()})
    problem = problem_of(space)
    return SearchSession(problem, CONTROLLERS[name](space, problem.features, 0), store, budget=budget, seed=0)


def test_a_search_interrupted_at_every_step_proposes_what_it_would_have(
    name: str, tmp_path: Path, small_batches: list[str], cut_off: Callable[[Path], Iterator[Path]]
) -> None:
    space = SPACES["small"]
    whole = session_of(name, space, tmp_path / "whole", budget=12)
    run_serial(whole, deeper_is_better)
    whole.store.close()
    assert len(small_batches) >= 2 or name != "ppo"
    for folder in cut_off(tmp_path / "whole"):
        session = session_of(name, space, folder, budget=12)
        run_serial(session, deeper_is_better)
        session.store.close()
        assert [(t.genotype, t.state, t.reward) for t in session.store.trials.values()] == [
            (t.genotype, t.state, t.reward) for t in whole.store.trials.values()
        ]


@pytest.mark.parametrize("workers", [2, 5])
def test_a_search_of_several_workers_is_taken_up_again(
    name: str, tmp_path: Path, workers: int, small_batches: list[str]
) -> None:
    space, rng = SPACES["small"], np.random.default_rng(workers)
    evaluated: Counter[str] = Counter()
    while True:
        session = session_of(name, space, tmp_path / "run", budget=20)  # would say so if a proposal differed
        running = []
        for _ in range(11):  # then it is killed
            if len(running) < workers and (trial := session.ask()) is not None:
                running.append(trial)
            elif running:
                ended = running.pop(int(rng.integers(len(running))))
                session.measured(ended.number, deeper_is_better_in_any_case(Architecture.parse(ended.architecture)))
                early = ended.number > 0 and ended.seed % 3 == 0  # a scheduler never stops the first
                evaluated[session.tell(ended.number, stopped=early).architecture] += 1
        session.store.close()
        if session.finished:
            break
    over = [t for t in session.store.trials.values() if t.state in ("complete", "stopped")]
    assert set(evaluated) == {t.architecture for t in over}
    assert {t.state for t in over} == {"complete", "stopped"}
    assert set(evaluated.values()) == {1}, "no trial that was told is evaluated again"
    assert session.evaluated == 20


def deeper_is_better_in_any_case(architecture: Architecture) -> Measurement:
    return deeper_is_better(architecture, 1)


# Random search --------------------------------------------------------------------------------------------------


def chi_square(counts: np.ndarray) -> float:
    """As a standard normal deviate (Wilson and Hilferty 1931)."""
    expected, degrees = counts.mean(), len(counts) - 1
    statistic = float(((counts - expected) ** 2).sum() / expected)
    spread = 2 / (9 * degrees)
    return float(((statistic / degrees) ** (1 / 3) - (1 - spread)) / spread**0.5)


@pytest.mark.parametrize("place", [0, 1, 5])
def test_random_search_is_uniform_over_distinct_networks_at_every_place(place: int) -> None:
    space = SMALL_SPACES["merging stages"]
    counts: Counter[Architecture] = Counter()
    for seed in range(3000):
        controller = make("random", space, seed)
        proposals = [controller.ask() for _ in range(place + 1)]
        counts[space.decode(proposals[-1] or ())] += 1
    assert len(counts) == space.size > 5
    assert abs(chi_square(np.array(list(counts.values())))) < 4


def test_random_search_orders_pairs_uniformly() -> None:
    space = SearchSpace("four", ONE_STAGE, vary(1, kernel=(3, 5), layers=(1, 2)))
    assert space.size == 4
    orders: Counter[tuple[Genotype | None, ...]] = Counter()
    for seed in range(4000):
        controller = make("random", space, seed)
        orders[tuple(controller.ask() for _ in range(4))] += 1
    assert len(orders) == 24, "every order occurs"
    assert abs(chi_square(np.array(list(orders.values())))) < 4


def test_random_search_visits_each_network_once_in_canonical_form(space: SearchSpace) -> None:
    controller = make("random", space)
    proposals = [controller.ask() for _ in range(min(2000, space.size))]
    assert all(p is not None and p == space.encode(space.decode(p)) for p in proposals)
    assert len(set(proposals)) == len(proposals)
    assert (controller.ask() is None) == (space.size <= 2000)


def test_random_search_does_not_look_at_what_it_is_told() -> None:
    space = SPACES["small"]
    silent, talkative = make("random", space), make("random", space)
    for number in range(20):
        proposal = silent.ask()
        assert proposal is not None
        assert talkative.ask() == proposal
        talkative.tell(told(space, proposal, number, STATES[number % len(STATES)]))


# Those that learn -----------------------------------------------------------------------------------------------


def best_after(name: str, seed: int, evaluations: int, noise: float = 0.0) -> float:
    """The best true value found of a function of single choices, on a space of 3^8 networks."""
    stages = tuple(Stage("mbconv", 3, 2 if i % 2 == 0 else 1, 4, 8 * (i + 1), 1) for i in range(8))
    space = SearchSpace(
        "eight", Architecture(8, stages, 32), tuple(c for i in range(8) for c in vary(i + 1, kernel=(3, 5, 7)))
    )
    worth = np.random.default_rng(100).normal(size=(8, 3))
    rng, controller, best = np.random.default_rng(seed), make(name, space, seed), -np.inf
    for number in range(evaluations):
        proposal = controller.ask()
        assert proposal is not None
        true = sum(worth[i, option] for i, option in enumerate(proposal))
        best = max(best, float(true))
        reward = 0.5 + 0.02 * true + noise * rng.normal()
        trial = told(space, proposal, number)
        controller.tell(replace(trial, reward=reward, measurement=Measurement(accuracy=reward)))
    return best


@pytest.mark.parametrize("name", ["evolution", "local_search", "predictor", "optuna:tpe"])
def test_who_learns_beats_chance(name: str) -> None:
    chance = [best_after("random", seed, 100) for seed in range(5)]
    learnt = [best_after(name, seed, 100) for seed in range(5)]
    assert np.mean(learnt) > np.mean(chance) + 0.3


def test_the_policy_learns_what_is_rewarded() -> None:
    from nas.controllers.ppo import PPO, PPOSettings

    space = SPACES["small"]
    controller = PPO(space, problem_of(space).features, 0, PPOSettings(learning_rate=0.01))
    kernels = []
    for number in range(300):
        proposal = controller.ask()
        assert proposal is not None
        labels = space.labels(proposal)
        share = float(np.mean([labels[f"stage{i}_kernel"] == 5 for i in range(1, 7)]))
        kernels.append(share)
        controller.tell(replace(told(space, proposal, number), reward=share))
    assert np.mean(kernels[-60:]) > np.mean(kernels[:60]) + 0.15


def test_local_search_moves_to_the_first_better_neighbour() -> None:
    space = SPACES["small"]
    controller = make("local_search", space)
    here = controller.ask()
    assert here is not None
    controller.tell(replace(told(space, here, 0), reward=0.5))
    for number in range(1, 40):
        proposal = controller.ask()
        assert proposal is not None
        differing = sum(a != b for a, b in zip(here, proposal, strict=True))
        assert differing == 1 or space.decode(here) != space.decode(proposal)
        reward = 0.4 if number % 7 else 0.5 + number / 1000
        if differing == 1 and reward > 0.5:
            here = proposal
        controller.tell(replace(told(space, proposal, number), reward=reward))


def test_the_oldest_dies() -> None:
    from nas.controllers.evolution import POPULATION, RegularizedEvolution

    space = SPACES["small"]
    controller = RegularizedEvolution(space, problem_of(space).features, 0)
    first = controller.ask()
    assert first is not None
    controller.tell(replace(told(space, first, 0), reward=1.0))  # the best of all, and the oldest
    for number in range(1, POPULATION + 1):
        proposal = controller.ask()
        assert proposal is not None
        controller.tell(replace(told(space, proposal, number), reward=0.1))
    for number in range(60):
        proposal = controller.ask()
        assert proposal is not None
        assert sum(a != b for a, b in zip(first, proposal, strict=True)) > 1, "no child of the dead"
        controller.tell(replace(told(space, proposal, number), reward=0.1))


def test_the_predictor_asks_for_large_networks_before_it_knows_anything() -> None:
    space = SPACES["efficientnetv2-s"]
    problem = problem_of(space)
    rng = np.random.default_rng(0)
    typical = np.median([problem.features(space.sample(rng))[0] for _ in range(100)])
    proposal = make("predictor", space).ask()
    assert proposal is not None
    assert problem.features(proposal)[0] > typical


def test_the_gaussian_process_interpolates_and_is_sure_where_it_has_looked() -> None:
    from nas.controllers.gaussian_process import Constants, GaussianProcess, Inputs, Likeness, fitted

    rng = np.random.default_rng(0)
    options = rng.integers(3, size=(60, 5))
    inputs = Inputs(np.eye(3)[options].reshape(60, 15), rng.normal(size=(60, 4)))
    targets = options.sum(1) - 5.0 + 0.5 * inputs.features[:, 0]
    seen, unseen = slice(40), slice(40, 60)
    likeness = Likeness.of(inputs, inputs)
    of_seen, to_unseen = likeness.part(seen, seen), likeness.part(seen, unseen)
    flat, once = np.zeros(40), np.ones(40)
    start = GaussianProcess(targets[seen], flat, Constants(), once, of_seen)
    found = fitted(targets[seen], flat, Constants(), Constants(), once, of_seen)
    made = GaussianProcess(targets[seen], flat, found, once, of_seen)
    assert made.log_likelihood > start.log_likelihood
    means, deviations = made.predict(Inputs(inputs.choices[unseen], inputs.features[unseen]), np.zeros(20), to_unseen)
    assert np.corrcoef(means, targets[unseen])[0, 1] > 0.9
    at_seen, sure = made.predict(Inputs(inputs.choices[seen], inputs.features[seen]), flat, of_seen)
    assert np.abs(at_seen - targets[seen]).mean() < 0.3
    assert sure.mean() < deviations.mean()


def test_the_kernel_is_the_sum_it_says() -> None:
    from nas.controllers.gaussian_process import Constants, Inputs, Likeness, kernel, prior_variance

    rng = np.random.default_rng(1)
    options = rng.integers(3, size=(7, 5))
    inputs = Inputs(np.eye(3)[options].reshape(7, 15), rng.normal(size=(7, 4)))
    c = Constants(*rng.normal(size=7))
    found = kernel(Likeness.of(inputs, inputs), c)
    for i, j in itertools.product(range(7), repeat=2):
        alike, x, y = (options[i] == options[j]).sum(), inputs.features[i], inputs.features[j]
        expected = (
            math.exp(c.single) * alike / 5
            + math.exp(c.joint) * math.exp(-(5 - alike) / math.exp(c.reach))
            + math.exp(c.linear) * x @ y
            + math.exp(c.trend) * math.exp(-((x - y) @ (x - y)) / (2 * math.exp(c.scale) ** 2))
        )
        assert found[i, j] == pytest.approx(expected)
    assert np.diag(found) == pytest.approx(prior_variance(inputs, c))


def test_the_constants_are_chosen_at_growing_intervals_also_where_only_a_part_is_remembered() -> None:
    from nas.controllers.gaussian_process import Inputs
    from nas.controllers.reward_model import Observed, RewardModel

    model, rng = RewardModel(), np.random.default_rng(0)
    some = Observed(Inputs(np.eye(5), rng.normal(size=(5, 4))), -rng.random(5), rng.random(5), np.ones(5))
    assert not model.is_due(3)
    assert model.is_due(4)
    model.choose_constants(some, 500)
    assert not model.is_due(599)
    assert model.is_due(600)


def test_a_mean_of_several_trainings_is_surer() -> None:
    from nas.controllers.gaussian_process import Constants, GaussianProcess, Inputs, Likeness

    inputs = Inputs(np.eye(3), np.zeros((3, 1)))
    likeness = Likeness.of(inputs, inputs)
    targets, mean = np.array([1.0, 0.0, -1.0]), np.zeros(3)
    once = GaussianProcess(targets, mean, Constants(), np.ones(3), likeness)
    often = GaussianProcess(targets, mean, Constants(), np.array([9.0, 1.0, 1.0]), likeness)
    assert often.predict(inputs, mean, likeness)[1][0] < once.predict(inputs, mean, likeness)[1][0]
    assert often.predict(inputs, mean, likeness)[0][0] > once.predict(inputs, mean, likeness)[0][0]


def kernels_of_5(space: SearchSpace, genotype: Genotype) -> float:
    labels = space.labels(genotype)
    return float(np.mean([label == 5 for name, label in labels.items() if name.endswith("kernel")]))


def test_the_predictor_learns_accuracy_and_costs_apart() -> None:
    """The reward punishes what the accuracy rewards: neither alone tells where it is highest."""
    space = SPACES["small"]
    problem = problem_of(space)
    controller, rng = make("predictor", space), np.random.default_rng(0)
    rewards = []
    for number in range(90):
        proposal = controller.ask()
        assert proposal is not None
        accuracy = 0.5 + 0.2 * kernels_of_5(space, proposal) + 0.002 * rng.normal()
        macs = float(problem.features(proposal)[1])
        trial = told(space, proposal, number)
        rewards.append(accuracy * math.exp(-0.2 * macs))
        controller.tell(replace(trial, reward=rewards[-1], measurement=Measurement(accuracy=accuracy)))
    drawn = []
    for _ in range(500):
        genotype = space.sample(rng)
        accuracy = 0.5 + 0.2 * kernels_of_5(space, genotype)
        drawn.append(accuracy * math.exp(-0.2 * float(problem.features(genotype)[1])))
    assert np.mean(rewards[-20:]) > max(drawn)


def test_a_failure_of_its_own_lowers_what_is_expected_of_a_network_s_like() -> None:
    space = SPACES["small"]
    largest = max((space.sample(np.random.default_rng(i)) for i in range(200)), key=lambda g: problem_of(space).cost(
        space.decode(g)).params)  # fmt: skip
    asked: dict[FailureKind, float] = {}
    kinds: tuple[FailureKind, ...] = ("out_of_memory", "worker_lost")
    for kind in kinds:
        controller = make("predictor", space)
        rng = np.random.default_rng(1)
        for number in range(20):
            controller.tell(told(space, space.sample(rng), number))
        params = []
        for number in range(20, 60):
            proposal = controller.ask()
            assert proposal is not None
            params.append(problem_of(space).cost(space.decode(proposal)).params)
            controller.tell(replace(told(space, proposal, number, "failed"), failure=kind))
        asked[kind] = float(np.mean(params[10:]))
    assert asked["out_of_memory"] < asked["worker_lost"] < 2 * problem_of(space).cost(space.decode(largest)).params


def test_the_predictor_stays_within_its_memory() -> None:
    from nas.controllers.predictor import REMEMBERED, Predictor

    space = SPACES["small"]
    controller, rng = Predictor(space, problem_of(space).features, 0), np.random.default_rng(0)
    for number in range(REMEMBERED + 50):
        controller.tell(told(space, space.sample(rng), number))
    assert len(controller._observed().rests) == REMEMBERED
    assert controller.ask() is not None


def test_nsga2_optimises_the_objectives_and_not_the_reward() -> None:
    from nas.controllers.optuna_sampler import OptunaSampler

    space = SPACES["small"]
    problem = replace(problem_of(space), objectives=("accuracy", "params"))
    controller = OptunaSampler(space, problem.features, 0, sampler="nsga2")
    for number in range(120):
        proposal = controller.ask()
        assert proposal is not None
        measured = Measurement(accuracy=0.5, params=problem.cost(space.decode(proposal)).params)
        controller.tell(replace(told(space, proposal, number), measurement=measured, reward=float(number % 3)))
    assert [d.name for d in controller._study.directions] == ["MAXIMIZE", "MINIMIZE"]
    params = [trial.values[1] for trial in controller._study.trials if trial.values]
    assert np.mean(params[-40:]) < 0.7 * np.mean(params[:20])


def test_any_optuna_sampler_is_a_controller() -> None:
    import optuna

    from nas.controllers.optuna_sampler import OptunaSampler

    space = SPACES["small"]
    features = problem_of(space).features
    controller = OptunaSampler(space, features, 3, sampler=lambda seed: optuna.samplers.RandomSampler(seed=seed))
    again = OptunaSampler(space, features, 3, sampler=lambda seed: optuna.samplers.RandomSampler(seed=seed))
    history = live(controller, space, 60, seed=5)
    assert replay(again, history) == history


def test_optunas_gaussian_process_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna

    from nas.controllers import optuna_sampler

    monkeypatch.setattr(optuna_sampler, "GP_TRIALS", 3)
    space = SPACES["small"]
    controller = optuna_sampler.OptunaSampler(space, problem_of(space).features, 0, sampler="gp")
    for number in range(4):
        assert isinstance(controller._study.sampler, optuna.samplers.GPSampler) == (number < 3)
        proposal = controller.ask()
        assert proposal is not None
        controller.tell(told(space, proposal, number))


@pytest.mark.parametrize("name", ["evolution", "local_search", "optuna:tpe", "ppo"])
def test_a_leader_trained_again_is_no_new_network(name: str) -> None:
    space = SPACES["small"]
    controllers = [make(name, space), make(name, space)]
    for number in range(40):
        proposals = [controller.ask() for controller in controllers]
        assert proposals[0] == proposals[1]
        assert proposals[0] is not None
        trial = told(space, proposals[0], number)
        for controller in controllers:
            controller.tell(trial)
        controllers[1].tell(replace(trial, replicate=1, arm="confirm", reward=0.0))


@pytest.mark.parametrize("name", [name for name in CONTROLLERS if name != "optuna:gp"])
def test_an_ask_that_finds_nothing_under_tight_limits_leaves_all_as_it_was(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such an ask is in no journal: a resumed search does not repeat it."""
    monkeypatch.setattr("nas.controllers.novelty.MOST_DRAWS", 30)
    space = SPACES["small"]
    problem = problem_of(space)
    rng = np.random.default_rng(0)
    params = sorted(problem.cost(space.decode(space.sample(rng))).params for _ in range(300))
    limited = replace(problem, limits={"params": params[4]})
    asked, bothered = (CONTROLLERS[name](space, limited.features, 0) for _ in range(2))
    for number in range(25):
        proposal = asked.ask()
        for _ in range(3):
            again = bothered.ask()
            assert proposal == again
            if again is not None:
                break
        if proposal is None:
            proposal = min((space.sample(rng) for _ in range(200)), key=lambda g: problem.cost(space.decode(g)).params)
        trial = told(space, proposal, number)
        asked.tell(trial)
        bothered.tell(trial)


@pytest.mark.parametrize("shift", [0.0, -2.0])
def test_the_predictor_learns_rewards_of_any_sign(shift: float) -> None:
    space = SPACES["small"]
    controller = make("predictor", space)
    kernels = [place for place, choice in enumerate(space.choices) if choice.name.endswith("kernel")]
    shares = []
    for number in range(60):
        proposal = controller.ask()
        assert proposal is not None
        present = space.present(proposal)
        wide = [proposal[place] for place in kernels if present[place]]
        shares.append(np.mean(wide))
        trial = told(space, proposal, number)
        controller.tell(replace(trial, reward=0.5 + 0.4 * float(np.mean(wide)) + shift))
    assert np.mean(shares[-15:]) > 0.85 > 0.65 > np.mean(shares[:5])


def test_the_predictor_takes_a_reward_of_nothing_for_the_worst() -> None:
    """Networks with a wide first kernel learn nothing: few of them are proposed once that is known."""
    space = SPACES["small"]
    controller = make("predictor", space)
    first = next(place for place, choice in enumerate(space.choices) if choice.name.endswith("kernel"))
    wide = []
    for number in range(60):
        proposal = controller.ask()
        assert proposal is not None
        wide.append(proposal[first] == 1)
        trial = told(space, proposal, number)
        assert trial.measurement is not None
        if wide[-1]:
            trial = replace(trial, measurement=replace(trial.measurement, accuracy=0.0), reward=0.0)
        controller.tell(trial)
    assert np.mean(wide[-20:]) < 0.3 < np.mean(wide[:10])


def test_nsga_takes_a_network_without_an_objective_for_failed() -> None:
    from nas.controllers.optuna_sampler import OptunaSampler

    space = SPACES["small"]
    controller = OptunaSampler(space, problem_of(space).features, 0, sampler="nsga2")
    for number in range(4):
        proposal = controller.ask()
        assert proposal is not None
        trial = told(space, proposal, number)
        assert trial.measurement is not None
        step_time = None if number % 2 else 1.0
        controller.tell(replace(trial, measurement=replace(trial.measurement, step_time=step_time)))
    assert [trial.state.name for trial in controller._study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "FAIL"]


@pytest.mark.parametrize("name", CONTROLLERS)
def test_networks_that_were_stopped_are_not_proposed_again(name: str) -> None:
    space = SMALL_SPACES["merging stages"]
    controller = make(name, space)
    proposals = []
    while (proposal := controller.ask()) is not None:
        controller.tell(told(space, proposal, len(proposals), "stopped" if len(proposals) % 3 else "complete"))
        proposals.append(space.decode(proposal))
    assert len(proposals) == len(set(proposals)) == space.size


def test_optuna_is_told_of_those_stopped_as_pruned() -> None:
    from nas.controllers.optuna_sampler import OptunaSampler

    space = SPACES["small"]
    for sampler, state in (("tpe", "PRUNED"), ("nsga2", "FAIL")):
        controller = OptunaSampler(space, problem_of(space).features, 0, sampler=sampler)
        for number in range(4):
            proposal = controller.ask()
            assert proposal is not None
            trial = told(space, proposal, number, "stopped" if number else "complete")
            controller.tell(replace(trial, curve=(0.25, 0.5)))
        assert [trial.state.name for trial in controller._study.trials] == ["COMPLETE", *[state] * 3]
    tpe = OptunaSampler(space, problem_of(space).features, 0, sampler="tpe")
    genotype = space.genotype_at(0)
    tpe.tell(replace(told(space, genotype, 0, "stopped"), curve=(0.25, 0.5)))  # never asked for
    assert tpe._study.trials[0].intermediate_values == {1: 0.25, 2: 0.5}


def test_tpe_learns_from_those_that_were_stopped() -> None:
    """Networks with a wide first kernel are stopped, all others equally good: few of the former are proposed then."""
    space = SPACES["small"]
    first = next(place for place, choice in enumerate(space.choices) if choice.name.endswith("kernel"))
    shares = []
    for seed in range(3):
        controller, wide = make("optuna:tpe", space, seed), []
        for number in range(60):
            proposal = controller.ask()
            assert proposal is not None
            wide.append(proposal[first] == 1)
            trial = told(space, proposal, number, "stopped" if wide[-1] and number else "complete")
            controller.tell(trial if trial.state == "stopped" else replace(trial, reward=0.5))
        shares.append((np.mean(wide[:20]), np.mean(wide[-20:])))
    early, late = np.mean(shares, axis=0)
    assert late < 0.7 * early


def test_a_sampler_that_repeats_itself_keeps_its_study_short() -> None:
    import optuna

    from nas.controllers.optuna_sampler import REPEATS, OptunaSampler

    space = SMALL_SPACES["merging stages"]
    fixed = dict.fromkeys((choice.name for choice in space.choices), 0)

    def stubborn(seed: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.PartialFixedSampler(fixed, optuna.samplers.RandomSampler(seed=seed))

    controller = OptunaSampler(space, problem_of(space).features, 0, sampler=stubborn)
    proposals = {controller.ask() for _ in range(space.size)}
    assert len(proposals) == space.size
    assert len(controller._study.trials) <= space.size * (REPEATS + 1)
