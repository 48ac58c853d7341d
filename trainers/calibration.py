"""Temperature scaling and expected calibration error (Guo et al. 2017).

After weight balancing the largest softmax is near 1/C whatever the accuracy, so probabilities mean nothing before a
temperature, often far below 1, is fitted.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 60  # bisection alone ends at 1e6 / 2^60 in ln T; Newton's steps end it after about ten
_TOLERANCE = 1e-6  # of ln T
_SPAN = 1e4  # T is sought within this factor of the logits' own spread


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T that minimises the mean NLL of softmax(logits / T): logits (N, C), labels (N,).

    Without a minimum (every image right, or worse than chance) T stays within 1e-4 to 1e4 times the logits' spread.
    """
    return fit_temperatures(logits.unsqueeze(0), labels).item()


@torch.no_grad()
def fit_temperatures(logits: Tensor, labels: Tensor) -> Tensor:
    """`fit_temperature` of B heads at once: logits (B, N, C), labels (N,) -> float64 (B,)."""
    z = logits.float()
    z = z - z.amax(2, keepdim=True)  # (B, N, C), at most 0
    true = z.gather(2, labels.to(z.device).view(1, -1, 1).expand(len(z), -1, 1)).squeeze(2)  # (B, N)
    spread = -z.mean((1, 2), dtype=torch.float64)  # (B,)
    flat = spread == 0  # all logits equal: any T is as good
    scale = torch.where(flat, 1.0, spread)
    u = -scale.log()  # ln(1/T), the sought one; NLL is convex in 1/T, so its slope has one root
    low, high = u - torch.tensor(_SPAN).log(), u + torch.tensor(_SPAN).log()
    for _ in range(_ROUNDS):
        slope, curvature = _slope(z, true, u.exp())
        low, high = torch.where(slope < 0, u, low), torch.where(slope < 0, high, u)
        newton = u - slope / curvature.clamp_min(1e-300)
        following = torch.where((newton > low) & (newton < high), newton, (low + high) / 2)
        settled = (following - u).abs() < _TOLERANCE
        u = following
        if bool(settled.all()):
            break
    return torch.where(flat, 1.0, torch.exp(-u))


def _slope(z: Tensor, true: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """d NLL / d ln(1/T) and its derivative with 1/T held in the slope (Gauss-Newton), each (B,) float64."""
    p = torch.softmax(z * inverse.float().view(-1, 1, 1), dim=2)  # (B, N, C)
    mean = (p * z).sum(2)  # (B, N)
    variance = (p * z.square()).sum(2) - mean.square()
    slope = (mean - true).mean(1, dtype=torch.float64) * inverse
    return slope, slope + variance.mean(1, dtype=torch.float64) * inverse.square()


@torch.no_grad()
def expected_calibration_error(logits: Tensor, labels: Tensor, *, temperature: float = 1.0, bins: int = 15) -> float:
    """Mean over images of |accuracy - confidence| of their bin: equal bins of the largest softmax(logits / T)."""
    confidence, predicted = torch.softmax(logits.double() / temperature, dim=1).max(1)  # (N,)
    right = (predicted == labels.to(logits.device)).double()
    index = (confidence * bins).ceil().long().clamp(1, bins) - 1  # bins (0, 1/15], (1/15, 2/15] ...
    gap = torch.zeros(bins, dtype=torch.float64, device=logits.device).index_add_(0, index, right - confidence)
    return (gap.abs().sum() / len(labels)).item()
