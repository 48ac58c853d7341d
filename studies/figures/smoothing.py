"""A smooth surface through scattered points: a Gaussian mean on a grid, empty where no point is near."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from studies.figures.style import rounded

_LEAST_POINTS = 12  # points for a surface worth drawing
_STEPS = 24
_WIDTH = 0.12  # of the kernel, as a share of each axis
_NEAR = 0.3  # summed kernel weights below which a cell stays empty

Array = NDArray[np.float64]


class Surface(NamedTuple):
    """`z` on the grid of `x` and `y`, as plotly's contour takes it: z[i][j] belongs to y[i] and x[j]."""

    x: list[float | None]
    y: list[float | None]
    z: list[list[float | None]]


def surface(points: Sequence[tuple[float, float, float]], *, log: tuple[bool, bool]) -> Surface | None:
    """Smooths (x, y, z); None for few points, for points on a line, and for values that a log axis cannot show."""
    if len(points) < _LEAST_POINTS:
        return None
    xs, ys, z = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))  # (N,) each
    if any(scale and values.min() <= 0 for scale, values in zip(log, (xs, ys), strict=True)):
        return None
    xs, ys = (np.log(values) if scale else values for scale, values in zip(log, (xs, ys), strict=True))
    if np.ptp(xs) == 0 or np.ptp(ys) == 0:
        return None
    grid = np.linspace(0, 1, _STEPS)  # (S,)
    u, v = (xs - xs.min()) / np.ptp(xs), (ys - ys.min()) / np.ptp(ys)
    distance = ((grid[None, :, None] - u) ** 2 + (grid[:, None, None] - v) ** 2) / _WIDTH**2  # (S, S, N)
    weight = np.exp(-0.5 * distance)
    total = weight.sum(2)
    mean = (weight @ z) / np.maximum(total, 1e-12)
    cells = [
        [round(float(m), 4) if t > _NEAR else None for m, t in zip(*row, strict=True)]
        for row in zip(mean, total, strict=True)
    ]
    return Surface(_axis(xs, grid, log=log[0]), _axis(ys, grid, log=log[1]), cells)


def _axis(values: Array, grid: Array, *, log: bool) -> list[float | None]:
    places = values.min() + grid * np.ptp(values)
    return rounded([float(place) for place in (np.exp(places) if log else places)], digits=4)
