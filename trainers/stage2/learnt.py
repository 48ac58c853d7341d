"""What stage 2 learns of many heads: every row and bias, or one scale per row; with SGD's update in place.

All tensors that a step changes keep their addresses, as a recorded step needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.config import Stage2Config
from trainers.stage2.recipe import initial_head
from trainers.weight_balance import LinearHead, row_norms


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


class Rows:
    """Learns every weight row and bias: `weight_balancing` and `crt`."""

    def __init__(self, start: LinearHead, configs: Sequence[Stage2Config]) -> None:
        initial = initial_head(start, configs[0])  # the same for all: heads of a chunk share method and seed
        self.shape = (len(configs), *start.weight.shape)  # B, C, D
        self.weight = initial.weight.repeat(len(configs), 1)  # (B C, D)
        self.bias = initial.bias.repeat(len(configs)).unsqueeze(1)  # (B C, 1)
        self.velocity, self.bias_velocity = torch.zeros_like(self.weight), torch.zeros_like(self.bias)
        self.sgd = _Sgd.of(configs, self.shape[1], self.weight.device)
        self.descent = torch.zeros_like(self.bias)  # -lr

    def set_lr(self, rates: Tensor) -> None:
        """One rate a head (B,)."""
        self.descent.copy_(-rates.repeat_interleave(self.shape[1]).unsqueeze(1))

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, D) to logits (n, B, C)."""
        return torch.addmm(self.bias.view(-1), x, self.weight.T).view(-1, *self.shape[:2])

    def step(self, x: Tensor, gradient: Tensor) -> None:
        """SGD on a batch of features (n, D), from the gradient by their logits (n, B, C)."""
        by_row = gradient.flatten(1).T  # (B C, n)
        self.sgd.begin(self.velocity, self.weight).addmm_(by_row, x)
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

    def changed(self) -> dict[str, Tensor]:
        """All tensors that a step changes."""
        return {
            "weights": self.weight, "biases": self.bias, "velocities": self.velocity,
            "velocities of biases": self.bias_velocity,
        }  # fmt: skip


class Scales:
    """Learns one scale per row of the stage-1 classifier: `lws`."""

    def __init__(self, start: LinearHead, configs: Sequence[Stage2Config]) -> None:
        self.start = initial_head(start, configs[0])
        self.shape = (len(configs), len(start.bias))  # B, C
        self.scales = torch.ones(math.prod(self.shape), 1, device=start.bias.device)  # (B C, 1)
        self.velocity = torch.zeros_like(self.scales)
        self.sgd = _Sgd.of(configs, self.shape[1], self.scales.device)
        self.descent = torch.zeros_like(self.scales)

    def set_lr(self, rates: Tensor) -> None:
        """One rate a head (B,)."""
        self.descent.copy_(-rates.repeat_interleave(self.shape[1]).unsqueeze(1))

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, D) to logits (n, B, C): z_k = s_k W_k.h + b_k (Kang et al. 2020)."""
        self.products = (x @ self.start.weight.T).unsqueeze(1)  # (n, 1, C), the same for all heads
        return self.products * self.scales.view(self.shape) + self.start.bias

    def step(self, x: Tensor, gradient: Tensor) -> None:
        """SGD on the batch of the last `forward`, from the gradient by its logits (n, B, C)."""
        by_scale = (gradient * self.products).sum(0).view(-1, 1)
        self.scales.addcmul_(self.sgd.begin(self.velocity, self.scales).add_(by_scale), self.descent)

    def project(self, radius: Tensor) -> Tensor:
        """Shrinks no row: MaxNorm belongs to weight balancing."""
        return torch.zeros_like(radius, dtype=torch.bool)

    def linear(self) -> tuple[Tensor, Tensor]:
        """Weights (B, C, D) and biases (B, C)."""
        weight = self.scales.view(*self.shape, 1) * self.start.weight
        return weight, self.start.bias.expand(self.shape)

    def changed(self) -> dict[str, Tensor]:
        """All tensors that a step changes."""
        return {"scales": self.scales, "velocities": self.velocity}
