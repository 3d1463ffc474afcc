"""The layering: who may import whom, where heavy libraries live, no cycles, and what stays unloaded."""

from __future__ import annotations

import ast
import graphlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from results.store import TrialStore
from results.trial import Measurement, Trial
from search_spaces import SPACES

ROOT = Path(__file__).resolve().parents[1]
LAYERS: dict[str, set[str]] = {  # which of our packages each may import
    "search_spaces": set(),
    "results": {"search_spaces"},
    "trainers": {"search_spaces", "results.trial"},
    "nas": {"search_spaces", "results", "trainers"},
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in LAYERS
    for path in sorted((ROOT / package).rglob("*.py"))
}
HOMES: dict[str, tuple[str, ...]] = {  # the modules, or packages, that alone may import a heavy library
    "torch": ("trainers", "nas.controllers.ppo"),
    "ray": ("nas.tune", "nas.early_stopping", "nas.distributed", "nas.ray_cluster"),
    "optuna": ("nas.controllers.optuna_sampler", "nas.optuna_mirror", "nas.optuna_storage"),
    "sklearn": ("trainers.surrogate", "results.analysis.importance"),
    "pyarrow": ("results", "trainers.excerpt", "trainers.parquet_files", "trainers.row_groups", "trainers.tabular"),
    "pandas": (  # those of nas for a type
        *("results", "trainers.data", "trainers.tabular"),
        *("nas.show", "nas.cli_trials", "nas.cli_pareto", "nas.cli_compare", "nas.cli_plot"),
        *("nas.studies.discovery_analysis", "nas.studies.searches"),
    ),
    "PIL": ("trainers.sources", "trainers.decode"),
    "mlxtend": ("trainers.data", "trainers.sources"),
    "matplotlib": ("results.plots", "nas.cli_plot"),  # that of nas for a type
    "jinja2": ("results.report",),
    "markupsafe": ("results.report",),
    "tensorboardX": ("results.tensorboard",),
    "safetensors": ("trainers",),
    "onnx": ("trainers.export",),
    "onnxruntime": ("trainers.export",),
}


def imports(path: Path, *, on_loading: bool = False) -> Iterator[str]:
    """The modules that a file imports anywhere, or those alone that are loaded with it."""
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if on_loading and (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        ):
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports name their package"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


def within(module: str, homes: tuple[str, ...] | set[str]) -> bool:
    return any(module == home or module.startswith(home + ".") for home in homes)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_what_its_layer_may(module: str) -> None:
    package = module.partition(".")[0]
    ours = {name for name in imports(MODULES[module]) if name.partition(".")[0] in LAYERS}
    assert {name for name in ours if not within(name, LAYERS[package] | {package})} == set()


@pytest.mark.parametrize("module", MODULES)
def test_heavy_libraries_stay_in_their_homes(module: str) -> None:
    libraries = {name.partition(".")[0] for name in imports(MODULES[module])}
    assert {name for name in libraries & set(HOMES) if not within(module, HOMES[name])} == set()
    if module.startswith("search_spaces"):
        assert libraries <= {*sys.stdlib_module_names, "numpy", "search_spaces"}


def test_no_module_is_loaded_in_a_circle() -> None:
    graph = {m: {n for n in imports(path, on_loading=True) if n in MODULES} for m, path in MODULES.items()}
    order = graphlib.TopologicalSorter(graph).static_order()  # a CycleError names the circle
    assert set(order) == set(MODULES)


def loaded_by(code: str, *arguments: str) -> set[str]:
    """The top-level modules that are there when some code has run in a new interpreter."""
    code += '\nimport sys; print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)'
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return set(ended.stderr.splitlines()[-1].split())


NAS = "from nas.cli import app; app(standalone_mode=False)"


@pytest.mark.parametrize("package", LAYERS)
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    assert loaded_by(f"import {package}").isdisjoint(HOMES)


def test_help_loads_nothing_heavy_nor_numpy() -> None:
    loaded = loaded_by(NAS, "--help")
    assert "typer" in loaded
    assert loaded.isdisjoint({*HOMES, "numpy"})


@pytest.mark.parametrize("command", ["pareto", "trials", "compare", "report", "plot"])
def test_looking_at_a_run_loads_neither_torch_nor_ray(tmp_path: Path, command: str) -> None:
    space = SPACES["small"]
    store = TrialStore.create(tmp_path / "run", {"space": space.to_json()})
    genotype = space.genotype_at(0)
    trial = Trial(number=0, genotype=genotype, architecture=str(space.decode(genotype)), seed=1)
    store.asked(trial)
    store.measured(0, Measurement(accuracy=0.5, step_time=1.0, params=100))
    store.told(replace(trial, state="complete", reward=0.5))
    store.close()
    folders = [tmp_path / "run"]
    if command == "compare":
        folders.append(shutil.copytree(tmp_path / "run", tmp_path / "other"))
    drawn = ["-o", str(tmp_path / "figure.svg"), "--kind", "pareto"]
    out = {"report": ["-o", str(tmp_path / "report.html")], "plot": drawn}.get(command, [])
    loaded = loaded_by(NAS, command, *map(str, folders), *out)
    assert "pandas" in loaded
    assert loaded.isdisjoint({"torch", "ray", "optuna", "mlxtend"})
    assert command == "plot" or loaded.isdisjoint({"matplotlib", "PIL"})
    assert command not in ("pareto", "trials") or loaded.isdisjoint({"scipy", "rich"}), "their start would be slower"


def test_describing_a_network_loads_neither_torch_nor_ray() -> None:
    assert loaded_by(NAS, "describe", "efficientnetv2-s").isdisjoint(HOMES)
