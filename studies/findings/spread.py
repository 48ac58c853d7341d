"""Spread over seeds: mean and sample deviation of a measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple


class Spread(NamedTuple):
    """A measure over seeds; `deviation` is the sample deviation, None with one seed."""

    mean: float
    deviation: float | None


def spread(values: Sequence[float]) -> Spread:
    """The spread of one or more values."""
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None)


def spreads(runs: Sequence[Mapping[str, float | None]]) -> dict[str, Spread]:
    """The spread of every measure that all runs have, in the order of the first run."""
    found = {}
    for name in runs[0] if runs else ():
        values = [value for run in runs if (value := run.get(name)) is not None]
        if len(values) == len(runs):
            found[name] = spread(values)
    return found
