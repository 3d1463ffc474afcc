"""The examples run as scripts, and the spaces they write down are those of the tables they read."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from search_spaces import PUBLISHED, SearchSpace, cost
from trainers.surrogate import SurrogateTask
from trainers.tabular import TabularTask

ROOT = Path(__file__).resolve().parents[1]
TABLES = {"accel_nasbench": "accel_nasbench_public.csv.gz", "nasbench_macro": "nasbench_macro_cifar10.csv.gz"}


def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "accel_nasbench",
            [
                "accel-nasbench: 104,485,552,128 distinct networks, 4,616 of them trained, 4,626 rows",
                "29 of 4,617 are best for their training time",
                "67.052 %  3334 s  5.886M params  stem_c32-mbconv_k3_s1_e4_c16_n3-",
            ],
        ),
        (
            "nasbench_macro",
            [
                "nasbench-macro: 3,969 distinct networks in 6,561 rows",
                "1,944 of them have several rows, at most 4",
                "93.127 %  1,985,514 params  22212202 22212220  stem_c32-mbconv_k5_s2_e6_c64_n2-",
            ],
        ),
    ],
)
def test_an_example_runs_as_a_script(name: str, lines: list[str], shared_data: Path) -> None:
    done = run(name, shared_data / TABLES[name])
    assert (done.returncode, done.stderr) == (0, "")
    for line, expected in zip(done.stdout.splitlines(), lines, strict=False):
        assert line.startswith(expected)
    assert len(done.stdout.splitlines()) == 5


@pytest.mark.parametrize("name", TABLES)
def test_an_example_without_a_table_says_how_it_is_used(name: str) -> None:
    done = run(name)
    assert done.returncode == 2
    assert f"usage: {name}.py" in done.stderr


def test_nasbench_macro_has_a_genotype_per_row_and_folds_idle_layers(
    load_example: Callable[[str], ModuleType],
) -> None:
    space: SearchSpace = load_example("nasbench_macro").space
    genotypes = list(itertools.product(range(3), repeat=8))
    texts = {genotype: str(space.decode(genotype)) for genotype in genotypes}
    assert space.size == len(set(texts.values())) == 3969
    # equal exactly where, within each stage of 2, 3 and 3 layers, the same layers follow the first one
    folded = {g: tuple((g[a], *(x for x in g[a + 1 : b] if x)) for a, b in ((0, 2), (2, 5), (5, 8))) for g in genotypes}
    assert len({(texts[g], folded[g]) for g in genotypes}) == len(set(folded.values())) == 3969
    assert Counter(Counter(texts.values()).values()) == {1: 2025, 2: 1620, 4: 324}


def test_nasbench_macro_has_copies_for_its_folding_rows(
    shared_data: Path, load_example: Callable[[str], ModuleType]
) -> None:
    example = load_example("nasbench_macro")
    table = example.read_table(shared_data / TABLES["nasbench_macro"])
    assert [tuple(map(int, arch)) for arch in table["arch"]] == list(itertools.product(range(3), repeat=8))
    assert len(table.drop(columns="arch").drop_duplicates()) == table["architecture"].nunique() == 3969
    best = table[table["mean_acc"] == table["mean_acc"].max()]
    assert best["arch"].tolist() == ["22212202", "22212220"]
    assert best["architecture"].nunique() == 1
    assert example.space.encode(example.space.decode((2, 2, 2, 1, 2, 2, 2, 0))) == (2, 2, 2, 1, 2, 2, 0, 2)


def test_nasbench_macro_reads_the_form_of_its_repository(
    tmp_path: Path, load_example: Callable[[str], ModuleType]
) -> None:
    row = {"test_acc": [1.0, 2.0, 3.0], "mean_acc": 2.0, "std": 0.5, "params": 387882, "flops": 7713280}
    (tmp_path / "table.json").write_text(json.dumps({"00000000": row, "00000001": row}))
    example = load_example("nasbench_macro")
    table = example.read_table(tmp_path / "table.json")
    assert list(table.columns) == ["arch", "acc1", "acc2", "acc3", "mean_acc", "std", "params", "flops", "architecture"]
    assert table["arch"].tolist() == ["00000000", "00000001"]
    assert table["acc3"].tolist() == [3.0, 3.0]
    assert table["architecture"][1] == str(example.space.decode((0, 0, 0, 0, 0, 0, 0, 1)))


def test_accel_nasbench_holds_b0_and_every_row(shared_data: Path, load_example: Callable[[str], ModuleType]) -> None:
    example = load_example("accel_nasbench")
    space: SearchSpace = example.space
    assert space.size == (3 * 2 * 3 * 2) ** 6 * (3 * 2 * 4 * 2)
    assert space.decode(space.encode(PUBLISHED["efficientnet-b0"])) == PUBLISHED["efficientnet-b0"] == space.backbone
    table = example.read_table(shared_data / TABLES["accel_nasbench"])
    assert table["architecture"][0] == (
        "stem_c32-mbconv_k3_s1_e6_c16_n1-mbconv_k5_s2_e4_c24_n2-mbconv_k3_s2_e6_c40_n3-mbconv_k5_s2_e6_c80_n3"
        "-mbconv_k5_s1_e6_c112_n2-mbconv_k3_s2_e1_c192_n2-mbconv_k3_s1_e1_c320_n2-head_c1280"
    )
    twice = table.groupby("architecture").size()
    assert Counter(twice) == {1: 4606, 2: 10}


@pytest.mark.parametrize(
    ("options", "said", "accuracies"),
    [((), "11,907 rows of 3,969", [0.6434, 0.6421, 0.6412]), (("--mean",), "3,969 rows of 3,969", [0.642233])],
)
def test_nasbench_macro_writes_a_table_for_a_search(
    options: tuple[str, ...],
    said: str,
    accuracies: list[float],
    shared_data: Path,
    tmp_path: Path,
    load_example: Callable[[str], ModuleType],
) -> None:
    out = tmp_path / "macro.parquet"
    done = run("nasbench_macro", shared_data / TABLES["nasbench_macro"], "--out", out, *options)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{out}: {said} networks\n")
    example = load_example("nasbench_macro")
    task = TabularTask.read(out, example.space)
    assert {len(rows) for rows in task.rows.values()} == {len(accuracies)}
    assert len(task.rows) == example.space.size
    second = example.space.decode((0, 0, 0, 0, 0, 0, 0, 1))
    drawn = [task(second, seed) for seed in range(3)]
    assert [m.accuracy for m in drawn] == pytest.approx((accuracies * 3)[:3])
    ours = cost(second, example.IMAGE_SIZE, num_classes=example.NUM_CLASSES)
    assert {(m.params, m.macs) for m in drawn} == {(ours.params, ours.macs)}
    assert not task.has_step_time


def test_accel_nasbench_writes_a_table_for_a_search(
    shared_data: Path, tmp_path: Path, load_example: Callable[[str], ModuleType]
) -> None:
    out = tmp_path / "accel.parquet"
    done = run("accel_nasbench", shared_data / TABLES["accel_nasbench"], "--out", out)
    said = f"{out}: 4,617 rows, 9 outliers left out\n"
    assert (done.returncode, done.stderr, done.stdout) == (0, "", said)
    written = pd.read_parquet(out)
    assert written["step_time"].median() == pytest.approx(1)
    assert written["train_time_s"].max() <= 8000
    example = load_example("accel_nasbench")
    task = TabularTask.read(out, example.space)
    assert task.has_step_time
    for genotype, params in written[["genotype", "params"]].head(20).itertuples(index=False):
        architecture = example.space.decode(tuple(genotype))
        assert task(architecture, 0).params == params == cost(architecture, 224, num_classes=1000).params


def test_a_surrogate_of_accel_nasbench_ranks_networks_that_it_did_not_see(
    shared_data: Path, load_example: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    example = load_example("accel_nasbench")
    rows = example.search_table(example.read_table(shared_data / TABLES["accel_nasbench"]))
    rows.drop(columns="train_time_s").to_parquet(tmp_path / "t.parquet")
    task = SurrogateTask.read(tmp_path / "t.parquet", example.space)
    assert task.quality["kendall_tau"] > 0.9
    assert task.quality["rmse"] < 0.006
    b0 = task(PUBLISHED["efficientnet-b0"], 0)
    assert 0.6 < b0.accuracy < 0.68
    assert b0.step_time == task.expected_step_time(PUBLISHED["efficientnet-b0"])


@pytest.mark.parametrize("name", TABLES)
def test_an_example_writes_parquet_alone(name: str) -> None:
    done = run(name, "table.csv", "--out", "other.csv")
    assert done.returncode == 2
    assert "--out must be a parquet file; got other.csv" in done.stderr


def test_nasbench_macros_mean_needs_a_file() -> None:
    done = run("nasbench_macro", "table.csv", "--mean")
    assert done.returncode == 2
    assert "--mean says what --out writes" in done.stderr


def test_a_family_by_every_rule() -> None:
    done = run("scale_family")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "s: 384 px  21.5M params  8.37G macs  24x2 48x4 64x4 128x6 160x9 256x15"
    assert [line.split()[0] for line in lines[-4:]] == ["4", "uniform", "fast", "measured"]


def test_the_uniform_rules_factors_found_by_training() -> None:
    done = run("scale_family", "--train", "--epochs", "1", "--step", "0.3")
    assert (done.returncode, done.stderr) == (0, "")
    head, *points = done.stdout.splitlines()[-4:]
    assert head.split() == ["alpha", "beta", "gamma", "macs", "accuracy"]
    accuracies = [float(point.split()[-1]) for point in points]
    assert accuracies == sorted(accuracies, reverse=True)
    assert sorted(point.split()[0] for point in points) == ["1.00", "1.60", "1.90"]


def test_from_a_search_to_a_trained_network(tmp_path: Path) -> None:
    done = run("train_found", "--out", tmp_path / "found", "--budget", "2", "--epochs", "3")
    assert (done.returncode, done.stderr) == (0, "")
    searched, *epochs, minival, test = done.stdout.splitlines()
    assert searched.startswith("2 candidates evaluated, the best with reward ")
    assert [epoch.split()[2] for epoch in epochs] == ["24", "28", "32"]
    assert minival.split()[1] == max(epoch.split()[-1] for epoch in epochs)
    assert test.endswith("on 1,000 pictures")
    assert (tmp_path / "found" / "training" / "model.safetensors").is_file()
