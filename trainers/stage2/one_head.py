"""Stage 2, the readable reference: one head on cached features, with autograd and torch.optim.SGD.

`trainers.stage2.heads` gives the same results for many heads at once; tests compare the two.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.config import Stage2Config
from trainers.errors import DivergedError
from trainers.features import FeatureBank
from trainers.losses import Counts, class_counts
from trainers.results import EpochResult, Metrics
from trainers.schedule import learning_rate
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
from trainers.weight_balance import LinearHead, project_maxnorm, row_norms

__all__ = ["TrainedHead", "train_head"]


def train_head(bank: FeatureBank, start: LinearHead, config: Stage2Config, counts: Counts) -> TrainedHead:
    """Trains one head from the stage-1 classifier `start`. Raises ConfigError, or DivergedError.

    `weight_balancing` continues from `start`, and only it has MaxNorm; `crt` starts from fresh weights; `lws` learns
    one scale per row of `start`. `crt` and `lws` draw classes equally often, so their usual loss is `ce`. Weight decay
    is coupled L2 on all learnt parameters.
    """
    check_trainable(bank, config)
    device = bank.train.device
    initial = initial_head(start.to(device), config)
    weight, bias = initial.weight.clone(), initial.bias.clone()  # (C, D), (C,)
    scales = torch.ones_like(bias)  # (C,), learnt by lws only
    learnt = [scales.requires_grad_()] if config.method == "lws" else [weight.requires_grad_(), bias.requires_grad_()]
    optimizer = torch.optim.SGD(learnt, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    criterion = stage2_loss(config, counts).to(device)
    radius = stage2_radius(start, config)
    kept, best, projected_at_step1 = (0, initial), -1.0, 0
    results: list[EpochResult] = []

    for epoch in range(config.epochs):
        began = time.perf_counter()
        optimizer.param_groups[0]["lr"] = learning_rate(config, epoch)
        features = bank.view(epoch)  # (N, D)
        loss_sum = torch.zeros((), device=device)
        touched = torch.zeros(len(bias), dtype=torch.bool, device=device)
        for step, index in enumerate(epoch_batches(bank, config, epoch)):
            x, y = features[index].float(), bank.labels[index]  # (B, D), (B,)
            logits = F.linear(x, weight) * scales + bias  # lws: z_k = s_k W_k.h + b_k (Kang et al. 2020)
            loss = criterion(logits, y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss_sum += loss.detach() * len(y)
            if config.projection == "step":
                touched |= _project(weight, radius)
                if epoch == step == 0:
                    projected_at_step1 = int(touched.sum())
        if config.projection == "epoch":
            touched |= _project(weight, radius)

        head = LinearHead((weight * scales.unsqueeze(1)).detach().clone(), bias.detach().clone())
        metrics: Metrics = {"loss": loss_sum.item() / len(bank.labels), "lr": learning_rate(config, epoch)}
        if not (torch.isfinite(head.weight).all() and torch.isfinite(head.bias).all() and torch.isfinite(loss_sum)):
            raise DivergedError(diverged_reason(config, epoch, loss_sum.item()))
        metrics["projected_rows"] = float(touched.sum())
        (cv,), (slope,) = norm_measures(row_norms(head.weight).unsqueeze(0), class_counts(counts))
        metrics |= {"norm.cv": cv, "norm.slope": slope}
        value = 0.0
        if "val" in bank.splits:
            (value,) = balanced_accuracies(
                head.weight.unsqueeze(0), head.bias.unsqueeze(0), bank.split_at("val", epoch)
            )
            metrics["val.balanced_accuracy"] = value
        metrics["seconds"] = time.perf_counter() - began
        results.append(EpochResult(epoch=epoch + 1, metrics=metrics))
        if config.epoch_rule == "last" or value > best:
            kept, best = (epoch + 1, head), value

    return TrainedHead(
        weight=kept[1].weight,
        bias=kept[1].bias,
        epoch=kept[0],
        epochs=tuple(results),
        projected_at_step1=projected_at_step1,
        forgetting=forgetting(config, len(bank.labels)),
        notes=inactive_radius_note(results, constrained=radius != float("inf")),
    )


@torch.no_grad()
def _project(weight: Tensor, radius: float) -> Tensor:
    """Applies MaxNorm in place, without changing momentum; returns which rows (C,) it shrank."""
    touched = row_norms(weight) > radius
    weight.copy_(project_maxnorm(weight, radius))
    return touched
