"""The search on two levels: which backbone next, and which heads on it. Pure functions of the study's rows and a seed.

Stage 2 costs a sixtieth of stage 1, so few backbones carry many heads each. The outer level sees one lesson a backbone,
over `stage1.*` alone; the inner one sees heads over `stage2.*`, relative to the best head of their own backbone. The
samplers are made anew from the rows for each proposal: the same rows in any order give the same proposal.
benchmarks/README.md records with figures what helped and what did not.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence

from trainers.config import Scalar, check_known
from tuner.search import lessons
from tuner.search.lessons import Observation, backbone_values
from tuner.search.points import NOTHING, Level, Params, sobol_points, spare_points, start_point
from tuner.search.rungs import Ladder, length_of, propose_training
from tuner.search.samplers import BY_NAME, SAMPLERS
from tuner.search.samplers.sampler import Ask, Points, Sampler

__all__ = ["SAMPLERS", "Level", "Observation", "backbone_values", "propose_backbone", "propose_heads", "propose_length"]

EXPLORED = 0.25  # share of a backbone's first round that is spread evenly


def propose_backbone(
    rows: Sequence[Observation],
    *,
    space: Level,
    sampler: str,
    seed: int,
    index: int,
    first: int = 0,
    known: Sequence[Params] = (),
    pending: Sequence[Params] = (),
) -> dict[str, Scalar] | None:
    """The stage-1 parameters of backbone `index`, different from those in `known`, `pending` and `rows`.

    `first` is the index of the first backbone that is not given by a start point: it is the middle of the ranges.
    `pending` are the backbones under way. A backbone's value is the mean of its best eighth of heads; one whose heads
    all failed counts as the worst. Returns None if the space has no other point. Raises ConfigError for an unknown
    sampler, ValueError for `grid` over a range without a step.
    """
    chosen = _sampler(sampler)
    learned = lessons.of_backbones([row for row in rows if row.backbone != index], space)
    places = {space.place(row.params) for row in learned}
    running = [part for params in pending if space.place(part := space.part(params)) not in places]
    running.sort(key=space.place)
    taken = places | {space.place(space.part(params)) for params in (*known, *running)}
    ask = Ask(
        count=1,
        seed=_mix(seed, "stage1", index),
        sequence=_mix(seed, "stage1"),
        before=max(0, index - first),
        from_middle=True,
        running=running,
    )

    def batches() -> Iterator[Points]:
        if not space.distributions:
            pass
        elif chosen.startup and min(ask.before, len(learned)) < chosen.startup:
            yield [start_point(space, seed=ask.sequence, index=ask.before)]
        else:
            yield from chosen.propose(learned, space, ask)
        yield spare_points(space, seed=ask.seed, context=NOTHING)

    return next(iter(_new(batches(), space, taken=taken, count=1)), None)


def propose_length(
    rows: Sequence[Observation],
    *,
    space: Level,
    ladder: Ladder,
    seed: int,
    index: int,
    first: int = 0,
    known: Sequence[Params] = (),
    pending: Sequence[Params] = (),
) -> dict[str, Scalar] | None:
    """The same as `propose_backbone` where schedules differ in length: stage-1 parameters, `stage1.epochs` among them.

    None if nothing is left that the budget can pay.
    """
    learned = lessons.of_backbones(rows, space)
    done = {(space.place(row.params), row.epochs) for row in learned}
    running = [params for params in pending if (space.place(space.part(params)), length_of(params)) not in done]
    ask = Ask(
        count=1,
        seed=_mix(seed, "stage1", index),
        sequence=_mix(seed, "stage1"),
        before=max(0, index - first),
        running=sorted(running, key=lambda params: (space.place(space.part(params)), length_of(params))),
    )
    return propose_training(learned, level=space, ladder=ladder, ask=ask, known=known)


def propose_heads(
    rows: Sequence[Observation],
    *,
    space: Level,
    sampler: str,
    seed: int,
    backbone: int,
    round: int,
    count: int,
    stage1_params: Params,
) -> list[dict[str, Scalar]]:
    """The stage-2 parameters of a round of `count` heads on a backbone, drawn from one fit of the sampler.

    They differ from each other and from the backbone's earlier heads; there are fewer if the space has no more points.
    `gp` proposes head by head and counts the earlier ones as running, which costs more than `tpe`. Raises ConfigError
    for an unknown sampler, ValueError for `grid` over a range without a step.
    """
    chosen = _sampler(sampler)
    own = [row for row in rows if row.backbone == backbone]
    if not space.distributions:  # then there is exactly one head
        return [] if own else [{}]
    learned = lessons.of_heads(rows, space, backbone, stage1_params) if chosen.startup else []
    evenly = 0 if not chosen.startup else count if not learned else math.ceil(EXPLORED * count) if round == 0 else 0
    ask = Ask(
        count=count - evenly,
        seed=_mix(seed, "stage2", backbone, round),
        sequence=_mix(seed, "stage2", backbone),  # all rounds share one sequence, each from where it stopped
        before=len(own),
        context=stage1_params,
    )

    def batches() -> Iterator[Points]:
        if evenly and not own and space.part(space.priors):
            yield [space.middle(stage1_params)]  # what is believed comes first
        yield sobol_points(space, seed=ask.sequence, first=ask.before, count=evenly, context=stage1_params)
        if ask.count:
            yield from chosen.propose(learned, space, ask)
        yield spare_points(space, seed=ask.seed, context=stage1_params)

    return _new(batches(), space, taken={space.place(space.part(row.params)) for row in own}, count=count)


def _sampler(name: str) -> Sampler:
    check_known("sampler", name, SAMPLERS)
    return next(sampler for known, sampler in BY_NAME.items() if known == name)


def _new(batches: Iterable[Points], level: Level, *, taken: set[tuple[float, ...]], count: int) -> Points:
    """The first `count` points that are not taken, or fewer."""
    found: Points = []
    seen = set(taken)
    for point in itertools.chain.from_iterable(batches):
        place = level.place(point)
        if place not in seen:
            seen.add(place)
            found.append(point)
        if len(found) == count:
            break
    return found


def _mix(seed: int, *parts: object) -> int:
    """A seed for one proposal, the same in every process."""
    return zlib.crc32(repr((seed, *parts)).encode())
