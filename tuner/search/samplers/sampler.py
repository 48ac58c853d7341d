"""What a sampler is: a pure function of finished points and a seed. A new one is a file and a line in `__init__`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trainers.config import Scalar
from tuner.search.lessons import Lesson
from tuner.search.points import Level, Params

Points = list[dict[str, Scalar]]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """How many points are asked for, and what the sampler may know beside the finished ones."""

    count: int
    seed: int  # of this proposal alone
    sequence: int  # seed of the even sequence that all proposals of this kind share
    before: int  # points of that sequence that were proposed before
    from_middle: bool = False  # the sequence begins with the middle of the ranges
    running: Sequence[Params] = ()  # points under way, without values
    context: Params = field(default_factory=dict)  # parameters of the level above, which conditions may name


class Sampler(Protocol):
    """Proposes points of a level. The same rows, level and question give the same points in every process."""

    startup: int
    """Finished backbones before it is asked for others; 0: it learns nothing."""

    def propose(self, rows: Sequence[Lesson], level: Level, ask: Ask) -> Iterator[Points]:
        """Batches of points, the first ones first; the caller takes `ask.count` that are new.

        Raises ValueError if the sampler cannot serve the level.
        """
        ...
