"""Stage 2 per configuration: the released-style loop, cached features one by one, and heads batched by 64.

Long-tailed CIFAR shape: 10 classes, 1,500 down to 15 images, ResNet-20, 10 epochs, one torch thread. The images are
noise: time does not depend on what is in them. One epoch of the loop is measured and counted ten times.
"""

from __future__ import annotations

import torch

from benchmarks.noise import NoiseTask, noise_split, seconds
from benchmarks.record import record
from benchmarks.straightforward import PilImages, stage2_epoch, stage2_every_epoch
from trainers.config import Stage1Config, Stage2Config, TaskConfig
from trainers.data.task import load_task
from trainers.features import FeatureBank, FeatureMode, extract_bank
from trainers.heads import train_heads
from trainers.long_tail import long_tail_counts
from trainers.models import build_model
from trainers.stage1 import stage1_head
from trainers.stage1 import start as stage1_start
from trainers.stage1 import train as stage1_train
from trainers.stage2 import train_head
from trainers.weight_balance import LinearHead

EPOCHS, HEADS, TEST = 10, 64, 2000
CPU = torch.device("cpu")


def main() -> None:
    """Prints one line a figure."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    counts = long_tail_counts(10, 1500, 100)
    task = NoiseTask(noise_split(counts, generator), noise_split([TEST // 10] * 10, generator))
    model = build_model("resnet20", 10)
    start = stage1_head(model, Stage1Config())
    loop = seconds(lambda: _loop_epoch(model, task, counts)) * EPOCHS
    bank: list[FeatureBank] = []
    extraction = seconds(lambda: bank.append(_extract(model, task)))
    configs = [Stage2Config(epochs=EPOCHS, lr=0.01 * (1 + i / HEADS), weight_decay=0.01) for i in range(HEADS)]
    few = configs[:4]
    cached = seconds(lambda: [train_head(bank[0], start, config, counts) for config in few]) / len(few)
    batched = min(seconds(lambda: train_heads(bank[0], start, configs, counts)) for _ in range(3)) / HEADS
    amortised = batched + extraction / 256
    base = "released-style loop: PIL transforms, whole backbone every epoch"
    record(
        name="stage2_cached",
        figure=loop / cached,
        unit="x",
        baseline=base,
        target=200,
        met=loop / cached >= 200,
        n=len(few),
    )
    record(
        name="stage2_batched", figure=cached / batched, unit="x", baseline="cached, one by one", target=10,
        met=cached / batched >= 10, n=HEADS,
    )  # fmt: skip
    record(
        name="stage2_all",
        figure=loop / batched,
        unit="x",
        baseline=base,
        target=3000,
        met=loop / batched >= 3000,
        n=HEADS,
    )
    record(
        name="stage2_rate", figure=1 / batched, unit="configurations/s", baseline="none", target=60,
        met=1 / batched >= 60, n=HEADS,
    )  # fmt: skip
    record(
        name="stage2_with_extraction", figure=loop / amortised, unit="x", baseline=base, target=200,
        met=loop / amortised >= 200, n=256,
    )  # fmt: skip
    _equality(bank[0], start, configs, counts)
    for mode in ("default", "replay"):
        _cached_equality(mode)


def _equality(bank: FeatureBank, start: LinearHead, configs: list[Stage2Config], counts: list[int]) -> None:
    sample = configs[::16]
    batched = train_heads(bank, start, sample, counts)
    worst, changed = 0.0, 0
    for config, head in zip(sample, batched, strict=True):
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
    stage1 = Stage1Config(epochs=1, lr=0.05, weight_decay=5e-3, precision="fp32")
    state = stage1_start(task, stage1, model="cnn-small", pretrained=False, device=CPU)
    list(stage1_train(state, task, stage1, device=CPU))
    config = Stage2Config(epochs=5, lr=0.05, weight_decay=0.01, maxnorm_radius=0.9)
    bank = extract_bank(
        state.model, task, mode=mode, epochs=config.epochs, batch_size=config.batch_size, seed=0, splits=("val",),
        device=CPU, precision="fp32",
    )  # fmt: skip
    plain, network = stage2_every_epoch(
        state.model, task, config, list(task.counts), training_mode=mode == "replay", seed=0
    )
    cached = train_heads(bank, stage1_head(state.model, stage1), [config], task.counts)[0]
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


def _loop_epoch(model: torch.nn.Module, task: NoiseTask, counts: list[int]) -> float:
    train = PilImages(task.train.images, task.train.labels, augment=True)
    test = PilImages(task.val.images, task.val.labels, augment=False)
    return stage2_epoch(model, train, test, counts, lr=0.01, weight_decay=0.01)


def _extract(model: torch.nn.Module, task: NoiseTask) -> FeatureBank:
    return extract_bank(
        model, task, mode="search", epochs=EPOCHS, batch_size=64, seed=0, splits=("val",), device=CPU,
        precision="bf16",
    )  # fmt: skip


if __name__ == "__main__":
    main()
