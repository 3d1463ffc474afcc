"""`nas compare`: which of several runs is better at the same budget, and in what they differ."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import options
from nas.show import Format, print_frame, print_json

if TYPE_CHECKING:
    import pandas as pd

    from results.analysis.comparison import Comparison
    from results.store import TrialStore


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of two runs or more.")],
    budget: Annotated[
        int | None, typer.Option("--budget", "-n", help="Candidates of each to compare. Default: as the fewest has.")
    ] = None,
    objectives: Annotated[
        str | None, typer.Option(help="Columns of the trial table whose hypervolume is compared. Default: the runs'.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the test's splits and the bootstrap.")] = 0,
    format: options.FormatOption = Format.table,
) -> None:
    """Say which of several runs is better at the same budget, how sure that is, and in what they differ."""
    import numpy as np

    from results.analysis.comparison import compare as compared
    from results.several import names_of
    from results.store import TrialStore

    if len({folder.resolve() for folder in runs}) < len(runs):
        raise ValueError(f"each run must be named once; got {', '.join(map(str, runs))}")
    stores = {name: TrialStore.open(folder) for name, folder in zip(names_of(runs), runs, strict=True)}
    found = compared(
        {name: store.frame() for name, store in stores.items()},
        {name: {**up_to_date(store.configuration), "settings": _settings(store)} for name, store in stores.items()},
        rng=np.random.default_rng(seed),
        budget=budget,
        objectives=None if objectives is None else [name.strip() for name in objectives.split(",")],
    )
    for line in found.warnings:
        typer.echo(f"note: {line}", err=True)
    if format is Format.json:
        tables = {name: getattr(found, name).to_dict("records") for name in ("runs", "differences", "differing")}
        print_json({**found._asdict(), **tables})
    elif format is Format.csv:
        print_frame(found.differences, format, columns=())
    else:
        _print_for_people(found)


def up_to_date(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it is written now, with the weights that its reward has by default."""
    from nas.identity import brought_up_to_date
    from nas.reward import REWARDS

    identity = configuration.get("identity")
    if identity is None:
        return dict(configuration)
    weights = dict(identity.get("reward_weights", {}))  # a store written from Python may not say
    if (formula := REWARDS.get(identity.get("reward", ""))) is not None:
        parameters = inspect.signature(formula).parameters.values()
        weights = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY} | weights
    return {**configuration, "identity": {**brought_up_to_date(identity), "reward_weights": weights}}


def _settings(store: TrialStore) -> dict[str, Any]:
    """What a search was last begun or resumed with, such as its budget and its workers."""
    return next((event["settings"] for event in reversed(list(store.events("started")))), {})


def _print_for_people(found: Comparison) -> None:
    from results.analysis.resampling import MEASURES

    print(f"the first {found.budget:,} candidates of each run; repeats and leaders trained again are not counted")
    _print_whole(found.runs)
    print()
    print("differences, the first less the second, with 95 % intervals:")
    _print_whole(found.differences.replace({"measure": MEASURES}))
    if found.reference:
        against = (f"{name} {value:,.10g}" for name, value in found.reference.items())
        print(f"hypervolumes against {', '.join(against)}")
    print()
    if found.differing.empty:
        print("their configurations do not differ")
        return
    print("in what they differ:")
    _print_whole(found.differing.map(_short))


def _print_whole(frame: pd.DataFrame) -> None:
    print_frame(frame, Format.table, columns=[str(name) for name in frame.columns])


def _short(value: Any) -> Any:
    """A value for a cell of the table; long ones are whole in the JSON."""
    text = value if isinstance(value, str) else repr(value)
    return f"{text[:77]}..." if len(text) > 80 else value
