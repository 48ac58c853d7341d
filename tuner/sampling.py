"""The search on two levels: which backbone next, and which heads on it. Pure functions of the study's rows and a seed.

Stage 2 costs a sixtieth of stage 1, so few backbones carry many heads each. A flat sampler would take one backbone's
many good trials for a good region and collapse onto it. So the outer level sees one observation a backbone, over
`stage1.*` alone; the inner one sees heads over `stage2.*`, relative to the best head of their own backbone. Both are
Optuna samplers on studies in memory, made anew from the rows for each proposal.
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
import math
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler

Scalar = str | int | float | bool | None
Params = Mapping[str, Scalar]

STARTUP = 4  # backbones spread evenly before the outer sampler has a say
EXPLORED = 0.25  # share of a backbone's first round that is spread evenly too
NEIGHBOURS = 4  # backbones whose heads a new one learns from: those with the most similar stage 1
SAMPLERS = ("gp", "tpe", "random", "qmc", "grid")  # those whose proposal is a function of finished rows


@dataclass(frozen=True)
class Observation:
    """One finished trial of the search; a larger value is better."""

    backbone: int
    params: Params  # `stage1.*` and `stage2.*`
    value: float


def _always(name: str, params: Params) -> bool:  # noqa: ARG001
    return True


@dataclass(frozen=True)
class Level:
    """What is searched on one level; `active` says whether a conditional parameter exists beside the others."""

    distributions: Mapping[str, BaseDistribution]
    active: Callable[[str, Params], bool] = _always


def propose_backbone(
    rows: Sequence[Observation],
    *,
    space: Level,
    sampler: str,
    seed: int,
    index: int,
    pending: Sequence[Params] = (),
) -> dict[str, Scalar]:
    """The stage-1 parameters of backbone `index`.

    A backbone counts as the mean of its best eighth of heads; one still under way (`pending`) as the mean of all, so
    that workers side by side do not propose the same.
    """
    if not space.distributions:
        return {}
    observed = backbone_values(rows)
    points = {row.backbone: row.params for row in rows}
    results = [(_part(points[backbone], space), value) for backbone, value in sorted(observed.items())]
    _check_known(sampler)
    if sampler == "grid":
        grid = _grid(space)
        return grid[index % len(grid)]
    if sampler == "qmc" or (sampler != "random" and (index < STARTUP or not results)):
        return _spread(space, seed=_mix(seed, "stage1"), first=index, count=1)[0]
    if results:
        lie = math.fsum(value for _, value in results) / len(results)
        results += [(_part(params, space), lie) for params in pending]
    return _ask(*_fitted(sampler, space, results, seed=_mix(seed, "stage1", index)), count=1)[0]


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

    It learns from the backbone's own heads and from those of its nearest neighbours in stage 1, each relative to the
    best head of its own backbone. Proposals differ from each other as far as the space allows.
    """
    if not space.distributions:
        return [{} for _ in range(count)]
    _check_known(sampler)
    mixed = _mix(seed, "stage2", backbone, round)
    before = sum(row.backbone == backbone for row in rows)
    if sampler == "grid":
        grid = _grid(space)
        return [grid[(before + i) % len(grid)] for i in range(count)]
    results = [] if sampler in ("random", "qmc") else _relative(rows, space, backbone, stage1_params)
    if sampler == "random":
        return _ask(*_fitted("random", space, [], seed=mixed), count=count)
    explored = count if not results else math.ceil(EXPLORED * count) if round == 0 else 0
    drawn = _spread(space, seed=_mix(seed, "stage2", backbone), first=before, count=explored)
    if explored == count:
        return drawn
    study, space = _fitted(sampler, space, results, seed=mixed)
    batch = isinstance(study.sampler, _BatchTPE) and len({tuple(params) for params, _ in results}) == 1
    return drawn + (_BatchTPE.draw if batch else _ask)(study, space, count=count - explored)


def backbone_values(rows: Sequence[Observation]) -> dict[int, float]:
    """What each backbone is worth: the mean of its best eighth of heads (at least one)."""
    values: dict[int, list[float]] = {}
    for row in rows:
        values.setdefault(row.backbone, []).append(row.value)
    return {
        backbone: math.fsum(sorted(found, reverse=True)[: math.ceil(len(found) / 8)]) / math.ceil(len(found) / 8)
        for backbone, found in values.items()
    }


def _check_known(name: str) -> None:
    """Raises ValueError for a sampler that is not one of SAMPLERS."""
    if name not in SAMPLERS:
        near = difflib.get_close_matches(name, SAMPLERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"sampler: must be one of {', '.join(SAMPLERS)}, but got {name!r}{hint}")


def _fitted(
    name: str, space: Level, results: Sequence[tuple[dict[str, Scalar], float]], *, seed: int
) -> tuple[optuna.Study, Level]:
    """A study in memory that holds `results`, with a sampler that learns from them."""
    trials = [
        optuna.create_trial(
            params=dict(params), distributions={key: space.distributions[key] for key in params}, value=value
        )
        for params, value in results
    ]
    samplers: dict[str, Callable[[], BaseSampler]] = {
        "gp": lambda: optuna.samplers.GPSampler(seed=seed, n_startup_trials=0, deterministic_objective=False),
        "tpe": lambda: _BatchTPE(seed=seed, n_startup_trials=0, multivariate=True, group=True),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
    }
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with _quiet():
            study = optuna.create_study(direction="maximize", sampler=samplers[name]())
    finally:
        optuna.logging.set_verbosity(verbosity)
    study.add_trials(trials)
    return study, space


def _ask(study: optuna.Study, space: Level, *, count: int) -> list[dict[str, Scalar]]:
    """Proposals one after another; conditional parameters are asked for only where they exist."""
    proposals: list[dict[str, Scalar]] = []
    for _ in range(count):
        params: dict[str, Scalar] = {}
        with _quiet():
            trial = study.ask()
            for name, distribution in space.distributions.items():
                if space.active(name, params):
                    params[name] = trial._suggest(name, distribution)
        proposals.append(params)
    return proposals


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's warnings that a sampler's option is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _spread(space: Level, *, seed: int, first: int, count: int) -> list[dict[str, Scalar]]:
    """Points `first` to `first + count - 1` of a scrambled Halton sequence over the space."""
    from scipy.stats import qmc

    names = list(space.distributions)
    unit = qmc.Halton(d=len(names), rng=np.random.default_rng(seed)).random(first + count)[first:]  # (count, D)
    points = [
        {name: _at(space.distributions[name], float(u)) for name, u in zip(names, row, strict=True)} for row in unit
    ]
    return [_existing(point, space) for point in points]


def _at(distribution: Any, u: float) -> Scalar:
    """The value at the share `u` in [0, 1) of a distribution, by its logarithm where it has one."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(u * len(distribution.choices))]
    low, high = float(distribution.low), float(distribution.high)
    whole = isinstance(distribution.low, int)
    if distribution.log:
        value = math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
    elif distribution.step:
        steps = math.floor((high - low) / distribution.step) + 1
        value = low + distribution.step * int(u * steps)
    else:
        value = low + u * (high - low)
    value = min(max(value, low), high)
    return round(value) if whole else value


def _existing(params: Params, space: Level) -> dict[str, Scalar]:
    kept: dict[str, Scalar] = {}
    for name, value in params.items():
        if space.active(name, kept):
            kept[name] = value
    return kept


def _part(params: Params, space: Level) -> dict[str, Scalar]:
    return {name: params[name] for name in space.distributions if name in params}


def _relative(
    rows: Sequence[Observation], space: Level, backbone: int, stage1_params: Params
) -> list[tuple[dict[str, Scalar], float]]:
    """Heads of this backbone and its neighbours, as (parameters, value less the best of its backbone)."""
    best: dict[int, float] = {}
    where: dict[int, Params] = {}
    for row in rows:
        best[row.backbone] = max(row.value, best.get(row.backbone, -math.inf))
        where[row.backbone] = row.params
    others = sorted(
        (other for other in best if other != backbone),
        key=lambda other: (_distance(where[other], stage1_params), other),
    )
    known = {backbone, *others[:NEIGHBOURS]}
    used = [row for row in rows if row.backbone in known]
    used.sort(key=lambda row: (row.backbone, row.value, sorted(row.params.items(), key=str)))
    return [(_part(row.params, space), row.value - best[row.backbone]) for row in used]


def _distance(a: Params, b: Params) -> float:
    """How far two stage-1 configurations lie apart: in octaves for numbers, 1 for another choice."""
    total = 0.0
    for name, value in b.items():
        other = a.get(name)
        if isinstance(value, float) and isinstance(other, float) and value > 0 and other > 0:
            total += math.log2(value / other) ** 2
        elif value != other:
            total += 1.0
    return total


class _BatchTPE(TPESampler):
    """TPE that draws a whole round from one pair of Parzen estimators: each the best of 24 candidates of its own."""

    @staticmethod
    def draw(study: optuna.Study, space: Level, *, count: int) -> list[dict[str, Scalar]]:
        """`count` proposals, where all trials of `study` have the same parameters."""
        sampler = study.sampler
        if not isinstance(sampler, _BatchTPE):
            raise TypeError(f"needs a study with this sampler, but it has {type(sampler).__name__}")
        trials = sorted(study.get_trials(deepcopy=False), key=lambda trial: -(trial.value or 0.0))
        present = {name: d for name, d in space.distributions.items() if name in trials[0].params}
        n_good = max(3, min(math.ceil(0.1 * len(trials)), 25))  # as Optuna's, but at least three
        good = sampler._build_parzen_estimator(study, present, trials[:n_good], handle_below=True)
        rest = sampler._build_parzen_estimator(study, present, trials[n_good:], handle_below=False)
        each = sampler._n_ei_candidates
        candidates = good.sample(sampler._rng.rng, each * count)  # name -> (count * each,)
        gain = (good.log_pdf(candidates) - rest.log_pdf(candidates)).reshape(count, each)
        chosen = gain.argmax(1) + np.arange(count) * each  # (count,)
        return [{name: d.to_external_repr(candidates[name][i].item()) for name, d in present.items()} for i in chosen]


def _grid(space: Level) -> list[dict[str, Scalar]]:
    """Every combination of parameters that have finitely many values. Raises ValueError for one that has not."""
    values: list[list[Any]] = []
    for name, distribution in space.distributions.items():
        step = getattr(distribution, "step", None)
        if isinstance(distribution, CategoricalDistribution):
            values.append(list(distribution.choices))
        elif isinstance(distribution, FloatDistribution | IntDistribution) and step:
            steps = math.floor((distribution.high - distribution.low) / step)
            values.append([distribution.low + step * i for i in range(steps + 1)])
        else:
            raise ValueError(f"sampler: grid needs finitely many values, but {name} is a range; use choices or a step")
    points = [
        _existing(dict(zip(space.distributions, point, strict=True)), space) for point in itertools.product(*values)
    ]
    return [point for index, point in enumerate(points) if point not in points[:index]]


def _mix(seed: int, *parts: object) -> int:
    """A seed for one proposal, the same in every process."""
    return zlib.crc32(repr((seed, *parts)).encode())
