"""`TimeLeft`: that it knows of the larger pictures to come, on made-up clocks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.time_left import TimeLeft
from trainers.progressive import Progression, settings_at
from trainers.recipe import Recipe

PER_EPOCH, BATCH, MINIVAL = 6400, 64, 1000


def recipe(kind: str = "paper", *, epochs: int = 20, smallest: int = 128, grows: bool = False) -> Recipe:
    return Recipe(
        epochs=epochs,
        batch_size=BATCH,
        image_size=300,
        progression=Progression(kind=kind, stages=4, smallest=smallest, period_epochs=1),
        smaller_sizes_larger_batches=grows,
    )


class Machine:
    """A training whose steps take as long as they have pixels, and a share of the smallest more."""

    def __init__(self, how: Recipe, *, overhead: float = 0.0, evaluation: float = 1 / 3, slow_first_s: float = 0.0):
        self.recipe, self.now, self.overhead_s = how, 100.0, overhead * BATCH * how.progression.smallest**2 * 1e-6
        self.pictures = how.epochs * PER_EPOCH
        self.evaluation_s = evaluation * MINIVAL * 300**2 * 1e-6
        self.slow_first_s, self.sizes = slow_first_s, set[int]()
        self.left = TimeLeft(how, self.pictures, minival=MINIVAL, seed=0, clock=lambda: self.now)
        self.told: list[tuple[float, float | None]] = []  # when, and the time left as it was told then

    def run(self, begin: int = 0) -> None:
        seen = begin
        while seen < self.pictures:
            end = (seen // PER_EPOCH + 1) * PER_EPOCH
            while True:
                now = settings_at(self.recipe, seen / BATCH, self.pictures // BATCH, seed=0)
                if seen + now.batch_size > end:
                    break
                self.left.step(now, seen)
                self.told.append((self.now, self.left.left_s()))
                self.now += now.batch_size * now.image_size**2 * 1e-6 + self.overhead_s
                self.now += self.slow_first_s * (now.image_size not in self.sizes)
                self.sizes.add(now.image_size)
                seen += now.batch_size
            seen = end
            if end // PER_EPOCH % self.recipe.evaluate_epochs == 0 or end == self.pictures:
                self.now += self.evaluation_s
                self.left.ended(seen)
                self.told.append((self.now, self.left.left_s()))


@given(
    kind=st.sampled_from(["constant", "paper", "released", "resize", "random", "fixres"]),
    epochs=st.integers(4, 24),
    overhead=st.floats(0, 0.15),
    grows=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_it_is_within_a_fifth_from_early_on(kind: str, epochs: int, overhead: float, grows: bool) -> None:
    machine = Machine(recipe(kind, epochs=epochs, grows=grows), overhead=overhead, slow_first_s=1.0)
    machine.run()
    whole = machine.now - machine.told[0][0]
    early = [(at, left) for at, left in machine.told if 0.01 * whole < at - machine.told[0][0] < 0.8 * whole]
    assert early
    for at, left in early:
        assert left is not None
        assert left == pytest.approx(machine.now - at, rel=0.2)


def test_with_a_cost_by_pixels_alone_it_is_nearly_exact() -> None:
    machine = Machine(recipe())
    machine.run()
    end = machine.now
    assert [left for _, left in machine.told[:2]] == [None, None], "the first step of a size tells nothing"
    assert all(left == pytest.approx(end - at, rel=0.01, abs=3) for at, left in machine.told[2:])
    assert machine.told[-1] == (end, 0.0)


def test_a_larger_size_to_come_is_not_taken_for_the_one_of_now() -> None:
    machine = Machine(recipe())
    machine.run()
    at, left = machine.told[10]
    share = 10 * BATCH / machine.pictures
    naive = (at - machine.told[0][0]) * (1 - share) / share
    assert left == pytest.approx(machine.now - at, rel=0.02)
    assert naive < 0.5 * (machine.now - at)


def test_what_is_taken_up_again_is_told_of_what_is_left() -> None:
    machine = Machine(recipe())
    machine.run(begin=15 * PER_EPOCH + 640)
    assert all(left == pytest.approx(machine.now - at, rel=0.02, abs=3) for at, left in machine.told[2:])


def test_evaluation_and_what_else_ends_an_epoch_counts() -> None:
    machine = Machine(recipe("constant"), evaluation=5.0)
    machine.run()
    first = next(number for number, (at, _) in enumerate(machine.told) if at > machine.told[0][0] + 1000)
    at, left = machine.told[first]
    assert left == pytest.approx(machine.now - at, rel=0.02)


def test_evaluations_that_are_epochs_apart_count_as_often_as_they_come() -> None:
    machine = Machine(replace(recipe("constant"), evaluate_epochs=7), evaluation=20.0)
    machine.run()
    first = next(number for number, (at, _) in enumerate(machine.told) if at > machine.told[0][0] + 5000)
    at, left = machine.told[first]
    assert left == pytest.approx(machine.now - at, rel=0.02)


def test_epochs_of_one_step() -> None:
    how = recipe("constant", epochs=5)
    clock = [0.0]
    left = TimeLeft(how, 5 * BATCH, minival=10, seed=0, clock=lambda: clock[0])
    for epoch in range(5):
        left.step(settings_at(how, epoch, 5), epoch * BATCH)
        clock[0] += 2.0
        left.ended((epoch + 1) * BATCH)
        assert left.left_s() == pytest.approx((4 - epoch) * 2.0)


def test_pictures_a_second_are_those_of_the_size() -> None:
    machine = Machine(recipe(), evaluation=0)
    assert machine.left.images_per_s is None
    machine.run()
    now = settings_at(machine.recipe, 1, 100)
    machine.left.step(now, 0)
    assert machine.left.images_per_s == pytest.approx(1e6 / 128**2)
