"""Networks for other software: timm's block strings and names, ONNX in onnxruntime, and what neither can build."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from search_spaces import PUBLISHED, Architecture
from trainers.blocks import NetworkSettings
from trainers.export import export_onnx, export_timm, fresh_network, timm_blocks, timm_definition
from trainers.network import Network, build_network, published_settings
from trainers.weights import load_weights

# The arch_defs in timm 1.0.31's models/efficientnet.py.
TIMM_BLOCKS: dict[str, list[str]] = {
    "efficientnetv2-b0": [
        "cn_r1_k3_s1_e1_c16_skip",
        "er_r2_k3_s2_e4_c32",
        "er_r2_k3_s2_e4_c48",
        "ir_r3_k3_s2_e4_c96_se0.25",
        "ir_r5_k3_s1_e6_c112_se0.25",
        "ir_r8_k3_s2_e6_c192_se0.25",
    ],
    "efficientnetv2-s": [
        "cn_r2_k3_s1_e1_c24_skip",
        "er_r4_k3_s2_e4_c48",
        "er_r4_k3_s2_e4_c64",
        "ir_r6_k3_s2_e4_c128_se0.25",
        "ir_r9_k3_s1_e6_c160_se0.25",
        "ir_r15_k3_s2_e6_c256_se0.25",
    ],
    "efficientnetv2-m": [
        "cn_r3_k3_s1_e1_c24_skip",
        "er_r5_k3_s2_e4_c48",
        "er_r5_k3_s2_e4_c80",
        "ir_r7_k3_s2_e4_c160_se0.25",
        "ir_r14_k3_s1_e6_c176_se0.25",
        "ir_r18_k3_s2_e6_c304_se0.25",
        "ir_r5_k3_s1_e6_c512_se0.25",
    ],
    "efficientnetv2-l": [
        "cn_r4_k3_s1_e1_c32_skip",
        "er_r7_k3_s2_e4_c64",
        "er_r7_k3_s2_e4_c96",
        "ir_r10_k3_s2_e4_c192_se0.25",
        "ir_r19_k3_s1_e6_c224_se0.25",
        "ir_r25_k3_s2_e6_c384_se0.25",
        "ir_r7_k3_s1_e6_c640_se0.25",
    ],
    "efficientnet-b0": [
        "ds_r1_k3_s1_e1_c16_se0.25",
        "ir_r2_k3_s2_e6_c24_se0.25",
        "ir_r2_k5_s2_e6_c40_se0.25",
        "ir_r3_k3_s2_e6_c80_se0.25",
        "ir_r3_k5_s1_e6_c112_se0.25",
        "ir_r4_k5_s2_e6_c192_se0.25",
        "ir_r1_k3_s1_e6_c320_se0.25",
    ],
    "mnasnet-b1": [
        "ds_r1_k3_s1_e1_c16",
        "ir_r3_k3_s2_e3_c24",
        "ir_r3_k5_s2_e3_c40",
        "ir_r3_k5_s2_e6_c80",
        "ir_r2_k3_s1_e6_c96",
        "ir_r4_k5_s2_e6_c192",
        "ir_r1_k3_s1_e6_c320",
    ],
}

SMALL = Architecture.parse(
    "stem_c8-fused_mbconv_k3_s1_e1_c8_n2-fused_mbconv_k3_s2_e4_c16_n2_se0.25"
    "-mbconv_k5_s2_e4_c24_n2_se0.25-mbconv_k3_s1_e1_c24_n1-head_c32"
)
ODD = Architecture.parse("stem_c8-mbconv_k3_s2_e4_c24_n3_se0.23-mbconv_k3_s2_e4_c24_n1_se0.02-head_c0")
"""Squeeze widths that timm would round otherwise, and no head."""

HERE = "cannot be imported here"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def randomised(architecture: Architecture, num_classes: int = 10, in_channels: int = 3, **options: Any) -> Network:
    generator = torch.Generator().manual_seed(1)
    network = build_network(
        architecture, num_classes, in_channels, settings=NetworkSettings(**options), generator=generator
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.weight, 0.5), (module.running_var, 0.5), (module.bias, -0.5)):
                nn.init.uniform_(tensor, low, low + 1, generator=generator)
        elif isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.uniform_(module.bias, -0.5, 0.5, generator=generator)
    return network.eval()


def logits(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = network(images)
    return result


# ---- timm


@pytest.mark.parametrize("name", TIMM_BLOCKS)
def test_block_strings_are_timms_own(name: str) -> None:
    assert timm_blocks(PUBLISHED[name]) == [[text] for text in TIMM_BLOCKS[name]]


def test_squeeze_widths_that_timm_would_round_otherwise() -> None:
    assert timm_blocks(ODD) == [
        # 8 * .23 is 1.84 and we squeeze to 1, 24 * .23 is 5.52 and we squeeze to 5; timm would to 2 and 6
        ["ir_r1_k3_s2_e4_c24_se0.125", "ir_r2_k3_s1_e4_c24_se0.208333333333"],
        ["ir_r1_k3_s2_e4_c24_se0.0416666666667"],  # 24 * .02 is .48: we squeeze to 1, timm would to none
    ]


def test_the_definition_holds_what_timm_is_to_be_told() -> None:
    network = randomised(SMALL, 7, 1, padding="same", activation="relu", bn_eps=1e-5, bn_momentum=0.01)
    assert timm_definition(network) == {
        "arch_def": timm_blocks(SMALL),
        "num_classes": 7,
        "num_features": 32,
        "in_chans": 1,
        "stem_size": 8,
        "output_stride": 32,
        "pad_type": "same",
        "act_layer": "relu",
        "bn_eps": 1e-5,
        "bn_momentum": 0.01,
    }
    strided = Architecture.parse("stem_c8" + "-mbconv_k3_s2_e4_c16_n1" * 6 + "-head_c0")
    assert timm_definition(randomised(strided))["output_stride"] == 128


@pytest.mark.parametrize("options", [{}, {"padding": "same", "bn_eps": 1e-5}], ids=str)
def test_what_is_written_for_timm_loads_again(options: dict[str, Any], tmp_path: Path) -> None:
    network = randomised(SMALL, **options)
    beside = export_timm(network, tmp_path / "net.safetensors", {"mean": "[0.5]"})
    assert beside == tmp_path / "net.json"
    assert json.loads(beside.read_text()) == timm_definition(network)
    with safe_open(tmp_path / "net.safetensors", "pt") as file:
        assert file.metadata()["mean"] == "[0.5]"
    again = build_network(SMALL, 10).eval()
    loaded = load_weights(again, tmp_path / "net.safetensors")  # nothing in the file's name tells the padding
    assert (loaded.kind, loaded.reset) == ("timm", ())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(logits(again, images), logits(network, images))


@pytest.mark.parametrize(
    "architecture",
    [SMALL, ODD, PUBLISHED["mnasnet-a1"], Architecture.parse("stem_c8" + "-mbconv_k3_s2_e4_c16_n1" * 6 + "-head_c0")],
    ids=["small", "odd", "mnasnet", "strided"],
)
@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_where_timm_is_installed_it_computes_the_same(architecture: Architecture, padding: str, tmp_path: Path) -> None:
    try:
        builder = importlib.import_module("timm.models._efficientnet_builder")
        efficientnet = importlib.import_module("timm.models.efficientnet")
        layers = importlib.import_module("timm.layers")
    except (ImportError, RuntimeError) as error:  # torchvision beside a torch of another build says RuntimeError
        pytest.skip(f"timm {HERE}: {error}")
    network = randomised(architecture, padding=padding, bn_eps=1e-4, activation="relu")
    export_timm(network, tmp_path / "net.safetensors")
    said = json.loads((tmp_path / "net.json").read_text())
    norm_layer = partial(nn.BatchNorm2d, eps=said.pop("bn_eps"), momentum=said.pop("bn_momentum"))
    theirs = efficientnet.EfficientNet(
        builder.decode_arch_def(said.pop("arch_def")),
        norm_layer=norm_layer,
        act_layer=layers.get_act_layer(said.pop("act_layer")),
        round_chs_fn=partial(builder.round_channels, multiplier=0),
        **said,
    )
    theirs.load_state_dict(load_file(tmp_path / "net.safetensors"))
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(logits(theirs.eval(), images), logits(network, images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stem_c8-fused_mbconv_k3_s1_e1_c8_n1_se0.25-head_c8", "stage 1, .* whose Fused-MBConv of expansion 1 has no"),
        ("stem_c8-mbconv_k3_s1_e4_c8_n1-mbconv_k3_s3_e4_c8_n1-head_c8", "stage 2 strides by 3, and timm's by 1 or 2"),
        ("stem_c8-mbconv_k3_s2_e4_c9_n2-head_c8", "stage 1 has a width inside of 9 times 4, which timm would round"),
        ("stem_c9-mbconv_k3_s2_e4_c8_n2-head_c8", "stage 1 has a width inside of 9 times 4, which timm would round"),
        ("stem_c8-regnet_y_k3_s2_e1_c8_n1_g4-head_c8", "stage 1, .* is none of an EfficientNet"),
    ],
)
def test_what_timm_cannot_build(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        export_timm(randomised(Architecture.parse(text)), tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_weights_for_timm_are_safetensors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"are written as \.safetensors, and the definition beside it; got .*net\.pth"):
        export_timm(randomised(SMALL), tmp_path / "net.pth")


# ---- fresh networks


def test_a_fresh_network_follows_its_seed_and_keeps_its_values_in_bounds() -> None:
    settings = NetworkSettings(bn_momentum=0.01)
    a, b, c = (
        fresh_network(PUBLISHED["efficientnetv2-b0"], (3, 64), num_classes=10, settings=settings, seed=seed)
        for seed in (0, 0, 1)
    )
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    assert torch.equal(logits(a, images), logits(b, images))
    assert not torch.equal(logits(a, images), logits(c, images))
    assert 0.01 < logits(a, images).abs().max() < 100
    assert {module.momentum for module in a.modules() if isinstance(module, nn.BatchNorm2d)} == {0.01}
    torch.testing.assert_close(logits(a, images), logits(a.double(), images.double()).float(), rtol=1e-4, atol=1e-5)


# ---- ONNX


@pytest.fixture
def _onnx() -> None:
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library, reason=f"{library} {HERE}; it comes with training-aware-nas[export]")


@pytest.mark.usefixtures("_onnx")
@pytest.mark.parametrize(
    ("architecture", "in_channels", "options"),
    [
        (SMALL, 3, {}),
        (SMALL, 1, {"padding": "same", "bn_eps": 1e-5}),
        (PUBLISHED["regnety-200mf"], 3, {"activation": "relu"}),
    ],
    ids=["symmetric", "same", "regnet"],
)
def test_onnx_computes_the_same_for_any_batch(
    architecture: Architecture, in_channels: int, options: dict[str, Any], tmp_path: Path
) -> None:
    import onnxruntime

    network = randomised(architecture, 10, in_channels, **options)
    network = network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    path = tmp_path / "net.onnx"
    assert export_onnx(network, path, 40, {"mean": "[0.5]"}) <= 1e-4
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]
    assert network.training  # the network itself is left as it was
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"architecture": str(architecture), "mean": "[0.5]"}
    for batch in (1, 5):
        images = torch.randn(batch, in_channels, 40, 40)
        (found,) = session.run(None, {"images": images.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), logits(network.eval(), images), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("_onnx")
def test_an_export_that_is_off_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.export.TOLERANCE", -1.0)
    with pytest.raises(ValueError, match=r"logits must be within -1 of this one's; in onnxruntime they are .* off"):
        export_onnx(randomised(SMALL), tmp_path / "net.onnx", 32)
    assert not list(tmp_path.iterdir())


def test_without_the_libraries_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"needs .*onnxruntime, .* pip install 'training-aware-nas\[export\]'"):
        export_onnx(randomised(SMALL), tmp_path / "net.onnx", 32)


def test_published_settings_reach_the_definition() -> None:
    network = build_network(PUBLISHED["mnasnet-b1"], settings=published_settings("mnasnet-b1"))
    said = timm_definition(network)
    assert (said["act_layer"], said["bn_eps"], said["bn_momentum"]) == ("relu", 1e-3, 0.01)
