r"""Accel-NASBench as a search space and a table: 4,626 ImageNet trainings with their measured times.

Source: github.com/afzalxo/Accel-NASBench at commit 42603572 (Apache-2.0), the data set of "Accel-NASBench:
Sustainable Benchmarking for Accelerator-Aware NAS" (Ahmad et al., DAC 2024, arXiv 2404.08005). The networks have
the widths and strides of EfficientNet-B0 (MnasNet's space): per stage the expansion {1, 4, 6}, the kernel
{3, 5}, the layers {1, 2, 3} (stage 6: up to 4) and squeeze-and-excitation or none. They were trained by a
shortened schedule: `val_top1` ranks networks and is no usual ImageNet accuracy. Ten networks have two rows,
which show the noise (up to 1.3 points, and 1.6 times the time). Nine rows with a `train_time` over 8,000 s are
outliers to drop. `params` (in millions) are equal to ours to the last digit; their `macs` (millions, at 224 px)
also count batch norm and pooling.

    python examples/accel_nasbench.py accel_nasbench_public.csv.gz

prints the best of them. With `--out` it writes the table for a search; since few of the space's networks are in
it, the search asks a regression that is fitted on it:

    python examples/accel_nasbench.py accel_nasbench_public.csv.gz --out accel.parquet
    nas search --space examples/accel_nasbench.py:space --evaluator surrogate:accel.parquet --image-size 224 \
        --budget 1000

The `step_time` in it is the training time over the median of all training times: nobody trained the backbone, by
which a search divides the step times that it measures itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from search_spaces import PUBLISHED, Architecture, SearchSpace, vary

IMAGE_SIZE = 224
NUM_CLASSES = 1000

STAGES = range(1, 8)
OUTLIER_S = 8000  # trainings that took longer were disturbed
COLUMNS = [f"b{stage - 1}_{field}" for stage in STAGES for field in ("e", "k", "l", "se")]
"""The table's columns, in the order of the space's choices; their stage 0 is our stage 1."""

space = SearchSpace(
    "accel-nasbench",
    PUBLISHED["efficientnet-b0"],
    tuple(
        choice
        for stage in STAGES
        for choice in vary(
            stage,
            expand_ratio=(1, 4, 6),
            kernel=(3, 5),
            layers=(1, 2, 3, 4) if stage == 6 else (1, 2, 3),
            se_ratio=(0.0, 0.25),
        )
    ),
)


def read_table(path: str | Path) -> pd.DataFrame:
    """The benchmark's rows, each with the text of its network in the column `architecture`.

    Args:
        path: a CSV file of the repository's results: a row per network with the columns `b0_e`, `b0_k`,
            `b0_l`, `b0_se` (0 or 1) ... `b6_se`, and what was measured of it.
    """
    table = pd.read_csv(path)
    genotypes = []
    for column, choice in zip(COLUMNS, space.choices, strict=True):
        values = (0, 1) if column.endswith("se") else [next(iter(option.values())) for option in choice.options]
        genotypes.append(table[column].map({value: index for index, value in enumerate(values)}))
    table["architecture"] = [str(space.decode(genotype)) for genotype in zip(*genotypes, strict=True)]
    return table


def search_table(table: pd.DataFrame) -> pd.DataFrame:
    """The benchmark as a table for `nas search`: a row per training, without the nine outliers.

    Args:
        table: as `read_table` gives it.

    Returns:
        `step_time` is the training time over the median one; `macs` are left out, since theirs count more.
    """
    kept = table[table["train_time"] <= OUTLIER_S]
    return pd.DataFrame(
        {
            "genotype": [list(space.encode(Architecture.parse(text))) for text in kept["architecture"]],
            "accuracy": kept["val_top1"] / 100,
            "step_time": kept["train_time"] / kept["train_time"].median(),
            "train_time_s": kept["train_time"],
            "params": (kept["params"] * 1e6).round().astype(int),
        }
    )


def main() -> None:
    """Print the size of the space and its best trained networks; or write the table for a search."""
    parser = argparse.ArgumentParser(description="Show Accel-NASBench, or write it as a table for a search.")
    parser.add_argument("table", type=Path, help="a CSV file of its results")
    parser.add_argument("--out", type=Path, metavar="FILE.parquet", help="write the table for a search to this file")
    arguments = parser.parse_args()
    if arguments.out and arguments.out.suffix != ".parquet":
        parser.error(f"--out must be a parquet file; got {arguments.out}")
    table = read_table(arguments.table)
    if arguments.out:
        rows = search_table(table)
        rows.to_parquet(arguments.out.absolute(), index=False)
        print(f"{arguments.out}: {len(rows):,} rows, {len(table) - len(rows)} outliers left out")
    else:
        show(table)


def show(table: pd.DataFrame) -> None:
    """Print the size of the space and the networks that no other beats in accuracy and training time."""
    kept = table[table["train_time"] <= OUTLIER_S].sort_values("train_time")
    front = kept[kept["val_top1"] > kept["val_top1"].cummax().shift(fill_value=0)]
    trained = table["architecture"].nunique()
    print(f"{space.name}: {space.size:,} distinct networks, {trained:,} of them trained, {len(table):,} rows")
    print(f"{len(front)} of {len(kept):,} are best for their training time; the three most accurate:")
    for _, row in front.tail(3).iloc[::-1].iterrows():
        print(f"{row['val_top1']:.3f} %  {row['train_time']:.0f} s  {row['params']:.3f}M params  {row['architecture']}")


if __name__ == "__main__":
    main()
