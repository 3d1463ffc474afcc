"""Which choices matter: functional ANOVA of a random forest, and permutation importance.

Functional ANOVA: Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance" (ICML
2014). Permutation importance and estimates from what a resample leaves out: Breiman, "Random Forests" (2001).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.analysis.marginals import marginals
from results.analysis.networks import networks_of

LEAST_NETWORKS = 20
"""With fewer, nothing is fitted."""
MOST_FITTED = 4000
"""With more networks, so many of them are drawn at random for the fit."""
_RESAMPLES = 24
_TREES = 8  # of each resample
_DRAWS = 4000  # from the space, for the variance of what the forest predicts over it
_PAIRS = 10
_LEAF = 5  # networks, at least
_Z = 1.959964  # standard deviations to either end of a 95 % interval
_SHARE = ("share", "low", "high")
_PERMUTATION = ("permutation", "permutation_low", "permutation_high")
_EFFECT = ("effect", "low", "high")

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Reduce = Callable[[Floats], Floats]


class Importance(NamedTuple):
    """Which choices matter, and how far the forest that says so can be believed.

    Intervals are of 95 %. Those of shares and effects are 1.96 standard deviations over bootstrap resamples of the
    networks to either side: how far as many other networks could have led elsewhere, not what a forest cannot see.
    Those of the permutation importance and of `r2` are over the networks left out, given the forest.

    Attributes:
        table: a row a choice, the greatest share first: `choice`; `share`, `low`, `high` (of the variance over the
            space, what the choice explains alone); `permutation`, `permutation_low`, `permutation_high` (the R² that is
            lost on networks left out when the choice is shuffled among them). NaN where all networks have one option.
        effects: a row an option: `choice`, `option`; `effect`, `low`, `high` (mean prediction with the option less the
            mean over all, in units of the target); `count` (networks with it).
        pairs: the ten strongest interactions: `choice`, `other`; `share`, `low`, `high` (of the variance over the
            space, what the two explain together beyond what each explains alone).
        r2: of the forest's predictions of networks left out of its fit; NaN where nothing was fitted.
        r2_low: lower end of its 95 % interval.
        r2_high: upper end.
        trials: completed trials that have the target.
        networks: distinct ones among them.
        fitted: networks that the forest was fitted to; 0 where nothing was.
    """

    table: pd.DataFrame
    effects: pd.DataFrame
    pairs: pd.DataFrame
    r2: float
    r2_low: float
    r2_high: float
    trials: int
    networks: int
    fitted: int

    @property
    def verdict(self) -> str:
        """What the fit is worth, in words."""
        if not self.fitted:
            if self.networks < LEAST_NETWORKS:
                why = f"it takes {LEAST_NETWORKS} networks that have the target; there are {self.networks}"
            elif self.effects["choice"].duplicated().any():
                why = f"the target is the same for all {self.networks} networks"
            else:
                why = f"all {self.networks} networks took the same options"
            return f"nothing fitted: {why}"
        of = f" (fitted to {self.fitted:,} of {self.networks:,} networks)" if self.fitted < self.networks else ""
        quality = f"R² {self.r2:.2f}, 95 % interval {self.r2_low:.2f} to {self.r2_high:.2f}"
        if self.r2_low <= 0:
            return f"the forest predicts networks left out no better than their mean does: {quality}; believe none{of}"
        return f"the forest predicts networks left out with {quality}{of}"


class _Inputs(NamedTuple):
    """What a forest is fitted to."""

    codes: Codes  # networks x choices: the number of the option that each took
    values: Floats  # of the target
    sizes: Codes  # options of each choice


class _Fit(NamedTuple):
    """What the resamples gave; the first axis of the averages is theirs."""

    mean: Floats  # of the predictions over the space
    one: Floats  # with an option fixed
    two: Floats  # with two options fixed
    variance: float  # over the space, of the mean prediction of all; NaN where they predict one value
    left_out: Floats  # the values of the networks that some resample left out
    predicted: Floats  # of these, by the resamples that left them out
    worse: Floats  # of these, by how much the squared error grows when a choice is shuffled; choices x networks


def importance(frame: pd.DataFrame, choices: Sequence[str], *, target: str = "reward", seed: int = 0) -> Importance:
    """Say which choices a target depends on.

    A random forest is fitted to the completed networks (24 bootstrap resamples, 8 trees each). Its functional ANOVA is
    exact but for the total variance, which is that of 4,000 draws. It is over the space, not over the trials: every
    option that was ever tried is equally likely and choices are independent, however often a controller took which.
    Where it took one nearly always, the rest is extrapolated, and the intervals are wide. The permutation importance is
    over the networks that were tried.

    A row is a network: replicates are averaged, repeats left out. Failed, infeasible and stopped candidates have no
    outcome and are left out, so nothing here says what makes a candidate fail or be stopped. The choices of an absent
    stage change nothing: each gets an option at random, as genotypes that differ in them are the same network. The
    options of a choice are ordered, as numbers or as text; a forest can tell any of them apart. It sees less than there
    is of an interaction between choices that do nothing alone.

    Args:
        frame: a trial table, of one run or of several of one space and proxy task.
        choices: columns, such as `stage3_kernel`.
        target: the column to explain.
        seed: of the resamples, the trees and the shuffling.

    Returns:
        With under 20 networks, or a target that is the same for all: tables of NaN, and `verdict` says so.

    Raises:
        ValueError: the table lacks a column.
    """
    rng = np.random.default_rng(seed)
    found = networks_of(frame, choices, target).dropna(subset=[target])
    trials = int(((frame["state"] == "complete") & frame[target].notna()).sum())
    seen = {name: _options(found[name]) for name in choices}
    varied = [name for name in choices if len(seen[name]) > 1]
    fitted = found.iloc[np.sort(rng.permutation(len(found))[:MOST_FITTED])]
    if len(found) < LEAST_NETWORKS or not varied or fitted[target].nunique() == 1:
        nothing = np.full((3, 0), np.nan)
        tables = _table(choices, [], nothing, nothing), _effects(found, seen, [], nothing), _pairs([], nothing)
        return Importance(*tables, np.nan, np.nan, np.nan, trials, len(found), 0)
    codes = np.column_stack([_coded(fitted[name], seen[name], rng) for name in varied])
    sizes = np.array([len(seen[name]) for name in varied])
    inputs = _Inputs(codes, fitted[target].to_numpy(np.float64), sizes)
    fit = _fitted(inputs, rng)
    effects = fit.one - fit.mean[:, None]
    return Importance(
        _table(choices, varied, _shares(effects, fit.variance, _by_choice(sizes)), _permutation(fit)),
        _effects(found, seen, varied, _interval(effects.mean(axis=0), effects)),
        _pairs(varied, _shares(_interactions(fit), fit.variance, _by_pair(sizes))),
        *_quality(fit, rng),
        trials,
        len(found),
        len(fitted),
    )


def _options(labels: pd.Series[Any]) -> list[Any]:
    """The options that were tried, in order."""
    return sorted(labels.dropna().unique(), key=lambda label: (isinstance(label, str), label))


def _coded(labels: pd.Series[Any], options: list[Any], rng: np.random.Generator) -> Codes:
    """The number of each label's option; where there is none, of one drawn at random."""
    codes = labels.map({label: number for number, label in enumerate(options)}).to_numpy(np.float64, na_value=np.nan)
    return np.where(np.isnan(codes), rng.integers(len(options), size=len(codes)), codes).astype(np.int64)


def _fitted(inputs: _Inputs, rng: np.random.Generator) -> _Fit:
    from sklearn.ensemble import RandomForestRegressor

    codes, values, choices = inputs.codes.astype(np.float32), inputs.values, len(inputs.sizes)
    space = rng.integers(inputs.sizes, size=(_DRAWS, choices)).astype(np.float32)
    over_space, averages = np.zeros(_DRAWS), []
    predicted, worse, times = np.zeros(len(values)), np.zeros((choices, len(values))), np.zeros(len(values))
    for _ in range(_RESAMPLES):
        taken = rng.integers(len(values), size=len(values))
        out = np.setdiff1d(np.arange(len(values)), taken)
        trees = int(rng.integers(2**31))
        forest = RandomForestRegressor(_TREES, bootstrap=False, min_samples_leaf=_LEAF, random_state=trees)
        forest.fit(codes[taken], values[taken])
        averages.append(marginals([tree.tree_ for tree in forest.estimators_], inputs.sizes))
        over_space += forest.predict(space) / _RESAMPLES
        asked = np.tile(codes[out], (choices + 1, 1, 1))  # the last as it is
        for place in range(choices):
            asked[place, :, place] = rng.permutation(asked[place, :, place])
        answers = forest.predict(asked.reshape(-1, choices)).reshape(-1, len(out))
        errors = (answers - values[out]) ** 2
        worse[:, out] += errors[:-1] - errors[-1]
        predicted[out] += answers[-1]
        times[out] += 1
    mean, one, two = (np.array(of) for of in zip(*averages, strict=True))
    known = times > 0
    return _Fit(
        *(mean, one, two, float(over_space.var()) or np.nan),
        *(values[known], predicted[known] / times[known], worse[:, known] / times[known]),
    )


def _quality(fit: _Fit, rng: np.random.Generator) -> tuple[float, float, float]:
    """R² on networks left out, and its interval by resampling them."""
    values, errors = fit.left_out, (fit.left_out - fit.predicted) ** 2
    drawn = rng.integers(len(values), size=(200, len(values)))
    spread = values[drawn].var(axis=1)
    drawn, spread = drawn[spread > 0], spread[spread > 0]
    low, high = np.quantile(1 - errors[drawn].mean(axis=1) / spread, (0.025, 0.975))
    return float(1 - errors.mean() / values.var()), float(low), float(high)


def _permutation(fit: _Fit) -> Floats:
    """R² lost when a choice is shuffled, with the interval of a mean over networks."""
    lost = fit.worse / fit.left_out.var()
    mean, beyond = lost.mean(axis=1), _Z * lost.std(axis=1, ddof=1) / np.sqrt(lost.shape[1])
    return np.array([mean, mean - beyond, mean + beyond])


def _by_choice(sizes: Codes) -> Reduce:
    starts = np.cumsum(sizes) - sizes
    return lambda squares: np.add.reduceat(squares, starts, axis=-1) / sizes


def _by_pair(sizes: Codes) -> Reduce:
    once = _by_choice(sizes)
    first, second = np.triu_indices(len(sizes), 1)
    return lambda squares: once(once(squares).swapaxes(-1, -2))[..., first, second]


def _interactions(fit: _Fit) -> Floats:
    """What two options do together beyond what each does alone."""
    return fit.two - fit.one[:, :, None] - fit.one[:, None, :] + fit.mean[:, None, None]


def _shares(effects: Floats, variance: float, mean_of: Reduce) -> Floats:
    """Of the variance over the space, the parts that effects make, with their intervals."""
    return _interval(mean_of(effects.mean(axis=0) ** 2) / variance, mean_of(effects**2) / variance).clip(0, 1)


def _interval(estimate: Floats, resampled: Floats) -> Floats:
    """Estimate, low and high as rows."""
    beyond = _Z * resampled.std(axis=0, ddof=1)
    return np.array([estimate, estimate - beyond, estimate + beyond])


def _table(choices: Sequence[str], varied: list[str], shares: Floats, permutation: Floats) -> pd.DataFrame:
    columns = dict(zip((*_SHARE, *_PERMUTATION), (*shares, *permutation), strict=True))
    table = pd.DataFrame(columns, index=pd.Index(varied, name="choice", dtype=object)).reindex([*choices])
    return table.sort_values("share", ascending=False, kind="stable").reset_index()


def _effects(found: pd.DataFrame, seen: dict[str, list[Any]], varied: list[str], values: Floats) -> pd.DataFrame:
    rows = [(name, option, int((found[name] == option).sum())) for name, all_ in seen.items() for option in all_]
    effects = pd.DataFrame(rows, columns=["choice", "option", "count"])
    for name, column in zip(_EFFECT, values, strict=True):
        effects[name] = np.nan
        effects.loc[effects["choice"].isin(varied), name] = column
    return effects[["choice", "option", *_EFFECT, "count"]]


def _pairs(varied: list[str], shares: Floats) -> pd.DataFrame:
    named = pd.DataFrame(combinations(varied, 2), columns=["choice", "other"], dtype=object)
    pairs = named.assign(**dict(zip(_SHARE, shares, strict=True)))
    return pairs.sort_values("share", ascending=False, kind="stable", ignore_index=True).head(_PAIRS)
