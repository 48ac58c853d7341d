"""Between planner and executor: which task is held by which worker, and what becomes of it."""

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
    """Who is told what happens; see `tuner.terminal.live`."""

    def started(self, key: str, task: Assignment) -> None: ...
    def progressed(self, key: str, progress: Progress) -> None: ...
    def ended(
        self, key: str, task: Assignment, outcome: JobResult | Failure | None, *, again: bool = False
    ) -> None: ...


@dataclass
class Dispatcher:
    """The tasks under way, by a key of the executor's.

    What goes wrong in planner, study or watchers breaks the launch (`tuner.lifecycle`) and is kept there: an executor
    would make a text of it, or the failure of some job.
    """

    planner: Planner
    watcher: Watcher
    settings: WorkerSettings
    attend: Callable[[], None]  # looks at clock and stop requests, and tells the lifecycle
    held: dict[str, Assignment] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Nothing is under way, and nothing is left to hand out."""
        return self.planner.finished if self.planner.lifecycle.writes else not self.held

    def ends_jobs(self) -> bool:
        """Whether jobs end at their next report."""
        lifecycle = self.planner.lifecycle
        if lifecycle.writes:
            with self._breaking():
                self.attend()
        return lifecycle.ends_jobs

    def hand_out(self, key: str) -> TrainRequest | None:
        """The next task, as a worker is asked for it; None while there is none."""
        with self._breaking():
            if self.planner.lifecycle.writes:
                self.attend()
                return self._handed_out(key)
        return None

    def progressed(self, key: str, progress: Progress) -> None:
        """Passes on how far a job is."""
        self.watcher.progressed(key, progress)

    def take_back(self, key: str, outcome: JobResult | Failure | None) -> None:
        """A task ended with this outcome, or, with None, was stopped between two steps; unknown keys are ignored."""
        task = self.held.pop(key, None)
        if task is not None and self.planner.lifecycle.writes:
            with self._breaking():
                self._taken_back(key, task, outcome)

    def raise_error(self) -> None:
        """Raises what broke the launch, if anything did."""
        if self.planner.lifecycle.error is not None:
            raise self.planner.lifecycle.error

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles searcher, callbacks and stopper for a restore that we never make: nothing of ours goes along."""
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
    """What is known of a backbone that a later round did not find: who removed its files is not."""
    said = f"backbone {backbone} was no longer in the cache, so it was trained again"
    if limited:
        return f"{said}; unless somebody deleted its files, the size limit did: raise --cache-gb"
    return f"{said}; this launch has no size limit, so its files were deleted by somebody else"
