"""What is left of a study's budget, counted in heads per backbone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from search_spaces import Space
from studies.records import JobKind
from trainers.config import Scalar


@dataclass
class Account:
    """One backbone of the search, and the heads proposed on it, failed ones included."""

    params: Mapping[str, Scalar]  # `stage1.*`
    searched: int = 0  # heads of the search
    refined: int = 0  # heads of the refinement
    jobs: int = 0  # so far; the next job gets this number as its round
    under_way: int = 0  # jobs
    lost: bool = False  # one of its jobs failed: it gets no more heads
    exhausted: bool = False  # the space has no more heads for it
    given: bool = False  # an enqueued point began it, no sampler

    @property
    def closed(self) -> bool:
        """True if it gets no more heads."""
        return self.lost or self.exhausted


@dataclass
class Ledger:
    """The backbones of a study against the current budget of its space, which may have changed since."""

    space: Space
    accounts: dict[int, Account] = field(default_factory=dict)
    used_up: bool = False  # the space has no more backbones

    def asked(self, kind: JobKind, index: int, heads: int, *, round: int) -> None:
        """Counts proposed heads."""
        account = self.accounts[index]
        account.jobs = max(account.jobs, round + 1)
        if kind == "refine":
            account.refined += heads
        else:
            account.searched += heads

    def rounds_left(self, account: Account) -> list[int]:
        """The numbers of heads of the rounds that the backbone still gets."""
        if account.closed:
            return []
        ends = itertools.accumulate(self.space.heads_by_round())
        later = [end for end in ends if end > account.searched]
        return [end - before for before, end in itertools.pairwise([account.searched, *later])]

    def with_open_round(self) -> int | None:
        """The first backbone with rounds left, idle ones before those with running jobs."""
        left = [index for index, account in self.accounts.items() if self.rounds_left(account)]
        return min(left, key=lambda index: (self.accounts[index].under_way, index), default=None)

    def backbones_left(self) -> int:
        """How many backbones are still to be proposed."""
        return 0 if self.used_up else max(0, self.space.backbones - len(self.accounts))

    def to_refine(self, best: Mapping[int, float]) -> tuple[int, int] | None:
        """Which backbone gets extra heads next, and how many; None if none can get any now.

        `best` is the value of each backbone's best head. Heads already spent on a backbone that is no longer among the
        best still count.
        """
        left = self.refinement_left()
        order = sorted(best, key=lambda index: (-best[index], index))
        for index in order if left else ():
            account = self.accounts[index]
            missing = self.space.heads_to_refine - account.refined
            if missing > 0 and not account.closed and not account.under_way:
                return index, min(missing, left)
        return None

    def refinement_left(self) -> int:
        """Heads of the refinement that are not proposed yet."""
        if self.space.refine is None:
            return 0
        whole = min(self.space.refine.top, self.space.backbones) * self.space.heads_to_refine
        return max(0, whole - sum(account.refined for account in self.accounts.values()))

    def jobs_left(self) -> tuple[int, int]:
        """Jobs that are not proposed yet: those that train a new backbone, and those on a known one."""
        new = self.backbones_left()
        known = sum(len(self.rounds_left(account)) for account in self.accounts.values())
        known += new * (len(self.space.heads_by_round()) - 1)
        refining = -(-self.refinement_left() // self.space.heads_to_refine) if self.refinement_left() else 0
        return new, known + refining
