"""The command `export`: a network for other software, as a file, or with its papers."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nas.exports import Exported

# Modules that load numpy, pandas or torch are imported inside the command, so that --help is quick.


class To(StrEnum):
    """What a network can be written as."""

    timm = "timm"
    onnx = "onnx"
    safetensors = "safetensors"
    json = "json"
    card = "card"


_Network = typer.Argument(
    metavar="ARCH|DIR",
    help="A training's folder, a .safetensors file of this software, a run's folder, a published name, an architecture "
    "text, or a file of one.",
)
_To = typer.Option(
    help="timm: weights in timm's names, its block strings beside them as .json. onnx: checked with onnxruntime. "
    "safetensors: weights that all commands take. json: the network alone. card: a model card in markdown."
)
_Weights = typer.Option(
    help="Weights to export: this software's, timm's or torchvision's. Default: the best of a training's folder."
)


def export(
    network: Annotated[str, _Network],
    to: Annotated[To, _To],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Default for json and card: stdout.")
    ] = None,
    trial: Annotated[
        int | None, typer.Option(min=0, help="Which trial of a run. Default: the one of the highest reward.")
    ] = None,
    weights: Annotated[Path | None, _Weights] = None,
    origin: Annotated[
        str | None, typer.Option(help="What timm calls the network of its weights, if their file's name does not tell.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Pixels. Default: the size it is evaluated on, else 224.")
    ] = None,
    num_classes: Annotated[
        int | None, typer.Option(min=1, help="Default: those of the weights, the run or the file, else 1000.")
    ] = None,
    in_channels: Annotated[
        int | None, typer.Option(min=1, help="Channels of a picture. Default: likewise, else 3.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of fresh weights, where there are none.")] = 0,
) -> None:
    """Write a network for other software: timm, ONNX, safetensors, JSON, or its model card."""
    from nas.exports import find_exported

    _check_out(out, to)
    exported = find_exported(network, trial, weights)
    found = exported.network
    size = image_size or (found.image_sizes.eval if found.image_sizes else 224)
    shape = {
        "num_classes": num_classes or found.num_classes or 1000,
        "in_channels": in_channels or found.in_channels or 3,
    }
    if to is To.json:
        _text(json.dumps(_network_json(exported, size, shape), indent=2) + "\n", out)
    elif to is To.card:
        _text(_card(exported, size, shape, origin), out)
    else:
        assert out is not None
        _write(exported, shape, to=to, out=out, options=(size, seed, origin))


def _write(
    exported: Exported, shape: dict[str, int], *, to: To, out: Path, options: tuple[int, int, str | None]
) -> None:
    """Build the network and write its weights."""
    from nas.exports import build_exported

    size, seed, origin = options
    built, about = build_exported(exported, shape, image_size=size, seed=seed, origin=origin)
    if exported.weights is None:
        _say(f"no weights are given: those written are fresh, drawn with seed {seed}")
    if to is To.onnx:
        from trainers.export import export_onnx

        difference = export_onnx(built, out, size, about)
        _say(f"wrote {out} for {size} px; its logits in onnxruntime are within {difference:.1e} of torch's")
    elif to is To.timm:
        from trainers.export import export_timm

        beside = export_timm(built, out, about)
        _say(f"wrote {out}, and {beside} with timm's block strings")
    else:
        from trainers.weights import save_weights

        save_weights(built, out, about)
        _say(f"wrote {out}")


def _network_json(exported: Exported, size: int, shape: dict[str, int]) -> dict[str, Any]:
    """What `nas describe` and the other commands take as a file."""
    from search_spaces import cost

    found = exported.network
    train = found.image_sizes.train if found.image_sizes else size
    return {
        "name": found.name,
        "architecture": str(found.architecture),
        "image_size": size,
        "train_image_size": train,
        **shape,
        **cost(found.architecture, size, **shape)._asdict(),
        **found.architecture.to_json(),
    }


def _card(exported: Exported, size: int, shape: dict[str, int], origin: str | None) -> str:
    from nas.exports import build_exported
    from nas.model_card import model_card

    about = (
        {} if exported.weights is None else build_exported(exported, shape, image_size=size, seed=0, origin=origin)[1]
    )
    return model_card(exported, size, **shape, about=about)


def _check_out(out: Path | None, to: To) -> None:
    """Before anything is built: there is a place to write to, and nothing is in it."""
    if out is None:
        if to in (To.json, To.card):
            return
        raise ValueError(f"--to {to} must be told where to write: name a file with --out")
    for path in (out, out.with_suffix(".json")) if to is To.timm else (out,):
        if path.exists():
            raise FileExistsError(f"{path} is there already; choose another file with --out, or remove it")
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder of {out} must exist; make it first")


def _text(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    out.write_text(text)
    _say(f"wrote {out}")


def _say(text: str) -> None:
    typer.echo(text, err=True)
