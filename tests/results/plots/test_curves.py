"""The picture of a training's curves: that it is there, shows the stages, and replaces itself whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from PIL import Image

from nas.training_output import Output
from results.metrics import read_metrics, write_metrics
from results.plots.curves import plot_curves

Texts = list[str]


def frame(epochs: int, sizes: list[int]) -> pd.DataFrame:
    stage = np.arange(epochs) * len(sizes) // epochs
    return pd.DataFrame(
        {
            "epoch": np.arange(1, epochs + 1),
            "stage": stage,
            "image_size": np.array(sizes)[stage],
            "accuracy": np.linspace(0.1, 0.8, epochs),
            "loss": np.linspace(2.0, 0.5, epochs),
            "learning_rate": np.linspace(0.1, 0.0, epochs),
            "randaugment": 5.0 + stage,
            "mixup": 0.0,
            "cutmix": 0.0,
            "dropout": 0.1,
        }
    )


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> Texts:
    """What is written above the stages."""
    found: Texts = []
    original = Axes.text

    def text(self: Axes, x: float, y: float, s: str, **options: object) -> object:
        found.extend(part for part in s.split("\n") if part)
        return original(self, x, y, s, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Axes, "text", text)
    return found


def test_stages_are_shaded_and_named(tmp_path: Path, texts: Texts) -> None:
    path = tmp_path / "curves.png"
    plot_curves(frame(12, [64, 96, 128]), path, title="a training")
    assert [text for text in texts if text.endswith("px")] == ["64 px", "96 px", "128 px"]
    assert [text for text in texts if text.startswith("RandAugment")] == [f"RandAugment {m}" for m in (5, 6, 7)]
    assert not any("mixup" in text for text in texts), "what the training does not have is not named"
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape[0] > 700
    row = picture[picture.shape[0] // 2]
    assert len(np.unique(row[(row != 255).any(1)], axis=0)) > 3, "grounds of three stages, and curves"


def test_many_short_stages_have_a_legend(tmp_path: Path, texts: Texts) -> None:
    plot_curves(frame(60, [64, 128] * 15), tmp_path / "curves.png", title="a training")
    assert not [text for text in texts if text.endswith("px")]


def test_stages_within_an_epoch_are_shaded_by_their_own_begin_and_end(
    tmp_path: Path, texts: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    shaded: list[tuple[float, float]] = []
    original = Axes.axvspan

    def axvspan(self: Axes, xmin: float, xmax: float, **options: object) -> object:
        shaded.append((xmin, xmax))
        return original(self, xmin, xmax, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Axes, "axvspan", axvspan)
    rows = frame(2, [128]).to_dict("records")
    own = {"mixup": 0.0, "cutmix": 0.0, "dropout": 0.1}
    rows[0]["parts"] = [
        {**own, "begin": 0.0, "end": 0.5, "image_size": 64, "randaugment": 5.0},
        {**own, "begin": 0.5, "end": 1.0, "image_size": 96, "randaugment": 7.0},
    ]
    rows[1]["parts"] = [
        {**own, "begin": 1.0, "end": 1.25, "image_size": 96, "randaugment": 7.0},
        {**own, "begin": 1.25, "end": 2.0, "image_size": 128, "randaugment": 9.0},
    ]
    write_metrics([{str(name): value for name, value in row.items()} for row in rows], tmp_path / "metrics.parquet")
    plot_curves(read_metrics(tmp_path / "metrics.parquet"), tmp_path / "curves.png", title="a training")
    assert shaded[:3] == [(0.0, 0.5), (0.5, 1.25), (1.25, 2.0)]
    assert [text for text in texts if text.endswith("px")] == ["64 px", "96 px", "128 px"]
    assert [text for text in texts if text.startswith("RandAugment")] == [f"RandAugment {m}" for m in (5, 7, 9)]


@pytest.mark.parametrize("epochs", [1, 2])
def test_short_trainings(tmp_path: Path, epochs: int) -> None:
    plot_curves(frame(epochs, [64]), tmp_path / "curves.svg", title="$a_{b$")
    assert "<svg" in (tmp_path / "curves.svg").read_text()


def test_what_was_there_stays_when_it_cannot_be_drawn(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    path.write_text("before")
    with pytest.raises(KeyError):
        plot_curves(frame(3, [64]).drop(columns="loss"), path, title="a training")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_without_matplotlib_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    Output(plot=True).check()
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"--plot needs matplotlib.*pip install 'training-aware-nas\[plot\]'"):
        Output(plot=True).check()
