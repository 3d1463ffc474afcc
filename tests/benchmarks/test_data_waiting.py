"""The benchmark of waiting for pictures: that it is `Training.run()` that it measures, and what it tells of it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from trainers.epoch import Epoch
from trainers.training import Training

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def data_waiting() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("data_waiting")
        for name in ("data_waiting", "machine"):
            sys.modules.pop(name, None)


def test_trainings_themselves_are_measured_from_each_input(
    data_waiting: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, told = data_waiting.write(tmp_path, 26), list[tuple[str, bool]]()
    original = Training._ended

    def ended(self: Training) -> Epoch:
        told.append((self.pictures.form, self.evaluated is not self.network))
        return original(self)

    monkeypatch.setattr(Training, "_ended", ended)
    for source, form in (("folder", "packed"), ("parquet", "streamed")):
        epochs = data_waiting.trained(sources[source], form, (32, 8, 16), n=0, device="cpu")
        assert [(epoch.image_size, epoch.randaugment > 0) for epoch in epochs] == [(16, True), (32, True)]
    assert told == [("packed at 32 px", True)] * 2 + [("streamed", True)] * 2, "with a moving average"


def test_the_first_epoch_of_a_size_is_left_out(data_waiting: ModuleType) -> None:
    first = Epoch(
        epoch=1, step=4, stage=0, image_size=16, batch_size=8, learning_rate=0.1, randaugment=5.0, mixup=0.0,
        cutmix=0.0, dropout=0.0, survival=1.0, loss=1.0, accuracy=0.5, images_per_s=10.0, waited_share=0.5, train_s=1.0,
    )  # fmt: skip
    later = replace(first, waited_share=0.02, images_per_s=100.0)
    larger = [replace(epoch, image_size=32) for epoch in (first, replace(later, waited_share=0.06))]
    rows = data_waiting.rows("folder", [first, later, later, *larger])
    assert [(row["image_size"], row["waited_share"]["median"], row["under_bar"]) for row in rows] == [
        (16, 0.02, True),
        (32, 0.06, False),
    ]
