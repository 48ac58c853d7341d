"""An even spread: a scrambled Sobol sequence. On the outer level the middle of the ranges comes first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tuner.search.lessons import Lesson
from tuner.search.points import Level, sobol_points
from tuner.search.samplers.sampler import Ask, Points


class Even:
    """Points that look at no result, so that studies which differ elsewhere share their backbones."""

    startup = 0

    def propose(self, rows: Sequence[Lesson], level: Level, ask: Ask) -> Iterator[Points]:
        """Each from where the sequence stopped before."""
        if ask.from_middle and ask.before == 0:
            yield [level.middle(ask.context)]
        first = max(0, ask.before - ask.from_middle)
        yield sobol_points(level, seed=ask.sequence, first=first, count=ask.count, context=ask.context)
