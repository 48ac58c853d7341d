"""The recipe of stage 2: start, batches, schedule, radius, and the measures after an epoch.

Both the single-head loop (`trainers.stage2.one_head`) and the batched one (`trainers.stage2.heads`) follow this recipe.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.config import TRAINED_METHODS, Stage2Config, loss_options
from trainers.errors import ConfigError
from trainers.features import FeatureBank, LabelledFeatures, epoch_order
from trainers.losses import Counts, Loss, make_loss
from trainers.measures.metrics import classified_right
from trainers.results import EpochResult
from trainers.schedule import learning_rate
from trainers.weight_balance import LinearHead, maxnorm_radius, norm_slope

EVALUATION_LOGITS = {"cpu": 2**22, "cuda": 2**26}  # in memory at once: 16 or 256 MiB


@dataclass(frozen=True, kw_only=True)
class TrainedHead:
    """The result of stage 2: a linear head and its history."""

    weight: Tensor  # (C, D)
    bias: Tensor  # (C,)
    epoch: int  # the one kept, from 1
    epochs: tuple[EpochResult, ...]
    projected_at_step1: int  # rows that MaxNorm shrank after the first step; 0 if it acts per epoch
    forgetting: float  # F: exp(-F) of the stage-1 classifier is left
    notes: tuple[str, ...] = ()

    @property
    def head(self) -> LinearHead:
        """The linear head without history."""
        return LinearHead(self.weight, self.bias)


def check_trainable(bank: FeatureBank, config: Stage2Config) -> None:
    """Raises ConfigError if `config` is post hoc or cannot be trained on this bank."""
    if config.method not in TRAINED_METHODS:
        raise ConfigError(
            f"stage2.method: {config.method!r} is not trained, but made by posthoc_head; "
            f"trained ones are {', '.join(TRAINED_METHODS)}"
        )
    if config.epoch_rule == "best" and "val" not in bank.splits:
        raise ConfigError("stage2.epoch_rule: 'best' needs features of the split 'val'; extract them or take 'last'")
    if bank.replay_batch_size not in (None, config.batch_size):
        raise ConfigError(
            f"stage2.batch_size: the features replay batches of {bank.replay_batch_size}, but got {config.batch_size}; "
            "extract a replay for this batch size, or use features: default"
        )
    if bank.replay_batch_size is not None and config.epochs > len(bank.train):
        raise ConfigError(
            f"stage2.epochs: the features replay {len(bank.train)} epochs, but got {config.epochs}; extract more"
        )


def initial_head(start: LinearHead, config: Stage2Config) -> LinearHead:
    """The start of training: the stage-1 classifier; for `crt` nn.Linear's U(-1/sqrt D, 1/sqrt D), by seed."""
    if config.method != "crt":
        return LinearHead(start.weight.float(), start.bias.float())
    generator = torch.Generator().manual_seed(config.seed)
    bound = start.weight.shape[1] ** -0.5
    weight = torch.rand(start.weight.shape, generator=generator) * 2 - 1
    bias = torch.rand(start.bias.shape, generator=generator) * 2 - 1
    return LinearHead(bound * weight, bound * bias).to(start.weight.device)


def stage2_loss(config: Stage2Config, counts: Counts) -> Loss:
    """The loss of `config`."""
    return make_loss(config.loss, counts, **loss_options(config))


def stage2_radius(start: LinearHead, config: Stage2Config) -> float:
    """MaxNorm's radius, from the stage-1 classifier; infinite without a constraint, as for `crt` and `lws`."""
    if config.maxnorm_radius is None or config.method != "weight_balancing":
        return math.inf
    return maxnorm_radius(start.weight, config.maxnorm_radius, config.radius_unit)


def epoch_batches(bank: FeatureBank, config: Stage2Config, epoch: int) -> Iterator[Tensor]:
    """Indices (B,) of each batch of an epoch (from 0), on the bank's device; the last batch may be smaller.

    `weight_balancing` visits each image once, in a replay in the extracted order; `crt` and `lws` draw.
    """
    order = _order(bank, bank.labels.cpu(), config, epoch).to(bank.labels.device)
    for first in range(0, len(order), config.batch_size):
        yield order[first : first + config.batch_size]


def epoch_orders(bank: FeatureBank, config: Stage2Config) -> Tensor:
    """The images of all epochs in the order of `epoch_batches` (E, N), on the bank's device in one copy."""
    labels = bank.labels.cpu()
    return torch.stack([_order(bank, labels, config, epoch) for epoch in range(config.epochs)]).to(bank.labels.device)


def _order(bank: FeatureBank, labels: Tensor, config: Stage2Config, epoch: int) -> Tensor:
    seed = bank.order_seed if bank.replay_batch_size is not None else bank.order_seed + 7919 * config.seed
    if config.method == "weight_balancing":
        return epoch_order(len(labels), seed, epoch)
    return class_balanced_order(labels, seed, epoch)


def class_balanced_order(labels: Tensor, seed: int, epoch: int) -> Tensor:
    """N draws with replacement: a class uniformly, then one of its images (Kang et al. 2020)."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    sizes = torch.bincount(labels)
    sizes = sizes[sizes > 0]
    first = sizes.cumsum(0) - sizes  # start of each class among the images sorted by class
    drawn = torch.randint(len(sizes), (len(labels),), generator=generator)
    within = (torch.rand(len(labels), generator=generator, dtype=torch.float64) * sizes[drawn]).long()
    return labels.argsort(stable=True)[first[drawn] + within]


def forgetting(config: Stage2Config, images: int) -> float:
    """F = sum over steps of lr wd / (1 - momentum): SGD's weight decay leaves exp(-F) of the start."""
    steps = math.ceil(images / config.batch_size)
    rates = sum(learning_rate(config, epoch) for epoch in range(config.epochs))
    return steps * rates * config.weight_decay / (1 - config.momentum)


def balanced_accuracies(weight: Tensor, bias: Tensor, split: LabelledFeatures) -> list[float]:
    """Mean per-class recall of B heads on one split: weight (B, C, D), bias (B, C)."""
    recalls: list[float] = Recalls(split.labels, bias.shape[1]).mean(weight, bias, split.features).tolist()
    return recalls


class Recalls:
    """Mean per-class recall of many heads on the features of one split's images, without waiting for the device."""

    def __init__(self, labels: Tensor, classes: int) -> None:
        """`labels` of the images (N,)."""
        total = torch.bincount(labels, minlength=classes)
        self.labels = labels
        self.present = (total > 0).nonzero().squeeze(1)  # classes that have images
        self.images = total[self.present].unsqueeze(1)

    def mean(self, weight: Tensor, bias: Tensor, features: Tensor) -> Tensor:
        """Of B heads (B,) in float64: weight (B, C, D), bias (B, C), features (N, D)."""
        heads, classes, width = weight.shape
        correct = torch.zeros(classes, heads, dtype=torch.float64, device=weight.device)
        rows = max(1, evaluation_logits(weight.device) // (heads * classes))
        flat_weight, flat_bias = weight.reshape(-1, width), bias.reshape(-1, 1)
        for x, y in zip(torch.split(features, rows), torch.split(self.labels, rows), strict=True):
            logits = torch.addmm(flat_bias, flat_weight, x.float().T).view(heads, classes, len(y))
            correct.index_add_(0, y, classified_right(logits, y).T.double())
        return (correct[self.present] / self.images).mean(0)


def evaluation_logits(device: torch.device) -> int:
    """How many logits an evaluation after an epoch holds at once."""
    return EVALUATION_LOGITS["cpu" if device.type == "cpu" else "cuda"]


def norm_measures(norms: Tensor, counts: Tensor) -> tuple[list[float | None], list[float | None]]:
    """`norm_spread`, with None where a measure is not defined."""
    cv, slope = norm_spread(norms, counts)
    return finite_numbers(cv.tolist()), finite_numbers(slope.tolist())


def norm_spread(norms: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficient of variation and log-log slope of B heads' row norms (B, C); not finite where not defined."""
    norms = norms.double()
    return norms.std(dim=1, correction=0) / norms.mean(1), norm_slope(norms, counts)


def inactive_radius_note(epochs: Sequence[EpochResult], *, constrained: bool) -> tuple[str, ...]:
    """A note if there was a radius and no row ever reached it."""
    if constrained and not any(result.metrics["projected_rows"] for result in epochs):
        return ("radius inactive: no row was ever projected",)
    return ()


def diverged_reason(config: Stage2Config, epoch: int, loss: float) -> str:
    """The reason for dropping a head after an epoch (from 0)."""
    found = "the weights are no longer finite" if math.isfinite(loss) else f"the loss is {loss}"
    return (
        f"stage 2: {found} after epoch {epoch + 1}; "
        f"lower stage2.lr ({config.lr:g}) or stage2.weight_decay ({config.weight_decay:g})"
    )


def finite_numbers(values: Sequence[float]) -> list[float | None]:
    """None instead of what is not finite."""
    return [value if math.isfinite(value) else None for value in values]
