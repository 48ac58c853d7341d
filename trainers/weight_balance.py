"""Balance of a classifier's row norms: MaxNorm, tau-normalisation and measures of imbalance.

A linear head is one weight row per class; with long-tailed data the rows of large classes grow longer (Alshammari et
al., CVPR 2022, section 3).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.errors import ConfigError
from trainers.losses import Counts

RADIUS_UNITS = ("absolute", "median_norm", "norm_span")
_EQUAL = 1e-5  # relative: closer norms differ only by rounding; MaxNorm makes them equal to 1e-7


@dataclass(frozen=True)
class LinearHead:
    """logits = features @ weight.T + bias."""

    weight: Tensor  # (C, D)
    bias: Tensor  # (C,)

    def logits(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, C), in the weight's precision."""
        return torch.addmm(self.bias, features.to(self.weight.dtype), self.weight.T)

    def to(self, device: torch.device | str) -> LinearHead:
        """This head on `device`."""
        return LinearHead(self.weight.to(device), self.bias.to(device))


def row_norms(weight: Tensor) -> Tensor:
    """Euclidean norm of each class's row: (..., C, D) -> (..., C)."""
    norms: Tensor = torch.linalg.vector_norm(weight, dim=-1)
    return norms


def maxnorm_radius(weight: Tensor, value: float, unit: str) -> float:
    """The radius for `value`, from the stage-1 classifier `weight` (C, D).

    `absolute`: itself; `median_norm`: a multiple of the median row norm; `norm_span`: the released code's fraction
    between the smallest and the largest row norm. Raises ConfigError for another unit or a negative value.
    """
    if unit not in RADIUS_UNITS:
        near = difflib.get_close_matches(unit, RADIUS_UNITS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"radius_unit: must be one of {', '.join(RADIUS_UNITS)}, but got {unit!r}{hint}")
    if value < 0:
        raise ConfigError(f"maxnorm_radius: must not be negative, but got {value}; 'none' leaves the constraint out")
    norms = row_norms(weight.detach().double())
    if unit == "absolute":
        return float(value)
    if unit == "median_norm":
        return value * norms.quantile(0.5).item()
    low, high = norms.min().item(), norms.max().item()
    return low + value * (high - low)


def project_maxnorm(weight: Tensor, radius: float | Tensor) -> Tensor:
    """W_k <- W_k min(1, radius / ||W_k||), a new weight (..., C, D) (Alshammari et al. 2022).

    `radius` is a number, or a tensor that broadcasts against the norms (..., C).
    """
    norms = row_norms(weight)
    shrink = (radius / norms.clamp_min(torch.finfo(norms.dtype).tiny)).clamp(max=1.0)
    return weight * shrink.unsqueeze(-1)


def tau_normalize(weight: Tensor, tau: float) -> Tensor:
    """W_k <- W_k / ||W_k||^tau, a new weight (C, D) (Kang et al. 2020); tau 1 gives unit rows, rows of zeros stay."""
    norms = row_norms(weight)
    return weight / torch.where(norms > 0, norms, torch.ones_like(norms)).pow(tau).unsqueeze(-1)


def norm_balance(weight: Tensor, counts: Counts) -> dict[str, float | None]:
    """Measures of how the row norms r of `weight` (C, D) vary and depend on class size n, all scale-free.

    `cv` std/mean (population), `max_min`, `gini`; `pearson` of (r, ln n); `spearman` of (r, n) with average ranks;
    `slope` of ln r on ln n by least squares (0 balanced, negative inverted). Norms within 1e-5 of each other are ties.
    If all are ties, pearson and spearman are 0: the correlation is undefined, but such a classifier is balanced. None
    for norms of 0, and for the last three if all counts are equal.
    """
    return norm_balances(weight.unsqueeze(0), counts)[0]


def norm_balances(weight: Tensor, counts: Counts) -> list[dict[str, float | None]]:
    """`norm_balance` of each of B heads (B, C, D), to the bit."""
    norms = row_norms(weight.detach().double()).cpu()  # (B, C)
    n = torch.as_tensor(counts, dtype=torch.float64).cpu()
    size, rank = _Sizes.of(n.log()), _Sizes.of(_average_ranks(n))
    slopes = (norms.log() * size.centred).sum(1) / size.squares
    columns = {
        "cv": _deviations(norms) / norms.mean(1),
        "max_min": norms.amax(1) / norms.amin(1),
        "gini": _gini(norms),
        "slope": slopes,
    }
    values: dict[str, list[float]] = {name: column.tolist() for name, column in columns.items()}
    pearson, spearman = _correlations(norms, size), _correlations(_average_ranks(norms, _EQUAL), rank)
    return [
        {
            "cv": values["cv"][b] if mean > 0 else None,
            "max_min": values["max_min"][b] if low > 0 else None,
            "gini": values["gini"][b] if mean > 0 else None,
            "pearson": pearson[b] if mean > 0 else None,
            "spearman": spearman[b] if mean > 0 else None,
            "slope": values["slope"][b] if low > 0 and size.vary else None,
        }
        for b, (mean, low) in enumerate(zip(norms.mean(1).tolist(), norms.amin(1).tolist(), strict=True))
    ]


def norm_slope(norms: Tensor, counts: Tensor) -> Tensor:
    """Least-squares slope of ln r on ln n: norms (..., C), counts (C,) -> (...). NaN when all counts are equal."""
    size = counts.to(norms).log()
    size = size - size.mean()
    return (norms.log() * size).sum(-1) / size.square().sum()


def _gini(norms: Tensor) -> Tensor:
    """sum_ij |r_i - r_j| / (2 C^2 mean) of each head (B,), from the sorted norms."""
    ordered, count = norms.sort().values, norms.shape[1]
    rank = torch.arange(1, count + 1, dtype=norms.dtype)
    return _products(ordered, 2 * rank - count - 1) / (count * ordered.sum(1))


@dataclass(frozen=True)
class _Sizes:
    """A measure of class size that norms are correlated with, the same for all heads."""

    vary: bool
    centred: Tensor  # (C,)
    squares: Tensor  # their sum

    @classmethod
    def of(cls, values: Tensor) -> _Sizes:
        centred = values - values.mean()
        return cls(vary=_vary(values.unsqueeze(0))[0], centred=centred, squares=centred.square().sum())


def _correlations(a: Tensor, sizes: _Sizes) -> list[float | None]:
    """Correlation of each row of `a` (B, C) with a measure of class size.

    0 if the row is constant, None if it is not finite or the sizes are constant.
    """
    if not sizes.vary:
        return [None] * len(a)
    centred = a - a.mean(1, keepdim=True)
    found = _products(centred, sizes.centred) / (centred.square().sum(1) * sizes.squares).sqrt()
    rows = zip(found.tolist(), _vary(a), a.isfinite().all(1).tolist(), strict=True)
    return [(value if varies else 0.0) if finite else None for value, varies, finite in rows]


def _vary(values: Tensor) -> list[bool]:
    """Whether each row (B, C) is more than one value, to rounding."""
    varies = values.isfinite().all(1) & (_deviations(values) > _EQUAL * values.abs().mean(1))
    found: list[bool] = varies.tolist()
    return found


def _deviations(values: Tensor) -> Tensor:
    """Standard deviation of each row; row by row, because together they are rounded differently."""
    return torch.stack([row.std(correction=0) for row in values])


def _products(rows: Tensor, vector: Tensor) -> Tensor:
    """The product of each row with `vector`; row by row, for the same reason."""
    return torch.stack([row @ vector for row in rows])


def _average_ranks(values: Tensor, tolerance: float = 0.0) -> Tensor:
    """Ranks from 1; each is the mean rank of all values within the relative `tolerance` of its own.

    Ties are not chained: with thousands of classes a chain would join norms that are far apart.
    """
    ordered = values.sort().values
    below = torch.searchsorted(ordered, values * (1 - tolerance))  # number of smaller values
    through = torch.searchsorted(ordered, values * (1 + tolerance), right=True)  # number of smaller or equal values
    return (below + through + 1).double() / 2
