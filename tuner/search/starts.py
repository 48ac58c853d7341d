"""Which backbone begins at which start point, also in a study to which points were added on the way."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence

from search_spaces import Space, loads
from studies.records import SpaceRow
from trainers.config import Scalar

StartPoint = Mapping[str, Scalar]


def scheduled(points: Sequence[StartPoint], ends: Sequence[tuple[int, int]] = ()) -> dict[int, StartPoint]:
    """Backbone to start point: the first points at the first backbones, those added later at the next free ones.

    `ends` tells of the earlier spaces of a study that grew: how many of the points each had, and how many backbones
    there were when it ended.
    """
    counts = [*(count for count, _ in ends), len(points)]
    begun = [0, *(backbones for _, backbones in ends)]
    found: dict[int, StartPoint] = {}
    for count, first in zip(counts, begun, strict=True):
        free = (index for index in itertools.count(first) if index not in found)
        for point in points[len(found) : count]:
            found[next(free)] = point
    return found


def starts_of(space: Space, spaces: Sequence[SpaceRow], begun: Collection[int]) -> dict[int, StartPoint]:
    """The same for a study with these spaces, given the first trial of each of its backbones."""
    ends = [
        (len(loads(old.space_yaml).start), sum(number < new.first_trial for number in begun))
        for old, new in itertools.pairwise(spaces)
    ]
    return scheduled(space.start_points, ends)


def drawn_before(index: int, schedule: Mapping[int, StartPoint]) -> int:
    """How many start points come before this backbone, so that the sampler's own sequence goes on where it was."""
    return sum(1 for one in schedule if one < index)
