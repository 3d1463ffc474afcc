"""`nas describe`: shares of the step time, the diagram, the nearest published network, what a run measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from nas_command import error, nas

from nas.description import expected_shares, known_shares, measured_shares, read_calibration
from results.store import TrialStore
from results.trial import Measurement, Trial
from search_spaces import PUBLISHED, SPACES, part_costs
from trainers.calibration import keep
from trainers.expected import Calibration, Timed, blocks_of

SPACE = SPACES["small"]
SHAPE = {"num_classes": 10, "in_channels": 1}
NETWORK = ["--image-size", 32, "--num-classes", 10, "--in-channels", 1]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """Of the backbone: its blocks take 1, 2, 3, ... hundredths of the anchor's step."""
    import torch

    from trainers.devices import device_name, torch_device

    about = {
        "space": "small",
        "anchor": str(SPACE.backbone),
        "image_size": 32,
        "batch_size": 64,
        "device": device_name(torch_device("auto")),
        "torch": torch.__version__,
    }
    times = {block: n / 100 for n, block in enumerate(dict.fromkeys(blocks_of(SPACE.backbone, 32, **SHAPE)), 1)}
    return Calibration(about, 0.5, {block: Timed(t, t, t, 1) for block, t in times.items()}, (0.02, 0.1), 1.0)


@pytest.fixture
def run_folder(tmp_path: Path, calibration: Calibration) -> Path:
    """A run of the backbone, which knows its calibration, and of a network that failed."""
    configuration = {
        "space": SPACE.to_json(),
        "columns": {"image_size": 32},
        "identity": {"task": {**SHAPE, "recipe": {"batch_size": 16}}},
        "calibration": calibration.to_json(),
    }
    store = TrialStore.create(tmp_path / "run", configuration)
    for number, genotype in enumerate([SPACE.encode(SPACE.backbone), SPACE.genotype_at(5)]):
        trial = Trial(number=number, genotype=genotype, architecture=str(SPACE.decode(genotype)), seed=1)
        store.asked(trial)
        if number == 0:
            low, high = 0.9, 1.1
            store.measured(0, Measurement(accuracy=0.75, step_time=1.0, step_time_low=low, step_time_high=high))
            store.told(replace(trial, state="complete", reward=0.74))
        else:
            store.told(replace(trial, state="failed", failure="error", reason="KeyError: [/b]"))
    store.close()
    return tmp_path / "run"


def data(*arguments: object) -> dict[str, object]:
    outcome = nas("describe", *arguments, "--format", "json")
    assert outcome.code == 0, outcome.err
    return dict(json.loads(outcome.out))


def shares_of(found: dict[str, object]) -> dict[str, float]:
    stages = {row["part"]: row["step_time_share"] for row in found["stages"]}
    return stages | {name: found[name]["step_time_share"] for name in ("stem", "head", "classifier")}


def test_a_run_tells_the_shares_by_its_own_calibration(run_folder: Path, calibration: Calibration) -> None:
    found = data(run_folder)
    ratios = calibration.by_part(SPACE.backbone, **SHAPE)
    total = sum(ratios.values())
    told = shares_of(found) | {"optimizer": found["step_time"]["by_part"]["optimizer"]}
    assert told == pytest.approx({part: ratio / total for part, ratio in ratios.items()})
    assert sum(told.values()) == pytest.approx(1)
    assert found["step_time"]["step_s"] == pytest.approx(0.5 * calibration(SPACE.backbone, **SHAPE))
    assert found["step_time"]["source"].startswith("expected by the run's calibration: space small, batches of 64, ")
    assert "judged" not in found["step_time"]["source"]


def test_a_file_tells_the_shares_of_any_network_at_its_size(calibration: Calibration, tmp_path: Path) -> None:
    (tmp_path / "cal.json").write_text(json.dumps({**calibration.to_json(), "checked": []}))
    found = data("efficientnetv2-b0", *NETWORK, "--calibration", "cal.json")
    assert sum(shares_of(found).values()) + found["step_time"]["by_part"]["optimizer"] == pytest.approx(1)
    assert "of the blocks were not timed and are judged by others" in found["step_time"]["source"]
    said = error("describe", "efficientnetv2-b0", "--calibration", "cal.json")
    assert "a calibration must be of the pictures' size, 224 px; cal.json is of 32 px: describe the network" in said


@pytest.mark.parametrize("content", ["", "[]", '{"version": 9}', '{"version": 1, "about": {}}'])
def test_a_file_that_is_no_calibration_is_named(content: str) -> None:
    Path("cal.json").write_text(content)
    said = error("describe", "efficientnetv2-b0", "--calibration", "cal.json")
    assert said.startswith("error: cal.json must hold what `nas calibrate --export FILE.json` writes: ")


def test_a_calibration_in_the_cache_is_used_where_it_fits(calibration: Calibration) -> None:
    backbone = str(SPACE.backbone)
    assert data(backbone, *NETWORK)["step_time"] is None
    keep(calibration)
    assert data(backbone, *NETWORK)["step_time"]["source"].startswith("expected by the calibration of this device")
    assert data(backbone)["step_time"] is None  # another size
    assert data("efficientnet-b7", *NETWORK)["step_time"] is None  # next to none of its blocks were timed
    about = {**calibration.about, "device": "another"}
    keep(calibration).unlink()
    keep(replace(calibration, about=about))
    assert data(backbone, *NETWORK)["step_time"] is None
    (Path("cache") / "calibrations" / "torn.json").write_text('{"version": 1')
    assert data(backbone, *NETWORK)["step_time"] is None


def test_the_one_that_timed_most_is_taken(calibration: Calibration) -> None:
    some = dict(list(calibration.blocks.items())[:-3])
    keep(replace(calibration, blocks=some, about={**calibration.about, "batch_size": 8}))
    keep(calibration)
    found = known_shares(SPACE.backbone, 32, SHAPE, None)
    assert found is not None
    assert "batches of 64" in found.source


def test_a_runs_calibration_is_of_no_use_at_another_size(run_folder: Path) -> None:
    assert data(run_folder, "--image-size", 64)["step_time"] is None
    outcome = nas("describe", run_folder, "--image-size", 64)
    assert "step_time_share" not in outcome.out
    assert "no calibration of this device at 64 px: --step-time measures the parts' shares" in outcome.err


def test_measured_shares(run_folder: Path) -> None:
    found = data(run_folder, "--step-time", "--device", "cpu")
    assert found["step_time"]["source"].startswith("measured: batches of 16, ")  # as the run's
    shares = shares_of(found)
    assert all(share > 0 for share in shares.values())
    assert sum(shares.values()) + found["step_time"]["by_part"]["optimizer"] == pytest.approx(1)
    assert 0 < found["step_time"]["step_s"] < 5
    asked = measured_shares(SPACE.backbone, 16, SHAPE, batch_size=4, device="cpu")
    assert "batches of 4, " in asked.source
    assert "got both" in error("describe", run_folder, "--step-time", "--calibration", "x.json")


def test_a_device_that_is_too_small_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr("trainers.block_times.typical_times", full)
    said = error("describe", "efficientnetv2-b0", "--step-time", "--batch-size", 512)
    assert "a training step must fit into the device's memory; at 224 px and a batch of 512 it does not" in said


def test_the_nearest_published_network_and_what_differs() -> None:
    b0 = PUBLISHED["efficientnetv2-b0"]
    changed = replace(b0, stages=(replace(b0.stages[0], kernel=5), *b0.stages[1:]))
    found = data(changed)["nearest"]
    assert found == {"name": "efficientnetv2-b0", "distance": 1 / 7, "differences": ["stage 1: kernel 5 (3)"]}
    said = nas("describe", changed).out
    assert (
        "nearest published network: efficientnetv2-b0, 0.1 layers away. What differs, in brackets what that has:"
        in said
    )
    assert "  stage 1: kernel 5 (3)" in said.splitlines()
    few = "stem_c8-mbconv_k3_s2_e4_c16_n1-head_c32"
    assert "no published network is near; the nearest is " in nas("describe", few).out
    assert "a distance is of layers that would have to be made anew" in nas("describe", few).err
    assert "this is efficientnetv2-b0, as published" in nas("describe", b0).out


def test_the_diagram_is_of_the_shape_that_was_asked_for() -> None:
    lines = nas("describe", SPACE.backbone, *NETWORK).out.splitlines()
    assert any("picture, 1 channel" in line and line.strip().startswith("32 px") for line in lines)
    assert sum("Fused-MBConv 3x3" in line for line in lines) == 3


def test_what_was_measured_of_a_trial(run_folder: Path) -> None:
    facts = data(run_folder)["trial"]
    assert (facts["number"], facts["accuracy"], facts["rank"], facts["ranked"]) == (0, 0.75, 1, 1)
    out = nas("describe", run_folder).out
    assert "  step_time           1 (0.9 to 1.1)" in out.splitlines()
    assert "  rank                1 of 1, by reward" in out.splitlines()
    failed = nas("describe", run_folder, "--trial", 1)
    assert "  reason              KeyError: [/b]" in failed.out.splitlines()
    assert "accuracy" not in failed.out
    assert data(run_folder, "--trial", 1)["trial"]["failure"] == "error"
    assert data("efficientnetv2-b0")["trial"] is None


def test_the_table_has_the_optimizer_and_the_total(run_folder: Path) -> None:
    head, *rows = nas("describe", run_folder).out.partition("\n\n")[0].splitlines()
    assert head.split()[-2:] == ["output_size", "step_time_share"]
    names = [part.name for part in part_costs(SPACE.backbone, 32)]
    assert [row.split()[0] for row in rows] == [*names, "optimizer", "total"]
    csv = nas("describe", run_folder, "--format", "csv").out.splitlines()
    assert csv[0].endswith(",output_size,step_time_share")
    assert "group_width" not in head.split(), "no stage of this network has any"
    assert ",se_ratio,group_width," in csv[0]
    assert " 0.25 " in nas("describe", "efficientnetv2-b0").out
    assert len(csv) == 1 + len(names)


def test_shares_are_of_the_calibration_they_are_told_by(calibration: Calibration, tmp_path: Path) -> None:
    (tmp_path / "cal.json").write_text(json.dumps(calibration.to_json()))
    again = read_calibration(tmp_path / "cal.json")
    assert again == calibration
    told = expected_shares(SPACE.backbone, 32, SHAPE, again, "cal.json")
    assert told == expected_shares(SPACE.backbone, 32, SHAPE, calibration, "cal.json")
