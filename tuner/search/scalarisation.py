"""Several objectives as one value for the samplers, with other weights for each proposal.

The augmented Chebyshev function of ParEGO (Knowles 2006): of the distances to the best value seen in each objective,
the largest weighted one counts, and a little of their sum. Whatever the weights, no dominated point is its maximum, and
nearly every point of a front, also of a concave one, is the maximum for some weights. So a search that changes them
comes to all of the front with samplers that know a single value.

A distance is the share of points that are better, not one within the observed range as in ParEGO: a collapsed network
would stretch the range until all good points look alike. benchmarks/README.md has the figures.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search_spaces.objectives import DIGITS, front

SUM = 0.05  # share of the sum, as in ParEGO: of points with the same largest distance, the nearer one is better

Gains = Sequence[float]  # by each objective; larger is better


def weights(count: int, *, seed: int, of: str, index: int) -> tuple[float, ...]:
    """Positive weights of `count` objectives that add up to 1: point `index` of an even sequence named `of`."""
    from scipy.stats import qmc

    rng = np.random.default_rng(zlib.crc32(repr((seed, of)).encode()))  # the same in every process
    sequence = qmc.Sobol(d=count - 1, rng=rng)
    if index:
        sequence.fast_forward(index)
    cuts = np.sort(sequence.random(1)[0])  # the gaps between sorted uniform numbers are uniform on the simplex
    gaps = np.maximum(np.diff(cuts, prepend=0.0, append=1.0), np.finfo(float).eps)
    return tuple((gaps / gaps.sum()).tolist())


def scalarised(points: Sequence[Gains], weighted: Sequence[float]) -> list[float]:
    """One value a point, at most 0; larger is better. It depends on all points, but not on their order."""
    if not points:
        return []
    distances = _distances(np.asarray(points, dtype=float)) * np.asarray(weighted)  # (N, M)
    found: list[float] = (-distances.max(1) - SUM * distances.sum(1)).tolist()
    return found


def _distances(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of the other points that are better, objective by objective: (N, M)."""
    from scipy.stats import rankdata

    better = len(gains) - rankdata(gains.round(DIGITS), method="max", axis=0)
    found: NDArray[np.float64] = better / max(1, len(gains) - 1)
    return found


def ranked(backbones: Sequence[int], points: Sequence[Gains]) -> dict[int, float]:
    """A value for each backbone, given that and the gains of each head: the most heads on the front are best.

    Backbones without any there follow, those on the front of the remaining heads first, and so on.
    """
    left, found, layer = list(zip(backbones, points, strict=True)), dict[int, float](), 0
    while left:
        on_front = [left[place][0] for place in front([gains for _, gains in left])]
        found |= {backbone: on_front.count(backbone) / (len(points) + 1) - layer for backbone in sorted(set(on_front))}
        left, layer = [point for point in left if point[0] not in found], layer + 1
    return found
