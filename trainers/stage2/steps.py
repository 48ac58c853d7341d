"""The steps of an epoch of many heads: on a CPU one by one, on a GPU in blocks that are recorded once and replayed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainers.config import Stage2Config
from trainers.features import FeatureBank
from trainers.stage2.head_gradients import StackedLosses
from trainers.stage2.learnt import Rows, Scales
from trainers.stage2.recorded import BlockRecorder, Replay, recorded_or_none

_BLOCK_STEPS = range(8, 17)  # steps in one recording: few launches an epoch, and little to record
_WORTH_RECORDING = 6  # blocks of a training that repay the three that recording and comparing take


class HeadStep:
    """One SGD step of B heads on a batch; sums the loss and notes the rows that MaxNorm shrank."""

    def __init__(self, heads: Rows | Scales, losses: StackedLosses, radius: Tensor | None) -> None:
        """`radius` is that of the projection after each step (B C,), None without one."""
        self.heads, self.losses, self.radius = heads, losses, radius
        device = heads.descent.device
        self.loss_sum = torch.zeros(heads.shape[0], device=device)  # (B,)
        self.touched = torch.zeros(heads.shape[:2], dtype=torch.bool, device=device)  # (B, C)
        self.first_touched: Tensor | None = None  # after the first step of all

    def begin_epoch(self, rates: Tensor) -> None:
        """Sets the learning rates (B,) and starts the sums again."""
        self.heads.set_lr(rates)
        self.loss_sum.zero_()
        self.touched.zero_()

    def __call__(self, x: Tensor, y: Tensor) -> None:
        """A step on features (n, D) with labels (n,)."""
        loss, gradient = self.losses.value_and_gradient(self.heads.forward(x), y)  # (B,), (n, B, C)
        self.heads.step(x, gradient)
        self.loss_sum += loss * len(y)
        if self.radius is not None:
            self.touched |= self.heads.project(self.radius).view(self.touched.shape)
        if self.first_touched is None:
            self.first_touched = self.touched.clone()

    def changed(self) -> dict[str, Tensor]:
        """All tensors that a step changes."""
        return {**self.heads.changed(), "losses": self.loss_sum, "rows that MaxNorm shrank": self.touched}


class OneByOne:
    """Gathers each batch when its step comes: a CPU's cache then holds it."""

    def __init__(self, bank: FeatureBank, step: HeadStep, orders: Tensor, config: Stage2Config) -> None:
        """`orders` are those of all epochs (E, N), on the bank's device."""
        self.bank, self.step, self.orders, self.batch = bank, step, orders, config.batch_size

    def run(self, epoch: int) -> None:
        """All steps of an epoch (from 0)."""
        features = self.bank.view(epoch)  # (N, D)
        for index in torch.split(self.orders[epoch], self.batch):
            self.step(features[index].float(), self.bank.labels[index])


class Blocks:
    """Puts an epoch's images in order at fixed addresses; a replay is a block of whole batches.

    A counter on the device says which block is next, so a replay needs nothing of the host. The steps that are left,
    and the smaller batch at the end, are computed without the recording, and so is the first block of all.
    """

    def __init__(
        self, bank: FeatureBank, step: HeadStep, orders: Tensor, config: Stage2Config, recorder: BlockRecorder | None
    ) -> None:
        """`orders` are those of all epochs (E, N), on the bank's device; without `recorder` nothing is recorded."""
        self.bank, self.step, self.orders, self.recorder = bank, step, orders, recorder
        images, width = bank.train.shape[1:]
        whole = images // config.batch_size
        self.batch, self.size = config.batch_size, block_size(whole)
        self.blocks = whole // self.size if self.size else 0  # an epoch
        self.x = torch.empty(images, width, device=bank.train.device)
        self.y = torch.empty_like(bank.labels)
        self.next = torch.zeros(1, dtype=torch.long, device=bank.train.device)
        self.replay: Replay | None = None
        if self.blocks * len(orders) < _WORTH_RECORDING:
            self.recorder = None

    def run(self, epoch: int) -> None:
        """All steps of an epoch (from 0)."""
        order = self.orders[epoch]
        self.x.copy_(self.bank.view(epoch)[order])
        self.y.copy_(self.bank.labels[order])
        self.next.zero_()
        for block in range(self.blocks):
            if epoch == block == 0 and self.recorder is not None:
                self._first(self.recorder)
            elif self.replay is not None:
                self.replay()
            else:
                self._plain(block)
        for first in range(self.blocks * self.size * self.batch, len(self.x), self.batch):
            self.step(self.x[first : first + self.batch], self.y[first : first + self.batch])

    def _first(self, recorder: BlockRecorder) -> None:
        """The first block, which warms up; then the recording of all others."""
        recorder.warm_up(lambda: self._plain(0))
        self.replay = recorded_or_none(self, recorder)
        self.next.fill_(1)

    def _plain(self, block: int) -> None:
        images = self.size * self.batch
        self._steps(*(part[block * images : (block + 1) * images] for part in (self.x, self.y)))

    def _steps(self, x: Tensor, y: Tensor) -> None:
        for features, labels in zip(torch.split(x, self.batch), torch.split(y, self.batch), strict=True):
            self.step(features, labels)

    # What `recorded_or_none` needs: the block to record, a trial of it, and what it changes.

    @property
    def heads(self) -> int:
        """How many heads a block trains."""
        return len(self.step.loss_sum)

    def to_record(self) -> None:
        """The block that `next` names, and the counter's own step."""
        images = self.blocks * self.size * self.batch
        by_block = (part[:images].view(self.blocks, -1, *part.shape[1:]) for part in (self.x, self.y))
        self._steps(*(part.index_select(0, self.next).squeeze(0) for part in by_block))
        self.next.add_(1)

    def make_trial(self) -> None:
        """Sets other images and other learning rates than those of the recording; the next block is the last."""
        by = self.batch // 2 + 1
        self.x.copy_(self.x.roll(by, 0))
        self.y.copy_(self.y.roll(by, 0))
        self.step.heads.descent.mul_(0.5)
        self.next.fill_(self.blocks - 1)

    def plain_trial(self) -> None:
        """The block that a replay computes after `make_trial`, without the recording."""
        self._plain(self.blocks - 1)
        self.next.add_(1)

    def changed(self) -> dict[str, Tensor]:
        """All tensors that a block changes."""
        return {**self.step.changed(), "counter": self.next}

    def inputs(self) -> Sequence[Tensor]:
        """All tensors that `make_trial` changes."""
        return (self.x, self.y, self.step.heads.descent, self.next)


def block_size(steps: int) -> int:
    """How many of an epoch's `steps` make a block: the size that leaves the fewest over, the largest of those."""
    if steps < _BLOCK_STEPS[0]:
        return steps
    return max((size for size in _BLOCK_STEPS if size <= steps), key=lambda size: (-(steps % size), size))
