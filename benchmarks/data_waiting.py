"""How much of its time a training waits for pictures: streamed from a folder, streamed from parquet, and packed.

The pictures are made up: JPEGs of 500 x 375 px and some 55 kB, as those of ImageNet are. `Training.run()` trains on
them by the recipe `small-cpu` (random crops, RandAugment, dropout, stochastic depth, moving average) in two stages, the
first at half the size: the small space's backbone on a CPU, EfficientNetV2-S on a GPU, at the sizes of proxies and at
300 px. Prints one JSON object: of each input and picture size, over epochs (the first of a size, in which the device
warms up, apart), the share of the training's time in which the device waited for pictures, the first batch of an epoch
included, and pictures a second, which on a CPU tell what decoding takes from the training: that is no waiting. The bar
is 5 % of waiting. Packs go into a folder of their own.

    python benchmarks/data_waiting.py > data_waiting.json
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from machine import machine, parser, spread
from PIL import Image

from search_spaces import PUBLISHED, SPACES
from trainers.checkpoint import Checkpoints
from trainers.devices import device_name, torch_device
from trainers.epoch import Epoch
from trainers.recipes import RECIPES
from trainers.task import TrainingTask

CLASSES = 10

DISTINCT = 320
"""Pictures that are made up; more are these again."""

CPU_CASES = ((32, 128, 2560), (64, 128, 2560), (300, 32, 192))
GPU_CASES = ((64, 256, 25_600), (128, 256, 25_600), (300, 128, 12_800))
QUICK_CASES = ((32, 8, 24),)
"""Largest side in pixels, batch size, and training pictures."""

BAR = 0.05


def jpeg(seed: int) -> bytes:
    """Smooth colours with some grain, which take as long to decode as a photograph."""
    rng = np.random.default_rng(seed)
    smooth = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).resize((500, 375), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 6, (375, 500, 1))
    file = io.BytesIO()
    Image.fromarray((np.asarray(smooth) + grain).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def write(root: Path, count: int) -> dict[str, Path]:
    """The same pictures as a folder of classes, and as shards of parquet with 100 pictures in a row group."""
    images = [jpeg(seed) for seed in range(min(count, DISTINCT))]
    images = [images[number % len(images)] for number in range(count)]
    for number, image in enumerate(images):
        name = root / "folder" / f"class{number % CLASSES}"
        name.mkdir(parents=True, exist_ok=True)
        (name / f"{number:06}.jpg").write_bytes(image)
    (root / "shards").mkdir()
    for shard in range(2):
        rows = range(shard, count, 2)
        table = pa.table({"image": [images[row] for row in rows], "label": [row % CLASSES for row in rows]})
        pq.write_table(table, root / "shards" / f"train-{shard:05}-of-00002.parquet", row_group_size=100)
    return {"folder": root / "folder", "parquet": root / "shards"}


def trained(source: Path, form: str, case: tuple[int, int, int], *, n: int, device: str) -> list[Epoch]:
    """The epochs of a training, n + 1 of each of its two sizes."""
    size, batch_size, _ = case
    recipe = replace(
        RECIPES["small-cpu"](),
        epochs=2 * (n + 1),
        batch_size=batch_size,
        warmup_epochs=1.0,
        image_size=size,
        progression=replace(RECIPES["small-cpu"]().progression, stages=2, smallest=size // 2),
    )
    on_gpu = torch_device(device).type == "cuda"
    task = TrainingTask(
        recipe=recipe,
        source=str(source),
        architecture=PUBLISHED["efficientnetv2-s"] if on_gpu else SPACES["small"].backbone,
        minival=CLASSES,
        memory=form,
    )
    with tempfile.TemporaryDirectory() as folder:
        return list(task.training(device, checkpoints=Checkpoints(Path(folder))).run())


def rows(name: str, epochs: list[Epoch]) -> list[dict[str, Any]]:
    """What there is to tell of a training on an input, by picture size."""
    found = []
    for size in sorted({epoch.image_size for epoch in epochs}):
        warm = [epoch for epoch in epochs if epoch.image_size == size][1:]
        waited = spread([epoch.waited_share for epoch in warm], 4)
        found.append({
            "input": name,
            "image_size": size,
            "waited_share": waited,
            "pictures_per_s": spread([epoch.images_per_s for epoch in warm], 1),
            "under_bar": waited["median"] < BAR,
        })  # fmt: skip
    return found


def main() -> None:
    options = parser("Measure how long a training waits for pictures; prints JSON.", n=3)
    options.add_argument("--device", default="auto", help="cpu, cuda or auto")
    arguments = options.parse_args()
    device = torch_device(arguments.device)
    cases, n = GPU_CASES if device.type == "cuda" else CPU_CASES, arguments.n
    if arguments.quick:
        cases, n = QUICK_CASES, 1
    about, found = machine(), []
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["NAS_CACHE"] = str(Path(folder) / "cache")
            sources = write(Path(folder), case[2] + CLASSES)
            for source, form in (("folder", "streamed"), ("parquet", "streamed"), ("folder", "packed")):
                epochs = trained(sources[source], form, case, n=n, device=arguments.device)
                found += rows(form if form == "packed" else source, epochs)
    result = {
        "benchmark": "data_waiting",
        "machine": about,
        "device": device_name(device),
        "bar": BAR,
        "cases": [dict(zip(("image_size", "batch_size", "pictures"), case, strict=True)) for case in cases],
        "rows": found,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
