"""Speed on a GPU against the straightforward loop, in one run: stage 1, features, stage 2, several trials on one card.

`python -m benchmarks.gpu_speed` needs what the trainers need; without a GPU only --toy runs, for the code's sake. What
is timed is the trainers' own way: `MemorySplit` on the device, stage 1's epochs as `loop.train` runs them (a recorded
step on a GPU), `extract_bank`, `train_heads`, `evaluate_heads`. Images are noise in the shape of CIFAR-100-LT at factor
100: time does not depend on what is in them. Not seen on a GPU yet.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from statistics import median
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.noise import Noise
from benchmarks.record import record
from benchmarks.straightforward import PilImages, stage1_step
from benchmarks.timing import Pairs, in_turn, seconds
from trainers.config import Stage1Config, Stage2Config, TaskConfig
from trainers.data.task import Task
from trainers.features import FeatureBank, extract_bank
from trainers.long_tail import long_tail_counts
from trainers.measures.evaluation import evaluate_heads
from trainers.results import HeadFailure
from trainers.stage1 import loop
from trainers.stage1.cuda_graph import recorded_on_cuda
from trainers.stage1.models import Network, build_model
from trainers.stage2.heads import train_heads
from trainers.weight_balance import LinearHead

VIEWS = 10  # and epochs of stage 2
ROUNDS = 3
TARGET = 300 / 320  # seconds an epoch: 320 of them in five minutes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What is measured, and on what."""

    device: torch.device
    model: str
    counts: tuple[int, ...]  # training images a class
    heads: int
    workers: int  # of the straightforward loop's loader
    trials: tuple[int, ...] = (1, 2, 4, 8)  # at a time

    @property
    def precision(self) -> Literal["bf16", "fp32"]:
        """bfloat16 where it is meant to be fast."""
        return "bf16" if self.device.type == "cuda" else "fp32"

    def judge(self, met: bool) -> bool | None:
        """Targets are for a GPU."""
        return met if self.device.type == "cuda" else None


PAPER = Setting(
    device=torch.device("cuda"), model="resnet34", counts=tuple(long_tail_counts(100, 500, 100)), heads=256, workers=4
)
TOY = Setting(
    device=torch.device("cpu"), model="cnn-small", counts=(40, 20, 10, 5), heads=8, workers=2, trials=(1, 2)
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Prints one line a figure; returns 1 where nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_speed", description=__doc__.partition("\n")[0])
    parser.add_argument("--toy", action="store_true", help="small enough for a CPU")
    asked = parser.parse_args(arguments)
    if not asked.toy and not torch.cuda.is_available():
        print("no GPU here: nothing was measured; --toy runs the code on a CPU", file=sys.stderr)
        return 1
    run(TOY if asked.toy else PAPER)
    return 0


def run(setting: Setting) -> None:
    """All figures."""
    noise = Noise.draw(setting.counts, val=20, test=1)
    model = _stage1(setting, noise)
    one = None
    for trials in setting.trials:
        rate = _several(setting, noise.task, trials)
        one = one or rate
        record(
            name=f"gpu_trials_at_once_{trials}", figure=rate, unit="images/s of all together", target=None, met=None,
            baseline="one at a time", n=ROUNDS, ratio=rate / one,
        )  # fmt: skip
    bank = _extraction(setting, noise.task, model)
    _stage2(setting, noise.task, bank, loop.stage1_head(model, Stage1Config()))


def _stage1(setting: Setting, noise: Noise) -> Network:
    """Whole epochs of both loops, in turn."""
    config = Stage1Config(epochs=10_000, batch_size=64, lr=0.01, precision=setting.precision)  # few are validated
    task, images = noise.task, len(noise.train)
    state = loop.start(task, config, model=setting.model, pretrained=False, device=setting.device)
    epochs = loop.train(state, task, config, device=setting.device)
    pairs = in_turn(_straightforward(setting, noise), lambda: next(epochs), rounds=ROUNDS)
    epoch = median(pairs.fast)
    share = _flops_per_image(state.model, setting) * images / epoch / _peak_flops(setting)
    record(
        name="gpu_stage1_epoch", figure=epoch, unit="s an epoch", target=TARGET, met=setting.judge(epoch <= TARGET),
        baseline=f"PIL transforms in {setting.workers} workers, float32, for-loop SGD, item() per step", n=pairs.n,
        best=min(pairs.fast), straightforward=median(pairs.slow), ratio=pairs.ratio, best_ratio=pairs.best,
        images_per_second=images / epoch, share_of_measured_peak=share, images=images, precision=setting.precision,
    )  # fmt: skip
    return state.model


def _straightforward(setting: Setting, noise: Noise) -> Callable[[], None]:
    model = build_model(setting.model, len(setting.counts)).to(setting.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, foreach=False)
    loader = DataLoader(
        PilImages(noise.train.images, noise.train.labels, augment=True), batch_size=64, shuffle=True,
        num_workers=setting.workers, persistent_workers=True, pin_memory=setting.device.type == "cuda",
    )  # fmt: skip

    def epoch() -> None:
        for images, labels in loader:
            stage1_step(model, optimizer, images.to(setting.device), labels.to(setting.device))

    return epoch


class Trial:
    """One training, a step at a time; on a GPU on a stream of its own, with a recording of its own."""

    def __init__(self, task: Task, config: Stage1Config, *, model: str, device: torch.device) -> None:
        self.state = loop.start(task, config, model=model, pretrained=False, device=device)
        self._task, self._config, self._device = task, config, device
        loss_sum = torch.zeros((), device=device)
        self._step, _ = loop.steps(self.state, config, task.counts, loss_sum, recorded_on_cuda)
        self._batches = self._endless()
        next(iter(task.train.batches(None, batch_size=1, device=device, generator=None)))  # now the images are there
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(device))

    def advance(self) -> int:
        """One step; returns of how many images. The host does not wait for it."""
        own = contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream)
        with own:
            images, labels = next(self._batches)
            self._step(images, labels)
        return len(labels)

    def _endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = self.state.generator
        self.state.model.train()
        while True:
            order = torch.randperm(len(self._task.train), generator=generator)
            yield from self._task.train.batches(
                order, batch_size=self._config.batch_size, device=self._device, generator=generator
            )


def _several(setting: Setting, task: Task, count: int) -> float:
    """Images a second of `count` trainings that take their steps in turn."""
    trials = [
        Trial(task, Stage1Config(precision=setting.precision, seed=seed), model=setting.model, device=setting.device)
        for seed in range(count)
    ]
    steps = -(-len(task.train) // 64)

    def epoch() -> int:
        images = sum(trial.advance() for _ in range(steps) for trial in trials)
        _wait(setting)
        return images

    images = epoch()  # warm
    return images / median(seconds(epoch) for _ in range(ROUNDS))


def _extraction(setting: Setting, task: Task, model: Network) -> FeatureBank:
    banks: list[FeatureBank] = []

    def extract() -> None:
        banks[:] = [
            extract_bank(
                model, task, mode="default", epochs=VIEWS, batch_size=64, seed=0, splits=("val",),
                device=setting.device, precision=setting.precision,
            )
        ]  # fmt: skip
        _wait(setting)

    first, *again = [seconds(extract) for _ in range(ROUNDS + 1)]
    record(
        name="gpu_extraction", figure=median(again), unit=f"s for {VIEWS} views", baseline="none: absolute", target=5,
        met=setting.judge(median(again) <= 5), n=len(again), best=min(again), first=first,
    )  # fmt: skip
    return banks[0]


def _stage2(setting: Setting, task: Task, bank: FeatureBank, start: LinearHead) -> None:
    """Configurations a second, without and with all that is measured of each."""
    some = range(setting.heads)
    configs = [Stage2Config(epochs=VIEWS, lr=0.01 * (1 + i / 64), weight_decay=0.01) for i in some]
    heads: list[LinearHead] = []

    def train() -> None:
        trained = train_heads(bank, start, configs, task.counts)
        heads[:] = [head.head for head in trained if not isinstance(head, HeadFailure)]
        _wait(setting)

    def train_and_evaluate() -> None:
        train()
        evaluate_heads(heads, {"val": bank.splits["val"]}, task.counts, task=TaskConfig())

    pairs = in_turn(train_and_evaluate, train, rounds=ROUNDS)
    _record_rate(setting, "gpu_stage2_rate", pairs, pairs.fast, "validation's balanced accuracy after each epoch")
    _record_rate(setting, "gpu_stage2_rate_evaluated", pairs, pairs.slow, "all measures of validation")


def _record_rate(setting: Setting, name: str, pairs: Pairs, taken: tuple[float, ...], included: str) -> None:
    rate = setting.heads / median(taken)
    record(
        name=name, figure=rate, unit="configurations/s", baseline=f"none: absolute, with {included}", target=300,
        met=setting.judge(rate >= 300), n=pairs.n, best=setting.heads / min(taken), heads=setting.heads,
    )  # fmt: skip


def _flops_per_image(model: Network, setting: Setting) -> float:
    """Of a training step: backward costs twice the forward pass, which PyTorch counts."""
    from torch.utils.flop_counter import FlopCounterMode

    model.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 32, 32, device=setting.device))
    return float(3 * counter.get_total_flops())


def _peak_flops(setting: Setting) -> float:
    """Of the largest matrix product this card does well, measured now."""
    size, dtype = (8192, torch.bfloat16) if setting.device.type == "cuda" else (512, torch.float32)
    matrix = torch.randn(size, size, device=setting.device, dtype=dtype)

    def multiply() -> None:
        for _ in range(5):
            matrix @ matrix
        _wait(setting)

    multiply()
    best = min(seconds(multiply) for _ in range(5))
    return float(5 * 2 * size**3 / best)


def _wait(setting: Setting) -> None:
    """Until the device is done."""
    if setting.device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
