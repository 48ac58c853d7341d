"""Speed on a GPU against the straightforward loop, in one run: stage 1, features, stage 2, several trials on one card.

`python -m benchmarks.gpu_speed` needs torch, torchvision and numpy; without a GPU only --toy runs, for the code's sake.
Images are noise in the shape of CIFAR-100-LT at factor 100: time does not depend on what is in them.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.noise import NoiseTask, noise_split, seconds
from benchmarks.record import record
from benchmarks.straightforward import PilImages, stage1_step
from trainers import stage1
from trainers.captured import CapturedStep, interleaved
from trainers.config import Stage1Config, Stage2Config
from trainers.features import FeatureBank, extract_bank
from trainers.heads import train_heads
from trainers.long_tail import long_tail_counts
from trainers.models import Network, build_model


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What is measured, and on what."""

    device: torch.device
    model: str
    classes: int
    largest: int
    heads: int
    trials: tuple[int, ...] = (1, 2, 4, 8)  # at a time

    @property
    def precision(self) -> Any:
        """bfloat16 where it is meant to be fast."""
        return "bf16" if self.device.type == "cuda" else "fp32"

    def judge(self, met: bool) -> bool | None:
        """Targets are for a GPU."""
        return met if self.device.type == "cuda" else None


def main(arguments: list[str] | None = None) -> int:
    """Prints one line a figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_speed", description=__doc__.partition("\n")[0])
    parser.add_argument("--toy", action="store_true", help="small enough for a CPU")
    asked = parser.parse_args(arguments)
    if not asked.toy and not torch.cuda.is_available():
        print("no GPU here: nothing was measured; --toy runs the code on a CPU", file=sys.stderr)
        return 1
    if asked.toy:
        small = Setting(device=torch.device("cpu"), model="cnn-small", classes=4, largest=40, heads=8, trials=(1, 2))
        run(small, epochs=2)
    else:
        run(Setting(device=torch.device("cuda"), model="resnet34", classes=100, largest=500, heads=256), epochs=10)
    return 0


def run(setting: Setting, *, epochs: int) -> None:
    """All figures; `epochs` of stage 2, and as many views."""
    generator = torch.Generator().manual_seed(0)
    counts = long_tail_counts(setting.classes, setting.largest, min(100, setting.largest / 2))
    task = NoiseTask(
        noise_split(counts, generator), noise_split([20] * setting.classes, generator), num_classes=setting.classes
    )
    slow = _straightforward_epoch(setting, task)
    config = Stage1Config(epochs=10_000, batch_size=64, lr=0.01, precision=setting.precision)
    state = stage1.start(task, config, model=setting.model, pretrained=False, device=setting.device)
    epoch = stage1.train(state, task, config, device=setting.device)
    next(epoch)  # warm
    fast = median(_timed(lambda: next(epoch), setting) for _ in range(3))
    share = _flops_per_image(state.model, setting) * len(task.train) / fast / _peak_flops(setting)
    record(
        name="gpu_stage1_epoch", figure=fast, unit="s an epoch", baseline="PIL transforms, float32, item() per step",
        target=300 / 320, met=setting.judge(fast <= 300 / 320), n=3, straightforward=slow, ratio=slow / fast,
        images_per_second=len(task.train) / fast, share_of_measured_peak=share, images=len(task.train),
    )  # fmt: skip
    for trials in setting.trials:
        _several(setting, task, trials)
    banks: list[FeatureBank] = []
    extraction = _timed(lambda: banks.append(_extract(setting, task, state.model, epochs)), setting)
    record(
        name="gpu_extraction", figure=extraction, unit=f"s for {epochs} views", baseline="none: absolute", target=5,
        met=setting.judge(extraction <= 5), n=1,
    )  # fmt: skip
    start = stage1.stage1_head(state.model, config)
    configs = [Stage2Config(epochs=epochs, lr=0.01 * (1 + i / 64), weight_decay=0.01) for i in range(setting.heads)]
    train_heads(banks[0], start, configs[:2], counts)
    heads = _timed(lambda: train_heads(banks[0], start, configs, counts), setting)
    rate = len(configs) / heads
    record(
        name="gpu_stage2_rate", figure=rate, unit="configurations/s", baseline="none: absolute", target=300,
        met=setting.judge(rate >= 300), n=len(configs),
    )  # fmt: skip


def _straightforward_epoch(setting: Setting, task: NoiseTask) -> float:
    """Measured on 2,048 images at most, and counted up."""
    model = build_model(setting.model, setting.classes).to(setting.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, foreach=False)
    part = min(2048, len(task.train))
    pil = DataLoader(PilImages(task.train.images[:part], task.train.labels[:part], augment=True), batch_size=64)

    def epoch() -> None:
        for images, labels in pil:
            stage1_step(model, optimizer, images.to(setting.device), labels.to(setting.device))

    epoch()
    return _timed(epoch, setting) * len(task.train) / part


def _several(setting: Setting, task: NoiseTask, trials: int) -> None:
    """Images a second with so many trials at a time, each step a captured graph on a stream of its own."""
    batches = list(task.train.batches(None, batch_size=64, device=setting.device, generator=None))
    full = [batch for batch in batches if len(batch[1]) == len(batches[0][1])]
    steps = [_stepper(setting, task, full) for _ in range(trials)]
    advance = interleaved(steps) if setting.device.type == "cuda" else lambda: [step() for step in steps]
    for _ in range(5):
        advance()
    rounds = 2 * len(full)
    taken = _timed(lambda: [advance() for _ in range(rounds)], setting)
    record(
        name=f"gpu_trials_at_once_{trials}", figure=trials * rounds * len(full[0][1]) / taken, unit="images/s",
        baseline="one at a time", target=0, met=None, n=rounds,
    )  # fmt: skip


def _stepper(setting: Setting, task: NoiseTask, batches: list[tuple[Tensor, Tensor]]) -> Callable[[], None]:
    config = Stage1Config(precision=setting.precision)
    state = stage1.start(task, config, model=setting.model, pretrained=False, device=setting.device)
    criterion, _ = stage1.criteria(config, task.counts)
    ready = [(images.contiguous(memory_format=torch.channels_last), labels) for images, labels in batches]
    images, labels = ready[0]
    step = CapturedStep(
        state.model, criterion.to(setting.device), images=images, labels=labels, momentum=0.9,
        precision=setting.precision,
    )  # fmt: skip
    step.set(lr=0.01, weight_decay=5e-3)
    at = 0

    def advance() -> None:
        nonlocal at
        step(*ready[at % len(ready)])
        at += 1

    return advance


def _extract(setting: Setting, task: NoiseTask, model: Network, views: int) -> FeatureBank:
    return extract_bank(
        model, task, mode="default", epochs=views, batch_size=64, seed=0, splits=("val",), device=setting.device,
        precision=setting.precision,
    )  # fmt: skip


def _flops_per_image(model: Network, setting: Setting) -> float:
    """Of a training step: backward costs twice the forward pass, which PyTorch counts."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 32, 32, device=setting.device))
    return 3.0 * counter.get_total_flops()


def _peak_flops(setting: Setting) -> float:
    """Of the largest matrix product this card does well, measured now."""
    size, dtype = (8192, torch.bfloat16) if setting.device.type == "cuda" else (512, torch.float32)
    matrix = torch.randn(size, size, device=setting.device, dtype=dtype)
    matrix @ matrix
    taken = min(_timed(lambda: matrix @ matrix, setting) for _ in range(5))
    return 2 * size**3 / taken


def _timed(work: Callable[[], object], setting: Setting) -> float:
    """Seconds until the device is done."""

    def all_of_it() -> None:
        work()
        if setting.device.type == "cuda":
            torch.cuda.synchronize()

    return seconds(all_of_it)


if __name__ == "__main__":
    sys.exit(main())
