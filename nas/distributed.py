"""A training on several devices, by Ray Train: the same engine, the same folder, the same numbers.

Each worker opens the training's folder and computes its part of every batch; the first one saves and writes results, as
a training in one process does. Ray Train places the workers, connects them, and begins again where one is lost; each
then goes on from the folder's last checkpoint. Ray is given no checkpoint, and its own files do not outlive the run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from nas.ray_cluster import ray_started

# isort: split
import ray
import ray.train
from ray.train.torch import TorchTrainer, get_device

from nas.evaluation import failure_of
from nas.interrupts import first_interrupt
from nas.search import Workers
from nas.trainings import FILE, RAY, Watch, locked, reopen, write_results
from trainers.devices import use_one_core
from trainers.epoch import Epoch
from trainers.group import Group
from trainers.progressive import Settings
from trainers.training import Training

RETRIES = 3
"""How often a training is begun again in workers, at its last checkpoint, before it is given up."""

POST_EVERY_S = 0.5
"""Seconds between two steps that the command is told of."""

LOCK_WAIT_S = 30.0
"""How long a worker waits for the folder: that of a command killed just now may still be in it."""

COMMAND_SILENT_S = 20.0
"""How long the command may ask nothing before workers take it for killed, and end; Ray may keep them much longer."""


class _Step(NamedTuple):
    """A step that is about to be taken, as `Watch` is told of it."""

    settings: Settings
    seen: int
    loss: float | None


class _Task(NamedTuple):
    """What a worker is to do.

    Attributes:
        folder: of the training, absolute.
        said: what its file says, by which a worker knows that it sees the same folder.
        place: working directory of the command, which relative names are from.
        save_every_s: seconds between two checkpoints.
        on_gpu: whether it has a GPU.
        post: a handle of `_Post`.
    """

    folder: str
    said: str
    place: str
    save_every_s: float
    on_gpu: bool
    post: Any


def epochs_on(
    training: Training,
    folder: Path,
    workers: Workers,
    watch: Watch,
    *,
    device: str,
    save_every_s: float,
    say: Callable[[str], None],
) -> Generator[Epoch, None, None]:
    """Train to the end on workers; gives each epoch as it is over, when the folder has its results.

    Args:
        training: as it is so far, on a CPU; at the end it is as it has become.
        folder: of the training; every machine must see it.
        workers: one a device.
        watch: is told of some of the steps.
        device: `cpu`, `cuda`, or `auto`: GPUs where the cluster has enough.
        save_every_s: seconds of training between two checkpoints.
        say: is told when a worker was lost.

    Raises:
        BlockingIOError: another process trains in the folder.
        FloatingPointError, ValueError, OSError: what went wrong in a worker.
        ConnectionError: Ray cannot be started or joined.
        ChildProcessError: workers were lost, or failed in another way, more often than `RETRIES`.
    """
    folder = folder.resolve()
    with locked(folder):
        pass  # say at once where another process trains; the first worker holds it
    with ray_started(workers), _own_folder(folder) as scratch:
        enough = ray.cluster_resources().get("GPU", 0.0) >= workers.count
        on_gpu = workers.gpus > 0 or (workers.address is not None and device == "auto" and enough)
        post = _Post.remote(training.over)  # type: ignore[attr-defined]
        task = _Task(str(folder), (folder / FILE).read_text(), str(Path.cwd()), save_every_s, on_gpu, post)
        running = _fit.remote(task, workers.count, workers.cpus, str(scratch))
        try:
            yield from _epochs(post, running, watch, say)
        finally:
            _end(running)
    assert training.checkpoints is not None
    last = training.checkpoints.load()
    assert last is not None
    training.restore(last)


def _epochs(post: Any, running: Any, watch: Watch, say: Callable[[str], None]) -> Iterator[Epoch]:
    """What is told of the training until it is over.

    Ctrl-C is heeded between two looks: raised wherever it comes, Ray's own code may swallow it.

    Raises:
        KeyboardInterrupt: it was asked for.
    """
    over, stopping = False, threading.Event()
    with first_interrupt(stopping.set):
        while not over:
            over = bool(ray.wait([running], timeout=0.3)[0])
            if stopping.is_set():
                raise KeyboardInterrupt
            for event in ray.get(post.take.remote()):
                if isinstance(event, str):
                    say(event)
                elif isinstance(event, _Step):
                    watch(*event)
                else:
                    yield event
    reason = ray.get(running)
    failure = ray.get(post.failure.remote())
    if failure is not None:
        raise failure
    if reason is not None:
        raise ChildProcessError(
            f"the training must go on in its workers, and failed in them again and again ({RETRIES} times begun "
            f"again): {reason}"
        )


def _end(running: Any) -> None:
    """End a training that is still running, as Ctrl-C would; by force where it does not heed that."""
    with contextlib.suppress(ray.exceptions.RayError):
        if not ray.wait([running], timeout=0)[0]:
            ray.cancel(running, recursive=False)
            if not ray.wait([running], timeout=15)[0]:
                ray.cancel(running, force=True)


@contextmanager
def _own_folder(folder: Path) -> Iterator[Path]:
    """Where Ray Train writes; in the training's folder, since it must be one that all machines see, too."""
    own = folder / RAY
    shutil.rmtree(own, ignore_errors=True)  # of a training that was killed
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


@ray.remote(num_cpus=0, max_retries=0)  # type: ignore[untyped-decorator]
def _fit(task: _Task, count: int, cpus: float, scratch: str) -> str | None:
    """Run Ray Train to its end; why it gave up, if it did.

    A task of its own, so that the command's process is free to tell of it, and to end it.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    trainer = TorchTrainer(
        _work,
        train_loop_config={"task": task},
        scaling_config=ray.train.ScalingConfig(
            num_workers=count,
            use_gpu=task.on_gpu,
            resources_per_worker={"CPU": cpus, **({"GPU": 1.0} if task.on_gpu else {})},
        ),
        run_config=ray.train.RunConfig(
            name="training",
            storage_path=scratch,
            failure_config=ray.train.FailureConfig(max_failures=RETRIES, controller_failure_limit=RETRIES),
        ),
    )
    try:
        trainer.fit()
    except SystemExit:  # how Ray Train ends one that was interrupted
        return "it was interrupted"
    except ray.train.TrainingFailedError as error:
        failures = getattr(error, "worker_failures", None) or {0: getattr(error, "controller_failure", error)}
        return "; ".join(f"worker {rank}: {failure_of(found).reason}" for rank, found in sorted(failures.items()))
    return None


@ray.remote(num_cpus=0)
class _Post:
    """Where the workers leave what the command is to be told.

    Args:
        told: the last epoch that it knows.
    """

    def __init__(self, told: int) -> None:
        self._told, self._begun = told, 0
        self._events: list[Epoch | str] = []
        self._step: _Step | None = None
        self._failure: Exception | None = None
        self._taken_at = time.monotonic()

    def attended(self) -> bool:
        """Whether the command is still there to be told."""
        return time.monotonic() - self._taken_at < COMMAND_SILENT_S

    def began(self, step: int) -> None:
        """A training began or went on at a step."""
        if self._begun:
            self._events.append(
                f"a worker was lost; going on at step {step}, for the {self._begun}. of {RETRIES} times"
            )
        self._begun += 1

    def tell(self, epochs: list[Epoch]) -> None:
        """Epochs are over; those that were told before are not told again."""
        new = [epoch for epoch in epochs if epoch.epoch > self._told]
        self._told = max([self._told, *(epoch.epoch for epoch in new)])
        self._step = None  # it is behind us
        self._events += new

    def passed(self, step: _Step) -> None:
        """A step was come to."""
        self._step = step

    def take(self) -> list[Epoch | str | _Step]:
        """What happened since it was asked last."""
        events = [*self._events, *([] if self._step is None else [self._step])]
        self._events, self._step, self._taken_at = [], None, time.monotonic()
        return events

    def fail(self, error: Exception) -> None:
        """Something went wrong that would again."""
        self._failure = self._failure or error

    def failure(self) -> Exception | None:
        """What went wrong first."""
        return self._failure


def _work(config: dict[str, Any]) -> None:
    """What each worker does. Only what another attempt may mend is an error to Ray Train, which makes one."""
    task: _Task = config["task"]
    if ray.get(task.post.failure.remote()) is not None or not ray.get(task.post.attended.remote()):
        return  # of an attempt before this one: there is nothing to try again
    threading.Thread(target=_end_with_command, args=(task.post,), daemon=True).start()
    context = ray.train.get_context()
    try:
        _train(task, Group(context.get_world_rank(), context.get_world_size()))
    except FloatingPointError as error:  # which all workers find together
        ray.get(task.post.fail.remote(error))
    except Exception as error:
        failure = failure_of(error)
        if failure.kind == "worker_lost" or (isinstance(error, RuntimeError) and failure.kind == "error"):
            raise  # the others are gone, or a GPU is
        ray.get(task.post.fail.remote(_plain(error)))
        raise  # the others wait for this one


def _end_with_command(post: Any) -> None:
    """End this process when the command has gone: nobody would know of it, and it would keep the folder."""
    attended = True
    while attended:
        time.sleep(2)
        try:
            attended = ray.get(post.attended.remote(), timeout=COMMAND_SILENT_S)
        except ray.exceptions.RayError:  # Ray has gone with it
            attended = False
    os._exit(1)


def _train(task: _Task, group: Group) -> None:
    """Train to the end, as `trainings.epochs_here` does, together."""
    folder, device = Path(task.folder), str(get_device()) if task.on_gpu else "cpu"
    with contextlib.suppress(OSError):  # on another machine it may not be there, nor needed
        os.chdir(task.place)
    if not task.on_gpu:
        use_one_core()
    _check_folder(folder, task.said)
    with _locked_soon(folder) if not group.rank else contextlib.nullcontext():
        group.wait(device)  # for the lock: another process may still have saved
        training = reopen(folder, device, group=group)
        if not group.agrees(training.step, training.device):
            raise RuntimeError(f"all machines must see the same last checkpoint in {folder}")
        if group.rank:
            for _ in training.run(save_every_s=task.save_every_s):
                pass
            return
        ray.get(task.post.began.remote(training.step))
        if training.told:
            write_results(training, folder)
        ray.get(task.post.tell.remote(training.told))
        posted_at = 0.0

        def watch(settings: Settings, seen: int) -> None:
            nonlocal posted_at
            if (now := time.monotonic()) - posted_at > POST_EVERY_S:
                task.post.passed.remote(_Step(settings, seen, training.loss))
                posted_at = now

        for epoch in training.run(save_every_s=task.save_every_s, watch=watch):
            write_results(training, folder)
            ray.get(task.post.tell.remote([epoch]))


def _check_folder(folder: Path, said: str) -> None:
    """Whether this machine sees the training's folder.

    Raises:
        ValueError: it does not, or one of the same name.
    """
    try:
        found = (folder / FILE).read_text()
    except OSError:
        found = None
    if found != said:
        seen = "is not there" if found is None else "holds another training there"
        raise ValueError(
            f"the folder of a training must be seen by all machines that train; {folder} {seen} on "
            f"{socket.gethostname()}: name one on a file system that they share (--out)"
        )


@contextmanager
def _locked_soon(folder: Path) -> Iterator[None]:
    """The folder's lock, for which a worker waits a while.

    Raises:
        BlockingIOError: another process keeps it.
    """
    end = time.monotonic() + LOCK_WAIT_S
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(folder))
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
        yield


def _plain(error: Exception) -> Exception:
    """An error of a kind that the command tells as such, and that every process can read."""
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, error.strerror, error.filename)
    for kind in (BlockingIOError, OSError, ValueError, MemoryError):
        if isinstance(error, kind):
            return kind(str(error))
    return ChildProcessError(f"a worker failed: {failure_of(error).reason}")
