"""On how many devices a training runs, and whether that can be: said before anything is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.search import Workers, check_reachable
from trainers.cores import usable_cores

if TYPE_CHECKING:
    from trainers.recipe import Recipe


def choose_devices(count: int | None, *, shards: int | None, device: str, address: str | None) -> Workers | None:
    """The workers that train, one a device; None is this process alone.

    Args:
        count: devices asked for; None takes as many as the training began with, or one.
        shards: of a training that began, which are as many as it had devices; None where it begins.
        device: `cpu`, `cuda` or `auto`, of each.
        address: of a Ray cluster, whose devices are counted when it is joined.

    Raises:
        ValueError: they are not there, or cannot go on with the training.
    """
    if count is None and shards is None and address is not None:
        raise ValueError(
            "devices must be given with the address of a cluster (--address, RAY_ADDRESS), such as --devices 8"
        )
    count = count or shards or 1
    if shards is not None and shards % count:
        fit = ", ".join(str(n) for n in range(1, shards + 1) if shards % n == 0)
        raise ValueError(
            f"a training goes on with the same numbers on a divisor of the {shards} devices it began with: --devices "
            f"{fit}; got {count}"
        )
    if address is not None:
        check_reachable(address)
        return Workers(count, 1.0, float(device == "cuda"), address)
    if count == 1:
        return None
    from trainers.devices import count_gpus, torch_device

    cores = usable_cores()
    on_gpus = torch_device(device).type == "cuda"
    there, what = (count_gpus(), "GPUs") if on_gpus else (cores, "cores")
    if count > there:
        going_on = "" if shards is None else f"; the training began with {shards}, and goes on on fewer with the same"
        more = " or --device cpu," if on_gpus and count <= cores else ""
        raise ValueError(
            f"devices must be at most the {there} {what} of this machine; got {count}{going_on}: ask for fewer,{more} "
            f"or name a cluster (--address)"
        )
    return Workers(count, float(max(1, cores // count)) if on_gpus else 1.0, float(on_gpus))


def check_batch(recipe: Recipe, devices: int) -> None:
    """Say at once where a batch cannot be shared out.

    Raises:
        ValueError: it is no multiple of the devices times the parts of a step.
    """
    least = devices * recipe.accumulate
    if rest := recipe.batch_size % least:
        lower, parts = recipe.batch_size - rest, "" if recipe.accumulate == 1 else f" x {recipe.accumulate} accumulated"
        nearest = " or ".join(str(size) for size in (lower, lower + least) if size)
        raise ValueError(
            f"the batch must be a multiple of the devices{parts}, which each take an equal part of it; got "
            f"{recipe.batch_size} on {devices}: --batch-size {nearest}"
        )
