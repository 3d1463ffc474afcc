"""Weights in files: the names, shapes and logits of other libraries, new classifiers, and files of other kinds."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from search_spaces import PUBLISHED, SPACES, Architecture
from trainers.blocks import NetworkSettings
from trainers.foreign import timm_convention, timm_names, torchvision_convention, torchvision_names
from trainers.network import Network, build_network
from trainers.weights import load_weights, read_header, read_tensors, renamed, save_weights, saved_network

Shapes = Mapping[str, tuple[int, ...]]

# Made with timm 1.0.31 and torchvision 0.29.2: names and shapes of their networks, and of some the logits of `drawn`
# weights and `picture`.
GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "foreign_networks.json").read_text())
NETWORKS = [(library, name) for library in ("timm", "torchvision") for name in GOLDEN[library]]
NAMES: dict[str, Callable[[Architecture], dict[str, str]]] = {"timm": timm_names, "torchvision": torchvision_names}

# of each library and convention, the smallest networks
COMPUTED = [
    ("timm", "efficientnet_b0"),
    ("timm", "tf_efficientnet_b0"),
    ("timm", "tf_efficientnetv2_b0"),
    ("timm", "tf_efficientnetv2_b3"),
    ("timm", "efficientnetv2_s"),
    ("torchvision", "efficientnet_b0"),
    ("torchvision", "efficientnet_b5"),
    ("torchvision", "efficientnet_v2_s"),
]

SMALL = Architecture.parse(
    "stem_c8-fused_mbconv_k3_s1_e1_c8_n2-fused_mbconv_k3_s2_e4_c16_n2"
    "-mbconv_k5_s2_e4_c24_n2_se0.25-mbconv_k3_s1_e1_c24_n1_se0.25-head_c32"
)


def drawn(shapes: Shapes) -> dict[str, Tensor]:
    """Weights and statistics that are a function of names and shapes, and leave no part of a network without effect."""
    rng = np.random.default_rng(0)
    tensors = {}
    for key in sorted(shapes):
        shape, kind = shapes[key], key.rpartition(".")[2]
        if kind == "num_batches_tracked":
            tensors[key] = torch.tensor(0)
            continue
        values = rng.random(shape, dtype=np.float32)
        if len(shape) > 1:
            values = (2 * values - 1) * np.float32(math.sqrt(3 / math.prod(shape[1:])))
        else:
            values += np.float32(0.5 if kind in ("weight", "running_var") else -0.5)
        tensors[key] = torch.from_numpy(values)
    return tensors


def digest(shapes: Shapes) -> str:
    """Tells one list of names and shapes from another."""
    lines = (f"{key} {'x'.join(map(str, shapes[key]))}" for key in sorted(shapes))
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=12).hexdigest()


def picture() -> Tensor:
    """One picture of 64 px with a pattern, in double precision: (1, 3, 64, 64)."""
    return torch.linspace(-2, 2, 3 * 64 * 64, dtype=torch.float64).mul(7.3).sin().reshape(1, 3, 64, 64)


def foreign_shapes(library: str, architecture: Architecture, num_classes: int = 1000) -> dict[str, tuple[int, ...]]:
    """Our network's tensors in another library's names."""
    with torch.device("meta"):
        network = build_network(architecture, num_classes)
    names = NAMES[library](architecture)
    return {renamed(key, names): tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def randomised(architecture: Architecture, num_classes: int = 10, **options: Any) -> Network:
    network = build_network(architecture, num_classes, settings=NetworkSettings(**options))
    network.load_state_dict(drawn({key: tuple(t.shape) for key, t in network.state_dict().items()}))
    return network.eval()


def logits(network: nn.Module) -> Tensor:
    with torch.no_grad():
        result: Tensor = network.double().eval()(picture())
    return result


def in_names_of(library: str, network: Network) -> dict[str, Tensor]:
    names = NAMES[library](network.architecture)
    return {renamed(key, names): tensor.clone() for key, tensor in network.state_dict().items()}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# ---- the other libraries' networks


@pytest.mark.parametrize(("library", "name"), NETWORKS)
def test_names_and_shapes_are_the_other_librarys(library: str, name: str) -> None:
    known = GOLDEN[library][name]
    shapes = foreign_shapes(library, PUBLISHED[known["ours"]])
    if (whole := GOLDEN["shapes"].get(f"{library}/{name}")) is not None:
        assert {key: "x".join(map(str, shape)) for key, shape in shapes.items()} == whole
    assert (len(shapes), digest(shapes)) == (known["tensors"], known["digest"])


@pytest.mark.parametrize(("library", "name"), COMPUTED)
def test_logits_are_the_other_librarys(library: str, name: str, tmp_path: Path) -> None:
    known = GOLDEN[library][name]
    architecture = PUBLISHED[known["ours"]]
    path = tmp_path / f"{name}.safetensors"
    save_file(drawn(foreign_shapes(library, architecture, 10)), path)
    network = build_network(architecture, 10)
    loaded = load_weights(network, path)
    assert (loaded.kind, loaded.reset) == (library, ())
    torch.testing.assert_close(logits(network)[0, :4].tolist(), known["logits"], rtol=0, atol=1e-5)


def test_stored_logits_tell_one_padding_and_epsilon_from_another(tmp_path: Path) -> None:
    known = GOLDEN["timm"]["tf_efficientnetv2_b0"]
    architecture = PUBLISHED[known["ours"]]
    path = tmp_path / "efficientnetv2_b0.safetensors"  # not tf_
    save_file(drawn(foreign_shapes("timm", architecture, 10)), path)
    network = build_network(architecture, 10)
    load_weights(network, path)
    expected = torch.tensor(known["logits"], dtype=torch.float64)
    for padding, bn_eps in (("symmetric", 1e-3), ("same", 1e-5)):
        network.adopt(padding=padding, bn_eps=bn_eps)
        assert (logits(network)[0, :4] - expected).abs().max() > 1e-4
    network.adopt(padding="same", bn_eps=1e-3)
    assert (logits(network)[0, :4] - expected).abs().max() < 1e-5


@pytest.mark.parametrize(("library", "name"), COMPUTED)
def test_where_the_libraries_are_installed_their_networks_load(library: str, name: str, tmp_path: Path) -> None:
    theirs = _their_network(library, name)
    theirs.load_state_dict(drawn({key: tuple(t.shape) for key, t in theirs.state_dict().items()}))
    path = tmp_path / f"{name}.safetensors"
    save_file(theirs.state_dict(), path)
    network = build_network(PUBLISHED[GOLDEN[library][name]["ours"]], 10)
    load_weights(network, path)
    torch.testing.assert_close(logits(network), logits(theirs), rtol=0, atol=1e-5)


def _their_network(library: str, name: str) -> nn.Module:
    try:
        if library == "timm":
            import timm

            network: nn.Module = timm.create_model(name, num_classes=10)
        else:
            from torchvision.models import get_model

            network = get_model(name, num_classes=10)
    except (ImportError, RuntimeError) as error:  # torchvision beside a torch of another build says RuntimeError
        pytest.skip(f"{library} cannot be imported here: {error}")
    return network


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["same", "symmetric"]))
def test_into_timms_names_and_back(seed: int, padding: str) -> None:
    space = SPACES["small"]
    architecture = space.decode(space.sample(np.random.default_rng(seed)))
    network = randomised(architecture, padding=padding, bn_eps=1e-3 if padding == "same" else 1e-5)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (
            "tf_efficientnetv2_s.safetensors" if padding == "same" else "efficientnetv2_s.safetensors"
        )
        save_file(in_names_of("timm", network), path)
        again = build_network(architecture, 10)
        assert load_weights(again, path).reset == ()
    assert torch.equal(logits(again), logits(network))


@pytest.mark.parametrize(
    ("where", "padding", "bn_eps", "mean"),
    [
        ("tf_efficientnetv2_s.in21k_ft_in1k.safetensors", "same", 1e-3, 0.5),
        ("tf_efficientnetv2_l_in21ft1k-60127a9d.pth", "same", 1e-3, 0.5),
        ("tf_efficientnetv2_b3.in1k.safetensors", "same", 1e-3, 0.485),
        ("tf_efficientnetv2_b3.in21k.safetensors", "same", 1e-3, 0.5),
        ("tf_efficientnet_b4.ns_jft_in1k.safetensors", "same", 1e-3, 0.485),
        ("tf_efficientnet_b4.ap_in1k.safetensors", "same", 1e-3, 0.5),
        ("tf_efficientnet_b4_ap-dedb23e6.pth", "same", 1e-3, 0.5),
        ("efficientnet_b0.ra_in1k.safetensors", "symmetric", 1e-5, 0.485),
        ("efficientnet_b0.ra4_e3600_r224_in1k.safetensors", "symmetric", 1e-5, 0.5),
        ("models--timm--tf_efficientnet_b0.in1k/snapshots/1a2b/model.safetensors", "same", 1e-3, 0.485),
        ("TF_EfficientNetV2_M/weights.pth", "same", 1e-3, 0.5),
    ],
)
def test_what_timms_names_tell(where: str, padding: str, bn_eps: float, mean: float) -> None:
    found = timm_convention(Path("/data") / where, None, {})
    assert (found.padding, found.bn_eps) == (padding, bn_eps)
    assert found.mean is not None
    assert found.mean[0] == mean


def test_timms_config_goes_before_the_files_name(tmp_path: Path) -> None:
    config = {"architecture": "tf_efficientnet_b0", "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = timm_convention(tmp_path / "efficientnet_b0.safetensors", None, {})
    assert (found.padding, found.mean, found.std) == ("same", (0.1, 0.2, 0.3), (1, 1, 1))
    assert timm_convention(tmp_path / "model.safetensors", "efficientnet_b0", {}).padding == "symmetric"
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json, beside the weights, must be timm's description"):
        timm_convention(tmp_path / "model.safetensors", None, {})


@pytest.mark.parametrize("name", [None, "resnet50"])
def test_without_a_name_timms_padding_cannot_be_known(name: str | None, tmp_path: Path) -> None:
    path = tmp_path / "efficientnet_things.safetensors"
    save_file(in_names_of("timm", randomised(SMALL)), path)
    with pytest.raises(ValueError, match=r"its tensors do not tell .* name the file after the network"):
        load_weights(build_network(SMALL, 10), path, name=name)
    network = build_network(SMALL, 10)
    load_weights(network, path, name="tf_efficientnetv2_s")
    assert network.settings.padding == "same"


def test_torchvisions_epsilon_and_means() -> None:
    expected = {f"efficientnet-b{n}": 1e-5 if n < 5 else 1e-3 for n in range(8)}
    expected |= {f"efficientnetv2-{n}": 1e-3 for n in "sml"}
    found = {name: torchvision_convention(PUBLISHED[name]) for name in expected}
    assert {name: convention.bn_eps for name, convention in found.items()} == expected
    assert {convention.padding for convention in found.values()} == {"symmetric"}
    assert [name for name, convention in found.items() if convention.mean == (0.5, 0.5, 0.5)] == ["efficientnetv2-l"]


@pytest.mark.parametrize("names", NAMES.values())
def test_regnets_have_no_such_names(names: Callable[[Architecture], dict[str, str]]) -> None:
    with pytest.raises(ValueError, match=r"stage 1, regnet_y_.*, is none of an EfficientNet"):
        names(PUBLISHED["regnety-200mf"])


# ---- classifiers


@pytest.mark.parametrize("library", NAMES)
def test_a_classifier_of_other_classes_stays_as_it_is(library: str, tmp_path: Path) -> None:
    path = tmp_path / "tf_efficientnet_b0.safetensors"
    pretrained = randomised(SMALL, 21)
    save_file(in_names_of(library, pretrained), path)
    network = build_network(SMALL, 5)
    before = network.classifier.weight.detach().clone()
    loaded = load_weights(network, path)
    assert loaded.reset == ("classifier.weight", "classifier.bias")
    assert torch.equal(network.classifier.weight, before)
    assert torch.equal(network.head.conv.weight, pretrained.head.conv.weight)
    assert torch.equal(network.stem.norm.running_var, pretrained.stem.norm.running_var)


def test_a_file_without_a_classifier(tmp_path: Path) -> None:
    path = tmp_path / "tf_efficientnet_b0.safetensors"
    tensors = in_names_of("timm", randomised(SMALL))
    save_file({key: tensor for key, tensor in tensors.items() if not key.startswith("classifier")}, path)
    assert load_weights(build_network(SMALL, 10), path).reset == ("classifier.weight", "classifier.bias")


def test_a_module_of_ones_own(tmp_path: Path) -> None:
    def own(classes: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, classes))

    path, trained, same, other = tmp_path / "own.safetensors", own(3), own(3), own(7)
    save_weights(trained, path)
    assert load_weights(same, path).reset == ()
    assert all(
        torch.equal(a, b) for a, b in zip(same.state_dict().values(), trained.state_dict().values(), strict=True)
    )
    assert load_weights(other, path).reset == ("3.weight", "3.bias")
    assert torch.equal(other.get_parameter("0.weight"), trained.get_parameter("0.weight"))
    with pytest.raises(ValueError, match=r"this network has no 0\.bias, and in the file it has one of shape 4"):
        load_weights(nn.Sequential(nn.Linear(3, 2))[0], path)


# ---- other networks


def refused(network: Network, path: Path, message: str) -> None:
    """Loading is an error that says so, and leaves the network as it was."""
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    padding = network.settings.padding
    with pytest.raises(ValueError, match=message):
        load_weights(network, path)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert network.settings.padding == padding


def test_the_first_tensor_of_another_shape_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tf_efficientnetv2_s.safetensors"
    wider = Architecture.parse(str(SMALL).replace("s2_e4_c24_n2", "s2_e4_c32_n2"))
    save_file(in_names_of("timm", randomised(wider)), path)
    message = (
        r"of another network\. The first difference: this network has blocks\.2\.0\.conv_pwl\.weight of shape "
        r"24x64x1x1, and in the file it has 32x64x1x1 there"
    )
    refused(build_network(SMALL, 10), path, message)


def test_the_first_tensor_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tf_efficientnetv2_s.safetensors"
    shallower = Architecture.parse(str(SMALL).replace("s2_e4_c24_n2", "s2_e4_c24_n1"))
    save_file(in_names_of("timm", randomised(shallower)), path)
    message = (
        r"this network has blocks\.2\.1\.conv_pw\.weight of shape 96x24x1x1, and in the file it has no such tensor"
    )
    refused(build_network(SMALL, 10), path, message)


def test_a_tensor_too_many_is_named(tmp_path: Path) -> None:
    path = tmp_path / "efficientnet_v2_s.safetensors"
    deeper = Architecture.parse(str(SMALL).replace("s2_e4_c24_n2", "s2_e4_c24_n3"))
    save_file(in_names_of("torchvision", randomised(deeper)), path)
    message = r"this network has no features\.3\.2\.block\.\d.*, and in the file it has one of shape"
    refused(build_network(SMALL, 10), path, message)


def test_pictures_of_other_channels(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_weights(randomised(SMALL), path)
    message = r"this network has stem\.conv\.weight of shape 8x1x3x3, and in the file it has 8x3x3x3 there"
    refused(build_network(SMALL, 10, 1), path, message)


def test_files_without_counters_load(tmp_path: Path) -> None:
    path = tmp_path / "tf_efficientnetv2_s.safetensors"
    pretrained = randomised(SMALL, padding="same")
    tensors = in_names_of("timm", pretrained)
    save_file({key: t.half() for key, t in tensors.items() if not key.endswith("num_batches_tracked")}, path)
    network = build_network(SMALL, 10)
    assert load_weights(network, path).reset == ()
    assert network.stem.conv.weight.dtype == torch.float32
    torch.testing.assert_close(logits(network), logits(pretrained), rtol=0, atol=0.05)


# ---- our own files


@pytest.mark.parametrize(
    "options", [{}, {"padding": "same", "bn_eps": 1e-5}, {"activation": "relu", "bn_momentum": 0.01}], ids=str
)
def test_a_saved_network_is_the_same_network(options: dict[str, Any], tmp_path: Path) -> None:
    network = randomised(SMALL, 7, **options).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    path = tmp_path / "model.safetensors"
    save_weights(network, path, {"mean": "[0.1, 0.2, 0.3]", "std": "[1.0, 1.0, 1.0]"})
    again = saved_network(path)
    assert (again.architecture, again.settings, again.training) == (SMALL, network.settings, False)
    torch.testing.assert_close(logits(again), logits(network))  # but for the order of sums in memory formats
    about = {"mean": "[0.1, 0.2, 0.3]", "std": "[1.0, 1.0, 1.0]"}
    assert read_header(path)[2:] == (7, 3, about)
    fresh = build_network(SMALL, 7, settings=NetworkSettings(activation=network.settings.activation))
    loaded = load_weights(fresh, path)
    assert (loaded.kind, loaded.mean, loaded.std) == ("own", (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    torch.testing.assert_close(logits(fresh), logits(network))


def test_weights_trained_with_another_activation(tmp_path: Path) -> None:
    save_weights(randomised(SMALL, activation="relu"), tmp_path / "model.safetensors")
    refused(build_network(SMALL, 10), tmp_path / "model.safetensors", r"NetworkSettings\(activation='relu'\)")


def test_a_foreign_file_is_no_saved_network(tmp_path: Path) -> None:
    path = tmp_path / "tf_efficientnetv2_s.safetensors"
    save_file(in_names_of("timm", randomised(SMALL)), path)
    with pytest.raises(ValueError, match="does not say which network its weights are of"):
        saved_network(path)
    assert read_header(path) == (None, None, 10, 3, {})


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(randomised(SMALL), path)
    before = path.read_bytes()

    def full(tensors: object, file: Path, metadata: object) -> None:
        file.write_bytes(b"the first")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("trainers.weights.save_file", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        save_weights(randomised(SMALL, padding="same"), path)
    assert raised.value.errno == errno.ENOSPC
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_the_systems_own_number_of_a_fault_of_writing(tmp_path: Path) -> None:
    code = (
        "import resource, sys, torch\nfrom pathlib import Path\nfrom trainers.weights import write_tensors\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"  # Python ignores SIGXFSZ
        "try:\n    write_tensors({'a': torch.zeros(10_000)}, Path(sys.argv[1]), {})\n"
        "except OSError as error:\n    print(error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.safetensors"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == errno.EFBIG


def test_adopting_another_padding_gives_the_network_built_with_it() -> None:
    network = randomised(SMALL)
    logits(network)  # what a forward pass keeps must not matter
    network.adopt(padding="same", bn_eps=1e-5)
    built = randomised(SMALL, padding="same", bn_eps=1e-5)
    assert torch.equal(logits(network), logits(built))
    network.adopt(padding="symmetric", bn_eps=1e-3)
    assert torch.equal(logits(network), logits(randomised(SMALL)))
    assert not torch.equal(logits(network), logits(built))
    with pytest.raises(ValueError, match="padding must be one of symmetric, same; got 'valid'"):
        network.adopt(padding="valid", bn_eps=1e-3)


# ---- files


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_in_a_pickle_is_executed(tmp_path: Path) -> None:
    for path, save in (
        (tmp_path / "a.pth", torch.save),
        (tmp_path / "b.pt", lambda o, p: p.write_bytes(pickle.dumps(o, protocol=2))),
    ):
        save({"state_dict": {}, "args": Evil(tmp_path / "executed")}, path)
        with pytest.raises(ValueError, match=r"cannot be read as tensors alone, .* save the state dict by itself"):
            load_weights(build_network(SMALL, 10), path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("wrap", ["bare", "state_dict", "model", "model_ema", "compiled", "averaged"])
def test_what_a_state_dict_comes_wrapped_in(wrap: str, tmp_path: Path) -> None:
    pretrained = randomised(SMALL)
    tensors = in_names_of("torchvision", pretrained)
    others = {key: torch.zeros_like(tensor) for key, tensor in tensors.items()}
    contents: dict[str, Any] = {
        "bare": tensors,
        "state_dict": {"epoch": 3, "state_dict": tensors, "optimizer": {"lr": 0.1}},
        "model": {"model": {f"module.{key}": tensor for key, tensor in tensors.items()}, "epoch": 3},
        "model_ema": {"model": others, "model_ema": tensors},
        "compiled": {f"_orig_mod.{key}": tensor for key, tensor in tensors.items()},
        "averaged": {
            "model": others,
            "model_ema": {"n_averaged": torch.tensor(3), **{f"module.{key}": t for key, t in tensors.items()}},
        },
    }
    path = tmp_path / "efficientnet_v2_s-dd5fe13b.pth"
    torch.save(contents[wrap], path)
    network = build_network(SMALL, 10)
    loaded = load_weights(network, path)
    assert (loaded.kind, loaded.reset) == ("torchvision", ())
    assert torch.equal(logits(network), logits(pretrained))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.safetensors", b"", "a.safetensors cannot be read as safetensors"),
        ("a.safetensors", b"\xff" * 64, "cannot be read as safetensors"),
        ("a.pth", b"", "cannot be read as tensors alone"),
        ("a.pth", b"PK\x03\x04 torn", "cannot be read as tensors alone"),
        ("a.onnx", b"", r"weights must be a \.safetensors file, or one of \.pth"),
    ],
)
def test_files_that_are_no_weights(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_tensors(tmp_path / name)


def test_contents_that_are_no_state_dict(tmp_path: Path) -> None:
    for content, message in (
        ([1, 2], "must hold a state dict; got list"),
        ({}, "must hold a state dict; got dict"),
        ({"epoch": 3}, "must hold tensors by name; 'epoch' is a int"),
    ):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(ValueError, match=message):
            read_tensors(tmp_path / "a.pth")
    with pytest.raises(FileNotFoundError, match="there is no such file of weights"):
        read_tensors(tmp_path / "b.pth")


def test_saved_files_are_plain_safetensors(tmp_path: Path) -> None:
    network = randomised(SMALL)
    save_weights(network, tmp_path / "model.safetensors")
    assert load_file(tmp_path / "model.safetensors").keys() == network.state_dict().keys()
