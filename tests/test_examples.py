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

import pytest

from search_spaces import PUBLISHED, SearchSpace

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
