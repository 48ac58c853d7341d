"""Losses of many heads at once, with gradients in closed form; tests compare them with autograd.

Logits are (N, B, C): N images, B heads, C classes. Heads do not mix, so one that is not finite does not affect others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.losses import LOG_FLOOR, Loss, LossKind

Result = tuple[Tensor, Tensor]  # loss per image and head (N, B), its gradient by logits (N, B, C)


@dataclass(frozen=True)
class StackedLosses:
    """The losses of B heads, all of one kind; numbers per class stacked to (B, C)."""

    kind: LossKind
    weights: Tensor
    scale: Tensor | None  # None if it has no effect, like the next two
    shift: Tensor | None
    margin: Tensor | None
    gamma: Tensor  # (B, 1)

    @classmethod
    def of(cls, losses: Sequence[Loss], device: torch.device) -> StackedLosses:
        """Stacks losses of one kind."""
        stacks = {
            name: torch.stack([getattr(loss, name) for loss in losses])
            for name in ("weights", "scale", "shift", "margin")
        }
        return cls(
            kind=losses[0].kind,
            weights=stacks["weights"].to(device),
            scale=stacks["scale"].to(device) if (stacks["scale"] != 1).any() else None,
            shift=stacks["shift"].to(device) if stacks["shift"].any() else None,
            margin=stacks["margin"].to(device) if stacks["margin"].any() else None,
            gamma=torch.tensor([[loss.gamma] for loss in losses], device=device),
        )

    def value_and_gradient(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss of each head (B,) and its gradient by the logits (N, B, C); may overwrite `logits`."""
        index = labels.view(-1, 1, 1).expand(-1, logits.shape[1], 1)  # (N, B, 1): the true class
        if self.kind == "focal":
            loss, gradient = _focal(logits, index, self.gamma)
        elif self.kind == "softmax":
            loss, gradient = self._softmax(logits, index, labels)
        else:
            loss, gradient = {"bce_softmax": _bce_softmax, "sigmoid": _sigmoid}[self.kind](logits, index)
        share = self.weights.T[labels] / len(labels)  # (N, B): w_y / N
        return (loss * share).sum(0), gradient.mul_(share.unsqueeze(2))

    def _softmax(self, logits: Tensor, index: Tensor, labels: Tensor) -> Result:
        """CE(a z + b - m_y): gradient a (p - onehot)."""
        if self.scale is not None:
            logits = logits * self.scale
        if self.shift is not None:
            logits = logits + self.shift
        if self.margin is not None:
            logits = logits.scatter_add(2, index, -self.margin.T[labels].unsqueeze(2))
        shifted = logits - logits.amax(2, keepdim=True)  # by hand: log_softmax is slow for small C
        true = shifted.gather(2, index)
        gradient = shifted.exp_()
        total = gradient.sum(2, keepdim=True)
        loss = (total.log() - true).squeeze(2)
        gradient.div_(total)
        gradient.scatter_add_(2, index, gradient.new_full((1, 1, 1), -1.0).expand_as(index))
        return loss, gradient if self.scale is None else gradient.mul_(self.scale)


def _bce_softmax(logits: Tensor, index: Tensor) -> Result:
    """-(1/C) [ln p_y + sum over c != y of ln(1 - p_c)], logarithms not below -100 (see `losses._bce_of_softmax`).

    Let m be the largest class and q the softmax over all others. The gradient by z_j is p_m (d_jm - q_j) for
    -ln(1 - p_m), and v_j - p_j sum(v) for the other terms, where v_y = -1 and v_c = p_c / (1 - p_c). Sums over the
    others are relative to their largest, so that they do not underflow.
    """
    classes = logits.shape[2]
    largest, top = logits.max(2, keepdim=True)  # (N, B, 1) each
    log_true = logits.gather(2, index) - largest
    others = logits.scatter(2, top, -torch.inf)
    second = others.amax(2, keepdim=True)
    e = others.sub_(second).exp_()  # (N, B, C): e^(z - second), 0 at the largest
    e_sum, gap = e.sum(2, keepdim=True), second - largest
    log_total = torch.log1p(e_sum * gap.exp())  # ln of the sum of e^(z - largest)
    log_true = log_true - log_total
    log_rest_top = e_sum.log() + gap - log_total  # ln(1 - p_m)
    p_top, share = torch.exp(-log_total), torch.exp(gap - log_total)
    p = e * share  # without the largest class; each at most 1/2

    log_rest = torch.log1p(-p).scatter_(2, top, log_rest_top.clamp(min=LOG_FLOOR)).scatter_(2, index, 0.0)
    loss = -(log_true.clamp(min=LOG_FLOOR) + log_rest.sum(2, keepdim=True)).squeeze(2)

    v = p.div_(1 - p).scatter_(2, index, -(log_true >= LOG_FLOOR).to(p))
    v_sum = v.sum(2, keepdim=True)
    pull = p_top.masked_fill((top == index) | (log_rest_top < LOG_FLOOR), 0.0)  # (N, B, 1)
    gradient = v.sub_(e.mul_(share * v_sum + pull / e_sum))  # v - p sum(v) - q pull, away from the largest class
    gradient.scatter_add_(2, top, pull - p_top * v_sum)
    return loss / classes, gradient.div_(classes)


def _sigmoid(logits: Tensor, index: Tensor) -> Result:
    """Mean over classes of BCE-with-logits: gradient (sigmoid(z) - t) / C."""
    classes = logits.shape[2]
    loss = F.softplus(logits).sum(2) - logits.gather(2, index).squeeze(2)
    gradient = logits.sigmoid()
    gradient.scatter_add_(2, index, gradient.new_full((1, 1, 1), -1.0).expand_as(index))
    return loss / classes, gradient.div_(classes)


def _focal(logits: Tensor, index: Tensor, gamma: Tensor) -> Result:
    """Sum over classes of (1 - p_t)^g BCE, p_t = sigmoid(s), s = z at the true class and -z elsewhere.

    d/ds = -(1 - p_t)^g [g p_t BCE + (1 - p_t)].
    """
    signed = -logits
    signed.scatter_(2, index, logits.gather(2, index))
    bce = -F.logsigmoid(signed)
    modulation = torch.exp(gamma * F.logsigmoid(-signed))  # (1 - p_t)^g
    loss = (modulation * bce).sum(2)
    gradient = modulation.mul_(gamma * signed.sigmoid() * bce + torch.sigmoid(-signed))  # -d/ds = d/dz off the class
    at_true = gradient.gather(2, index)
    return loss, gradient.scatter_(2, index, -at_true)
