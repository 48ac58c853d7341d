"""Stage 2, many heads at once: the results of `trainers.stage2.one_head`, batched and without autograd.

B heads on shared features are one matrix product forward, (n, D) x (D, B C), and one backward; everything else is per
head and broadcasts. Heads do not mix: one that diverges does not change the others by a bit.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.config import Scalar, Stage2Config
from trainers.errors import ConfigError
from trainers.features import FeatureBank
from trainers.losses import Counts, class_counts
from trainers.results import EpochResult, HeadFailure, Metrics
from trainers.schedule import learning_rate
from trainers.stage2.head_gradients import StackedLosses
from trainers.stage2.recipe import (
    TrainedHead,
    balanced_accuracies,
    check_trainable,
    diverged_reason,
    epoch_batches,
    forgetting,
    inactive_radius_note,
    initial_head,
    norm_measures,
    stage2_loss,
    stage2_radius,
)
from trainers.weight_balance import LinearHead, row_norms

_CACHE_BYTES = {"cpu": 10 * 2**20, "cuda": 40 * 2**20}  # of weights, velocities and gradients that fit the cache
_LARGEST_CHUNK = {"cpu": 64, "cuda": 256}


def train_heads(
    bank: FeatureBank, start: LinearHead, configs: Sequence[Stage2Config], counts: Counts, *, chunk: int | None = None
) -> list[TrainedHead | HeadFailure]:
    """Trains one head per configuration from the stage-1 classifier `start`; returns results in the same order.

    Equals `train_head` on each, to float32 rounding. A head that diverges, or cannot be trained on this bank, becomes
    a HeadFailure. `chunk` heads are computed together; None fits the cache. Raises DataError for a class without
    training images.
    """
    start = start.to(bank.train.device)
    results: dict[int, TrainedHead | HeadFailure] = {}
    groups: dict[Hashable, list[int]] = {}
    for i, config in enumerate(configs):
        try:
            check_trainable(bank, config)
            groups.setdefault(_shared(config, counts), []).append(i)
        except ConfigError as error:
            results[i] = HeadFailure(config=flat_config(config), reason=str(error), diverged=False)
    size = chunk or default_chunk(start.weight)
    for members in groups.values():
        for first in range(0, len(members), size):
            part = members[first : first + size]
            trained = _Chunk(bank, start, [configs[i] for i in part], counts).train()
            results |= dict(zip(part, trained, strict=True))
    return [results[i] for i in range(len(configs))]


def default_chunk(weight: Tensor) -> int:
    """How many heads like `weight` (C, D) to compute together: fastest when their state just fits the cache."""
    kind = "cpu" if weight.device.type == "cpu" else "cuda"
    state = 3 * 4 * weight.numel()  # weights, velocities and gradients in float32
    return max(4, min(_LARGEST_CHUNK[kind], _CACHE_BYTES[kind] // state))


def flat_config(config: Stage2Config) -> dict[str, Scalar]:
    """Dotted names to values, `stage2.*`."""
    return {f"stage2.{field.name}": getattr(config, field.name) for field in dataclasses.fields(config)}


def _shared(config: Stage2Config, counts: Counts) -> Hashable:
    """What heads of one chunk must share: batches, learnt parameters, and kind of loss."""
    sampler = "class" if config.method in ("crt", "lws") else "image"
    kind = stage2_loss(config, counts).kind
    return (sampler, config.method == "lws", kind, config.batch_size, config.epochs, config.seed)


class _Chunk:
    """B heads on the same batches, with stacked rows: (B C, D)."""

    def __init__(self, bank: FeatureBank, start: LinearHead, configs: Sequence[Stage2Config], counts: Counts) -> None:
        self.bank, self.configs = bank, configs
        self.counts = class_counts(counts).to(bank.train.device)
        self.shape = (len(configs), len(start.bias))  # B, C
        self.losses = StackedLosses.of([stage2_loss(c, counts) for c in configs], bank.train.device)
        radii = [stage2_radius(start, config) for config in configs]
        self.constrained = [radius < math.inf for radius in radii]
        learnt = _Scales if configs[0].method == "lws" else _Rows
        self.heads = learnt(start, configs)
        self.step_radius = self._radius(radii, "step")
        self.epoch_radius = self._radius(radii, "epoch")
        self.first_touched = torch.zeros(self.shape, dtype=torch.bool, device=bank.train.device)
        self.failures: dict[int, str] = {}
        self.history: list[list[EpochResult]] = [[] for _ in configs]
        self.kept: list[tuple[float, int, Tensor, Tensor] | None] = [None] * len(configs)  # value, epoch, weight, bias

    def train(self) -> Iterator[TrainedHead | HeadFailure]:
        """Runs all epochs; one result per head."""
        for epoch in range(self.configs[0].epochs):
            began = time.perf_counter()
            loss, touched = self._epoch(epoch)
            self._record(epoch, loss, touched, began)
        at_step1 = self.first_touched.sum(1).tolist()
        for b, config in enumerate(self.configs):
            kept = self.kept[b]
            if b in self.failures or kept is None:
                yield HeadFailure(config=flat_config(config), reason=self.failures[b])
                continue
            yield TrainedHead(
                weight=kept[2].clone(),
                bias=kept[3].clone(),
                epoch=kept[1],
                epochs=tuple(self.history[b]),
                projected_at_step1=at_step1[b],
                forgetting=forgetting(config, len(self.bank.labels)),
                notes=inactive_radius_note(self.history[b], constrained=self.constrained[b]),
            )

    def _epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Runs one epoch; returns the mean loss of each head (B,) and which rows MaxNorm shrank (B, C)."""
        self.heads.set_lr([learning_rate(config, epoch) for config in self.configs])
        features = self.bank.view(epoch)  # (N, D)
        loss_sum = torch.zeros(self.shape[0], device=features.device)
        touched = torch.zeros(self.shape, dtype=torch.bool, device=features.device)
        for step, index in enumerate(epoch_batches(self.bank, self.configs[0], epoch)):
            x, y = features[index].float(), self.bank.labels[index]  # (n, D), (n,)
            loss, gradient = self.losses.value_and_gradient(self.heads.forward(x), y)  # (B,), (n, B, C)
            self.heads.step(gradient)
            loss_sum += loss * len(y)
            if self.step_radius is not None:
                touched |= self.heads.project(self.step_radius).view(self.shape)
                if epoch == step == 0:
                    self.first_touched = touched.clone()
        if self.epoch_radius is not None:
            touched |= self.heads.project(self.epoch_radius).view(self.shape)
        return loss_sum / len(self.bank.labels), touched

    def _record(self, epoch: int, loss: Tensor, touched: Tensor, began: float) -> None:
        """Measures the heads after an epoch, applies each one's epoch rule, and drops those that are not finite."""
        weight, bias = self.heads.linear()  # (B, C, D), (B, C)
        finite = torch.isfinite(weight).flatten(1).all(1) & torch.isfinite(bias).all(1) & torch.isfinite(loss)
        cv, slope = norm_measures(row_norms(weight), self.counts)
        values: list[float] = []
        if "val" in self.bank.splits:
            values = balanced_accuracies(weight, bias, self.bank.split_at("val", epoch))
        losses, rows, alive = loss.tolist(), touched.sum(1).tolist(), finite.tolist()
        seconds = (time.perf_counter() - began) / len(self.configs)
        for b, config in enumerate(self.configs):
            if not alive[b]:
                self.failures.setdefault(b, diverged_reason(config, epoch, losses[b]))
                continue
            metrics: Metrics = {"loss": losses[b], "lr": learning_rate(config, epoch), "projected_rows": float(rows[b])}
            metrics |= {"norm.cv": cv[b], "norm.slope": slope[b]}
            if values:
                metrics["val.balanced_accuracy"] = values[b]
            self.history[b].append(EpochResult(epoch=epoch + 1, metrics={**metrics, "seconds": seconds}))
            self._keep(b, epoch, values, weight, bias)

    def _keep(self, b: int, epoch: int, values: Sequence[float], weight: Tensor, bias: Tensor) -> None:
        config, kept = self.configs[b], self.kept[b]
        if config.epoch_rule == "best" and (kept is None or values[b] > kept[0]):
            self.kept[b] = (values[b], epoch + 1, weight[b].clone(), bias[b].clone())
        if config.epoch_rule == "last" and epoch + 1 == config.epochs:
            self.kept[b] = (0.0, epoch + 1, weight[b], bias[b])

    def _radius(self, radii: Sequence[float], when: str) -> Tensor | None:
        """The radius per row (B C,) of heads projected at `when`, infinite for others; None if no head is projected."""
        chosen = [r if c.projection == when else math.inf for c, r in zip(self.configs, radii, strict=True)]
        if min(chosen) == math.inf:
            return None
        return torch.tensor(chosen, device=self.bank.train.device).repeat_interleave(self.shape[1])


@dataclass(frozen=True)
class _Sgd:
    """torch.optim.SGD's update with settings per head, repeated to the shape of the parameters."""

    momentum: Tensor
    weight_decay: Tensor

    @classmethod
    def of(cls, configs: Sequence[Stage2Config], repeats: int, device: torch.device) -> _Sgd:
        """Settings of B heads, each repeated for the C classes: (B C, 1)."""
        momentum = torch.tensor([c.momentum for c in configs], device=device)
        weight_decay = torch.tensor([c.weight_decay for c in configs], device=device)
        return cls(
            momentum.repeat_interleave(repeats).unsqueeze(1), weight_decay.repeat_interleave(repeats).unsqueeze(1)
        )

    def begin(self, velocity: Tensor, parameter: Tensor) -> Tensor:
        """v <- m v + wd theta; the caller adds the gradient."""
        return velocity.mul_(self.momentum).addcmul_(parameter, self.weight_decay)


class _Rows:
    """Learns every weight row and bias: `weight_balancing` and `crt`."""

    def __init__(self, start: LinearHead, configs: Sequence[Stage2Config]) -> None:
        initial = [initial_head(start, config) for config in configs]
        self.shape = (len(configs), *start.weight.shape)  # B, C, D
        self.weight = torch.cat([head.weight for head in initial])  # (B C, D)
        self.bias = torch.cat([head.bias for head in initial]).unsqueeze(1)  # (B C, 1)
        self.velocity, self.bias_velocity = torch.zeros_like(self.weight), torch.zeros_like(self.bias)
        self.sgd = _Sgd.of(configs, self.shape[1], self.weight.device)
        self.descent = torch.zeros_like(self.bias)  # -lr

    def set_lr(self, rates: Sequence[float]) -> None:
        """One rate a head."""
        self.descent = -torch.tensor(rates, device=self.bias.device).repeat_interleave(self.shape[1]).unsqueeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, D) to logits (n, B, C)."""
        self.x = x
        return torch.addmm(self.bias.T, x, self.weight.T).view(-1, *self.shape[:2])

    def step(self, gradient: Tensor) -> None:
        """SGD on the last batch, from the gradient by its logits (n, B, C)."""
        by_row = gradient.flatten(1).T  # (B C, n)
        self.sgd.begin(self.velocity, self.weight).addmm_(by_row, self.x)
        self.sgd.begin(self.bias_velocity, self.bias).add_(by_row.sum(1, keepdim=True))
        self.weight.addcmul_(self.velocity, self.descent)
        self.bias.addcmul_(self.bias_velocity, self.descent)

    def project(self, radius: Tensor) -> Tensor:
        """Applies MaxNorm in place, without changing velocities; returns which rows (B C,) it shrank."""
        norms = row_norms(self.weight)
        touched = norms > radius
        if self.weight.is_cuda or bool(touched.any()):  # asking would synchronise with a GPU
            shrink = (radius / norms.clamp_min(torch.finfo(norms.dtype).tiny)).clamp_(max=1.0)
            self.weight.mul_(shrink.unsqueeze(1))
        return touched

    def linear(self) -> tuple[Tensor, Tensor]:
        """Weights (B, C, D) and biases (B, C)."""
        return self.weight.view(self.shape), self.bias.view(self.shape[:2])


class _Scales:
    """Learns one scale per row of the stage-1 classifier: `lws`."""

    def __init__(self, start: LinearHead, configs: Sequence[Stage2Config]) -> None:
        self.start = initial_head(start, configs[0])
        self.shape = (len(configs), len(start.bias))  # B, C
        self.scales = torch.ones(math.prod(self.shape), 1, device=start.bias.device)  # (B C, 1)
        self.velocity = torch.zeros_like(self.scales)
        self.sgd = _Sgd.of(configs, self.shape[1], self.scales.device)
        self.descent = torch.zeros_like(self.scales)

    def set_lr(self, rates: Sequence[float]) -> None:
        """One rate a head."""
        self.descent = -torch.tensor(rates, device=self.scales.device).repeat_interleave(self.shape[1]).unsqueeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, D) to logits (n, B, C): z_k = s_k W_k.h + b_k (Kang et al. 2020)."""
        self.products = (x @ self.start.weight.T).unsqueeze(1)  # (n, 1, C), the same for all heads
        return self.products * self.scales.view(self.shape) + self.start.bias

    def step(self, gradient: Tensor) -> None:
        """SGD on the last batch, from the gradient by its logits (n, B, C)."""
        by_scale = (gradient * self.products).sum(0).view(-1, 1)
        self.scales.addcmul_(self.sgd.begin(self.velocity, self.scales).add_(by_scale), self.descent)

    def project(self, radius: Tensor) -> Tensor:
        """Shrinks no row: MaxNorm belongs to weight balancing."""
        return torch.zeros_like(radius, dtype=torch.bool)

    def linear(self) -> tuple[Tensor, Tensor]:
        """Weights (B, C, D) and biases (B, C)."""
        weight = self.scales.view(*self.shape, 1) * self.start.weight
        return weight, self.start.bias.expand(self.shape)
