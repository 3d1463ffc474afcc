"""The head of a report: what was searched and found, in words, and what to do next."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from results.analysis import against_chance, best_network, confirmed, cost
from results.analysis.candidates import candidates
from results.report.blocks import block
from results.report.health import workers_per_device
from results.report.material import Group, Material, Run, doubts_between, networks_of, numbers
from results.report.wording import (
    MISSING,
    count,
    decimal,
    device_hours,
    duration,
    large,
    listed,
    percent,
    plural,
    short,
)

_SETTLED = 0.7
"""A search whose best came before this part of its candidates is said to have settled; later, to be worth going on."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command to go on with.

    Args:
        why: what it is for.
        command: the whole of it.
    """

    why: str
    command: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The head of a report.

    Args:
        sentences: what was searched and found.
        runs: of several runs, a table with a row a run; else nothing.
        figures: values and what they are.
        steps: what to do next.
    """

    sentences: tuple[str, ...]
    runs: Markup
    figures: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]


def summary_of(material: Material) -> Summary:
    """What to say of the runs at the head of their report."""
    if material.several:
        return Summary(tuple(_of_several(material)), _runs(material), _figures(material), _steps(material))
    run = material.runs[0]
    return Summary((_searched(run), _best(run), *_chance(run)), Markup(""), _figures(material), _steps(material))


def _of_several(material: Material) -> list[str]:
    trained = f"{plural(len(material.networks), 'network')} trained to the end"
    found = [f"{plural(len(material.runs), 'search', 'searches')} side by side, with {trained}."]
    for group in material.groups:
        run = _leader(group)
        if run is not None and len(group.runs) > 1:
            found.append(f"Of {listed([r.name for r in group.runs])}, {run.name} has the highest reward. {_best(run)}")
            found += [f"Beware: {doubt.said}." for doubt in doubts_between(group.runs)]
        elif run is not None:
            found.append(f"{run.name}: {_best(run)}")
    if len(material.groups) > 1:
        found.append(
            "These runs were not all measured alike (another space, data, reward or proxy), so the numbers of "
            f"{listed([group.name for group in material.groups])} do not compare."
        )
    return found


def _leader(group: Group) -> Run | None:
    """The run of the highest reward; None where none has one."""
    found = [(best.reward, run) for run in group.runs if (best := best_network(run.trials)) is not None]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _runs(material: Material) -> Markup:
    headers = [("run", ""), ("space", ""), ("controller", ""), *((name, "number") for name in (
        "trained", "failed", "best reward", "accuracy", "step time", "better than chance"))]  # fmt: skip
    rows = []
    for run in material.runs:
        best, chance = best_network(run.trials), against_chance(run.trials)
        ended = run.trials["state"].value_counts()
        rows.append(
            [
                run.name,
                run.space.name,
                run.columns.get("controller", MISSING),
                count(len(networks_of(run.trials))),
                count(ended.get("failed", 0)),
                decimal(None if best is None else best.reward),
                decimal(None if best is None else best.accuracy),
                decimal(None if best is None else best.step_time, 3),
                MISSING
                if best is None or chance is None
                else f"{percent(chance.probability)} ({percent(chance.low)} to {percent(chance.high)})",
            ]
        )
    return block("table", headers, rows)


_VERDICTS = {
    "the controller beats chance": "The controller beats chance",
    "chance beats the controller": "Chance beats the controller",
    "not told apart from chance": "The controller cannot be told apart from chance",
}


def _searched(run: Run) -> str:
    trials, columns, task = run.trials, run.columns, run.identity.get("task", {})
    trained = int(((trials["replicate"] == 0) & trials["state"].isin(["complete", "stopped", "failed"])).sum())
    states = trials["state"].value_counts()
    text = f"{plural(trained, 'network')} of the {large(run.space.size)} in the space {run.space.name} "
    text += f"{'was' if trained == 1 else 'were'} tried"
    if "data" in run.configuration.get("options", {}) and "pictures" in task:
        pictures = task["pictures"]
        text += f" on {count(pictures.get('train'))} pictures of {run.configuration['options']['data']}"
    if "image_size" in columns:
        text += f" at {columns['image_size']} px"
    if "epochs" in columns:
        text += f", {plural(int(columns['epochs']), 'epoch')} each"
    if "controller" in columns:
        text += f", as the controller {columns['controller']} proposed"
    said = [
        f"{states[state]:,} {words}"
        for state, words in (
            ("running", "are still running or were cut short"),
            ("failed", "failed"),
            ("stopped", "were stopped early"),
            ("infeasible", "were over a limit"),
            ("repeat", "had been trained before"),
        )
        if states.get(state, 0)
    ]
    return f"{text}. {listed(said).capitalize()}." if said else f"{text}."


def _best(run: Run) -> str:
    best = best_network(run.trials)
    if best is None:
        ended = run.trials["state"].isin(["complete", "stopped", "failed"])
        failed = (run.trials["state"] == "failed").sum()
        if len(networks_of(run.trials)):
            return "No trial has a reward, so there is nothing to rank."
        why = f": all {failed:,} that ended failed" if failed and failed == ended.sum() else " yet"
        return f"No trial has been completed{why}, so there is nothing to rank."
    row = run.trials[run.trials["number"] == best.number].iloc[0]
    times = f", the mean of {best.trainings} trainings" if best.trainings > 1 else ""
    text = f"The best is trial {best.number:,}: accuracy {decimal(best.accuracy)}{times}"
    if best.step_time is not None:
        text += f", a training step {_compared(best.step_time)}"
    if not pd.isna(row["params"]):
        text += f", {short(row['params'])} parameters"
    return f"{text}; its reward is {decimal(best.reward)}. {_record(run)}"


def _compared(step_time: float) -> str:
    """A step time in words: against the anchor's."""
    if step_time < 0.95:
        return f"{1 / step_time:.1f} times as fast as the anchor's ({step_time:.3f} of its time)"
    return f"{step_time:.2f} times as long as the anchor's"


def _last_record(run: Run) -> tuple[int, int]:
    """Which of a run's networks has the highest reward, counted from 1, and how many there are."""
    rewards = numbers(networks_of(run.trials), "reward")
    rewards = rewards[~np.isnan(rewards)]
    return (int(rewards.argmax()) + 1, len(rewards)) if len(rewards) else (0, 0)


def _record(run: Run) -> str:
    at, total = _last_record(run)
    if total < 2:
        return "There is nothing to compare it with."
    if at == total:
        return f"It was the last of {total:,}."
    return f"It was number {at:,}; nothing in the {plural(total - at, 'network')} after it was better."


def _chance(run: Run) -> list[str]:
    found = against_chance(run.trials)
    if best_network(run.trials) is None:
        return []
    if found is not None:
        text = (
            f"{_VERDICTS.get(found.verdict, found.verdict)}: a proposal of the controller is better than a random one "
            "with a probability of "
            f"{percent(found.probability)} (95 % interval {percent(found.low)} to {percent(found.high)}, "
            f"from {plural(found.random, 'random proposal')})."
        )
        return [text]
    if run.columns.get("controller") in (None, "random"):
        return []
    return ["Whether the controller beat chance cannot be told: there are too few random proposals beside its own."]


def _figures(material: Material) -> tuple[tuple[str, str], ...]:
    trials, networks = material.trials, material.networks
    rewards = numbers(networks, "reward")
    hours = sum(float(cost(r.trials, workers_per_device=workers_per_device(r))["hours"].sum()) for r in material.runs)
    asked, told = numbers(trials, "asked_at"), numbers(trials, "told_at")
    found = [(count(len(networks)), "networks trained to the end")]
    if np.isfinite(rewards).any() and len(material.groups) == 1:  # of several they do not compare
        found += [(decimal(np.nanmax(rewards)), "highest reward"), (decimal(_most(networks)), "highest accuracy")]
        found.append((count(len(material.front)), "on the front"))
    if hours > 0:
        found.append((device_hours(hours), "device-hours"))
    if np.isfinite(asked).any() and np.isfinite(told).any() and not material.several:
        found.append((duration(float(np.nanmax(told) - np.nanmin(asked))), "of wall-clock time"))
    return tuple(found)


def _most(networks: pd.DataFrame) -> float:
    values = numbers(networks, "accuracy")
    return float(np.nanmax(values)) if np.isfinite(values).any() else math.nan


def _steps(material: Material) -> tuple[Step, ...]:
    steps: list[Step] = []
    for group in material.groups:
        begun = [run for run in group.runs if len(candidates(run.trials))]
        if len(begun) > 1:
            folders = " ".join(shlex.quote(str(run.folder)) for run in begun)
            steps.append(Step("See which of them is better at the same budget.", f"nas compare {folders}"))
        steps += _steps_of(_leader(group) or group.runs[0])
    return tuple(steps)


def _steps_of(run: Run) -> list[Step]:
    folder, best = shlex.quote(str(run.folder)), best_network(run.trials)
    steps = []
    if (run.trials["state"] == "running").any():
        steps.append(Step("Watch the search go on, or take it up again if it was interrupted.", f"nas watch {folder}"))
    if best is None:
        steps.append(Step("See what became of each trial.", f"nas trials {folder}"))
        return steps
    at, total = _last_record(run)
    if total >= 10 and at > _SETTLED * total:
        why = "The best came late: the search has not settled, and more candidates may find better."
        steps.append(Step(why, f"nas resume {folder} --budget {2 * total}"))
    if confirmed(run.trials).empty and total > 1:
        why = "Train the five best again: the first training of a leader flatters it."
        steps.append(Step(why, f"nas resume {folder} --confirm 5"))
    trial = f"{folder} --trial {best.number}"
    return [
        *steps,
        Step(f"See what trial {best.number:,} is made of, stage by stage.", f"nas describe {trial}"),
        Step("Scale it to a family.", f"nas scale {trial} --targets s,m,l"),
        Step("Train it in full.", f"nas train {trial}"),
    ]
