r"""NAS-Bench-Macro as a search space and a table: 6,561 rows of 3,969 distinct trained networks.

Source: github.com/xiusu/NAS-Bench-Macro at commit 61a2bfc2 (Apache-2.0), the benchmark of "Prioritized
Architecture Sampling with Monto-Carlo Tree Search" (Su et al., CVPR 2021): every network of a space of 8 layers,
trained on CIFAR-10 with three seeds. A layer is 0 an identity, 1 an MBConv of expansion 3 and kernel 3, or 2 an
MBConv of expansion 6 and kernel 5; the layers form stages of 2, 3 and 3, of which the first layer doubles the
width and strides 2. A network's genotype here is its `arch` there, digit by digit.

- An identity that strides is a 1x1 convolution with batch norm: here a Fused-MBConv of kernel 1 and expansion 1
  (which has an activation that theirs lacks; it costs nothing). Any other identity leaves its layer out, so
  that it does not matter where in a stage it stands: 1,944 networks have two or four rows, which are copies.
- Their stem does not stride and ours does: the cost of theirs at 32 px is the cost of ours at `IMAGE_SIZE` = 64.
  Their `flops` leave out the biases of the classifier, one per class.

    python examples/nasbench_macro.py nas-bench-macro_cifar10.json

prints what it holds. With `--out` it writes the table for a search, in which the trial's seed draws one of the
three trainings (with `--mean` their mean instead):

    python examples/nasbench_macro.py nas-bench-macro_cifar10.json --out macro.parquet
    nas search --space examples/nasbench_macro.py:space --evaluator table:macro.parquet --image-size 64 \
        --reward accuracy --budget 1000
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

from search_spaces import Architecture, SearchSpace, Stage, vary

IMAGE_SIZE = 64
NUM_CLASSES = 10

MB3_K3 = {"op": "mbconv", "kernel": 3, "expand_ratio": 3}
MB6_K5 = {"op": "mbconv", "kernel": 5, "expand_ratio": 6}
STRIDED_IDENTITY = {"op": "fused_mbconv", "kernel": 1, "expand_ratio": 1}

WIDTHS = (64, 64, 128, 128, 128, 256, 256, 256)
STRIDES = (2, 1, 2, 1, 1, 2, 1, 1)

# A stage per layer. Their designs alternate, since equal neighbours would be joined into one stage.
BACKBONE = Architecture(
    32,
    tuple(Stage("mbconv", 5 - 2 * (i % 2), s, 6, w, 1) for i, (w, s) in enumerate(zip(WIDTHS, STRIDES, strict=True))),
    1280,
)

space = SearchSpace(
    "nasbench-macro",
    BACKBONE,
    tuple(
        choice
        for number, stride in enumerate(STRIDES, 1)
        for choice in vary(number, layer=(STRIDED_IDENTITY if stride == 2 else {"layers": 0}, MB3_K3, MB6_K5))
    ),
)


def read_table(path: str | Path) -> pd.DataFrame:
    """The benchmark's rows, each with the text of its network in the column `architecture`.

    Args:
        path: the repository's `nas-bench-macro_cifar10.json`, or a CSV file of it with the columns `arch`
            (8 digits), `acc1`, `acc2`, `acc3`, `mean_acc` (per cent), `std`, `params` and `flops`.
    """
    if Path(path).suffix == ".json":
        rows = json.loads(Path(path).read_text())
        table = pd.DataFrame([{"arch": arch, **row} for arch, row in rows.items()])
        accuracies = pd.DataFrame(table.pop("test_acc").tolist(), columns=["acc1", "acc2", "acc3"])
        table = pd.concat([table[["arch"]], accuracies, table.drop(columns="arch")], axis=1)
    else:
        table = pd.read_csv(path, dtype={"arch": str})
    table["architecture"] = [str(space.decode(tuple(map(int, arch)))) for arch in table["arch"]]
    return table


def search_table(table: pd.DataFrame, *, mean: bool) -> pd.DataFrame:
    """The benchmark as a table for `nas search`: three rows per distinct network, one a seed, or one of their mean.

    Args:
        table: as `read_table` gives it.
        mean: whether to give the mean of the three accuracies, in a single row.
    """
    distinct = table.drop_duplicates("architecture")
    rows = pd.DataFrame({"genotype": [list(map(int, arch)) for arch in distinct["arch"]]}, index=distinct.index)
    rows["params"] = distinct["params"]
    rows["macs"] = distinct["flops"] + NUM_CLASSES  # theirs leave out the classifier's biases
    columns = ["mean_acc"] if mean else ["acc1", "acc2", "acc3"]
    trained = pd.concat([rows.assign(accuracy=distinct[column] / 100) for column in columns])
    return trained.sort_index(kind="stable")[["genotype", "accuracy", "params", "macs"]]  # a network's rows together


def main() -> None:
    """Print the size of the space, how its rows fold, and the best networks; or write the table for a search."""
    parser = argparse.ArgumentParser(description="Show NAS-Bench-Macro, or write it as a table for a search.")
    parser.add_argument("table", type=Path, help="nas-bench-macro_cifar10.json, or a CSV file of it")
    parser.add_argument("--out", type=Path, metavar="FILE.parquet", help="write the table for a search to this file")
    parser.add_argument("--mean", action="store_true", help="write the mean of the three trainings, not each")
    arguments = parser.parse_args()
    if arguments.mean and not arguments.out:
        parser.error("--mean says what --out writes, and needs it")
    if arguments.out and arguments.out.suffix != ".parquet":
        parser.error(f"--out must be a parquet file; got {arguments.out}")
    table = read_table(arguments.table)
    if arguments.out:
        rows = search_table(table, mean=arguments.mean)
        rows.to_parquet(arguments.out.absolute(), index=False)
        print(f"{arguments.out}: {len(rows):,} rows of {table['architecture'].nunique():,} networks")
    else:
        show(table)


def show(table: pd.DataFrame) -> None:
    """Print the size of the space, how its rows fold, and the best networks."""
    rows = table["architecture"].value_counts()
    print(f"{space.name}: {space.size:,} distinct networks in {len(table):,} rows")
    print(f"{(rows > 1).sum():,} of them have several rows, at most {rows.max()}")
    best = table.groupby("architecture").agg(
        rows=("arch", " ".join), mean_acc=("mean_acc", "mean"), params=("params", "first")
    )
    for text, row in best.nlargest(3, "mean_acc").iterrows():
        print(f"{row['mean_acc']:.3f} %  {row['params']:,} params  {row['rows']}  {text}")


if __name__ == "__main__":
    main()
