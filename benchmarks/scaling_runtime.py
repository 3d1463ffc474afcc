"""What the training step time follows when networks are scaled: macs, params or activations?

Scales V2-B0 and V1-B0 by five strategies (depth and resolution, depth and width, width, uniform, fast) to several
sizes, times the training step of each against its baseline on this device, and prints one JSON object with the points
and Pearson's r of step time with macs, params and activations. Dollar et al. 2021 (arXiv 2103.06877, Figure 5) report
.81, .56 and .99 for EfficientNet-B0 on 8 Volta GPUs, scaled by dwr, dw, dWr and w.

    python benchmarks/scaling_runtime.py --plot runtime.svg > runtime.json

Takes about ten minutes on one core. `--plot` needs matplotlib.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine, parser  # before the project

from nas.scaling.fast import STRATEGIES, fast
from search_spaces import PUBLISHED, cost
from trainers.recipe import Recipe
from trainers.step_timer import StepTimer

NETWORKS = ("efficientnetv2-b0", "efficientnet-b0")
CHOSEN = ("dr", "dw", "w", "dwr", "dWr")
METRICS = ("macs", "params", "activations")
PAPER = {"macs": 0.81, "params": 0.56, "activations": 0.99}


def points(name: str, growths: list[float], arguments: Any) -> list[dict[str, Any]]:
    base = PUBLISHED[name]
    recipe = Recipe(batch_size=arguments.batch_size)
    timer = StepTimer(base, arguments.image_size, recipe, device=arguments.device, blocks=arguments.n)
    base_ms = 1e3 * timer(base, arguments.image_size).anchor_seconds  # once, so that equal ratios are equal times
    found = []
    for strategy in CHOSEN:
        for s in growths:
            member = fast(base, arguments.image_size, s, given=STRATEGIES[strategy])
            timed = timer(member.architecture, member.image_size)
            found.append(
                {
                    "network": name,
                    "strategy": strategy,
                    "s": s,
                    "image_size": member.image_size,
                    **cost(member.architecture, member.image_size)._asdict(),
                    "step_time": round(timed.ratio, 4),
                    "step_time_low": round(timed.low, 4),
                    "step_time_high": round(timed.high, 4),
                    "step_ms": round(base_ms * timed.ratio, 2),
                    "device": str(timer.device),
                }
            )
            print(f"{name} {strategy} {s:g}x: {timed.ratio:.3f}", file=sys.stderr, flush=True)
    return found


def correlations(chosen: list[dict[str, Any]]) -> dict[str, float]:
    """Pearson's r of the step in ms with each metric."""
    times = [p["step_ms"] for p in chosen]
    return {metric: round(float(np.corrcoef(times, [p[metric] for p in chosen])[0, 1]), 3) for metric in METRICS}


def plot(found: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 4), sharey=True, layout="constrained")
    markers = dict(zip(NETWORKS, ("o", "^"), strict=True))
    colours = dict(zip(CHOSEN, ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#aa3377"), strict=True))
    for axis, metric in zip(axes, METRICS, strict=True):
        for point in found:
            axis.scatter(
                point[metric] / 1e6,
                point["step_ms"],
                marker=markers[point["network"]],
                color=colours[point["strategy"]],
                label=f"{point['network']} {point['strategy']}",
            )
        axis.set(xlabel=f"{metric} (millions)", xscale="log", yscale="log")
        for one in (axis.xaxis, axis.yaxis):
            one.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            one.set_major_formatter(ticker.FormatStrFormatter("%g"))
            one.set_minor_formatter(ticker.NullFormatter())
        axis.set_title(f"r = {correlations(found)[metric]:.2f}")
    axes[0].set_ylabel("training step (ms)")
    handles, labels = axes[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside right center", fontsize="small")
    figure.savefig(path)


def main() -> None:
    options = parser("Correlate step time with macs, params and activations; prints JSON.", n=5)
    options.add_argument("--image-size", type=int, default=128, help="of the baselines")
    options.add_argument("--batch-size", type=int, default=8)
    options.add_argument("--device", default="auto")
    options.add_argument("--plot", type=Path, help="draw the points to this file (svg or png)")
    arguments = options.parse_args()
    growths = [2.0, 4.0] if arguments.quick else [1.5, 2.0, 4.0, 8.0]
    if arguments.quick:
        arguments.image_size, arguments.batch_size, arguments.n = 32, 2, 1
    about = machine()
    found = [point for name in NETWORKS for point in points(name, growths, arguments)]
    result = {
        "benchmark": "scaling_runtime",
        "machine": about,
        "batch_size": arguments.batch_size,
        "image_size": arguments.image_size,
        "blocks_per_point": arguments.n,
        "points": found,
        "pearson_r": {
            "all": correlations(found),
            **{name: correlations([p for p in found if p["network"] == name]) for name in NETWORKS},
            **{
                f"{name}, without dr": correlations(
                    [p for p in found if p["network"] == name and p["strategy"] != "dr"]
                )
                for name in NETWORKS
            },
            "in_the_paper": PAPER,
        },
    }
    print(json.dumps(result, indent=2))
    if arguments.plot:
        plot(found, arguments.plot)


if __name__ == "__main__":
    main()
