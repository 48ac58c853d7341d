"""How far runs lie apart: mean and sample deviation of a measure over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple


class Spread(NamedTuple):
    """A measure over seeds; `deviation` is the sample's, None with one seed."""

    mean: float
    deviation: float | None


def spread(values: Sequence[float]) -> Spread:
    """Of one value or more."""
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None)


def spreads(runs: Sequence[Mapping[str, float | None]]) -> dict[str, Spread]:
    """Of every measure that all runs have, in the order of the first."""
    found = {}
    for name in runs[0] if runs else ():
        values = [value for run in runs if (value := run.get(name)) is not None]
        if len(values) == len(runs):
            found[name] = spread(values)
    return found
