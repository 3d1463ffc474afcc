"""The problem: costs on its pictures, limits, and what is filled in of a measurement."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from nas.problem import Problem
from results.trial import Measurement
from search_spaces import Architecture, Cost, SearchSpace, cost


def test_costs_are_of_the_problems_pictures(problem: Problem, space: SearchSpace) -> None:
    assert problem.anchor == cost(space.backbone, 16, num_classes=10)
    grey = replace(problem, in_channels=1, image_size=8, num_classes=3)
    assert grey.anchor == cost(space.backbone, 8, num_classes=3, in_channels=1)
    assert grey.anchor.params < problem.anchor.params


def test_features_are_logs_of_costs_and_the_number_of_layers(problem: Problem, space: SearchSpace) -> None:
    for number in range(space.size):
        genotype = space.genotype_at(number)
        architecture = space.decode(genotype)
        params, macs, activations, layers = problem.features(genotype)
        assert np.exp([params, macs, activations]) == pytest.approx(problem.cost(architecture))
        assert layers == sum(stage.layers for stage in architecture.stages)


@pytest.mark.parametrize("name", ["params", "macs", "activations"])
def test_a_limit_is_the_most_that_is_allowed(problem: Problem, space: SearchSpace, name: str) -> None:
    architecture: Architecture = space.backbone
    value = getattr(problem.anchor, name)
    assert replace(problem, limits={name: value}).broken_limit(architecture) is None
    assert replace(problem, limits={name: value - 1}).broken_limit(architecture) == (
        f"{name} {value} is over the limit of {value - 1:g}"
    )
    assert problem.broken_limit(architecture) is None


def test_limits_are_checked(problem: Problem) -> None:
    with pytest.raises(ValueError, match=r"a limit must be one of params, .*, peak_memory_bytes; got 'flops'"):
        replace(problem, limits={"flops": 1.0})
    for bad in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"the limit of macs must be positive and finite; got {bad}"):
            replace(problem, limits={"macs": bad})


def test_what_was_measured_is_kept_and_the_rest_filled_in(problem: Problem, space: SearchSpace) -> None:
    filled = problem.completed(Measurement(accuracy=0.5, params=3), space.backbone)
    assert filled == Measurement(accuracy=0.5, **{**problem.anchor._asdict(), "params": 3})
    whole = Measurement(accuracy=0.5, **Cost(1, 2, 3)._asdict())
    assert problem.completed(whole, space.backbone) == whole
