"""The next proposal of the search: another round, a new backbone, or extra heads on the best backbones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from search_spaces import Space
from trainers.config import Scalar
from tuner.search.budget import Account, Ledger
from tuner.search.sampling import Level, Observation, propose_backbone, propose_heads
from tuner.search.starts import drawn_before, scheduled


@dataclass(frozen=True)
class Proposal:
    """Heads to train together on one backbone. It holds the searched parameters, not whole configurations."""

    kind: Literal["search", "refine"]
    backbone: int
    round: int
    stage1: Mapping[str, Scalar]
    heads: tuple[Mapping[str, Scalar], ...]


class Search:
    """Proposes jobs. Its proposals depend only on the observations, the earlier proposals and the space's seed."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.budget = Ledger(space)
        self.starts = scheduled(space.start_points)
        self._observations: list[Observation] = []

    def observe(self, backbone: int, config: Mapping[str, Scalar], value: float | None) -> None:
        """Adds a finished trial of the search; a value of None means that it failed."""
        params = {name: config[name] for name in self.space.searched if self.space.active(name, config)}
        self._observations.append(Observation(backbone=backbone, params=params, value=value))

    def next(self, *, searching: bool) -> Proposal | None:
        """The next proposal; None if nothing is left, or if the rest waits for running jobs.

        The refinement waits while a job of the search is running (`searching`), because the best backbones are not
        known until then.
        """
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
        return {
            name: config[name]
            for name in self.space.searched
            if name.startswith("stage1.") and self.space.active(name, config)
        }

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
        params = self._next_params() if self.budget.backbones_left() else None
        if params is None:
            return None
        index = len(self.budget.accounts)
        self.budget.accounts[index] = Account(params)
        return self._drawn("search", index, self.budget.rounds_left(self.budget.accounts[index])[0])

    def _refinement(self) -> Proposal | None:
        while (found := self.budget.to_refine(self._best_heads())) is not None:
            asked = self._drawn("refine", *found)
            if asked is not None:
                return asked
        return None

    def _next_params(self) -> Mapping[str, Scalar] | None:
        """The stage-1 parameters of a new backbone; None, from then on, if the space has no other."""
        accounts, level = self.budget.accounts.values(), self._level("stage1.")
        known = [account.params for account in accounts]
        params: Mapping[str, Scalar] | None = propose_backbone(
            self._observations,
            space=level,
            sampler=self.space.sampler.stage1,
            seed=self.space.sampler.seed,
            index=len(accounts),
            first=drawn_before(len(accounts), self.starts),
            known=known,
            pending=[account.params for account in accounts if account.under_way],
        )
        self.budget.used_up = params is None
        if params is None or len(accounts) not in self.starts:
            return params
        begun = level.existing({**level.filled(params), **self._start(len(accounts), "stage1.")}, {})
        return params if level.place(begun) in map(level.place, known) else begun

    def _start(self, backbone: int, prefix: str) -> dict[str, Scalar]:
        """The part of a backbone's start point on one level; empty without one."""
        point = self.starts.get(backbone, {})
        return {name: value for name, value in point.items() if name.startswith(prefix)}

    def _drawn(self, kind: Literal["search", "refine"], index: int, count: int) -> Proposal | None:
        """`count` heads on a backbone, fewer if the space has no more; None if it has none."""
        account, level = self.budget.accounts[index], self._level("stage2.")
        heads = propose_heads(
            self._observations,
            space=level,
            sampler=self.space.sampler.stage2,
            seed=self.space.sampler.seed,
            backbone=index,
            round=account.jobs,
            count=count,
            stage1_params=account.params,
        )
        account.exhausted = len(heads) < count
        start = self._start(index, "stage2.") if heads and account.jobs == 0 else {}
        if start:
            heads = _begun_with(level, heads, start, context=account.params)
        return Proposal(kind, index, account.jobs, account.params, tuple(heads)) if heads else None

    def _best_heads(self) -> dict[int, float]:
        """The value of each backbone's best head."""
        best: dict[int, float] = {}
        for row in self._observations:
            if row.value is not None:
                best[row.backbone] = max(row.value, best.get(row.backbone, -math.inf))
        return best

    def _level(self, prefix: str) -> Level:
        searched = {name: d for name, d in self.space.searched.items() if name.startswith(prefix)}
        return Level(distributions=searched, active=self._active)

    def _active(self, name: str, params: Mapping[str, Scalar]) -> bool:
        return self.space.active(name, {**self.space.fixed, **params})


def _begun_with(
    level: Level, heads: Sequence[Mapping[str, Scalar]], start: Mapping[str, Scalar], *, context: Mapping[str, Scalar]
) -> list[dict[str, Scalar]]:
    """The heads with the start point's values in the first one, and no other head at its place."""
    first = level.existing({**level.filled(heads[0]), **start}, context)
    return [first, *(dict(head) for head in heads[1:] if level.place(head) != level.place(first))]
