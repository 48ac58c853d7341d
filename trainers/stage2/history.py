"""What is measured of many heads after each epoch: it stays on the device and is read once, after the last epoch."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.config import Stage2Config
from trainers.features import FeatureBank
from trainers.losses import Counts, class_counts
from trainers.results import EpochResult, Metrics
from trainers.schedule import learning_rate
from trainers.stage2.recipe import Recalls, diverged_reason, finite_numbers, norm_spread
from trainers.weight_balance import row_norms


@dataclass(frozen=True)
class Kept:
    """The epoch kept of a head (from 1), and its classifier."""

    epoch: int
    weight: Tensor  # (C, D)
    bias: Tensor  # (C,)


class History:
    """The epochs of B heads, and the weights that each one's epoch rule keeps."""

    def __init__(self, bank: FeatureBank, configs: Sequence[Stage2Config], counts: Counts) -> None:
        self.bank, self.configs, self.device = bank, configs, bank.train.device
        self.counts = class_counts(counts).to(self.device)
        self.recalls = Recalls(bank.splits["val"].labels, len(self.counts)) if "val" in bank.splits else None
        self.measured: list[Tensor] = []  # an epoch: (6 or 7, B) float64, see `measure`
        self.moments = [time.perf_counter()]
        self.best: tuple[Tensor, Tensor, Tensor] | None = None  # value (B,), weight (B, C, D), bias (B, C)

    def measure(self, epoch: int, loss: Tensor, touched: Tensor, linear: tuple[Tensor, Tensor]) -> None:
        """Measures the heads after an epoch (from 0): mean loss (B,), rows MaxNorm shrank (B, C), weights, biases."""
        weight, bias = linear  # (B, C, D), (B, C)
        finite = torch.isfinite(weight).flatten(1).all(1) & torch.isfinite(bias).all(1) & torch.isfinite(loss)
        rows = [loss, touched.sum(1), finite, *norm_spread(row_norms(weight), self.counts)]
        if self.recalls is not None:
            rows.append(self.recalls.mean(weight, bias, self.bank.split_at("val", epoch).features))
            if any(config.epoch_rule == "best" for config in self.configs):
                rows.append(self._keep_best(rows[-1], weight, bias))
        self.measured.append(torch.stack([row.double() for row in rows]))
        self.moments.append(time.perf_counter())

    def _keep_best(self, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Keeps the weights of heads whose value (B,) is above all before; returns which (B,). NaN is above nothing."""
        if self.best is None:
            self.best = values, weight.clone(), bias.clone()
            return torch.ones_like(values)
        better = values > self.best[0]
        found = (values, weight, bias)
        masks = (better, better.view(-1, 1, 1), better.view(-1, 1))
        value, kept_weight, kept_bias = map(torch.where, masks, found, self.best)
        self.best = value, kept_weight, kept_bias
        return better

    def read(self, linear: tuple[Tensor, Tensor]) -> Iterator[tuple[list[EpochResult], Kept] | str]:
        """For each head its epochs and the one it keeps, or why it failed; `linear` are the last weights and biases."""
        measured = torch.stack(self.measured).tolist()  # the one wait for the device
        seconds = self._seconds()
        for b, config in enumerate(self.configs):
            columns = [[row[b] for row in rows] for rows in measured]
            broken = next((epoch for epoch, column in enumerate(columns) if not column[2]), None)
            if broken is not None:
                yield diverged_reason(config, broken, columns[broken][0])
                continue
            epochs = [self._result(config, *each, seconds=seconds[each[0]]) for each in enumerate(columns)]
            yield epochs, self._kept(b, columns, linear)

    def _result(self, config: Stage2Config, epoch: int, column: Sequence[float], *, seconds: float) -> EpochResult:
        cv, slope = finite_numbers(column[3:5])
        metrics: Metrics = {"loss": column[0], "lr": learning_rate(config, epoch), "projected_rows": column[1]}
        metrics |= {"norm.cv": cv, "norm.slope": slope}
        if self.recalls is not None:
            metrics["val.balanced_accuracy"] = column[5]
        return EpochResult(epoch=epoch + 1, metrics={**metrics, "seconds": seconds})

    def _kept(self, b: int, columns: Sequence[Sequence[float]], linear: tuple[Tensor, Tensor]) -> Kept:
        epoch, (weight, bias) = len(columns), linear
        if self.configs[b].epoch_rule == "best" and self.best is not None:
            epoch = max(i for i, column in enumerate(columns, 1) if column[6])
            weight, bias = self.best[1:]
        return Kept(epoch, weight[b].clone(), bias[b].clone())

    def _seconds(self) -> list[float]:
        """Of each epoch and head; on a GPU, which nothing waits for in between, equal shares of the whole."""
        each = [(after - before) / len(self.configs) for before, after in itertools.pairwise(self.moments)]
        if self.device.type == "cpu":
            return each
        return [(time.perf_counter() - self.moments[0]) / len(self.configs) / len(each)] * len(each)
