"""Stage 2 per configuration: the released-style loop, cached features one by one, and heads batched by 64.

Long-tailed CIFAR shape: 10 classes, 1,500 down to 15 images, 2,000 for validation, ResNet-20, 10 epochs, one torch
thread. The images are noise: time does not depend on what is in them. One epoch of the loop is measured a round and
counted ten times; rounds take turns, so that a change of the machine's speed meets all. Features are the ten views of
the mode `default`, as the shipped spaces have them, unless a figure says otherwise.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.noise import Noise
from benchmarks.record import record
from benchmarks.straightforward import PilImages, stage2_epoch, stage2_every_epoch
from benchmarks.timing import seconds
from trainers.config import Stage1Config, Stage2Config, TaskConfig
from trainers.data.task import load_task
from trainers.features import FeatureBank, FeatureMode, LabelledFeatures, extract_bank
from trainers.files.cache import Cache
from trainers.job import Job, run_job
from trainers.long_tail import long_tail_counts
from trainers.stage1 import loop
from trainers.stage1.models import Network, build_model
from trainers.stage2.heads import train_heads
from trainers.stage2.one_head import train_head
from trainers.stage2.recorded import never, on_cuda
from trainers.weight_balance import LinearHead

EPOCHS, HEADS, MANY_HEADS, ONE_BY_ONE, ROUNDS = 10, 64, 256, 4, 3
LOOP = "released-style loop: PIL transforms, whole backbone every epoch"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Timed:
    """Seconds of each round."""

    loop: list[float]  # a configuration
    cached: list[float]  # a configuration
    batched: list[float]  # a configuration, by 64
    amortised: list[float]  # a configuration, extraction and 256 heads together


def main() -> None:
    """Prints one line a figure."""
    torch.set_num_threads(1)
    noise = Noise.draw(long_tail_counts(10, 1500, 100), val=200, test=1)
    model = _backbone(noise)
    start = loop.stage1_head(model, Stage1Config())
    bank = _extract(model, noise, "default")
    timed = _rounds(noise, model, start, bank)
    _record_ratios(timed)
    modes: tuple[FeatureMode, ...] = ("default", "search")
    for mode in modes:
        taken = [seconds(lambda mode=mode: _extract(model, noise, mode)) for _ in range(ROUNDS - 1)]  # type: ignore[misc]
        views = EPOCHS if mode == "default" else 2
        record(
            name=f"stage2_extraction_{mode}", figure=median(taken), unit=f"s for {views} views", target=None, met=None,
            baseline="none: absolute", n=len(taken), best=min(taken),
        )  # fmt: skip
    _through_a_job(noise)
    _batched_equality(bank, start, noise.task.counts)
    for mode in ("default", "replay"):
        _cached_equality(mode)
    if torch.cuda.is_available():
        heads_by_chunk(torch.device("cuda"), counts=long_tail_counts(100, 500, 100), width=512, heads=MANY_HEADS)


def _backbone(noise: Noise) -> Network:
    """After an epoch of stage 1: a fresh network's features are so large that heads on them only magnify rounding."""
    config = Stage1Config(epochs=1, precision="bf16")
    state = loop.start(noise.task, config, model="resnet20", pretrained=False, device=CPU)
    _exhaust(loop.train(state, noise.task, config, device=CPU))
    return state.model


def _rounds(noise: Noise, model: Network, start: LinearHead, bank: FeatureBank) -> Timed:
    counts = list(noise.task.counts)
    train = PilImages(noise.train.images, noise.train.labels, augment=True)
    val = PilImages(noise.val.images, noise.val.labels, augment=False)
    looped = build_model("resnet20", 10)
    looped.load_state_dict(model.state_dict())

    def extract_and_train() -> None:
        train_heads(_extract(model, noise, "default"), start, _configs(MANY_HEADS), counts)

    timed = Timed([], [], [], [])
    train_heads(bank, start, _configs(2), counts)
    for number in range(ROUNDS):
        epoch = seconds(lambda: stage2_epoch(looped, train, val, counts, lr=0.01, weight_decay=0.01))
        timed.loop.append(EPOCHS * epoch)
        one_by_one = seconds(lambda: [train_head(bank, start, config, counts) for config in _configs(ONE_BY_ONE)])
        timed.cached.append(one_by_one / ONE_BY_ONE)
        timed.batched.append(seconds(lambda: train_heads(bank, start, _configs(HEADS), counts)) / HEADS)
        if number < ROUNDS - 1:  # the longest by far
            timed.amortised.append(seconds(extract_and_train) / MANY_HEADS)
    return timed


def _record_ratios(timed: Timed) -> None:
    def ratio(name: str, slow: Sequence[float], fast: Sequence[float], *, target: float, **more: Any) -> None:
        figure = median(a / b for a, b in zip(slow, fast, strict=False))
        record(
            name=name, figure=figure, unit="x", target=target, met=figure >= target, n=min(len(slow), len(fast)),
            best=min(slow) / min(fast), **more,
        )  # fmt: skip

    ratio("stage2_cached", timed.loop, timed.cached, target=200, baseline=LOOP, heads=ONE_BY_ONE)
    ratio("stage2_batched", timed.cached, timed.batched, target=10, baseline="cached, one by one", heads=HEADS)
    ratio("stage2_all", timed.loop, timed.batched, target=3000, baseline=LOOP, heads=HEADS)
    ratio("stage2_with_extraction", timed.loop, timed.amortised, target=200, baseline=LOOP, heads=MANY_HEADS)
    rates = [1 / each for each in timed.batched]
    record(
        name="stage2_rate", figure=median(rates), unit="configurations/s", baseline="none: absolute, validation's "
        "balanced accuracy after each epoch included", target=60, met=median(rates) >= 60, n=len(rates),
        best=max(rates), heads=HEADS,
    )  # fmt: skip


def _through_a_job(noise: Noise) -> None:
    """As the service's worker has it: backbone and features from the cache, heads trained, all their measures taken."""
    task = TaskConfig(dataset="cifar10-lt", model="resnet20")
    once = Stage1Config(epochs=1, precision="bf16")
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))

        def job(heads: int) -> None:
            asked = Job(task=task, stage1=once, heads=tuple(_configs(heads)))
            _exhaust(run_job(asked, cache=cache, device=CPU, task=noise.task))

        job(1)
        rates = [HEADS / seconds(lambda: job(HEADS)) for _ in range(ROUNDS)]
    record(
        name="stage2_rate_job", figure=median(rates), unit="configurations/s",
        baseline="none: absolute, through run_job on a cached backbone, all measures and the post-hoc grid included",
        target=60, met=median(rates) >= 60, n=len(rates), best=max(rates), heads=HEADS,
    )  # fmt: skip


def heads_by_chunk(device: torch.device, *, counts: Sequence[int], width: int, heads: int) -> None:
    """Heads on random features, recorded and plain, in chunks of a quarter, a half and as memory allows, in turn."""
    bank, start = _random_bank(counts, width=width, device=device)
    chunks = (heads // 4, heads // 2, None)
    ways = {
        (chunk, way): lambda chunk=chunk, recorder=recorder: train_heads(  # type: ignore[misc]
            bank, start, _configs(heads), counts, chunk=chunk, recorder_for=recorder
        )
        for chunk in chunks
        for way, recorder in (("recorded", on_cuda), ("plain", never))
    }
    taken: dict[tuple[int | None, str], list[float]] = {key: [] for key in ways}
    for _ in range(1 + ROUNDS):
        for key, work in ways.items():
            taken[key].append(seconds(work))  # reads the results, so it ends when the device does
    for (chunk, way), (_, *times) in taken.items():  # the first round warms up
        record(
            name=f"stage2_gpu_{way}_{chunk or 'all'}", figure=heads / median(times), unit="configurations/s",
            baseline="none: absolute, validation's balanced accuracy after each epoch included", target=None, met=None,
            n=len(times), best=heads / min(times), heads=heads, device=str(device),
        )  # fmt: skip


def _random_bank(counts: Sequence[int], *, width: int, device: torch.device) -> tuple[FeatureBank, LinearHead]:
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(len(counts))
    seen = classes.repeat(20)
    bank = FeatureBank(
        train=torch.randn(EPOCHS, sum(counts), width, generator=generator),
        labels=classes.repeat_interleave(torch.tensor(counts)),
        order_seed=0,
        splits={"val": LabelledFeatures(torch.randn(len(seen), width, generator=generator), seen)},
    )
    return bank.to(device), LinearHead(torch.randn(len(counts), width, generator=generator), torch.zeros(len(counts)))


def _exhaust(events: Generator[object, None, object]) -> None:
    for _ in events:
        pass


def _configs(heads: int) -> list[Stage2Config]:
    return [Stage2Config(epochs=EPOCHS, lr=0.01 * (1 + i / heads), weight_decay=0.01) for i in range(heads)]


def _extract(model: Network, noise: Noise, mode: FeatureMode) -> FeatureBank:
    return extract_bank(
        model, noise.task, mode=mode, epochs=EPOCHS, batch_size=64, seed=0, splits=("val",), device=CPU,
        precision="bf16",
    )  # fmt: skip


def _batched_equality(bank: FeatureBank, start: LinearHead, counts: Sequence[int]) -> None:
    sample = _configs(HEADS)[::16]
    worst, changed = 0.0, 0
    for config, head in zip(sample, train_heads(bank, start, sample, counts), strict=True):
        single = train_head(bank, start, config, counts)
        worst = max(worst, float((head.weight - single.weight).abs().max() / single.weight.abs().max()))  # type: ignore[union-attr]
        features = bank.splits["val"].features.float()
        a, b = (features @ h.weight.T + h.bias for h in (head, single))  # type: ignore[union-attr]
        changed += int((a.argmax(1) != b.argmax(1)).sum())
    record(
        name="heads_equal", figure=worst, unit="relative weight difference", baseline="one by one, autograd",
        target=1e-5, met=worst <= 1e-5 and changed == 0, n=len(sample), changed_predictions=changed,
    )  # fmt: skip


def _cached_equality(mode: FeatureMode) -> None:
    """On digits after one epoch of stage 1, float32: with the cache, and with the backbone in every epoch."""
    task = load_task(TaskConfig(dataset="digits-lt"))
    config = Stage1Config(epochs=1, lr=0.05, weight_decay=5e-3, precision="fp32")
    state = loop.start(task, config, model="cnn-small", pretrained=False, device=CPU)
    _exhaust(loop.train(state, task, config, device=CPU))
    head = Stage2Config(epochs=5, lr=0.05, weight_decay=0.01, maxnorm_radius=0.9)
    bank = extract_bank(
        state.model, task, mode=mode, epochs=head.epochs, batch_size=head.batch_size, seed=0, splits=("val",),
        device=CPU, precision="fp32",
    )  # fmt: skip
    plain, network = stage2_every_epoch(
        state.model, task, head, list(task.counts), training_mode=mode == "replay", seed=0
    )
    cached = train_heads(bank, loop.stage1_head(state.model, config), [head], task.counts)[0]
    worst = float((cached.weight - plain.weight).abs().max() / plain.weight.abs().max())  # type: ignore[union-attr]
    with torch.no_grad():
        images = torch.cat([images for images, _ in task.val.batches(None, batch_size=512, device=CPU, generator=None)])
        seen = network.features(images) @ plain.weight.T + plain.bias
    ours = bank.splits["val"].features @ cached.weight.T + cached.bias  # type: ignore[union-attr]
    changed = int((ours.argmax(1) != seen.argmax(1)).sum())
    batchnorm = "training" if mode == "replay" else "evaluation"
    record(
        name=f"cached_equal_{mode}", figure=worst, unit="relative weight difference",
        baseline=f"the backbone in every epoch, BatchNorm in {batchnorm} mode",
        target=1e-5, met=worst <= 1e-5 and changed == 0, n=1, changed_predictions=changed,
    )  # fmt: skip


if __name__ == "__main__":
    main()
