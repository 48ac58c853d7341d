"""Temperature scaling and expected calibration error (Guo et al. 2017), of many heads at once.

After weight balancing the largest softmax is near 1/C whatever the accuracy, so probabilities mean nothing until a
temperature, often far below 1, is fitted. Logits are (B heads, C classes, N images): sums over a few classes are fast
only if images are contiguous.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_ROUNDS = 60  # bisection alone ends at 1e8 / 2^60 in ln T; Newton's steps end it after five to twelve
_SETTLED_STEP = 1e-4  # of ln T: a hundredth of the sampling error of a few thousand images
_SPAN = 1e4  # T is searched within this factor of the logits' spread
_STRIDE = 2.0  # at most, of ln T in one Newton step


@torch.no_grad()
def fit_temperatures(logits: Tensor, labels: Tensor) -> Tensor:
    """The T of each head that minimises the mean NLL of softmax(logits / T): (B, C, N), labels (N,) -> float64 (B,).

    Without a minimum (every image right, or worse than chance) T stays within 1e-4 to 1e4 times the logits' spread.
    """
    z = below_largest(logits)
    index = labels.to(z.device).view(1, 1, -1).expand(len(z), 1, -1)
    true = z.gather(1, index).mean((1, 2), dtype=torch.float64)  # (B,)
    spread = -z.mean((1, 2), dtype=torch.float64)  # (B,)
    flat = spread == 0  # all logits are equal: every T is equally good
    u = -torch.where(flat, 1.0, spread).log()  # ln(1/T), the unknown
    low, high = u - math.log(_SPAN), u + math.log(_SPAN)
    for _ in range(_ROUNDS):
        inverse = u.exp()
        mean, variance = _moments(z, inverse)
        slope = mean - true  # d NLL / d(1/T), which grows with 1/T and so has one root at most
        low, high = torch.where(slope < 0, u, low), torch.where(slope < 0, high, u)
        newton = u - (slope / (inverse * variance).clamp_min(1e-300)).clamp(-_STRIDE, _STRIDE)
        following = torch.where((newton > low) & (newton < high), newton, (low + high) / 2)
        settled = (following - u).abs() < _SETTLED_STEP
        u = following
        if bool(settled.all()):
            break
    return torch.where(flat, 1.0, torch.exp(-u))


def below_largest(logits: Tensor) -> Tensor:
    """Logits (B, C, N) minus the largest of each image, as float32, so that softmax cannot overflow."""
    z = logits.float()
    return z - z.amax(1, keepdim=True)


def confidences(z: Tensor, temperatures: Tensor) -> Tensor:
    """The largest softmax(z / T) of each image: z (B, C, N) from `below_largest`, T (B,) -> (B, N)."""
    return (z * (1 / temperatures).float().view(-1, 1, 1)).exp_().sum(1).reciprocal_()


def expected_calibration_errors(confidence: Tensor, right: Tensor, *, bins: int = 15) -> Tensor:
    """Mean over images of |accuracy - confidence| in their bin, for bins of equal width in confidence.

    `confidence` (B, N) and `right` (B, N), true for correct images -> float64 (B,).
    """
    heads, images = confidence.shape
    gap = right.double() - confidence.double()
    index = (confidence * bins).ceil().long().clamp_(1, bins) - 1  # bins (0, 1/15], (1/15, 2/15] ...
    index += torch.arange(heads, device=index.device).unsqueeze(1) * bins
    sums = gap.new_zeros(heads * bins).index_add_(0, index.flatten(), gap.flatten())
    return sums.view(heads, bins).abs().sum(1) / images


def _moments(z: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over images of E[z] and Var[z] under softmax(z / T), each float64 (B,)."""
    p = (z * inverse.float().view(-1, 1, 1)).exp_()  # (B, C, N), not yet divided by its sum
    total = p.sum(1)  # (B, N)
    first = p.mul_(z).sum(1).div_(total)
    second = p.mul_(z).sum(1).div_(total)
    variance = second.addcmul_(first, first, value=-1)
    return first.mean(1, dtype=torch.float64), variance.mean(1, dtype=torch.float64)
