"""`ProxyTask` and the training loop, on pictures made up here: they learn, repeat, and say what they measured."""

from __future__ import annotations

import json
import math
import pickle
import platform
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from results.trial import Measurement
from search_spaces import Architecture, cost
from trainers.augmentation import Augmentation
from trainers.data import Data, Split
from trainers.device_data import on_device
from trainers.expected import Block, Calibration, Timed
from trainers.network import build_network
from trainers.proxy import BLOCKS, PRECISION, ProxyTask
from trainers.recipe import Recipe
from trainers.step_timer import RandomStep
from trainers.timing import StepTime
from trainers.train import Progress, TrainingStep, accuracy, autocast, train_epochs

CPU = torch.device("cpu")
SIZE, CLASSES = 12, 4
SMALL = Architecture.parse("stem_c8-fused_mbconv_k3_s2_e1_c8_n1-mbconv_k3_s2_e2_c16_n1_se0.25-head_c32")
LARGE = Architecture.parse("stem_c16-fused_mbconv_k3_s1_e4_c16_n2-mbconv_k5_s2_e6_c32_n2_se0.25-head_c64")
QUICK = Recipe(epochs=3, batch_size=32, learning_rate=0.8)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Two threads that wait for each other are many times slower where the cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the step time, which takes longer here than the training."""
    monkeypatch.setattr(ProxyTask, "time_step", lambda task, architecture: StepTime(1.0, 1.0, 1.0, 0.1, 0.1))
    monkeypatch.setattr(ProxyTask, "_times_while_training", lambda task: False)


def pictures(count: int, seed: int, *, noise: float, channels: int = 1) -> Split:
    """Noise with one bright quadrant, whose number is the class; the classes are equally frequent."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    images = rng.normal(100, noise, size=(count, SIZE, SIZE, channels))
    for image, label in zip(images, labels, strict=True):
        row, column = (SIZE // 2 * part for part in divmod(label, 2))
        image[row : row + SIZE // 2, column : column + SIZE // 2] += 40
    return Split(images.clip(0, 255).astype(np.uint8), labels.astype(np.int64))


def made(noise: float = 30.0, *, train: int = 256, channels: int = 1) -> Data:
    return Data(
        train=pictures(train, 1, noise=noise, channels=channels),
        minival=pictures(200, 2, noise=noise, channels=channels),
        test=pictures(80, 3, noise=noise, channels=channels),
        class_names=tuple("abcd"),
        in_channels=channels,
        image_size=SIZE,
        fingerprint="made up",
        unreadable=(),
    )


def curve(task: ProxyTask, architecture: Architecture = SMALL, seed: int = 0) -> list[float]:
    return [measurement.accuracy for measurement in task(architecture, seed)]


def with_labels(split: Split, labels: NDArray[np.int64]) -> Split:
    return Split(split.images, labels)


# What a candidate gets --------------------------------------------------------------------------------------------


def test_learns_what_is_easy_to_learn() -> None:
    task = ProxyTask(made(), replace(QUICK, epochs=4), SMALL, device="cpu")
    accuracies = curve(task)
    assert len(accuracies) == 4
    assert accuracies[-1] > 0.9
    assert all(0 <= a <= 1 and a * 200 == pytest.approx(round(a * 200)) for a in accuracies)  # of 200 pictures


def test_every_field_of_a_measurement_is_filled() -> None:
    task = ProxyTask(made(channels=3), QUICK, SMALL, device="cpu")
    measurements = list(task(LARGE, 0))
    assert [m.epoch for m in measurements] == [1, 2, 3]
    known = cost(LARGE, SIZE, num_classes=CLASSES, in_channels=3)
    for m in measurements:
        assert isinstance(m, Measurement)
        assert (m.params, m.macs, m.activations) == known
        assert (m.batch_size, m.host) == (32, platform.node())
        assert m.peak_memory_bytes > 3 * 4 * known.params  # type: ignore[operator]
        assert m.peak_memory > 1  # type: ignore[operator]
        assert (m.latency, m.latency_batch, m.timing_note, m.driver) == (None, None, None, None)
        assert m.device
        assert None not in (m.step_time, m.step_time_low, m.step_time_high, m.step_time_s, m.train_time_s)
        assert 0 < m.step_time_low <= m.step_time <= m.step_time_high  # type: ignore[operator]
        assert 1e-5 < m.step_time_s < 10  # type: ignore[operator]
        assert m.snip == task.zero_cost(LARGE)["snip"]
        assert m.step_time > 1.2  # the larger network takes longer than the anchor
    fresh = [m for m in measurements if m.step_time_samples]
    assert fresh[0] is measurements[0]
    assert len({m.step_time_samples for m in fresh}) == len(fresh), "samples are told where they are new"
    assert len({m.step_time for m in measurements}) <= len(fresh)
    assert np.median(measurements[0].step_time_samples) == pytest.approx(measurements[0].step_time, abs=1e-4)
    times = [m.train_time_s for m in measurements]
    assert times == sorted(times)  # type: ignore[type-var]
    assert times[0] > 0  # type: ignore[operator]
    built = build_network(LARGE, CLASSES, 3)
    assert known.params == sum(p.numel() for p in built.parameters())


def test_measurements_within_an_epoch_change_nothing_at_its_end() -> None:
    task = ProxyTask(made(noise=60.0), QUICK, SMALL, device="cpu")
    plain = list(task(LARGE, 0))
    task.measure_at = (0.25, 1.5, 2, 7)  # 8 steps an epoch
    found = {m.epoch: m for m in pickle.loads(pickle.dumps(task))(LARGE, 0)}
    assert list(found) == [0.25, 1, 1.5, 2, 3]
    assert [found[m.epoch].accuracy for m in plain] == [m.accuracy for m in plain]
    assert found[0.25].accuracy < found[3].accuracy
    assert all(m.step_time and m.snip and m.peak_memory_bytes for m in found.values())
    assert "measure_at" not in str(task.describe())


def test_a_first_step_time_may_be_of_few_blocks_and_gets_better() -> None:
    task = ProxyTask(made(train=1024), QUICK, SMALL, device="cpu")
    task.measure_at = (10 / 32,)
    found = list(task(LARGE, 0))
    counts = [len(m.step_time_samples) for m in found]
    assert counts[0] >= BLOCKS
    told = [count for count in counts if count]
    assert told == sorted(told), "told again where it has more blocks"
    assert told[-1] <= 5 * BLOCKS
    last, of = found[-1], max(counts)
    precise = (last.step_time_high - last.step_time_low) <= PRECISION * last.step_time  # type: ignore[operator]
    assert precise or of == 5 * BLOCKS


def test_zero_cost_scores_are_a_function_of_task_and_architecture() -> None:
    task, other = (ProxyTask(made(train=train), QUICK, SMALL, device="cpu") for train in (256, 128))
    scores = task.zero_cost(SMALL)
    before = torch.get_rng_state()
    task.zero_cost(LARGE)
    assert pickle.loads(pickle.dumps(task)).zero_cost(SMALL) == task.zero_cost(SMALL) == scores
    assert torch.equal(torch.get_rng_state(), before)
    assert set(scores) == {"snip", "synflow"}
    assert all(math.isfinite(score) for score in scores.values())
    assert task.zero_cost(SMALL, names=("synflow",)) == {"synflow": scores["synflow"]}
    assert other.zero_cost(SMALL)["synflow"] == scores["synflow"]  # which looks at no pictures
    assert other.zero_cost(SMALL)["snip"] != scores["snip"]


def test_a_score_that_is_no_number_is_left_out(untimed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.proxy.snip", lambda *_: -math.inf)
    task = ProxyTask(made(), replace(QUICK, epochs=1), SMALL, device="cpu")
    assert [m.snip for m in task(SMALL, 0)] == [None]


def test_the_anchor_s_own_step_time_is_about_1() -> None:
    timed = ProxyTask(made(), QUICK, SMALL, device="cpu").time_step(SMALL)
    assert 0.5 < timed.ratio < 2.0
    assert timed.seconds == pytest.approx(timed.anchor_seconds, rel=1.0)


def test_a_step_is_timed_on_one_thread_whatever_the_training_has(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def note(*steps: object, **options: object) -> StepTime:
        threads.append(torch.get_num_threads())
        if len(threads) > 1:
            raise MemoryError
        return StepTime(1.0, 1.0, 1.0, 0.1, 0.1)

    monkeypatch.setattr("trainers.step_timer.time_steps", note)
    task = ProxyTask(made(), QUICK, SMALL, device="cpu")
    torch.set_num_threads(2)
    task.time_step(SMALL)
    assert (threads, torch.get_num_threads()) == ([1], 2)
    with pytest.raises(MemoryError):
        task.time_step(LARGE)
    assert (threads, torch.get_num_threads()) == ([1, 1], 2)
    torch.set_num_threads(1)


def test_with_one_thread_the_steps_of_the_training_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    call = RandomStep.__call__

    def noted(step: RandomStep) -> torch.Tensor:
        taken.append(str(step.network.architecture))
        return call(step)

    monkeypatch.setattr(RandomStep, "__call__", noted)
    monkeypatch.setattr("trainers.proxy.PRECISION", 10.0)  # five pairs will do
    task = ProxyTask(made(train=8_000), replace(QUICK, epochs=1), SMALL, device="cpu")
    alone = list(task(LARGE, 5))
    assert set(taken) == {str(SMALL)}, "nothing but the anchor's steps is computed for it"
    assert alone[0].step_time is not None
    assert alone[0].step_time > 1
    assert {m.step_time for m in alone} == {alone[0].step_time}
    torch.set_num_threads(2)
    try:
        before = list(task(LARGE, 5))
    finally:
        torch.set_num_threads(1)
    assert set(taken) == {str(SMALL), str(LARGE)}
    assert before[-1].step_time == pytest.approx(alone[-1].step_time, rel=1.0)


def test_timing_changes_nothing_of_the_training(request: pytest.FixtureRequest) -> None:
    task = ProxyTask(made(noise=60.0), QUICK, SMALL, device="cpu")
    timed = curve(task, seed=3)
    request.getfixturevalue("untimed")
    assert curve(task, seed=3) == timed


def test_a_training_of_few_steps_is_timed_with_more(monkeypatch: pytest.MonkeyPatch) -> None:
    task = ProxyTask(made(), Recipe(epochs=1, batch_size=256), SMALL, device="cpu")
    (only,) = list(task(SMALL, 0))
    assert only.step_time is not None
    assert 0.5 < only.step_time < 2.0


def test_the_same_seed_trains_the_same_whatever_came_before(request: pytest.FixtureRequest) -> None:
    hard = ProxyTask(made(noise=120.0), QUICK, SMALL, device="cpu")
    first = curve(hard, seed=5)
    request.getfixturevalue("untimed")
    torch.manual_seed(99)
    np.random.default_rng(99)
    others = [curve(hard, seed=seed) for seed in (6, 7)]
    curve(hard, LARGE, seed=5)
    assert curve(hard, seed=5) == first
    assert curve(ProxyTask(made(noise=120.0), QUICK, SMALL, device="cpu"), seed=5) == first
    assert first not in others
    assert others[0] != others[1]


@pytest.mark.usefixtures("untimed")
def test_accuracy_is_of_the_minival_and_of_nothing_else() -> None:
    data = made()
    expected = curve(ProxyTask(data, QUICK, SMALL, device="cpu"))
    assert expected[-1] > 0.9
    wrong_test = replace(data, test=with_labels(data.test, (data.test.labels + 1) % CLASSES))
    no_test = replace(data, test=Split(data.test.images[:0], data.test.labels[:0]))
    for changed in (wrong_test, no_test):
        assert curve(ProxyTask(changed, QUICK, SMALL, device="cpu")) == expected
    wrong_minival = replace(data, minival=with_labels(data.minival, (data.minival.labels + 1) % CLASSES))
    assert curve(ProxyTask(wrong_minival, QUICK, SMALL, device="cpu"))[-1] < 0.1


@pytest.mark.usefixtures("untimed")
def test_nothing_is_trained_before_it_is_asked_for() -> None:
    task = ProxyTask(made(), replace(QUICK, epochs=10_000), SMALL, device="cpu")
    measurements = task(SMALL, 0)
    assert next(measurements).epoch == 1
    assert next(measurements).epoch == 2  # a scheduler may stop here
    measurements.close()  # type: ignore[attr-defined]


def test_pickles_its_arrays_and_nothing_of_the_device() -> None:
    data = made()
    task = ProxyTask(data, QUICK, SMALL, device="cpu")
    expected = curve(task)
    assert task._on_device is not None
    sent = pickle.dumps(task)
    size = sum(split.images.nbytes + split.labels.nbytes for split in (data.train, data.minival, data.test))
    assert len(sent) < size + 10_000
    assert b"torch" not in sent
    received = pickle.loads(sent)
    assert (received._on_device, received._timer) == (None, None)
    assert task._on_device is not None  # the sender keeps its own
    assert curve(received) == expected


@pytest.mark.usefixtures("untimed")
def test_trains_on_arrays_that_may_not_be_written_to() -> None:
    data = made()
    for split in (data.train, data.minival):  # as they are in an object store
        split.images.flags.writeable = split.labels.flags.writeable = False
    before = data.train.images.copy()
    assert curve(ProxyTask(data, QUICK, SMALL, device="cpu"))[-1] > 0.8
    assert (data.train.images == before).all()


def test_describes_all_that_decides_what_is_measured() -> None:
    task = ProxyTask(made(), QUICK, SMALL, device="cpu")
    described = task.describe()
    assert json.loads(json.dumps(described)) == described
    assert ProxyTask(made(), QUICK, SMALL, device="cpu").describe() == described
    others = [
        ProxyTask(made(), replace(QUICK, learning_rate=0.1), SMALL, device="cpu"),
        ProxyTask(made(), QUICK, LARGE, device="cpu"),
        ProxyTask(replace(made(), fingerprint="other"), QUICK, SMALL, device="cpu"),
        ProxyTask(made(train=128), QUICK, SMALL, device="cpu"),
    ]
    assert described not in [other.describe() for other in others]


# What cannot be ---------------------------------------------------------------------------------------------------


def test_an_unknown_device_and_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="device must be auto, cpu or cuda; got 'tpu'"):
        ProxyTask(made(), QUICK, SMALL, device="tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch finds no CUDA device here; choose cpu or auto"):
        ProxyTask(made(), QUICK, SMALL, device="cuda")
    assert ProxyTask(made(), QUICK, SMALL).describe()["device"] == "cpu"


def test_a_search_has_a_minival() -> None:
    with pytest.raises(ValueError, match="minival must have at least 1 picture"):
        ProxyTask(replace(made(), minival=pictures(0, 2, noise=1.0)), QUICK, SMALL, device="cpu")


@pytest.mark.usefixtures("untimed")
def test_a_batch_larger_than_the_training_pictures() -> None:
    with pytest.raises(ValueError, match="batch_size must be at most the 16 training pictures; got 32"):
        ProxyTask(made(train=16), QUICK, SMALL, device="cpu")
    network, data = build_network(SMALL, CLASSES, 1), on_device(made(train=16), CPU)
    with pytest.raises(ValueError, match="batch_size must be at most the 16 training pictures; got 32"):
        next(train_epochs(network, data, QUICK, seed=0))
    assert len(curve(ProxyTask(made(train=32), QUICK, SMALL, device="cpu"))) == 3


def test_a_recipe_that_a_brief_training_would_not_heed_is_refused() -> None:
    with pytest.raises(ValueError, match="must leave dropout, ema at the default"):
        ProxyTask(made(), replace(QUICK, ema=0.9, dropout=0.2), SMALL, device="cpu")


@pytest.mark.parametrize(("optimizer", "rate"), [("rmsprop", 0.2), ("adamw", 0.02)])
def test_other_optimizers_learn_too(optimizer: str, rate: float) -> None:
    recipe = replace(QUICK, optimizer=optimizer, learning_rate=rate, schedule="constant", accumulate=2)
    network = build_network(SMALL, CLASSES, 3, generator=torch.Generator().manual_seed(0))
    losses = [told.loss for told in train_epochs(network, on_device(made(channels=3), CPU), recipe, seed=0)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.usefixtures("untimed")
def test_a_training_that_diverges_is_a_floating_point_error() -> None:
    task = ProxyTask(made(), replace(QUICK, learning_rate=1e30), SMALL, device="cpu")
    with pytest.raises(FloatingPointError, match=r"the training loss became (nan|inf) in epoch \d"):
        curve(task)
    healthy = ProxyTask(made(), QUICK, SMALL, device="cpu")
    assert curve(healthy)[-1] > 0.8  # which leaves nothing behind


# The training loop ------------------------------------------------------------------------------------------------


def test_pictures_on_the_device_are_normalised_by_the_training_pictures() -> None:
    data = made(channels=3)
    data.train.images[..., 2] = 7  # a channel of one colour
    moved = on_device(data, CPU)
    assert moved.train.images.shape == (256, 3, SIZE, SIZE)
    assert moved.train.images.dtype == torch.uint8
    normalised = moved.normalised(moved.train.images)
    assert normalised.dtype == torch.float32
    assert normalised.is_contiguous(memory_format=torch.channels_last)
    assert normalised.mean((0, 2, 3)).abs().max() < 1e-4
    assert torch.allclose(normalised.std((0, 2, 3)), torch.tensor([1.0, 1.0, 0.0]), atol=1e-3)
    shift = moved.normalised(moved.minival.images).mean((0, 2, 3))[:2]
    assert shift.abs().max() > 0  # by the training pictures' mean, not by its own
    assert set(moved._fields) == {"train", "minival", "mean", "std", "num_classes"}  # the test pictures stay behind


def test_batches_sent_to_the_device_are_those_that_are_there() -> None:
    split = on_device(made(channels=3), CPU).train
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    there, sent = (list(replace(split, resident=resident).batches(order, 64)) for resident in (True, False))
    assert [len(labels) for _, labels in there] == [64, 64, 64, 8]
    for (images, labels), (other_images, other_labels) in zip(there, sent, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)
    assert torch.equal(torch.cat([images for images, _ in sent]), split.images[order])


def test_a_training_stops_where_it_is_asked_to_and_goes_on_the_same() -> None:
    def told(*stops: float) -> list[Progress]:
        network = build_network(SMALL, CLASSES, 1, generator=torch.Generator().manual_seed(0))
        found = []
        for one in train_epochs(network, on_device(made(), CPU), QUICK, seed=0, stops=stops):
            network.eval()  # as for a measurement
            found.append(one)
        return found

    plain, asked = told(), told(0.25, 0.5, 1.01, 2, 5)
    assert [one.epochs for one in asked] == [0.25, 0.5, 1, 2, 3]  # of 8 steps each, 1.01 is the first's end
    assert [one.epochs for one in plain] == [1, 2, 3]
    assert [one.loss for one in asked[3:]] == pytest.approx([one.loss for one in plain[1:]])
    first = (2 * asked[0].loss + 2 * asked[1].loss + 4 * asked[2].loss) / 8
    assert first == pytest.approx(plain[0].loss)


def test_on_a_cpu_pictures_are_not_copied() -> None:
    data = made()
    moved = on_device(data, CPU)
    assert moved.train.stored.data_ptr() == data.train.stored.ctypes.data


def test_the_loss_falls_and_the_order_is_the_seed_s() -> None:
    def losses(seed: int) -> list[float]:
        network = build_network(SMALL, CLASSES, 1, generator=torch.Generator().manual_seed(0))
        return [told.loss for told in train_epochs(network, on_device(made(), CPU), QUICK, seed=seed)]

    first = losses(0)
    assert first[-1] < first[0] < math.log(CLASSES) * 1.5
    assert losses(0) == first != losses(1)


@pytest.mark.parametrize(
    "text", ["crop", "flip", "randaugment:5", "cutout", "mixup", "cutmix", "crop,flip,mixup,cutmix"]
)
def test_pictures_are_varied_as_the_seed_has_it(text: str) -> None:
    def losses(augmentation: str, seed: int = 0) -> list[float]:
        network = build_network(SMALL, CLASSES, 3, generator=torch.Generator().manual_seed(0))
        recipe = replace(QUICK, augmentation=Augmentation.parse(augmentation))
        return [told.loss for told in train_epochs(network, on_device(made(channels=3), CPU), recipe, seed=seed)]

    varied = losses(text)
    assert varied == losses(text)
    assert varied != losses(text, seed=1)
    assert varied != losses("none")
    assert all(map(math.isfinite, varied))


def test_a_varied_task_is_another_task() -> None:
    plain, varied = (
        ProxyTask(made(), replace(QUICK, augmentation=Augmentation.parse(text)), SMALL).describe()
        for text in ("none", "crop,randaugment:7")
    )
    assert plain["recipe"]["augmentation"] == "none"
    assert varied["recipe"]["augmentation"] == "crop:0.125,randaugment:7"
    assert json.loads(json.dumps(varied)) == varied


def test_weight_decay_is_for_weights_of_convolutions_and_classifier_alone() -> None:
    network = build_network(SMALL, CLASSES, 1)
    step = TrainingStep(network, replace(QUICK, weight_decay=0.5), CPU)
    groups = step.optimizer.param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] == 0.5 for p in group["params"]}
    kept = {id(p) for group in groups if group["weight_decay"] == 0.0 for p in group["params"]}
    expected = {
        id(m.weight)
        for m in network.modules()
        if isinstance(m, torch.nn.Conv2d | torch.nn.Linear) and m.weight.ndim > 1
    }
    assert decayed == expected
    assert decayed | kept == {id(p) for p in network.parameters()}


def test_a_step_at_a_rate_of_zero_changes_no_weight() -> None:
    network, moved = build_network(SMALL, CLASSES, 1), on_device(made(), CPU)
    before = [p.detach().clone() for p in network.parameters()]
    step = TrainingStep(network, QUICK, CPU)
    images, labels = moved.normalised(moved.train.images[:32]), moved.train.labels[:32]
    loss = step(images, labels, 0.0)
    assert loss.shape == ()
    assert not loss.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    step(images, labels, 0.1)
    assert not all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize("batch_size", [7, 200, 1000])
def test_accuracy_counts_every_picture_once(batch_size: int) -> None:
    moved = on_device(made(), CPU)

    class Constant(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert not self.training
            scores = torch.zeros(len(images), CLASSES)
            scores[:, 2] = 1.0
            return scores

    assert accuracy(Constant(), moved.minival, moved, batch_size=batch_size) == 0.25


def test_no_autocast_on_a_cpu() -> None:
    with autocast(CPU):
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    task = ProxyTask(made(channels=3), replace(QUICK, epochs=4), SMALL, device="auto")
    assert task.describe()["device"] == "cuda"
    measurements = list(task(SMALL, 0))
    assert measurements[-1].accuracy > 0.8
    assert measurements[-1].device == torch.cuda.get_device_name()
    assert measurements[-1].peak_memory_bytes is not None
    assert measurements[-1].peak_memory_bytes > 1_000_000
    assert measurements[-1].step_time is not None
    assert 0.5 < measurements[-1].step_time < 2.0
    assert b"torch" not in pickle.dumps(task)


def test_step_times_are_expected_by_a_calibration() -> None:
    task = ProxyTask(made(), Recipe(epochs=1, batch_size=64), SMALL)
    assert not task.has_step_time
    with pytest.raises(ValueError, match="there is none yet"):
        task.expected_step_time(SMALL)
    block = Block("stem", 1, 8, SIZE)
    task.calibration = Calibration({"image_size": SIZE}, 0.1, {block: Timed(0.5, 0.4, 0.6, 3)}, (0.25, 0.0), 1.0)
    assert task.has_step_time
    assert task.expected_step_time(SMALL) > 0.75
    received = pickle.loads(pickle.dumps(task))
    assert received.expected_step_time(SMALL) == task.expected_step_time(SMALL), "so that workers have it too"


def test_a_narrower_network_is_trained_and_the_whole_one_is_counted(untimed: None) -> None:
    half = ProxyTask(made(), QUICK, SMALL, device="cpu", width=0.5)
    whole = ProxyTask(made(), QUICK, SMALL, device="cpu")
    built = half._build(LARGE, 0)
    assert sum(p.numel() for p in built.parameters()) < 0.5 * sum(
        p.numel() for p in whole._build(LARGE, 0).parameters()
    )
    (one, *_), (other, *_) = half(LARGE, 0), whole(LARGE, 0)
    assert (one.params, one.macs) == (other.params, other.macs)
    assert half.describe() == {**whole.describe(), "width": 0.5}
    with pytest.raises(ValueError, match="width must be above 0 and at most 1"):
        ProxyTask(made(), QUICK, SMALL, width=0.0)
