"""The points of one level of the search: its middle, an even spread, and all of them where they are finitely many.

Everything happens in the unit cube: a number lies at its share of the range (of the logarithm's range on a log scale),
a choice at the middle of its slot.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Scalar = str | int | float | bool | None
Params = Mapping[str, Scalar]


def _always(name: str, params: Params) -> bool:  # noqa: ARG001
    return True


@dataclass(frozen=True)
class Level:
    """What is searched on one level, parents before those that depend on them.

    `active` says whether a conditional parameter exists beside those chosen before it.
    """

    distributions: Mapping[str, BaseDistribution]
    active: Callable[[str, Params], bool] = _always

    def existing(self, point: Params, context: Params) -> dict[str, Scalar]:
        """The parameters of a full point that exist beside each other and beside `context`."""
        kept: dict[str, Scalar] = {}
        for name in self.distributions:
            if self.active(name, {**context, **kept}):
                kept[name] = point[name]
        return kept

    def filled(self, params: Params) -> dict[str, Scalar]:
        """A full point: what does not exist in `params` lies at its centre, so that every sampler can use the row."""
        return {name: params[name] if name in params else centre(d) for name, d in self.distributions.items()}

    def place(self, params: Params) -> tuple[float, ...]:
        """Where the parameters lie in the unit cube, (D,), to a thousandth; -1 for one that does not exist.

        Points with the same place are one point: nothing is learned from asking for both.
        """
        return tuple(
            round(share(d, params[name]), 3) if name in params else -1.0 for name, d in self.distributions.items()
        )

    def middle(self, context: Params) -> dict[str, Scalar]:
        """The centre of every range, and the first of every list of choices."""
        return self.existing({name: centre(d) for name, d in self.distributions.items()}, context)


def spread(level: Level, *, seed: int, first: int, count: int, context: Params) -> list[dict[str, Scalar]]:
    """Points `first` to `first + count - 1` of the level's scrambled Sobol sequence; point k depends on k alone."""
    from scipy.stats import qmc

    if not count:
        return []
    names = list(level.distributions)
    sequence = qmc.Sobol(d=len(names), rng=np.random.default_rng(seed))
    unit = sequence.random_base2(math.ceil(math.log2(first + count)))[first : first + count]  # (count, D)
    points = (dict(zip(names, map(at, level.distributions.values(), row), strict=True)) for row in unit.tolist())
    return [level.existing(point, context) for point in points]


def combinations(level: Level, context: Params) -> list[dict[str, Scalar]]:
    """Every point of a level with finitely many. Raises ValueError when a parameter is a range without a step."""
    for name, distribution in level.distributions.items():
        if math.isinf(_count(distribution)):
            raise ValueError(f"sampler: grid needs finitely many values, but {name} is a range; use choices or a step")
    values = [_values(distribution) for distribution in level.distributions.values()]
    full = (dict(zip(level.distributions, point, strict=True)) for point in itertools.product(*values))
    points = (level.existing(point, context) for point in full)
    return list({tuple(point.items()): point for point in points}.values())


def size(level: Level) -> float:
    """How many points the level has at most; infinite with a range that has no step."""
    return math.prod(_count(distribution) for distribution in level.distributions.values())


def centre(distribution: BaseDistribution) -> Scalar:
    """The middle of a range (geometric on a log scale), the first of a list of choices."""
    return at(distribution, 0.0 if isinstance(distribution, CategoricalDistribution) else 0.5)


def at(distribution: BaseDistribution, u: float) -> Scalar:
    """The value at the share `u` in [0, 1] of a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[min(int(u * len(distribution.choices)), len(distribution.choices) - 1)]
    d = _numeric(distribution)
    low, high = _ends(d)
    value = low + u * (high - low)
    value = math.exp(value) if d.log else value
    if d.step is not None:
        value = d.low + d.step * round((value - d.low) / d.step)
    value = min(max(value, d.low), d.high)
    return round(value) if isinstance(d, IntDistribution) else float(value)


def share(distribution: BaseDistribution, value: Scalar) -> float:
    """Where a value lies, in [0, 1]: the inverse of `at`, up to the rounding of steps."""
    if isinstance(distribution, CategoricalDistribution):
        return (distribution.to_internal_repr(value) + 0.5) / len(distribution.choices)
    d = _numeric(distribution)
    low, high = _ends(d)
    if isinstance(value, str | None):
        raise TypeError(f"needs a number for {distribution!r}, but got {value!r}")
    number = float(value)
    return ((math.log(number) if d.log else number) - low) / (high - low) if high > low else 0.5


def _numeric(distribution: BaseDistribution) -> FloatDistribution | IntDistribution:
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return distribution
    raise TypeError(f"needs a float, int or categorical distribution, but got {distribution!r}")


def _ends(d: FloatDistribution | IntDistribution) -> tuple[float, float]:
    """The ends on the scale of the range; half a step wider on both sides, so that each step has an equal share."""
    half = d.step / 2 if d.step is not None else 0.0
    low, high = d.low - half, d.high + half
    return (math.log(low), math.log(high)) if d.log else (low, high)


def _count(distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    d = _numeric(distribution)
    if d.step is None:
        return 1 if d.single() else math.inf
    return math.floor((d.high - d.low) / d.step + 1e-9) + 1  # 0.3 / 0.1 is 2.999...


def _values(distribution: BaseDistribution) -> Sequence[Scalar]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    d = _numeric(distribution)
    return [min(d.low + (d.step or 0) * k, d.high) for k in range(int(_count(d)))]  # 0.1 + 2 * 0.1 is above 0.3
