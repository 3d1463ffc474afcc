"""What a running training shows: a bar that moves within an epoch on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from nas import training_progress
from nas.time_left import TimeLeft
from nas.training_progress import TrainingProgress, epoch_line
from trainers.augmentation import Augmentation
from trainers.epoch import Epoch
from trainers.progressive import Progression, settings_at
from trainers.recipe import Recipe

RECIPE = Recipe(
    epochs=4,
    batch_size=10,
    image_size=32,
    dropout=0.2,
    augmentation=Augmentation(randaugment=10, mixup=0.2),
    progression=Progression(kind="paper", stages=2, smallest=16, randaugment=(5, 10)),
)
EPOCH = Epoch(
    epoch=2,
    step=20,
    stage=0,
    image_size=16,
    batch_size=10,
    learning_rate=0.1,
    randaugment=5.0,
    mixup=0.0,
    cutmix=0.0,
    dropout=0.1,
    survival=0.8,
    loss=1.5,
    accuracy=0.75,
    images_per_s=1234.5,
    waited_share=0.01,
    train_s=10.0,
)


def shown(*, terminal: bool, quiet: bool = False, console_width: int = 100) -> str:
    """What a training of 4 epochs of 10 steps shows on the way through its second epoch."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=console_width, color_system=None)
    left = TimeLeft(RECIPE, 400, minival=10, seed=0)
    with TrainingProgress(left, accuracy=0.5, console=console, quiet=quiet) as progress:
        for step in range(10, 20):
            time.sleep(0.001)
            progress.step(settings_at(RECIPE, step, 40), step * 10, 1.2345)
            if terminal and not quiet:
                progress._bar.refresh()
        progress.ended(EPOCH, 200)
    return file.getvalue()


def test_a_terminal_shows_how_far_each_epoch_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_progress, "_LOOK_S", 0.0)
    text = shown(terminal=True)
    for share in (0, 50, 90):
        assert f"epoch 2/4 ({share} %), stage 1, 16 px, randaugment 5, dropout 0.1" in text
    assert re.search(r"loss 1\.2345, accuracy 0\.5000, [\d,]+ pictures/s, about \d+ s left", text)
    assert " 25%" in text
    assert " 45%" in text, "the bar is of the whole training"
    assert "epoch 2/4: stage 1, 16 px, randaugment 5, dropout 0.1, loss 1.5000, accuracy 0.7500" in text


def test_a_narrow_terminal_shows_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_progress, "_LOOK_S", 0.0)
    assert re.search(r"about \d+ s left", shown(terminal=True, console_width=80).split("epoch 2/4: ")[0])


def test_elsewhere_an_epoch_is_a_line() -> None:
    (line,) = shown(terminal=False).splitlines()
    assert re.fullmatch(
        r"epoch 2/4: stage 1, 16 px, randaugment 5, dropout 0\.1, loss 1\.5000, accuracy 0\.7500, "
        r"1,23[45] pictures/s, about \d+ s left",
        line,
    )


def test_elsewhere_long_epochs_have_lines_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_progress, "_PLAIN_LINE_S", 0.004)
    lines = shown(terminal=False).splitlines()
    assert 1 < len(lines) < 8
    assert lines[0].startswith("epoch 2/4 (")
    assert lines[-1].startswith("epoch 2/4: ")


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_shows_nothing(terminal: bool) -> None:
    assert shown(terminal=terminal, quiet=True) == ""


def test_a_line_where_the_time_left_is_not_known() -> None:
    assert epoch_line(EPOCH, 4, None).endswith("time left is not known yet")
