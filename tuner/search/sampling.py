"""The search on two levels: which backbone next, and which heads on it. Pure functions of the study's rows and a seed.

Stage 2 costs a sixtieth of stage 1, so few backbones carry many heads each. A flat sampler would take one backbone's
many good trials for a good region and collapse onto it. So the outer level sees one observation a backbone, over
`stage1.*` alone; the inner one sees heads over `stage2.*`, relative to the best head of their own backbone. Both are
Optuna's samplers, made anew from the rows for each proposal: the same rows in any order give the same proposal.
benchmarks/README.md records with figures what helped and what did not.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from search_spaces import geometry
from search_spaces.schema import SamplerName
from trainers.config import Scalar, check_known
from tuner.search import parzen
from tuner.search.parzen import Learned
from tuner.search.points import Level, Params, combinations, sobol_points

__all__ = ["SAMPLERS", "Level", "Observation", "backbone_values", "propose_backbone", "propose_heads"]

SAMPLERS: tuple[str, ...] = get_args(SamplerName)  # those that propose from finished rows and a seed alone
STARTUP = 5  # backbones before the outer sampler starts: the middle of the ranges, then an even spread
EXPLORED = 0.25  # share of a backbone's first round that is spread evenly
NEIGHBOURS = 4  # backbones whose heads another learns from
WIDTH = 0.2  # width of the Gaussian weight of a neighbour's heads: root mean square of decades of stage-1 parameters
HEADS = 128  # heads taken from a neighbour, at most
GP_HEADS = 96  # heads that the inner Gaussian process is fitted to, at most: its cost grows with their cube
DRAWS = 4  # from one fit, to replace duplicates
LISTED = 4096  # a level with at most so many points is listed, so that each of them can be proposed
SPARE = 1024  # evenly spread points that replace duplicates on larger levels
NOTHING: Params = {}


@dataclass(frozen=True)
class Observation:
    """One finished trial of the search. A larger value is better; None means that it failed."""

    backbone: int
    params: Params  # `stage1.*` and `stage2.*`
    value: float | None


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
    check_known("sampler", sampler, SAMPLERS)
    learned = _learned_backbones([row for row in rows if row.backbone != index], space)
    places = {space.place(row.params) for row in learned}
    running = [part for params in pending if space.place(part := _level_values(params, space)) not in places]
    running.sort(key=space.place)
    taken = places | {space.place(_level_values(params, space)) for params in (*known, *running)}

    def batches() -> Iterator[list[dict[str, Scalar]]]:
        drawn_by = _mix(seed, "stage1", index)
        if not space.distributions:
            pass
        elif sampler == "random":
            yield _ask(optuna.samplers.RandomSampler(seed=drawn_by), [], [], level=space, count=1)
        elif sampler in LEARNING and min(index, len(learned)) >= STARTUP:
            yield _ask(LEARNING[sampler](drawn_by), learned, running, level=space, count=1)
        elif sampler != "grid":
            yield _even(space, seed=_mix(seed, "stage1"), index=max(0, index - first))
        yield from _rest(space, seed=drawn_by, listed=sampler == "grid")

    return next(iter(_new(batches(), space, taken=taken, count=1)), None)


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
    `gp` proposes head by head and counts the earlier ones as running, which costs a hundred times as much as `tpe`.
    Raises ConfigError for an unknown sampler, ValueError for `grid` over a range without a step.
    """
    check_known("sampler", sampler, SAMPLERS)
    own = [row for row in rows if row.backbone == backbone]
    if not space.distributions:  # then there is exactly one head
        return [] if own else [{}]
    learned = _lessons(rows, space, backbone, stage1_params) if sampler in LEARNING else []

    def batches() -> Iterator[list[dict[str, Scalar]]]:
        drawn_by = _mix(seed, "stage2", backbone, round)
        explored = count if not learned else math.ceil(EXPLORED * count) if round == 0 else 0
        if sampler == "random":
            yield _ask(
                optuna.samplers.RandomSampler(seed=drawn_by), [], [], level=space, count=count, context=stage1_params
            )
        elif sampler != "grid":
            evenly_by = _mix(seed, "stage2", backbone)  # all rounds share one sequence, each from where it stopped
            yield sobol_points(space, seed=evenly_by, first=len(own), count=explored, context=stage1_params)
        if sampler == "gp" and learned:
            gp = LEARNING["gp"](drawn_by)
            yield _ask(gp, learned[:GP_HEADS], [], level=space, count=count - explored, context=stage1_params)
        elif sampler == "tpe" and learned:
            draw = parzen.fit(learned, space.distributions, seed=drawn_by)
            for _ in range(DRAWS):
                yield [space.existing(point, stage1_params) for point in draw(count - explored)]
        yield from _rest(space, seed=drawn_by, listed=sampler == "grid", context=stage1_params)

    return _new(batches(), space, taken={space.place(_level_values(row.params, space)) for row in own}, count=count)


def backbone_values(rows: Sequence[Observation]) -> dict[int, float]:
    """Each backbone's value: the mean of its best eighth of heads, at least one; none if all its heads failed."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if row.value is not None:
            found.setdefault(row.backbone, []).append(row.value)
    return {backbone: _best_eighth(values) for backbone, values in sorted(found.items())}


# -- what the samplers learn from ---------------------------------------------------------------------------------


def _learned_backbones(rows: Sequence[Observation], space: Level) -> list[Learned]:
    """One row a backbone, by index."""
    values = backbone_values(rows)
    worst = min(values.values(), default=0.0)
    points = {row.backbone: row.params for row in rows}
    return [Learned(_level_values(points[index], space), values.get(index, worst)) for index in sorted(points)]


def _lessons(rows: Sequence[Observation], space: Level, backbone: int, stage1_params: Params) -> list[Learned]:
    """The backbone's own heads, then those of its nearest neighbours; values are relative to their backbone's best.

    Neighbours come from the better half of the backbones: on a collapsed network all heads are alike, so that each
    would look like the best.
    """
    heads: dict[int, list[Observation]] = {backbone: []}
    for row in rows:
        heads.setdefault(row.backbone, []).append(row)
    values = backbone_values(rows)
    others = sorted((index for index in values if index != backbone), key=lambda index: (-values[index], index))
    apart = {index: _decades(heads[index][0].params, stage1_params) for index in others[: math.ceil(len(others) / 2)]}
    lessons = _relative_to_best(heads[backbone], space, weight=1.0) if backbone in values else []
    for index in sorted(apart, key=lambda index: (apart[index], index))[:NEIGHBOURS]:
        weight = max(1e-3, math.exp(-0.5 * (apart[index] / WIDTH) ** 2))
        found = _relative_to_best(heads[index], space, weight=weight)
        lessons += found[:: math.ceil(len(found) / HEADS)]
    return lessons


def _relative_to_best(heads: Sequence[Observation], space: Level, *, weight: float) -> list[Learned]:
    """Heads of one backbone, best first, with values minus the best one's; a failed head counts as the worst."""
    values = [row.value for row in heads if row.value is not None]
    best, worst = max(values), min(values)
    found = [
        Learned(
            space.filled(_level_values(row.params, space)), (worst if row.value is None else row.value) - best, weight
        )
        for row in heads
    ]
    return sorted(found, key=lambda row: (-row.value, space.place(row.params)))


def _decades(a: Params, b: Params) -> float:
    """The distance of two stage-1 configurations: root mean square of decades; a different choice counts as 1."""
    names = [name for name in b if name.startswith("stage1.")]
    gaps = [_gap(a.get(name), b[name]) for name in names]
    return math.sqrt(sum(gap**2 for gap in gaps) / len(gaps)) if gaps else 0.0


def _gap(a: Scalar, b: Scalar) -> float:
    if isinstance(a, bool | str | None) or isinstance(b, bool | str | None) or a <= 0 or b <= 0:
        return float(a != b)
    return math.log10(a / b)


def _best_eighth(values: Sequence[float]) -> float:
    count = math.ceil(len(values) / 8)
    return math.fsum(sorted(values, reverse=True)[:count]) / count


def _level_values(params: Params, space: Level) -> dict[str, Scalar]:
    return {name: params[name] for name in space.distributions if name in params}


# -- proposals ----------------------------------------------------------------------------------------------------


LEARNING: Mapping[str, Callable[[int], BaseSampler]] = {  # from a seed; the samplers that learn from rows
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed, n_startup_trials=0),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=0),
}


def _ask(
    sampler: BaseSampler,
    learned: Sequence[Learned],
    running: Sequence[Params],
    *,
    level: Level,
    count: int,
    context: Params = NOTHING,
) -> list[dict[str, Scalar]]:
    """`count` proposals, one after another, from a study in memory with the finished and running trials."""
    distributions = dict(level.distributions)

    def trial(params: Params, state: TrialState, value: float | None) -> FrozenTrial:
        return optuna.create_trial(state=state, value=value, params=level.filled(params), distributions=distributions)

    # such small matrices are slower on many threads, tens of times on busy cores
    with _optuna_muted(), threadpool_limits(1):
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials([trial(row.params, TrialState.COMPLETE, row.value) for row in learned])
        study.add_trials([trial(params, TrialState.RUNNING, None) for params in running])
        return [level.existing(study.ask(distributions).params, context) for _ in range(count)]


def _even(level: Level, *, seed: int, index: int) -> list[dict[str, Scalar]]:
    """The middle of the ranges first, where their author expects the best, then a Sobol sequence."""
    return [level.middle({})] if index == 0 else sobol_points(level, seed=seed, first=index - 1, count=1, context={})


def _rest(level: Level, *, seed: int, listed: bool, context: Params = NOTHING) -> Iterator[list[dict[str, Scalar]]]:
    """Replacements for duplicates: all points in seeded order if they can be listed, else evenly spread ones."""
    if listed or geometry.size(level.distributions) <= LISTED:
        points = combinations(level, context)
        yield [points[i] for i in np.random.default_rng(seed).permutation(len(points))]
    else:
        yield sobol_points(level, seed=seed, first=0, count=SPARE, context=context)


def _new(
    batches: Iterable[Sequence[dict[str, Scalar]]], level: Level, *, taken: set[tuple[float, ...]], count: int
) -> list[dict[str, Scalar]]:
    """The first `count` points that are not taken, or fewer."""
    found: list[dict[str, Scalar]] = []
    seen = set(taken)
    for point in itertools.chain.from_iterable(batches):
        place = level.place(point)
        if place not in seen:
            seen.add(place)
            found.append(point)
        if len(found) == count:
            break
    return found


@contextlib.contextmanager
def _optuna_muted() -> Iterator[None]:
    """Silences Optuna's log lines and its warnings of experimental options."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _mix(seed: int, *parts: object) -> int:
    """A seed for one proposal, the same in every process."""
    return zlib.crc32(repr((seed, *parts)).encode())
