"""The curves of a training, drawn: accuracy, loss and learning rate by epoch, the stages of its schedule shaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from results.plots.style import save_figure

if TYPE_CHECKING:
    import pandas as pd

_CURVES = (("accuracy", "minival accuracy", "#1f5f8b"), ("loss", "training loss", "#b5442e"))
_RATE = ("learning_rate", "learning rate", "#4d4d4d")
_LEAST_SHARE = 0.1
"""Of the width, that a stage must have for its text."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """A time of one picture size.

    Args:
        begin: epochs before it, such as 1.75.
        end: epochs that are over after it.
        size: of the pictures, in pixels.
        strength: of the regularisation, in words.
    """

    begin: float
    end: float
    size: int
    strength: tuple[str, ...]


def plot_curves(frame: pd.DataFrame, path: Path, *, title: str) -> None:
    """Draw the epochs of a training, whole or not at all.

    Args:
        frame: a row an epoch (`metrics.read_metrics`), at least one.
        path: the picture, of any format that matplotlib writes.
        title: what to call it.

    Raises:
        OSError: the disk would not take it; a file that was there is as it was.
    """
    figure = Figure(figsize=(8.5, 7.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2.4, 1.2))
    stages = _stages(frame)
    for axis, (column, label, colour) in zip(axes, (*_CURVES, _RATE), strict=True):
        _shade(axis, stages)
        dotted = {"marker": "o", "markersize": 3.5} if len(frame) <= 40 else {}
        axis.plot(frame["epoch"], frame[column], color=colour, linewidth=1.8, clip_on=False, **dotted)
        axis.set_ylabel(label)
        axis.grid(axis="y", color="black", alpha=0.12, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    _mark_best(axes[0], frame)
    _name_stages(axes[0], stages)
    axes[-1].set_ylim(bottom=0)
    axes[-1].set(xlabel="epoch", xlim=(0, int(frame["epoch"].max())))
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    axes[-1].ticklabel_format(axis="y", scilimits=(-3, 4))
    figure.align_ylabels(axes)
    figure.suptitle(title, x=0.01, ha="left", fontsize="large", fontweight="bold", parse_math=False)
    save_figure(figure, path)


def _stages(frame: pd.DataFrame) -> list[_Stage]:
    names = {"randaugment": "RandAugment", "mixup": "mixup", "cutmix": "CutMix", "dropout": "dropout"}
    parts = list(_parts(frame))
    used = [name for name in names if any(part[name] > 0 for part in parts)]
    found: list[_Stage] = []
    for part in parts:
        strength = tuple(f"{names[name]} {part[name]:.2g}" for name in used)
        stage = _Stage(part["begin"], part["end"], int(part["image_size"]), strength)
        if found and found[-1].size == stage.size:
            found[-1] = replace(stage, begin=found[-1].begin)
        else:
            found.append(stage)
    return found


def _parts(frame: pd.DataFrame) -> Iterator[Mapping[str, Any]]:
    """What the epochs had, one stage after the other; an epoch that does not say has what its last step had."""
    for row in frame.to_dict("records"):
        parts = row.get("parts")
        if parts is None or not len(parts):
            parts = [{**row, "begin": row["epoch"] - 1, "end": row["epoch"]}]
        yield from parts


def _shade(axis: Any, stages: list[_Stage]) -> None:
    """The larger the pictures, the darker the ground."""
    for stage, colour in zip(stages, _colours(stages), strict=True):
        axis.axvspan(stage.begin, stage.end, color=colour, linewidth=0, zorder=0)
        axis.axvline(stage.begin, color="white", linewidth=1.2, zorder=0.5)


def _colours(stages: list[_Stage]) -> list[tuple[float, float, float]]:
    sizes = sorted({stage.size for stage in stages})
    shades = {size: 0.07 + 0.2 * place / max(1, len(sizes) - 1) for place, size in enumerate(sizes)}
    return [(1 - 0.9 * shades[s.size], 1 - 0.6 * shades[s.size], 1 - 0.3 * shades[s.size]) for s in stages]


def _name_stages(axis: Any, stages: list[_Stage]) -> None:
    """Size and strength above each stage or, where one is too narrow for them, the sizes in a legend."""
    whole = stages[-1].end
    if all(stage.end - stage.begin >= _LEAST_SHARE * whole for stage in stages):
        for stage in stages:
            middle, above = (stage.begin + stage.end) / 2, axis.get_xaxis_transform()
            for text, weight in (  # one above the other, in two weights
                ("\n".join((f"{stage.size} px", *("" for _ in stage.strength))), "bold"),
                ("\n".join(stage.strength), "normal"),
            ):
                axis.text(
                    middle, 1.02, text, transform=above, ha="center", va="bottom",
                    fontsize="small", fontweight=weight, linespacing=1.3,
                )  # fmt: skip
        return
    shown = dict(zip((stage.size for stage in stages), _colours(stages), strict=True))
    patches = [Patch(facecolor=shown[size], edgecolor="#999999", label=f"{size} px") for size in sorted(shown)]
    axis.legend(
        handles=patches, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=8, frameon=False, fontsize="small"
    )


def _mark_best(axis: Any, frame: pd.DataFrame) -> None:
    best = frame.iloc[int(frame["accuracy"].to_numpy().argmax())]
    axis.plot(best["epoch"], best["accuracy"], "o", color="#1f5f8b", markersize=7, clip_on=False)
    text = f"best: {best['accuracy']:.4f}, in epoch {int(best['epoch'])}"  # in the corner where curves of it seldom are
    axis.text(0.99, 0.04, text, transform=axis.transAxes, ha="right", va="bottom", fontsize="small")
