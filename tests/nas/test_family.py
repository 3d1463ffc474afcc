"""`nas scale`: which family a command makes, its table, its files, and the errors."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nas.cli import app
from nas.family import FamilyRequest, baseline_of, explanation, off_target
from nas.networks import NamedNetwork
from nas.scaling.measured import Efficiencies, efficiencies
from nas.scaling.targets import Target
from search_spaces import PUBLISHED, ImageSizes, cost
from trainers.timing import StepTime

SMALL = "stem_c8-fused_mbconv_k3_s1_e1_c8_n1-mbconv_k3_s2_e4_c16_n2_se0.25-mbconv_k3_s2_e4_c32_n2_se0.25-head_c64"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def scale(*arguments: object) -> list[dict[str, Any]]:
    """The rows that `nas scale` prints as JSON."""
    done = CliRunner().invoke(app, ["scale", *map(str, arguments), "--format", "json"], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_family_of_v2_b0_is_the_released_one() -> None:
    baseline, *family = scale("efficientnetv2-b0")
    assert baseline["name"] == "baseline"
    assert [row["name"] for row in family] == ["s", "m", "l"]
    for row in family:
        published = PUBLISHED[f"efficientnetv2-{row['name']}"]
        assert row["architecture"] == str(published)
        assert {k: row[k] for k in ("params", "macs", "activations")} == cost(published, row["image_size"])._asdict()
    assert [(row["train_image_size"], row["image_size"]) for row in family] == [(300, 384), (384, 480), (384, 480)]
    assert any("late" in rule or "appended" in rule for rule in family[1]["rules"])


def test_v2_s_is_brought_down_and_grown_again() -> None:
    baseline, *family = scale("efficientnetv2-s", "--baseline-scale", "s", "--targets", "s,l")
    assert baseline["stages"] == "16x1 32x2 48x2 96x3 112x5 192x8"
    assert [row["params"] for row in family] == [21_458_488, 118_515_272]


def test_every_member_is_a_file_that_describe_and_scale_take() -> None:
    rows = scale("efficientnetv2-b0")
    files = sorted(Path("families/efficientnetv2-b0-nonuniform").iterdir())
    assert [f.name for f in files] == ["l.json", "m.json", "s.json"]
    for row in rows[1:]:
        path = f"families/efficientnetv2-b0-nonuniform/{row['name']}.json"
        done = CliRunner().invoke(app, ["describe", path, "--format", "json"], catch_exceptions=False)
        described = json.loads(done.stdout)
        for name in ("architecture", "image_size", "params", "macs"):
            assert described[name] == row[name]
    grown = scale(path, "--rule", "fast", "--targets", "2x")  # from L's file
    assert grown[0]["architecture"] == rows[-1]["architecture"]
    assert grown[0]["image_size"] == 480


def test_a_file_is_not_overwritten_with_another_network() -> None:
    scale("efficientnetv2-b0", "--out", "mine")
    before = Path("mine/s.json").read_text()
    scale("efficientnetv2-b0", "--out", "mine")  # the same again is no harm
    with pytest.raises(FileExistsError, match=r"mine/m\.json holds another network; choose another folder"):
        scale("efficientnet-b0", "--out", "mine", "--targets", "m,s")
    assert Path("mine/s.json").read_text() == before
    assert len(list(Path("mine").iterdir())) == 3


def test_the_uniform_rule_by_coefficients_phi_and_target() -> None:
    by_name = scale("efficientnet-b0", "--rule", "uniform", "--targets", "b1,b4")
    assert [row["architecture"] for row in by_name[1:]] == [str(PUBLISHED[f"efficientnet-{n}"]) for n in ("b1", "b4")]
    assert (
        scale("efficientnet-b0", "--rule", "uniform", "--targets", "s")[1]["architecture"] == by_name[2]["architecture"]
    )
    by_phi = scale("efficientnet-b0", "--rule", "uniform", "--phi", "0,1", "--out", "phi")
    assert [row["name"] for row in by_phi[1:]] == ["phi 0", "phi 1"]
    assert by_phi[1]["architecture"] == str(PUBLISHED["efficientnet-b0"])
    assert Path("phi/phi-0.json").exists()
    by_target = scale("efficientnet-b0", "--rule", "uniform", "--target-macs", "4x,2.08G")
    assert by_target[1]["macs"] == pytest.approx(4 * by_target[0]["macs"], rel=0.03)
    assert by_target[2]["macs"] == pytest.approx(2.08e9, rel=0.03)
    assert sorted(p.name for p in Path("families/efficientnet-b0-uniform").iterdir()) == [
        "b1.json", "b4.json", "macs-2.08G.json", "macs-4x.json", "s.json",
    ]  # fmt: skip
    other = scale("efficientnet-b0", "--rule", "uniform", "--phi", "1", "--bases", "1.0,1.4,1.0", "--out", "wide")
    assert other[1]["image_size"] == 224
    assert other[1]["stages"].split()[1] == "32x2"


def test_the_guard_may_be_left_out_as_v2_does() -> None:
    rows = scale("efficientnetv2-b0", "--rule", "uniform", "--targets", "b3", "--no-guard")
    assert rows[1]["architecture"] == str(PUBLISHED["efficientnetv2-b3"])
    guarded = scale("efficientnetv2-b0", "--rule", "uniform", "--targets", "b3", "--out", "guarded")
    assert guarded[1]["stages"].startswith("24x2 ")


def test_the_fast_rule_by_growth_and_strategy() -> None:
    rows = scale("efficientnet-b0", "--rule", "fast", "--targets", "11x,47.9x")
    assert [row["image_size"] for row in rows[1:]] == [252, 272]
    wide = scale("efficientnet-b0", "--rule", "fast", "--targets", "4x", "--strategy", "w", "--out", "w")[1]
    assert (wide["image_size"], wide["stages"].split()[0]) == (224, "32x1")


def test_the_measured_rule_with_a_closed_form_target() -> None:
    rows = scale("efficientnetv2-b0", "--rule", "measured", "--target-params", "3x")
    assert rows[1]["params"] == pytest.approx(3 * rows[0]["params"], rel=0.03)
    assert len(rows[1]["rules"]) >= 6


def test_step_times_are_measured_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[tuple[str, int]] = []

    class Timer:
        device = "cpu"

        def __init__(self, anchor: object, image_size: int, recipe: object, **options: object) -> None:
            self.base = cost(anchor, image_size).macs  # type: ignore[arg-type]

        def __call__(self, architecture: Any, image_size: int) -> StepTime:
            timed.append((str(architecture), image_size))
            ratio = (cost(architecture, image_size).macs / self.base) ** 0.8
            return StepTime(ratio, 0.9 * ratio, 1.1 * ratio, 0.1 * ratio, 0.1)

        def peak_memory_bytes(self, architecture: Any, image_size: int) -> int:
            return 100 * cost(architecture, image_size).activations

    monkeypatch.setattr("trainers.step_timer.StepTimer", Timer)
    rows = scale("efficientnetv2-b0", "--step-time", "--targets", "s")
    assert rows[1]["step_time"] == pytest.approx((rows[1]["macs"] / rows[0]["macs"]) ** 0.8)
    assert rows[1]["step_time_s"] == pytest.approx(0.1 * rows[1]["step_time"])
    assert "step_time" not in scale("efficientnetv2-b0", "--targets", "s", "--out", "other")[1]
    for rule, target in (("measured", "--targets"), ("measured", "--target-step-time"), ("fast", "--target-step-time")):
        member = scale("efficientnetv2-b0", "--rule", rule, target, "2x", "--out", f"{rule}{target}")[1]
        assert member["step_time"] == pytest.approx(2, rel=0.03)
    seconds = scale("efficientnetv2-b0", "--rule", "measured", "--target-step-time", "200ms", "--out", "ms")[1]
    assert seconds["name"] == "step_time 200ms"
    assert seconds["step_time_s"] == pytest.approx(0.2, rel=0.03)
    with pytest.raises(FileExistsError, match=r"ms/step-time-200ms\.json is there already; choose another folder"):
        scale("efficientnetv2-b0", "--rule", "measured", "--target-step-time", "200ms", "--out", "ms")
    memory = scale("efficientnetv2-b0", "--rule", "measured", "--target-peak-memory", "2x")[1]
    assert memory["activations"] == pytest.approx(2 * rows[0]["activations"], rel=0.03)
    with pytest.raises(ValueError, match=r"step_time 1\.05x is .*ms, and the nearest it reaches is "):
        scale("efficientnetv2-b0", "--target-step-time", "1.05x")


def test_a_member_that_misses_its_step_time_when_measured_again_is_said() -> None:
    row = {"name": "step_time 2x", "step_time": 2.1, "step_time_low": 2.0, "step_time_high": 2.2, "step_time_s": 0.21}
    relative = FamilyRequest(rule="measured", members=("2x",))
    assert off_target([row], relative) == [
        "step_time 2x: measured once more it is 2.100x (2.000 to 2.200); a quieter machine or a larger --batch-size "
        "would steady it"
    ]
    assert off_target([row | {"step_time": 2.05}], relative) == []
    absolute = FamilyRequest(rule="fast", targets=(Target("step_time", 0.2, False), Target("params", 2.0, True)))
    assert len(off_target([row | {"name": "step_time 200ms"}], absolute)) == 1
    assert off_target([row | {"name": "step_time 200ms", "step_time_s": 0.205}], absolute) == []


def test_a_step_time_of_a_small_network_is_really_measured() -> None:
    rows = scale(SMALL, "--rule", "fast", "--targets", "2x", "--image-size", 16, "--batch-size", 4, "--step-time")
    assert rows[1]["step_time"] > 0
    assert rows[1]["step_time_low"] <= rows[1]["step_time"] <= rows[1]["step_time_high"]
    assert rows[0]["step_time"] == 1.0
    (folder,) = Path("families").glob("network-*-fast")
    assert (folder / "2x.json").exists()
    # the same network, timed otherwise, is no other network
    scale(SMALL, "--rule", "fast", "--targets", "2x", "--image-size", 16, "--batch-size", 4, "--step-time")


def test_explain_shows_where_the_uniform_rule_differs() -> None:
    rows = {row["entry"]: row for row in explanation(PUBLISHED["efficientnetv2-b0"])}
    differing = {(entry, name): row[name] for entry, row in rows.items() for name in "sml" if "->" in row[name]}
    assert differing == {
        ("stem", "s"): "48 -> 24",
        ("stem", "m"): "48 -> 24",
        ("stem", "l"): "64 -> 32",
        ("stage 4 channels", "s"): "136 -> 128",
        ("stage 4 channels", "m"): "152 -> 160",
        ("stage 5 layers", "m"): "11 -> 14",
        ("stage 5 layers", "l"): "16 -> 19",
        ("stage 6 channels", "s"): "272 -> 256",
        ("stage 7 channels", "m"): "none -> 512",
        ("stage 7 channels", "l"): "none -> 640",
        ("stage 7 layers", "m"): "none -> 5",
        ("stage 7 layers", "l"): "none -> 7",
        ("head", "s"): "1792 -> 1280",
        ("head", "m"): "2048 -> 1280",
        ("head", "l"): "2560 -> 1280",
    }
    assert len(rows) == 16
    assert scale("efficientnetv2-b0", "--explain")[1] == {"entry": "stage 1 channels", "s": "24", "m": "24", "l": "32"}
    assert not Path("families").exists()


def test_a_table_and_csv() -> None:
    done = CliRunner().invoke(app, ["scale", "efficientnetv2-b0"])
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["name", "image_size", "train_image_size", "params", "macs", "activations", "stages"]
    assert rows[1].split()[:4] == ["s", "384", "300", "21,458,488"]
    assert "one layer more in stage 5" in done.stderr
    assert "wrote families/efficientnetv2-b0-nonuniform/l.json" in done.stderr
    done = CliRunner().invoke(app, ["scale", "efficientnetv2-b0", "--format", "csv"])
    assert [row["name"] for row in csv.DictReader(io.StringIO(done.stdout))] == ["baseline", "s", "m", "l"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rule", "compound"], "rule must be one of nonuniform, uniform, fast, measured; got 'compound'"),
        (["--targets", "xl"], "must be one of s, m, l; got 'xl'"),
        (["--rule", "uniform"], "the uniform rule needs to be told how large: targets s, m, l or b0 to b7, phi"),
        (["--rule", "fast"], "the fast rule needs to be told how large: targets such as 4x"),
        (["--rule", "measured"], "the measured rule needs to be told how large: targets such as 2x"),
        (["--rule", "fast", "--targets", "s"], "a growth in macs such as 4x; got 's'"),
        (["--rule", "fast", "--targets", "2x", "--strategy", "dwR"], "strategy must be one of d, w, r, "),
        (["--rule", "measured", "--targets", "s"], "a target of step_time must be a positive number like 2x"),
        (["--phi", "1"], "phi belongs to the uniform rule; the nonuniform rule takes targets s, m, l"),
        (["--rule", "uniform", "--phi", "one"], "phi must be numbers with commas between them; got 'one'"),
        (["--rule", "uniform", "--phi", "-1"], "phi must be a number from 0 to 32; got -1.0"),
        (["--rule", "uniform", "--phi", "9000"], "phi must be a number from 0 to 32; got 9000.0"),
        (["--rule", "uniform", "--phi", "nan"], "phi must be a number from 0 to 32; got nan"),
        (["--rule", "uniform", "--phi", "1", "--bases", "1,2"], "bases must be three numbers, alpha,beta,gamma"),
        (["--rule", "uniform", "--phi", "1", "--bases", "0.5,1,1"], "alpha must be a number from 1 to 4; got 0.5"),
        (["--rule", "uniform", "--phi", "1", "--bases", "1,inf,1"], "beta must be a number from 1 to 4; got inf"),
        (["--rule", "uniform", "--phi", "1", "--bases", "1,1,nan"], "gamma must be a number from 1 to 4; got nan"),
        (["--bases", "1.2,1.1,1.15"], "bases belongs to the uniform rule; the nonuniform rule takes"),
        (["--no-guard"], "guard belongs to the uniform rule; the nonuniform rule takes"),
        (["--rule", "uniform", "--targets", "b1", "--strategy", "w"], "strategy belongs to the fast rule"),
        (["--rule", "fast", "--targets", f"1{'0' * 400}x"], "s must be a finite number over 0 and at most"),
        (["--rule", "measured", "--target-macs", "1e9x"], "and the nearest it reaches is"),
        (["--rule", "measured", "--target-macs", "0.5x"], "and the nearest it reaches is 718.1M"),
        (["--target-params", "30M"], "params 30M is 30M, and the nearest it reaches is 21.46M and 54.14M"),
        (["--rule", "fast", "--target-params", "1M"], "params 1M is 1M, and the nearest it reaches is 7.14M"),
        (["--target-macs", "4"], "the nearest it reaches is 8.366G"),
        (["--target-macs", "4ms"], "a target of macs must be a positive number like 2x, 20, 20K"),
        (["--baseline-scale", "m"], "baseline scale must be base or s; got 'm'"),
        (["--trial", "3"], "--trial must go with the folder of a run"),
    ],
)
def test_what_cannot_be_made_is_one_clear_error(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        scale("efficientnetv2-b0", *arguments)
    assert not Path("families").exists()


def test_an_out_that_is_a_file_is_an_error() -> None:
    Path("taken").write_text("mine")
    with pytest.raises(OSError, match="taken"):
        scale("efficientnetv2-b0", "--out", "taken")
    assert Path("taken").read_text() == "mine"


def test_which_baseline_a_network_gives() -> None:
    s, b0 = PUBLISHED["efficientnetv2-s"], PUBLISHED["efficientnetv2-b0"]
    found = NamedNetwork("run-trial3", s, ImageSizes(128, 128), "efficientnetv2-s")
    base, size, line = baseline_of(found, None, None)
    assert (base.stages, size) == (b0.stages, 224)
    assert "brought down" in line
    assert baseline_of(found, "base", None)[:2] == (s, 128)
    assert baseline_of(found, None, 96)[1] == 96
    small = NamedNetwork("run-trial3", b0, ImageSizes(32, 32), "small")
    assert baseline_of(small, None, None)[:2] == (b0, 32)
    assert baseline_of(NamedNetwork("network", b0), None, None)[:2] == (b0, 224)


def test_a_request_from_python() -> None:
    assert FamilyRequest().members == ("s", "m", "l")
    assert FamilyRequest(targets=(Target("params", 2.0, True),)).members == ()


@pytest.mark.parametrize("option", ["--target-step-time", "--target-peak-memory"])
def test_a_step_that_does_not_fit_the_memory_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes.")

    monkeypatch.setattr("trainers.step_timer.time_steps", full)
    monkeypatch.setattr("trainers.step_timer.peak_memory_bytes", full)
    with pytest.raises(ValueError, match=r"must fit into the device's memory; at 16 px and a batch of 2 it does not"):
        scale(SMALL, "--rule", "fast", option, "2x", "--image-size", 16, "--batch-size", 2)


def test_another_error_of_a_step_is_not_taken_for_full_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("trainers.step_timer.time_steps", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        scale(SMALL, "--rule", "fast", "--target-step-time", "2x", "--image-size", 16, "--batch-size", 2)


def test_a_member_is_written_before_the_next_is_made() -> None:
    with pytest.raises(ValueError, match="params 1M is 1M, and the nearest"):
        scale("efficientnetv2-b0", "--rule", "fast", "--targets", "2x", "--target-params", "1M")
    assert Path("families/efficientnetv2-b0-fast/2x.json").exists()


def test_members_that_would_share_a_file_are_an_error_and_near_ones_do_not() -> None:
    rows = scale("efficientnetv2-b0", "--rule", "uniform", "--phi", "1.2345678,1.2345681")
    assert len({row["name"] for row in rows}) == 3
    assert len(list(Path("families/efficientnetv2-b0-uniform").iterdir())) == 2
    targets = [Target.parse("params", text) for text in ("20.001M", "20.004M")]
    assert [str(target) for target in targets] == ["params 20.001M", "params 20.004M"]


def test_letters_of_members_may_be_large() -> None:
    assert scale("efficientnetv2-b0", "--targets", "S")[1]["architecture"] == str(PUBLISHED["efficientnetv2-s"])


def test_a_members_file_keeps_its_classes_and_channels() -> None:
    rows = scale("efficientnetv2-b0", "--targets", "s", "--num-classes", 10, "--in-channels", 1)
    path = "families/efficientnetv2-b0-nonuniform/s.json"
    done = CliRunner().invoke(app, ["describe", path, "--format", "json"], catch_exceptions=False)
    described = json.loads(done.stdout)
    assert (described["num_classes"], described["in_channels"]) == (10, 1)
    assert described["params"] == rows[1]["params"]
    done = CliRunner().invoke(app, ["describe", path, "--num-classes", "7", "--format", "json"])
    assert json.loads(done.stdout)["num_classes"] == 7


def test_a_folder_that_cannot_be_written_to_is_said_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nas.prices.Prices.step_time", lambda *_: pytest.fail("measured"))
    Path("taken").write_text("mine")
    with pytest.raises(OSError, match="taken"):
        scale(SMALL, "--rule", "measured", "--targets", "2x", "--out", "taken/family")


def test_a_full_disk_leaves_no_half_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=r"No space left on device.*s\.json"):
        scale("efficientnetv2-b0", "--out", "mine")
    assert list(Path("mine").iterdir()) == []


def test_one_target_after_another_tries_each_way_to_grow_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(base: object, image_size: int, price: object) -> Efficiencies:
        asked.append(image_size)
        return efficiencies(base, image_size, price)  # type: ignore[arg-type]

    monkeypatch.setattr("nas.family.efficiencies", counted)
    scale("efficientnetv2-b0", "--rule", "measured", "--target-macs", "2x,3x", "--target-params", "2x")
    assert len(asked) == 2
