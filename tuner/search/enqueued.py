"""Points that wait to be tried: what is wrong with them, where they belong, and what the budget lacks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search_spaces import Space
from search_spaces.known_points import fitted
from studies.records import WaitingRow
from trainers.config import Scalar
from trainers.errors import ConfigError
from tuner.search.configurations import with_defaults
from tuner.search.points import Level, Params, sobol_points

_SPARE = 64  # even points that are tried where what the sampler fills in would be a known backbone


@dataclass(frozen=True)
class Enqueued:
    """A waiting trial with a point that its space holds, complete or in part."""

    number: int
    point: Params

    def part(self, prefix: str) -> dict[str, Scalar]:
        """Its values on one level."""
        return {name: value for name, value in self.point.items() if name.startswith(prefix)}


def read_point(space: Space, row: WaitingRow, *, levels: Sequence[Level]) -> tuple[Enqueued, str]:
    """The point of a waiting trial, and in words why it cannot be tried; "" if it can."""
    point, wrong = fitted(space, row.params)
    reasons = [f"{name}: {complaint}" for name, complaint in wrong.items()]
    if not reasons:
        try:
            with_defaults({**space.fixed, **_completed(point, levels)})
        except ConfigError as error:
            reasons = [str(error)]
    return Enqueued(row.number, point), "; ".join(reasons)


def tried_by(study: str, lacking: Mapping[str, int]) -> str:
    """The command that tries what waits, with the budget that it needs."""
    larger = "".join(f" --set {name}={number}" for name, number in lacking.items())
    used_up = f"{' and '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} used up: " if lacking else ""
    return f"{used_up}tried by: tuner resume {study}{larger}"


def whole(level: Level, params: Params, *, context: Params) -> dict[str, Scalar] | None:
    """The parameters that exist on a level; None if `params` leaves one out."""
    try:
        return level.existing(params, context)
    except KeyError:
        return None


def begun(level: Level, point: Params, *, proposed: Params, known: Sequence[Params], seed: int) -> dict[str, Scalar]:
    """The stage-1 parameters of a new backbone for a point: what it leaves out is `proposed`.

    If that is a known backbone, an even spread fills it in, for the point wants a backbone of its own.
    """
    first = level.existing({**level.filled(proposed), **point}, {})
    places = set(map(level.place, known))
    if level.place(first) not in places or whole(level, point, context={}) is not None:
        return first
    spread = sobol_points(level, seed=seed, first=0, count=_SPARE, context={})
    others = (level.existing({**level.filled(filling), **point}, {}) for filling in spread)
    return next((one for one in others if level.place(one) not in places), first)


def begun_with(
    level: Level, heads: Sequence[Params], starts: Sequence[Params], *, context: Params
) -> list[dict[str, Scalar]]:
    """The heads with the values of known points in the first ones, and no other head at their places."""
    first = [
        level.existing({**level.filled(head), **start}, context) for head, start in zip(heads, starts, strict=False)
    ]
    places = set(map(level.place, first))
    return [*first, *(dict(head) for head in heads[len(first) :] if level.place(head) not in places)]


def _completed(point: Params, levels: Sequence[Level]) -> Mapping[str, Scalar]:
    """The point with the middle of the ranges where it leaves something out."""
    found: dict[str, Scalar] = {}
    for level in levels:
        found |= level.existing(level.filled(point), found)
    return found
