"""Independent draws, uniform in the ranges (in their logarithm on a log scale)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import optuna

from tuner.search.lessons import Lesson
from tuner.search.points import Level
from tuner.search.samplers.optuna_asked import asked
from tuner.search.samplers.sampler import Ask, Points


class Random:
    """Optuna's RandomSampler."""

    startup = 0

    def propose(self, rows: Sequence[Lesson], level: Level, ask: Ask) -> Iterator[Points]:
        """Looks at no result."""
        yield asked(optuna.samplers.RandomSampler(seed=ask.seed), level, ask)
