"""The step times of `nas study scaling-runtime`, drawn against macs, params and activations.

    nas study scaling-runtime -o scaling && python benchmarks/scaling_runtime.py scaling runtime.svg

Each point is a network of the study. Needs matplotlib.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
from matplotlib import pyplot, ticker

from nas.studies import folder as folders
from nas.studies.scaling_runtime import CHOSEN, METRICS, NETWORKS, members
from search_spaces import cost

COLOURS = dict(zip(("none", *CHOSEN), ("#000000", "#aa3377", "#ee6677", "#4477aa", "#228833"), strict=True))
MARKERS = dict(zip(NETWORKS, ("^", "o"), strict=True))


def main() -> None:
    options = argparse.ArgumentParser(description="Draw the points of a study of step times.")
    options.add_argument("study", type=Path, help="its folder")
    options.add_argument("figure", type=Path, help="the file to draw (svg or png)")
    arguments = options.parse_args()
    size, results = folders.read(arguments.study)["size"], folders.results(arguments.study)
    matplotlib.use("Agg")
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 4), sharey=True, layout="constrained")
    for member in members(size):
        costs = cost(member.scaled.architecture, member.scaled.train_image_size)
        for axis, metric in zip(axes, METRICS, strict=True):
            axis.scatter(
                getattr(costs, metric) / 1e6,
                results[member.name]["ratio"],
                marker=MARKERS[member.network],
                color=COLOURS[member.strategy],
                label=f"{member.network} {member.strategy}",
            )
    for axis, metric in zip(axes, METRICS, strict=True):
        axis.set(xlabel=f"{metric} (millions)", xscale="log", yscale="log")
        for one in (axis.xaxis, axis.yaxis):
            one.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            one.set_major_formatter(ticker.FormatStrFormatter("%g"))
            one.set_minor_formatter(ticker.NullFormatter())
    axes[0].set_ylabel(f"training step over that of {NETWORKS[0]}")
    handles, labels = axes[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside right center", fontsize="small")
    figure.savefig(arguments.figure)


if __name__ == "__main__":
    main()
