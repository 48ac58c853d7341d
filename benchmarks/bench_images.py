"""Images per second and core: the trainers' input against PIL; extraction of features, bf16 against float32."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

import torch
from torch.utils.data import DataLoader

from benchmarks.noise import Noise
from benchmarks.record import record
from benchmarks.straightforward import PilImages
from benchmarks.timing import in_turn, seconds
from trainers.features import FeatureBank, extract_bank
from trainers.files.cache import Cache
from trainers.stage1.models import build_model

ROUNDS = 7
CPU = torch.device("cpu")


def main() -> None:
    """Prints one line a figure."""
    torch.set_num_threads(1)
    _input()
    _extraction()


def _input() -> None:
    """An epoch of `MemorySplit.batches`, as stage 1 asks for it, against a DataLoader over PIL images."""
    split = Noise.draw([400] * 10, val=1, test=1).train
    generator = torch.Generator().manual_seed(0)
    pil = DataLoader(PilImages(split.images, split.labels, augment=True), batch_size=64, shuffle=True)
    order = torch.randperm(len(split), generator=generator)

    def ours() -> list[torch.Tensor]:
        batches = split.batches(order, batch_size=64, device=CPU, generator=generator)
        return [images.sum() for images, _ in batches]

    pairs = in_turn(lambda: [images.sum() for images, _ in pil], ours, rounds=ROUNDS)
    record(
        name="input_pipeline", figure=pairs.ratio, unit="x", baseline="PIL RandomCrop, flip, ToTensor, Normalize",
        target=8, met=pairs.ratio >= 8, n=pairs.n, best=pairs.best, images_per_second=len(split) / median(pairs.fast),
    )  # fmt: skip


def _extraction() -> None:
    noise = Noise.draw([100] * 10, val=20, test=1)
    model = build_model("resnet20", 10).eval()
    pil = PilImages(noise.train.images, noise.train.labels, augment=True)
    banks: list[FeatureBank] = []

    @torch.no_grad()
    def one_by_one() -> None:
        for _ in range(2):  # the mode `search` is two views
            for images, _ in DataLoader(pil, batch_size=64):
                model.features(images)

    def ours() -> None:
        bank = extract_bank(
            model, noise.task, mode="search", epochs=1, batch_size=64, seed=0, splits=(), device=CPU, precision="bf16"
        )
        banks.append(bank)

    pairs = in_turn(one_by_one, ours, rounds=ROUNDS)
    record(
        name="extraction", figure=pairs.ratio, unit="x", baseline="float32, per-image PIL pipeline", target=2,
        met=pairs.ratio >= 2, n=pairs.n, best=pairs.best,
    )  # fmt: skip
    _cache_hit(banks[-1], miss=median(pairs.fast))


def _cache_hit(bank: FeatureBank, *, miss: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        cache.publish("benchmark", "features", bank.to_tensors(), {})
        hits = [seconds(lambda: cache.load("benchmark", "features")) for _ in range(ROUNDS)]
    figure = median(hits) / miss
    record(
        name="cache_hit", figure=figure, unit="of a miss", baseline="extraction", target=0.01, met=figure <= 0.01,
        n=len(hits),
    )  # fmt: skip


if __name__ == "__main__":
    main()
