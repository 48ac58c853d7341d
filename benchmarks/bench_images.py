"""Images per second and core: batched crop and flip against PIL; extraction of features, bf16 against float32."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

import torch
from torch.utils.data import DataLoader

from benchmarks.noise import NoiseTask, noise_split, seconds
from benchmarks.record import record
from benchmarks.straightforward import PilImages
from trainers.cache import Cache
from trainers.features import FeatureBank, extract_bank
from trainers.models import build_model

CPU = torch.device("cpu")


def main() -> None:
    """Prints one line a figure."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    split = noise_split([400] * 10, generator)
    pil = DataLoader(PilImages(split.images, split.labels, augment=True), batch_size=64, shuffle=True)
    order = torch.randperm(len(split), generator=generator)
    pairs = [
        (
            seconds(lambda: [images.sum() for images, _ in pil]),
            seconds(lambda: [i.sum() for i, _ in split.batches(order, batch_size=64, device=CPU, generator=generator)]),
        )
        for _ in range(3)
    ]
    ratio = median(a / b for a, b in pairs)
    record(
        name="input_pipeline", figure=ratio, unit="x", baseline="PIL RandomCrop, flip, ToTensor, Normalize", target=8,
        met=ratio >= 8, n=len(pairs), images_per_second=len(split) / median(b for _, b in pairs),
    )  # fmt: skip
    _extraction(generator)


def _extraction(generator: torch.Generator) -> None:
    model = build_model("resnet20", 10).eval()
    task = NoiseTask(noise_split([100] * 10, generator), noise_split([20] * 10, generator))
    pil = PilImages(task.train.images, task.train.labels, augment=True)

    @torch.no_grad()
    def one_by_one() -> None:
        for images, _ in DataLoader(pil, batch_size=64):
            model.features(images)

    banks: list[FeatureBank] = []

    def extract() -> None:
        banks.append(
            extract_bank(
                model, task, mode="search", epochs=1, batch_size=64, seed=0, splits=(), device=CPU, precision="bf16"
            )
        )

    extract()
    pairs = [(2 * seconds(one_by_one), seconds(extract)) for _ in range(3)]  # search extracts two views
    ratio, miss = median(a / b for a, b in pairs), median(b for _, b in pairs)
    record(
        name="extraction", figure=ratio, unit="x", baseline="float32, per-image PIL pipeline", target=2,
        met=ratio >= 2, n=len(pairs),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        cache.publish("benchmark", "features", banks[-1].to_tensors(), {})
        hit = median(seconds(lambda: cache.load("benchmark", "features")) for _ in range(5))
    record(
        name="cache_hit", figure=hit / miss, unit="of a miss", baseline="extraction", target=0.01,
        met=hit / miss <= 0.01, n=5,
    )  # fmt: skip


if __name__ == "__main__":
    main()
