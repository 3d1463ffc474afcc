"""The record of one evaluation: `Measurement`, `Failure` and `Trial`. Plain data, no heavy imports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

State = Literal["running", "complete", "stopped", "failed", "infeasible", "repeat"]
"""`running` is asked and not told; `stopped` early by a scheduler; `infeasible` over a limit, before any
training or, of one that has to be measured, in its first steps; `repeat` answered with the trial that evaluated the
same architecture before."""

Arm = Literal["controller", "random", "screened", "confirm"]

FailureKind = Literal["out_of_memory", "diverged", "timeout", "worker_lost", "error", "over_limit"]
"""`worker_lost`: the process that evaluated it was lost, or its GPU was. `over_limit`: of a limit that nothing tells
before a network is built; its trial is infeasible, not failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What was measured of one architecture after some epochs of training.

    Args:
        accuracy: top-1 on the minival split, as a fraction.
        epoch: epochs trained so far, a fraction where it was measured within one; None is one more than before.
        step_time: training step time (forward, backward, optimiser) over the anchor's, a ratio.
        step_time_low: lower end of its 95 % interval.
        step_time_high: upper end.
        step_time_s: the step time itself, in seconds.
        step_time_samples: the ratios that `step_time` is the median of; where they are others than those of the
            measurement before, and in the journal alone.
        latency: time of a forward pass, as in evaluation, over the anchor's, a ratio.
        latency_low: lower end of its 95 % interval.
        latency_high: upper end.
        latency_s: the latency itself, in seconds.
        latency_batch: pictures in that pass.
        latency_samples: as `step_time_samples`.
        timing_note: what disturbed a timing, in words; None where nothing is known to have.
        params: trainable parameters.
        macs: multiply-adds of one picture.
        activations: elements in the outputs of the convolutions, for one picture.
        snip: log of the SNIP score of the untrained network (`trainers/zero_cost.py`).
        peak_memory: `peak_memory_bytes` over the anchor's, a ratio.
        peak_memory_bytes: the most memory that tensors took during a training step: weights, momentum, gradients, maps.
        train_time_s: seconds of training and evaluation so far.
        batch_size: pictures in the step that was timed.
        device: name of the device.
        host: name of the machine.
        driver: version of the GPU's driver, where NVML tells it; so are the following.
        sm_clock_mhz: clock of the GPU's multiprocessors at the end of the timing.
        memory_clock_mhz: of its memory.
        temperature_c: of the GPU.
        slowed_by: why its clocks were lower than they could be, such as a power cap.
    """

    accuracy: float
    epoch: float | None = None
    step_time: float | None = None
    step_time_low: float | None = None
    step_time_high: float | None = None
    step_time_s: float | None = None
    step_time_samples: tuple[float, ...] = ()
    latency: float | None = None
    latency_low: float | None = None
    latency_high: float | None = None
    latency_s: float | None = None
    latency_batch: int | None = None
    latency_samples: tuple[float, ...] = ()
    timing_note: str | None = None
    params: int | None = None
    macs: int | None = None
    activations: int | None = None
    snip: float | None = None
    peak_memory: float | None = None
    peak_memory_bytes: int | None = None
    train_time_s: float | None = None
    batch_size: int | None = None
    device: str | None = None
    host: str | None = None
    driver: str | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_c: int | None = None
    slowed_by: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an evaluation gave no measurement: its kind and the last line of what was said."""

    kind: FailureKind
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One candidate that a controller asked for, and what became of it.

    Args:
        number: counts the asks of a run, from 0.
        genotype: one option's index per choice of the space.
        architecture: the architecture's text, which identifies it.
        replicate: 0 for the first evaluation of an architecture, 1 for the second on purpose, ...
        arm: who proposed it: the `controller`, the `random` arm, `screened` for the best of many untrained networks,
            or `confirm` for a leader trained once more.
        seed: of its training; a function of the run's seed, the architecture and the replicate, unless it was reused.
        state: what became of it.
        attempt: how often its evaluation was begun.
        repeat_of: the trial that evaluated the same architecture, for a repeat.
        reused_from: `folder#number`, the trial of an earlier run whose training this is; None of one trained here.
        failure: what kind of failure, for a failed trial.
        reason: the last line of the failure, or the limit that an infeasible trial breaks.
        measurement: the newest measurement; a repeat carries the original's.
        curve: the accuracy of each measurement, one an epoch or more.
        curve_epochs: after how many epochs each was made.
        reward: what the controller maximises; None unless complete (or the repeat of a complete trial).
        hypervolume: of the front of all complete trials up to this one's end; None where there is none.
        features: what is known before training, as the controller was given it.
        asked_at: seconds since 1970 when it was asked for.
        told_at: when its outcome was told.
    """

    number: int
    genotype: tuple[int, ...]
    architecture: str
    seed: int
    replicate: int = 0
    arm: Arm = "controller"
    state: State = "running"
    attempt: int = 1
    repeat_of: int | None = None
    reused_from: str | None = None
    failure: FailureKind | None = None
    reason: str | None = None
    measurement: Measurement | None = None
    curve: tuple[float, ...] = ()
    curve_epochs: tuple[float, ...] = ()
    reward: float | None = None
    hypervolume: float | None = None
    features: tuple[float, ...] = field(default=())
    asked_at: float | None = None
    told_at: float | None = None

    @property
    def epochs(self) -> float:
        """For how many epochs it has been trained, as far as was measured."""
        return 0.0 if self.measurement is None or self.measurement.epoch is None else self.measurement.epoch
