"""What the correction of proxy accuracies is worth: fitted to some networks, tested on all others, again and again.

Prints one JSON object. Two cases:

- macro: NAS-Bench-Macro (CIFAR-10), distinct networks. The "proxy" is the first of the three seeds, the reference the
  mean of the other two: a proxy that is as good as the reference, so that there is nothing to correct but noise. By
  params and macs.
- accel (with `--ablations`): the networks of Accel-NASBench that were trained with both its short recipe (the proxy)
  and its long one (the reference), one seed of each, from the folder plots/ablations_plots/csvs of its repository. By
  params, macs and SNIP (16 pictures of Imagenette at 64 px); and by params and macs alone.

Each with n networks to fit to: Kendall's tau on the others of the raw and of the corrected accuracy, how often the
correction is adopted (its held-out tau rises), and what it then gains.

    python benchmarks/correction.py --data ../shared/data --ablations FOLDER > correction.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from controllers import example, interval
from machine import machine, parser
from scipy.stats import kendalltau
from zero_cost import untrained

from results.correction import Correction
from search_spaces import Architecture, cost

COUNTS = (20, 50, 100)


def macro(data: Path) -> pd.DataFrame:
    """A row a distinct network."""
    table = example("nasbench_macro").read_table(data / "nasbench_macro_cifar10.csv.gz")
    table = table.drop_duplicates("architecture").rename(columns={"flops": "macs"})
    others = (table["acc2"] + table["acc3"]) / 200
    return table.assign(accuracy=table["acc1"] / 100, reference_accuracy=others).reset_index(drop=True)


def accel(data: Path, folder: Path) -> pd.DataFrame:
    """A row a network that was trained with both recipes."""
    source = example("accel_nasbench")
    short, long = (pd.read_csv(folder / f"{name}-seed1.csv", header=None) for name in ("proxified", "fewproxy"))
    designs = {"e": 9, "k": 16, "l": 23, "se": 30}  # the first of seven columns
    named = {f"b{stage}_{field}": short[first + stage] for field, first in designs.items() for stage in range(7)}
    genotypes = [
        named[column].astype(int).map({int(value): place for place, value in enumerate(values(choice))})
        for column, choice in zip(source.COLUMNS, source.space.choices, strict=True)
    ]
    texts = [str(source.space.decode(genotype)) for genotype in zip(*genotypes, strict=True)]
    known = pd.DataFrame([cost(Architecture.parse(text), source.IMAGE_SIZE) for text in texts])
    table = known.assign(architecture=texts, accuracy=short[4] / 100, reference_accuracy=long[4] / 100)
    table = table[(short[7] * 1e6 - known["params"]).abs() < 2].reset_index(drop=True)  # told in millions
    return table.merge(untrained(data, table["architecture"], source.space.backbone), on="architecture")


def values(choice: Any) -> list[float]:
    """What the options of a choice say, squeeze-excite as 0 or 1."""
    found = [next(iter(option.values())) for option in choice.options]
    return [float(value > 0) for value in found] if choice.name.endswith("se_ratio") else found


def tau(scores: pd.Series, truth: pd.Series) -> float:
    return float(kendalltau(scores, truth).statistic)


def worth(table: pd.DataFrame, count: int, repeats: int) -> dict[str, Any]:
    """What a correction fitted to so many networks is worth on the others."""
    rows = []
    for seed in range(repeats):
        order = np.random.default_rng(seed).permutation(len(table))
        known, others = table.iloc[order[:count]], table.iloc[order[count:]]
        correction = Correction.fit(known)
        raw = tau(others["accuracy"], others["reference_accuracy"])
        corrected = tau(correction.corrected(others), others["reference_accuracy"])
        rows.append((raw, corrected, correction.helps, correction.gain_low > 0))
    raw, corrected, helps, sure = (np.array(column) for column in zip(*rows, strict=True))
    gains = corrected - raw
    return {
        "tau_raw": interval(raw),
        "tau_corrected": interval(corrected),
        "gain": {**interval(gains), "sd": round(float(gains.std(ddof=1)), 4), "least": round(float(gains.min()), 4)},
        "adopted": float(helps.mean()),
        "gain_where_adopted": round(float(gains[helps].mean()), 4) if helps.any() else None,
        "worse_where_adopted": round(float((gains[helps] < 0).mean()), 3) if helps.any() else None,
        "gain_of_the_rule": interval(gains * helps),
        "interval_above_0": float(sure.mean()),
    }


def case(table: pd.DataFrame, repeats: int) -> dict[str, Any]:
    """What it is worth by the number of networks, and left-one-out on all of a small table."""
    found: dict[str, Any] = {"networks": len(table)}
    if len(table) < 1000:
        whole = Correction.fit(table)
        found["left_one_out"] = {name: round(getattr(whole, name), 4) for name in ("tau_raw", "tau_corrected")} | {
            "gain_low": round(whole.gain_low, 4),
            "gain_high": round(whole.gain_high, 4),
        }
    for count in COUNTS:
        if count <= 0.8 * len(table):
            found[str(count)] = worth(table, count, repeats)
    return found


def main() -> None:
    made = parser("Measure the correction of proxy accuracies; prints JSON.", n=100)
    made.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the tables and Imagenette are")
    made.add_argument("--ablations", type=Path, help="plots/ablations_plots/csvs of Accel-NASBench's repository")
    arguments = made.parse_args()
    repeats = 2 if arguments.quick else arguments.n
    result: dict[str, Any] = {"machine": machine(), "macro": case(macro(arguments.data), repeats)}
    if arguments.ablations is not None:
        table = accel(arguments.data, arguments.ablations)
        result["accel"] = case(table, repeats)
        result["accel_without_snip"] = case(table.drop(columns="snip"), repeats)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
