"""Ray, started on this machine or joined where it runs, for searches and for trainings on several devices."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nas.ray_settings import SETTINGS

# isort: split
import ray

from nas.search import Workers


@contextmanager
def ray_started(workers: Workers) -> Iterator[None]:
    """Ray, started or joined; ended afterwards where it was started here."""
    os.environ.update({k: v for k, v in SETTINGS.items() if k not in os.environ})
    address = workers.address or os.environ.get("RAY_ADDRESS")
    started = not ray.is_initialized()
    if started:
        _start_ray(workers, address)
    try:
        has = ray.cluster_resources()
        for name, wanted in (("GPU", workers.gpus), ("CPU", workers.cpus)):
            if wanted * workers.count > has.get(name, 0.0) + 1e-9:
                raise ValueError(
                    f"{workers.count} workers of {wanted:g} {name} each need {wanted * workers.count:g}; the cluster "
                    f"has {has.get(name, 0.0):g}: ask for fewer workers or a smaller share"
                )
        yield
    finally:
        if started:
            ray.shutdown()


def _start_ray(workers: Workers, address: str | None) -> None:
    sizes: dict[str, Any] = {} if address else {"num_cpus": math.ceil(workers.count * workers.cpus - 1e-9)}
    try:
        ray.init(address=address, include_dashboard=False, logging_level="ERROR", log_to_driver=False, **sizes)
    except Exception as error:  # Ray raises many kinds here
        ray.shutdown()
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ConnectionError(
            f"Ray could not be {'joined' if address else 'started'}: {said[0]} ... {said[-1]}: "
            f"see to it (RAY_AUTH_MODE, TMPDIR, memory), or use one worker (--workers 1, --devices 1), which "
            f"needs no Ray"
        ) from error
