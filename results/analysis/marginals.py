"""What regression trees predict on average where one choice, or two, are fixed: exactly, leaf by leaf.

Hutter, Hoos and Leyton-Brown (ICML 2014), section 4.1: a leaf is a box of the space, so that the mean prediction over
the choices that are not fixed is a sum over the leaves, each weighted with its share of the space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


class Marginals(NamedTuple):
    """Mean predictions, with every option of a choice equally likely and choices independent.

    Attributes:
        mean: over the whole space.
        one: with an option fixed; shape (options of all choices, one choice after the other).
        two: with two options fixed; shape (options, options). Those of one choice have no meaning.
    """

    mean: float
    one: Floats
    two: Floats


def marginals(trees: Sequence[Any], sizes: Codes) -> Marginals:
    """Average over the space what trees predict.

    Args:
        trees: scikit-learn's `tree_`, of regressions whose inputs are the numbers of the options.
        sizes: how many options each choice has; the options are numbered from 0.
    """
    choice = np.repeat(np.arange(len(sizes)), sizes)
    option = np.concatenate([np.arange(size) for size in sizes])
    mean, one, two = 0.0, np.zeros(len(option)), np.zeros((len(option), len(option)))
    for tree in trees:
        low, high, values = _leaves(tree, sizes)
        part = (high - low) / sizes  # of each choice's options, in each leaf
        weighted = values * part.prod(axis=1)
        inside = ((option >= low[:, choice]) & (option < high[:, choice])) / part[:, choice]
        mean += float(weighted.sum())
        one += inside.T @ weighted
        two += inside.T @ (inside * weighted[:, None])
    return Marginals(mean / len(trees), one / len(trees), two / len(trees))


def _leaves(tree: Any, sizes: Codes) -> tuple[Codes, Codes, Floats]:
    """The leaves as boxes: the first option inside, the first beyond (both leaves x choices), and the predictions."""
    low = np.zeros((tree.node_count, len(sizes)), dtype=np.int64)
    high = np.tile(sizes, (tree.node_count, 1))
    level, leaves = np.zeros(1, dtype=np.int64), []
    while len(level):
        split = tree.children_left[level] >= 0
        leaves.append(level[~split])
        level = level[split]
        left, right, at = tree.children_left[level], tree.children_right[level], tree.feature[level]
        beyond = np.floor(tree.threshold[level]).astype(np.int64) + 1  # what is not over the threshold goes left
        low[left], high[left] = low[level], high[level]
        low[right], high[right] = low[level], high[level]
        high[left, at] = beyond
        low[right, at] = beyond
        level = np.concatenate([left, right])
    found = np.concatenate(leaves)
    return low[found], high[found], tree.value[found, 0, 0]
