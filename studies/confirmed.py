"""Configurations of the search with runs of several seeds, from the rows of a study alone.

A run with another seed is a trial of the role CONFIRM: the whole configuration with other seeds, trained anew. It can
not be chosen itself; it belongs to the trial of the search with the same configuration, on the same backbone index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from studies.findings.spread import Spread, spread
from studies.records import TrialRow
from trainers.config import Scalar

CONFIRM: Final = "confirm"  # role of a trial, and kind of its job
SEEDS = ("stage1.seed", "stage2.seed")


@dataclass(frozen=True)
class Confirmed:
    """A trial of the search, and all runs of its configuration with other seeds, by seed."""

    trial: TrialRow
    others: tuple[TrialRow, ...]  # in any state

    @cached_property
    def runs(self) -> tuple[TrialRow, ...]:
        """The finished runs, the search's own first."""
        return (self.trial, *(row for row in self.others if is_finished(row)))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each finished run."""
        return tuple(seed_in(row.config) for row in self.runs)

    @property
    def failed(self) -> tuple[TrialRow, ...]:
        """Runs without a result."""
        return tuple(row for row in self.others if row.state == "FAIL")

    @cached_property
    def value(self) -> Spread:
        """The objective over the finished runs."""
        return spread([row.value or 0.0 for row in self.runs])

    def mean(self, metric: str) -> float | None:
        """The mean of a measure over the finished runs that have it; None if none has."""
        known = [value for row in self.runs if (value := row.metrics.get(metric)) is not None]
        return spread(known).mean if known else None


def confirmed(searched: Sequence[TrialRow], rows: Iterable[TrialRow]) -> tuple[Confirmed, ...]:
    """The trials among `searched` with runs of other seeds among `rows`; of equal configurations the first one."""
    others: dict[frozenset[tuple[str, Scalar]], list[TrialRow]] = {}
    for row in rows:
        if row.role == CONFIRM:
            others.setdefault(_key(row.config), []).append(row)
    backbones = {row.backbone_index for runs in others.values() for row in runs}
    found = []
    for row in searched:
        if others and row.backbone_index in backbones:
            runs = others.pop(_key(row.config), [])
            found += [Confirmed(row, tuple(sorted(runs, key=lambda one: seed_in(one.config))))] if runs else []
    return tuple(found)


def is_finished(row: TrialRow) -> bool:
    """True if the trial has a result."""
    return row.state == "COMPLETE" and row.value is not None


def seed_in(config: Mapping[str, Scalar]) -> int:
    """The seed of stage 1, which names a run."""
    return int(config["stage1.seed"] or 0)


def without_seeds(config: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """A configuration without its seeds."""
    return {name: value for name, value in config.items() if name not in SEEDS}


def _key(config: Mapping[str, Scalar]) -> frozenset[tuple[str, Scalar]]:
    return frozenset(without_seeds(config).items())
