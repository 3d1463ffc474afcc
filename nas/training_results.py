"""What came of a training: from its metrics, and from the evaluations of its weights, which are noted in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.trainings import METRICS, WEIGHTS

EVALUATIONS = "evaluations.json"

_NOTED = ("split", "image_size", "accuracy", "low", "high", "pictures")


def note_evaluation(folder: Path, found: Mapping[str, Any]) -> None:
    """Note an evaluation in a training's folder, in the place of an earlier one of the same pictures and size.

    Args:
        folder: of the training.
        found: as `trainings.evaluate` gives it.

    Raises:
        ValueError: the file of earlier ones is broken.
        OSError: it cannot be written; the file that was there is as it was.
    """
    new = {name: found[name] for name in _NOTED} | {"step": _step(folder)}
    others = [one for one in _evaluations(folder) if any(one[name] != new[name] for name in ("split", "image_size"))]
    path = folder / EVALUATIONS
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(json.dumps([*others, new], indent=1) + "\n")
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def results_of(folder: Path) -> dict[str, Any]:
    """What is known of a training's weights and of how they were trained, by what a reader would call it.

    Evaluations of other weights than those that are there now are left out.

    Raises:
        ValueError: a file in the folder is broken.
        OSError: a file in it cannot be read.
    """
    results: dict[str, Any] = {}
    if (folder / METRICS).is_file():
        from results.metrics import read_metrics  # loads pandas

        rows = read_metrics(folder / METRICS).to_dict("records")
        best, devices = max(rows, key=lambda row: float(row["accuracy"])), [row.get("device") for row in rows]
        results = {
            "epoch of the weights, the best on the minival": int(best["epoch"]),
            "epochs trained": int(rows[-1]["epoch"]),
            "seconds of training, without evaluation": round(float(rows[-1]["train_s"]), 1),
            "trained on": ", ".join(dict.fromkeys(filter(None, devices))) or None,
        }
    step = _step(folder)
    for one in _evaluations(folder):
        if one["step"] == step:
            results[f"accuracy on {one['split']} at {one['image_size']} px"] = (
                f"{one['accuracy']:.4f} (95 % interval {one['low']:.4f} to {one['high']:.4f}, "
                f"{one['pictures']:,} pictures)"
            )
    return {name: value for name, value in results.items() if value is not None}


def _step(folder: Path) -> str | None:
    """Of which step a folder's weights are; None where they do not say."""
    from trainers.weights import read_header  # loads torch

    path = folder / WEIGHTS
    return read_header(path).about.get("step") if path.is_file() else None


def _evaluations(folder: Path) -> list[dict[str, Any]]:
    path = folder / EVALUATIONS
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_text())
        return [{name: one[name] for name in (*_NOTED, "step")} for one in found]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error!r}): remove it, and evaluate again") from error
