"""Wall times of two ways of the same work, taken in turn, so that a change of the machine's speed meets both."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Pairs:
    """Seconds of each round, baseline and ours."""

    slow: tuple[float, ...]
    fast: tuple[float, ...]

    @property
    def n(self) -> int:
        """Rounds."""
        return len(self.fast)

    @property
    def ratio(self) -> float:
        """The median over rounds of baseline / ours."""
        return median(a / b for a, b in zip(self.slow, self.fast, strict=True))

    @property
    def best(self) -> float:
        """The baseline's fastest round / our fastest round."""
        return min(self.slow) / min(self.fast)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turn(slow: Callable[[], object], fast: Callable[[], object], *, rounds: int) -> Pairs:
    """Both once to warm up, then both once a round."""
    slow(), fast()
    pairs = [(seconds(slow), seconds(fast)) for _ in range(rounds)]
    return Pairs(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


def all_in_turn(works: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, tuple[float, ...]]:
    """Seconds of each work in each round, after a first call of each to warm up, whose seconds come first."""
    taken = {name: [seconds(work)] for name, work in works.items()}
    for _ in range(rounds):
        for name, work in works.items():
            taken[name].append(seconds(work))
    return {name: tuple(found) for name, found in taken.items()}
