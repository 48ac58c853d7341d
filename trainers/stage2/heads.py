"""Stage 2, many heads at once: the results of `trainers.stage2.one_head`, batched and without autograd.

B heads on shared features are one matrix product forward, (n, D) x (D, B C), and one backward; everything else is per
head and broadcasts. Heads do not mix: one that diverges does not change the others by a bit.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Iterator, Sequence

import torch
from torch import Tensor

from trainers.config import Scalar, Stage2Config
from trainers.errors import ConfigError
from trainers.features import FeatureBank
from trainers.losses import Counts, Loss
from trainers.results import HeadFailure
from trainers.schedule import learning_rate
from trainers.stage1.precision import arithmetic
from trainers.stage2.chunks import ChunkNeed, default_chunk, even_size, free_bytes, in_chunks
from trainers.stage2.head_gradients import StackedLosses
from trainers.stage2.history import History
from trainers.stage2.learnt import Rows, Scales
from trainers.stage2.recipe import (
    TrainedHead,
    check_trainable,
    epoch_orders,
    forgetting,
    inactive_radius_note,
    stage2_loss,
    stage2_radius,
)
from trainers.stage2.recorded import BlockRecorder, RecorderFor, on_cuda
from trainers.stage2.steps import Blocks, HeadStep, OneByOne
from trainers.weight_balance import LinearHead

__all__ = ["default_chunk", "flat_config", "train_heads"]


def train_heads(
    bank: FeatureBank,
    start: LinearHead,
    configs: Sequence[Stage2Config],
    counts: Counts,
    *,
    chunk: int | None = None,
    recorder_for: RecorderFor = on_cuda,
) -> list[TrainedHead | HeadFailure]:
    """Trains one head per configuration from the stage-1 classifier `start`; returns results in the same order.

    Equals `train_head` on each, to float32 rounding. A head that diverges, or cannot be trained on this bank, becomes
    a HeadFailure. `chunk` heads are computed together; None fits a CPU's cache or a GPU's memory. `recorder_for` gives
    what records the steps; `recorded.never` turns that off. Raises DataError for a class without training images, and
    OutOfMemoryError when a GPU has no room for one head.
    """
    start = start.to(bank.train.device)
    known = LinearHead(start.weight.cpu(), start.bias.cpu())  # for radii, which would each wait for a GPU
    results: dict[int, TrainedHead | HeadFailure] = {}
    losses: dict[int, Loss] = {}
    groups: dict[Hashable, list[int]] = {}
    for i, config in enumerate(configs):
        try:
            check_trainable(bank, config)
            losses[i] = stage2_loss(config, counts)
            groups.setdefault(_shared(config, losses[i]), []).append(i)
        except ConfigError as error:
            results[i] = HeadFailure(config=flat_config(config), reason=str(error), diverged=False)
    for members in groups.values():
        orders = epoch_orders(bank, configs[members[0]])

        def train(part: Sequence[int], orders: Tensor = orders) -> list[TrainedHead | HeadFailure]:
            some = [configs[i] for i in part]
            made = HeadChunk(
                bank, start, some, counts, [losses[i] for i in part], [stage2_radius(known, config) for config in some]
            )
            return made.train(orders, recorder_for(start.weight.device))

        size = chunk or chunk_size(bank, start, configs[members[0]], losses[members[0]], len(members))
        with arithmetic("fp32", start.weight.device):
            results |= dict(in_chunks(members, size, train))
    return [results[i] for i in range(len(configs))]


def chunk_size(bank: FeatureBank, start: LinearHead, like: Stage2Config, loss: Loss, heads: int) -> int:
    """How many of `heads` heads to compute together."""
    if start.weight.device.type == "cpu":
        return default_chunk(start.weight)
    need = ChunkNeed.of(start.weight, bank, like, loss.kind)
    return even_size(heads, need.fits(free_bytes(start.weight.device)))


def flat_config(config: Stage2Config) -> dict[str, Scalar]:
    """Dotted names to values, `stage2.*`."""
    return {f"stage2.{field.name}": getattr(config, field.name) for field in dataclasses.fields(config)}


def _shared(config: Stage2Config, loss: Loss) -> Hashable:
    """What heads of one chunk must share: batches, learnt parameters, and kind of loss."""
    sampler = "class" if config.method in ("crt", "lws") else "image"
    return (sampler, config.method == "lws", loss.kind, config.batch_size, config.epochs, config.seed)


class HeadChunk:
    """B heads on the same batches, with stacked rows: (B C, D)."""

    def __init__(
        self,
        bank: FeatureBank,
        start: LinearHead,
        configs: Sequence[Stage2Config],
        counts: Counts,
        losses: Sequence[Loss],
        radii: Sequence[float],
    ) -> None:
        """`losses` and `radii` are those of `configs`, which share what `_shared` names."""
        self.bank, self.configs, self.radii = bank, configs, radii
        self.device, self.classes = bank.train.device, len(start.bias)
        self.heads = (Scales if configs[0].method == "lws" else Rows)(start, configs)
        self.step = HeadStep(self.heads, StackedLosses.of(losses, self.device), self._radius("step"))
        self.epoch_radius = self._radius("epoch")
        self.history = History(bank, configs, counts)

    def train(self, orders: Tensor, recorder: BlockRecorder | None) -> list[TrainedHead | HeadFailure]:
        """Runs all epochs in `orders` (E, N), on a GPU or with a recorder in blocks; one result per head."""
        first = self.configs[0]
        if recorder is None and self.device.type == "cpu":
            way: OneByOne | Blocks = OneByOne(self.bank, self.step, orders, first)
        else:
            way = Blocks(self.bank, self.step, orders, first, recorder)
        rates = torch.tensor([[learning_rate(c, epoch) for c in self.configs] for epoch in range(first.epochs)])
        for epoch, of_epoch in enumerate(rates.to(self.device)):  # (E, B)
            self.step.begin_epoch(of_epoch)
            way.run(epoch)
            if self.epoch_radius is not None:
                self.step.touched |= self.heads.project(self.epoch_radius).view(self.step.touched.shape)
            loss = self.step.loss_sum / len(self.bank.labels)
            self.history.measure(epoch, loss, self.step.touched, self.heads.linear())
        return list(self._results())

    def _results(self) -> Iterator[TrainedHead | HeadFailure]:
        first_touched = self.step.first_touched
        at_step1 = [0] * len(self.configs) if first_touched is None else first_touched.sum(1).tolist()
        for b, found in enumerate(self.history.read(self.heads.linear())):
            config = self.configs[b]
            if isinstance(found, str):
                yield HeadFailure(config=flat_config(config), reason=found)
                continue
            epochs, kept = found
            yield TrainedHead(
                weight=kept.weight,
                bias=kept.bias,
                epoch=kept.epoch,
                epochs=tuple(epochs),
                projected_at_step1=at_step1[b],
                forgetting=forgetting(config, len(self.bank.labels)),
                notes=inactive_radius_note(epochs, constrained=self.radii[b] < math.inf),
            )

    def _radius(self, when: str) -> Tensor | None:
        """The radius per row (B C,) of heads projected at `when`, infinite for others; None if no head is projected."""
        chosen = [r if c.projection == when else math.inf for c, r in zip(self.configs, self.radii, strict=True)]
        if min(chosen) == math.inf:
            return None
        return torch.tensor(chosen, device=self.device).repeat_interleave(self.classes)
