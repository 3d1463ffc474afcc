"""`nas export`: what it writes of names, runs, files of weights and trainings, and what it refuses."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nas_command import Outcome, nas
from safetensors.torch import load_file, save_file
from torch import Tensor

from nas.config import SearchConfig
from nas.networks import find_network
from nas.provenance import search_provenance
from nas.runs import RunSettings, make_session, note_start, start
from nas.search import run_serial
from search_spaces import SPACES, Architecture, ImageSizes, cost
from trainers.blocks import NetworkSettings
from trainers.foreign import timm_names
from trainers.network import Network, build_network
from trainers.weights import read_header, renamed, save_weights, saved_network

SMALL = Architecture.parse("stem_c8-fused_mbconv_k3_s2_e4_c16_n2-mbconv_k3_s2_e4_c24_n2_se0.25-head_c32")
ABOUT = {"mean": "[0.5]", "std": "[0.25]", "accuracy": "0.875", "class_names": json.dumps(list("abcdefg"))}


def export(*arguments: object) -> Outcome:
    return nas("export", *arguments)


def error(*arguments: object) -> str:
    outcome = export(*arguments)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    return outcome.err


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trained(seed: int = 1) -> Network:
    settings = NetworkSettings(padding="same", bn_eps=1e-5)
    network = build_network(SMALL, 7, 1, settings=settings, generator=torch.Generator().manual_seed(seed)).eval()
    network.stem.norm.running_mean += 0.1
    return network


def logits(network: Network) -> Tensor:
    with torch.no_grad():
        result: Tensor = network(torch.linspace(-1, 1, 2 * 32 * 32).sin().reshape(2, 1, 32, 32))
    return result


@pytest.fixture
def training() -> Path:
    """A training's folder."""
    folder = Path("trained")
    folder.mkdir()
    save_weights(trained(), folder / "model.safetensors", ABOUT)
    told = {
        "architecture": str(SMALL),
        "class_names": list("abcdefg"),
        "recipe": {"epochs": 12, "image_size": 32, "eval_size": 40, "augmentation": "crop,flip"},
        "data": {"source": "pictures/", "fingerprint": "1a2b"},
        "provenance": {"run": "2026-11-22-small-predictor", "trial": {"number": 14, "reward": 1.1}},
    }
    (folder / "training.json").write_text(json.dumps(told))
    return folder


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of three candidates by an evaluator that trains nothing; trial 1 is the best."""
    source = (
        "from results import Measurement\n"
        "def evaluate(architecture, seed):\n"
        "    evaluate.calls += 1\n"
        "    return Measurement(accuracy=(0.5, 0.9, 0.7)[evaluate.calls - 1], step_time=1.5, params=1)\n"
        "evaluate.calls = 0\n"
    )
    (tmp_path / "mine.py").write_text(source)
    config = SearchConfig(evaluator=f"{tmp_path / 'mine.py'}:evaluate", reward="accuracy", image_size=32, seed=5)
    settings = RunSettings(budget=3)
    built, store = start(config, tmp_path / "run")
    note_start(store, settings)
    run_serial(make_session(built, store, settings), built.evaluate)
    store.close()
    return tmp_path / "run"


# ---- json


def test_json_is_a_file_that_other_commands_take() -> None:
    outcome = export("efficientnetv2-b0", "--to", "json", "--num-classes", 10)
    Path("b0.json").write_text(outcome.out)
    found = find_network("b0.json")
    assert (found.architecture, found.image_sizes) == (
        find_network("efficientnetv2-b0").architecture,
        ImageSizes(192, 224),
    )
    assert (found.num_classes, found.in_channels) == (10, 3)
    told = json.loads(outcome.out)
    assert told["params"] == cost(found.architecture, 224, num_classes=10).params
    assert (
        Architecture.from_json({k: told[k] for k in ("stem_channels", "stages", "head_channels")}) == found.architecture
    )


def test_json_of_a_training_has_its_classes_and_sizes(training: Path) -> None:
    assert export(training, "--to", "json", "-o", "net.json").err == "wrote net.json\n"
    found = find_network("net.json")
    assert (found.architecture, found.image_sizes) == (SMALL, ImageSizes(32, 40))
    assert (found.num_classes, found.in_channels) == (7, 1)


# ---- weights


def test_a_trainings_best_weights_are_exported(training: Path) -> None:
    assert export(training, "--to", "safetensors", "-o", "net.safetensors").code == 0
    assert torch.equal(logits(saved_network(Path("net.safetensors"))), logits(trained()))
    again = export("net.safetensors", "--to", "safetensors", "-o", "again.safetensors")
    assert again.err == "wrote again.safetensors\n"
    assert torch.equal(logits(saved_network(Path("again.safetensors"))), logits(trained()))
    assert read_header(Path("again.safetensors")).about == ABOUT


def test_other_weights_of_a_training(training: Path) -> None:
    save_weights(trained(12), Path("other.safetensors"))
    export(training, "--to", "safetensors", "-o", "net.safetensors", "--weights", "other.safetensors")
    assert torch.equal(logits(saved_network(Path("net.safetensors"))), logits(trained(12)))


def test_for_timm(training: Path) -> None:
    outcome = export(training, "--to", "timm", "-o", "net.safetensors")
    assert outcome.err == "wrote net.safetensors, and net.json with timm's block strings\n"
    said = json.loads(Path("net.json").read_text())
    assert said["arch_def"] == [["er_r2_k3_s2_e4_c16"], ["ir_r2_k3_s2_e4_c24_se0.25"]]
    assert (said["pad_type"], said["num_classes"], said["in_chans"]) == ("same", 7, 1)
    assert torch.equal(load_file("net.safetensors")["conv_stem.weight"], trained().stem.conv.weight)


def test_as_onnx(training: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="it comes with training-aware-nas[export]")
    pytest.importorskip("onnxscript", reason="it comes with training-aware-nas[export]")
    outcome = export(training, "--to", "onnx", "-o", "net.onnx")
    assert outcome.err.startswith("wrote net.onnx for 40 px; its logits in onnxruntime are within ")
    session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[1:] == [1, 40, 40]
    assert session.get_modelmeta().custom_metadata_map == {"architecture": str(SMALL), **ABOUT}


def test_weights_of_other_software_for_a_network_by_its_text() -> None:
    names = timm_names(SMALL)
    tensors = {renamed(key, names): tensor for key, tensor in trained().state_dict().items()}
    save_file(tensors, "theirs.safetensors")
    arguments = (SMALL, "--weights", "theirs.safetensors", "--to", "safetensors", "-o", "net.safetensors")
    assert "name the file after the network" in error(*arguments)
    assert export(*arguments, "--origin", "tf_efficientnetv2_s").code == 0
    found = saved_network(Path("net.safetensors"))
    assert (found.settings.padding, found.settings.bn_eps) == ("same", 1e-3)
    assert (found.classifier.out_features, found.stem.conv.in_channels) == (7, 1)  # as the file has them
    assert torch.equal(found.stem.conv.weight, trained().stem.conv.weight)


def test_fresh_weights_follow_the_seed_and_are_told_of() -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        outcome = export(SMALL, "--to", "safetensors", "-o", f"{name}.safetensors", "--seed", seed)
        assert outcome.err.startswith(f"no weights are given: those written are fresh, drawn with seed {seed}\n")
    a, b, c = (load_file(f"{name}.safetensors") for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(a["stem.conv.weight"], c["stem.conv.weight"])


def test_a_runs_trial(run_folder: Path) -> None:
    export(run_folder, "--trial", 2, "--to", "safetensors", "-o", "net.safetensors")
    assert saved_network(Path("net.safetensors")).architecture == find_network(str(run_folder), 2).architecture


# ---- cards


def test_the_card_of_a_training(training: Path) -> None:
    text = export(training, "--to", "card").out
    assert text.startswith("---\nlibrary_name: training-aware-nas\n")
    for line in (
        "# trained",
        f"| architecture | `{SMALL}` |",
        "| classes | 7 |",
        "| evaluated on, px | 40 |",
        "| mean of the pictures, whose values are 0 to 1 | [0.5] |",
        "| accuracy on the minival | 0.875 |",
        "| recipe.epochs | 12 |",
        "| recipe.augmentation | crop,flip |",
        "| data.fingerprint | 1a2b |",
        "| run | 2026-11-22-small-predictor |",
        "| trial.number | 14 |",
        "| trial.reward | 1.1 |",
    ):
        assert line in text.splitlines(), line
    total = cost(SMALL, 40, num_classes=7, in_channels=1)
    assert f"{total.params:,}, {total.macs:,}, {total.activations:,}" in text
    assert "provenance" not in text


def test_the_card_of_a_runs_best_trial(run_folder: Path) -> None:
    assert export(run_folder, "--to", "card", "-o", "card.md").err == "wrote card.md\n"
    text = Path("card.md").read_text()
    for line in (
        "# run-trial1",
        "| run | run |",
        "| search.space | small |",
        "| search.controller | predictor |",
        "| search.seed | 5 |",
        "| trial.number | 1 |",
        "| measured.accuracy | 0.9 |",
        "| measured.step_time | 1.5 |",
        "| candidates | 3 |",
    ):
        assert line in text.splitlines(), line
    assert "Not trained: this is the network alone." in text
    assert "| versions.torch |" in text


def test_a_card_of_a_published_network_says_what_is_not_known() -> None:
    text = export("mnasnet-b1", "--to", "card").out
    assert "Not found by a search of this software" in text
    assert "No accuracy is recorded." in text
    rows = [line for line in text.splitlines() if line.startswith("| stage")]
    assert len(rows) == 7
    assert len({line.count(" | ") for line in rows}) == 1


def test_the_cards_tables_have_as_many_cells_in_every_row(training: Path) -> None:
    told = json.loads((training / "training.json").read_text())
    told["recipe"]["note"] = "a | b\nc"
    (training / "training.json").write_text(json.dumps(told))
    lines = export(training, "--to", "card").out.splitlines()
    assert "| recipe.note | a \\| b c |" in lines
    for before, after in itertools.pairwise(lines):
        if before.startswith("|") and after.startswith("|"):
            assert before.replace("\\|", "").count("|") == after.replace("\\|", "").count("|")


def test_provenance_of_a_trial(run_folder: Path) -> None:
    told = search_provenance(run_folder, 0)
    assert told["trial"]["number"] == 0
    assert told["measured"].items() >= {"accuracy": 0.5, "step_time": 1.5, "params": 1}.items()
    assert "latency" not in told["measured"]  # which was not measured
    assert told["search"]["space"] == SPACES["small"].name
    assert np.isclose(told["trial"]["reward"], 0.5)
    assert json.loads(json.dumps(told)) == told
    with pytest.raises(ValueError, match=r"the trial must be one of the 3 of .*run; got 8"):
        search_provenance(run_folder, 8)


# ---- what is refused


def write_training(**changes: Any) -> None:
    Path("trained/training.json").write_text(json.dumps({"architecture": str(SMALL), **changes}))


def test_a_training_without_a_checkpoint() -> None:
    Path("trained").mkdir()
    write_training()
    assert "trained has no weights yet" in error("trained", "--to", "json")
    write_training(architecture=None)
    assert "what was trained is a module of your own" in error("trained", "--to", "json")
    Path("trained/training.json").write_text("{")
    assert "training.json must be the JSON that `nas train` writes" in error("trained", "--to", "json")
    assert "--trial must go with the folder of a run" in error("trained", "--to", "json", "--trial", 1)


def test_where_to_write(training: Path) -> None:
    assert "--to onnx must be told where to write" in error(training, "--to", "onnx")
    Path("net.json").touch()
    assert "net.json is there already" in error(training, "--to", "timm", "-o", "net.safetensors")
    assert "net.json is there already" in error(training, "--to", "json", "-o", "net.json")
    assert "the folder of nowhere/net.json must exist" in error(training, "--to", "json", "-o", "nowhere/net.json")
    assert not Path("net.safetensors").exists()


def test_a_classifier_that_was_never_trained(training: Path) -> None:
    message = error(training, "--to", "safetensors", "-o", "net.safetensors", "--num-classes", 12)
    assert "has no classifier of 12 classes, and one that was never trained is not exported" in message
    assert not Path("net.safetensors").exists()


def test_weights_of_another_network(training: Path) -> None:
    message = error(
        "efficientnetv2-b0",
        "--weights",
        training / "model.safetensors",
        "--to",
        "safetensors",
        "-o",
        "a.safetensors",
    )
    assert "is of another network. The first difference: this network has stem.conv.weight of shape 32x1x3x3" in message


def test_a_file_that_does_not_name_its_network() -> None:
    save_file({"conv_stem.weight": torch.zeros(8, 3, 3, 3)}, "theirs.safetensors")
    assert "does not say which network its weights are of" in error("theirs.safetensors", "--to", "json")
    assert "there is no such file of weights" in error("mine.safetensors", "--to", "json")


def test_unknown_formats_are_told_the_known_ones() -> None:
    outcome = export("efficientnetv2-b0", "--to", "tflite")
    assert outcome.code == 2
    assert all(name in outcome.err for name in ("timm", "onnx", "safetensors", "json", "card"))
