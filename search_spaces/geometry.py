"""Geometry of searched parameters: one implementation for the search, the naive baseline, cautions and figures.

Works on Optuna's distributions, as in `Space.searched`. The position of a number is its share of the range (of the
logarithm's range on a log scale); the position of a choice is the middle of its slot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from trainers.config import Scalar


def middle(distribution: BaseDistribution) -> Scalar:
    """The middle of a range (geometric on a log scale, one of the steps if it has steps); the first choice."""
    return at(distribution, 0.0 if isinstance(distribution, CategoricalDistribution) else 0.5)


def at(distribution: BaseDistribution, u: float) -> Scalar:
    """The value at the share `u` in [0, 1] of a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[min(int(u * len(distribution.choices)), len(distribution.choices) - 1)]
    d = _numeric(distribution)
    low, high = _slots(d)
    value = low + u * (high - low)
    value = math.exp(value) if d.log else value
    if d.step is not None:
        value = d.low + d.step * round((value - d.low) / d.step)
    value = min(max(value, d.low), d.high)
    return round(value) if isinstance(d, IntDistribution) else float(value)


def typed(distribution: BaseDistribution, value: Scalar) -> Scalar:
    """A value of the distribution in its own type: 1 in a range of floats is 1.0."""
    if isinstance(distribution, CategoricalDistribution) or isinstance(value, bool | str | None):
        return value
    return round(value) if isinstance(distribution, IntDistribution) else float(value)


def share(distribution: BaseDistribution, value: Scalar) -> float:
    """The position of a value in [0, 1]: the inverse of `at`, up to the rounding of steps."""
    if isinstance(distribution, CategoricalDistribution):
        return (distribution.to_internal_repr(value) + 0.5) / len(distribution.choices)
    d = _numeric(distribution)
    low, high = _slots(d)
    if isinstance(value, str | None):
        raise TypeError(f"needs a number for {distribution!r}, but got {value!r}")
    number = float(value)
    return ((math.log(number) if d.log else number) - low) / (high - low) if high > low else 0.5


def edge(distribution: BaseDistribution, value: Scalar, *, within: float) -> Literal["low", "high"] | None:
    """The end of a range that `value` is near, within a share of the range; None elsewhere."""
    ends = bounds(distribution)
    if ends is None or ends[0] == ends[1]:
        return None
    low, here, high = (share(distribution, one) for one in (ends[0], value, ends[1]))
    way = (here - low) / (high - low)  # 0 at the lowest value, 1 at the highest, unlike `share` with steps
    if min(way, 1 - way) > within:
        return None
    return "low" if way <= within else "high"


def bounds(distribution: BaseDistribution) -> tuple[float, float] | None:
    """The lowest and the highest value of a range; None for choices, which have no order."""
    if isinstance(distribution, CategoricalDistribution):
        return None
    d = _numeric(distribution)
    return d.low, d.high


def is_log(distribution: BaseDistribution | None) -> bool:
    """True for a logarithmic range; False for choices and for parameters that are not searched."""
    return isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log


def in_words(distribution: BaseDistribution) -> str:
    """`0.01 to 0.2, logarithmic`, `10 to 40, step 10`, `one of ce, ldam`."""
    if isinstance(distribution, CategoricalDistribution):
        return f"one of {', '.join(map(str, distribution.choices))}"
    d = _numeric(distribution)
    plain = d.step is None or (isinstance(d, IntDistribution) and d.step == 1)
    step = "" if plain else f", step {d.step:g}"
    return f"{d.low:g} to {d.high:g}{', logarithmic' if d.log else ''}{step}"


def value_count(distribution: BaseDistribution) -> float:
    """The number of values; infinite for a range without a step."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    d = _numeric(distribution)
    if d.step is None:
        return 1 if d.single() else math.inf
    return math.floor((d.high - d.low) / d.step + 1e-9) + 1  # 0.3 / 0.1 is 2.999...


def values(distribution: BaseDistribution) -> Sequence[Scalar]:
    """All values in order. Raises OverflowError for a range without a step."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    d = _numeric(distribution)
    return [min(d.low + (d.step or 0) * k, d.high) for k in range(int(value_count(d)))]  # 0.1 + 2 * 0.1 is above 0.3


def size(distributions: Mapping[str, BaseDistribution]) -> float:
    """An upper bound on the number of points, because conditions exclude some. Infinite with a range without a step."""
    return math.prod(value_count(distribution) for distribution in distributions.values())


def corners(distributions: Mapping[str, BaseDistribution]) -> list[dict[str, Scalar]]:
    """All lows; all highs; and all highs with each choice in turn."""
    ends = {name: bounds(distribution) or values(distribution) for name, distribution in distributions.items()}
    low: dict[str, Scalar] = {name: found[0] for name, found in ends.items()}
    high: dict[str, Scalar] = {name: found[-1] for name, found in ends.items()}
    turns = [
        {**high, name: choice}
        for name, distribution in distributions.items()
        if isinstance(distribution, CategoricalDistribution)
        for choice in distribution.choices
    ]
    return [low, high, *turns]


def _numeric(distribution: BaseDistribution) -> FloatDistribution | IntDistribution:
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return distribution
    raise TypeError(f"needs a float, int or categorical distribution, but got {distribution!r}")


def _slots(d: FloatDistribution | IntDistribution) -> tuple[float, float]:
    """The ends on the scale of the range; with steps half a step wider, so that each step has an equal share."""
    half = d.step / 2 if d.step is not None else 0.0
    low, high = d.low - half, d.high + half
    return (math.log(low), math.log(high)) if d.log else (low, high)
