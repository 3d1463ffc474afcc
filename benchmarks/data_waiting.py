"""How much of its time a training waits for pictures: streamed from a folder, streamed from parquet, and packed.

The pictures are made up: JPEGs of 500 x 375 px and some 55 kB, as those of ImageNet are. Networks train on random crops
of them at each size, the small space's backbone on a CPU and EfficientNetV2-S on a GPU, by the step of searches. Prints
one JSON object: of each input and size, the share of the time in which the loop stood still until a batch was there
(the first one of each epoch included), how much longer it took than over the same batches held in memory (on a CPU the
decoding takes cores from the training, which is no waiting), and pictures a second. The bar is 5 % of waiting.

    python benchmarks/data_waiting.py > data_waiting.json
"""

from __future__ import annotations

import io
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from machine import machine, parser, spread
from PIL import Image
from torch import Tensor

from search_spaces import PUBLISHED, SPACES
from trainers.crops import crop_boxes
from trainers.devices import torch_device
from trainers.network import build_network
from trainers.pictures import Pictures, open_pictures
from trainers.recipe import Recipe
from trainers.train import TrainingStep

CLASSES = 10

DISTINCT = 320
"""Pictures that are made up; more are these again."""

CASES = ((32, 128, 20), (64, 128, 20), (300, 32, 3))
"""Side in pixels, batch size, and batches of an epoch on a CPU; on a GPU all that there are."""

Batch = tuple[Tensor, Tensor]


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


def epoch_of(pictures: Pictures, epoch: int, case: tuple[int, int, int]) -> Iterator[Batch]:
    size, batch_size, most = case
    order = pictures.training_order(seed=0, epoch=epoch)
    order = order[: min(most, len(order) // batch_size) * batch_size]
    boxes = crop_boxes(order, seed=0, epoch=epoch, min_area=0.25)
    return pictures.batches("train", order, batch_size=batch_size, image_size=size, boxes=boxes)


def trained(step: TrainingStep, batches: Iterable[Batch], device: torch.device) -> tuple[float, float, int]:
    """Seconds in all, seconds of waiting, and pictures; the device has ended its work before a wait is timed."""
    begun, waited, count = time.perf_counter(), 0.0, 0
    coming = iter(batches)
    while True:
        asked = time.perf_counter()
        batch = next(coming, None)
        waited += time.perf_counter() - asked
        if batch is None:
            return time.perf_counter() - begun, waited, count
        images, labels = batch
        step((images.float() - 128) / 128, labels, 0.01)
        if device.type == "cuda":
            torch.cuda.synchronize()
        count += len(labels)


def measure(source: Path, form: str, case: tuple[int, int, int], *, n: int, device: torch.device) -> dict[str, Any]:
    pictures = open_pictures(
        str(source), image_size=case[0], minival=CLASSES, split_seed=0, device=device, memory=form, cache_limit_gb=0
    )
    architecture = PUBLISHED["efficientnetv2-s"] if device.type == "cuda" else SPACES["small"].backbone
    with device:
        network = build_network(architecture, CLASSES).to(memory_format=torch.channels_last)
    step = TrainingStep(network, Recipe(), device)
    held = list(epoch_of(pictures, 0, case))
    trained(step, held, device)  # to warm up
    shares, longer, rates = [], [], []
    for epoch in range(n):
        streamed_s, waited_s, count = trained(step, epoch_of(pictures, epoch, case), device)
        held_s, _, _ = trained(step, held, device)
        shares.append(waited_s / streamed_s)
        longer.append(streamed_s / held_s - 1)
        rates.append(count / streamed_s)
    return {"waiting_share": spread(shares), "longer_share": spread(longer), "pictures_per_s": spread(rates, 1)}


def main() -> None:
    options = parser("Measure how long a training waits for pictures; prints JSON.", n=3)
    options.add_argument("--device", default="auto", help="cpu, cuda or auto")
    options.add_argument("--pictures", type=int, default=2700, help="how many there are")
    arguments = options.parse_args()
    count, n = (100, 1) if arguments.quick else (arguments.pictures, arguments.n)
    device = torch_device(arguments.device)
    about = machine()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        sources = write(Path(folder), count)
        for size, batch_size, most in CASES:
            most = most if device.type == "cpu" else count
            for source, form in (("folder", "streamed"), ("parquet", "streamed"), ("folder", "packed")):
                case = size, min(batch_size, count // 4), most
                found = measure(sources[source], form, case, n=n, device=device)
                results.append({"input": form if form == "packed" else source, "image_size": size, **found})
    result = {"benchmark": "data_waiting", "machine": about, "device": device.type, "pictures": count, "rows": results}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
