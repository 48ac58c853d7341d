"""The points of one level of the search: its middle, an even spread, and all of them if they are finitely many.

Distances and places are measured in the unit cube of `search_spaces.geometry`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from optuna.distributions import BaseDistribution

from search_spaces import geometry
from trainers.config import Scalar

Params = Mapping[str, Scalar]
NOTHING: Params = {}
LISTED = 4096  # a level with at most so many points is listed, so that each of them can be proposed
SPARE = 1024  # evenly spread points that replace duplicates on larger levels
RATE, DECAY = "stage1.lr", "stage1.weight_decay"  # their product, times the epochs, is what shrinks weights


def _always(name: str, params: Params) -> bool:  # noqa: ARG001
    return True


@dataclass(frozen=True)
class Level:
    """The searched parameters of one level, parents before the parameters that depend on them.

    `active` is True if a conditional parameter exists, given the parameters chosen before it.
    """

    distributions: Mapping[str, BaseDistribution]
    active: Callable[[str, Params], bool] = _always
    priors: Params = field(default_factory=dict)  # believed values, of parameters that have one

    def existing(self, point: Params, context: Params) -> dict[str, Scalar]:
        """The parameters of a full point whose conditions hold, given each other and `context`."""
        kept: dict[str, Scalar] = {}
        for name in self.distributions:
            if self.active(name, {**context, **kept}):
                kept[name] = point[name]
        return kept

    def part(self, params: Params) -> dict[str, Scalar]:
        """The parameters of this level among others."""
        return {name: params[name] for name in self.distributions if name in params}

    def filled(self, params: Params) -> dict[str, Scalar]:
        """A full point that every sampler can use: parameters missing in `params` take their middle."""
        return {name: params[name] if name in params else geometry.middle(d) for name, d in self.distributions.items()}

    def place(self, params: Params) -> tuple[float, ...]:
        """The parameters in the unit cube, (D,), to a thousandth; -1 for a missing one.

        Points with the same place count as one point: trying both would teach nothing.
        """
        return tuple(
            round(geometry.share(d, params[name]), 3) if name in params else -1.0
            for name, d in self.distributions.items()
        )

    def middle(self, context: Params) -> dict[str, Scalar]:
        """What is believed; else the middle of every range, and the first value of every list of choices."""
        middle = {name: geometry.middle(d) for name, d in self.distributions.items()}
        return self.existing({**middle, **self.part(self.priors)}, context)


def sobol_points(level: Level, *, seed: int, first: int, count: int, context: Params) -> list[dict[str, Scalar]]:
    """Points `first` to `first + count - 1` of the level's scrambled Sobol sequence; point k depends on k alone."""
    from scipy.stats import qmc

    if not count:
        return []
    names = list(level.distributions)
    sequence = qmc.Sobol(d=len(names), rng=np.random.default_rng(seed))
    unit = sequence.random_base2(math.ceil(math.log2(first + count)))[first : first + count]  # (count, D)
    rows = (map(geometry.at, level.distributions.values(), row) for row in unit.tolist())
    return [level.existing(dict(zip(names, row, strict=True)), context) for row in rows]


def combinations(level: Level, context: Params) -> list[dict[str, Scalar]]:
    """Every point of a finite level. Raises ValueError if a parameter is a range without a step."""
    for name, distribution in level.distributions.items():
        if math.isinf(geometry.value_count(distribution)):
            raise ValueError(f"sampler: grid needs finitely many values, but {name} is a range; use choices or a step")
    values = [geometry.values(distribution) for distribution in level.distributions.values()]
    full = (dict(zip(level.distributions, point, strict=True)) for point in itertools.product(*values))
    points = (level.existing(point, context) for point in full)
    return list({tuple(point.items()): point for point in points}.values())


def shuffled(level: Level, *, seed: int, context: Params) -> list[dict[str, Scalar]]:
    """Every point of a finite level in seeded order. Raises ValueError over a range without a step."""
    points = combinations(level, context)
    return [points[i] for i in np.random.default_rng(seed).permutation(len(points))]


def spare_points(level: Level, *, seed: int, context: Params) -> list[dict[str, Scalar]]:
    """Replacements for duplicates: all points in seeded order if they can be listed, else evenly spread ones."""
    if geometry.size(level.distributions) <= LISTED:
        return shuffled(level, seed=seed, context=context)
    return sobol_points(level, seed=seed, first=0, count=SPARE, context=context)


def start_point(level: Level, *, seed: int, index: int) -> dict[str, Scalar]:
    """The first backbones: the middle, an evenly spread one, two on the way from corner to corner, then evenly spread.

    How much weights shrink goes by learning rate x weight decay: too little and nothing is balanced, too much and the
    network collapses. So the third and the fourth point move along both at once, where a few evenly spread points
    leave the corners out.
    """
    if index == 0:
        return level.middle({})
    (point,) = sobol_points(level, seed=seed, first=index - 1, count=1, context={})
    end = {2: 0.0, 3: 1.0}.get(index)
    if end is not None:
        for name in point.keys() & {RATE, DECAY}:
            d = level.distributions[name]
            if geometry.bounds(d):
                centre = geometry.share(d, level.priors[name]) if name in level.priors else 0.5
                point[name] = geometry.at(d, (centre + end) / 2)
    return level.existing({**level.filled({}), **point}, {})
