"""The final readings that are still to be made, and those under way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from search_spaces import Space
from studies.records import Failure
from studies.store import Store
from trainers.results import HeadFailure, JobResult
from tuner.search.assignment import Assignment
from tuner.search.readings import by_backbone, readings_due


@dataclass
class ReadingQueue:
    """Readings as tasks, a backbone each. They are made once the search is over, which decides what is due."""

    space: Space
    store: Store
    unread: list[str] = field(default_factory=list)  # failed ones, with reasons
    under_way: int = 0
    left: list[Assignment] | None = None  # None: the search is not over

    @property
    def trainings(self) -> int:
        """Those left that train a backbone."""
        return sum(task.readings[0].trains for task in self.left or ())

    def hand_out(self, *, retries: bool, training: bool) -> Assignment | None:
        """The next reading; None without one, or if it is a retry and none is wanted. The first call says what is due.

        Without `training` those that train a backbone are left out.
        """
        if self.left is None:
            due = [reading for reading in readings_due(self.space, self.store) if training or not reading.trains]
            self.left = [
                Assignment(kind="reading", configs=tuple(r.config for r in group), readings=tuple(group))
                for group in by_backbone(due)
            ]
        if not self.left or (self.left[0].is_retry and not retries):
            return None
        self.under_way += 1
        return self.left.pop(0)

    def complete(self, task: Assignment, result: JobResult) -> None:
        """Records what was read."""
        self.under_way -= 1
        for reading, head in zip(task.readings, result.heads, strict=True):
            if isinstance(head, HeadFailure):
                self.unread.append(f"{reading.role}: {head.reason}")
            else:
                self.store.record_reading(
                    reading.role, reading.config, head, number=reading.number, backbone=result.backbone
                )

    def fail(self, task: Assignment, failure: Failure) -> bool:
        """True if it is tried again: after a transient failure, up to `max_retries` times."""
        self.under_way -= 1
        if failure.kind.transient and task.attempts <= self.space.budget.max_retries:
            self.left = [*(self.left or ()), replace(task, attempts=task.attempts + 1)]
            return True
        self.unread += [f"{reading.role}: {failure.text}" for reading in task.readings]
        return False
