"""Every loss by name: the mean over the batch of w_y times a per-sample loss of the logits.

    name             per-sample loss                              class weights w
    ce               CE(z, y)                                     1
    logit_adjusted   CE(z + tau ln p, y)                          1    Menon et al. 2021; tau 1: balanced softmax
    vs               CE(D z + tau ln p, y), D = (n/n_max)^gamma   1    Kini et al. 2021
    ldam             CE(s (z - m_y), y), m ~ n^(-1/4)             1    Cao et al. 2019
    cb_ce            CE(z, y)                                     class-balanced: Cui et al. 2019
    cb_bce_softmax   mean over classes of BCE(softmax(z))         class-balanced; the released code's loss
    cb_focal         sum over classes of focal(z)                 class-balanced; Cui et al. 2019
    cb_sigmoid       mean over classes of BCE(sigmoid(z))         class-balanced

The weights have mean 1 over classes and the batch's mean divides by its size (torch's weighted cross-entropy divides by
the sum of the weights). `cb_bce_softmax` is about C times smaller than `cb_ce`, so a weight decay suits one loss only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.config import LOSS_OPTIONS, READ_BY_LOSS, check_known
from trainers.errors import ConfigError, DataError

LossKind = Literal["softmax", "bce_softmax", "focal", "sigmoid"]
Counts = Sequence[int] | Tensor

LOG_FLOOR = -100.0  # PyTorch's BCE, and so the released loss, clamps its logarithms here

_KINDS: dict[str, LossKind] = {"cb_bce_softmax": "bce_softmax", "cb_focal": "focal", "cb_sigmoid": "sigmoid"}
_DEFAULT_GAMMA = {"cb_focal": 2.0, "vs": 0.2}


@dataclass(frozen=True)
class Loss:
    """A differentiable loss, as numbers per class: loss(logits (N, C), labels (N,)) -> scalar.

    Softmax kinds take `scale * z + shift`, minus `margin` at the true class.
    """

    kind: LossKind
    counts: Tensor  # (C,) float64, training images
    weights: Tensor  # (C,)
    scale: Tensor  # (C,)
    shift: Tensor  # (C,)
    margin: Tensor  # (C,)
    gamma: float  # of the focal kind

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over the batch of w_y * loss. Casts half-precision logits to float32."""
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        return (self.weights.to(logits)[labels] * self.per_sample(logits, labels)).mean()

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each image (N,), before class weights."""
        if self.kind == "softmax":
            logits = logits * self.scale.to(logits) + self.shift.to(logits)
            logits = logits - _true(labels, logits) * self.margin.to(logits)
            return F.cross_entropy(logits, labels, reduction="none")
        if self.kind == "bce_softmax":
            return _bce_of_softmax(logits, labels)
        signed = torch.where(_true(labels, logits), logits, -logits)  # (N, C): p_t = sigmoid(signed)
        bce = -F.logsigmoid(signed)
        if self.kind == "sigmoid":
            return bce.mean(1)
        # (1 - p_t)^g as exp(g ln(1 - p_t)): finite for any logit, unlike the released form exp(-g t z - ...)
        return (torch.exp(self.gamma * F.logsigmoid(-signed)) * bce).sum(1)

    def with_class_weights(self, beta: float) -> Loss:
        """This loss with class-balanced weights of `beta`; 0 weighs all classes equally.

        Deferred re-weighting (Cao et al. 2019) is beta 0 before its epoch and the real beta after it.
        """
        weights = class_balanced_weights(self.counts, beta)
        return dataclasses.replace(self, weights=weights.to(self.weights))

    def to(self, device: torch.device | str) -> Loss:
        """This loss with its tensors on `device`, so that calls copy nothing."""
        names = ("weights", "scale", "shift", "margin")
        return dataclasses.replace(self, **{name: getattr(self, name).to(device) for name in names})


def make_loss(
    name: str,
    counts: Counts,
    *,
    beta: float = 0.9999,
    gamma: float | None = None,
    tau: float = 1.0,
    max_margin: float = 0.5,
    scale: float = 30.0,
    **unknown: object,
) -> Loss:
    """The loss `name` for classes with `counts` training images; ignores options that it does not read.

    `gamma` None is 2 for `cb_focal` and 0.2 for `vs`. Raises ConfigError for an unknown name or option or a beta
    outside [0, 1), DataError for a class without training images.
    """
    check_known("loss", name, tuple(READ_BY_LOSS))
    for option in unknown:
        check_known("loss option", option, LOSS_OPTIONS)
    n = class_counts(counts)
    ones, zeros = torch.ones_like(n), torch.zeros_like(n)
    terms = {"scale": ones, "shift": zeros, "margin": zeros}
    gamma = _DEFAULT_GAMMA.get(name, 0.0) if gamma is None else gamma
    if name in ("logit_adjusted", "vs"):
        terms["shift"] = tau * class_prior(counts).log()
    if name == "vs":
        terms["scale"] = (n / n.max()) ** gamma
    if name == "ldam":
        inverse = n**-0.25
        terms = {"scale": scale * ones, "shift": zeros, "margin": scale * max_margin * inverse / inverse.max()}
    weights = class_balanced_weights(counts, beta) if "beta" in READ_BY_LOSS[name] else ones
    return Loss(
        kind=_KINDS.get(name, "softmax"),
        counts=n,
        weights=weights.float(),
        gamma=gamma,
        **{key: value.float() for key, value in terms.items()},
    )


def class_balanced_weights(counts: Counts, beta: float) -> Tensor:
    """w_k ~ (1 - beta) / (1 - beta^n_k), float64 (C,), mean 1 over classes (Cui et al. 2019).

    Raises ConfigError unless 0 <= beta < 1, and DataError for a class without training images.
    """
    if not 0 <= beta < 1:
        raise ConfigError(f"beta: must be in [0, 1), but got {beta}; 0.9999 is customary, 0 weighs all classes alike")
    n = class_counts(counts)
    effective = -torch.expm1(n * torch.tensor(beta, dtype=torch.float64, device=n.device).log())  # 1 - beta^n
    weights = 1 / effective  # the common factor 1 - beta cancels below
    return weights * (len(n) / weights.sum())


def class_counts(counts: Counts) -> Tensor:
    """Training images per class, float64 (C,). Raises DataError if a class has none, or for fewer than two classes."""
    n = torch.as_tensor(counts, dtype=torch.float64)
    if n.ndim != 1 or len(n) < 2:
        raise DataError(
            f"counts must be one number per class for at least two classes, but have shape {tuple(n.shape)}"
        )
    empty = (n < 1).nonzero().flatten().tolist()
    if empty:
        raise DataError(
            f"every class needs a training image, but {len(empty)} of {len(n)} have none: "
            f"{', '.join(map(str, empty[:10]))}{' ...' if len(empty) > 10 else ''}; leave these classes out of the data"
        )
    return n


def class_prior(counts: Counts) -> Tensor:
    """p_k = n_k / N, float64 (C,). Raises DataError for a class without training images."""
    n = class_counts(counts)
    return n / n.sum()


def _bce_of_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """-(1/C) [ln p_y + sum over c != y of ln(1 - p_c)], p = softmax(z), logarithms not below -100; (N,).

    In the released composition of softmax and BCE in float32, the gradient is up to 1e4 times too large once 1 - p
    rounds to 0. So ln(1 - p) of the largest class is computed from the other classes.
    """
    log_p = F.log_softmax(logits, dim=1)  # (N, C)
    top = _true(log_p.argmax(1), logits)  # (N, C)
    log_rest_top = torch.logsumexp(log_p.masked_fill(top, -torch.inf), dim=1, keepdim=True)  # ln(1 - p_top)
    log_rest = torch.where(top, log_rest_top, torch.log1p(-log_p.exp().masked_fill(top, 0.0)))  # ln(1 - p_c)
    return -torch.where(_true(labels, logits), log_p, log_rest).clamp(min=LOG_FLOOR).mean(1)


def _true(labels: Tensor, logits: Tensor) -> Tensor:
    """(N, C), true at each image's class."""
    return labels.unsqueeze(1) == torch.arange(logits.shape[1], device=logits.device)
