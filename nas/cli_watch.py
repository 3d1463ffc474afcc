"""`nas watch`: how a search stands, in a terminal that is not its own."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas import options
from nas.show import Format, print_rows

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from nas.watching import Status, Watched

_LOOK_S = 1.0
_MOST_RUNNING = 8  # candidates that are listed
_BAR = 30
_SPARK = 40
_LEVELS, _ASCII_LEVELS = "▁▂▃▄▅▆▇█", "_.-=+*%#"


def watch(
    run: options.Run,
    once: Annotated[bool, typer.Option("--once", help="Print it once and leave, as where stdout is no terminal.")] = (
        False
    ),
    format: options.FormatOption = Format.table,
) -> None:
    """Watch a search from its run folder until it ends: also from another machine that sees the folder.

    Nothing of the search is touched; Ctrl-C leaves, and the search goes on. JSON and CSV are printed once.
    """
    from rich.console import Console

    from nas.watching import Watched

    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = 400
    try:
        watched = Watched(run)
        watched.look()
        if format is not Format.table:
            row = asdict(watched.status())
            print_rows([row], format, columns=list(row), all_columns=list(row))
        elif once or not console.is_terminal:
            console.print(view(watched.status(), console))
        else:
            _watch(watched, console)
    except KeyboardInterrupt:
        return


def _watch(watched: Watched, console: Console) -> None:
    """Show it until the search is over, or nothing is at it any more."""
    from rich.live import Live

    status = watched.status()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(view(status, console), refresh=True)
            if status.standing in ("finished", "stopped"):
                return
            time.sleep(_LOOK_S)
            watched.look()
            status = watched.status()


def view(status: Status, console: Console) -> RenderableType:
    """How a search stands, for a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _lines(status, ascii_only=console.options.ascii_only):
        grid.add_row(name, value)
    said = f"{status.run}: space {status.space}" + (f", {status.controller}" if status.controller else "")
    head = Text(said, "bold", no_wrap=True, overflow="ellipsis")
    return Group(head, grid)


def _lines(status: Status, *, ascii_only: bool) -> list[tuple[str, RenderableType]]:
    from rich.text import Text

    from nas.progress import duration

    lines: list[tuple[str, RenderableType]] = [("standing", _standing(status)), ("done", _done(status, ascii_only))]
    pace = [f"{status.per_hour:,.0f} candidates an hour"] if status.per_hour is not None else []
    if pace or status.left:
        lines.append(("pace", ", ".join([*pace, *([status.left] if status.left else [])])))
    counts = ", ".join(f"{count:,} {state}" for state, count in status.states.items() if state != "running")
    lines.append(("trials", counts or "none is over yet"))
    if (best := status.best) is not None:
        said = [f"reward {best.reward:.4f}", f"accuracy {best.accuracy:.4f}"]
        said += [f"step time {best.step_time:.3f}"] if best.step_time is not None else []
        said += [f"params {best.params:,}"] if best.params is not None else []
        times = f", mean of {best.trainings} trainings" if best.trainings > 1 else ""
        lines.append(("best", f"trial {best.number}: {', '.join(said)}{times}"))
        lines.append(("", Text(best.architecture, "dim")))
        drawn = sparkline(status.rewards, _SPARK, _ASCII_LEVELS if ascii_only else _LEVELS)
        low, high = status.rewards[0], status.rewards[-1]
        lines.append(("best reward", f"{drawn} {low:.4f} to {high:.4f} in {len(status.rewards):,} candidates"))
    if status.front:
        volume = f"; hypervolume {status.hypervolume:.4f} of 1" if status.hypervolume is not None else ""
        lines.append(("front", f"{status.front:,} in {', '.join(status.objectives)}{volume}"))
    if status.failures:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in status.failures.items())
        lines.append(("failures", Text(f"{kinds}; the last: {status.last_failure}", "red")))
    for place, one in enumerate(status.running[:_MOST_RUNNING]):
        so_far = f", {one.epochs:.3g} epochs, accuracy {one.accuracy:.4f}" if one.accuracy is not None else ""
        said_of = Text(f"trial {one.number} for {duration(one.since_s)}{so_far}  ", no_wrap=True, overflow="ellipsis")
        name = "left open" if status.standing == "stopped" else "running"
        lines.append(("" if place else name, said_of.append(one.architecture, "dim")))
    if len(status.running) > _MOST_RUNNING:
        lines.append(("", f"and {len(status.running) - _MOST_RUNNING} more"))
    return lines


def _standing(status: Status) -> RenderableType:
    from rich.text import Text

    from nas.progress import duration

    style = {"running": "green", "finished": "bold green"}.get(status.standing, "bold yellow")
    host = f" on {status.host}" if status.host and status.standing == "running" else ""
    ago = f"; last event {duration(status.quiet_s)} ago"
    return Text(f"{status.standing}{host}", style).append(f"{': ' * bool(status.note)}{status.note}{ago}", "not bold")


def _done(status: Status, ascii_only: bool) -> str:
    if status.planned is None:
        return f"{status.done:,} candidates, of a budget that the run does not say"
    filled = round(_BAR * min(1.0, status.done / max(1, status.planned)))
    full, empty = ("#", ".") if ascii_only else ("━", "╌")
    more = status.planned - (status.budget or 0)
    confirming = f", {more:,} of them to confirm leaders" if more > 0 else ""
    return f"{full * filled}{empty * (_BAR - filled)} {status.done:,} of {status.planned:,} candidates{confirming}"


def sparkline(values: Any, width: int, levels: str) -> str:
    """Numbers as a line of signs, one each or, of many, at even distances; from the least of them to the greatest."""
    count = min(width, len(values))
    shown = [values[(place + 1) * len(values) // count - 1] for place in range(count)]
    low, high = min(shown), max(shown)
    span = high - low or 1.0
    return "".join(levels[min(len(levels) - 1, int((value - low) / span * len(levels)))] for value in shown)
