"""A Gaussian process over points and schedule lengths (Rasmussen and Williams 2006, chapters 2 and 5).

    y(z, t) = c + h(t) + g(z) + e(z, t) + noise

`g` is the value after the full schedule: Matern 5/2 with a length scale for each coordinate. Shorter schedules,
`t` > 0, differ from it by an offset `h` that all points share and by a deviation `e` of each place; the covariances of
both grow with the smaller of two distances, as in Brownian motion, so that neighbouring lengths tell more of each other
than distant ones (in the manner of Kennedy and O'Hagan 2000). With one length, `h` and `e` are absent.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

_JITTER = 1e-6
_SCALE, _NOISE, _DEVIATION = math.log(0.4), math.log(0.15), math.log(0.3)  # medians of the priors, logarithms
_DRIFT = 0.7
_STARTS = (0.0, -0.7)  # of the length scales, relative to their median


@dataclass(frozen=True)
class Points:
    """Where the process is known or asked: coordinates, some without order, and distances from the full length.

    `drift` says by how much the coordinates of equal places may move for each unit of distance; the process finds out
    which share of it they do.
    """

    z: Array  # (n, D)
    t: Array  # (n,)
    unordered: NDArray[np.bool_]  # (D,)
    drift: Array  # (D,)

    def apart(self, other: Points) -> tuple[Array, Array]:
        """Differences by coordinate, (n, m, D), 1 between two values without order; and those that drift makes."""
        difference = self.z[:, None] - other.z[None]
        difference = np.where(self.unordered, (difference != 0).astype(float), difference)
        return difference, (self.t[:, None] - other.t[None])[..., None] * self.drift

    def joined(self, other: Points) -> Points:
        """Both sets."""
        return replace(self, z=np.concatenate([self.z, other.z]), t=np.concatenate([self.t, other.t]))

    def at(self, index: NDArray[np.intp]) -> Points:
        """Some of the points."""
        return replace(self, z=self.z[index], t=self.t[index])


class GaussianProcess:
    """The process, conditioned on `y` (n,) at `known`; its settings have the highest posterior density."""

    def __init__(self, known: Points, y: Array) -> None:
        self.known = known
        self._several = bool(known.t.max(initial=0.0) > 0)
        self._mean, self._unit = float(y.mean()), max(float(y.std()), 1e-9)
        self._y = (y - self._mean) / self._unit
        self._apart = known.apart(known)
        self._settings = self._fitted()
        self._condition()

    def expecting(self, pending: Points) -> GaussianProcess:
        """The same process if each pending point gives the mean that is expected of it."""
        other = copy.copy(self)
        other.known = self.known.joined(pending)
        other._y = np.concatenate([self._y, self._cross(pending) @ self._alpha])
        other._apart = other.known.apart(other.known)
        other._condition()
        return other

    def posterior(self, asked: Points) -> tuple[Array, Array]:
        """Means (n,) and variances (n,) of the values without noise."""
        cross = self._cross(asked)
        half = solve_triangular(self._factor, cross.T, lower=True)
        variance = self._prior_variance(asked.t) - (half**2).sum(0)
        return self._mean + self._unit * (cross @ self._alpha), self._unit**2 * np.maximum(variance, 1e-12)

    def covariance(self, asked: Points, others: Points) -> Array:
        """Covariances (n, m) of the values at two sets of points, given what is known."""
        ours = solve_triangular(self._factor, self._cross(asked).T, lower=True)
        theirs = solve_triangular(self._factor, self._cross(others).T, lower=True)
        prior = self._kernel(self._settings, asked.apart(others), asked.t, others.t)
        covariance: Array = self._unit**2 * (prior - ours.T @ theirs)
        return covariance

    @property
    def noise(self) -> float:
        """The variance of a reading."""
        return float(self._unit**2 * np.exp(2 * self._settings[self._width + 1]))

    @property
    def _width(self) -> int:
        return len(self.known.unordered)

    def _condition(self) -> None:
        self._factor = self._cholesky(self._settings)
        half = solve_triangular(self._factor, self._y, lower=True)
        self._alpha = solve_triangular(self._factor.T, half, lower=False)

    def _cross(self, asked: Points) -> Array:
        return self._kernel(self._settings, asked.apart(self.known), asked.t, self.known.t)

    def _kernel(self, settings: Array, apart: tuple[Array, Array], t: Array, other: Array) -> Array:
        """Covariances (n, m). `settings`: logarithms of the length scales (D,), of the height of g, of the noise and of
        the height of e, then the share of the drift."""
        width, (difference, drift) = self._width, apart
        if self._several:
            difference = difference + settings[width + 3] * drift
        squared = difference**2 @ np.exp(-2 * settings[:width])
        kernel: Array = 1.0 + np.exp(2 * settings[width]) * _matern(squared)  # 1: the unknown constant
        if self._several:
            nearer = np.minimum(t[:, None], other[None])
            kernel = kernel + nearer * (1.0 + np.exp(2 * settings[width + 2]) * _matern(squared / 4))
        return kernel

    def _prior_variance(self, t: Array) -> Array:
        variance: Array = np.full(len(t), 1.0 + math.exp(2 * self._settings[self._width]))
        return variance + t * (1.0 + math.exp(2 * self._settings[self._width + 2])) if self._several else variance

    def _cholesky(self, settings: Array) -> Array:
        kernel = self._kernel(settings, self._apart, self.known.t, self.known.t)
        kernel[np.diag_indices(len(kernel))] += math.exp(2 * settings[self._width + 1]) + _JITTER
        factor: Array = np.linalg.cholesky(kernel).astype(np.float64, copy=False)
        return factor

    def _fitted(self) -> Array:
        """The settings of highest posterior density, from two starts."""
        tries = []
        bounds = [(math.log(0.03), math.log(5.0))] * self._width + [(-3.0, 3.0), (math.log(0.02), 0.0)]
        bounds += [(-4.0, 2.0), (-1.0, 1.5)] if self._several else []
        for shift in _STARTS:
            begun, _ = self._priors()
            begun[: self._width] += shift
            tries.append(minimize(self._loss, begun, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60}))
        best: Array = min(tries, key=lambda found: float(found.fun)).x
        return best

    def _priors(self) -> tuple[Array, Array]:
        """Means and standard deviations of the settings' normal priors."""
        mean = [_SCALE] * self._width + [0.0, _NOISE]
        deviation = [0.7] * self._width + [0.7, 1.0]
        if self._several:
            mean, deviation = [*mean, _DEVIATION, _DRIFT], [*deviation, 0.7, 0.4]
        return np.array(mean), np.array(deviation)

    def _loss(self, settings: Array) -> float:
        """Minus the logarithm of marginal likelihood and priors, up to a constant."""
        try:
            factor = self._cholesky(settings)
        except np.linalg.LinAlgError:
            return 1e6
        half = solve_triangular(factor, self._y, lower=True)
        mean, deviation = self._priors()
        prior = 0.5 * (((settings - mean) / deviation) ** 2).sum()
        return float(0.5 * half @ half + np.log(np.diag(factor)).sum() + prior)


def _matern(squared: Array) -> Array:
    """Matern 5/2 of squared distances in length scales."""
    r = np.sqrt(5 * squared)
    value: Array = (1 + r + r**2 / 3) * np.exp(-r)
    return value
