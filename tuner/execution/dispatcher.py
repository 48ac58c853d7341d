"""Between planner and executor: which worker holds which task, and how the task ended."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from studies.records import Failure
from trainers.results import JobResult, Progress
from tuner.errors import UnreachableError
from tuner.execution.messages import TrainRequest, WorkerSettings
from tuner.execution.same_code import code_sha256
from tuner.search.planner import Assignment, Planner

logger = logging.getLogger(__name__)


class Watcher(Protocol):
    """Receives the events of jobs; see `tuner.terminal.live`."""

    def started(self, key: str, task: Assignment) -> None: ...
    def progressed(self, key: str, progress: Progress) -> None: ...
    def ended(
        self, key: str, task: Assignment, outcome: JobResult | Failure | None, *, again: bool = False
    ) -> None: ...


@dataclass
class Dispatcher:
    """Hands out tasks and keeps those under way, by the executor's key.

    An error in planner, store or watchers breaks the launch, and `tuner.lifecycle` keeps it: an executor would turn it
    into a text, or into the failure of some job.
    """

    planner: Planner
    watcher: Watcher
    settings: WorkerSettings
    attend: Callable[[], None]  # checks budget hours and stop requests, and updates the lifecycle
    held: dict[str, Assignment] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """True if no task is under way and none is left to hand out."""
        return self.planner.finished if self.planner.lifecycle.writes else not self.held

    def ends_jobs(self) -> bool:
        """True if jobs end at their next report."""
        lifecycle = self.planner.lifecycle
        if lifecycle.writes:
            with self._breaking():
                self.attend()
        return lifecycle.ends_jobs

    def hand_out(self, key: str) -> TrainRequest | None:
        """The next task as a request to a worker; None while there is none."""
        with self._breaking():
            if self.planner.lifecycle.writes:
                self.attend()
                return self._handed_out(key)
        return None

    def progressed(self, key: str, progress: Progress) -> None:
        """Forwards a job's progress."""
        self.watcher.progressed(key, progress)

    def take_back(self, key: str, outcome: JobResult | Failure | None) -> None:
        """Records the outcome of a task; None means stopped in the middle. Ignores unknown keys."""
        task = self.held.pop(key, None)
        if task is not None and self.planner.lifecycle.writes:
            with self._breaking():
                self._taken_back(key, task, outcome)

    def raise_error(self) -> None:
        """Raises the error that broke the launch, if any."""
        if self.planner.lifecycle.error is not None:
            raise self.planner.lifecycle.error

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles searcher, callbacks and stopper for a restore that we never do."""
        return {}

    @contextlib.contextmanager
    def _breaking(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.planner.lifecycle.breaks(error)

    def _handed_out(self, key: str) -> TrainRequest | None:
        task = self.planner.next_task()
        if task is None:
            return None
        self.held[key] = task
        self.watcher.started(key, task)
        return TrainRequest(
            configs=tuple(dict(config) for config in task.configs),
            read_test=task.kind == "reading",
            settings=self.settings,
            code=code_sha256(),
        )

    def _taken_back(self, key: str, task: Assignment, outcome: JobResult | Failure | None) -> None:
        again = False
        match outcome:
            case JobResult():
                if task.job is not None and task.job.round > 0 and not outcome.backbone.cached:
                    limited = self.settings.cache_bytes is not None
                    logger.warning(trained_again(task.job.backbone_index, limited=limited))
                self.planner.complete(task, outcome)
            case Failure() if outcome.kind.ends_launch:
                self.planner.interrupted(task)
                raise UnreachableError(
                    f"{outcome.text}; nothing that was finished is lost: go on with: "
                    f"tuner resume {self.planner.space.name}"
                )
            case Failure():
                again = self.planner.fail(task, outcome)
            case None:
                self.planner.interrupted(task)
        self.watcher.ended(key, task, outcome, again=again)


def trained_again(backbone: int, *, limited: bool) -> str:
    """The warning for a backbone that a later round did not find in the cache."""
    said = f"backbone {backbone} was no longer in the cache, so it was trained again"
    if limited:
        return f"{said}; unless somebody deleted its files, the size limit did: raise --cache-gb"
    return f"{said}; this launch has no size limit, so its files were deleted by somebody else"
