"""The next points by expected improvement under a Gaussian process (Jones et al. 1998)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import CategoricalDistribution
from scipy.special import ndtr
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from search_spaces import geometry
from trainers.config import Scalar
from tuner.search import gaussian_process
from tuner.search.gaussian_process import Array
from tuner.search.lessons import Lesson
from tuner.search.points import DECAY, RATE, Level, Params, sobol_points
from tuner.search.samplers.sampler import Ask, Points

LEARNED = 96  # points that the process is fitted to, at most: its cost grows with their cube
SPREAD = 1024  # evenly spread candidates
NEAR, AROUND, REACH = 3, 64, 0.07  # and so many around each of the best points, at this standard deviation
BELIEVED = 0.2  # standard deviation of a belief, as a share of its range
FADES = 4  # finished points after which a belief counts half
_DEEP = 3.0  # how far below the best, in distances from it to the median of the better half, a value still counts
_LEAST = 0.02  # of the values' range: the least such distance


class GaussianProcess:
    """Expected improvement over an even spread of candidates, and over points near the best."""

    startup = 4

    def propose(self, rows: Sequence[Lesson], level: Level, ask: Ask) -> Iterator[Points]:
        """Point by point: earlier ones and those under way count as if they gave what is expected of them."""
        with threadpool_limits(1):  # such small matrices are slower on many threads, tens of times on busy cores
            learned = _by_value(rows, level)[:LEARNED]
            found: Points = []
            values = clipped(np.array([row.value for row in learned]))
            known = [row.params for row in learned]
            pending = [dict(params) for params in ask.running]
            view = View.of(level)
            process = gaussian_process.GaussianProcess(view.points(known), values)
            candidates = around(known[:NEAR], level, ask)
            places = view.points(candidates)
            trust = belief(candidates, level, seen=len(rows))
            for _ in range(ask.count):
                asked = [*pending, *found]
                held = process.expecting(view.points(asked)) if asked else process
                best = float(held.posterior(held.known)[0].max())
                gain = improvement(*held.posterior(places), best) * trust
                chosen = int(gain.argmax())
                found.append(level.existing(candidates[chosen], ask.context))
        yield found


@dataclass(frozen=True)
class View:
    """How a process sees the points of a level: coordinates in units of the ranges.

    A logarithmic weight decay is seen as learning rate x weight decay x epochs, for that is what shrinks the weights:
    the best decay moves against the two others.
    """

    level: Level
    epochs: int = 1  # of the full schedule
    shortest: int = 1

    @classmethod
    def of(cls, level: Level, ladder: Sequence[int] = (1,)) -> View:
        """For the schedules of `ladder`, shortest first."""
        return cls(level, epochs=ladder[-1], shortest=ladder[0])

    def points(self, params: Sequence[Params], epochs: int | Sequence[int] | None = None) -> gaussian_process.Points:
        """The points at these schedules; all at the full one if none are given."""
        lengths = np.full(len(params), self.epochs, dtype=float)
        if epochs is not None:
            lengths[:] = epochs
        rows = [self._coordinates(self.level.filled(one)) for one in params]
        span = math.log(self.epochs / self.shortest)
        t = np.log(self.epochs / lengths) / (span or 1.0)
        drift = np.array([-span / width if width else 0.0 for width in self._decay_widths()])
        return gaussian_process.Points(np.array(rows).reshape(len(rows), -1), t, self._unordered(), drift)

    def _coordinates(self, filled: Params) -> list[float]:
        found = []
        for (name, d), width in zip(self.level.distributions.items(), self._decay_widths(), strict=True):
            moved = math.log(float(filled[RATE] or 1.0)) / width if width and RATE in filled else 0.0
            found.append(geometry.share(d, filled[name]) + moved)
        return found

    def _decay_widths(self) -> list[float]:
        """The width of a logarithmic range of weight decay, in nats; 0 for all other parameters."""
        return [
            math.log(ends[1] / ends[0])
            if name == DECAY and geometry.is_log(d) and (ends := geometry.bounds(d))
            else 0.0
            for name, d in self.level.distributions.items()
        ]

    def _unordered(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.array([isinstance(d, CategoricalDistribution) for d in self.level.distributions.values()], dtype=bool)


def around(best: Sequence[Params], level: Level, ask: Ask) -> list[dict[str, Scalar]]:
    """Candidates: an even spread, and normally distributed ones around each of the best points."""
    spread = sobol_points(level, seed=ask.seed, first=0, count=SPREAD, context=ask.context)
    rng = np.random.default_rng(ask.seed)
    near = []
    for params in best:
        filled = level.filled(params)
        shares = np.array([geometry.share(d, filled[name]) for name, d in level.distributions.items()])
        moved = np.clip(shares + rng.normal(0.0, REACH, (AROUND, len(shares))), 0.0, 1.0)
        for row in moved.tolist():
            point = {
                name: filled[name] if isinstance(d, CategoricalDistribution) else geometry.at(d, share)
                for (name, d), share in zip(level.distributions.items(), row, strict=True)
            }
            near.append(level.existing(point, ask.context))
    return [*spread, *near]


def improvement(mean: Array, variance: Array, best: float) -> Array:
    """The expected gain over `best`."""
    deviation = np.sqrt(variance)
    u = (mean - best) / deviation
    gain: Array = deviation * (u * ndtr(u) + np.exp(-0.5 * u**2) / math.sqrt(2 * math.pi))
    return gain


def belief(points: Sequence[Params], level: Level, *, seen: int) -> Array:
    """What the priors make of each point, (n,): less and less of a difference as points are `seen` (Hvarfner 2022)."""
    logarithm = np.zeros(len(points))
    for name, believed in level.part(level.priors).items():
        d = level.distributions[name]
        centre = geometry.share(d, believed)
        apart = np.array([geometry.share(d, point[name]) - centre if name in point else 0.0 for point in points])
        ordered = not isinstance(d, CategoricalDistribution)
        logarithm -= 0.5 * (apart / BELIEVED) ** 2 if ordered else (apart != 0).astype(float)
    found: Array = np.exp(logarithm * FADES / (FADES + seen))
    return found


def clipped(values: Array) -> Array:
    """The values, none far below the better half: how badly a network collapsed would bend the process elsewhere."""
    kept: Array = np.maximum(values, least_that_counts(values))
    return kept


def least_that_counts(values: Array) -> float:
    """The value below which it makes no difference how bad a point is."""
    if len(values) < 2:
        return -math.inf
    better = np.sort(values)[::-1][: max(2, len(values) // 2)]
    distance = max(values.max() - float(np.median(better)), _LEAST * float(np.ptp(values)))
    return float(values.max() - _DEEP * distance)


def _by_value(rows: Sequence[Lesson], level: Level) -> list[Lesson]:
    return sorted(rows, key=lambda row: (-row.value, level.place(row.params)))
