"""What is left of a study's budget, counted in heads per backbone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from search_spaces import Space
from studies.records import JobKind
from trainers.config import Scalar
from tuner.search.rungs import Ladder, length_of

OF_HEADS = 0.1  # what the heads of a full training take of its time; stage 1 takes the rest, epoch by epoch


def time_of(config: Mapping[str, Scalar], ladder: Sequence[int]) -> float:
    """The time of a training with its heads, as a share of a full one's: 1 unless schedules differ in length."""
    return OF_HEADS + (1 - OF_HEADS) * length_of(config) / ladder[-1] if ladder else 1.0


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
        if self.used_up:
            return 0
        if self.space.ladder:
            return self._trainings_to_expect() if self.ladder.affordable else 0
        return max(0, self.space.backbones - len(self.accounts))

    @property
    def epochs_left(self) -> int:
        """With schedules of several lengths: epochs that no backbone was asked for yet."""
        return self.space.epochs - sum(length_of(account.params) for account in self.accounts.values())

    @property
    def ladder(self) -> Ladder:
        """The lengths of schedules and what is left for them: half of all epochs at most for the shorter ones."""
        full = self.space.ladder[-1]
        short = sum(length_of(a.params) for a in self.accounts.values() if length_of(a.params) < full)
        return Ladder(self.space.ladder, self.epochs_left, for_short=max(0, self.space.epochs // 2 - short))

    def lacking(self, more: int) -> dict[str, int]:
        """The budget that would leave room for so many more backbones, trained in full; empty if there is room."""
        if not self.space.ladder:
            needed = max(len(self.accounts), len(self.space.start)) + more
            return {"budget.backbones": needed} if more and needed > self.space.backbones else {}
        full = self.space.ladder[-1]
        more += max(0, len(self.space.start) - len(self.accounts))
        if more * full <= self.epochs_left:
            return {}
        epochs = self.space.epochs - self.epochs_left + more * full
        setting = self.space.size_setting
        return {setting: epochs if setting == "budget.epochs" else -(-epochs // full)}

    def trials_to_expect(self) -> int:
        """With schedules of several lengths: heads asked for so far, and about as many as will be."""
        asked = sum(account.searched + account.refined for account in self.accounts.values())
        open_rounds = sum(sum(self.rounds_left(account)) for account in self.accounts.values())
        new = self.backbones_left() * sum(self.space.heads_by_round())
        return asked + open_rounds + new + self.refinement_left()

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
        whole = min(self.space.refine.top, self._choosable()) * self.space.heads_to_refine
        return max(0, whole - sum(account.refined for account in self.accounts.values()))

    def _trainings_to_expect(self) -> int:
        """At least one, for as long as one can be paid."""
        return max(1, round(self.space.backbones * self.epochs_left / self.space.epochs))

    def _choosable(self) -> int:
        """Backbones that can be refined: with a ladder those trained in full, once no other can be begun."""
        if not self.space.ladder or self.backbones_left():
            return self.space.full_backbones
        full = self.space.ladder[-1]
        return sum(length_of(account.params) == full and not account.lost for account in self.accounts.values())

    def jobs_left(self) -> tuple[int, int]:
        """Jobs that are not proposed yet: those that train a new backbone, and those on a known one."""
        new = self.backbones_left()
        known = sum(len(self.rounds_left(account)) for account in self.accounts.values())
        known += new * (len(self.space.heads_by_round()) - 1)
        refining = -(-self.refinement_left() // self.space.heads_to_refine) if self.refinement_left() else 0
        return new, known + refining
