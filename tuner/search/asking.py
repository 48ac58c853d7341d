"""The next proposal of the search: another round, a new backbone, or extra heads on the best backbones."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from search_spaces import Space
from studies.records import WaitingRow
from trainers.config import Scalar
from tuner.search.budget import Account, Ledger
from tuner.search.enqueued import Enqueued, begun, begun_with, read_point, whole
from tuner.search.lessons import EPOCHS
from tuner.search.rungs import length_of
from tuner.search.sampling import Level, Observation, propose_backbone, propose_heads, propose_length
from tuner.search.scalarisation import ranked, scalarised, weights
from tuner.search.starts import drawn_before, scheduled

T = TypeVar("T")
STAGES = ("stage1.", "stage2.")


@dataclass(frozen=True)
class Proposal:
    """Heads to train together on one backbone. It holds the searched parameters, not whole configurations."""

    kind: Literal["search", "refine"]
    backbone: int
    round: int
    stage1: Mapping[str, Scalar]
    heads: tuple[Mapping[str, Scalar], ...]
    enqueued: tuple[int | None, ...] = ()  # the waiting trials that become the first heads; None: a new trial


class Search:
    """Proposes jobs. Its proposals depend only on the observations, the earlier proposals and the space's seed."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.budget = Ledger(space)
        self.starts = scheduled(space.start_points)
        self._observations: list[Observation] = []
        self._others: list[tuple[float, ...]] = []  # of each observation: its gains by the further objectives
        self._waiting: Callable[[], Sequence[Enqueued]] = tuple

    def observe(self, backbone: int, config: Mapping[str, Scalar], value: float | None, *others: float) -> None:
        """Adds a finished trial of the search, with all its gains; a value of None means that it failed."""
        params = {name: config[name] for name in self.space.searched if self.space.active(name, config)}
        if self.space.ladder:
            params[EPOCHS] = config[EPOCHS]
        self._observations.append(Observation(backbone=backbone, params=params, value=value))
        self._others.append(others)

    def next(self, *, searching: bool, waiting: Callable[[], Sequence[Enqueued]] = tuple) -> Proposal | None:
        """The next proposal; None if nothing is left, or if the rest waits for running jobs.

        The refinement waits while a job of the search is running (`searching`), because the best backbones are not
        known until then. `waiting` reads the points that wait; it is called once, and only if one could be tried now.
        """
        self._waiting = functools.cache(waiting)
        asked = self._next_round() or self._new_backbone()
        if asked is None and not searching:
            asked = self._refinement()
        if asked is not None:
            self.budget.asked(asked.kind, asked.backbone, len(asked.heads), round=asked.round)
        return asked

    def has_left(self) -> bool:
        """True if a proposal is left. It asks the samplers for points, because a finite space may be used up."""
        while (index := self.budget.with_open_round()) is not None:
            if self._drawn("search", index, self.budget.rounds_left(self.budget.accounts[index])[0]):
                return True
        if self.budget.backbones_left() and self._next_params() is not None:
            return True
        while (found := self.budget.to_refine(self._best_heads())) is not None:
            if self._drawn("refine", *found):
                return True
        return False

    def stage1_of(self, config: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The searched stage-1 parameters of a whole configuration."""
        names = [name for name in self.space.searched if name.startswith("stage1.")]
        found = {name: config[name] for name in names if self.space.active(name, config)}
        return {**found, EPOCHS: config[EPOCHS]} if self.space.ladder else found

    def is_full(self, backbone: int) -> bool:
        """False for a backbone with a shorter schedule, which cannot be chosen."""
        return not self.space.ladder or length_of(self.budget.accounts[backbone].params) == self.space.ladder[-1]

    def home_of(self, point: Mapping[str, Scalar]) -> int | None:
        """The backbone with all of a point's stage-1 parameters; None if the point needs a new one."""
        level = self._level("stage1.")
        params = whole(level, point, context={})
        if params is None:
            return None
        full = [(index, one) for index, one in self.budget.accounts.items() if self.is_full(index)]
        accounts = [(index, account.params) for index, account in full if not account.lost]
        return next((index for index, known in accounts if level.place(known) == level.place(params)), None)

    def twin(self, point: Mapping[str, Scalar], among: Iterable[tuple[T, Mapping[str, Scalar]]]) -> T | None:
        """The first of the rows with the same configuration; None if there is none, or the point is not complete."""
        levels = [self._level(prefix) for prefix in STAGES]
        found = self._places(levels, point)
        return next((row for row, params in among if found and self._places(levels, params) == found), None)

    def read_point(self, row: WaitingRow) -> tuple[Enqueued, str]:
        """The point of a waiting trial, and in words why it cannot be tried; "" if it can."""
        point, reason = read_point(self.space, row, levels=[self._level(prefix) for prefix in STAGES])
        tried = ((True, row.params) for row in self._observations if self.is_full(row.backbone))
        if not reason and self.twin(point.point, tried):
            reason = "a trial with this configuration has finished before"
        return point, reason

    def lacking(self, points: Sequence[Mapping[str, Scalar]]) -> dict[str, int]:
        """The budgets that are too small for these points, and what they must be."""
        level, accounts = self._level("stage1."), self.budget.accounts
        homes = [self.home_of(point) for point in points]
        new = [whole(level, point, context={}) for point, home in zip(points, homes, strict=True) if home is None]
        several = len({level.place(params) for params in new if params is not None}) + new.count(None)
        heads = max((accounts[home].searched + homes.count(home) for home in homes if home is not None), default=0)
        found = self.budget.lacking(several)
        return {**found, "budget.heads_per_backbone": heads} if heads > self.space.heads_per_backbone else found

    def _next_round(self) -> Proposal | None:
        while (index := self.budget.with_open_round()) is not None:
            account = self.budget.accounts[index]
            if account.under_way:
                return None
            asked = self._drawn("search", index, self.budget.rounds_left(account)[0])
            if asked is not None:
                return asked
        return None

    def _new_backbone(self) -> Proposal | None:
        if not self.budget.backbones_left():
            return None
        index = len(self.budget.accounts)
        point = None if index in self.starts else self._first_in_need()
        params = self._next_params(point)
        if params is None:
            return None
        self.budget.accounts[index] = Account(params, given=point is not None)
        return self._drawn("search", index, self.budget.rounds_left(self.budget.accounts[index])[0], opener=point)

    def _first_in_need(self) -> Enqueued | None:
        """The first waiting point that needs a new backbone."""
        return next((one for one in self._waiting() if self.home_of(one.point) is None), None)

    def _refinement(self) -> Proposal | None:
        while (found := self.budget.to_refine(self._best_heads())) is not None:
            asked = self._drawn("refine", *found)
            if asked is not None:
                return asked
        return None

    def _next_params(self, point: Enqueued | None = None) -> Mapping[str, Scalar] | None:
        """The stage-1 parameters of a new backbone; None, from then on, if the space has no other."""
        if self.space.ladder:
            return self._next_training(point)
        accounts, level = self.budget.accounts.values(), self._level("stage1.")
        known = [account.params for account in accounts]
        given = sum(account.given for account in accounts)
        params: Mapping[str, Scalar] | None = propose_backbone(
            self._rows("backbones", len(accounts)),
            space=level,
            sampler=self.space.sampler.stage1,
            seed=self.space.sampler.seed,
            index=len(accounts),
            first=drawn_before(len(accounts), self.starts) + given,
            known=known,
            pending=[account.params for account in accounts if account.under_way],
        )
        self.budget.used_up = params is None
        if params is not None and point is not None:
            return begun(level, point.part("stage1."), proposed=params, known=known, seed=self.space.sampler.seed)
        if params is None or len(accounts) not in self.starts:
            return params
        start = level.existing({**level.filled(params), **self._start(len(accounts), "stage1.")}, {})
        return params if level.place(start) in map(level.place, known) else start

    def _next_training(self, given: Enqueued | None) -> Mapping[str, Scalar] | None:
        """The same where schedules differ in length. Known points are trained in full: they are believed to be good."""
        accounts, level = self.budget.accounts.values(), self._level("stage1.")
        known = [account.params for account in accounts]
        ladder = self.budget.ladder
        start = given.part("stage1.") if given else self._start(len(known), "stage1.")
        if (given or len(known) in self.starts) and ladder.full in ladder.affordable:
            tried = [level.part(one) for one in known if length_of(one) == ladder.full]
            point = begun(level, start, proposed={}, known=tried, seed=self.space.sampler.seed)
            if given or level.place(point) not in map(level.place, tried):
                return {**point, EPOCHS: ladder.full}
        params = propose_length(
            self._rows("backbones", len(known)),
            space=level,
            ladder=ladder,
            seed=self.space.sampler.seed,
            index=len(known),
            first=drawn_before(len(known), self.starts) + sum(account.given for account in accounts),
            known=known,
            pending=[account.params for account in accounts if account.under_way],
        )
        self.budget.used_up = params is None
        return params

    def _start(self, backbone: int, prefix: str) -> dict[str, Scalar]:
        """The part of a backbone's start point on one level; empty without one."""
        point = self.starts.get(backbone, {})
        return {name: value for name, value in point.items() if name.startswith(prefix)}

    def _drawn(
        self, kind: Literal["search", "refine"], index: int, count: int, *, opener: Enqueued | None = None
    ) -> Proposal | None:
        """`count` heads on a backbone, fewer if the space has no more; None if it has none.

        Waiting points of the backbone, first the one that opened it, are among the heads of its rounds.
        """
        account, level = self.budget.accounts[index], self._level("stage2.")
        heads = propose_heads(
            self._rows(f"heads of backbone {index}", account.jobs),
            space=level,
            sampler=self.space.sampler.stage2,
            seed=self.space.sampler.seed,
            backbone=index,
            round=account.jobs,
            count=count,
            stage1_params=account.params,
        )
        account.exhausted = len(heads) < count
        start = self._start(index, "stage2.") if account.jobs == 0 and self.is_full(index) else {}
        waiting = self._of_backbone(index, opener) if kind == "search" and heads else []
        waiting = waiting[: len(heads) - bool(start)]
        starts = [start] * bool(start) + [one.part("stage2.") for one in waiting]
        if starts:
            heads = begun_with(level, heads, starts, context=account.params)
        enqueued = (*(None,) * bool(start), *(one.number for one in waiting))
        return Proposal(kind, index, account.jobs, account.params, tuple(heads), enqueued) if heads else None

    def _of_backbone(self, index: int, opener: Enqueued | None) -> list[Enqueued]:
        """The waiting points that become heads of a backbone, no two of them with the same parameters of stage 2."""
        level, context = self._level("stage2."), self.budget.accounts[index].params
        found: dict[object, Enqueued] = {}
        for one in sorted(self._waiting(), key=lambda one: one is not opener):
            if one is opener or self.home_of(one.point) == index:
                params = whole(level, one.point, context=context)
                found.setdefault(one.number if params is None else level.place(params), one)
        return list(found.values())

    def _rows(self, of: str, index: int) -> list[Observation]:
        """What a sampler learns from; of several objectives one value, with the weights of proposal `index` there."""
        if len(self.space.objectives) == 1:
            return self._observations
        weighted = weights(len(self.space.objectives), seed=self.space.sampler.seed, of=of, index=index)
        values = iter(scalarised(self._gains(), weighted))
        return [row if row.value is None else replace(row, value=next(values)) for row in self._observations]

    def _gains(self) -> list[tuple[float, ...]]:
        """Those of each observation that did not fail, by all objectives."""
        rows = zip(self._observations, self._others, strict=True)
        return [(row.value, *others) for row, others in rows if row.value is not None]

    def _best_heads(self) -> dict[int, float]:
        """The value of each full backbone's best head; with several objectives, what it has on their front."""
        if len(self.space.objectives) > 1:
            rows = zip(self._observations, self._others, strict=True)
            full = [(r.backbone, (r.value, *o)) for r, o in rows if r.value is not None and self.is_full(r.backbone)]
            return ranked([backbone for backbone, _ in full], [gains for _, gains in full])
        best: dict[int, float] = {}
        for row in self._observations:
            if row.value is not None and self.is_full(row.backbone):
                best[row.backbone] = max(row.value, best.get(row.backbone, -math.inf))
        return best

    def _places(self, levels: Sequence[Level], params: Mapping[str, Scalar]) -> list[tuple[float, ...]] | None:
        """Where a complete configuration is on each level; None for one in part."""
        found, context = [], dict[str, Scalar]()
        for level in levels:
            part = whole(level, params, context=context)
            if part is None:
                return None
            found.append(level.place(part))
            context |= part
        return found

    def _level(self, prefix: str) -> Level:
        searched = {name: d for name, d in self.space.searched.items() if name.startswith(prefix)}
        return Level(distributions=searched, active=self._active, priors=self.space.priors)

    def _active(self, name: str, params: Mapping[str, Scalar]) -> bool:
        return self.space.active(name, {**self.space.fixed, **params})
